/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of common/json share: json_scan.c (what is acceptable text), json_number.c (numbers that
 * lose nothing), json_parse.c, json_write.c, json_equal.c, json.c (look-ups and building). Nobody else
 * includes this.
 *
 * A `struct json` is a cJSON node under another name. One thing is added to cJSON's own use of it: a number
 * that is not a small integer carries its text in valuestring, which cJSON copies and frees with the node and
 * otherwise leaves alone. That text is the number; valuedouble is cJSON's rounding of it.
 */
#pragma once

#include <cjson/cJSON.h>

#include "common/json/json.h"

static inline const cJSON *to_cjson(const struct json *node)
{
    return (const cJSON *)node;
}

static inline cJSON *to_cjson_mutable(struct json *node)
{
    return (cJSON *)node;
}

static inline struct json *from_cjson(cJSON *node)
{
    return (struct json *)node;
}

/* The place of a number in the text, for those that have to keep it. */
struct json_number_place {
    size_t ordinal; /* among all numbers of the document */
    size_t offset;
    size_t len;
};

struct json_number_places {
    struct json_number_place *items;
    size_t n;
    size_t alloc;
};

/* Whether text is one acceptable document (json_parse says what is refused). Fills places, which the caller
 * frees (items), also after a failure. */
int json_scan(const char *text, size_t len, struct json_number_places *places, struct err *err);

/* In place: what json_parse_any takes and json_parse does not, but for duplicate keys. */
void json_soften(char *text, size_t len);

/* Whether a number of that text is an integer so small that a double holds and prints it exactly. */
bool json_number_is_small(const char *text, size_t len);

/* Makes text the number's text. -ENOMEM; -ERANGE when cJSON's reading of it is infinite. */
int json_number_keep(cJSON *node, const char *text, size_t len);

/* The value, when it is an integer of int64_t. */
bool json_number_int(const cJSON *node, int64_t *ret);

/* Appends the number as it came, or in the one form that all numbers of that value share. */
int json_number_write(const cJSON *node, struct buf *b);
int json_number_write_canonical(const cJSON *node, struct buf *b);

/* The fields of an object, sorted by key: an array of *ret_n for the caller to free. -ENOMEM. */
int json_sorted_fields(const cJSON *object, const cJSON ***ret_fields, size_t *ret_n);
