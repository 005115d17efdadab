/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NodePublishVolumeRequest and NodeUnpublishVolumeRequest (csi.v1): decoded, and checked as far as that goes
 * without looking at the node. Pure. Internal to the node service, and to its tests and fuzzer.
 *
 * What is checked, and why it cannot be forged: the kubelet alone makes target path and volume id. The path
 * must be <kubelet root>/pods/<uid>/volumes/kubernetes.io~csi/<volume name>/mount, of plain components; the
 * id "csi-" and the hex SHA-256 of uid and volume name (pkg/volume/csi/csi_mounter.go, makeVolumeHandle); the
 * pod uid of the context that of the path. So an id or a uid that a pod's author wrote cannot fit.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "node-agent/csi/node_service.h"

struct csi_request {
    struct csi_publish_request publish; /* of an unpublish: ids, path and names only */
    struct csi_attribute *attributes;
    char *text; /* all strings above, one after the other */
};

/* kubelet_dir: absolute, without a slash at its end. -EBADMSG: malformed; -EINVAL: refused, with the sentence
 * for the pod's event; -ENOMEM. */
int csi_request_publish(
        const char *kubelet_dir, const uint8_t *msg, size_t len, struct csi_request **ret, struct err *err);
int csi_request_unpublish(
        const char *kubelet_dir, const uint8_t *msg, size_t len, struct csi_request **ret, struct err *err);

struct csi_request *csi_request_free(struct csi_request *req); /* accepts NULL; returns NULL */
DEFINE_CLEANUP_FUNC(struct csi_request *, csi_request_free);
#define _cleanup_csi_request_ _cleanup_(csi_request_freep)
