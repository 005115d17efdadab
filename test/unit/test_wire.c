/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/wire: every message there and back, and every way in which a frame can be wrong.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/wire/wire.h"

static uint8_t out[WIRE_REPLY_MAX + 64];
static uint8_t in[WIRE_REPLY_MAX];

/* Feeds the frame in out[0..len) to a reader in pieces of at most `step` bytes. Returns the reader's last
 * word. */
static int receive(size_t len, size_t step, size_t cap, struct wire_frame *f)
{
    struct wire_reader r;
    size_t done = 0;
    int rc = 0;

    wire_reader_init(&r, in, cap);
    while (done < len && rc == 0) {
        uint8_t *at;
        size_t n = wire_reader_want(&r, &at);

        cr_assert_gt(n, 0);
        cr_assert_leq((size_t)(at - in) + n, cap, "the reader asks for bytes beyond its buffer");
        n = n < step ? n : step;
        n = n < len - done ? n : len - done;
        memcpy(at, out + done, n);
        done += n;
        rc = wire_reader_got(&r, n, f);
    }
    if (rc == 1)
        cr_assert_eq(done, len, "a frame is complete at its last byte, not before");
    return rc;
}

/* A frame of the given type around a payload, by hand. Returns its length. */
static size_t frame(uint8_t type, const void *payload, size_t len)
{
    static const uint8_t head[] = {'S', 'C', 'a', 'w', WIRE_VERSION};

    memset(out, 0, WIRE_HEADER);
    memcpy(out, head, sizeof head);
    out[5] = type;
    out[8] = (uint8_t)len;
    out[9] = (uint8_t)(len >> 8);
    out[10] = (uint8_t)(len >> 16);
    memcpy(out + WIRE_HEADER, payload, len);
    return WIRE_HEADER + len;
}

static int reply_of(size_t len, struct wire_reply *p)
{
    struct wire_frame f;

    cr_assert_eq(receive(len, len, sizeof in, &f), 1);
    return wire_decode_reply(&f, p);
}

static int request_of(size_t len, struct wire_request *q)
{
    struct wire_frame f;

    cr_assert_eq(receive(len, len, WIRE_REQUEST_MAX, &f), 1);
    return wire_decode_request(&f, q);
}

#define REPLY(type, bytes) reply_of(frame((type), (bytes), sizeof(bytes) - 1), &p)
#define REQUEST(type, bytes) request_of(frame((type), (bytes), sizeof(bytes) - 1), &q)

Test(wire, requests_round_trip)
{
    static const struct wire_request all[] = {
            {.type = WIRE_HELLO},
            {.type = WIRE_STOPPING},
            {.type = WIRE_ATTACH, .kind = WIRE_RUN},
            {.type = WIRE_ATTACH, .kind = WIRE_RUN, .want_entrypoint = true},
            {.type = WIRE_ATTACH, .kind = WIRE_RUN, .want_entrypoint = true, .have_args = true},
            {.type = WIRE_ATTACH, .kind = WIRE_EXEC},
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        for (size_t step = 1; step <= 32; step++) {
            int len = wire_encode_request(out, sizeof out, &all[i]);
            struct wire_request q;
            struct wire_frame f;

            cr_assert_geq(len, WIRE_HEADER);
            cr_assert_eq(receive((size_t)len, step, WIRE_REQUEST_MAX, &f), 1);
            cr_assert_eq(wire_decode_request(&f, &q), 0);
            cr_assert_eq(q.type, all[i].type);
            cr_assert_eq(q.want_entrypoint, all[i].want_entrypoint);
            cr_assert_eq(q.have_args, all[i].have_args);
            if (q.type == WIRE_ATTACH)
                cr_assert_eq(q.kind, all[i].kind);
            for (int cap = 0; cap < len; cap++)
                cr_assert_eq(wire_encode_request(out, (size_t)cap, &all[i]), -EMSGSIZE);
        }
    }
}

