/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier life of the agent left (agent.h). At start, before the kubelet can call:
 *
 *   1. the journal is read, with what an older agent has set aside; a volume whose target directory is there is served again (a new socket in the
 *      place of the old one: pause and execwrap connect again); one whose directory is gone was removed
 *      behind our back, and is cleaned up
 *   2. the directories of instances that no provider volume has are removed; those that hold a kept root of
 *      persistence Node stay, unmounted where no volume is published (rest.c). What is in the trash is removed
 *   3. the runtime is asked about every journaled container: a provider's that has ended is a root lost; one
 *      that runs is watched again, and its root found exposed, or exposed again; a consumer's that runs is
 *      remembered, so that it can be ended if its root is lost. The runtime may be starting too: asked again,
 *      ever more rarely, until it knows
 *
 * pause may say hello before the runtime has answered: whichever comes first settles the root.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/names.h"
#include "node-agent/agent.h"
#include "node-agent/journal.h"
#include "node-agent/mounts/expose.h"
#include "node-agent/rootdir.h"

#define RECOVER_RETRY_MIN (500 * USEC_PER_MSEC)
#define RECOVER_RETRY_MAX (30 * USEC_PER_SEC)

/* --- containers ------------------------------------------------------------------------------------------
 */

/* The slot still waits for what the runtime says. */
static bool is_open(const struct slot *s)
{
    if (s->served->volume->role == VOLUME_PROVIDER)
        return s->container->root == ROOT_ADOPTING && !s->served->volume->lost[0];
    return !s->peer;
}

static void ended(struct slot *s)
{
    char reason[VOLUME_REASON_MAX];

    if (s->served->volume->role != VOLUME_PROVIDER) {
        s->container->id[0] = '\0'; /* nothing is on the root: consumer_runs */
        return;
    }
    if (s->served->volume->node) {
        provider_node_ended(s);
        return;
    }
    (void)snprintf(reason, sizeof(reason),
            "container %s of the provider pod has ended while the node agent was away", s->container->name);
    provider_lose(s->served->instance, reason);
}

static void ask_later(struct slot *s, const struct err *why)
{
    log_debug("container %.12s: %s", s->container->id, err_text(why));
    (void)loop_timer_in(s->recover_timer, backoff_next(&s->recover_backoff));
}

static void found(struct slot *s, struct peer *peer)
{
    struct err err = ERR_INIT;

    if (s->served->volume->role == VOLUME_CONSUMER) {
        s->peer = peer_ref(peer);
        if (s->served->volume->lost[0])
            consumer_kill(s->served);
    } else if (provider_take(s, peer, &err) < 0) {
        ask_later(s, &err);
    } else if (is_open(s)) {
        (void)err_say(&err, EAGAIN, "the image is being asked for");
        ask_later(s, &err);
    }
}

static void on_status(int code, struct cri_container *container, const struct err *why, void *user)
{
    struct slot *s = user;
    _cleanup_cri_container_ struct cri_container *c = container;
    _cleanup_peer_ struct peer *peer = NULL;
    struct err err = ERR_INIT;

    s->recover_request = NULL;
    if (!is_open(s))
        return;
    if (code == -ENOENT || (code == 0 && c->state == CRI_EXITED)) {
        ended(s);
    } else if (code < 0) {
        ask_later(s, why);
    } else if (c->state != CRI_RUNNING || c->init_pid <= 0) {
        (void)err_say(&err, EAGAIN, "the runtime does not say whether it runs");
        ask_later(s, &err);
    } else if (peer_from_container(c, &s->served->agent->machine, &peer, &err) < 0) {
        ask_later(s, &err);
    } else {
        c = NULL; /* the peer's now */
        found(s, peer);
    }
}

static void ask(struct slot *s)
{
    struct err err = ERR_INIT;

    if (cri_container_status(s->served->agent->cri, s->container->id, on_status, s, &s->recover_request) <
            0) {
        (void)err_say(&err, ENOMEM, "cannot ask the runtime");
        ask_later(s, &err);
    }
}

static void on_ask(struct loop_source *src, usec_t now, void *data)
{
    struct slot *s = data;

    (void)src;
    (void)now;
    if (is_open(s))
        ask(s);
}

