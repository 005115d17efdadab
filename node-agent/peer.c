/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See peer.h.
 */
#include "node-agent/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/buf.h"
#include "common/base/limits.h"
#include "node-agent/runtime/container_id.h"

#define PEER_RETRY_MIN (5 * USEC_PER_MSEC)
#define PEER_RETRY_MAX (100 * USEC_PER_MSEC)

struct peer_check {
    struct peer_question q;
    struct peer *peer;
    struct container_identity identity;
    struct cri_request *request;
    struct loop_source *retry;
    struct backoff backoff;
    usec_t deadline; /* for the runtime to report the container as running */
};

struct peer *peer_ref(struct peer *p)
{
    p->refs++;
    return p;
}

struct peer *peer_unref(struct peer *p)
{
    if (!p || --p->refs > 0)
        return NULL;
    process_unpin(&p->process);
    process_unpin(&p->init);
    mntns_close(&p->ns);
    (void)cri_container_free(p->container);
    free(p);
    return NULL;
}

void peer_leave_namespace(struct peer *p)
{
    mntns_close(&p->ns);
}

int peer_open_namespace(struct peer *p, const struct machine *machine, struct err *err)
{
    struct file_id init_ns;
    struct mntns_rules rules = {.expected = &init_ns};
    int r = mntns_identify(&p->init, &init_ns, err);

    peer_leave_namespace(p);
    if (r == 0)
        r = mntns_open(&p->process, machine, &rules, &p->ns, err);
    if (r == 0 && !process_alive(&p->init))
        r = err_say(err, ESRCH, "container %s has ended", p->container->container_name);
    return r;
}

static struct peer *peer_new(void)
{
    struct peer *p = calloc(1, sizeof(*p));

    if (p) {
        p->refs = 1;
        p->process = (struct process)PROCESS_INIT;
        p->init = (struct process)PROCESS_INIT;
        p->ns = (struct mntns)MNTNS_INIT;
    }
    return p;
}

struct peer_check *peer_check_cancel(struct peer_check *check)
{
    if (!check)
        return NULL;
    check->request = cri_cancel(check->request);
    check->retry = loop_remove(check->retry);
    check->peer = peer_unref(check->peer);
    free(check);
    return NULL;
}

static int read_identity(const struct process *p, struct container_identity *ret, struct err *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_CGROUP_FILE);
    int r = process_read_file(p, "cgroup", &text, err);

    if (r == 0)
        r = container_identity_parse(buf_str(&text), text.len, ret, err);
    return r;
}

static int pin_init(const struct cri_container *container, struct process *ret_init, struct err *err)
{
    struct process init = PROCESS_INIT;
    struct container_identity identity;
    int r = process_pin(container->init_pid, &init, err);

    if (r == 0)
        r = read_identity(&init, &identity, err);
    if (r == 0 && strcmp(identity.id, container->id) != 0)
        r = err_say(err, EPERM,
                "process %d, which the runtime calls the first of container %.12s, is in container %.12s",
                (int)container->init_pid, container->id, identity.id);
    if (r == 0 && !process_alive(&init))
        r = err_say(err, ESRCH, "container %.12s has ended", container->id);
    if (r < 0) {
        process_unpin(&init);
        return r;
    }
    *ret_init = init;
    return 0;
}

/* What the runtime says about the container, against what the socket vouches for. */
static int judge_container(const struct peer_check *check, const struct cri_container *c, struct err *err)
{
    const struct volume *v = check->q.volume;

    if (strcmp(c->id, check->identity.id) != 0)
        return err_say(err, EPERM, "the runtime answered about another container");
    if (strcmp(c->pod_uid, v->pod_uid) != 0)
        return err_say(err, EPERM,
                "the process is in a container of pod %s/%s, not of the pod that this socket "
                "was made for",
                c->pod_namespace, c->pod_name);
    if (!volume_container_const(v, c->container_name))
        return err_say(err, EPERM, "container %s is not among the volume's containers", c->container_name);
    if (c->user_namespace)
        return err_say(err, EPERM,
                "container %s has a user namespace of its own (hostUsers: false): the owners of its files "
                "would be wrong",
                c->container_name);
    if (c->state == CRI_EXITED)
        return err_say(err, ESRCH, "container %s has ended", c->container_name);
    return 0;
}

