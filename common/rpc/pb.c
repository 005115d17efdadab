/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol Buffers, wire level (pb.h).
 *
 * A reader is two pointers. After an error pos is NULL, so that a caller that goes on cannot read on. All
 * arithmetic is on what is left (end - pos), never on pos + length, which could pass the end of memory.
 */
#include "common/rpc/pb.h"

#include <errno.h>
#include <string.h>

#include "common/base/utf8.h"

enum { FIELD_MAX = (1 << 29) - 1, VARINT_MAX = 10 };

void pb_reader_init(struct pb_reader *r, const void *data, size_t len)
{
    static const uint8_t nothing[1];

    r->pos = data ? data : nothing;
    r->end = data ? r->pos + len : nothing;
}

static size_t reader_left(const struct pb_reader *r)
{
    return (size_t)(r->end - r->pos);
}

static int get_varint(struct pb_reader *r, uint64_t *ret)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < VARINT_MAX && reader_left(r) > 0; i++) {
        uint8_t byte = *r->pos++;

        /* The tenth byte has room for one bit only. */
        if (i == VARINT_MAX - 1 && byte > 1)
            return -EBADMSG;
        value |= (uint64_t)(byte & 0x7fu) << (7 * i);
        if (!(byte & 0x80u)) {
            *ret = value;
            return 0;
        }
    }
    return -EBADMSG;
}

static int skip(struct pb_reader *r, uint64_t n)
{
    if (n > reader_left(r))
        return -EBADMSG;
    r->pos += n;
    return 0;
}

static int get_field(struct pb_reader *r, struct pb_field *f)
{
    uint64_t key, len;
    int rc;

    rc = get_varint(r, &key);
    if (rc < 0)
        return rc;
    if ((key >> 3) == 0 || (key >> 3) > FIELD_MAX)
        return -EBADMSG;
    f->number = (uint32_t)(key >> 3);
    switch (key & 7u) {
    case PB_VARINT:
        f->wire = PB_VARINT;
        return get_varint(r, &f->value);
    case PB_FIXED64:
        f->wire = PB_FIXED64;
        return skip(r, 8);
    case PB_FIXED32:
        f->wire = PB_FIXED32;
        return skip(r, 4);
    case PB_BYTES:
        f->wire = PB_BYTES;
        rc = get_varint(r, &len);
        if (rc < 0)
            return rc;
        f->bytes.data = r->pos;
        rc = skip(r, len);
        f->bytes.len = (size_t)len;
        return rc;
    default:
        return -EBADMSG; /* groups (3, 4) and what is not defined (6, 7) */
    }
}

int pb_next(struct pb_reader *r, struct pb_field *ret)
{
    struct pb_field f = {0};
    int rc;

    if (!r->pos)
        return -EBADMSG;
    if (r->pos == r->end)
        return 0;
    rc = get_field(r, &f);
    if (rc < 0) {
        r->pos = NULL;
        return rc;
    }
    *ret = f;
    return 1;
}

int pb_get_string(const struct pb_field *f, size_t max, struct pb_slice *ret)
{
    const char *text = (const char *)f->bytes.data;

    if (f->wire != PB_BYTES || f->bytes.len > max || memchr(text, '\0', f->bytes.len) ||
            !utf8_valid(text, f->bytes.len))
        return -EBADMSG;
    *ret = f->bytes;
    return 0;
}

int pb_get_u64(const struct pb_field *f, uint64_t *ret)
{
    if (f->wire != PB_VARINT)
        return -EBADMSG;
    *ret = f->value;
    return 0;
}

int pb_get_i64(const struct pb_field *f, int64_t *ret)
{
    if (f->wire != PB_VARINT)
        return -EBADMSG;
    *ret = (int64_t)f->value;
    return 0;
}

int pb_get_i32(const struct pb_field *f, int32_t *ret)
{
    if (f->wire != PB_VARINT)
        return -EBADMSG;
    *ret = (int32_t)(uint32_t)f->value;
    return 0;
}

int pb_get_bool(const struct pb_field *f, bool *ret)
{
    if (f->wire != PB_VARINT)
        return -EBADMSG;
    *ret = f->value != 0;
    return 0;
}

int pb_get_message(const struct pb_field *f, struct pb_slice *ret)
{
    if (f->wire != PB_BYTES || ret->data)
        return -EBADMSG;
    *ret = f->bytes;
    return 0;
}

int pb_get_map_entry(
        const struct pb_field *f, size_t max, struct pb_slice *ret_key, struct pb_slice *ret_value)
{
    static const uint8_t empty[1];
    struct pb_slice key = {.data = empty}, value = {.data = empty};
    struct pb_reader r;
    struct pb_field part;
    int rc;

    if (f->wire != PB_BYTES)
        return -EBADMSG;
    pb_reader_init(&r, f->bytes.data, f->bytes.len);
    while ((rc = pb_next(&r, &part)) > 0) {
        if (part.number == 1)
            rc = pb_get_string(&part, max, &key);
        else if (part.number == 2)
            rc = pb_get_string(&part, max, &value);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    *ret_key = key;
    *ret_value = value;
    return 0;
}

bool pb_slice_equal(struct pb_slice s, const char *text)
{
    return s.len == strlen(text) && (s.len == 0 || memcmp(s.data, text, s.len) == 0);
}

char *pb_slice_dup(struct pb_slice s)
{
    char *copy = malloc(s.len + 1);

    if (!copy)
        return NULL;
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}

static void put_varint(struct buf *b, uint64_t value)
{
    uint8_t bytes[VARINT_MAX];
    size_t n = 0;

    do {
        bytes[n] = (uint8_t)((value & 0x7fu) | (value > 0x7fu ? 0x80u : 0));
        value >>= 7;
        n++;
    } while (value > 0);
    (void)buf_append(b, bytes, n);
}

static void put_bytes(struct buf *b, uint32_t number, const void *data, size_t len)
{
    put_varint(b, ((uint64_t)number << 3) | PB_BYTES);
    put_varint(b, len);
    (void)buf_append(b, data, len);
}

void pb_put_string(struct buf *b, uint32_t number, const char *text)
{
    if (text && *text)
        put_bytes(b, number, text, strlen(text));
}

void pb_put_u64(struct buf *b, uint32_t number, uint64_t value)
{
    if (value == 0)
        return;
    put_varint(b, ((uint64_t)number << 3) | PB_VARINT);
    put_varint(b, value);
}

void pb_put_bool(struct buf *b, uint32_t number, bool value)
{
    pb_put_u64(b, number, value ? 1 : 0);
}

void pb_put_message(struct buf *b, uint32_t number, const struct buf *message)
{
    put_bytes(b, number, buf_str(message), message->len);
    if (buf_error(message) < 0 && b->error == 0)
        b->error = buf_error(message);
}

void pb_put_map_entry(struct buf *b, uint32_t number, const char *key, const char *value)
{
    _cleanup_buf_ struct buf entry = BUF_INIT(b->max);

    pb_put_string(&entry, 1, key);
    pb_put_string(&entry, 2, value);
    pb_put_message(b, number, &entry);
}
