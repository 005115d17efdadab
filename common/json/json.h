/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only door to cJSON: parse with caps, typed getters whose errors name the path, and a writer.
 *
 * `struct json` is opaque: a node of a tree. The tree's root is owned by whoever parsed or made it and freed
 * with json_free; nodes found inside are borrowed and die with the root. Nodes put into a tree (json_set,
 * json_append) belong to it from then on, also when the call fails (they are freed), so that building code
 * needs no clean-up of its own.
 *
 * Paths are dotted field names, an index in brackets: "spec.containers[0].name". A field name that itself
 * contains dots or brackets (labels, annotations) is reached with json_field.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct json;

/* Parses exactly one document of RFC 8259 (white space around it allowed). Refused: depth over
 * LIMIT_JSON_DEPTH, NUL inside (also as \u0000), trailing bytes, invalid UTF-8, half of a surrogate pair,
 * duplicate keys in an object. -EBADMSG with the byte offset (for a duplicate key its name) in the text;
 * -E2BIG for more than LIMIT_JSON_NODES values; -ENOMEM.
 *
 * Numbers keep their text: whatever is read and written back unchanged is written as it came, also what a
 * double cannot hold. */
int json_parse(const char *text, size_t len, struct json **ret_root, struct err *err);

/* For what a Kubernetes API server answers, in which everybody who may write one object has a hand: an annotation may
 * hold a \u0000, managedFields may be as deep as somebody likes, and a document that is refused hides all others in it.
 * Like json_parse, but \u0000 reads as U+FFFD, what is nested beyond the cap as 0, and of two fields with one key the
 * first is kept. */
int json_parse_any(const char *text, size_t len, struct json **ret_root, struct err *err);

struct json *json_free(struct json *root); /* accepts NULL; returns NULL */
DEFINE_CLEANUP_FUNC(struct json *, json_free);
#define _cleanup_json_ _cleanup_(json_freep)

/* Compact text of the tree, appended. Bytes that are no UTF-8 (in strings made by json_new_string: another
 * program's error text, for instance) are written as U+FFFD. Fails as buf_append does. */
int json_write(const struct json *node, struct buf *b);

/* The same with the keys of every object sorted and numbers in one form: content that is equal by json_equal
 * gives equal bytes. For hashes, not for reading back: a long number may grow beyond LIMIT_JSON_NUMBER. */
int json_write_canonical(const struct json *node, struct buf *b);

/* Kinds. All accept NULL (false). */
bool json_is_object(const struct json *node);
bool json_is_array(const struct json *node);
bool json_is_string(const struct json *node);
bool json_is_null(const struct json *node);

/* Look-ups that do not fail: NULL, fallback or 0 when absent or of another type. An empty path is the node
 * itself. An int is a number written without fraction and exponent that fits int64_t. */
struct json *json_at(const struct json *node, const char *path);
struct json *json_field(const struct json *object, const char *name);
const char *json_str(const struct json *node, const char *path); /* NULL when absent or no string */
const char *json_str_or(const struct json *node, const char *path, const char *fallback);
bool json_bool_or(const struct json *node, const char *path, bool fallback);
int64_t json_int_or(const struct json *node, const char *path, int64_t fallback);
size_t json_len(const struct json *node); /* elements of an array or fields of an object, else 0 */
struct json *json_index(const struct json *array, size_t i); /* NULL beyond the end */
const char *json_key(
        const struct json *node); /* the field name under which node sits in its object, or NULL */
const char *json_string(const struct json *node); /* the node's own text, NULL when no string */

/* Look-ups that fail with a sentence naming the path: -ENOENT when absent, -EINVAL when of another type,
 * -ERANGE when outside min..max. */
int json_need_str(const struct json *node, const char *path, const char **ret, struct err *err);
int json_need_int(
        const struct json *node, const char *path, int64_t min, int64_t max, int64_t *ret, struct err *err);
int json_need_object(const struct json *node, const char *path, struct json **ret, struct err *err);
int json_need_array(const struct json *node, const char *path, struct json **ret, struct err *err);

/* Elements of an array, or fields of an object. The body may not change the tree's shape. node may be NULL.
 */
struct json *json_first(const struct json *node);
struct json *json_next(const struct json *child);
#define json_for_each(child, node) \
    for (struct json *child = json_first(node); child; child = json_next(child))

/* Building. NULL when out of memory; json_set and json_append take that NULL and fail with -ENOMEM, so only
 * those need a check. Text is copied. */
struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_new_string(const char *text);
struct json *json_new_int(int64_t value);
struct json *json_new_bool(bool value);
struct json *json_new_null(void);
struct json *json_copy(const struct json *node); /* deep */

/* Adds or replaces a field (which keeps its place). The value is consumed in every case. -EINVAL when
 * `object` is no object. */
int json_set(struct json *object, const char *name, struct json *value);
int json_set_str(struct json *object, const char *name, const char *text); /* text NULL: nothing is set, 0 */
int json_set_int(struct json *object, const char *name, int64_t value);
int json_set_bool(struct json *object, const char *name, bool value);
int json_append(struct json *array, struct json *value);
int json_append_str(struct json *array, const char *text);
void json_remove(struct json *object, const char *name);
void json_remove_index(struct json *array, size_t i);

/* The field if it is there and of that kind, else a new empty one put there (replacing another kind). NULL:
 * no memory. */
struct json *json_ensure_object(struct json *object, const char *name);
struct json *json_ensure_array(struct json *object, const char *name);

/* Deep equality; object fields in any order; numbers by value. */
bool json_equal(const struct json *a, const struct json *b);
