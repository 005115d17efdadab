/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a watch. A line that arrives whole is used where it lies; only a broken one is copied.
 */
#include "common/kube/watch_line.h"

#include <string.h>

#include "common/base/limits.h"

static const struct {
    const char *name;
    enum kube_watch_type type;
} types[] = {
        {"ADDED", KUBE_WATCH_ADDED},
        {"MODIFIED", KUBE_WATCH_MODIFIED},
        {"DELETED", KUBE_WATCH_DELETED},
        {"BOOKMARK", KUBE_WATCH_BOOKMARK},
};

void watch_lines_init(struct watch_lines *lines)
{
    buf_init(&lines->partial, LIMIT_WATCH_LINE);
}

void watch_lines_free(struct watch_lines *lines)
{
    buf_free(&lines->partial);
}

bool watch_lines_between(const struct watch_lines *lines)
{
    return lines->partial.len == 0;
}

static int give_line(const char *line, size_t len, watch_line_fn fn, void *user)
{
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len > LIMIT_WATCH_LINE)
        return -E2BIG;
    return len > 0 ? fn(line, len, user) : 0;
}

/* The partial line is complete: it leaves the buffer before fn sees it, since fn may free the buffer; and
 * with it goes the memory, so that one large object does not cost its size for ever. */
static int give_partial(struct watch_lines *lines, watch_line_fn fn, void *user)
{
    size_t len;
    _cleanup_free_ char *line = buf_take(&lines->partial, &len);

    return line ? give_line(line, len, fn, user) : -ENOMEM;
}

int watch_lines_feed(struct watch_lines *lines, const void *bytes, size_t len, watch_line_fn fn, void *user)
{
    const char *p = bytes, *end = p + len;

    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        int r;

        if (!eol)
            return buf_append(&lines->partial, p, (size_t)(end - p));
        if (lines->partial.len == 0) {
            r = give_line(p, (size_t)(eol - p), fn, user);
        } else {
            r = buf_append(&lines->partial, p, (size_t)(eol - p));
            if (r >= 0)
                r = give_partial(lines, fn, user);
        }
        if (r != 0)
            return r;
        p = eol + 1;
    }
    return 0;
}

int watch_event_parse(const char *line, size_t len, enum kube_watch_type *ret_type, struct json **ret_object,
        struct err *err)
{
    _cleanup_json_ struct json *event = NULL;
    const char *type;
    struct json *object;
    int r = json_parse_any(line, len, &event, err);

    if (r < 0)
        return r == -ENOMEM ? r : err_wrap(err, EBADMSG, "a watch event");
    if (json_need_str(event, "type", &type, err) < 0 || json_need_object(event, "object", &object, err) < 0)
        return err_wrap(err, EBADMSG, "a watch event");
    r = strcmp(type, "ERROR") == 0 ? 1 : -EBADMSG;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i].name, type) == 0) {
            *ret_type = types[i].type;
            r = 0;
        }
    }
    if (r < 0)
        return err_say(err, EBADMSG, "a watch event of an unknown type: %.32s", type);
    object = json_copy(object);
    if (!object)
        return err_set(err, ENOMEM, "a watch event");
    *ret_object = object;
    return r;
}
