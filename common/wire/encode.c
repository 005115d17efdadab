/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to bytes. A writer notes the first thing that does not fit and goes on writing nothing, so that
 * each message is a list of fields and one check at the end.
 */
#include <errno.h>
#include <string.h>

#include "common/wire/frame.h"

struct writer {
    uint8_t *buf;
    size_t cap;
    size_t len;
    int error;
};

static uint8_t *grow(struct writer *w, size_t n)
{
    uint8_t *at = w->buf + w->len;

    if (w->error)
        return NULL;
    if (n > w->cap - w->len) {
        w->error = -EMSGSIZE;
        return NULL;
    }
    w->len += n;
    return at;
}

static void put8(struct writer *w, uint8_t v)
{
    uint8_t *at = grow(w, 1);

    if (at)
        *at = v;
}

static void put16(struct writer *w, uint16_t v)
{
    uint8_t *at = grow(w, 2);

    if (at)
        wire_put16(at, v);
}

static void put_string(struct writer *w, const char *text, size_t len)
{
    uint8_t *at = len < WIRE_REPLY_MAX ? grow(w, 4 + len + 1) : NULL;

    if (!at) {
        w->error = -EMSGSIZE;
        return;
    }
    wire_put32(at, (uint32_t)len);
    memcpy(at + 4, text, len);
    at[4 + len] = '\0';
}

static void begin(struct writer *w, uint8_t *buf, size_t cap, size_t frame_max, enum wire_type type)
{
    uint8_t *at;

    *w = (struct writer){.buf = buf, .cap = cap < frame_max ? cap : frame_max};
    at = grow(w, WIRE_HEADER);
    if (!at)
        return;
    memset(at, 0, WIRE_HEADER);
    memcpy(at, wire_magic, sizeof wire_magic);
    at[4] = WIRE_VERSION;
    at[5] = (uint8_t)type;
}

static int finish(struct writer *w)
{
    if (w->error)
        return w->error;
    wire_put32(w->buf + 8, (uint32_t)(w->len - WIRE_HEADER));
    return (int)w->len;
}

/* Length of the longest prefix of text that has at most max bytes and does not end inside a UTF-8 character.
 */
static size_t cut(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);

    if (len <= max)
        return len;
    len = max;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

int wire_encode_request(uint8_t *buf, size_t cap, const struct wire_request *q)
{
    struct writer w;

    if (q->type != WIRE_HELLO && q->type != WIRE_STOPPING && q->type != WIRE_ATTACH)
        return -EINVAL;
    begin(&w, buf, cap, WIRE_REQUEST_MAX, q->type);
    if (q->type == WIRE_ATTACH) {
        if (q->kind != WIRE_RUN && q->kind != WIRE_EXEC)
            return -EINVAL;
        if ((q->kind == WIRE_EXEC && q->want_entrypoint) || (q->have_args && !q->want_entrypoint))
            return -EINVAL;
        put8(&w, (uint8_t)q->kind);
        put8(&w, (uint8_t)((q->want_entrypoint ? WIRE_FLAG_WANT_ENTRYPOINT : 0) |
                           (q->have_args ? WIRE_FLAG_HAVE_ARGS : 0)));
    }
    return finish(&w);
}

int wire_encode_plain(uint8_t *buf, size_t cap, enum wire_type type)
{
    struct writer w;

    if (type != WIRE_HELD && type != WIRE_RELEASE)
        return -EINVAL;
    begin(&w, buf, cap, WIRE_REPLY_MAX, type);
    return finish(&w);
}

int wire_encode_text(uint8_t *buf, size_t cap, enum wire_type type, bool retryable, const char *text)
{
    struct writer w;

    if (type != WIRE_WAIT && type != WIRE_REFUSED)
        return -EINVAL;
    begin(&w, buf, cap, WIRE_REPLY_MAX, type);
    if (type == WIRE_REFUSED)
        put8(&w, retryable ? WIRE_FLAG_RETRYABLE : 0);
    put_string(&w, text, cut(text, WIRE_TEXT_MAX));
    return finish(&w);
}

int wire_encode_attached(uint8_t *buf, size_t cap, const struct wire_attached *a)
{
    const char *workdir = a->workdir ? a->workdir : "";
    struct writer w;

    if (workdir[0] != '\0' && workdir[0] != '/')
        return -EINVAL;
    if (a->entrypoint_count > WIRE_ARGS_MAX || a->cmd_count > WIRE_ARGS_MAX - a->entrypoint_count ||
            strnlen(workdir, WIRE_PATH_MAX + 1) > WIRE_PATH_MAX)
        return -EMSGSIZE;
    begin(&w, buf, cap, WIRE_REPLY_MAX, WIRE_ATTACHED);
    put_string(&w, workdir, strlen(workdir));
    put16(&w, (uint16_t)a->entrypoint_count);
    put16(&w, (uint16_t)a->cmd_count);
    for (size_t i = 0; i < a->entrypoint_count; i++)
        put_string(&w, a->entrypoint[i], strlen(a->entrypoint[i]));
    for (size_t i = 0; i < a->cmd_count; i++)
        put_string(&w, a->cmd[i], strlen(a->cmd[i]));
    return finish(&w);
}

/* Writes the decimal digits of v (at most 3) at `at` and returns the position behind them. */
static char *put_digits(char *at, uint8_t v)
{
    if (v >= 100)
        *at++ = (char)('0' + v / 100);
    if (v >= 10)
        *at++ = (char)('0' + v / 10 % 10);
    *at++ = (char)('0' + v % 10);
    return at;
}

int wire_encode_version_refused(uint8_t *buf, size_t cap, const struct wire_frame *peer)
{
    static const char start[] = "the node agent speaks version ";
    static const char middle[] = " of the attach protocol, this container was started with version ";
    static const char end[] = ": restart the container, or run an agent that speaks both";
    char text[sizeof start + sizeof middle + sizeof end + 6];
    char *at = text;

    memcpy(at, start, sizeof start - 1);
    at = put_digits(at + sizeof start - 1, WIRE_VERSION);
    memcpy(at, middle, sizeof middle - 1);
    at = put_digits(at + sizeof middle - 1, peer->version);
    memcpy(at, end, sizeof end);
    return wire_encode_text(buf, cap, WIRE_REFUSED, peer->type != WIRE_ATTACH, text);
}
