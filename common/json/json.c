/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups in a tree and building of trees (json.h).
 */
#include "common/json/json.h"

#include <limits.h>
#include <string.h>

#include "common/base/num.h"
#include "common/json/json_internal.h"

struct json *json_free(struct json *root)
{
    int saved = errno;

    cJSON_Delete(to_cjson_mutable(root));
    errno = saved;
    return NULL;
}

bool json_is_object(const struct json *node)
{
    return cJSON_IsObject(to_cjson(node));
}

bool json_is_array(const struct json *node)
{
    return cJSON_IsArray(to_cjson(node));
}

bool json_is_string(const struct json *node)
{
    return cJSON_IsString(to_cjson(node));
}

bool json_is_null(const struct json *node)
{
    return cJSON_IsNull(to_cjson(node));
}

/* A field by the first len bytes of name. */
static struct json *field_n(const struct json *object, const char *name, size_t len)
{
    if (!json_is_object(object))
        return NULL;
    for (cJSON *child = to_cjson(object)->child; child; child = child->next) {
        if (strncmp(child->string, name, len) == 0 && child->string[len] == '\0')
            return from_cjson(child);
    }
    return NULL;
}

struct json *json_field(const struct json *object, const char *name)
{
    return field_n(object, name, strlen(name));
}

struct json *json_index(const struct json *array, size_t i)
{
    cJSON *child = json_is_array(array) ? to_cjson(array)->child : NULL;

    for (; child && i > 0; i--)
        child = child->next;
    return from_cjson(child);
}

/* One step of a path: "[0]" or "name", moved over together with the dot that follows. */
static struct json *step(const struct json *node, const char **path)
{
    const char *p = *path;
    size_t len;
    uint64_t i;

    if (*p == '[') {
        len = strcspn(p + 1, "]");
        if (p[len + 1] != ']' || num_parse_u64_n(p + 1, len, 0, SIZE_MAX, &i) < 0)
            return NULL;
        node = json_index(node, i);
        p += len + 2;
    } else {
        len = strcspn(p, ".[");
        node = field_n(node, p, len);
        p += len;
    }
    *path = *p == '.' ? p + 1 : p;
    return (struct json *)(uintptr_t)node; /* found inside: the tree was never const to its owner */
}

struct json *json_at(const struct json *node, const char *path)
{
    struct json *at = (struct json *)(uintptr_t)node;

    while (at && *path)
        at = step(at, &path);
    return at;
}

const char *json_string(const struct json *node)
{
    return json_is_string(node) ? to_cjson(node)->valuestring : NULL;
}

const char *json_str(const struct json *node, const char *path)
{
    return json_string(json_at(node, path));
}

const char *json_str_or(const struct json *node, const char *path, const char *fallback)
{
    const char *text = json_str(node, path);

    return text ? text : fallback;
}

bool json_bool_or(const struct json *node, const char *path, bool fallback)
{
    const cJSON *at = to_cjson(json_at(node, path));

    return cJSON_IsBool(at) ? cJSON_IsTrue(at) : fallback;
}

int64_t json_int_or(const struct json *node, const char *path, int64_t fallback)
{
    int64_t value;

    return json_number_int(to_cjson(json_at(node, path)), &value) ? value : fallback;
}

size_t json_len(const struct json *node)
{
    size_t n = 0;

    json_for_each (child, node)
        n++;
    return n;
}

const char *json_key(const struct json *node)
{
    return node ? to_cjson(node)->string : NULL;
}

struct json *json_first(const struct json *node)
{
    return node ? from_cjson(to_cjson(node)->child) : NULL;
}

struct json *json_next(const struct json *child)
{
    return from_cjson(to_cjson(child)->next);
}

/* --- look-ups that must succeed --- */

static int find(const struct json *node, const char *path, struct json **ret, struct err *err)
{
    struct json *at = json_at(node, path);

    if (!at)
        return err_say(err, ENOENT, "%s is missing", path);
    *ret = at;
    return 0;
}

int json_need_str(const struct json *node, const char *path, const char **ret, struct err *err)
{
    struct json *at = NULL;
    int r = find(node, path, &at, err);

    if (r < 0)
        return r;
    if (!json_is_string(at))
        return err_say(err, EINVAL, "%s is not a string", path);
    *ret = json_string(at);
    return 0;
}

int json_need_int(
        const struct json *node, const char *path, int64_t min, int64_t max, int64_t *ret, struct err *err)
{
    struct json *at = NULL;
    int64_t value;
    int r = find(node, path, &at, err);

    if (r < 0)
        return r;
    if (!json_number_int(to_cjson(at), &value))
        return err_say(err, EINVAL, "%s is not an integer", path);
    if (value < min || value > max)
        return err_say(err, ERANGE, "%s is %lld, outside %lld to %lld", path, (long long)value,
                (long long)min, (long long)max);
    *ret = value;
    return 0;
}