/* Steps 4 to 6. */
static int judge_namespace(struct peer *p, const struct machine *machine, struct err *err)
{
    int r = pin_init(p->container, &p->init, err);

    if (r == 0)
        r = peer_open_namespace(p, machine, err);
    if (r == 0)
        peer_leave_namespace(p);
    return r;
}

int peer_from_container(struct cri_container *container, const struct machine *machine,
        struct peer **ret_peer, struct err *err)
{
    _cleanup_peer_ struct peer *p = peer_new();
    int r;

    if (!p)
        return err_set(err, ENOMEM, "cannot look at container %.12s", container->id);
    p->container = container;
    r = process_pin(container->init_pid, &p->process, err);
    if (r == 0)
        r = judge_namespace(p, machine, err);
    if (r < 0) {
        p->container = NULL;
        return r;
    }
    *ret_peer = take_ptr(p);
    return 0;
}

/* The end of a check: everything that belongs to it is released before the callee hears of it. */
static void finish(struct peer_check *check, int code, const struct err *err)
{
    struct peer *peer = code == 0 ? take_ptr(check->peer) : NULL;
    peer_fn fn = check->q.fn;
    void *user = check->q.user;
    struct err text = *err;

    (void)peer_check_cancel(check);
    fn(code, peer, &text, user);
}

static bool not_running_yet(const struct cri_container *c)
{
    return c->init_pid <= 0 || c->state == CRI_CREATED;
}

static void on_status(int code, struct cri_container *container, const struct err *why, void *user)
{
    struct peer_check *check = user;
    struct err err = ERR_INIT;
    int r = code;

    check->request = NULL;
    check->peer->container = cri_container_free(check->peer->container);
    check->peer->container = container;
    if (code < 0)
        err = *why;
    else
        r = judge_container(check, container, &err);
    if (r == 0 && not_running_yet(container)) {
        if (clock_monotonic() < check->deadline &&
                loop_timer_in(check->retry, backoff_next(&check->backoff)) == 0)
            return;
        r = err_say(&err, EAGAIN, "the runtime does not report container %s as running yet",
                container->container_name);
    }
    if (r == 0)
        r = judge_namespace(check->peer, check->q.machine, &err);
    finish(check, r, &err);
}

static int ask(struct peer_check *check, struct err *err)
{
    int r = cri_container_status(check->q.cri, check->identity.id, on_status, check, &check->request);

    return r < 0 ? err_set(err, r, "cannot ask the runtime about container %.12s", check->identity.id) : 0;
}

static void on_retry(struct loop_source *src, usec_t now, void *data)
{
    struct peer_check *check = data;
    struct err err = ERR_INIT;
    int r = ask(check, &err);

    (void)src;
    (void)now;
    if (r < 0)
        finish(check, r, &err);
}

int peer_check_start(const struct peer_question *q, struct peer_check **ret_check, struct err *err)
{
    struct peer_check *check = calloc(1, sizeof(*check));
    int r;

    if (!check)
        return err_set(err, ENOMEM, "cannot check the peer");
    check->q = *q;
    check->backoff = (struct backoff)BACKOFF_INIT(PEER_RETRY_MIN, PEER_RETRY_MAX);
    check->deadline = usec_add(clock_monotonic(), PEER_PATIENCE);
    check->peer = peer_new();
    r = check->peer ? loop_add_timer(q->loop, "peer", on_retry, check, &check->retry) : -ENOMEM;
    if (r < 0)
        (void)err_set(err, r, "cannot check the peer");
    if (r == 0)
        r = process_pin_peer(q->sock, &check->peer->process, err);
    if (r == 0)
        r = read_identity(&check->peer->process, &check->identity, err);
    if (r == 0 && check->identity.pod_uid[0] && strcmp(check->identity.pod_uid, q->volume->pod_uid) != 0)
        r = err_say(
                err, EPERM, "the process is in a container of another pod (uid %s)", check->identity.pod_uid);
    if (r == 0)
        r = ask(check, err);
    if (r < 0) {
        (void)peer_check_cancel(check);
        return r;
    }
    *ret_check = check;
    return 0;
}
