/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubelet's calls (agent.h).
 *
 * A publish call that may not be answered yet becomes a `waiting`, and is decided again after every change of
 * its instance, until it is done, refused, cancelled, or has waited as long as it may. Until it is answered
 * its volume counts as nothing: no file, no journal entry. Then, in this order: directory, files and socket;
 * journal; tables; answer. A failure undoes what was made.
 *
 * All failures that a later call can overcome are answered UNAVAILABLE, after which the kubelet counts the
 * volume as perhaps published and will unpublish it (csi_client.go, isFinalError). Only a request that can
 * never be right is answered with a final code, and nothing was made for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "node-agent/agent.h"
#include "node-agent/journal.h"
#include "node-agent/rootdir.h"

/* How long a call waits. The kubelet's own deadline is 2 minutes; it then shows the text as an event and asks
 * again, half a second later and then ever more rarely. A second provider waits only for the first to go. */
#define WAIT_FIRST (100 * USEC_PER_SEC)
#define WAIT_LATER (30 * USEC_PER_SEC)
#define WAIT_PROVIDER (5 * USEC_PER_SEC)
#define WAIT_MARGIN (1 * USEC_PER_SEC) /* before the call's own deadline, to be heard */

static void waiting_free(struct waiting *w)
{
    struct node_instance *in = w->instance;

    list_remove(&w->node);
    w->agent->n_waiting--;
    w->timer = loop_remove(w->timer);
    (void)volume_free(w->volume);
    free(w);
    in->refs--;
    agent_instance_put(in);
}

static void waiting_fail(struct waiting *w, enum grpc_status status, const char *text)
{
    struct agent *a = w->agent;

    /* Not remembered (full, no memory): then its next call waits as long as a first one. */
    if (map_put(a->tried, w->volume->id, a) < 0)
        log_debug("volume %s will count as not tried", w->volume->id);
    log_info("pod %s/%s: volume not published yet: %s", w->volume->pod_namespace, w->volume->pod_name, text);
    csi_call_fail(w->call, status, "%s", text);
    waiting_free(w);
}

/* --- making a volume -------------------------------------------------------------------------------------
 */

static void undo(struct agent *a, const struct volume *v)
{
    struct err err = ERR_INIT;

    if (target_remove(&a->target, v->dir, &err) <
            0) /* no container was there, so all is taken away at once */
        log_warn("pod %s/%s: %s", v->pod_namespace, v->pod_name, err_text(&err));
}

/* Nothing of the instance is published now: what a crash left of it goes, but for kept roots. */
static int clear_leftovers(struct agent *a, const struct volume *v, struct err *err)
{
    int kept = v->node ? 0 : rootdir_is_kept(a->instances_fd, v->instance_uid);

    if (kept < 0)
        return err_set(err, kept, "cannot look at instances/%s", v->instance_uid);
    if (kept > 0)
        return err_say(err, EEXIST,
                "this node keeps a root of persistence " SC_PERSISTENCE_NODE
                " under this instance's uid; it is to be reclaimed first");
    return v->node ? rootdir_rest(a->instances_fd, v->instance_uid, err)
                   : rootdir_remove(a->instances_fd, v->instance_uid, err);
}

/* A consumer's volume is made on roots that are exposed. */
static void join_roots(struct volume *v, const struct volume *provider)
{
    memcpy(v->provider_uid, provider->pod_uid, sizeof(v->provider_uid));
    for (size_t i = 0; v->node && i < v->n_containers; i++)
        v->containers[i].root = ROOT_EXPOSED;
}

/* Takes the volume only on success. */
static int commit(struct agent *a, struct node_instance *in, struct volume *v, struct err *err)
{
    struct served *sv;
    int listen_fd = -EBADF;
    int r = 0;

    if (v->role == VOLUME_CONSUMER)
        join_roots(v, in->i.provider);
    if (v->role == VOLUME_PROVIDER && instance_is_idle(&in->i))
        r = clear_leftovers(a, v, err);
    if (r == 0)
        r = target_publish(&a->target, v, &listen_fd, err);
    if (r == 0)
        r = journal_write(a->volumes_fd, v, err);
    if (r == 0)
        r = served_new(a, in, v, take_fd(&listen_fd), &sv, err);
    if (r < 0) {
        struct err ignored = ERR_INIT;

        (void)close_fd(listen_fd);
        undo(a, v);
        (void)journal_remove(a->volumes_fd, v->id, &ignored);
    }
    return r;
}