int json_need_object(const struct json *node, const char *path, struct json **ret, struct err *err)
{
    struct json *at = NULL;
    int r = find(node, path, &at, err);

    if (r < 0)
        return r;
    if (!json_is_object(at))
        return err_say(err, EINVAL, "%s is not an object", path);
    *ret = at;
    return 0;
}

int json_need_array(const struct json *node, const char *path, struct json **ret, struct err *err)
{
    struct json *at = NULL;
    int r = find(node, path, &at, err);

    if (r < 0)
        return r;
    if (!json_is_array(at))
        return err_say(err, EINVAL, "%s is not an array", path);
    *ret = at;
    return 0;
}

/* --- building (json_new_int: json_number.c) --- */

struct json *json_new_object(void)
{
    return from_cjson(cJSON_CreateObject());
}

struct json *json_new_array(void)
{
    return from_cjson(cJSON_CreateArray());
}

struct json *json_new_string(const char *text)
{
    return from_cjson(cJSON_CreateString(text));
}

struct json *json_new_bool(bool value)
{
    return from_cjson(cJSON_CreateBool(value));
}

struct json *json_new_null(void)
{
    return from_cjson(cJSON_CreateNull());
}

static void drop_key(cJSON *node)
{
    cJSON_free(node->string);
    node->string = NULL;
}

struct json *json_copy(const struct json *node)
{
    cJSON *copy = cJSON_Duplicate(to_cjson(node), true);

    if (copy)
        drop_key(copy); /* a root has no name */
    return from_cjson(copy);
}

/* Puts value in the place of a field of the object, under the same key. */
static int replace(cJSON *object, cJSON *old, cJSON *value)
{
    if (old == value)
        return 0;
    drop_key(value);
    value->string = take_ptr(old->string); /* handed over, so that nothing can fail */
    (void)cJSON_ReplaceItemViaPointer(object, old, value);
    return 0;
}

int json_set(struct json *object, const char *name, struct json *value)
{
    struct json *old = json_field(object, name);

    if (!object || !value) { /* one that could not be made */
        json_free(value);
        return -ENOMEM;
    }
    if (!json_is_object(object)) {
        json_free(value);
        return -EINVAL;
    }
    if (old)
        return replace(to_cjson_mutable(object), to_cjson_mutable(old), to_cjson_mutable(value));
    if (!cJSON_AddItemToObject(to_cjson_mutable(object), name, to_cjson_mutable(value))) {
        json_free(value);
        return -ENOMEM;
    }
    return 0;
}

int json_set_str(struct json *object, const char *name, const char *text)
{
    return text ? json_set(object, name, json_new_string(text)) : 0;
}

int json_set_int(struct json *object, const char *name, int64_t value)
{
    return json_set(object, name, json_new_int(value));
}

int json_set_bool(struct json *object, const char *name, bool value)
{
    return json_set(object, name, json_new_bool(value));
}

int json_append(struct json *array, struct json *value)
{
    int r = !array || !value ? -ENOMEM : json_is_array(array) ? 0 : -EINVAL;

    if (r == 0) {
        drop_key(to_cjson_mutable(value));
        (void)cJSON_AddItemToArray(to_cjson_mutable(array), to_cjson_mutable(value));
    } else {
        json_free(value);
    }
    return r;
}

int json_append_str(struct json *array, const char *text)
{
    return json_append(array, json_new_string(text));
}

void json_remove(struct json *object, const char *name)
{
    struct json *old = json_field(object, name);

    if (old)
        cJSON_Delete(cJSON_DetachItemViaPointer(to_cjson_mutable(object), to_cjson_mutable(old)));
}

void json_remove_index(struct json *array, size_t i)
{
    struct json *old = json_index(array, i);

    if (old)
        cJSON_Delete(cJSON_DetachItemViaPointer(to_cjson_mutable(array), to_cjson_mutable(old)));
}

static struct json *ensure(struct json *object, const char *name, bool array)
{
    struct json *field = json_field(object, name);

    if (array ? json_is_array(field) : json_is_object(field))
        return field;
    field = array ? json_new_array() : json_new_object();
    return json_set(object, name, field) < 0 ? NULL : field;
}

struct json *json_ensure_object(struct json *object, const char *name)
{
    return ensure(object, name, false);
}

struct json *json_ensure_array(struct json *object, const char *name)
{
    return ensure(object, name, true);
}
