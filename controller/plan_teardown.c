/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an instance: the SCI is marked (deleted, held by our finalizer), the consumer goes, then the
 * provider, then the node is known to be clean, then the finalizers. Each step waits for the one before, and
 * a controller that starts in the middle goes on from what it finds.
 *
 * "Clean" is known when each pod was last seen terminal and being deleted (the kubelet keeps such an object
 * until its volumes are unpublished), or was never on a node. Otherwise a reclaim pod asks the node; a node
 * whose object is gone needs none. In persistence Node there is always one, since it is what removes the root.
 */
#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/reclaim_pod.h"
#include "controller/status.h"

#define NODE_ANSWER_AGE (5 * USEC_PER_SEC)
/* A reclaim pod that has not ended after that long: does its node answer at all? */
#define RECLAIM_PATIENCE (30 * USEC_PER_SEC)

static void on_the_way(struct view *v)
{
    verdict_phase(v, SC_PHASE_STOPPING, SC_PHASE_STOPPING, true);
}

/* One pod away. Returns 1 while it is there, 0 when it is not. */
static int remove_pod(
        struct view *v, enum action_kind kind, const struct pod_facts *f, const struct json *pod)
{
    int r = 0;

    if (!f->exists)
        return 0;
    on_the_way(v);
    opine(&v->verdict.ready, "False", "Deleting", "pod %s is ending", json_str_or(pod, "metadata.name", ""));
    if (!f->deleting)
        r = plan_delete_pod(v, kind, pod);
    else
        verdict_pod_overdue(v, f, pod);
    return r < 0 ? r : 1;
}

static bool condition_false(const struct json *object, const char *type)
{
    json_for_each (condition, json_at(object, "status.conditions"))
        if (strcmp(json_str_or(condition, "type", ""), type) == 0)
            return strcmp(json_str_or(condition, "status", ""), "False") == 0;
    return false;
}

/* Nothing remembered: what the status says about the consumer, and for the provider nothing at all. */
static bool needs_reclaim(const struct view *v)
{
    if (v->on_node || v->m->unclean || condition_false(v->o->sci, SCI_COND_NODE_CLEAN))
        return true;
    return (!v->m->consumer.known && status_may_run(v->o->sci)) || (!v->m->provider.known && v->root_id[0]);
}

const char *plan_last_node(const struct view *v)
{
    if (v->node[0])
        return v->node;
    return v->m->provider.node[0] ? v->m->provider.node : v->m->consumer.node;
}

/* A reclaim pod that its node does not run. Returns 0 when the node will never answer, else 1. */
static int reclaim_overdue(struct view *v)
{
    const struct pod_facts *f = &v->reclaim;
    usec_t due = usec_add(f->created_at, RECLAIM_PATIENCE);
    enum node_state node;

    if (v->o->realtime < due) {
        plan_requeue(v, usec_add(v->o->now, due - v->o->realtime));
        return 1;
    }
    node = plan_node_state(v, f->node, NODE_ANSWER_AGE);
    if (node == NODE_GONE)
        return 0;
    if (node == NODE_UNKNOWN) {
        v->no_status = true;
        return 1;
    }
    plan_requeue(v, usec_add(v->o->now, backoff_next(&v->m->node_backoff)));
    if (node == NODE_NOT_READY)
        opine(&v->verdict.ready, "False", "NodeNotResponding",
                "node %s is not Ready and cannot say that nothing is left of the instance. Once it is back, "
                "deleted, or tainted node.kubernetes.io/out-of-service, this goes on by itself",
                f->node);
    return 1;
}

/* The answer is that the volume was published, which nobody reads but the kubelet: it touches a pod's images and
 * containers only when all volumes are mounted (syncPod: WaitForAttachAndMount). So where our own image cannot be had on
 * the node, what the container then waits for proves as much as its end. These are the kubelet's reasons for a container
 * that it could not start (pkg/kubelet/images, pkg/kubelet/kuberuntime, cri-api); any other proves nothing. */
static bool answered(const struct pod_facts *f)
{
    static const char *const after_the_mount[] = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull",
            "ImageInspectError", "InvalidImageName", "RegistryUnavailable", "SignatureValidationFailed",
            "CreateContainerConfigError", "PreCreateHookError", "CreateContainerError", "PreStartHookError",
            "RunContainerError"};

    for (size_t i = 0; i < ARRAY_SIZE(after_the_mount); i++)
        if (strcmp(f->waiting_reason, after_the_mount[i]) == 0)
            return true;
    return f->succeeded;
}

/* The reclaim pod that is there: 0 when its node has answered. It is taken away only after the instance, since it
 * is all that proves the answer. */
