/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mountinfo is text that tenants have a say in: parsed, and what is carried chosen from it, with every mount
 * as the root in turn. What is chosen must be of the table, and no more than is in it.
 */
#include <stdint.h>
#include <string.h>

#include "node-agent/mounts/carry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void choose(const struct mountinfo *mi, uint64_t root)
{
    static const char *const volumes[] = {"/data", "/a", "/proc"};
    static const char *const own[] = {"/a"};
    const struct carry_rules rules = {
            .own_mounts = own, .n_own_mounts = 1, .image_volumes = volumes, .n_image_volumes = 3};
    struct carry_list list = {.n = 0};

    if (carry_select(mi, root, &rules, &list, NULL) < 0)
        return;
    if (list.n > mi->n)
        abort();
    for (size_t i = 0; i < list.n; i++)
        if (list.mounts[i] < mi->mounts || list.mounts[i] >= mi->mounts + mi->n ||
                list.mounts[i]->path[0] != '/')
            abort();
    carry_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_mountinfo_ struct mountinfo *mi = NULL;

    if (size > 4096 || mountinfo_parse((const char *)data, size, &mi, NULL) < 0)
        return 0;
    for (size_t i = 0; i < mi->n && i < 8; i++)
        choose(mi, mi->mounts[i].id);
    return 0;
}
