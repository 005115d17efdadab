/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/rpc/server, driven by our own client and by frames written by hand.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "test/unit/rpc_raw.h"

#define WAIT (5 * USEC_PER_SEC)

static struct {
    struct loop *loop;
    struct rpc_server *server;
    struct rpc_client *client;
    char *dir;
    char path[64];
    int dirfd;

    struct rpc_call *held; /* by the handler of /t.T/Hold */
    unsigned handled, cancelled;
    usec_t deadline;
    bool answer_in_cancel;
    struct rpc_call *other; /* answered from the cancel function */

    unsigned replies;
    enum grpc_status status;
    char text[8192];
    size_t len;
    bool drained;
} t;

static void echo(struct rpc_call *call, const uint8_t *msg, size_t len, void *user)
{
    cr_expect_eq(user, &t);
    t.handled++;
    t.deadline = rpc_call_deadline(call);
    rpc_call_reply(call, msg, len);
}

static void fail(struct rpc_call *call, const uint8_t *msg, size_t len, _unused_ void *user)
{
    t.handled++;
    rpc_call_fail(
            call, GRPC_UNAVAILABLE, "waited for %.*s: 100%% of \xe2\x82\xac\n", (int)len, (const char *)msg);
}

static void on_cancel(struct rpc_call *call, _unused_ void *user)
{
    t.cancelled++;
    if (call == t.held)
        t.held = NULL;
    if (t.answer_in_cancel && t.other) {
        struct rpc_call *other = t.other;

        t.other = NULL;
        rpc_call_reply(other, "x", 1);
    }
}

static void hold(struct rpc_call *call, _unused_ const uint8_t *msg, _unused_ size_t len, _unused_ void *user)
{
    t.handled++;
    t.other = t.held;
    t.held = call;
    rpc_call_on_cancel(call, on_cancel, NULL);
}

static void forget(
        _unused_ struct rpc_call *call, _unused_ const uint8_t *msg, _unused_ size_t len, _unused_ void *user)
{
    t.handled++;
}

static void start(void)
{
    memset(&t, 0, sizeof(t));
    t.dir = raw_make_dir();
    t.dirfd = open(t.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(t.path, sizeof(t.path), "%s/s.sock", t.dir);
    cr_assert_eq(loop_new(&t.loop, NULL), 0);
    cr_assert_eq(rpc_server_new(t.loop, "test", &t.server, NULL), 0);
    cr_assert_eq(rpc_server_handle(t.server, "/t.T/Echo", echo, &t), 0);
    cr_assert_eq(rpc_server_handle(t.server, "/t.T/Fail", fail, &t), 0);
    cr_assert_eq(rpc_server_handle(t.server, "/t.T/Hold", hold, &t), 0);
    cr_assert_eq(rpc_server_handle(t.server, "/t.T/Forget", forget, &t), 0);
    cr_assert_eq(rpc_server_listen(t.server, t.dirfd, "s.sock", NULL), 0);
    cr_assert_eq(rpc_client_new(t.loop, t.path, &t.client, NULL), 0);
}

static void stop(void)
{
    t.client = rpc_client_free(t.client);
    t.server = rpc_server_free(t.server);
    t.loop = loop_free(t.loop);
    cr_expect_eq(access(t.path, F_OK), -1, "the socket is gone with the server");
    (void)close_fd(t.dirfd);
    cr_expect_eq(rmdir(t.dir), 0, "and nothing else is left in its directory");
    free(t.dir);
}

TestSuite(rpc_server, .init = start, .fini = stop, .timeout = 30);

/* Turns the loop until what holds, or fails. */
#define UNTIL(what)                                     \
    do {                                                \
        usec_t _end = clock_monotonic() + WAIT;         \
        while (!(what) && clock_monotonic() < _end)     \
            (void)loop_turn(t.loop, USEC_PER_SEC / 10); \
        cr_assert(what);                                \
    } while (0)

static void on_reply(_unused_ struct rpc_unary *unary, const struct rpc_result *result, _unused_ void *user)
{
    t.replies++;
    t.status = result->status;
    t.len = result->message.len;
    if (result->status == GRPC_OK && t.len < sizeof(t.text))
        memcpy(t.text, result->message.data, t.len);
    else
        (void)snprintf(t.text, sizeof(t.text), "%s", result->text);
}

static struct rpc_unary *call(const char *method, const void *message, size_t len)
{
    struct rpc_unary_spec spec = {
            .method = method, .message = message, .len = len, .timeout = WAIT, .fn = on_reply};
    struct rpc_unary *u = NULL;

    cr_assert_eq(rpc_unary_start(t.client, &spec, &u, NULL), 0);
    return u;
}

Test(rpc_server, answers_with_the_message)
{
    usec_t now = clock_monotonic();

    call("/t.T/Echo", "hello", 5);
    cr_expect_eq(t.replies, 0, "never from inside the call");
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK);
    cr_expect(t.len == 5 && memcmp(t.text, "hello", 5) == 0);
    cr_expect(t.deadline > now && t.deadline <= clock_monotonic() + WAIT, "the client's grpc-timeout");
}

