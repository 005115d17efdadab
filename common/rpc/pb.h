/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol Buffers, wire level (protobuf.dev, "Encoding"): a reader of slices that never allocates, and a
 * writer on struct buf. No reflection, no generated code: each message of ours is one small function that
 * loops over pb_next and switches on the field number.
 *
 *     pb_reader_init(&r, msg, len);
 *     while ((rc = pb_next(&r, &f)) > 0)
 *         switch (f.number) { case 1: rc = pb_get_string(&f, &name); ... }
 *
 * Stricter than the format asks, because the bytes are hostile and our peers never need the leeway. -EBADMSG
 * for: field number 0 or above 2^29-1, groups and undefined wire types, a varint longer than ten bytes or
 * with bits beyond 64, a length past the end, a known field of another wire type, a string with a NUL or with
 * invalid UTF-8 (RFC 3629), a singular submessage that comes twice. Unknown fields are skipped; of a repeated
 * scalar the last wins. What this does not know: packed repeated fields, groups, fixed-width values
 * (skipped).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

/* Bytes that belong to somebody else. data == NULL: the field was absent. Not NUL-terminated. */
struct pb_slice {
    const uint8_t *data;
    size_t len;
};

struct pb_reader {
    const uint8_t *pos;
    const uint8_t *end;
};

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb_field {
    uint32_t number;
    enum pb_wire wire;
    uint64_t value; /* PB_VARINT only */
    struct pb_slice bytes; /* PB_BYTES only; data is never NULL then, even when len is 0 */
};

void pb_reader_init(struct pb_reader *r, const void *data, size_t len);

/* The next field: 1. At the end: 0. -EBADMSG otherwise, and at every later call. */
int pb_next(struct pb_reader *r, struct pb_field *ret);

/* The value of a field whose number is known. 0 or -EBADMSG; *ret is written only on success. A string is
 * checked for NUL and UTF-8, and refused when it is longer than max bytes. */
int pb_get_string(const struct pb_field *f, size_t max, struct pb_slice *ret) _must_check_;
int pb_get_u64(const struct pb_field *f, uint64_t *ret) _must_check_;
int pb_get_i64(const struct pb_field *f, int64_t *ret) _must_check_;
int pb_get_i32(const struct pb_field *f,
        int32_t *ret) _must_check_; /* int32 and enum; larger is cut as protobuf does */
int pb_get_bool(const struct pb_field *f, bool *ret) _must_check_;

/* A singular submessage: *ret must have data == NULL before the first one; a second is refused. */
int pb_get_message(const struct pb_field *f, struct pb_slice *ret) _must_check_;

/* One entry of a map<string, string>, each side at most max bytes; a missing key or value is "" (data is not
 * NULL). Counting and doubles are the caller's business. */
int pb_get_map_entry(const struct pb_field *f, size_t max, struct pb_slice *ret_key,
        struct pb_slice *ret_value) _must_check_;

bool pb_slice_equal(struct pb_slice s, const char *text);

/* A copy as a C string, to be freed; "" for an absent field; NULL when out of memory. */
char *pb_slice_dup(struct pb_slice s) _must_check_;

/* Writers append one field to b, in proto3's manner: an empty string, false and 0 are not written
 * (submessages and map entries are, also empty ones). A failure sticks in the buffer: check buf_error once at
 * the end. */
void pb_put_string(struct buf *b, uint32_t number, const char *text); /* NULL counts as "" */
void pb_put_u64(struct buf *b, uint32_t number, uint64_t value);
void pb_put_bool(struct buf *b, uint32_t number, bool value);
void pb_put_message(struct buf *b, uint32_t number, const struct buf *message);
void pb_put_map_entry(struct buf *b, uint32_t number, const char *key, const char *value);
