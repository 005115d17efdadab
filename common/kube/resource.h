/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which resource of the API is meant, and the URL path of it.
 *
 *   core group  /api/VERSION[/namespaces/NS]/PLURAL[/NAME[/SUBRESOURCE]]
 *   others      /apis/GROUP/VERSION[/namespaces/NS]/PLURAL[/NAME[/SUBRESOURCE]]
 */
#pragma once

#include <stdbool.h>

#include "common/base/buf.h"

struct kube_resource {
    const char *group; /* "" is the core group */
    const char *version;
    const char *plural;
    bool namespaced;
};

extern const struct kube_resource kube_pods;
extern const struct kube_resource kube_nodes;
extern const struct kube_resource kube_namespaces;
extern const struct kube_resource kube_events; /* core/v1 */
extern const struct kube_resource kube_leases; /* coordination.k8s.io/v1 */
extern const struct kube_resource kube_stoppablecontainers;
extern const struct kube_resource kube_instances; /* StoppableContainerInstances */

/* Appends the path. namespace is ignored for a cluster-scoped resource; NULL for a namespaced one means all
 * namespaces, which only a list or a watch may ask for. name and subresource may be NULL. Every segment is
 * percent-encoded. -EINVAL for an empty segment, "." or "..", which a server could read as another path. */
int kube_resource_path(const struct kube_resource *resource, const char *namespace, const char *name,
        const char *subresource, struct buf *path) _must_check_;
