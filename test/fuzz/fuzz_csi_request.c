/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the CSI requests. The volume id is a hash, which a fuzzer does not find: so each input is read once
 * as it is, and once as the volume context of a request that is otherwise good. What is accepted must keep
 * the promises of node_service.h; and what is a volume of ours then, those of volume.h, in the journal too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/hash/sha256.h"
#include "common/rpc/pb.h"
#include "node-agent/csi/request.h"
#include "node-agent/journal.h"

#define UID "0c3ae4d6-9b43-4c1a-8a3e-1f2d3c4b5a69"
#define DIR "/var/lib/kubelet"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct csi_request *req)
{
    const struct csi_publish_request *p = &req->publish;

    if (strncmp(p->target_path, DIR "/pods/", strlen(DIR "/pods/")) != 0 || strstr(p->target_path, "/../") ||
            strchr(p->pod_uid, '/') || strchr(p->volume_name, '/') || strchr(p->pod_name, '/') ||
            strchr(p->pod_namespace, '/') || strlen(p->volume_id) != 68 ||
            p->n_attributes > LIMIT_CSI_ATTRIBUTES)
        abort();
    for (size_t i = 0; i < p->n_attributes; i++) {
        if (strncmp(p->attributes[i].key, "csi.storage.k8s.io/", strlen("csi.storage.k8s.io/")) == 0 ||
                !csi_publish_attribute(p, p->attributes[i].key))
            abort();
    }
}

static void check_volume(const struct csi_publish_request *p)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JOURNAL);
    _cleanup_volume_ struct volume *v = NULL;
    struct err err = ERR_INIT;

    if (volume_from_request(p, "ns", &v, &err) < 0)
        return;
    if (!volume_is_uid(v->instance_uid) || v->n_containers > LIMIT_CONTAINERS ||
            (v->n_containers == 0) != (v->role == VOLUME_RECLAIM) || strcmp(v->pod_name, p->pod_name) != 0)
        abort();
    for (size_t i = 0; i < v->n_containers; i++)
        if (!volume_is_label(v->containers[i].name))
            abort();
    if (journal_encode(v, &text, &err) < 0)
        abort();
}

static void run(const uint8_t *data, size_t size)
{
    struct csi_request *req = NULL;
    struct err err = ERR_INIT;

    if (csi_request_publish(DIR, data, size, &req, &err) == 0) {
        check(req);
        check_volume(&req->publish);
    }
    req = csi_request_free(req);
    if (csi_request_unpublish(DIR, data, size, &req, &err) == 0)
        check(req);
    (void)csi_request_free(req);
}

static void put_frame_of_good_request(struct buf *b)
{
    _cleanup_buf_ struct buf capability = BUF_INIT(KIB), empty = BUF_INIT(8);
    uint8_t digest[SHA256_SIZE];
    char id[69] = "csi-";

    if (sha256(UID "vol", strlen(UID "vol"), digest) < 0)
        abort();
    sha256_hex(digest, sizeof(digest), id + strlen(id));
    pb_put_message(&capability, 2, &empty);
    pb_put_string(b, 1, id);
    pb_put_string(b, 4, DIR "/pods/" UID "/volumes/kubernetes.io~csi/vol/mount");
    pb_put_message(b, 5, &capability);
    pb_put_bool(b, 6, true);
    pb_put_map_entry(b, 8, "csi.storage.k8s.io/pod.uid", UID);
    pb_put_map_entry(b, 8, "csi.storage.k8s.io/pod.namespace", "ns");
    pb_put_map_entry(b, 8, "csi.storage.k8s.io/pod.name", "dev");
    pb_put_map_entry(b, 8, "csi.storage.k8s.io/ephemeral", "true");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_GRPC_REQUEST);

    run(data, size);
    put_frame_of_good_request(&b);
    (void)buf_append(&b, data, size);
    run((const uint8_t *)b.data, b.len);
    return 0;
}