Test(wire, senseless_requests_are_not_encoded)
{
    static const struct wire_request all[] = {
            {.type = WIRE_HELD},
            {.type = WIRE_ATTACH},
            {.type = WIRE_ATTACH, .kind = WIRE_EXEC, .want_entrypoint = true},
            {.type = WIRE_ATTACH, .kind = WIRE_RUN, .have_args = true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        cr_assert_eq(wire_encode_request(out, sizeof out, &all[i]), -EINVAL, "case %zu", i);
}

Test(wire, hostile_requests_are_refused)
{
    struct wire_request q = {.type = WIRE_RELEASE};

    cr_assert_eq(REQUEST(WIRE_HELLO, "x"), -EPROTO, "trailing byte");
    cr_assert_eq(REQUEST(WIRE_STOPPING, "\0"), -EPROTO, "trailing NUL");
    cr_assert_eq(REQUEST(WIRE_ATTACH, ""), -EPROTO, "no payload");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\1"), -EPROTO, "no flags");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\1\0\0"), -EPROTO, "trailing byte");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\0\0"), -EPROTO, "kind 0");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\3\0"), -EPROTO, "kind 3");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\1\4"), -EPROTO, "unknown flag");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\1\2"), -EPROTO, "args without entrypoint");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\2\1"), -EPROTO, "exec with entrypoint");
    for (int type = 0; type < 256; type++) {
        if (type != WIRE_HELLO && type != WIRE_STOPPING && type != WIRE_ATTACH)
            cr_assert_eq(REQUEST((uint8_t)type, ""), -EPROTO, "type %d", type);
    }
    cr_assert_eq(q.type, WIRE_RELEASE, "a refused frame writes no result");
    cr_assert_eq(REQUEST(WIRE_ATTACH, "\2\0"), 0);
    cr_assert_eq(q.kind, WIRE_EXEC);
}

Test(wire, plain_replies_round_trip)
{
    struct wire_reply p;

    cr_assert_eq(reply_of((size_t)wire_encode_plain(out, sizeof out, WIRE_HELD), &p), 0);
    cr_assert_eq(p.type, WIRE_HELD);
    cr_assert_str_eq(p.text, "");
    cr_assert_eq(reply_of((size_t)wire_encode_plain(out, sizeof out, WIRE_RELEASE), &p), 0);
    cr_assert_eq(p.type, WIRE_RELEASE);
    cr_assert_eq(wire_encode_plain(out, sizeof out, WIRE_ATTACHED), -EINVAL);
    cr_assert_eq(wire_encode_plain(out, WIRE_HEADER - 1, WIRE_HELD), -EMSGSIZE);
}

Test(wire, sentences_round_trip)
{
    struct wire_reply p;

    cr_assert_eq(
            reply_of((size_t)wire_encode_text(out, sizeof out, WIRE_WAIT, false, "for the root"), &p), 0);
    cr_assert_eq(p.type, WIRE_WAIT);
    cr_assert_str_eq(p.text, "for the root");
    cr_assert_eq(reply_of((size_t)wire_encode_text(out, sizeof out, WIRE_REFUSED, true, ""), &p), 0);
    cr_assert_eq(p.type, WIRE_REFUSED);
    cr_assert(p.retryable);
    cr_assert_eq(reply_of((size_t)wire_encode_text(out, sizeof out, WIRE_REFUSED, false, "no"), &p), 0);
    cr_assert_not(p.retryable);
    cr_assert_str_eq(p.text, "no");
    cr_assert_eq(wire_encode_text(out, sizeof out, WIRE_HELD, false, "x"), -EINVAL);
    cr_assert_eq(wire_encode_text(out, 20, WIRE_WAIT, false, "far too long"), -EMSGSIZE);
}

Test(wire, long_sentences_are_cut_between_characters)
{
    static char text[WIRE_TEXT_MAX + 100];
    struct wire_reply p;

    memset(text, 'a', sizeof text - 1);
    memcpy(text + WIRE_TEXT_MAX - 1, "\xc3\xa9", 2); /* the last byte that fits begins a character of two */
    cr_assert_eq(reply_of((size_t)wire_encode_text(out, sizeof out, WIRE_REFUSED, false, text), &p), 0);
    cr_assert_eq(strlen(p.text), (size_t)WIRE_TEXT_MAX - 1);
    memcpy(text + WIRE_TEXT_MAX - 1, "bc", 2);
    cr_assert_eq(reply_of((size_t)wire_encode_text(out, sizeof out, WIRE_REFUSED, false, text), &p), 0);
    cr_assert_eq(strlen(p.text), (size_t)WIRE_TEXT_MAX);
    memset(text, '\x80', sizeof text - 1);
    cr_assert_eq(reply_of((size_t)wire_encode_text(out, sizeof out, WIRE_REFUSED, false, text), &p), 0);
    cr_assert_str_eq(p.text, "", "nothing but continuation bytes has no boundary");
}

