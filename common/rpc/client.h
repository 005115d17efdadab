/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client for unary calls over a unix socket: HTTP/2 with prior knowledge through common/http.
 *
 * Only for calls that change nothing: one that met a dead connection (the server restarted since the last
 * call) is sent once more on a fresh one. A reply counts only with HTTP 200, content type application/grpc,
 * a grpc-status of 0 and exactly one uncompressed message; curl's own success means nothing.
 */
#pragma once

#include <stddef.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/rpc/grpc.h"

struct rpc_client;
struct rpc_unary;

struct rpc_result {
    enum grpc_status status; /* a failure of the transport is UNAVAILABLE, a timeout DEADLINE_EXCEEDED */
    struct pb_slice message; /* the reply when status is GRPC_OK */
    const char *text; /* else a sentence for a person; never NULL */
};

/* Called exactly once for each call that was started and not cancelled, from the loop, never from inside
 * rpc_unary_start. What result points to dies when it returns, as does the handle. */
typedef void (*rpc_unary_fn)(struct rpc_unary *unary, const struct rpc_result *result, void *user);

struct rpc_unary_spec {
    const char *method; /* "/package.Service/Method" */
    const void *message; /* copied */
    size_t len;
    usec_t timeout; /* of the whole call, also sent as grpc-timeout */
    rpc_unary_fn fn;
    void *user;
};

/* Nothing is connected before the first call. socket_path: at most 107 bytes. */
int rpc_client_new(
        struct loop *loop, const char *socket_path, struct rpc_client **ret_client, struct err *err);
struct rpc_client *rpc_client_free(struct rpc_client *client); /* cancels; returns NULL; accepts NULL */
DEFINE_CLEANUP_FUNC(struct rpc_client *, rpc_client_free);
#define _cleanup_rpc_client_ _cleanup_(rpc_client_freep)

int rpc_unary_start(struct rpc_client *client, const struct rpc_unary_spec *spec,
        struct rpc_unary **ret_unary, struct err *err);

/* No callback comes any more. Accepts NULL; returns NULL: `unary = rpc_unary_cancel(unary)`. */
struct rpc_unary *rpc_unary_cancel(struct rpc_unary *unary);
