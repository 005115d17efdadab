/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 frames written by hand, for the tests of the gRPC server and client: what a peer sends that no
 * library would. Header fields are HPACK literals without indexing and without Huffman coding (RFC 7541,
 * 6.2.2), so a block needs no state.
 */
#pragma once

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/base/buf.h"
#include "common/base/limits.h"

#define RAW_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum raw_type { RAW_DATA = 0, RAW_HEADERS = 1, RAW_RST = 3, RAW_SETTINGS = 4, RAW_GOAWAY = 7 };
enum { RAW_END_STREAM = 1, RAW_END_HEADERS = 4 };

struct raw_header {
    const char *name, *value;
};

static inline void raw_frame(
        struct buf *b, enum raw_type type, int flags, int stream, const struct buf *payload)
{
    size_t len = payload ? payload->len : 0;
    uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)type, (uint8_t)flags,
            0, 0, (uint8_t)(stream >> 8), (uint8_t)stream};

    (void)buf_append(b, head, sizeof(head));
    if (payload)
        (void)buf_append(b, payload->data, len);
}

static inline void raw_string(struct buf *b, const char *text)
{
    size_t len = strlen(text);

    /* An integer with a seven-bit prefix (RFC 7541, 5.1). */
    if (len < 127) {
        (void)buf_putc(b, (char)len);
    } else {
        (void)buf_putc(b, 127);
        for (len -= 127; len >= 128; len /= 128)
            (void)buf_putc(b, (char)(len % 128 + 128));
        (void)buf_putc(b, (char)len);
    }
    (void)buf_puts(b, text);
}

/* headers ends with a NULL name. */
static inline void raw_headers(struct buf *b, int flags, int stream, const struct raw_header *headers)
{
    _cleanup_buf_ struct buf block = BUF_INIT(MIB);

    for (; headers->name; headers++) {
        (void)buf_putc(&block, 0);
        raw_string(&block, headers->name);
        raw_string(&block, headers->value);
    }
    raw_frame(b, RAW_HEADERS, flags | RAW_END_HEADERS, stream, &block);
}

static inline void raw_data(struct buf *b, int flags, int stream, const void *data, size_t len)
{
    _cleanup_buf_ struct buf payload = BUF_INIT(MIB);

    (void)buf_append(&payload, data, len);
    raw_frame(b, RAW_DATA, flags, stream, &payload);
}

/* Whether there is such a frame among these whole frames. ret_flags may be NULL. */
static inline bool raw_find(
        const char *frames, size_t size, enum raw_type type, int stream, uint8_t *ret_flags)
{
    size_t at = 0;

    while (size > at && size - at >= 9) {
        const uint8_t *p = (const uint8_t *)frames + at;
        size_t len = ((size_t)p[0] << 16) | ((size_t)p[1] << 8) | p[2];

        if (p[3] == type && p[8] == stream) {
            if (ret_flags)
                *ret_flags = p[4];
            return true;
        }
        at += 9 + len;
    }
    return false;
}

/* A directory of the test's own, removed with what the tests put into it. */
static inline char *raw_make_dir(void)
{
    char *dir = strdup("/tmp/sc-rpc-XXXXXX");

    cr_assert_not_null(mkdtemp(dir));
    return dir;
}

static inline int raw_connect(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
    return fd;
}
