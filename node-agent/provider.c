/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's side (agent.h): one root for each of its containers.
 *
 *   hello, by a verified process    the container's id is journaled: it is the only one that may ever hold
 *                                   this root. Then its first process is watched, and the root exposed
 *   the first process ends          the root is lost: journaled at once; no attach any more; the copy on the
 *                                   node is detached; the consumer's processes are ended, since a root whose
 *                                   container is being removed reads stale and refuses every create
 *
 * A root that a process of an earlier agent exposed is found mounted, and taken as it is.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/names.h"
#include "node-agent/agent.h"
#include "node-agent/mounts/expose.h"
#include "node-agent/rootdir.h"

static void unexpose(struct slot *s)
{
    const struct volume *v = s->served->volume;
    struct err err = ERR_INIT;
    bool again = s->left;

    s->left = rootdir_unexpose(s->served->agent->instances_fd, v->instance_uid, s->container->name, &err) < 0;
    if (s->left && !again)
        log_warn("pod %s/%s: the root of container %s stays exposed: %s", v->pod_namespace, v->pod_name,
                s->container->name, err_text(&err));
    if (s->left)
        agent_touch_later(s->served->instance);
}

void provider_unexpose(struct served *sv)
{
    for (size_t i = 0; i < sv->n_slots; i++) {
        struct slot *s = &sv->slots[i];

        if (s->container->root == ROOT_EXPOSING)
            continue; /* undone when it is done */
        unexpose(s);
        s->container->root = ROOT_NONE;
    }
}

void provider_settle(struct served *sv)
{
    for (size_t i = 0; i < sv->n_slots; i++)
        if (sv->slots[i].left && sv->volume->lost[0] && !sv->leaving)
            unexpose(&sv->slots[i]);
}

void provider_lose(struct node_instance *in, const char *reason)
{
    struct served *sv = in->provider;
    struct err err = ERR_INIT;

    if (!instance_lose(sv->volume, reason))
        return;
    log_info("pod %s/%s: its root is lost: %s", sv->volume->pod_namespace, sv->volume->pod_name, reason);
    if (served_journal(sv, &err) < 0)
        log_error("pod %s/%s: the loss is not on disk: %s", sv->volume->pod_namespace, sv->volume->pod_name,
                err_text(&err));
    provider_unexpose(sv);
    consumer_lose(in, reason);
    agent_touch(in);
}

static void on_init_ended(struct loop_source *src, int code, int status, void *data)
{
    struct slot *s = data;
    char reason[VOLUME_REASON_MAX];

    (void)src;
    (void)code;
    (void)status;
    s->watch = loop_remove(s->watch);
    if (s->served->volume->node) {
        provider_node_ended(s);
        return;
    }
    (void)snprintf(reason, sizeof(reason), "container %s of the provider pod has ended", s->container->name);
    provider_lose(s->served->instance, reason);
}

/* From now on the peer's container holds the root. */
static int hold(struct slot *s, struct peer *peer, struct err *err)
{
    struct loop_source *watch = NULL;
    int r;

    if (s->peer && s->watch && strcmp(s->peer->container->id, peer->container->id) == 0 &&
            process_alive(&s->peer->init))
        return 0;
    r = loop_add_pidfd(s->served->agent->loop, "provider", peer->init.pidfd, on_init_ended, s, &watch);
    if (r < 0)
        return err_set(err, r, "cannot watch container %s", s->container->name);
    s->watch = loop_remove(s->watch);
    (void)peer_unref(s->peer);
    s->peer = peer_ref(peer);
    s->watch = watch;
    return 0;
}

/* --- the image's config ----------------------------------------------------------------------------------
 */

static void on_image(int code, struct cri_image *image, const struct err *err, void *user)
{
    struct slot *s = user;
    struct served *consumer = s->served->instance->consumer;

    s->image_request = NULL;
    if (code == 0) {
        s->image = image;
    } else {
        agent_warn(s->served->agent, "pod %s/%s: no config of the image of container %s: %s",
                s->served->volume->pod_namespace, s->served->volume->pod_name, s->container->name,
                err_text(err));
        if (consumer)
            visitor_refuse_name(consumer, s->container->name, code != -E2BIG, err_text(err));
        if (s->served->volume->node && s->served->volume->role == VOLUME_PROVIDER)
            visitor_refuse_name(s->served, s->container->name, true, err_text(err));
    }
    agent_touch(s->served->instance);
}