/* Persistence Node: whether the roots under a consumer are still mounted. They are not after a reboot. */
static int find_roots(struct served *sv, struct err *err)
{
    for (size_t i = 0; i < sv->n_slots; i++) {
        struct volume_container *c = sv->slots[i].container;
        _cleanup_close_ int dir = rootdir_open(sv->agent->instances_fd, sv->volume->instance_uid, c->name);
        int there = dir == -ENOENT ? 0 : dir < 0 ? dir : expose_is_exposed(dir, SC_ROOTFS_DIR);

        if (there < 0)
            return err_set(err, there, "cannot look at the root of container %s", c->name);
        c->root = there > 0 ? ROOT_EXPOSED : ROOT_NONE;
    }
    return 0;
}

static int recover_containers(struct served *sv, struct err *err)
{
    for (size_t i = 0; i < sv->n_slots; i++) {
        struct slot *s = &sv->slots[i];
        int r;

        if (!s->container->id[0] || !is_open(s))
            continue;
        s->recover_backoff = (struct backoff)BACKOFF_INIT(RECOVER_RETRY_MIN, RECOVER_RETRY_MAX);
        r = loop_add_timer(sv->agent->loop, "recover", on_ask, s, &s->recover_timer);
        if (r < 0)
            return err_set(err, r, "cannot take over volume %s", sv->volume->id);
        ask(s);
    }
    return 0;
}

/* --- volumes ---------------------------------------------------------------------------------------------
 */

/* Its target directory is gone: nobody will unpublish it. */
static void forget(struct agent *a, const struct volume *v)
{
    struct err err = ERR_INIT;

    log_info("pod %s/%s: its volume's directory is gone; forgotten", v->pod_namespace, v->pod_name);
    if (journal_remove(a->volumes_fd, v->id, &err) < 0)
        log_warn("%s", err_text(&err));
}

static bool is_taken(const struct node_instance *in, const struct volume *v)
{
    if (!instance_is_idle(&in->i) && strcmp(in->i.ns, v->instance_namespace) != 0)
        return true;
    return (v->role == VOLUME_PROVIDER && in->provider) || (v->role == VOLUME_CONSUMER && in->consumer);
}

/* Without a socket (a full disk, say) the volume still counts, and so do its roots. */
static void listen_again(struct served *sv)
{
    const struct volume *v = sv->volume;
    struct err err = ERR_INIT;
    int listen_fd = -EBADF;
    int r = target_publish(&sv->agent->target, v, &listen_fd, &err);

    if (r == 0)
        r = served_listen(sv, listen_fd, &err);
    if (r == 0) {
        sv->listen_timer = loop_remove(sv->listen_timer);
        return;
    }
    log_error("pod %s/%s: no socket in its volume, nothing in it can start until another try succeeds: %s",
            v->pod_namespace, v->pod_name, err_text(&err));
    (void)loop_timer_in(sv->listen_timer, backoff_next(&sv->listen_backoff));
}

static void on_listen(struct loop_source *src, usec_t now, void *data)
{
    struct served *sv = data;

    (void)src;
    (void)now;
    if (!sv->serve && !sv->leaving)
        listen_again(sv);
}

static int listen_first(struct served *sv, struct err *err)
{
    int r = loop_add_timer(sv->agent->loop, "socket again", on_listen, sv, &sv->listen_timer);

    if (r < 0)
        return err_set(err, r, "cannot take over volume %s", sv->volume->id);
    sv->listen_backoff = (struct backoff)BACKOFF_INIT(RECOVER_RETRY_MIN, RECOVER_RETRY_MAX);
    listen_again(sv);
    return 0;
}

static int serve_again(struct agent *a, struct volume *v, struct err *err)
{
    struct node_instance *in = agent_instance(a, v->instance_namespace, v->instance_uid);
    struct served *sv = NULL;
    int r = 0;

    if (!in)
        return err_set(err, ENOMEM, "cannot take over the volume");
    if (v->role != VOLUME_RECLAIM && is_taken(in, v))
        r = err_say(err, EEXIST, "the journal has another %s volume of instance %s",
                volume_role_text(v->role), v->instance_uid);
    if (r == 0)
        r = served_new(a, in, v, -EBADF, &sv, err);
    if (r < 0) {
        agent_instance_put(in);
        return r;
    }
    r = listen_first(sv, err);
    if (r == 0 && v->node && v->role == VOLUME_CONSUMER)
        r = find_roots(sv, err);
    return r < 0 ? r : recover_containers(sv, err);
}

