/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CSI services of the driver (csi.v1.Node and csi.v1.Identity) on one unix socket.
 *
 * This part decodes a request, checks everything in it that can be checked without looking at the node, and
 * hands it to the agent's core by struct csi_ops. What the core gets is vouched for: the kubelet puts pod
 * name, namespace and uid into the volume context after the pod author's attributes; on top of that the uid
 * must be that of the target path, and the volume id the one that the kubelet derives from uid and volume
 * name, so that text of a pod author cannot pass even if the CSIDriver object were changed to podInfoOnMount:
 * false. Everything else in `attributes` is text of whoever made the pod.
 *
 * One call at a time for each volume id: while the core has one, another is answered ABORTED.
 *
 * Life of a csi_call: the core answers each exactly once, by csi_call_ok or csi_call_fail, at once or later,
 * also when the kubelet has given up (ops->cancelled says so; the answer is then dropped, but until it is
 * given the volume counts as busy). The request lives until then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/rpc/grpc.h"

struct csi_node_service;
struct csi_call;

struct csi_attribute {
    const char *key;
    const char *value;
};

struct csi_publish_request {
    const char *volume_id; /* "csi-" and 64 hex digits: also a safe file name */
    const char *target_path; /* <kubelet root>/pods/<pod uid>/volumes/kubernetes.io~csi/<volume name>/mount */
    const char *volume_name;
    const char *pod_namespace;
    const char *pod_name;
    const char *pod_uid;
    const struct csi_attribute *attributes; /* without the kubelet's own (csi.storage.k8s.io/...) */
    size_t n_attributes;
    usec_t deadline; /* when the kubelet gives up, CLOCK_MONOTONIC; USEC_INFINITY: not said */
};

/* The value of an attribute, NULL when absent. */
const char *csi_publish_attribute(const struct csi_publish_request *req, const char *key);

struct csi_unpublish_request {
    const char *volume_id;
    const char *target_path;
    const char *volume_name;
    const char *pod_uid;
    usec_t deadline;
};

struct csi_ops {
    /* Must be idempotent (CSI specification, NodePublishVolume): the kubelet repeats it after its restart.
     * The target directory does not exist at the first call, its parent does. */
    void (*publish)(const struct csi_publish_request *req, struct csi_call *call, void *user);
    /* Must answer OK when nothing is there. */
    void (*unpublish)(const struct csi_unpublish_request *req, struct csi_call *call, void *user);
    /* The kubelet no longer waits for this call: finish or roll back, then answer as always. May be NULL. */
    void (*cancelled)(struct csi_call *call, void *user);
    /* For Probe. May be NULL: always ready. */
    bool (*ready)(void *user);
};

struct csi_node_config {
    const char *socket_path; /* absolute; its directory is made (0750) if the parent of that exists */
    const char *driver_name;
    const char *driver_version;
    const char *node_id; /* name of the node, not empty */
    const char *kubelet_dir; /* NULL: /var/lib/kubelet. As the kubelet writes it into target paths */
    const struct csi_ops *ops; /* outlives the service */
    void *user;
};

/* Strings are copied. Listens at once. */
int csi_node_service_new(struct loop *loop, const struct csi_node_config *config,
        struct csi_node_service **ret, struct err *err);

/* Takes no new call, and calls fn once when all are answered. */
void csi_node_service_drain(struct csi_node_service *s, void (*fn)(void *user), void *user);

/* Frees the calls under way as well, without a callback: the core must have forgotten them. Returns NULL;
 * accepts NULL. */
struct csi_node_service *csi_node_service_free(struct csi_node_service *s);
DEFINE_CLEANUP_FUNC(struct csi_node_service *, csi_node_service_free);
#define _cleanup_csi_node_service_ _cleanup_(csi_node_service_freep)

/* The answer; the call and its request are gone afterwards. No callback is made from inside. */
void csi_call_ok(struct csi_call *call);

/* status decides what the kubelet does (pkg/volume/csi/csi_client.go, isFinalError): after CANCELLED,
 * DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED and UNAVAILABLE it counts a volume as perhaps published and
 * will unpublish it; after any other of a first publish it removes the target and calls no unpublish, so
 * whatever was made must be gone before such an answer. The text becomes an event of the pod. */
void csi_call_fail(struct csi_call *call, enum grpc_status status, const char *fmt, ...) _printf_(3, 4);

/* Whether the kubelet has given up on it. */
bool csi_call_cancelled(const struct csi_call *call);

/* For the core's own use while it holds the call; NULL at first. */
void csi_call_set_data(struct csi_call *call, void *data);
void *csi_call_data(const struct csi_call *call);