Test(rpc_server, answers_with_an_empty_message)
{
    t.len = 99;
    call("/t.T/Echo", "", 0);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK);
    cr_expect_eq(t.len, 0u);
}

Test(rpc_server, carries_messages_larger_than_a_window)
{
    _cleanup_free_ char *big = calloc(1, 3 * MIB);

    call("/t.T/Echo", big, 3 * MIB);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "%s", t.text);
    cr_expect_eq(t.len, 3 * MIB);
}

Test(rpc_server, answers_with_an_error_text)
{
    call("/t.T/Fail", "godot", 5);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_UNAVAILABLE);
    cr_expect_str_eq(t.text, "waited for godot: 100% of \xe2\x82\xac ");
}

Test(rpc_server, knows_no_other_method)
{
    call("/t.T/Other", "x", 1);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_UNIMPLEMENTED);
    cr_expect_eq(t.handled, 0u);
}

Test(rpc_server, answers_later)
{
    call("/t.T/Hold", "x", 1);
    UNTIL(t.held);
    cr_expect_eq(t.replies, 0u);
    rpc_call_reply(t.held, "late", 4);
    cr_expect_eq(t.replies, 0u);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK);
    cr_expect(t.len == 4 && memcmp(t.text, "late", 4) == 0);
    cr_expect_eq(t.cancelled, 0u);
}

Test(rpc_server, a_handler_without_an_answer_is_an_internal_error)
{
    call("/t.T/Forget", "x", 1);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_INTERNAL);
}

Test(rpc_server, tells_of_a_client_that_gave_up)
{
    struct rpc_client *other = NULL;

    call("/t.T/Hold", "x", 1);
    UNTIL(t.held);
    cr_assert_eq(rpc_client_new(t.loop, t.path, &other, NULL), 0);
    t.client = rpc_client_free(t.client);
    UNTIL(t.cancelled == 1);
    t.client = other;
    call("/t.T/Echo", "on", 2);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "the server goes on");
}

Test(rpc_server, one_cancelled_call_may_answer_another_of_the_same_connection)
{
    t.answer_in_cancel = true;
    call("/t.T/Hold", "1", 1);
    UNTIL(t.handled == 1);
    call("/t.T/Hold", "2", 1);
    UNTIL(t.handled == 2);
    t.client = rpc_client_free(t.client); /* one connection for both, closed */
    UNTIL(t.cancelled == 1);
    cr_expect_null(t.other);
}

Test(rpc_server, freeing_the_server_cancels)
{
    call("/t.T/Hold", "1", 1);
    UNTIL(t.held);
    t.server = rpc_server_free(t.server);
    cr_expect_eq(t.cancelled, 1u);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_UNAVAILABLE);
}

Test(rpc_server, takes_many_calls_at_once)
{
    enum { N = 64 };

    for (int i = 0; i < N; i++)
        call("/t.T/Echo", &i, sizeof(i));
    UNTIL(t.replies == N);
    cr_expect_eq(t.handled, (unsigned)N);
    cr_expect_eq(t.status, GRPC_OK);
}

static void on_drained(struct rpc_server *server, _unused_ void *user)
{
    cr_expect_eq(server, t.server);
    t.drained = true;
}

Test(rpc_server, drains_at_once_when_idle)
{
    rpc_server_drain(t.server, on_drained, NULL);
    cr_expect_not(t.drained, "never from inside the call");
    UNTIL(t.drained);
}

Test(rpc_server, replaces_a_stale_socket_and_leaves_a_newer_one)
{
    struct rpc_server *newer = NULL;
    struct stat st;

    cr_assert_eq(rpc_server_new(t.loop, "newer", &newer, NULL), 0);
    cr_assert_eq(rpc_server_listen(newer, t.dirfd, "s.sock", NULL), 0);
    t.server = rpc_server_free(t.server);
    cr_expect_eq(stat(t.path, &st), 0, "the newer one's socket is still there");
    cr_expect_eq(st.st_mode, (mode_t)(S_IFSOCK | 0600));
    t.server = newer;
}

