/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer's side (agent.h): a container asks for its root.
 *
 * One attach at a time for each container name; who else asks meanwhile (a probe beside the first process)
 * waits and shares its result. A container that has its root is answered at once. Which container it is goes
 * into the journal before it is given the root, so that the next agent knows what may be on it, whenever this
 * one ends: its volume stays until that container has ended (consumer_runs). What the attach needs
 * beside the two roots: the provider's image's VOLUMEs, and the mounts that the kubelet asked for, both of
 * which decide what is carried (mounts/carry.h); the working directory as the runtime has it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/base/log.h"
#include "common/names.h"
#include "node-agent/agent.h"
#include "node-agent/keptroot.h"
#include "node-agent/mounts/attach.h"
#include "node-agent/mounts/expose.h"
#include "node-agent/rootdir.h"

static int kill_init(const struct peer *peer)
{
    return syscall(SYS_pidfd_send_signal, peer->init.pidfd, SIGKILL, NULL, 0) < 0 ? -errno : 0;
}

void consumer_kill(struct served *consumer)
{
    const struct volume *v = consumer->volume;

    for (size_t i = 0; i < consumer->n_slots; i++) {
        const struct slot *s = &consumer->slots[i];
        int r = s->peer ? kill_init(s->peer) : -ESRCH;

        if (r == 0)
            log_info("pod %s/%s: container %s was ended: its root is lost: %s", v->pod_namespace, v->pod_name,
                    s->container->name, v->lost);
        else if (r != -ESRCH)
            log_error("pod %s/%s: container %s runs on a lost root and cannot be ended: %s", v->pod_namespace,
                    v->pod_name, s->container->name, strerror(-r));
    }
}

const char *consumer_runs(const struct served *sv)
{
    if (sv->volume->role != VOLUME_CONSUMER)
        return NULL;
    for (size_t i = 0; i < sv->n_slots; i++) {
        const struct slot *s = &sv->slots[i];

        if (s->peer ? process_alive(&s->peer->init) : s->container->id[0] != '\0')
            return s->container->name;
    }
    return NULL;
}

static void unmark(struct served *sv)
{
    const struct volume *v = sv->volume;
    struct err err = ERR_INIT;
    bool again = sv->still_marked;

    sv->still_marked = target_unmark(&sv->agent->target, v->dir, &err) < 0;
    if (sv->still_marked && !again)
        log_warn("pod %s/%s: its root is lost, and still marked as one: %s", v->pod_namespace, v->pod_name,
                err_text(&err));
    if (sv->still_marked)
        agent_touch_later(sv->instance);
}

void consumer_settle(struct served *sv)
{
    if (sv->still_marked && !sv->leaving)
        unmark(sv);
}

void consumer_lose(struct node_instance *in, const char *reason)
{
    struct served *sv = in->consumer;
    struct err err = ERR_INIT;

    if (!instance_is_on_roots(&in->i) || !instance_lose(sv->volume, reason))
        return;
    if (served_journal(sv, &err) < 0)
        log_error("pod %s/%s: the loss of its root is not on disk: %s", sv->volume->pod_namespace,
                sv->volume->pod_name, err_text(&err));
    unmark(sv);
    consumer_kill(sv);
}

/* --- the answer ------------------------------------------------------------------------------------------
 */

