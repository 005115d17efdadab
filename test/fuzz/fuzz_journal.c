/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the journal's files. What is accepted must hold what a request would have had to hold (no path leads
 * out of the kubelet's directory), and come back the same from its own text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "node-agent/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static void check(const struct volume *v)
{
    must(volume_is_id(v->id) && volume_is_uid(v->pod_uid) && volume_is_uid(v->instance_uid));
    must(volume_is_label(v->pod_namespace) && volume_is_label(v->instance_namespace));
    must(strncmp(v->dir, "pods/", 5) == 0 && !strstr(v->dir, "/../") && !strstr(v->dir, "//"));
    must(v->n_containers <= LIMIT_CONTAINERS);
    must(v->node || (!v->kept && v->size_limit == 0));
    must(v->size_limit <= LIMIT_ROOT_SIZE);
    for (size_t i = 0; i < v->n_containers; i++)
        must(volume_is_label(v->containers[i].name) && !strchr(v->containers[i].id, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JOURNAL), again = BUF_INIT(LIMIT_JOURNAL);
    _cleanup_volume_ struct volume *v = NULL, *back = NULL;
    struct err err = ERR_INIT;
    int r = journal_decode((const char *)data, size, &v, &err);

    must((r < 0) == (err.code != 0) && (r == 0) == (v != NULL));
    if (r < 0)
        return 0;
    check(v);
    must(journal_encode(v, &text, NULL) == 0);
    must(journal_decode(buf_str(&text), text.len, &back, NULL) == 0);
    must(journal_encode(back, &again, NULL) == 0);
    must(text.len == again.len && memcmp(buf_str(&text), buf_str(&again), text.len) == 0);
    return 0;
}
