/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubeconfig files. Relative paths start in a directory that does not exist; absolute ones may be read, which
 * does no harm.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/kube/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kube_config *config = NULL;
    struct err err = ERR_INIT;
    int r = kube_config_from_kubeconfig((const char *)data, size, "/nonexistent", &config, &err);

    if ((r == 0) != (config != NULL) || (r < 0) != (err.code != 0))
        abort();
    if (config && (!config->server || !config->namespace || strncmp(config->server, "http", 4) != 0))
        abort();
    (void)kube_config_free(config);
    return 0;
}