Test(rpc_server, listens_in_directories_of_any_length)
{
    struct rpc_server *deep = NULL;
    char name[201];
    int fd;

    memset(name, 'd', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(mkdirat(t.dirfd, name, 0700), 0);
    fd = openat(t.dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(rpc_server_new(t.loop, "deep", &deep, NULL), 0);
    cr_expect_eq(rpc_server_listen(deep, fd, "s.sock", NULL), 0);
    cr_expect_eq(faccessat(fd, "s.sock", F_OK, 0), 0);
    cr_expect_eq(faccessat(fd, ".s.sock.tmp", F_OK, 0), -1);
    deep = rpc_server_free(deep);
    (void)close_fd(fd);
    cr_expect_eq(unlinkat(t.dirfd, name, AT_REMOVEDIR), 0);
}

/* --- frames by hand ----------------------------------------------------------------------------------------
 */

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
    size_t at = 0;

    while (reply->len - at >= 9) {
        const uint8_t *p = (const uint8_t *)reply->data + at;
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

Test(rpc_server, drains)
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

Test(rpc_server, tells_of_a_stream_that_was_reset)
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

Test(rpc_server, sends_settings_first_and_takes_a_raw_path_as_authority)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB), reply = BUF_INIT(MIB);

    preface(&b);
    raw_headers(&b, 0, 1, good_headers);
    raw_data(&b, RAW_END_STREAM, 1, "\0\0\0\0\7ECHO-ED", 12);
    exchange(&b, "ECHO-ED", &reply);
    cr_expect_eq(reply.data[3], RAW_SETTINGS);
    cr_expect(holds_frame(&reply, RAW_HEADERS, 1, NULL));
}

Test(rpc_server, takes_the_end_of_a_request_in_an_empty_data_frame)
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

Test(rpc_server, refuses_requests_that_are_not_grpc)
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

Test(rpc_server, refuses_requests_that_are_not_one_message)
{
    expect_refused(good_headers, "", 0, "nothing");
    expect_refused(good_headers, "\0\0\0\0", 4, "a cut prefix");
    expect_refused(good_headers, "\0\0\0\0\2x", 6, "a cut message");
    expect_refused(good_headers, "\0\0\0\0\1xy", 7, "more than one message");
    expect_refused(good_headers, "\1\0\0\0\1x", 6, "a compressed message");
}

Test(rpc_server, refuses_large_headers)
{
    struct raw_header headers[600] = {
            {":method", "POST"}, {":path", "/t.T/Echo"}, {"content-type", "application/grpc"}};

    /* Few bytes in a frame; each counts 32 more by RFC 9113, since that is what it may cost a receiver. */
    for (size_t i = 3; i < ARRAY_SIZE(headers) - 1; i++)
        headers[i] = (struct raw_header){"x", ""};
    expect_refused(headers, "\0\0\0\0\1x", 6, "large headers");
}

Test(rpc_server, refuses_a_long_path)
{
    char path[1000] = "/t.T/Echo";
    struct raw_header headers[] = {
            {":method", "POST"}, {":path", path}, {"content-type", "application/grpc"}, {NULL, NULL}};

    memset(path + strlen(path), 'x', sizeof(path) - strlen(path) - 1);
    expect_refused(headers, "\0\0\0\0\1x", 6, "a long path");
}

Test(rpc_server, refuses_a_request_that_is_too_large)
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

Test(rpc_server, closes_what_is_not_http2)
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

Test(rpc_server, survives_streams_that_are_reset)
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

Test(rpc_server, lets_no_more_than_its_connections_in)
{
    int fds[LIMIT_RPC_CONNECTIONS + 1];
    char byte;

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = raw_connect(t.path);
        (void)loop_turn(t.loop, 10000);
    }
    UNTIL(recv(fds[LIMIT_RPC_CONNECTIONS], &byte, 1, MSG_PEEK) == 0);
    cr_expect_eq(recv(fds[0], &byte, 1, MSG_PEEK), 1, "the first one still has its SETTINGS");
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = close_fd(fds[i]);
    call("/t.T/Echo", "on", 2);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "room again");
}

Test(rpc_server, refuses_another_user)
{
    pid_t child, reaped = 0;
    int status;

    if (geteuid() != 0)
        cr_skip("needs root to become another user");
    cr_assert_eq(chmod(t.path, 0666), 0);
    cr_assert_eq(chmod(t.dir, 0711), 0);
    child = fork();
    if (child == 0) {
        char byte;
        int fd;

        if (setuid(65534) < 0)
            _exit(3);
        fd = raw_connect(t.path);
        (void)fcntl(fd, F_SETFL, 0);
        _exit(recv(fd, &byte, 1, 0) == 0 ? 0 : 1); /* closed without even the SETTINGS */
    }
    UNTIL(reaped == child || (reaped = waitpid(child, &status, WNOHANG)) == child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}
