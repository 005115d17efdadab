/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three files of the server share. server.c: the socket, accepting, the end. server_conn.c: one
 * connection, its bytes and its nghttp2 session. server_call.c: one call, its headers and its answer.
 *
 * nghttp2 allows submit functions inside its callbacks, but no sending and no freeing of the session. And the
 * users of this server shall not be called from the middle of it. So nghttp2's callbacks only note what
 * happened (the queues ready and gone), conn_dispatch calls handlers and cancel functions afterwards, and an
 * answer only asks for EPOLLOUT.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/list.h"
#include "common/rpc/server.h"

enum { RPC_PATH_MAX = 128, RPC_REFUSAL_MAX = 128 };

struct rpc_method {
    const char *path;
    rpc_handler_fn fn;
    void *user;
};

struct rpc_server {
    struct loop *loop;
    char name[32];
    struct rpc_method methods[LIMIT_RPC_METHODS];
    size_t n_methods;
    int fd;
    struct loop_source *src;
    struct loop_source *resume; /* timer: accepts again after the process had no fd or memory left */
    int dirfd; /* where the socket is, for the unlink */
    char *file;
    dev_t dev;
    ino_t ino;
    struct list conns;
    size_t n_conns;
    size_t buffered; /* bytes of requests held, all connections */
    rpc_drained_fn drained;
    void *drained_user;
    struct loop_source *drained_src;
};

struct rpc_conn {
    struct list node; /* in server->conns */
    struct rpc_server *server;
    int fd;
    struct loop_source *src;
    uint32_t events;
    struct loop_source *idle;
    nghttp2_session *session; /* NULL while the connection is being closed */
    struct buf out; /* gathered from nghttp2, not yet taken by the socket */
    struct list calls; /* all of them */
    struct list ready; /* received whole, no handler called yet */
    struct list gone; /* stream closed while a handler had the call */
    unsigned pending; /* calls that a handler has */
    bool doomed; /* a call can be answered in no way: whoever waits for it is told by the end of the connection */
};

enum call_state {
    CALL_RECEIVING,
    CALL_READY, /* in conn->ready */
    CALL_PENDING, /* a handler has it */
    CALL_ANSWERED, /* nobody has it; freed when the stream closes */
};

struct rpc_call {
    struct list node; /* in conn->calls */
    struct list queue; /* in conn->ready or conn->gone */
    struct rpc_conn *conn;
    int32_t stream_id;
    bool closed; /* the stream is no more */
    enum call_state state;

    char path[RPC_PATH_MAX];
    bool have_method, have_path, have_type;
    size_t header_bytes;
    usec_t deadline;
    struct buf body;

    /* Set when the request is wrong, the first reason wins: its body is dropped, the answer waits for its
     * end.
     */
    int http_status; /* 405, 415: answered by plain HTTP, since the client speaks no gRPC; 0: none */
    enum grpc_status refusal; /* GRPC_OK: none */
    const char *refusal_text;

    rpc_cancel_fn cancel;
    void *cancel_user;

    struct buf reply; /* the framed message */
    size_t reply_sent;
};

/* server_conn.c */
int rpc_conn_new(struct rpc_server *server, int fd); /* takes the fd in every case */
void rpc_conn_close(struct rpc_conn *conn); /* cancels its calls; frees it */
void rpc_conn_want_flush(struct rpc_conn *conn);
void rpc_conn_pending(struct rpc_conn *conn, int change); /* +1, -1: keeps the idle timer */
void rpc_conn_drain(struct rpc_conn *conn);

/* server.c */
void rpc_server_conn_closed(struct rpc_server *server);

/* server_call.c */
struct rpc_call *rpc_call_new(struct rpc_conn *conn, int32_t stream_id);
void rpc_call_free(struct rpc_call *call);
void rpc_call_header(struct rpc_call *call, const char *name, const char *value, bool trailer);
void rpc_call_headers_done(struct rpc_call *call);
void rpc_call_data(struct rpc_call *call, const uint8_t *data, size_t len);
void rpc_call_refuse(struct rpc_call *call, enum grpc_status status, const char *text);
void rpc_call_dispatch(struct rpc_call *call);
void rpc_call_cancel(struct rpc_call *call); /* tells who has it, if anyone has */
