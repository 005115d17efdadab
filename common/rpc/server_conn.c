/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the gRPC server: bytes in and out, the nghttp2 session, the idle timer
 * (server_internal.h has the rules).
 *
 * nghttp2's own check of HTTP semantics is off: some gRPC clients put the socket's raw path into :authority,
 * which it refuses ("/" is not allowed there). What a call needs of its headers is checked in server_call.c.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/log.h"
#include "common/rpc/server_internal.h"

/* OUT_SIZE: gathered before a send; a piece of nghttp2's is a frame of at most 16 KiB. */
enum { READ_SIZE = 16 * 1024, OUT_SIZE = 32 * 1024, SETTINGS_MAX = 32, ACKS_MAX = 100 };

/* --- nghttp2's callbacks: they note and submit, and do nothing else ----------------------------------------
 */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct rpc_conn *conn = user;
    struct rpc_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call = rpc_call_new(conn, frame->hd.stream_id);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* becomes RST_STREAM */
    (void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
        size_t name_len, const uint8_t *value, size_t value_len, _unused_ uint8_t flags, _unused_ void *user)
{
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (!call)
        return 0;
    call->header_bytes += name_len + value_len + 32; /* RFC 9113, 6.5.2 */
    if (call->header_bytes > LIMIT_GRPC_HEADERS) {
        rpc_call_refuse(call, GRPC_RESOURCE_EXHAUSTED, "the request's headers are too large");
        return 0;
    }
    if (memchr(name, '\0', name_len) || memchr(value, '\0', value_len)) {
        rpc_call_refuse(call, GRPC_INTERNAL, "a header holds a NUL");
        return 0;
    }
    /* nghttp2 ends both with a NUL of its own (nghttp2_rcbuf). */
    rpc_call_header(
            call, (const char *)name, (const char *)value, frame->headers.cat != NGHTTP2_HCAT_REQUEST);
    return 0;
}

static int on_data(nghttp2_session *session, _unused_ uint8_t flags, int32_t stream_id, const uint8_t *data,
        size_t len, _unused_ void *user)
{
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);

    if (call)
        rpc_call_data(call, data, len);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct rpc_conn *conn = user;
    struct rpc_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!call || call->state != CALL_RECEIVING)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        rpc_call_headers_done(call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        call->state = CALL_READY;
        list_append(&conn->ready, &call->queue);
    }
    return 0;
}

static int on_stream_close(
        nghttp2_session *session, int32_t stream_id, _unused_ uint32_t code, _unused_ void *user)
{
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);

    if (!call)
        return 0;
    (void)nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    call->closed = true;
    if (call->state == CALL_PENDING)
        list_append(&call->conn->gone, &call->queue);
    else
        rpc_call_free(call);
    return 0;
}

static int on_error(_unused_ nghttp2_session *session, int code, const char *text, size_t len, void *user)
{
    struct rpc_conn *conn = user;

    log_debug("%s: HTTP/2: %.*s (%d)", conn->server->name, (int)len, text, code);
    return 0;
}

/* --- session
 * ------------------------------------------------------------------------------------------------ */

static int make_session(
        struct rpc_conn *conn, nghttp2_session_callbacks *callbacks, const nghttp2_option *option)
{
    /* Submitted before anything is read: grpc-go sends nothing more until it has seen our SETTINGS. */
    static const nghttp2_settings_entry settings[] = {
            {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_RPC_STREAMS},
            {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_GRPC_HEADERS},
    };

    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    if (nghttp2_session_server_new2(&conn->session, callbacks, conn, option) != 0)
        return -ENOMEM;
    if (nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)) != 0)
        return -ENOMEM;
    return 0;
}