struct recovery {
    struct agent *agent;
    int error; /* of a volume that another start would serve */
    struct err *err;
};

/* A volume that is not served must still count, or another would be given its root: where that is for want of an
 * fd, say, the start fails, and the next one may have it. */
static void not_served(struct recovery *rec, const struct volume *v, int error, const struct err *why)
{
    log_error("pod %s/%s: its volume is not served: %s", v->pod_namespace, v->pod_name, err_text(why));
    rec->agent->unserved = true;
    if (rec->error == 0 && (err_is_passing(error) || error == -EIO))
        rec->error = err_say(rec->err, error, "pod %s/%s: its volume cannot be served: %s", v->pod_namespace,
                v->pod_name, err_text(why));
}

static void on_volume(struct volume *v, void *user)
{
    struct recovery *rec = user;
    struct agent *a = rec->agent;
    struct err err = ERR_INIT;
    int there = target_exists(&a->target, v->dir);

    if (there == 0) {
        forget(a, v);
        (void)volume_free(v);
        return;
    }
    if (there < 0)
        (void)err_set(&err, there, "cannot look at %s", v->dir);
    else
        there = serve_again(a, v, &err);
    if (there < 0) {
        /* The journal's file stays, and the root: the kubelet's next unpublish, or the next start, goes on. */
        not_served(rec, v, there, &err);
        if (!map_get(a->volumes, v->id))
            (void)volume_free(v);
    }
}

static void on_bad(const char *file, const struct err *err, void *user)
{
    const struct recovery *rec = user;

    if (err->code == EPROTONOSUPPORT || err->code == E2BIG) {
        rec->agent->unserved = true;
        log_error("journal file %s is left as it is, and so are instances that seem to belong to nobody: %s",
                file, err_text(err));
        return;
    }
    log_error("journal file %s cannot be used and was moved to volumes/bad: %s", file, err_text(err));
}

static void rest(struct agent *a, const char *uid)
{
    struct node_instance *in = agent_instance(a, "", uid);

    if (!in || !rest_begin(in))
        rest_here(a, uid);
    if (in)
        agent_instance_put(in);
}

static void on_instance(const char *uid, void *user)
{
    struct agent *a = user;
    const struct node_instance *in = map_get(a->instances, uid);
    struct err err = ERR_INIT;

    if (in && (in->provider || (in->consumer && in->consumer->volume->node)))
        return;
    if (a->unserved)
        return;
    if (volume_is_uid(uid) && rootdir_is_kept(a->instances_fd, uid) != 0) {
        rest(a, uid);
        return;
    }
    if (!volume_is_uid(uid) || rootdir_remove(a->instances_fd, uid, &err) < 0)
        log_warn("instances/%s belongs to nobody and is left as it is: %s", uid,
                volume_is_uid(uid) ? err_text(&err) : "its name is no uid");
    else
        log_info("instances/%s belonged to nobody and was removed", uid);
}

int recover_all(struct agent *a, struct err *err)
{
    struct recovery rec = {.agent = a, .err = err};
    size_t back = journal_take_back(a->volumes_fd);
    int r;

    if (back > 0)
        log_info("%zu journal files that an older agent could not read are used again", back);
    r = journal_load(a->volumes_fd, on_volume, on_bad, &rec, err);

    if (r == 0)
        r = rec.error;
    if (r < 0)
        return r;
    /* The earlier agent may have ended between the first journal entry of a loss and the rest of it. */
    map_for_each (e, a->instances) {
        struct node_instance *in = e->value;

        if (!in->provider || !in->provider->volume->lost[0])
            continue;
        provider_unexpose(in->provider);
        consumer_lose(in, in->provider->volume->lost);
    }
    r = rootdir_list(a->instances_fd, on_instance, a, err);
    if (r == 0)
        r = rootdir_list(a->trash_fd, trash_recover, a, err);
    return r;
}
