/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/rpc/client against a server that plays back frames written by hand: only a reply that is complete by
 * gRPC's rules counts, whatever HTTP thinks of it.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "common/rpc/client.h"
#include "test/unit/rpc_raw.h"

#define WAIT (5 * USEC_PER_SEC)

static struct {
    struct loop *loop;
    struct rpc_client *client;
    char *dir;
    char path[64];
    int listener;
    struct loop_source *listener_src;
    struct {
        int fd;
        struct loop_source *src;
        struct buf in;
    } conns[4];
    size_t n_conns;
    struct buf script; /* sent once a request has come whole */
    bool hang_up; /* and close after it */

    unsigned replies;
    enum grpc_status status;
    char text[512];
    char message[64];
    size_t len;
} t;

static const struct raw_header head[] = {
        {":status", "200"}, {"content-type", "application/grpc"}, {NULL, NULL}};
static const struct raw_header ok[] = {{"grpc-status", "0"}, {NULL, NULL}};

static void on_request(
        _unused_ struct loop_source *src, int fd, _unused_ uint32_t events, _unused_ void *data)
{
    const size_t preface = strlen(RAW_PREFACE);
    char bytes[4096];
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
    size_t i = 0;

    while (t.conns[i].fd != fd)
        i++;
    if (n <= 0) {
        if (n == 0)
            t.conns[i].src = loop_remove(t.conns[i].src);
        return;
    }
    (void)buf_append(&t.conns[i].in, bytes, (size_t)n);
    if (t.conns[i].in.len <= preface ||
            !raw_find(t.conns[i].in.data + preface, t.conns[i].in.len - preface, RAW_DATA, 1, NULL))
        return;
    for (size_t sent = 0; sent < t.script.len;) {
        n = send(fd, t.script.data + sent, t.script.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
    }
    if (t.hang_up)
        (void)shutdown(fd, SHUT_RDWR);
}

static void on_connection(
        _unused_ struct loop_source *src, int fd, _unused_ uint32_t events, _unused_ void *data)
{
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    cr_assert(peer >= 0 && t.n_conns < ARRAY_SIZE(t.conns));
    t.conns[t.n_conns].fd = peer;
    buf_init(&t.conns[t.n_conns].in, MIB);
    cr_assert_eq(loop_add_io(t.loop, "peer", peer, EPOLLIN, on_request, NULL, &t.conns[t.n_conns].src), 0);
    t.n_conns++;
}

static void listen_at_path(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", t.path);
    t.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(t.listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(listen(t.listener, 4), 0);
    cr_assert_eq(
            loop_add_io(t.loop, "listener", t.listener, EPOLLIN, on_connection, NULL, &t.listener_src), 0);
}

static void start(void)
{
    memset(&t, 0, sizeof(t));
    t.dir = raw_make_dir();
    (void)snprintf(t.path, sizeof(t.path), "%s/c.sock", t.dir);
    buf_init(&t.script, 2 * MIB);
    raw_frame(&t.script, RAW_SETTINGS, 0, 0, NULL);
    cr_assert_eq(loop_new(&t.loop, NULL), 0);
    listen_at_path();
    cr_assert_eq(rpc_client_new(t.loop, t.path, &t.client, NULL), 0);
}

static void stop(void)
{
    t.client = rpc_client_free(t.client);
    for (size_t i = 0; i < t.n_conns; i++) {
        t.conns[i].src = loop_remove(t.conns[i].src);
        t.conns[i].fd = close_fd(t.conns[i].fd);
        buf_free(&t.conns[i].in);
    }
    t.listener_src = loop_remove(t.listener_src);
    t.listener = close_fd(t.listener);
    t.loop = loop_free(t.loop);
    buf_free(&t.script);
    (void)unlink(t.path);
    cr_expect_eq(rmdir(t.dir), 0);
    free(t.dir);
}

TestSuite(rpc_client, .init = start, .fini = stop, .timeout = 30);

static void on_reply(_unused_ struct rpc_unary *unary, const struct rpc_result *result, _unused_ void *user)
{
    t.replies++;
    t.status = result->status;
    (void)snprintf(t.text, sizeof(t.text), "%s", result->text);
    t.len = result->message.len;
    if (result->status == GRPC_OK && t.len <= sizeof(t.message))
        memcpy(t.message, result->message.data, t.len);
    else
        cr_expect_null(result->message.data);
}

static void ask(void)
{
    struct rpc_unary_spec spec = {
            .method = "/t.T/M", .message = "req", .len = 3, .timeout = WAIT, .fn = on_reply};
    usec_t end = clock_monotonic() + 2 * WAIT;

    cr_assert_eq(rpc_unary_start(t.client, &spec, NULL, NULL), 0);
    while (t.replies == 0 && clock_monotonic() < end)
        (void)loop_turn(t.loop, USEC_PER_SEC / 10);
    cr_assert_eq(t.replies, 1u);
}

static void expect(enum grpc_status status, const char *in_text)
{
    cr_expect_eq(t.status, status, "%s: %s", grpc_status_name(t.status), t.text);
    cr_expect(strstr(t.text, in_text), "'%s' lacks '%s'", t.text, in_text);
}

Test(rpc_client, takes_a_complete_reply)
{
    raw_headers(&t.script, 0, 1, head);
    raw_data(&t.script, 0, 1, "\0\0\0\0\2h", 6);
    raw_data(&t.script, 0, 1, "i", 1);
    raw_headers(&t.script, RAW_END_STREAM, 1, ok);
    ask();
    expect(GRPC_OK, "");
    cr_expect(t.len == 2 && memcmp(t.message, "hi", 2) == 0);
    cr_expect(memmem(t.conns[0].in.data, t.conns[0].in.len, "\0\0\0\0\3req", 8), "framed as gRPC has it");
}

Test(rpc_client, takes_an_error_without_a_body)
{
    static const struct raw_header headers[] = {{":status", "200"}, {"content-type", "application/grpc"},
            {"grpc-status", "5"}, {"grpc-message", "no such%20thing"}, {NULL, NULL}};

    raw_headers(&t.script, RAW_END_STREAM, 1, headers);
    ask();
    expect(GRPC_NOT_FOUND, "no such thing");
}

Test(rpc_client, takes_an_error_after_a_body)
{
    static const struct raw_header trailers[] = {{"grpc-status", "13"}, {NULL, NULL}};

    raw_headers(&t.script, 0, 1, head);
    raw_data(&t.script, 0, 1, "\0\0\0\0\2hi", 7);
    raw_headers(&t.script, RAW_END_STREAM, 1, trailers);
    ask();
    expect(GRPC_INTERNAL, "INTERNAL");
}

/* HTTP says 200 and curl is content; gRPC is not. */
static void play(
        const struct raw_header *headers, const void *body, size_t len, const struct raw_header *trailers)
{
    raw_headers(&t.script, 0, 1, headers);
    raw_data(&t.script, trailers ? 0 : RAW_END_STREAM, 1, body, len);
    if (trailers)
        raw_headers(&t.script, RAW_END_STREAM, 1, trailers);
    ask();
}

Test(rpc_client, refuses_an_answer_that_is_not_grpc)
{
    static const struct raw_header html[] = {{":status", "200"}, {"content-type", "text/html"}, {NULL, NULL}};

    play(html, "\0\0\0\0\2hi", 7, ok);
    expect(GRPC_UNKNOWN, "not gRPC");
}

Test(rpc_client, refuses_an_http_error)
{
    static const struct raw_header gone[] = {
            {":status", "503"}, {"content-type", "application/grpc"}, {NULL, NULL}};

    play(gone, "\0\0\0\0\2hi", 7, ok);
    expect(GRPC_UNKNOWN, "not gRPC");
}

Test(rpc_client, refuses_an_answer_without_a_status_after_asking_again)
{
    play(head, "\0\0\0\0\2hi", 7, NULL);
    expect(GRPC_UNKNOWN, "no grpc-status");
    cr_expect_eq(t.n_conns, 2u, "asked again once");
}

Test(rpc_client, refuses_a_status_that_is_no_number)
{
    static const struct raw_header odd[] = {{"grpc-status", "fine"}, {NULL, NULL}};

    play(head, "\0\0\0\0\2hi", 7, odd);
    expect(GRPC_UNKNOWN, "no grpc-status");
}

Test(rpc_client, refuses_two_messages)
{
    play(head, "\0\0\0\0\1h\0\0\0\0\1i", 12, ok);
    expect(GRPC_INTERNAL, "one message");
}

Test(rpc_client, refuses_success_without_a_message)
{
    play(head, "", 0, ok);
    expect(GRPC_INTERNAL, "one message");
}

Test(rpc_client, refuses_a_compressed_message)
{
    play(head, "\1\0\0\0\2hi", 7, ok);
    expect(GRPC_INTERNAL, "compressed");
}

Test(rpc_client, asks_again_once_when_the_server_hangs_up)
{
    buf_reset(&t.script);
    t.hang_up = true;
    ask();
    cr_expect_eq(t.status, GRPC_UNAVAILABLE, "%s", t.text);
    cr_expect_eq(t.n_conns, 2u);
}

Test(rpc_client, says_when_nobody_listens)
{
    t.listener_src = loop_remove(t.listener_src);
    t.listener = close_fd(t.listener);
    ask();
    cr_expect_eq(t.status, GRPC_UNAVAILABLE, "%s", t.text);
}

Test(rpc_client, refuses_paths_that_no_socket_can_have)
{
    struct rpc_client *client = NULL;
    char path[200];

    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    cr_expect_eq(rpc_client_new(t.loop, path, &client, NULL), -ENAMETOOLONG);
    cr_expect_null(client);
}

static void cancel_itself(
        struct rpc_unary *unary, _unused_ const struct rpc_result *result, _unused_ void *user)
{
    t.replies++;
    (void)rpc_unary_cancel(unary);
    t.client = rpc_client_free(t.client);
}

Test(rpc_client, may_be_cancelled_and_freed_in_its_callback)
{
    struct rpc_unary_spec spec = {.method = "/t.T/M", .timeout = WAIT, .fn = cancel_itself};
    usec_t end = clock_monotonic() + 2 * WAIT;

    t.hang_up = true;
    cr_assert_eq(rpc_unary_start(t.client, &spec, NULL, NULL), 0);
    while (t.replies == 0 && clock_monotonic() < end)
        (void)loop_turn(t.loop, USEC_PER_SEC / 10);
    cr_expect_eq(t.replies, 1u);
}