static void waiting_commit(struct waiting *w)
{
    struct volume *v = w->volume;
    struct err err = ERR_INIT;
    int r = commit(w->agent, w->instance, v, &err);

    if (r < 0) {
        waiting_fail(w, GRPC_UNAVAILABLE, err_text(&err));
        return;
    }
    w->volume = NULL;
    map_remove(w->agent->tried, v->id);
    log_info("pod %s/%s: %s volume published, instance %s", v->pod_namespace, v->pod_name,
            volume_role_text(v->role), v->instance_uid);
    csi_call_ok(w->call);
    agent_touch(w->instance);
    waiting_free(w);
}

/* Whether there is nothing of the reclaim's own instance, beside the volumes of another namespace that name its uid: 1, 0,
 * or a negative errno. Those have no kept root where its is. */
static int has_nothing(const struct waiting *w)
{
    int fd = w->agent->instances_fd, r;

    if (instance_is_idle(&w->instance->i) || w->instance->trash)
        return 0;
    r = rootdir_has_foreign(fd, w->volume->instance_uid, w->volume->instance_namespace);
    if (r != 0)
        return r;
    r = rootdir_is_kept(fd, w->volume->instance_uid);
    return r < 0 ? r : r == 0;
}

/* A reclaim that may be done: what there is goes to the trash, and the call is answered when that is empty. */
static void waiting_reclaim(struct waiting *w)
{
    struct node_instance *in = w->instance;
    struct agent *a = w->agent;
    struct err err = ERR_INIT;
    int nothing = w->trashed ? 0 : has_nothing(w);

    if (nothing < 0) {
        (void)err_set(&err, nothing, "cannot look at instances/%s", in->i.uid);
        waiting_fail(w, GRPC_UNAVAILABLE, err_text(&err));
        return;
    }
    if (nothing > 0) {
        waiting_commit(w);
        return;
    }
    if (!w->trashed &&
            rootdir_trash(a->instances_fd, a->trash_fd, in->i.uid, w->volume->instance_namespace, &err) < 0) {
        waiting_fail(w, GRPC_UNAVAILABLE, err_text(&err));
        return;
    }
    if (!w->trashed)
        trash_add(in);
    w->trashed = true;
    if (!in->trash)
        waiting_commit(w);
    else if (in->remove_error[0])
        waiting_fail(w, GRPC_UNAVAILABLE, in->remove_error);
    else
        (void)snprintf(w->text, sizeof(w->text), "the files of the instance's roots are being removed");
}

static void waiting_decide(struct waiting *w)
{
    struct decision d = instance_publish(&w->instance->i, w->volume);

    switch (d.verdict) {
    case VERDICT_DO:
        if (w->volume->role == VOLUME_RECLAIM)
            waiting_reclaim(w);
        else
            waiting_commit(w);
        return;
    case VERDICT_WAIT:
        w->trashed = false; /* there may be another root when it is over */
        memcpy(w->text, d.text, sizeof(w->text));
        return;
    case VERDICT_NEVER:
        waiting_fail(w, GRPC_INVALID_ARGUMENT, d.text);
        return;
    case VERDICT_DONE: /* a published volume is answered before it gets here */
    case VERDICT_LATER:
    case VERDICT_LOSE:
        break;
    }
    waiting_fail(w, GRPC_UNAVAILABLE, d.text);
}

void publish_settle(struct node_instance *in)
{
    list_for_each (it, &in->agent->waiting) {
        struct waiting *w = list_entry(it, struct waiting, node);

        if (w->instance == in)
            waiting_decide(w);
    }
}

static void on_waited(struct loop_source *src, usec_t now, void *data)
{
    struct waiting *w = data;

    (void)src;
    (void)now;
    waiting_fail(w, GRPC_UNAVAILABLE, w->text);
}

/* --- publish ---------------------------------------------------------------------------------------------
 */

static usec_t wait_until(struct agent *a, const struct volume *v, usec_t deadline)
{
    usec_t now = clock_monotonic();
    usec_t until = usec_add(now, map_has(a->tried, v->id) ? WAIT_LATER : WAIT_FIRST);

    if (v->role == VOLUME_PROVIDER)
        until = usec_add(now, WAIT_PROVIDER);
    if (deadline != USEC_INFINITY && until > deadline - WAIT_MARGIN)
        until = deadline > now + WAIT_MARGIN ? deadline - WAIT_MARGIN : now;
    return until;
}

/* Takes the volume in every case. */
static int wait_new(struct agent *a, struct volume *v, usec_t deadline, struct csi_call *call,
        struct waiting **ret_waiting)
{
    struct node_instance *in = agent_instance(a, v->instance_namespace, v->instance_uid);
    struct waiting *w = in ? calloc(1, sizeof(*w)) : NULL;

