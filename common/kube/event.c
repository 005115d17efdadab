/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of core/v1. Each is an object of its own (count 1): a reason is reported when something changed, so
 * there is nothing to add up.
 */
#include "common/kube/event.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/random.h"

enum {
    MESSAGE_MAX = 1024, /* the API server refuses longer ones */
    REASON_MAX = 128,
    SUFFIX_LEN = 17, /* "." and 16 hex digits */
};

/* NAME.RANDOM; a name that must be cut for that may not end in a dot or a hyphen then. */
static int set_name(struct json *metadata, const char *name)
{
    char text[LIMIT_NAME + 1];
    size_t len = strnlen(name, LIMIT_NAME - SUFFIX_LEN);

    while (len > 0 && (name[len - 1] == '.' || name[len - 1] == '-'))
        len--;
    (void)snprintf(text, sizeof(text), "%.*s.%016" PRIx64, (int)len, name, random_u64());
    return json_set_str(metadata, "name", text);
}

static int set_cut(struct json *object, const char *field, const char *text, size_t max)
{
    _cleanup_free_ char *copy = NULL;
    size_t len = strlen(text);

    if (len <= max)
        return json_set_str(object, field, text);
    len = max;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    copy = strndup(text, len);
    return copy ? json_set_str(object, field, copy) : -ENOMEM;
}

static int set_about(struct json *root, const struct kube_event *event)
{
    const struct json *metadata = json_field(event->about, "metadata");
    const char *namespace = json_str(metadata, "namespace");
    struct json *own = json_ensure_object(root, "metadata"),
                *about = json_ensure_object(root, "involvedObject");
    int r;

    if (!own || !about)
        return -ENOMEM;
    /* Events about cluster-scoped objects live in "default", by the API server's own rule. */
    r = json_set_str(own, "namespace", namespace ? namespace : "default");
    if (r >= 0)
        r = set_name(own, json_str_or(metadata, "name", ""));
    if (r >= 0)
        r = json_set_str(about, "apiVersion", json_str_or(event->about, "apiVersion", event->api_version));
    if (r >= 0)
        r = json_set_str(about, "kind", json_str_or(event->about, "kind", event->kind));
    if (r >= 0)
        r = json_set_str(about, "namespace", namespace);
    if (r >= 0)
        r = json_set_str(about, "name", json_str(metadata, "name"));
    if (r >= 0)
        r = json_set_str(about, "uid", json_str(metadata, "uid"));
    if (r >= 0)
        r = json_set_str(about, "resourceVersion", json_str(metadata, "resourceVersion"));
    return r;
}

static int set_source(struct json *root, const struct kube_event *event)
{
    struct json *source = json_ensure_object(root, "source");
    int r = source ? json_set_str(source, "component", event->component) : -ENOMEM;

    if (r >= 0)
        r = json_set_str(source, "host", event->host);
    if (r >= 0)
        r = json_set_str(root, "reportingComponent", event->component);
    if (r >= 0)
        r = json_set_str(root, "reportingInstance", event->host);
    return r;
}

static int fill(struct json *root, const struct kube_event *event)
{
    char now[CLOCK_TEXT_MAX];
    int r = json_set_str(root, "apiVersion", "v1");

    clock_format_time(event->now, now);
    if (r >= 0)
        r = json_set_str(root, "kind", "Event");
    if (r >= 0)
        r = set_about(root, event);
    if (r >= 0)
        r = json_set_str(root, "type", event->warning ? "Warning" : "Normal");
    if (r >= 0)
        r = set_cut(root, "reason", event->reason, REASON_MAX);
    if (r >= 0)
        r = set_cut(root, "message", event->message, MESSAGE_MAX);
    if (r >= 0)
        r = set_source(root, event);
    if (r >= 0)
        r = json_set_str(root, "firstTimestamp", now);
    if (r >= 0)
        r = json_set_str(root, "lastTimestamp", now);
    if (r >= 0)
        r = json_set_int(root, "count", 1);
    return r;
}

struct json *kube_event_new(const struct kube_event *event)
{
    _cleanup_json_ struct json *root = NULL;

    if (!json_str(event->about, "metadata.name") || !json_str_or(event->about, "kind", event->kind))
        return NULL;
    root = json_new_object();
    if (!root || fill(root, event) < 0)
        return NULL;
    return take_ptr(root);
}
