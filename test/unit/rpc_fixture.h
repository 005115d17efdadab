/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server with a few methods, and a client of it, for the tests of both:
 *
 *   /t.T/Echo    answers with the request     /t.T/Hold    keeps the call (t.held) for the test to answer
 *   /t.T/Fail    answers UNAVAILABLE          /t.T/Forget  does not answer at all
 */
#pragma once

#include <criterion/criterion.h>
#include <fcntl.h>

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
    bool answer_in_cancel; /* answer the one from the other's cancel function */
    struct rpc_call *other; /* the one before that */

    unsigned replies;
    enum grpc_status status;
    char text[8192];
    size_t len;
    bool drained;
} t;

static inline void echo(struct rpc_call *call, const uint8_t *msg, size_t len, void *user)
{
    cr_expect_eq(user, &t);
    t.handled++;
    t.deadline = rpc_call_deadline(call);
    rpc_call_reply(call, msg, len);
}

static inline void fail(struct rpc_call *call, const uint8_t *msg, size_t len, _unused_ void *user)
{
    t.handled++;
    rpc_call_fail(
            call, GRPC_UNAVAILABLE, "waited for %.*s: 100%% of \xe2\x82\xac\n", (int)len, (const char *)msg);
}

static inline void on_cancel(struct rpc_call *call, _unused_ void *user)
{
    struct rpc_call *other = call == t.held ? t.other : t.held;

    t.cancelled++;
    if (t.answer_in_cancel) {
        t.held = t.other = NULL;
        rpc_call_reply(other, "x", 1);
    } else if (call == t.held) {
        t.held = NULL;
    }
}

static inline void hold(
        struct rpc_call *call, _unused_ const uint8_t *msg, _unused_ size_t len, _unused_ void *user)
{
    t.handled++;
    t.other = t.held;
    t.held = call;
    rpc_call_on_cancel(call, on_cancel, NULL);
}

static inline void forget(
        _unused_ struct rpc_call *call, _unused_ const uint8_t *msg, _unused_ size_t len, _unused_ void *user)
{
    t.handled++;
}

static inline void fixture_start(void)
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

static inline void fixture_stop(void)
{
    t.client = rpc_client_free(t.client);
    t.server = rpc_server_free(t.server);
    t.loop = loop_free(t.loop);
    cr_expect_eq(access(t.path, F_OK), -1, "the socket is gone with the server");
    (void)close_fd(t.dirfd);
    cr_expect_eq(rmdir(t.dir), 0, "and nothing else is left in its directory");
    free(t.dir);
}

/* Turns the loop until what holds, or fails. */
#define UNTIL(what)                                     \
    do {                                                \
        usec_t _end = clock_monotonic() + WAIT;         \
        while (!(what) && clock_monotonic() < _end)     \
            (void)loop_turn(t.loop, USEC_PER_SEC / 10); \
        cr_assert(what);                                \
    } while (0)

static inline void on_reply(
        _unused_ struct rpc_unary *unary, const struct rpc_result *result, _unused_ void *user)
{
    t.replies++;
    t.status = result->status;
    t.len = result->message.len;
    if (result->status == GRPC_OK && t.len < sizeof(t.text))
        memcpy(t.text, result->message.data, t.len);
    else
        (void)snprintf(t.text, sizeof(t.text), "%s", result->text);
}

static inline struct rpc_unary *call(const char *method, const void *message, size_t len)
{
    struct rpc_unary_spec spec = {
            .method = method, .message = message, .len = len, .timeout = WAIT, .fn = on_reply};
    struct rpc_unary *u = NULL;

    cr_assert_eq(rpc_unary_start(t.client, &spec, &u, NULL), 0);
    return u;
}
