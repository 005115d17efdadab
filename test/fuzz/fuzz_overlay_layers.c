/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the overlay options of a container's root. Whatever is accepted is a list of absolute paths without a
 * component that leads up or nowhere, and not longer than it may be.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "node-agent/mounts/overlay_layers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int good)
{
    if (!good)
        abort();
}

static void check(const char *path)
{
    size_t len = strlen(path);

    must(path[0] == '/' && len > 1 && len < PATH_MAX && path[len - 1] != '/');
    must(!strstr(path, "//") && !strstr(path, "/../") && !strstr(path, "/./"));
    must(len < 3 || strcmp(path + len - 3, "/..") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_overlay_layers_ struct overlay_layers l = {.n = 0};
    _cleanup_free_ char *text = malloc(size + 1);
    struct err err = ERR_INIT;
    int r;

    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    r = overlay_layers_parse(text, &l, &err);
    must((r < 0) == (err.code != 0) && (r == 0) == (l.n > 0));
    must(l.n <= LIMIT_LAYERS);
    for (size_t i = 0; i < l.n; i++)
        check(l.paths[i]);
    return 0;
}
