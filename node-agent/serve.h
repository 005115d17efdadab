/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening socket of one volume, and the connections on it: bytes in, whole requests out, replies
 * queued. It knows nothing of what the requests mean.
 *
 * Every process of the pod may connect, as often as it likes, and none of them is friendly: a volume's
 * connections and how fast it gets new ones are capped (beyond that they wait in the listen backlog, which
 * hurts only the pod itself); a connection that has not sent its first whole request after SERVE_PATIENCE, or
 * does not take its answer for that long, is closed; so is one that sends what is no request.
 */
#pragma once

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/wire/wire.h"

#define SERVE_PATIENCE (10 * USEC_PER_SEC)

struct serve;
struct conn;

struct serve_ops {
    /* A whole request came. May answer, finish or drop the connection. */
    void (*request)(struct conn *c, const struct wire_request *q, void *user);
    /* The peer is gone (or was thrown out) and nobody called conn_finish: c is gone when this returns. */
    void (*closed)(struct conn *c, void *user);
};

/* How many connections all sockets of the agent have together; owned by whoever makes the sockets. */
struct serve_total {
    size_t n;
};

struct serve_config {
    int fd; /* a listening, non-blocking socket, which is the new object's also on failure */
    struct serve_total *total; /* outlives it, as do the next two */
    const struct serve_ops *ops;
    void *user;
};

int serve_new(
        struct loop *loop, const struct serve_config *config, struct serve **ret_serve, struct err *err);

/* Closes the socket and all connections, without calling closed. Returns NULL; accepts NULL. */
struct serve *serve_free(struct serve *s);
DEFINE_CLEANUP_FUNC(struct serve *, serve_free);

int conn_fd(const struct conn *c);
void conn_set_data(struct conn *c, void *data);
void *conn_data(const struct conn *c);

/* Queues a frame. A peer that does not take it is closed later, by the rules above. */
void conn_send(struct conn *c, const void *frame, size_t len);

/* Queues a last frame (len 0: none), and closes when it is sent. The caller must forget c: closed is not
 * called for it. */
void conn_finish(struct conn *c, const void *frame, size_t len);
