/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the container runtime's answers: each input as each of them, and as the verbose JSON of one.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/rpc/pb.h"
#include "node-agent/runtime/cri_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const uint8_t *data, size_t size)
{
    _cleanup_cri_container_ struct cri_container *c = NULL;
    _cleanup_cri_list_ struct cri_list *l = NULL;
    _cleanup_cri_image_ struct cri_image *i = NULL;
    _cleanup_cri_version_ struct cri_version *v = NULL;
    struct err err = ERR_INIT;

    if (cri_decode_container(data, size, &c, &err) == 0 &&
            (!c->id || !c->pod_uid || !c->working_dir || c->init_pid < 0 || c->n_mounts > LIMIT_MOUNTS))
        abort();
    if (cri_decode_list(data, size, &l, &err) == 0 && l->n > LIMIT_PB_ENTRIES)
        abort();
    if (cri_decode_image(data, size, &i, &err) == 0 &&
            (!i->entrypoint || !i->cmd || !i->env || !i->volumes || i->volumes[i->n_volumes]))
        abort();
    (void)cri_decode_version(data, size, &v, &err);
}

static void run_as_info(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = strndup((const char *)data, size);
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_GRPC_REPLY), empty = BUF_INIT(8);

    if (!text)
        return;
    pb_put_message(&b, 1, &empty);
    pb_put_map_entry(&b, 2, "info", text);
    run((const uint8_t *)b.data, b.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run(data, size);
    run_as_info(data, size);
    return 0;
}
