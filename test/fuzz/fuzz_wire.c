/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes common/wire from both ends. The bytes are a stream, read through buffers that end where the frame
 * does, so that the sanitizer sees a byte too far. What is accepted must encode to the very bytes it came
 * from: a message has one form, and nothing in a frame goes unseen.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[WIRE_REPLY_MAX];
static const char *argv[WIRE_ARGS_MAX];

static void must_equal(const struct wire_frame *f, int len)
{
    if (len != (int)(WIRE_HEADER + f->len) || memcmp(again + WIRE_HEADER, f->data, f->len) != 0)
        abort();
}

static void check_request(const struct wire_frame *f)
{
    struct wire_request q;

    if (wire_decode_request(f, &q) == 0)
        must_equal(f, wire_encode_request(again, sizeof again, &q));
}

static void check_reply(const struct wire_frame *f)
{
    struct wire_reply p;
    struct wire_attached a;

    if (wire_decode_reply(f, &p) < 0)
        return;
    if (p.type == WIRE_WAIT || p.type == WIRE_REFUSED) {
        must_equal(f, wire_encode_text(again, sizeof again, p.type, p.retryable, p.text));
        return;
    }
    if (p.type != WIRE_ATTACHED) {
        must_equal(f, wire_encode_plain(again, sizeof again, p.type));
        return;
    }
    if (p.entrypoint.count + p.cmd.count > WIRE_ARGS_MAX)
        abort();
    wire_strings_list(&p.entrypoint, argv);
    wire_strings_list(&p.cmd, argv + p.entrypoint.count);
    a = (struct wire_attached){.workdir = p.workdir,
            .entrypoint = argv,
            .entrypoint_count = p.entrypoint.count,
            .cmd = argv + p.entrypoint.count,
            .cmd_count = p.cmd.count};
    must_equal(f, wire_encode_attached(again, sizeof again, &a));
}

/* Decodes from a copy that ends with the payload. */
static void check(const struct wire_frame *f)
{
    _cleanup_free_ uint8_t *data = malloc(f->len ? f->len : 1);
    struct wire_frame copy = {.version = f->version, .type = f->type, .data = data, .len = f->len};

    if (!data)
        return;
    memcpy(data, f->data, f->len);
    check_request(&copy);
    check_reply(&copy);
    (void)wire_encode_version_refused(again, sizeof again, &copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step = size ? 1 + data[0] : 1;
    size_t cap = size > 1 && data[1] & 1 ? WIRE_REPLY_MAX : WIRE_REQUEST_MAX;
    _cleanup_free_ uint8_t *buf = malloc(cap);
    struct wire_reader r;
    struct wire_frame f;

    if (size < 2 || !buf)
        return 0;
    wire_reader_init(&r, buf, cap);
    for (size_t done = 2; done < size;) {
        uint8_t *at;
        size_t n = wire_reader_want(&r, &at);
        int rc;

        n = n < step ? n : step;
        n = n < size - done ? n : size - done;
        memcpy(at, data + done, n);
        done += n;
        rc = wire_reader_got(&r, n, &f);
        if (rc < 0)
            return 0;
        if (rc == 1)
            check(&f);
    }
    return 0;
}
