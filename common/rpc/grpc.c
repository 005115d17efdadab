/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC's additions to HTTP/2 (grpc.h).
 */
#include "common/rpc/grpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/num.h"
#include "common/base/utf8.h"

static const char *const status_names[] = {
        [GRPC_OK] = "OK",
        [GRPC_CANCELLED] = "CANCELLED",
        [GRPC_UNKNOWN] = "UNKNOWN",
        [GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [GRPC_NOT_FOUND] = "NOT_FOUND",
        [GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [GRPC_ABORTED] = "ABORTED",
        [GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [GRPC_INTERNAL] = "INTERNAL",
        [GRPC_UNAVAILABLE] = "UNAVAILABLE",
        [GRPC_DATA_LOSS] = "DATA_LOSS",
        [GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *grpc_status_name(enum grpc_status status)
{
    size_t i = (size_t)status;

    return i < ARRAY_SIZE(status_names) ? status_names[i] : "UNKNOWN";
}

int grpc_status_parse(const char *text, enum grpc_status *ret)
{
    uint64_t n;

    if (num_parse_u64(text, 0, INT32_MAX, &n) < 0)
        return -EBADMSG;
    *ret = n < ARRAY_SIZE(status_names) ? (enum grpc_status)n : GRPC_UNKNOWN;
    return 0;
}

int grpc_frame_put(struct buf *b, const void *message, size_t len)
{
    uint8_t prefix[GRPC_PREFIX] = {
            0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};

    if (len > UINT32_MAX)
        return -E2BIG;
    (void)buf_append(b, prefix, sizeof(prefix));
    return buf_append(b, message, len);
}

int grpc_frame_get(const void *data, size_t len, struct pb_slice *ret_message)
{
    const uint8_t *p = data;
    uint32_t size;

    if (len < GRPC_PREFIX || p[0] > 1)
        return -EBADMSG;
    if (p[0] == 1)
        return -ENOTSUP;
    size = ((uint32_t)p[1] << 24) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 8) | p[4];
    if (size != len - GRPC_PREFIX)
        return -EBADMSG;
    *ret_message = (struct pb_slice){.data = p + GRPC_PREFIX, .len = size};
    return 0;
}

/* Encodes one character of n bytes into out (at most 12 bytes). */
static size_t encode_char(const char *text, size_t n, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[used++] = (char)c;
        } else {
            out[used++] = '%';
            out[used++] = hex[c >> 4];
            out[used++] = hex[c & 0x0f];
        }
    }
    return used;
}

int grpc_message_put(struct buf *b, const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd", dots[] = "...";
    size_t left = strlen(text), room = LIMIT_GRPC_MESSAGE - (sizeof(dots) - 1);

    while (left > 0) {
        size_t n = utf8_next(text, left, NULL);
        char out[12];
        size_t len =
                n > 0 ? encode_char(text, n, out) : encode_char(replacement, sizeof(replacement) - 1, out);

        if (len > room)
            return buf_puts(b, dots);
        (void)buf_append(b, out, len);
        room -= len;
        text += n > 0 ? n : 1;
        left -= n > 0 ? n : 1;
    }
    return buf_error(b);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int grpc_message_get(struct buf *b, const char *value)
{
    while (*value) {
        unsigned char c = (unsigned char)*value;
        int high = c == '%' ? hex_digit(value[1]) : -1;
        int low = high >= 0 ? hex_digit(value[2]) : -1;

        if (low >= 0) {
            c = (unsigned char)(high * 16 + low);
            value += 2;
        }
        (void)buf_putc(b, c < 0x20 || c == 0x7f ? ' ' : (char)c);
        value++;
    }
    return buf_error(b);
}

/* Nanoseconds in one of a timeout's units, finest first. */
static const struct {
    char letter;
    uint64_t nsec;
} units[] = {
        {'n', 1},
        {'u', 1000},
        {'m', 1000 * 1000},
        {'S', 1000 * 1000 * 1000},
        {'M', UINT64_C(60) * 1000 * 1000 * 1000},
        {'H', UINT64_C(3600) * 1000 * 1000 * 1000},
};

enum { TIMEOUT_DIGITS = 8, TIMEOUT_MAX = 99999999 };

int grpc_timeout_parse(const char *text, usec_t *ret)
{
    size_t len = strlen(text);
    uint64_t n;

    if (len < 2 || len > TIMEOUT_DIGITS + 1 || num_parse_u64_n(text, len - 1, 0, TIMEOUT_MAX, &n) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (units[i].letter != text[len - 1])
            continue;
        /* In hours 8 digits are 3.6e17 microseconds: no overflow, unlike in nanoseconds. */
        *ret = units[i].nsec >= 1000 ? n * (units[i].nsec / 1000) : (n + 999) / 1000;
        return 0;
    }
    return -EBADMSG;
}

void grpc_timeout_format(usec_t timeout, char ret[GRPC_TIMEOUT_TEXT])
{
    for (size_t i = 1; i < ARRAY_SIZE(units); i++) {
        uint64_t unit = units[i].nsec / 1000, n = timeout / unit + (timeout % unit > 0);

        if (n <= TIMEOUT_MAX) {
            (void)snprintf(ret, GRPC_TIMEOUT_TEXT, "%" PRIu64 "%c", n, units[i].letter);
            return;
        }
    }
    (void)snprintf(ret, GRPC_TIMEOUT_TEXT, "%dH", TIMEOUT_MAX);
}