    if (w && loop_add_timer(a->loop, "publish", on_waited, w, &w->timer) < 0) {
        free(w);
        w = NULL;
    }
    if (!w) {
        if (in)
            agent_instance_put(in);
        (void)volume_free(v);
        return -ENOMEM;
    }
    w->agent = a;
    w->call = call;
    w->volume = v;
    w->instance = in;
    in->refs++;
    a->n_waiting++;
    list_append(&a->waiting, &w->node);
    csi_call_set_data(call, w);
    (void)loop_timer_set(w->timer, wait_until(a, v, deadline));
    *ret_waiting = w;
    return 0;
}

/* The kubelet repeats the calls of all its volumes when it restarts: files that are missing are made again.
 */
static void publish_again(struct served *sv, struct csi_call *call)
{
    const struct volume *v = sv->volume;
    struct err err = ERR_INIT;
    int listen_fd = -EBADF;
    int r = 0;

    if (sv->leaving) {
        csi_call_fail(call, GRPC_ABORTED, "the volume is being unmounted");
        return;
    }
    hook_kubelet_is_new(sv);
    if ((!sv->serve && v->role != VOLUME_RECLAIM) || !target_is_complete(&sv->agent->target, v)) {
        r = target_publish(&sv->agent->target, v, &listen_fd, &err);
        if (r == 0)
            r = served_listen(sv, listen_fd, &err);
    }
    if (r < 0)
        csi_call_fail(call, GRPC_UNAVAILABLE, "%s", err_text(&err));
    else
        csi_call_ok(call);
}

static void on_publish(const struct csi_publish_request *req, struct csi_call *call, void *user)
{
    struct agent *a = user;
    struct served *sv = map_get(a->volumes, req->volume_id);
    struct volume *v = NULL;
    struct waiting *w;
    struct err err = ERR_INIT;
    int r;

    if (sv) {
        publish_again(sv, call);
        return;
    }
    /* A kubelet that knows the driver from before calls although it is not registered now. */
    if (!a->fit) {
        csi_call_fail(call, GRPC_UNAVAILABLE, "%s", err_text(&a->unfit));
        return;
    }
    if (a->n_waiting >= LIMIT_WAITING || map_size(a->volumes) + a->n_waiting >= LIMIT_VOLUMES) {
        csi_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "too many volumes at once on this node");
        return;
    }
    r = volume_from_request(req, a->options->own_namespace, &v, &err);
    if (r == -ENOMEM) {
        csi_call_fail(call, GRPC_UNAVAILABLE, "%s", err_text(&err));
        return;
    }
    if (r < 0) {
        agent_warn(a, "pod %s/%s: volume refused: %s", req->pod_namespace, req->pod_name, err_text(&err));
        csi_call_fail(
                call, r == -EPERM ? GRPC_PERMISSION_DENIED : GRPC_INVALID_ARGUMENT, "%s", err_text(&err));
        return;
    }
    if (wait_new(a, v, req->deadline, call, &w) < 0)
        csi_call_fail(call, GRPC_UNAVAILABLE, "the node agent is out of memory");
    else
        waiting_decide(w);
}

static void on_cancelled(struct csi_call *call, void *user)
{
    struct agent *a = user;
    struct waiting *w = csi_call_data(call);

    (void)a;
    if (w)
        waiting_fail(w, GRPC_ABORTED, "the kubelet has given up the call");
}

/* --- unpublish -------------------------------------------------------------------------------------------
 */

/* Persistence Node: the roots rest when the last volume of the instance goes. The files stay. */
static bool is_last_on_roots(const struct served *sv)
{
    const struct node_instance *in = sv->instance;
    bool others = (in->provider && in->provider != sv) || (in->consumer && in->consumer != sv);

    return sv->volume->node && sv->volume->role != VOLUME_RECLAIM && !others;
}

/* What is left on the node of a volume that nothing uses any more. 1: call again. */
static int clean(struct served *sv, struct err *err)
{
    struct agent *a = sv->agent;
    const struct volume *v = sv->volume;
    int r = 0;

    if (is_last_on_roots(sv)) {
        r = rootdir_rest(a->instances_fd, v->instance_uid, err);
    } else if (v->role == VOLUME_PROVIDER && !v->node) {
        consumer_lose(sv->instance, "the provider's volume was unmounted");
        r = rootdir_remove(a->instances_fd, v->instance_uid, err);
    }
    for (size_t i = 0; r == 0 && v->role == VOLUME_PROVIDER && i < v->n_containers; i++)
        sv->slots[i].container->root = ROOT_NONE;
    if (r == 0)
        r = target_remove(&a->target, v->dir, err);
    if (r > 0)
        (void)err_say(err, EAGAIN, "its directories are being removed");
    if (r == 0)
        r = journal_remove(a->volumes_fd, v->id, err);
    return r;
}

