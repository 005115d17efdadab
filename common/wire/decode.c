/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to messages. The bytes come from a container, or, in a container, from whatever listens on the
 * socket: every field is checked against what is left, and a message is accepted only when nothing is left.
 */
#include <errno.h>
#include <string.h>

#include "common/wire/frame.h"

/* What is left of a payload. The first failure sticks: `bad` stays set and every later field reads as 0. */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
    const uint8_t *at = c->at;

    if (c->bad || n > c->left) {
        c->bad = true;
        return NULL;
    }
    c->at += n;
    c->left -= n;
    return at;
}

static uint8_t take8(struct cursor *c)
{
    const uint8_t *at = take(c, 1);

    return at ? *at : 0;
}

static uint16_t take16(struct cursor *c)
{
    const uint8_t *at = take(c, 2);

    return at ? wire_get16(at) : 0;
}

/* A string of at most max bytes, "" on failure. */
static const char *take_string(struct cursor *c, size_t max)
{
    const uint8_t *head = take(c, 4);
    size_t len = head ? wire_get32(head) : 0;
    const uint8_t *text;

    if (len > max)
        c->bad = true;
    if (c->bad)
        return "";
    text = take(c, len + 1);
    if (!text || memchr(text, '\0', len + 1) != text + len) {
        c->bad = true;
        return "";
    }
    return (const char *)text;
}

static struct wire_strings take_strings(struct cursor *c, size_t count)
{
    struct wire_strings s = {.at = c->at, .count = count};

    for (size_t i = 0; i < count && !c->bad; i++)
        (void)take_string(c, WIRE_REPLY_MAX);
    return s;
}

/* A byte of flags of which only `known` may be set. */
static uint8_t take_flags(struct cursor *c, uint8_t known)
{
    uint8_t flags = take8(c);

    if (flags & ~known)
        c->bad = true;
    return flags;
}

static void decode_attach(struct cursor *c, struct wire_request *q)
{
    uint8_t kind = take8(c);
    uint8_t flags = take_flags(c, WIRE_FLAG_WANT_ENTRYPOINT | WIRE_FLAG_HAVE_ARGS);

    q->kind = kind == WIRE_RUN ? WIRE_RUN : WIRE_EXEC;
    q->want_entrypoint = flags & WIRE_FLAG_WANT_ENTRYPOINT;
    q->have_args = flags & WIRE_FLAG_HAVE_ARGS;
    if (kind != WIRE_RUN && kind != WIRE_EXEC)
        c->bad = true;
    if ((q->kind == WIRE_EXEC && q->want_entrypoint) || (q->have_args && !q->want_entrypoint))
        c->bad = true;
}

int wire_decode_request(const struct wire_frame *f, struct wire_request *ret)
{
    struct wire_request q = {.kind = WIRE_RUN};
    struct cursor c = {.at = f->data, .left = f->len};

    if (f->version != WIRE_VERSION)
        return -EPROTONOSUPPORT;
    switch (f->type) {
    case WIRE_HELLO:
        q.type = WIRE_HELLO;
        break;
    case WIRE_STOPPING:
        q.type = WIRE_STOPPING;
        break;
    case WIRE_ATTACH:
        q.type = WIRE_ATTACH;
        decode_attach(&c, &q);
        break;
    default:
        return -EPROTO;
    }
    if (c.bad || c.left > 0)
        return -EPROTO;
    *ret = q;
    return 0;
}

static void decode_attached(struct cursor *c, struct wire_reply *p)
{
    size_t entrypoint_count, cmd_count;

    p->workdir = take_string(c, WIRE_PATH_MAX);
    if (p->workdir[0] != '\0' && p->workdir[0] != '/')
        c->bad = true;
    entrypoint_count = take16(c);
    cmd_count = take16(c);
    if (entrypoint_count + cmd_count > WIRE_ARGS_MAX)
        c->bad = true;
    p->entrypoint = take_strings(c, entrypoint_count);
    p->cmd = take_strings(c, cmd_count);
}

int wire_decode_reply(const struct wire_frame *f, struct wire_reply *ret)
{
    struct wire_reply p = {.text = "", .workdir = ""};
    struct cursor c = {.at = f->data, .left = f->len};

    if (f->version != WIRE_VERSION && f->type != WIRE_REFUSED)
        return -EPROTONOSUPPORT;
    switch (f->type) {
    case WIRE_HELD:
        p.type = WIRE_HELD;
        break;
    case WIRE_RELEASE:
        p.type = WIRE_RELEASE;
        break;
    case WIRE_ATTACHED:
        p.type = WIRE_ATTACHED;
        decode_attached(&c, &p);
        break;
    case WIRE_WAIT:
        p.type = WIRE_WAIT;
        p.text = take_string(&c, WIRE_TEXT_MAX);
        break;
    case WIRE_REFUSED:
        p.type = WIRE_REFUSED;
        p.retryable = take_flags(&c, WIRE_FLAG_RETRYABLE) != 0;
        p.text = take_string(&c, WIRE_TEXT_MAX);
        break;
    default:
        return -EPROTO;
    }
    if (c.bad || c.left > 0)
        return -EPROTO;
    *ret = p;
    return 0;
}

void wire_strings_list(const struct wire_strings *s, const char **argv)
{
    const uint8_t *at = s->at;

    /* Lengths and terminators were checked by wire_decode_reply. */
    for (size_t i = 0; i < s->count; i++) {
        argv[i] = (const char *)at + 4;
        at += 4 + (size_t)wire_get32(at) + 1;
    }
}
