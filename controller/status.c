/* SPDX-License-Identifier: Apache-2.0 */
/* See status.h. */
#include "controller/status.h"

#include <errno.h>
#include <string.h>

#include "common/names.h"

const struct json *status_condition(const struct json *status, const char *type)
{
    json_for_each (condition, json_field(status, "conditions"))
        if (strcmp(json_str_or(condition, "type", ""), type) == 0)
            return condition;
    return NULL;
}

void status_remove_condition(struct json *status, const char *type)
{
    struct json *list = json_field(status, "conditions");

    for (size_t i = json_len(list); i > 0; i--)
        if (strcmp(json_str_or(json_index(list, i - 1), "type", ""), type) == 0)
            json_remove_index(list, i - 1);
}

static struct json *find_or_add(struct json *status, const char *type)
{
    struct json *list = json_ensure_array(status, "conditions");
    struct json *condition;

    json_for_each (item, list)
        if (strcmp(json_str_or(item, "type", ""), type) == 0)
            return item;
    condition = json_new_object();
    if (json_set_str(condition, "type", type) < 0) {
        json_free(condition);
        return NULL;
    }
    return json_append(list, condition) < 0 ? NULL : condition;
}

int status_set_condition(struct json *status, const struct condition *c, usec_t realtime)
{
    struct json *condition = find_or_add(status, c->type);
    bool same = strcmp(json_str_or(condition, "status", ""), c->status) == 0;
    char text[CLOCK_TEXT_MAX];
    int bad = !condition;

    if (!same) {
        clock_format_time(realtime, text);
        bad |= json_set_str(condition, "lastTransitionTime", text);
    }
    bad |= json_set_str(condition, "status", c->status);
    bad |= json_set_str(condition, "reason", c->reason[0] ? c->reason : "Unknown");
    bad |= json_set_str(condition, "message", c->message);
    if (c->generation > 0)
        bad |= json_set_int(condition, "observedGeneration", c->generation);
    return bad ? -ENOMEM : 0;
}

bool status_may_run(const struct json *sci)
{
    static const char *const idle[] = {"", SC_PHASE_PENDING, SC_PHASE_STOPPED, SC_PHASE_FAILED};
    const char *phase = json_str_or(sci, "status.phase", "");

    for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
        if (strcmp(phase, idle[i]) == 0)
            return false;
    return true;
}

/* Depth is that of a status: capped by the parser for the one, by our own code for the other. */
struct json *status_merge_patch(const struct json *from, const struct json *to)
{
    _cleanup_json_ struct json *patch = json_new_object();
    int bad = !patch;

    json_for_each (value, to) {
        const struct json *old = json_field(from, json_key(value));

        if (json_equal(old, value))
            continue;
        if (json_is_object(old) && json_is_object(value))
            bad |= json_set(patch, json_key(value), status_merge_patch(old, value));
        else
            bad |= json_set(patch, json_key(value), json_copy(value));
    }
    json_for_each (old, from)
        if (!json_field(to, json_key(old)))
            bad |= json_set(patch, json_key(old), json_new_null());
    return bad ? NULL : take_ptr(patch);
}
