/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's side in persistence Node (agent.h): a root of the node's, over the layers of the image that
 * the provider's container runs.
 *
 *   hello         the runtime says what layers the image has; keptroot.h decides on what is there
 *   exposed yet   by this agent or an earlier one: it is that root. Nothing is mounted twice
 *   otherwise     the layers are read from the container's own root, a root is made if there is to be a new
 *                 one, and mounted (mounts/overlay.h)
 *   its end       nothing is lost; the next provider's hello finds the root exposed
 *   with the last published volume of the instance the root is unmounted (rest.c), and stays on disk
 *
 * A sizeLimit that the file system cannot hold is told as a refusal is, once; the next provider's volume says
 * that it was, and the root is made without one and watched (use.c).
 *
 * A refusal for good ends pause, whose container then says why: "REASON: sentence".
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/names.h"
#include "node-agent/agent.h"
#include "node-agent/keptroot.h"
#include "node-agent/mounts/expose.h"
#include "node-agent/mounts/overlay.h"
#include "node-agent/rootdir.h"

#define HELD_PATIENCE (2 * USEC_PER_SEC)

/* "NAME" of the root: what is worked on by one worker at a time. */
enum { ROOT_NAME_MAX = LIMIT_UID + LIMIT_NAMESPACE + 32 };

static void root_path(const struct slot *s, char ret[ROOT_NAME_MAX])
{
    (void)snprintf(ret, ROOT_NAME_MAX, SC_INSTANCES_DIR "/%s/%s", s->served->volume->instance_uid,
            s->container->name);
}

/* The root is kept through a disk's bad times too. */
static bool is_passing(int code)
{
    return agent_is_passing(code) || code == -OVERLAY_HELD;
}

/* What is held for longer than it takes a container to end is told; the next provider tries again. Less than the
 * time after which the controller takes a provider that runs for a sign that all is well. */
static bool is_held(struct slot *s, int code)
{
    usec_t now = clock_monotonic();

    if (code != -OVERLAY_HELD)
        s->busy_since = 0;
    else if (s->busy_since == 0)
        s->busy_since = now;
    return code == -OVERLAY_HELD && now - s->busy_since >= HELD_PATIENCE;
}

static const char *reason_of(int code)
{
    return code == -OVERLAY_HELD ? SC_REASON_ROOT_HELD
           : code == -ENOSYS     ? SC_REASON_LIMIT_WATCHED
                                 : SC_REASON_ROOT_UNUSABLE;
}

/* Ends a try: those of the container who wait hear of it. */
static void fail(struct slot *s, int code, const char *text)
{
    struct served *sv = s->served;
    bool held = is_held(s, code), passing = is_passing(code) && !held;
    char refusal[DECISION_TEXT_MAX];

    s->container->root = ROOT_NONE;
    (void)snprintf(
            refusal, sizeof(refusal), "%s%s%s", passing ? "" : reason_of(code), passing ? "" : ": ", text);
    visitor_refuse_name(sv, s->container->name, passing, refusal);
    agent_touch(sv->instance);
    unpublish_continue(sv);
}

void provider_node_exposed(struct slot *s)
{
    struct node_instance *in = s->served->instance;
    const struct volume *v = s->served->volume;
    struct slot *c = in->consumer ? served_slot(in->consumer, s->container->name) : NULL;

    s->busy_since = 0;
    /* Its container may have ended meanwhile: no consumer may start before there is another. */
    s->container->root = s->watch ? ROOT_EXPOSED : ROOT_NONE;
    if (c && in->consumer->volume->node)
        c->container->root = ROOT_EXPOSED;
    log_info("pod %s/%s: the root of container %s is exposed", v->pod_namespace, v->pod_name,
            s->container->name);
    agent_touch(in);
}

void provider_node_ended(struct slot *s)
{
    const struct volume *v = s->served->volume;

    log_info("pod %s/%s: container %s of the provider has ended; its root stays", v->pod_namespace,
            v->pod_name, s->container->name);
    if (s->container->root != ROOT_EXPOSING)
        s->container->root = ROOT_NONE;
    agent_touch(s->served->instance);
}

static void on_mounted(int code, const char *text, void *data)
{
    struct slot *s = data;

    if (code < 0) {
        fail(s, code, text);
        return;
    }
    provider_node_exposed(s);
    unpublish_continue(s->served);
}

static int mount_root(struct slot *s, int dir, const struct overlay_layers *layers, struct err *err)
{
    struct agent *a = s->served->agent;
    char path[ROOT_NAME_MAX];
    const struct overlay_mount_request req = {
            .pod = s->served->volume->pod_uid,
            .target = path,
            .machine_ns = a->machine_ns,
            .caps = &a->mount_caps,
            .layers = layers,
            .runtime_root = a->runtime_root,
            .state_dir = a->options->state_dir,
            .path = path,
            .dir = dir,
            .upper = SC_UPPER_DIR,
            .work = SC_WORK_DIR,
            .name = SC_ROOTFS_DIR,
    };

    root_path(s, path);
    return overlay_mount_start(a->workers, &req, on_mounted, s, err);
}

