/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server for unary calls: HTTP/2 in clear text by nghttp2, on one unix socket, on the event loop.
 *
 * The peer must have our own effective uid (SO_PEERCRED; the agent and the kubelet are root), whatever the
 * mode of the socket is. At most LIMIT_RPC_CONNECTIONS connections of LIMIT_RPC_STREAMS calls each; a
 * connection on which no call is with a handler is closed after RPC_IDLE, so half a request does not stay
 * for ever.
 *
 * Life of a call: the handler gets it with the whole request message. It answers at once or keeps the handle
 * and answers later, by exactly one of rpc_call_reply and rpc_call_fail; the handle is gone with that. When
 * the client goes away before (RST_STREAM, closed connection, server freed) the call's cancel function is
 * called instead, and the handle is gone when that returns. A handler that neither answered nor set a cancel
 * function when it returns has its call answered INTERNAL.
 *
 * No callback is ever made from inside a function of this header, except rpc_server_free, which cancels what
 * is under way. Sending happens at the loop's next turn.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/rpc/grpc.h"

struct rpc_server;
struct rpc_call;

#define RPC_IDLE (30 * USEC_PER_SEC)

/* msg is valid until the handler returns. */
typedef void (*rpc_handler_fn)(struct rpc_call *call, const uint8_t *msg, size_t len, void *user);
typedef void (*rpc_cancel_fn)(struct rpc_call *call, void *user);
typedef void (*rpc_drained_fn)(struct rpc_server *server, void *user);

/* name: for log lines; copied. */
int rpc_server_new(struct loop *loop, const char *name, struct rpc_server **ret_server, struct err *err);

/* Cancels all calls, closes everything, unlinks the socket if it is still ours. Not from a handler or a
 * cancel function. Returns NULL; accepts NULL. */
struct rpc_server *rpc_server_free(struct rpc_server *server);
DEFINE_CLEANUP_FUNC(struct rpc_server *, rpc_server_free);
#define _cleanup_rpc_server_ _cleanup_(rpc_server_freep)

/* method: "/package.Service/Method", a string that outlives the server. -E2BIG beyond LIMIT_RPC_METHODS. */
int rpc_server_handle(struct rpc_server *server, const char *method, rpc_handler_fn fn, void *user);

/* Listens on the socket `name` in the directory dirfd: bound as ".name.tmp", mode 0600, listening, then
 * renamed over whatever is there, so that who watches the directory finds it working and a socket left by
 * a crash is replaced without a gap. The path's length does not matter (bound through /proc/self/fd, since
 * sun_path ends at 108 bytes). dirfd may be O_PATH; it is duplicated. */
int rpc_server_listen(struct rpc_server *server, int dirfd, const char *name, struct err *err);

/* Orderly end: unlinks the socket, takes no new connection or call, lets the calls under way be answered,
 * then calls fn once (never from inside this function; fn may free the server). */
void rpc_server_drain(struct rpc_server *server, rpc_drained_fn fn, void *user);

/* Answers OK with a message (which may be empty: len 0). The bytes are copied. */
void rpc_call_reply(struct rpc_call *call, const void *message, size_t len);

/* Answers with an error. The text is what a user reads in the pod's events: what was tried, what to do. */
void rpc_call_fail(struct rpc_call *call, enum grpc_status status, const char *fmt, ...) _printf_(3, 4);

/* fn NULL takes it back (the handler then has to answer before it returns). */
void rpc_call_on_cancel(struct rpc_call *call, rpc_cancel_fn fn, void *user);

/* When the client gives up (CLOCK_MONOTONIC), by its grpc-timeout; USEC_INFINITY when it set none. The server
 * does not enforce it: the client resets the call itself. */
usec_t rpc_call_deadline(const struct rpc_call *call);
