/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/rpc/server, driven by HTTP/2 frames written by hand: what a library would not send.
 */
#include <errno.h>

#include "test/unit/rpc_fixture.h"

TestSuite(rpc_frames, .init = fixture_start, .fini = fixture_stop, .timeout = 30);

static void on_drained(struct rpc_server *server, _unused_ void *user)
{
    cr_expect_eq(server, t.server);
    t.drained = true;
}

static const struct raw_header good_headers[] = {{":method", "POST"}, {":scheme", "http"},
        {":path", "/t.T/Echo"}, {":authority", "/raw/path.sock"}, {"content-type", "application/grpc"},
        {"te", "trailers"}, {NULL, NULL}};

static void send_raw(int fd, const struct buf *bytes)
{
    usec_t end = clock_monotonic() + WAIT;

    for (size_t sent = 0; sent < bytes->len && clock_monotonic() < end;) {
        ssize_t n = send(fd, bytes->data + sent, bytes->len - sent, MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        (void)loop_turn(t.loop, 1000);
        if (n < 0 && errno != EAGAIN)
            return;
    }
}

/* Reads until the server closes (until NULL), or until the reply holds that text. */
static void read_raw(int fd, const char *until, struct buf *reply)
{
    usec_t end = clock_monotonic() + WAIT;

    while (clock_monotonic() < end) {
        char in[4096];
        ssize_t n = recv(fd, in, sizeof(in), 0);

        if (n > 0)
            (void)buf_append(reply, in, (size_t)n);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return;
        if (until && memmem(buf_str(reply), reply->len, until, strlen(until)))
            return;
        (void)loop_turn(t.loop, 1000);
    }
    cr_assert_fail("no answer within the time");
}

static void exchange(const struct buf *bytes, const char *until, struct buf *reply)
{
    _cleanup_close_ int fd = raw_connect(t.path);

    send_raw(fd, bytes);
    read_raw(fd, until, reply);
}

static void preface(struct buf *b)
{
    (void)buf_puts(b, RAW_PREFACE);
    raw_frame(b, RAW_SETTINGS, 0, 0, NULL);
}

static bool holds_frame(const struct buf *reply, enum raw_type type, int stream, uint8_t *ret_flags)
{
    return raw_find(reply->data, reply->len, type, stream, ret_flags);
}

static const struct raw_header hold_headers[] = {{":method", "POST"}, {":scheme", "http"},
        {":path", "/t.T/Hold"}, {"content-type", "application/grpc"}, {NULL, NULL}};

static int connect_and_hold(void)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB);
    int fd = raw_connect(t.path);

    preface(&b);
    raw_headers(&b, 0, 1, hold_headers);
    raw_data(&b, RAW_END_STREAM, 1, "\0\0\0\0\1x", 6);
    send_raw(fd, &b);
    UNTIL(t.held);
    return fd;
}

static void hold_a_second_one(int fd)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB);

    raw_headers(&b, 0, 3, hold_headers);
    raw_data(&b, RAW_END_STREAM, 3, "\0\0\0\0\1x", 6);
    send_raw(fd, &b);
    UNTIL(t.handled == 2);
}

/* One cancel function answers the call that is about to be cancelled, too: that one is not told then. */
static void expect_one_cancelled(void)
{
    UNTIL(t.cancelled == 1);
    for (int i = 0; i < 20; i++)
        (void)loop_turn(t.loop, 1000);
    cr_expect_eq(t.cancelled, 1u);
    cr_expect_null(t.held);
}

Test(rpc_frames, a_cancelled_call_may_answer_another_of_a_closed_connection)
{
    int fd = connect_and_hold();

    t.answer_in_cancel = true;
    hold_a_second_one(fd);
    fd = close_fd(fd);
    expect_one_cancelled();
}

Test(rpc_frames, a_cancelled_call_may_answer_another_that_was_reset)
{
    _cleanup_buf_ struct buf b = BUF_INIT(KIB), code = BUF_INIT(4);
    _cleanup_close_ int fd = connect_and_hold();

    t.answer_in_cancel = true;
    hold_a_second_one(fd);
    (void)buf_append(&code, "\0\0\0\x08", 4);
    raw_frame(&b, RAW_RST, 0, 1, &code);
    raw_frame(&b, RAW_RST, 0, 3, &code);
    send_raw(fd, &b);
    expect_one_cancelled();
}

