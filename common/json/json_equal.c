/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Equality of two trees (json_equal). Small objects are compared by looking up each field, which takes no memory, so that
 * what is decided about a status does not depend on how much there is; others sorted, so that large ones of
 * somebody else's making take no quadratic time.
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/json/json_internal.h"

/* A status has fewer. */
enum { FEW_FIELDS = 24 };

static bool equal_node(const cJSON *a, const cJSON *b);

static bool equal_numbers(const cJSON *a, const cJSON *b)
{
    /* The canonical form of a number is longer than its text only by a few zeros or an exponent. */
    struct buf x = BUF_INIT(LIMIT_JSON_NUMBER * 2), y = BUF_INIT(LIMIT_JSON_NUMBER * 2);
    bool equal;

    if (!a->valuestring && !b->valuestring)
        return (int64_t)a->valuedouble == (int64_t)b->valuedouble;
    equal = json_number_write_canonical(a, &x) == 0 && json_number_write_canonical(b, &y) == 0 &&
            strcmp(buf_str(&x), buf_str(&y)) == 0;
    buf_free(&x);
    buf_free(&y);
    return equal;
}

static bool equal_arrays(const cJSON *a, const cJSON *b)
{
    const cJSON *x = a->child, *y = b->child;

    while (x && y && equal_node(x, y)) {
        x = x->next;
        y = y->next;
    }
    return !x && !y;
}

static size_t count(const cJSON *object)
{
    size_t n = 0;

    for (const cJSON *child = object->child; child; child = child->next)
        n++;
    return n;
}

/* Both have as many fields, and none twice. */
static bool equal_few(const cJSON *a, const cJSON *b)
{
    for (const cJSON *x = a->child; x; x = x->next) {
        const cJSON *y = b->child;

        while (y && strcmp(x->string, y->string) != 0)
            y = y->next;
        if (!y || !equal_node(x, y))
            return false;
    }
    return true;
}

static bool equal_many(const cJSON *a, const cJSON *b)
{
    _cleanup_free_ const cJSON **x = NULL, **y = NULL;
    size_t n_x = 0, n_y = 0;

    /* No memory to look: "not equal" leads to a write that was not needed, never to one left out. */
    if (json_sorted_fields(a, &x, &n_x) < 0 || json_sorted_fields(b, &y, &n_y) < 0)
        return false;
    for (size_t i = 0; i < n_x; i++) {
        if (strcmp(x[i]->string, y[i]->string) != 0 || !equal_node(x[i], y[i]))
            return false;
    }
    return true;
}

static bool equal_objects(const cJSON *a, const cJSON *b)
{
    size_t n = count(a);

    if (n != count(b))
        return false;
    return n <= FEW_FIELDS ? equal_few(a, b) : equal_many(a, b);
}

static bool equal_node(const cJSON *a, const cJSON *b)
{
    if (cJSON_IsNumber(a))
        return cJSON_IsNumber(b) && equal_numbers(a, b);
    if (cJSON_IsString(a))
        return cJSON_IsString(b) && strcmp(a->valuestring, b->valuestring) == 0;
    if (cJSON_IsObject(a))
        return cJSON_IsObject(b) && equal_objects(a, b);
    if (cJSON_IsArray(a))
        return cJSON_IsArray(b) && equal_arrays(a, b);
    if (cJSON_IsBool(a))
        return cJSON_IsBool(b) && cJSON_IsTrue(a) == cJSON_IsTrue(b);
    return cJSON_IsNull(a) && cJSON_IsNull(b);
}

bool json_equal(const struct json *a, const struct json *b)
{
    if (!a || !b)
        return a == b;
    return equal_node(to_cjson(a), to_cjson(b));
}