bool slot_image(struct slot *s, const struct peer *peer)
{
    struct cri *cri = s->served->agent->cri;

    if (peer && strcmp(s->image_for, peer->container->id) != 0) {
        s->image_request = cri_cancel(s->image_request);
        s->image = cri_image_free(s->image);
        (void)snprintf(s->image_for, sizeof(s->image_for), "%s", peer->container->id);
    }
    if (s->image)
        return true;
    if (!s->image_request && peer &&
            cri_image_status(cri, peer->container->image_id, on_image, s, &s->image_request) < 0)
        log_error("cannot ask the runtime for an image"); /* asked again at the next attach */
    return false;
}

bool provider_image(struct slot *s)
{
    return slot_image(s, s->peer);
}

/* --- exposing --------------------------------------------------------------------------------------------
 */

static void on_exposed(int code, const char *text, void *data)
{
    struct slot *s = data;
    struct served *sv = s->served;
    const struct volume *v = sv->volume;

    s->container->root = code == 0 ? ROOT_EXPOSED : ROOT_NONE;
    if (code == 0 && v->lost[0]) {
        unexpose(s);
        s->container->root = ROOT_NONE;
    } else if (code == 0) {
        log_info("pod %s/%s: the root of container %s is exposed", v->pod_namespace, v->pod_name,
                s->container->name);
    } else {
        visitor_refuse_name(sv, s->container->name, true, text);
    }
    agent_touch(sv->instance);
    unpublish_continue(sv);
}

static int expose(struct slot *s, struct peer *peer, int dir, struct err *err)
{
    struct agent *a = s->served->agent;
    const struct expose_request req = {
            .pod = s->served->volume->pod_uid,
            .target = peer->container->id,
            .machine = &a->machine,
            .caps = &a->mount_caps,
            .process = &peer->process,
            .ns = &peer->ns,
            .dir = dir,
            .name = SC_ROOTFS_DIR,
    };
    int r = peer_open_namespace(peer, &a->machine, err);

    if (r == 0)
        r = expose_start(a->workers, &req, on_exposed, s, err);
    peer_leave_namespace(peer);
    if (r == 0)
        s->container->root = ROOT_EXPOSING;
    return r;
}

/* The one container id that may hold the root; in persistence Node the one that holds it now. */
static int record(struct slot *s, const char *id, struct err *err)
{
    int r;

    if (strcmp(s->container->id, id) == 0 || (s->container->id[0] && !s->served->volume->node))
        return 0;
    (void)snprintf(s->container->id, sizeof(s->container->id), "%s", id);
    r = served_journal(s->served, err);
    if (r < 0)
        s->container->id[0] = '\0';
    return r;
}

int provider_take(struct slot *s, struct peer *peer, struct err *err)
{
    struct served *sv = s->served;
    struct agent *a = sv->agent;
    bool adopting = s->container->root == ROOT_ADOPTING;
    _cleanup_close_ int dir = -EBADF;
    int there;
    int r = record(s, peer->container->id, err);

    if (r == 0)
        r = hold(s, peer, err);
    if (r == 0)
        r = rootdir_make(a->instances_fd, sv->volume->instance_uid, s->container->name, &dir, err);
    if (r < 0)
        return r;
    (void)provider_image(s);
    there = expose_is_exposed(dir, SC_ROOTFS_DIR);
    if (there < 0)
        return err_set(err, there, "cannot look at the exposed root of container %s", s->container->name);
    /* In persistence Node the id is journaled before the image is judged: it says nothing of the answer. */
    if (there > 0 && adopting && !sv->volume->node) {
        s->container->root = ROOT_EXPOSED;
        log_info("pod %s/%s: the root of container %s is still exposed", sv->volume->pod_namespace,
                sv->volume->pod_name, s->container->name);
        agent_touch(sv->instance);
        return 0;
    }
    if (sv->volume->node)
        return provider_node_take(s, peer, dir, err);
    s->container->root = ROOT_NONE;
    if (there > 0)
        r = expose_remove(dir, SC_ROOTFS_DIR, err);
    return r < 0 ? r : expose(s, peer, dir, err);
}