Test(wire, attached_round_trips)
{
    static const char *const entrypoint[] = {"/bin/sh", "", "with space"};
    static const char *const cmd[] = {"x"};
    struct wire_attached a = {
            .workdir = "/srv", .entrypoint = entrypoint, .entrypoint_count = 3, .cmd = cmd, .cmd_count = 1};
    const char *argv[4];
    struct wire_reply p;

    cr_assert_eq(reply_of((size_t)wire_encode_attached(out, sizeof out, &a), &p), 0);
    cr_assert_eq(p.type, WIRE_ATTACHED);
    cr_assert_str_eq(p.workdir, "/srv");
    cr_assert_eq(p.entrypoint.count, 3);
    cr_assert_eq(p.cmd.count, 1);
    wire_strings_list(&p.entrypoint, argv);
    wire_strings_list(&p.cmd, argv + 3);
    for (size_t i = 0; i < 3; i++)
        cr_assert_str_eq(argv[i], entrypoint[i]);
    cr_assert_str_eq(argv[3], "x");

    a = (struct wire_attached){0};
    cr_assert_eq(reply_of((size_t)wire_encode_attached(out, sizeof out, &a), &p), 0);
    cr_assert_eq(p.entrypoint.count + p.cmd.count, 0);
    cr_assert_str_eq(p.workdir, "");
}

Test(wire, attached_holds_its_caps)
{
    static const char *many[WIRE_ARGS_MAX + 1];
    static char big[WIRE_REPLY_MAX];
    const char *one[] = {big};
    struct wire_attached a = {.entrypoint = many, .entrypoint_count = WIRE_ARGS_MAX / 2, .cmd = many};
    struct wire_reply p;

    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = "ab";
    a.cmd_count = WIRE_ARGS_MAX / 2;
    cr_assert_eq(reply_of((size_t)wire_encode_attached(out, sizeof out, &a), &p), 0);
    cr_assert_eq(p.entrypoint.count + p.cmd.count, WIRE_ARGS_MAX);
    a.cmd_count++;
    cr_assert_eq(wire_encode_attached(out, sizeof out, &a), -EMSGSIZE, "too many");

    memset(big, 'x', sizeof big - 1);
    a = (struct wire_attached){.entrypoint = one, .entrypoint_count = 1};
    cr_assert_eq(wire_encode_attached(out, sizeof out, &a), -EMSGSIZE, "too long");
    big[WIRE_REPLY_MAX - WIRE_HEADER - 5 - 4 - 5] = '\0';
    cr_assert_eq(wire_encode_attached(out, sizeof out, &a), WIRE_REPLY_MAX, "the longest that fits");
    cr_assert_eq(reply_of(WIRE_REPLY_MAX, &p), 0);
    big[WIRE_PATH_MAX] = '\0';
    big[0] = '/';
    a = (struct wire_attached){.workdir = big};
    cr_assert_gt(wire_encode_attached(out, sizeof out, &a), 0);
    big[WIRE_PATH_MAX] = 'x';
    cr_assert_eq(wire_encode_attached(out, sizeof out, &a), -EMSGSIZE, "a path too long");
    a.workdir = "relative";
    cr_assert_eq(wire_encode_attached(out, sizeof out, &a), -EINVAL);
}