Test(rpc_frames, drains)
{
    _cleanup_buf_ struct buf reply = BUF_INIT(MIB);
    _cleanup_close_ int fd = connect_and_hold();

    rpc_server_drain(t.server, on_drained, NULL);
    cr_expect_eq(access(t.path, F_OK), -1, "the socket is gone at once");
    for (int i = 0; i < 20; i++)
        (void)loop_turn(t.loop, 1000);
    cr_expect_not(t.drained, "a call is under way");
    rpc_call_reply(t.held, "done", 4);
    UNTIL(t.drained);
    read_raw(fd, NULL, &reply);
    cr_expect(holds_frame(&reply, RAW_GOAWAY, 0, NULL));
    cr_expect(memmem(reply.data, reply.len, "done", 4), "and was answered");
}

Test(rpc_frames, tells_of_a_stream_that_was_reset)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB), reply = BUF_INIT(MIB), code = BUF_INIT(4);
    _cleanup_close_ int fd = connect_and_hold();

    (void)buf_append(&code, "\0\0\0\x08", 4);
    raw_frame(&b, RAW_RST, 0, 1, &code);
    raw_headers(&b, 0, 3, good_headers);
    raw_data(&b, RAW_END_STREAM, 3, "\0\0\0\0\7STILL-U", 12);
    send_raw(fd, &b);
    UNTIL(t.cancelled == 1);
    read_raw(fd, "STILL-U", &reply);
    cr_expect_not(holds_frame(&reply, RAW_HEADERS, 1, NULL), "no answer to the stream that was reset");
}

Test(rpc_frames, sends_settings_first_and_takes_a_raw_path_as_authority)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB), reply = BUF_INIT(MIB);

    preface(&b);
    raw_headers(&b, 0, 1, good_headers);
    raw_data(&b, RAW_END_STREAM, 1, "\0\0\0\0\7ECHO-ED", 12);
    exchange(&b, "ECHO-ED", &reply);
    cr_expect_eq(reply.data[3], RAW_SETTINGS);
    cr_expect(holds_frame(&reply, RAW_HEADERS, 1, NULL));
}

Test(rpc_frames, takes_the_end_of_a_request_in_an_empty_data_frame)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB), reply = BUF_INIT(MIB);

    preface(&b);
    raw_headers(&b, 0, 1, good_headers);
    raw_data(&b, 0, 1, "\0\0\0", 3);
    raw_data(&b, 0, 1, "\0\4JO", 4);
    raw_data(&b, 0, 1, "IN", 2);
    raw_data(&b, RAW_END_STREAM, 1, "", 0);
    exchange(&b, "JOIN", &reply);
    cr_expect_eq(t.handled, 1u);
}

/* One request of these headers and this body must be refused without a handler being called. */
static void expect_refused(const struct raw_header *headers, const void *body, size_t len, const char *what)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB), reply = BUF_INIT(MIB);
    uint8_t flags = 0;

    preface(&b);
    raw_headers(&b, 0, 1, headers);
    raw_data(&b, RAW_END_STREAM, 1, body, len);
    raw_headers(&b, 0, 3, good_headers);
    raw_data(&b, RAW_END_STREAM, 3, "\0\0\0\0\7STILL-U", 12);
    exchange(&b, "STILL-U", &reply);
    cr_expect(holds_frame(&reply, RAW_HEADERS, 1, &flags), "%s: answered", what);
    cr_expect(flags & RAW_END_STREAM, "%s: Trailers-Only", what);
    cr_expect_not(holds_frame(&reply, RAW_DATA, 1, NULL), "%s: without DATA", what);
    cr_expect_eq(t.handled, 1u, "%s: %u handlers called", what, t.handled);
    t.handled = 0;
}

Test(rpc_frames, refuses_requests_that_are_not_grpc)
{
    static const struct raw_header get[] = {
            {":method", "GET"}, {":path", "/t.T/Echo"}, {"content-type", "application/grpc"}, {NULL, NULL}};
    static const struct raw_header json[] = {
            {":method", "POST"}, {":path", "/t.T/Echo"}, {"content-type", "application/json"}, {NULL, NULL}};
    static const struct raw_header web[] = {{":method", "POST"}, {":path", "/t.T/Echo"},
            {"content-type", "application/grpc-web"}, {NULL, NULL}};
    static const struct raw_header untyped[] = {{":method", "POST"}, {":path", "/t.T/Echo"}, {NULL, NULL}};
    static const struct raw_header nowhere[] = {
            {":method", "POST"}, {"content-type", "application/grpc"}, {NULL, NULL}};
    static const struct raw_header twice[] = {{":method", "POST"}, {":path", "/t.T/Other"},
            {":path", "/t.T/Echo"}, {"content-type", "application/grpc"}, {NULL, NULL}};
    static const struct raw_header hurry[] = {{":method", "POST"}, {":path", "/t.T/Echo"},
            {"content-type", "application/grpc"}, {"grpc-timeout", "soon"}, {NULL, NULL}};

    expect_refused(get, "\0\0\0\0\1x", 6, "GET");
    expect_refused(json, "\0\0\0\0\1x", 6, "JSON");
    expect_refused(web, "\0\0\0\0\1x", 6, "gRPC-web");
    expect_refused(untyped, "\0\0\0\0\1x", 6, "no type");
    expect_refused(nowhere, "\0\0\0\0\1x", 6, "no path");
    expect_refused(twice, "\0\0\0\0\1x", 6, "two paths");
    expect_refused(hurry, "\0\0\0\0\1x", 6, "malformed timeout");
}