static size_t count(char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

static bool wants_entrypoint(const struct visitor *v)
{
    return v->request.kind == WIRE_RUN && v->request.want_entrypoint;
}

/* By Kubernetes' rules: no command in the pod: the image's ENTRYPOINT, and its CMD unless the pod has args.
 */
static void answer_attached(struct visitor *v, const struct cri_image *image)
{
    bool entrypoint = wants_entrypoint(v);
    struct wire_attached reply = {.workdir = v->peer->container->working_dir};
    uint8_t *frame = malloc(WIRE_REPLY_MAX);
    int len;

    if (entrypoint) {
        reply.entrypoint = (const char *const *)image->entrypoint;
        reply.entrypoint_count = count(image->entrypoint);
        if (!v->request.have_args) {
            reply.cmd = (const char *const *)image->cmd;
            reply.cmd_count = count(image->cmd);
        }
    }
    len = frame ? wire_encode_attached(frame, WIRE_REPLY_MAX, &reply) : -ENOMEM;
    if (entrypoint && image->command_too_long && len > 0)
        len = -EMSGSIZE;
    if (len == -ENOMEM) {
        visitor_refuse(v, true, "the node agent is out of memory");
    } else if (len < 0) {
        visitor_refuse(v, false,
                "the image's ENTRYPOINT and CMD are too long to be handed over; give the container a "
                "command");
    } else {
        if (v->request.kind == WIRE_RUN)
            hook_first_goes_on(visitor_slot(v), v->peer);
        visitor_end(v, frame, len);
    }
    free(frame);
}

static bool has_root(const struct slot *s, const struct peer *peer)
{
    return s->attached && s->peer && strcmp(s->peer->container->id, peer->container->id) == 0 &&
           process_alive(&s->peer->init);
}

/* --- the attach ------------------------------------------------------------------------------------------
 */

static void attach_succeeded(struct slot *s, bool already)
{
    struct served *sv = s->served;
    const struct volume *v = sv->volume;

    s->attached = true;
    if (v->lost[0]) {
        consumer_kill(sv);
        return;
    }
    log_info("pod %s/%s: container %s %s its root", v->pod_namespace, v->pod_name, s->container->name,
            already ? "still has" : "has");
    visitor_settle(sv);
}

/* One that fails is asked for again, as often as a process of the pod likes. */
static void warn_of_asides(const struct slot *s, const struct attach_result *result)
{
    struct agent *a = s->served->agent;
    const struct volume *v = s->served->volume;
    size_t told = result->code == 0 || result->n_asides < 2 ? result->n_asides : 0;

    for (size_t i = 0; i < told; i++)
        agent_warn(a, "pod %s/%s: container %s: %s was in the way of a mount and is %s now", v->pod_namespace,
                v->pod_name, s->container->name, result->asides[i].path, result->asides[i].moved_to);
    if (told < result->n_asides)
        agent_warn(a,
                "pod %s/%s: container %s: %zu things were in the way of mounts and were renamed, the first "
                "of them %s to %s",
                v->pod_namespace, v->pod_name, s->container->name, result->n_asides, result->asides[0].path,
                result->asides[0].moved_to);
}

static void on_attached(const struct attach_result *result, void *data)
{
    struct slot *s = data;
    struct served *sv = s->served;

    warn_of_asides(s, result);
    if (result->commands_cut)
        agent_warn(sv->agent,
                "pod %s/%s: container %s: its root has more commands than %d: the others can be executed "
                "through a shell only",
                sv->volume->pod_namespace, sv->volume->pod_name, s->container->name, LIMIT_COMMANDS);
    s->attaching = false;
    if (result->code == 0) {
        attach_succeeded(s, result->already);
    } else {
        visitor_refuse_name(sv, s->container->name, err_is_passing(result->code), result->text);
    }
    agent_touch(sv->instance);
    unpublish_continue(sv);
}

/* The mount namespace is none of those of the instance's other containers. The peer's check has shown that it
 * is its container's first process's; but that process may have gone elsewhere before. */
static bool is_elsewhere(const struct served *sv, const struct slot *own, const struct mntns *ns)
{
    for (size_t i = 0; i < sv->n_slots; i++) {
        const struct slot *s = &sv->slots[i];

        struct file_id its;

        if (s != own && s->peer && mntns_identify(&s->peer->init, &its, NULL) == 0 &&
                file_id_equal(&its, &ns->id))
            return true;
    }
    return false;
}

static int attach(
        struct slot *s, const struct cri_image *image, const struct peer *peer, int exposed, struct err *err)
{
    struct agent *a = s->served->agent;
    const struct cri_container *c = peer->container;
    const char **own = calloc(c->n_mounts + 1, sizeof(*own));
    const struct attach_chroot chroot = {
            .execwrap = a->target.execwrap_path,
            .search = c->search,
            .capability = c->uid != 0,
    };
    struct attach_request req = {
            .pod = s->served->volume->pod_uid,
            .target = c->id,
            .machine = &a->machine,
            .caps = &a->mount_caps,
            .process = &peer->process,
            .ns = &peer->ns,
            .exposed = exposed,
            .workdir = c->working_dir,
            .own_mounts = own,
            .n_own_mounts = c->n_mounts,
            .image_volumes = (const char *const *)image->volumes,
            .n_image_volumes = image->n_volumes,
            .read_only = s->container->readonly,
            .chroot = s->served->volume->chroot ? &chroot : NULL,
    };
    int r;

    if (!own)
        return err_set(err, ENOMEM, "cannot attach");
    for (size_t i = 0; i < c->n_mounts; i++)
        own[i] = c->mounts[i].container_path;
    r = attach_start(a->workers, &req, on_attached, s, err);
    free(own);
    return r;
}

/* From now on the peer's container may be on the root, also where the attach is said to have failed: a worker
 * that is out of time may have come to its end. */
static int may_run(struct slot *s, struct peer *peer, struct err *err)
{
    char before[sizeof(s->container->id)];
    int r;

    if (strcmp(s->container->id, peer->container->id) != 0) {
        memcpy(before, s->container->id, sizeof(before));
        (void)snprintf(s->container->id, sizeof(s->container->id), "%s", peer->container->id);
        r = served_journal(s->served, err);
        if (r < 0) {
            memcpy(s->container->id, before, sizeof(before));
            return -EAGAIN; /* a disk that is full may have room again */
        }
    }
    (void)peer_unref(s->peer);
    s->peer = peer_ref(peer);
    s->attached = false;
    return 0;
}

/* By this what is executed in the container later knows that it need not ask. */
static int mark(const struct slot *s, int exposed, struct err *err)
{
    const struct volume *v = s->served->volume;
    int r = v->chroot ? 0 : target_mark_root(&s->served->agent->target, v->dir, exposed, err);

    return r < 0 ? -EAGAIN : 0; /* as in may_run */
}

static int attach_begin(struct slot *s, const struct cri_image *image, struct peer *peer, struct err *err)
{
    const struct served *provider = s->served->instance->provider;
    _cleanup_close_ int dir =
            rootdir_open(s->served->agent->instances_fd, s->served->volume->instance_uid, s->container->name);
    _cleanup_close_ int exposed = -EBADF;
    int r;

    if ((provider && is_elsewhere(provider, NULL, &peer->ns)) || is_elsewhere(s->served, s, &peer->ns))
        return err_say(err, EPERM, "container %s is in the mount namespace of another container",
                peer->container->container_name);
    if (dir < 0)
        return err_set(err, dir, "cannot open the exposed root of container %s", s->container->name);
    r = s->served->volume->node ? keptroot_check_image(dir, s->container->name, image->chain, err) : 0;
    if (r == 0)
        r = expose_open(dir, SC_ROOTFS_DIR, &exposed, err);
    if (r == 0)
        r = mark(s, exposed, err);
    if (r == 0)
        r = may_run(s, peer, err);
    if (r == 0)
        r = attach(s, image, peer, exposed, err);
    s->attaching = r == 0;
    return r;
}

/* The image whose files the root lies over: the provider's. In persistence Node there may be no provider now, and
 * the consumer's container runs the same image; or another, where its name means another one by now: attach_begin
 * refuses that, since nothing would keep the runtime from removing the layers under the root. */
static const struct cri_image *image_of(struct slot *s, struct slot *root, const struct peer *peer)
{
    bool own = s->served->volume->node && (!root || root->container->root != ROOT_EXPOSED);

    if (own)
        return slot_image(s, peer) ? s->image : NULL;
    return provider_image(root) ? root->image : NULL;
}

/* Of a container that has its root the image is asked only for what it alone can say. */
void consumer_attach(struct visitor *v, struct slot *root)
{
    struct slot *s = visitor_slot(v);
    bool ready = has_root(s, v->peer), wanted = !ready || wants_entrypoint(v);
    const struct cri_image *image = wanted ? image_of(s, root, v->peer) : NULL;
    const char *waits_for;
    struct err err = ERR_INIT;
    int r;

    if (wanted && (!image || s->attaching))
        return; /* goes on when it is there */
    if (ready) {
        answer_attached(v, image);
        return;
    }
    waits_for = hook_waits_for(s, v);
    if (waits_for) {
        visitor_say(v, waits_for);
        return;
    }
    r = peer_open_namespace(v->peer, &s->served->agent->machine, &err);
    if (r == 0)
        r = attach_begin(s, image, v->peer, &err);
    peer_leave_namespace(v->peer);
    if (r < 0)
        visitor_refuse(v, err_is_passing(r), err_text(&err));
}