Test(wire, hostile_replies_are_refused)
{
    struct wire_reply p = {.type = WIRE_HELLO};

    cr_assert_eq(REPLY(WIRE_HELD, "x"), -EPROTO);
    cr_assert_eq(REPLY(WIRE_RELEASE, "\0"), -EPROTO);
    cr_assert_eq(REPLY(WIRE_WAIT, ""), -EPROTO, "no string");
    cr_assert_eq(REPLY(WIRE_WAIT, "\1\0\0"), -EPROTO, "half a length");
    cr_assert_eq(REPLY(WIRE_WAIT, "\1\0\0\0"), -EPROTO, "no bytes");
    cr_assert_eq(REPLY(WIRE_WAIT, "\1\0\0\0a"), -EPROTO, "no terminator");
    cr_assert_eq(REPLY(WIRE_WAIT, "\1\0\0\0ab"), -EPROTO, "another terminator");
    cr_assert_eq(REPLY(WIRE_WAIT, "\2\0\0\0a\0\0"), -EPROTO, "NUL inside");
    cr_assert_eq(REPLY(WIRE_WAIT, "\1\0\0\0a\0\0"), -EPROTO, "trailing byte");
    cr_assert_eq(REPLY(WIRE_WAIT, "\xff\xff\xff\xff\0"), -EPROTO, "4 GiB of text");
    cr_assert_eq(REPLY(WIRE_REFUSED, "\2\0\0\0\0\0"), -EPROTO, "unknown flag");
    cr_assert_eq(REPLY(WIRE_REFUSED, "\1"), -EPROTO, "flags alone");
    cr_assert_eq(REPLY(WIRE_ATTACHED, ""), -EPROTO);
    cr_assert_eq(REPLY(WIRE_ATTACHED, "\0\0\0\0\0"), -EPROTO, "no counts");
    cr_assert_eq(REPLY(WIRE_ATTACHED, "\0\0\0\0\0\1\0\0\0"), -EPROTO, "a string is missing");
    cr_assert_eq(REPLY(WIRE_ATTACHED, "\0\0\0\0\0\0\0\1\0"), -EPROTO, "a string is missing");
    cr_assert_eq(REPLY(WIRE_ATTACHED, "\0\0\0\0\0\xff\xff\xff\xff"), -EPROTO, "counts beyond the cap");
    cr_assert_eq(REPLY(WIRE_ATTACHED, "\1\0\0\0a\0\0\0\0\0"), -EPROTO, "a relative directory");
    cr_assert_eq(REPLY(WIRE_ATTACHED, "\0\0\0\0\0\1\0\0\0\1\0\0\0a\0b"), -EPROTO, "trailing byte");
    for (int type = 0; type < 256; type++) {
        if (type < WIRE_HELD || type > WIRE_RELEASE)
            cr_assert_eq(REPLY((uint8_t)type, ""), -EPROTO, "type %d", type);
    }
    cr_assert_eq(p.type, WIRE_HELLO, "a refused frame writes no result");
    cr_assert_eq(REPLY(WIRE_ATTACHED, "\0\0\0\0\0\1\0\0\0\1\0\0\0a\0"), 0);
}

/* The cap on counts must hold even where the payload has that many strings. */
Test(wire, more_strings_than_the_cap_are_refused)
{
    static uint8_t payload[9 + 5 * (WIRE_ARGS_MAX + 1)];
    struct wire_reply p;

    payload[5] = (WIRE_ARGS_MAX + 1) & 0xff;
    payload[6] = (WIRE_ARGS_MAX + 1) >> 8;
    cr_assert_eq(reply_of(frame(WIRE_ATTACHED, payload, sizeof payload), &p), -EPROTO);
    payload[5]--;
    cr_assert_eq(reply_of(frame(WIRE_ATTACHED, payload, sizeof payload - 5), &p), 0);
}

Test(wire, truncated_frames_are_never_complete)
{
    static const char *const args[] = {"one", "two"};
    struct wire_attached a = {
            .workdir = "/", .entrypoint = args, .entrypoint_count = 2, .cmd = args, .cmd_count = 2};
    int len = wire_encode_attached(out, sizeof out, &a);
    struct wire_frame f;

    for (int cut = 0; cut < len; cut++)
        cr_assert_eq(receive((size_t)cut, 7, sizeof in, &f), 0, "at %d", cut);
    /* A payload that ends early, in a frame that says so, is refused by the decoder at every length. */
    for (int cut = WIRE_HEADER; cut < len; cut++) {
        struct wire_reply p;

        cr_assert_eq(wire_encode_attached(out, sizeof out, &a), len);
        out[8] = (uint8_t)(cut - WIRE_HEADER);
        cr_assert_eq(reply_of((size_t)cut, &p), -EPROTO, "at %d", cut);
    }
}

Test(wire, other_protocols_are_refused_at_their_first_byte)
{
    struct wire_frame f;

    memcpy(out, "GET / HTTP/1.1\r\n\r\n", 18);
    cr_assert_eq(receive(1, 1, WIRE_REQUEST_MAX, &f), -EPROTO);
    memcpy(out, "SCax", 4);
    cr_assert_eq(receive(3, 1, WIRE_REQUEST_MAX, &f), 0);
    cr_assert_eq(receive(4, 1, WIRE_REQUEST_MAX, &f), -EPROTO);
    frame(WIRE_HELLO, "", 0);
    out[6] = 1;
    cr_assert_eq(receive(WIRE_HEADER, 1, WIRE_REQUEST_MAX, &f), -EPROTO, "reserved bytes");
}

