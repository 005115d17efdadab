/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from and to a stream socket. The reader looks at the magic as soon as its first byte is there and at
 * the announced length as soon as the header is, so that a peer can make nobody wait for a frame that would
 * be refused anyway.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/wire/frame.h"

/* Length of the whole frame whose header is complete. */
static size_t frame_length(const struct wire_reader *r)
{
    return WIRE_HEADER + (size_t)wire_get32(r->buf + 8);
}

void wire_reader_init(struct wire_reader *r, uint8_t *buf, size_t cap)
{
    *r = (struct wire_reader){.buf = buf, .cap = cap};
}

size_t wire_reader_want(struct wire_reader *r, uint8_t **ret_at)
{
    if (r->len >= WIRE_HEADER && r->len == frame_length(r))
        r->len = 0;
    *ret_at = r->buf + r->len;
    return (r->len < WIRE_HEADER ? WIRE_HEADER : frame_length(r)) - r->len;
}

int wire_reader_got(struct wire_reader *r, size_t n, struct wire_frame *ret_frame)
{
    r->len += n;
    if (memcmp(r->buf, wire_magic, r->len < sizeof wire_magic ? r->len : sizeof wire_magic) != 0)
        return -EPROTO;
    if (r->len < WIRE_HEADER)
        return 0;
    if (wire_get16(r->buf + 6) != 0)
        return -EPROTO;
    if (wire_get32(r->buf + 8) > r->cap - WIRE_HEADER)
        return -EMSGSIZE;
    if (r->len < frame_length(r))
        return 0;
    *ret_frame = (struct wire_frame){
            .version = r->buf[4],
            .type = r->buf[5],
            .data = r->buf + WIRE_HEADER,
            .len = r->len - WIRE_HEADER,
    };
    return 1;
}

int wire_recv(int fd, struct wire_reader *r, struct wire_frame *ret_frame)
{
    uint8_t *at;
    size_t want = wire_reader_want(r, &at);
    ssize_t n = read(fd, at, want);

    if (n < 0)
        return -errno;
    if (n == 0)
        return -ECONNRESET;
    return wire_reader_got(r, (size_t)n, ret_frame);
}

int wire_send(int fd, const struct wire_request *q)
{
    uint8_t frame[WIRE_HEADER + 16];
    int len = wire_encode_request(frame, sizeof frame, q);
    ssize_t n;

    if (len < 0)
        return len;
    n = send(fd, frame, (size_t)len, MSG_NOSIGNAL);
    if (n < 0)
        return -errno;
    return n == len ? 0 : -EIO;
}
