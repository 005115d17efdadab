/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reclaim pod: proof, by way of the kubelet, that a node holds nothing of an instance any more. PURE.
 *
 * It runs in the controller's own namespace with the controller's own image (the user's namespace may be
 * terminating, and the image gone). The agent answers the publish of its volume only when nothing of the
 * instance is left; then its one container starts and ends at once, and the pod has Succeeded.
 */
#pragma once

#include "common/json/json.h"

/* namespace: the controller's own. -ENOMEM. */
int reclaim_pod_build(const struct json *sci, const char *node, const char *namespace, const char *image,
        struct json **ret) _must_check_;

/* Which instance a reclaim pod is about, from its volume: uid, namespace, name; NULLs for another pod.
 * Borrowed. */
struct reclaim_subject {
    const char *uid;
    const char *namespace;
    const char *name;
};
struct reclaim_subject reclaim_pod_subject(const struct json *pod);