static void unpublish_end(struct served *sv)
{
    struct csi_call *call = sv->unpublish;
    struct err err = ERR_INIT;
    int r;

    sv->unpublish = NULL;
    r = clean(sv, &err);
    if (r > 0 && sv->volume->role != VOLUME_RECLAIM) {
        sv->unpublish = call; /* goes on at the loop's next turn, after whatever else there is */
        agent_touch(sv->instance);
        return;
    }
    if (r != 0) {
        log_warn("pod %s/%s: volume not unmounted yet: %s", sv->volume->pod_namespace, sv->volume->pod_name,
                err_text(&err));
        csi_call_fail(call, GRPC_UNAVAILABLE, "%s", err_text(&err));
        return;
    }
    log_info("pod %s/%s: %s volume unpublished", sv->volume->pod_namespace, sv->volume->pod_name,
            volume_role_text(sv->volume->role));
    served_free(sv);
    csi_call_ok(call);
}

void unpublish_continue(struct served *sv)
{
    bool rests = sv->volume->role != VOLUME_RECLAIM && sv->instance->i.resting; /* unpublish_rested goes on */

    if (!sv->unpublish || served_is_busy(sv) || rests)
        return;
    if (!is_last_on_roots(sv) || !rest_begin(sv->instance))
        unpublish_end(sv);
}

void unpublish_rested(struct served *sv, int code)
{
    if (code != -ECANCELED) {
        unpublish_end(sv);
        return;
    }
    csi_call_fail(sv->unpublish, GRPC_UNAVAILABLE, "the node agent is restarting");
    sv->unpublish = NULL;
}

/* A volume that was never published, or by an agent whose journal is gone: whatever is there is removed. */
static void unpublish_unknown(struct agent *a, const struct csi_unpublish_request *req, struct csi_call *call)
{
    struct err err = ERR_INIT;
    char dir[VOLUME_DIR_MAX];
    int r = volume_dir(req->pod_uid, req->volume_name, dir);

    if (r < 0)
        r = err_say(&err, EINVAL, "the call does not name a pod's inline volume");
    else
        r = target_remove(&a->target, dir, &err);
    for (int i = 0; i < 40 && r > 0; i++)
        r = target_remove(&a->target, dir, &err);
    if (r > 0)
        r = err_say(&err, EAGAIN, "its directories are being removed");
    if (r == 0)
        r = journal_remove(a->volumes_fd, req->volume_id, &err);
    if (r < 0)
        csi_call_fail(call, GRPC_UNAVAILABLE, "%s", err_text(&err));
    else
        csi_call_ok(call);
}

static void on_unpublish(const struct csi_unpublish_request *req, struct csi_call *call, void *user)
{
    struct agent *a = user;
    struct served *sv = map_get(a->volumes, req->volume_id);
    const char *runs;

    map_remove(a->tried, req->volume_id);
    if (!sv) {
        unpublish_unknown(a, req, call);
        return;
    }
    runs = consumer_runs(sv);
    if (runs) {
        csi_call_fail(call, GRPC_UNAVAILABLE,
                "container %s has not ended, or the runtime does not say so yet: its volume stays, which "
                "keeps "
                "the next pod off its root",
                runs);
        return;
    }
    sv->leaving = true;
    if (sv->instance->provider == sv) {
        sv->instance->i.provider_leaving = true;
        publish_settle(sv->instance); /* ends the calls that wait for its roots; sv keeps the instance */
    }
    visitor_free_all(sv);
    sv->serve = serve_free(sv->serve);
    sv->unpublish = call;
    unpublish_continue(sv);
}

static bool on_ready(void *user)
{
    const struct agent *a = user;

    return a->registered;
}

void publish_stop(struct agent *a)
{
    list_for_each (it, &a->waiting) {
        struct waiting *w = list_entry(it, struct waiting, node);

        waiting_fail(w, GRPC_UNAVAILABLE, "the node agent is restarting");
    }
}

const struct csi_ops publish_ops = {
        .publish = on_publish,
        .unpublish = on_unpublish,
        .cancelled = on_cancelled,
        .ready = on_ready,
};
