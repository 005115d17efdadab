/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URL paths of API resources, and the resources that this project uses.
 */
#include "common/kube/resource.h"

#include <errno.h>
#include <string.h>

#include "common/http/http.h"
#include "common/names.h"

const struct kube_resource kube_pods = {"", "v1", "pods", true};
const struct kube_resource kube_nodes = {"", "v1", "nodes", false};
const struct kube_resource kube_namespaces = {"", "v1", "namespaces", false};
const struct kube_resource kube_events = {"", "v1", "events", true};
const struct kube_resource kube_leases = {"coordination.k8s.io", "v1", "leases", true};
const struct kube_resource kube_stoppablecontainers = {SC_GROUP, SC_VERSION, SC_PLURAL, true};
const struct kube_resource kube_instances = {SC_GROUP, SC_VERSION, SCI_PLURAL, true};

static int add_segment(struct buf *path, const char *segment)
{
    if (!*segment || strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
        return -EINVAL;
    (void)buf_putc(path, '/');
    return http_escape(path, segment);
}

int kube_resource_path(const struct kube_resource *resource, const char *namespace, const char *name,
        const char *subresource, struct buf *path)
{
    const bool core = resource->group[0] == '\0';
    const char *segments[] = {core ? "api" : "apis", core ? NULL : resource->group, resource->version,
            resource->namespaced && namespace ? "namespaces" : NULL, resource->namespaced ? namespace : NULL,
            resource->plural, name, name ? subresource : NULL};

    for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
        int r = segments[i] ? add_segment(path, segments[i]) : 0;

        if (r < 0)
            return r;
    }
    return buf_error(path);
}