Test(wire, frames_beyond_the_buffer_are_refused_at_their_header)
{
    struct wire_frame f;

    frame(WIRE_HELLO, "", 0);
    out[8] = (uint8_t)(WIRE_REQUEST_MAX - WIRE_HEADER + 1);
    out[9] = (uint8_t)((WIRE_REQUEST_MAX - WIRE_HEADER + 1) >> 8);
    cr_assert_eq(receive(WIRE_HEADER, 5, WIRE_REQUEST_MAX, &f), -EMSGSIZE);
    cr_assert_eq(receive(WIRE_HEADER, 5, WIRE_REQUEST_MAX + 1, &f), 0);
    memset(out + 8, 0xff, 4);
    cr_assert_eq(receive(WIRE_HEADER, 5, WIRE_REQUEST_MAX, &f), -EMSGSIZE);
}

Test(wire, versions_meet_with_a_sentence)
{
    struct wire_request q;
    struct wire_reply p;
    struct wire_frame f;
    int len;

    frame(WIRE_ATTACH, "from the future", 15);
    out[4] = 213;
    cr_assert_eq(receive(WIRE_HEADER + 15, 4, WIRE_REQUEST_MAX, &f), 1);
    cr_assert_eq(wire_decode_request(&f, &q), -EPROTONOSUPPORT);
    len = wire_encode_version_refused(out, sizeof out, &f);
    cr_assert_gt(len, 0);
    cr_assert_eq(reply_of((size_t)len, &p), 0);
    cr_assert_eq(p.type, WIRE_REFUSED);
    cr_assert_not(p.retryable);
    cr_assert_not_null(strstr(p.text, "speaks version 1 of"), "%s", p.text);
    cr_assert_not_null(strstr(p.text, "with version 213:"), "%s", p.text);

    frame(WIRE_HELLO, "", 0);
    out[4] = 2;
    cr_assert_eq(receive(WIRE_HEADER, WIRE_HEADER, WIRE_REQUEST_MAX, &f), 1);
    cr_assert_eq(reply_of((size_t)wire_encode_version_refused(out, sizeof out, &f), &p), 0);
    cr_assert(p.retryable, "pause must stay: its root lives as long as it does");

    wire_encode_text(out, sizeof out, WIRE_REFUSED, true, "old");
    out[4] = 77;
    cr_assert_eq(reply_of(WIRE_HEADER + 1 + 4 + 4, &p), 0, "REFUSED is understood in every version");
    wire_encode_plain(out, sizeof out, WIRE_HELD);
    out[4] = 77;
    cr_assert_eq(reply_of(WIRE_HEADER, &p), -EPROTONOSUPPORT);
}

Test(wire, frames_follow_each_other_on_a_socket)
{
    static const struct wire_request hello = {.type = WIRE_HELLO}, stopping = {.type = WIRE_STOPPING};
    struct wire_request q;
    struct wire_reader r;
    struct wire_frame f;
    int fd[2], rc;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
    wire_reader_init(&r, in, WIRE_REQUEST_MAX);
    cr_assert_eq(wire_recv(fd[1], &r, &f), -EAGAIN);
    cr_assert_eq(wire_send(fd[0], &hello), 0);
    cr_assert_eq(wire_send(fd[0], &stopping), 0);
    cr_assert_eq(wire_recv(fd[1], &r, &f), 1);
    cr_assert_eq(wire_decode_request(&f, &q), 0);
    cr_assert_eq(q.type, WIRE_HELLO);
    cr_assert_eq(wire_recv(fd[1], &r, &f), 1);
    cr_assert_eq(wire_decode_request(&f, &q), 0);
    cr_assert_eq(q.type, WIRE_STOPPING);
    cr_assert_eq(wire_recv(fd[1], &r, &f), -EAGAIN);
    cr_assert_eq(write(fd[0], "SCa", 3), 3);
    cr_assert_eq(wire_recv(fd[1], &r, &f), 0);
    close(fd[0]);
    cr_assert_eq(wire_recv(fd[1], &r, &f), -ECONNRESET);
    rc = wire_send(fd[1], &hello);
    cr_assert_eq(rc, -EPIPE, "no SIGPIPE, and the error is told");
    close(fd[1]);
}
