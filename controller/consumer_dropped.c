/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API server dropped from a pod: a field behind a feature gate that is off is removed in silence,
 * and only a comparison of what was sent with what came back shows it. See consumer_pod.h.
 *
 * And what a workload reads about its pod and finds otherwise than it wrote.
 *
 * What is sent is what this controller would send. Our own volume is left out: nobody takes its attributes away, and an older
 * controller, whose pod it may be, gave it fewer.
 *
 * Elements of lists are matched by what names them (admission may put others in between), else by position.
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/names.h"
#include "controller/consumer_pod.h"

enum { PATH_MAX_BYTES = 512 };

static const char *element_name(const struct json *element)
{
    static const char *const keys[] = {"mountPath", "devicePath", "name", "topologyKey"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (json_string(json_field(element, keys[i])))
            return json_string(json_field(element, keys[i]));
    return NULL;
}

static bool has_name(const struct json *element, const char *name)
{
    const char *other = element_name(element);

    return other && strcmp(other, name) == 0;
}

/* across: the element at the same place, where it is most often, also in a list of thousands. */
static const struct json *same_element(
        const struct json *list, const struct json *wanted, const struct json *across)
{
    const char *name = json_is_object(wanted) ? element_name(wanted) : NULL;

    if (!name || (across && has_name(across, name)))
        return across;
    json_for_each (element, list)
        if (has_name(element, name))
            return element;
    return NULL;
}

static bool means_nothing(const struct json *value)
{
    return json_is_null(value) || ((json_is_object(value) || json_is_array(value)) && json_len(value) == 0);
}

static int report(const char *path, struct buf *b)
{
    return buf_printf(b, "%s%s", b->len > 0 ? ", " : "", path);
}

/* The way to an element of an object or list, for a person. */
static void step(char ret[static PATH_MAX_BYTES], const char *path, const struct json *value, size_t position)
{
    if (json_key(value))
        snprintf(ret, PATH_MAX_BYTES, "%s.%s", path, json_key(value));
    else if (json_is_object(value) && element_name(value))
        snprintf(ret, PATH_MAX_BYTES, "%s[%s]", path, element_name(value));
    else
        snprintf(ret, PATH_MAX_BYTES, "%s[%zu]", path, position);
}

/* Recursion is as deep as the pod, which the JSON parser has capped. */
static int compare(const struct json *sent, const struct json *made, const char *path, struct buf *b)
{
    const struct json *across = json_first(made);
    size_t i = 0;
    int r = 0;

    json_for_each (value, sent) {
        char deeper[PATH_MAX_BYTES];
        const char *key = json_key(value);
        const struct json *other =
                json_is_object(sent) ? json_field(made, key) : same_element(made, value, across);

        across = across ? json_next(across) : NULL;
        step(deeper, path, value, i);
        i++;
        if (means_nothing(value) || strcmp(deeper, "spec.volumes[" SC_VOLUME_NAME "]") == 0)
            continue;
        if (!other)
            r = report(deeper, b);
        else if (json_is_object(value) || json_is_array(value))
            r = compare(value, other, deeper, b);
        if (r < 0)
            return r;
    }
    return 0;
}

/* As deep as the template, likewise. */
static int find_storage_requests(const struct json *in, const char *path, struct buf *b)
{
    size_t i = 0;
    int r = 0;

    json_for_each (value, in) {
        char deeper[PATH_MAX_BYTES];
        const char *key = json_key(value);

        step(deeper, path, value, i++);
        if (key && strcmp(key, "resourceFieldRef") == 0) {
            if (strcmp(json_str_or(value, "resource", ""), "requests.ephemeral-storage") == 0)
                r = report(deeper, b);
        } else if (json_is_object(value) || json_is_array(value)) {
            r = find_storage_requests(value, deeper, b);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int consumer_pod_misread(const struct template *t, struct buf *b)
{
    int r = find_storage_requests(template_containers(t), "spec.containers", b);

    return r < 0 ? r : find_storage_requests(json_field(t->spec, "volumes"), "spec.volumes", b);
}

int consumer_pod_dropped(const struct json *sent, const struct json *made, struct buf *b)
{
    return compare(json_field(sent, "spec"), json_field(made, "spec"), "spec", b);
}
