/* SPDX-License-Identifier: Apache-2.0 */
/* See slim.h. */
#include "controller/slim.h"

#include "common/base/limits.h"

/* The depth is bounded by that of the parser. */
static size_t count(const struct json *node)
{
    size_t n = 0;

    json_for_each (child, node)
        n += 1 + count(child);
    return n;
}

/* What decides about the life of what is there already. */
static int keep_small_fields(struct json *to, const struct json *spec)
{
    static const char *const fields[] = {"running", "attach", "rootfs"};
    int bad = 0;

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct json *value = json_field(spec, fields[i]);

        if (value && count(value) < LIMIT_SPEC_VALUES)
            bad |= json_set(to, fields[i], json_copy(value));
    }
    return bad;
}

void slim_stoppablecontainer(struct json *sc, void *user _unused_)
{
    const struct json *spec = json_field(sc, "spec");
    size_t n = count(spec);
    struct json *small;

    if (n <= LIMIT_SPEC_VALUES)
        return;
    small = json_new_object();
    if (!small || json_set_int(small, SLIM_FIELD, (int64_t)n) || keep_small_fields(small, spec)) {
        json_free(small); /* without memory for that it is kept whole, until it is seen again */
        return;
    }
    (void)json_set(sc, "spec", small);
}

void slim_pod(struct json *pod, void *user _unused_)
{
    if (count(json_field(pod, "spec")) + count(json_field(pod, "status")) <= LIMIT_POD_VALUES)
        return;
    json_remove(pod, "spec");
    json_remove(pod, "status");
}