Test(rpc_frames, refuses_requests_that_are_not_one_message)
{
    expect_refused(good_headers, "", 0, "nothing");
    expect_refused(good_headers, "\0\0\0\0", 4, "a cut prefix");
    expect_refused(good_headers, "\0\0\0\0\2x", 6, "a cut message");
    expect_refused(good_headers, "\0\0\0\0\1xy", 7, "more than one message");
    expect_refused(good_headers, "\1\0\0\0\1x", 6, "a compressed message");
}

Test(rpc_frames, refuses_large_headers)
{
    struct raw_header headers[600] = {
            {":method", "POST"}, {":path", "/t.T/Echo"}, {"content-type", "application/grpc"}};

    /* Few bytes in a frame; each counts 32 more by RFC 9113, since that is what it may cost a receiver. */
    for (size_t i = 3; i < ARRAY_SIZE(headers) - 1; i++)
        headers[i] = (struct raw_header){"x", ""};
    expect_refused(headers, "\0\0\0\0\1x", 6, "large headers");
}

Test(rpc_frames, refuses_a_long_path)
{
    char path[1000] = "/t.T/Echo";
    struct raw_header headers[] = {
            {":method", "POST"}, {":path", path}, {"content-type", "application/grpc"}, {NULL, NULL}};

    memset(path + strlen(path), 'x', sizeof(path) - strlen(path) - 1);
    expect_refused(headers, "\0\0\0\0\1x", 6, "a long path");
}

Test(rpc_frames, refuses_a_request_that_is_too_large)
{
    _cleanup_free_ char *big = calloc(1, LIMIT_GRPC_REQUEST);
    _cleanup_buf_ struct buf b = BUF_INIT(8 * MIB), reply = BUF_INIT(MIB);

    preface(&b);
    raw_headers(&b, 0, 1, good_headers);
    for (size_t sent = 0; sent <= LIMIT_GRPC_REQUEST; sent += 16 * KIB)
        raw_data(&b, 0, 1, big, 16 * KIB);
    raw_data(&b, RAW_END_STREAM, 1, "", 0);
    raw_headers(&b, 0, 3, good_headers);
    raw_data(&b, RAW_END_STREAM, 3, "\0\0\0\0\7STILL-U", 12);
    exchange(&b, "STILL-U", &reply);
    cr_expect(holds_frame(&reply, RAW_HEADERS, 1, NULL), "answered");
    cr_expect_eq(t.handled, 1u, "by the server itself");
}

Test(rpc_frames, closes_what_is_not_http2)
{
    static const char *const junk[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01 hello",
            RAW_PREFACE "garbage that is no frame at all"};

    for (size_t i = 0; i < ARRAY_SIZE(junk); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(KIB), reply = BUF_INIT(MIB);

        (void)buf_puts(&b, junk[i]);
        exchange(&b, NULL, &reply);
    }
    call("/t.T/Echo", "on", 2);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "the server goes on");
}

Test(rpc_frames, survives_streams_that_are_reset)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB), reply = BUF_INIT(MIB), code = BUF_INIT(4);

    (void)buf_append(&code, "\0\0\0\x08", 4);
    preface(&b);
    for (int stream = 1; stream < 60; stream += 2) {
        raw_headers(&b, 0, stream, good_headers);
        if (stream % 4 == 1)
            raw_data(&b, RAW_END_STREAM, stream, "\0\0\0\0\1x", 6);
        raw_frame(&b, RAW_RST, 0, stream, &code);
    }
    raw_headers(&b, 0, 61, good_headers);
    raw_data(&b, RAW_END_STREAM, 61, "\0\0\0\0\7STILL-U", 12);
    exchange(&b, "STILL-U", &reply);
}