static int follow_reclaim(struct view *v)
{
    const struct pod_facts *f = &v->reclaim;

    if (answered(f))
        return 0;
    if (f->deleting)
        return 1;
    if (f->terminal) {
        if (strcmp(v->m->write_sent[ACT_RECLAIM_DELETE], f->uid) != 0)
            v->m->reclaim_at = usec_add(v->o->now, backoff_next(&v->m->again));
        return plan_delete_pod(v, ACT_RECLAIM_DELETE, v->o->reclaim) < 0 ? -ENOMEM : 1;
    }
    on_the_way(v);
    opine(&v->verdict.ready, "False", "WaitingForNode",
            "waiting for the agent on node %s to confirm that nothing is left of the instance (pod %s in "
            "namespace %s)",
            f->node, json_str_or(v->o->reclaim, "metadata.name", ""), v->config->namespace);
    return reclaim_overdue(v);
}

/* Returns 0 when the node is clean, 1 while that is not known. */
static int reclaim(struct view *v)
{
    const char *node = plan_last_node(v);
    char name[sizeof(SC_RECLAIM_PREFIX) + LIMIT_UID];
    struct json *pod;
    int r;

    if (v->reclaim.exists)
        return follow_reclaim(v);
    if (!node[0] || !needs_reclaim(v))
        return 0;
    on_the_way(v);
    opine(&v->verdict.ready, "False", "Deleting", "node %s is asked whether anything is left of the instance",
            node);
    verdict_refused(v, ACT_RECLAIM_CREATE);
    if (v->m->reclaim_at > v->o->now)
        plan_requeue(v, v->m->reclaim_at);
    if (v->m->reclaim_at > v->o->now || !plan_may(v, ACT_RECLAIM_CREATE))
        return 1;
    switch (plan_node_state(v, node, NODE_ANSWER_AGE)) {
    case NODE_GONE:
        return 0;
    case NODE_UNKNOWN:
        v->no_status = true;
        return 1;
    case NODE_READY:
    case NODE_NOT_READY:
    default:
        break;
    }
    r = reclaim_pod_build(v->o->sci, node, v->config->namespace, v->config->reclaim_image, &pod);
    if (r < 0)
        return r;
    snprintf(name, sizeof(name), SC_RECLAIM_PREFIX "%s", v->uid);
    r = plan_add(v, ACT_RECLAIM_CREATE, name, pod);
    return r < 0 ? r : 1;
}

/* What never ran on the root need not be kept waiting for. */
static int remove_pods(struct view *v)
{
    int consumer = remove_pod(v, ACT_CONSUMER_DELETE, &v->consumer, v->o->consumer);
    int provider = 0;

    if (consumer < 0)
        return consumer;
    if (consumer == 0 || plan_root_unused(v))
        provider = remove_pod(v, ACT_PROVIDER_DELETE, &v->provider, v->o->provider);
    return provider < 0 ? provider : consumer | provider;
}

/* Somebody deleted the instance of a StoppableContainer that stays, and its root went with it. Whatever of ours does that
 * has told why already. */
static bool thrown_away_by_hand(const struct view *v)
{
    const struct json *sc = v->o->sc;

    if (!sc || object_deleting(sc) || v->m->namespace == NAMESPACE_TERMINATING || plan_root_unused(v))
        return false;
    return strcmp(json_str_or(sc, "spec.rootfs.resetToken", ""),
                   json_str_or(v->o->sci, "spec.resetToken", "")) == 0 &&
           !condition_false(v->o->sci, SC_COND_ROOTFS_INTACT);
}

static int release_instance(struct view *v)
{
    int r = 0;

    if (thrown_away_by_hand(v) &&
            strcmp(v->m->write_sent[ACT_SCI_RELEASE], json_str_or(v->o->sci, "metadata.uid", "")) != 0)
        r = plan_event(
                v, &(struct plan_event){.warning = true,
                           .reason = "InstanceDeleted",
                           .message = "the StoppableContainerInstance was deleted, and the root filesystem "
                                      "with it: the next start makes a fresh one"});
    return r < 0 ? r : plan_release(v, ACT_SCI_RELEASE, v->o->sci);
}

/* Both in one plan, whose writes end with the first that fails. While the instance's waits for its next try, the
 * StoppableContainer waits too: who sees it gone relies on it that nothing of it is left. */
static int release(struct view *v)
{
    const struct json *sc = v->o->sc;
    int r = 0;

    v->no_status = true;
    if (object_has_finalizer(v->o->sci, SC_FINALIZER)) {
        if (!plan_may(v, ACT_SCI_RELEASE))
            return 0;
        r = release_instance(v);
    }
    if (r == 0 && !v->reclaim.exists && sc && object_deleting(sc) && object_has_finalizer(sc, SC_FINALIZER))
        r = plan_release(v, ACT_SC_RELEASE, sc);
    return r;
}

int plan_teardown(struct view *v)
{
    int r = 0;

    v->no_status = !v->o->sc;
    if (!object_deleting(v->o->sci))
        r = plan_delete_instance(v);
    if (r == 0)
        r = remove_pods(v);
    if (r == 0)
        r = reclaim(v);
    if (r == 0 && object_deleting(v->o->sci))
        r = release(v);
    return r < 0 ? r : 0;
}