/* VERDICT_DONE and VERDICT_DO become 0, with the record as it is; a refusal -ENOTRECOVERABLE. */
static int judge(struct slot *s, int dir, struct keptroot *k, struct decision *ret, struct err *err)
{
    const struct volume *v = s->served->volume;
    int foreign, r = keptroot_look(dir, k, err);

    if (r < 0)
        return r;
    foreign = rootdir_has_foreign(s->served->agent->instances_fd, v->instance_uid, v->instance_namespace);
    if (foreign < 0)
        return err_set(err, foreign, "cannot tell whose the roots of this instance are");
    k->foreign = foreign > 0;
    *ret = keptroot_decide(k, v, s->container->name, s->image->chain);
    use_watch(s, &k->record);
    return ret->verdict == VERDICT_NEVER ? err_say(err, ENOTRECOVERABLE, "%s", ret->text) : 0;
}

/* The root's files, as they are to be before it is mounted. */
static int prepare(struct slot *s, int dir, int like, struct err *err)
{
    const struct volume *v = s->served->volume;
    struct keptroot k;
    struct decision d;
    int r = judge(s, dir, &k, &d, err);

    if (r < 0)
        return r;
    if (d.verdict == VERDICT_DONE)
        return keptroot_limit(dir, &k.record, v->size_limit, err);
    (void)snprintf(k.record.ns, sizeof(k.record.ns), "%s", v->instance_namespace);
    (void)snprintf(k.record.chain, sizeof(k.record.chain), "%s", s->image->chain);
    k.record.size_limit = v->size_limit;
    r = keptroot_make(dir, like, v->use != USE_NONE, &k.record, err);
    if (r == -ENOSYS)
        return err_say(err, ENOSYS, USE_WATCHED_TEXT, v->size_limit);
    if (r == 0)
        use_watch(s, &k.record);
    return r;
}

static void on_looked(int code, const char *text, struct overlay_layers *layers, int *root, void *data)
{
    struct slot *s = data;
    struct served *sv = s->served;
    struct err err = ERR_INIT;
    _cleanup_close_ int dir = -EBADF;
    int r = code;

    if (code < 0)
        (void)err_say(&err, -code, "%s", text);
    else if (sv->leaving)
        r = err_say(&err, ECANCELED, "the provider's volume is being unmounted");
    else if (!s->image)
        r = err_say(&err, EAGAIN, "the image is asked for again");
    else
        r = rootdir_make(sv->agent->instances_fd, sv->volume->instance_uid, s->container->name, &dir, &err);
    if (r == 0)
        r = prepare(s, dir, *root, &err);
    if (r == 0)
        r = mount_root(s, dir, layers, &err);
    if (r == -ENOTRECOVERABLE) {
        s->container->root = ROOT_NONE; /* decided, and told, once more */
        agent_touch(sv->instance);
        unpublish_continue(sv);
    } else if (r < 0) {
        fail(s, r, err_text(&err));
    }
}

static int look(struct slot *s, struct peer *peer, struct err *err)
{
    struct agent *a = s->served->agent;
    const struct overlay_look_request req = {
            .pod = s->served->volume->pod_uid,
            .target = peer->container->id,
            .machine = &a->machine,
            .ns = &peer->ns,
    };
    int r = peer_open_namespace(peer, &a->machine, err);

    if (r == 0)
        r = overlay_look_start(a->workers, &req, on_looked, s, err);
    peer_leave_namespace(peer);
    if (r == 0)
        s->container->root = ROOT_EXPOSING;
    return r;
}

/* Of a root that is exposed. What does not pass is told, as where it is found before a root is mounted (fail). */
static int limit_exposed(struct slot *s, int dir, struct keptroot *k, struct err *err)
{
    int r = keptroot_limit(dir, &k->record, s->served->volume->size_limit, err);
    char why[DECISION_TEXT_MAX];

    if (r == 0 || is_passing(r))
        return r;
    (void)snprintf(why, sizeof(why), "%s", err_text(err));
    return err_say(err, ENOTRECOVERABLE, "%s: %s", reason_of(r), why);
}

int provider_node_take(struct slot *s, struct peer *peer, int dir, struct err *err)
{
    struct keptroot k;
    struct decision d;
    int there, r;

    /* Goes on when it is there; one that is being adopted (recover.c) may have nobody else who asks again. */
    if (!provider_image(s) && s->container->root == ROOT_ADOPTING)
        return 0;
    s->container->root = ROOT_NONE;
    if (!s->image)
        return 0;
    r = judge(s, dir, &k, &d, err);
    if (r < 0)
        return r;
    there = expose_is_exposed(dir, SC_ROOTFS_DIR);
    if (there < 0)
        return err_set(err, there, "cannot look at the exposed root of container %s", s->container->name);
    if (there == 0)
        return look(s, peer, err);
    if (d.verdict != VERDICT_DONE)
        return err_say(err, ENOTRECOVERABLE,
                SC_REASON_ROOT_UNUSABLE ": something is mounted in the place of the root of container %s, "
                                        "which has no record",
                s->container->name);
    r = limit_exposed(s, dir, &k, err);
    if (r == 0)
        provider_node_exposed(s);
    return r;
}
