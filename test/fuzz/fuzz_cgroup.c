/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the reader of cgroup files. What it finds must be an id, and a uid or nothing, and stand in the
 * text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node-agent/runtime/container_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct container_identity c;
    struct err err = ERR_INIT;

    if (container_identity_parse((const char *)data, size, &c, &err) < 0)
        return 0;
    if (!container_id_valid(c.id) || !memmem(data, size, c.id, strlen(c.id)))
        abort();
    if (c.pod_uid[0] && strlen(c.pod_uid) != 36 && strlen(c.pod_uid) != 32)
        abort();
    return 0;
}
