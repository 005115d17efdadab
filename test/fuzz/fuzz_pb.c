/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the protobuf reader: every accessor on every field, submessages a few levels down; and the two texts
 * that gRPC takes from a peer. A slice must lie inside the input.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/rpc/grpc.h"
#include "common/rpc/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_lie_inside(struct pb_slice s, const uint8_t *data, size_t size)
{
    /* An absent map key or value is an empty slice of pb.c's own. */
    if (s.len > 0 && (s.data < data || s.len > size || s.data + s.len > data + size))
        abort();
}

static void read_all(const uint8_t *data, size_t size, int depth)
{
    struct pb_reader r;
    struct pb_field f;

    pb_reader_init(&r, data, size);
    while (pb_next(&r, &f) > 0) {
        struct pb_slice text = {0}, message = {0}, key = {0}, value = {0};
        uint64_t u;
        int64_t i;
        int32_t e;
        bool b;

        if (f.number == 0)
            abort();
        if (pb_get_string(&f, KIB, &text) == 0 && memchr(text.data, '\0', text.len))
            abort();
        (void)!pb_get_u64(&f, &u);
        (void)!pb_get_i64(&f, &i);
        (void)!pb_get_i32(&f, &e);
        (void)!pb_get_bool(&f, &b);
        (void)!pb_get_map_entry(&f, KIB, &key, &value);
        must_lie_inside(text, data, size);
        must_lie_inside(key, data, size);
        must_lie_inside(value, data, size);
        if (pb_get_message(&f, &message) == 0) {
            must_lie_inside(message, data, size);
            if (depth < 4)
                read_all(message.data, message.len, depth + 1);
        }
    }
}

static void read_texts(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf encoded = BUF_INIT(LIMIT_GRPC_MESSAGE), decoded = BUF_INIT(MIB);
    _cleanup_free_ char *text = strndup((const char *)data, size);
    enum grpc_status status;
    struct pb_slice message;
    usec_t timeout;

    if (!text)
        return;
    (void)!grpc_timeout_parse(text, &timeout);
    (void)!grpc_status_parse(text, &status);
    (void)grpc_message_get(&decoded, text);
    if (grpc_message_put(&encoded, text) < 0)
        abort(); /* it is cut, so that it always fits */
    if (grpc_frame_get(data, size, &message) == 0)
        must_lie_inside(message, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all(data, size, 0);
    read_texts(data, size);
    return 0;
}
