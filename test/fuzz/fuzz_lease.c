/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what is read of a Lease that somebody else may have written, and the patch that takes it over.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/kube/lease_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct lease_writer w = {.namespace = "ns",
            .name = "lease",
            .identity = "me",
            .duration = 15 * USEC_PER_SEC,
            .now = 1700000000 * USEC_PER_SEC};
    _cleanup_json_ struct json *lease = NULL, *patch = NULL;
    usec_t duration;

    if (json_parse((const char *)data, size, &lease, NULL) < 0)
        return 0;
    duration = lease_duration(lease, w.duration);
    if (!lease_holder(lease) || duration < USEC_PER_SEC || duration > 3600 * USEC_PER_SEC)
        abort();
    patch = lease_take(&w, lease);
    if (!patch)
        abort();
    return 0;
}
