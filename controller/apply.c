/* SPDX-License-Identifier: Apache-2.0 */
/* See apply.h. */
#include "controller/apply.h"

#include <errno.h>
#include <string.h>

static const struct {
    enum kube_verb verb;
    const struct kube_resource *resource;
    const char *subresource;
} how[ACT_KINDS] = {
        [ACT_SC_FINALIZER] = {KUBE_MERGE_PATCH, &kube_stoppablecontainers, NULL},
        [ACT_SCI_CREATE] = {KUBE_CREATE, &kube_instances, NULL},
        [ACT_CONSUMER_CREATE] = {KUBE_CREATE, &kube_pods, NULL},
        [ACT_PROVIDER_CREATE] = {KUBE_CREATE, &kube_pods, NULL},
        [ACT_PROVIDER_RESIZE] = {KUBE_MERGE_PATCH, &kube_pods, "resize"},
        [ACT_RECLAIM_CREATE] = {KUBE_CREATE, &kube_pods, NULL},
        [ACT_SC_STATUS] = {KUBE_MERGE_PATCH, &kube_stoppablecontainers, "status"},
        [ACT_SCI_STATUS] = {KUBE_MERGE_PATCH, &kube_instances, "status"},
        [ACT_EVENT] = {KUBE_CREATE, &kube_events, NULL},
        [ACT_SCI_DELETE] = {KUBE_DELETE, &kube_instances, NULL},
        [ACT_CONSUMER_DELETE] = {KUBE_DELETE, &kube_pods, NULL},
        [ACT_PROVIDER_DELETE] = {KUBE_DELETE, &kube_pods, NULL},
        [ACT_RECLAIM_DELETE] = {KUBE_DELETE, &kube_pods, NULL},
        [ACT_SCI_RELEASE] = {KUBE_MERGE_PATCH, &kube_instances, NULL},
        [ACT_SC_RELEASE] = {KUBE_MERGE_PATCH, &kube_stoppablecontainers, NULL},
};

struct kube_request apply_request(const struct action *a)
{
    bool delete = how[a->kind].verb == KUBE_DELETE;

    return (struct kube_request){
            .verb = how[a->kind].verb,
            .resource = how[a->kind].resource,
            .namespace = a->namespace,
            .name = how[a->kind].verb == KUBE_CREATE ? NULL : a->name,
            .subresource = how[a->kind].subresource,
            .body = a->body,
            .uid = delete ? a->uid : NULL,
            .version = a->version[0] ? a->version : NULL,
            .grace_seconds = a->grace_seconds,
            .propagation = a->kind == ACT_SCI_DELETE ? "Background" : NULL,
    };
}

const struct kube_resource *apply_resource(enum action_kind kind)
{
    return how[kind].resource;
}

bool apply_answers_object(enum action_kind kind)
{
    return kind != ACT_EVENT && how[kind].verb != KUBE_DELETE;
}

enum apply_outcome apply_outcome(enum action_kind kind, const struct kube_result *result)
{
    bool delete = how[kind].verb == KUBE_DELETE;

    switch (result->code) {
    case 0:
        return APPLY_DONE;
    case -ENOENT:
        /* A resize: the pod is gone, which will be seen, or this API server cannot resize pods and never
         * will: not asked for again. */
        return delete || kind == ACT_PROVIDER_RESIZE ? APPLY_DONE : APPLY_CONFLICT;
    case -EEXIST:
        return APPLY_EXISTS;
    case -ESTALE:
        return APPLY_CONFLICT;
    case -EPERM:
        /* The words of the NamespaceLifecycle admission; the reason is an ordinary Forbidden. A reclaim pod's namespace is
         * not the one that is asked about. */
        if (kind != ACT_RECLAIM_CREATE && strstr(result->message, "because it is being terminated"))
            return APPLY_TERMINATING;
        return APPLY_REFUSED;
    case -EINVAL:
        /* The kubelet of that node is too old to resize pods, and for this pod will stay so: likewise. */
        if (kind == ACT_PROVIDER_RESIZE && strstr(result->message, "without support for resize"))
            return APPLY_DONE;
        return APPLY_REFUSED;
    default:
        return APPLY_FAILED;
    }
}