static int new_session(struct rpc_conn *conn)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int rc = -ENOMEM;

    if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_http_messaging(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_settings(option, SETTINGS_MAX);
        nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
        rc = make_session(conn, callbacks, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc;
}

/* --- bytes
 * -------------------------------------------------------------------------------------------------- */

/* Moves what nghttp2 has to send into out, some pieces at a time, so that an answer is one system call. */
static int gather(struct rpc_conn *conn)
{
    while (conn->out.len < OUT_SIZE) {
        const uint8_t *piece;
        ssize_t len = nghttp2_session_mem_send(conn->session, &piece);

        if (len < 0)
            return -EPROTO;
        if (len == 0)
            return 0;
        if (buf_append(&conn->out, piece, (size_t)len) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Sends what nghttp2 has to send. 1: all gone; 0: the socket is full; <0: the connection is dead. */
static int send_all(struct rpc_conn *conn)
{
    for (;;) {
        int rc = conn->doomed ? -ENOMEM : gather(conn);
        ssize_t n;

        if (rc < 0)
            return rc;
        if (conn->out.len == 0)
            return 1;
        n = send(conn->fd, conn->out.data, conn->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        buf_consume(&conn->out, n > 0 ? (size_t)n : 0);
    }
}

static void set_events(struct rpc_conn *conn, uint32_t events)
{
    if (conn->events == events)
        return;
    conn->events = events;
    (void)loop_io_set_events(conn->src, events);
}

void rpc_conn_want_flush(struct rpc_conn *conn)
{
    set_events(conn, EPOLLIN | EPOLLOUT);
}

/* Tells handlers and cancel functions what nghttp2's callbacks noted. */
static void dispatch(struct rpc_conn *conn)
{
    while (!list_empty(&conn->ready)) {
        struct rpc_call *call = list_entry(conn->ready.next, struct rpc_call, queue);

        list_remove(&call->queue);
        rpc_call_dispatch(call);
    }
    while (!list_empty(&conn->gone)) {
        struct rpc_call *call = list_entry(conn->gone.next, struct rpc_call, queue);

        list_remove(&call->queue);
        rpc_call_cancel(call);
        rpc_call_free(call);
    }
}

/* Returns whether the connection goes on. */
static bool receive(struct rpc_conn *conn)
{
    uint8_t bytes[READ_SIZE];
    ssize_t n = recv(conn->fd, bytes, sizeof(bytes), 0), used;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    used = nghttp2_session_mem_recv(conn->session, bytes, (size_t)n);
    if (used < 0) {
        log_debug("%s: HTTP/2: %s", conn->server->name, nghttp2_strerror((int)used));
        (void)send_all(conn); /* the GOAWAY that says why */
        return false;
    }
    return true;
}

static void conn_io(_unused_ struct loop_source *src, _unused_ int fd, uint32_t events, void *data)
{
    struct rpc_conn *conn = data;
    int rc;

    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !receive(conn)) {
        rpc_conn_close(conn);
        return;
    }
    dispatch(conn);
    rc = send_all(conn);
    /* The end of a connection: a client's GOAWAY, or ours, and no call left. */
    if (rc < 0 || (rc > 0 && !nghttp2_session_want_read(conn->session) &&
                          !nghttp2_session_want_write(conn->session))) {
        rpc_conn_close(conn);
        return;
    }
    dispatch(conn); /* sending a RST_STREAM closes a stream, too */
    if (rc == 0 || conn->doomed || nghttp2_session_want_write(conn->session))
        rpc_conn_want_flush(conn);
    else
        set_events(conn, EPOLLIN);
}

static void conn_idle(_unused_ struct loop_source *src, _unused_ usec_t now, void *data)
{
    struct rpc_conn *conn = data;

    log_debug("%s: an idle connection is closed", conn->server->name);
    if (nghttp2_session_terminate_session(conn->session, NGHTTP2_NO_ERROR) == 0)
        (void)send_all(conn);
    rpc_conn_close(conn);
}

/* --- life
 * --------------------------------------------------------------------------------------------------- */

int rpc_conn_new(struct rpc_server *server, int fd)
{
    struct rpc_conn *conn = calloc(1, sizeof(*conn));
    int rc;

    if (!conn) {
        (void)close_fd(fd);
        return -ENOMEM;
    }
    conn->server = server;
    conn->fd = fd;
    conn->events = EPOLLIN | EPOLLOUT; /* the SETTINGS go out first */
    buf_init(&conn->out, 4 * OUT_SIZE);
    list_init(&conn->calls);
    list_init(&conn->ready);
    list_init(&conn->gone);
    list_append(&server->conns, &conn->node);
    server->n_conns++;
    rc = new_session(conn);
    if (rc == 0)
        rc = loop_add_io(server->loop, server->name, fd, conn->events, conn_io, conn, &conn->src);
    if (rc == 0)
        rc = loop_add_timer(server->loop, server->name, conn_idle, conn, &conn->idle);
    if (rc == 0)
        rc = loop_timer_in(conn->idle, RPC_IDLE);
    if (rc < 0)
        rpc_conn_close(conn);
    return rc;
}

void rpc_conn_close(struct rpc_conn *conn)
{
    struct rpc_server *server = conn->server;

    nghttp2_session_del(conn->session); /* calls nothing back */
    conn->session = NULL;
    conn->src = loop_remove(conn->src);
    conn->idle = loop_remove(conn->idle);
    conn->fd = close_fd(conn->fd);
    /* A cancel function may answer another call of this connection; that only marks it. */
    list_for_each (it, &conn->calls)
        rpc_call_cancel(list_entry(it, struct rpc_call, node));
    list_for_each (it, &conn->calls)
        rpc_call_free(list_entry(it, struct rpc_call, node));
    buf_free(&conn->out);
    list_remove(&conn->node);
    free(conn);
    server->n_conns--;
    rpc_server_conn_closed(server);
}

void rpc_conn_pending(struct rpc_conn *conn, int change)
{
    bool was_idle = conn->pending == 0;

    conn->pending = (unsigned)((int)conn->pending + change);
    if (!conn->session || was_idle == (conn->pending == 0))
        return;
    if (conn->pending > 0)
        (void)loop_timer_set(conn->idle, USEC_INFINITY);
    else
        (void)loop_timer_in(conn->idle, RPC_IDLE);
}

void rpc_conn_drain(struct rpc_conn *conn)
{
    if (!conn->session)
        return;
    (void)nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE,
            nghttp2_session_get_last_proc_stream_id(conn->session), NGHTTP2_NO_ERROR, NULL, 0);
    rpc_conn_want_flush(conn);
}
