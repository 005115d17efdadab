/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a watch: lines, events, and the store that takes them. The first byte says how the rest is cut up,
 * so that the splitter is tried with every length of piece.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/kube/store.h"
#include "common/kube/watch_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(const char *line, size_t len, void *user)
{
    struct kube_store *store = user;
    enum kube_watch_type type = KUBE_WATCH_BOOKMARK;
    struct json *object = NULL;
    struct err err = ERR_INIT;
    int r = watch_event_parse(line, len, &type, &object, &err);

    if ((r < 0) != (err.code != 0) || (r >= 0) != (object != NULL))
        abort();
    if (r == 0 && type == KUBE_WATCH_DELETED)
        (void)kube_store_delete(store, object);
    else if (r == 0 && type != KUBE_WATCH_BOOKMARK) {
        (void)kube_store_put(store, object, &err);
        return 0;
    }
    (void)json_free(object);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_kube_store_ struct kube_store *store = NULL;
    const struct kube_store_config config = {0};
    struct watch_lines lines;
    size_t step, at = 1;
    int r = 0;

    if (size < 2 || kube_store_new(&config, &store) < 0)
        return 0;
    step = (size_t)data[0] + 1;
    watch_lines_init(&lines);
    for (; at < size && r == 0; at += step)
        r = watch_lines_feed(&lines, data + at, size - at < step ? size - at : step, take, store);
    watch_lines_free(&lines);
    return 0;
}
