/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of the gRPC server: what its headers must be, its message, its answer (server_internal.h).
 *
 * The answers, as grpc-go wants them (grpc/doc/PROTOCOL-HTTP2.md, Responses):
 *   OK     HEADERS, DATA with exactly one message, HEADERS with grpc-status and END_STREAM. The trailer is
 *          submitted from inside the read callback that hands out the last byte: submitted earlier, it may
 *          overtake the DATA.
 *   error  Trailers-Only: one HEADERS with END_STREAM and no DATA at all.
 *   no gRPC request: an HTTP status, and nothing else.
 * Every answer waits for the end of the request; the body of a wrong one is read and dropped.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/rpc/server_internal.h"

struct rpc_call *rpc_call_new(struct rpc_conn *conn, int32_t stream_id)
{
    struct rpc_call *call = calloc(1, sizeof(*call));

    if (!call)
        return NULL;
    call->conn = conn;
    call->stream_id = stream_id;
    call->deadline = USEC_INFINITY;
    buf_init(&call->body, LIMIT_GRPC_REQUEST + GRPC_PREFIX);
    buf_init(&call->reply, LIMIT_GRPC_REPLY + GRPC_PREFIX);
    list_init(&call->queue);
    list_append(&conn->calls, &call->node);
    return call;
}

static void drop_body(struct rpc_call *call)
{
    call->conn->server->buffered -= call->body.len;
    buf_free(&call->body);
}

void rpc_call_free(struct rpc_call *call)
{
    drop_body(call);
    buf_free(&call->reply);
    list_remove(&call->queue);
    list_remove(&call->node);
    free(call);
}

/* --- the request
 * -------------------------------------------------------------------------------------------- */

static bool refused(const struct rpc_call *call)
{
    return call->http_status != 0 || call->refusal != GRPC_OK;
}

void rpc_call_refuse(struct rpc_call *call, enum grpc_status status, const char *text)
{
    if (refused(call))
        return;
    call->refusal = status;
    call->refusal_text = text;
    drop_body(call);
}

static void refuse_http(struct rpc_call *call, int status)
{
    if (!refused(call))
        call->http_status = status;
}

/* A pseudo-header or content-type that comes twice would let two readers of it disagree. */
static bool first(struct rpc_call *call, bool *seen)
{
    if (*seen)
        rpc_call_refuse(call, GRPC_INTERNAL, "a header came twice");
    *seen = true;
    return !refused(call);
}

static bool is_grpc_type(const char *value)
{
    static const char type[] = "application/grpc";
    size_t len = sizeof(type) - 1;

    return strncmp(value, type, len) == 0 && (value[len] == '\0' || value[len] == '+' || value[len] == ';');
}

static void set_path(struct rpc_call *call, const char *value)
{
    int n = snprintf(call->path, sizeof(call->path), "%s", value);

    if (n < 0 || (size_t)n >= sizeof(call->path))
        rpc_call_refuse(call, GRPC_UNIMPLEMENTED, "the method's name is too long");
}

static void set_timeout(struct rpc_call *call, const char *value)
{
    usec_t timeout;

    if (grpc_timeout_parse(value, &timeout) < 0)
        rpc_call_refuse(call, GRPC_INTERNAL, "malformed grpc-timeout");
    else
        call->deadline = usec_add(clock_monotonic(), timeout);
}

void rpc_call_header(struct rpc_call *call, const char *name, const char *value, bool trailer)
{
    if (trailer || refused(call))
        return; /* gRPC gives a client's trailers no meaning */
    if (strcmp(name, ":method") == 0) {
        if (first(call, &call->have_method) && strcmp(value, "POST") != 0)
            refuse_http(call, 405);
    } else if (strcmp(name, ":path") == 0) {
        if (first(call, &call->have_path))
            set_path(call, value);
    } else if (strcmp(name, "content-type") == 0) {
        if (first(call, &call->have_type) && !is_grpc_type(value))
            refuse_http(call, 415);
    } else if (strcmp(name, "grpc-timeout") == 0) {
        set_timeout(call, value);
    }
}

static const struct rpc_method *find_method(const struct rpc_call *call)
{
    const struct rpc_server *server = call->conn->server;

    for (size_t i = 0; i < server->n_methods; i++) {
        if (strcmp(server->methods[i].path, call->path) == 0)
            return &server->methods[i];
    }
    return NULL;
}

void rpc_call_headers_done(struct rpc_call *call)
{
    if (!call->have_method || !call->have_path)
        refuse_http(call, 400);
    else if (!call->have_type)
        refuse_http(call, 415);
    else if (!find_method(call))
        rpc_call_refuse(call, GRPC_UNIMPLEMENTED, "this server has no such method");
}

void rpc_call_data(struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct rpc_server *server = call->conn->server;

    if (refused(call))
        return;
    if (len > LIMIT_GRPC_BUFFERED - server->buffered) {
        rpc_call_refuse(call, GRPC_RESOURCE_EXHAUSTED, "too many large requests at once");
    } else if (buf_append(&call->body, data, len) < 0) {
        rpc_call_refuse(call, GRPC_RESOURCE_EXHAUSTED,
                buf_error(&call->body) == -ENOMEM ? "no memory for the request" : "the request is too large");
    } else {
        server->buffered += len;
    }
}

/* --- the answer
 * --------------------------------------------------------------------------------------------- */

static nghttp2_nv header(const char *name, const char *value)
{
    union {
        const char *text;
        uint8_t *bytes;
    } n = {.text = name}, v = {.text = value}; /* nghttp2 copies both; its type lacks the const */

    return (nghttp2_nv){.name = n.bytes,
            .namelen = strlen(name),
            .value = v.bytes,
            .valuelen = strlen(value),
            .flags = NGHTTP2_NV_FLAG_NONE};
}

/* nghttp2 could not take an answer: no memory, or the stream is being closed. */
static void answer_or_reset(struct rpc_call *call, int rc)
{
    if (rc != 0 && nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->stream_id,
                           NGHTTP2_INTERNAL_ERROR) != 0)
        call->conn->doomed = true;
    rpc_conn_want_flush(call->conn);
}

/* Takes the call from whoever has it. False: nobody waits for the answer any more. */
static bool take_call(struct rpc_call *call)
{
    if (call->state == CALL_PENDING)
        rpc_conn_pending(call->conn, -1);
    call->state = CALL_ANSWERED;
    return !call->closed && call->conn->session;
}

static ssize_t read_reply(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room,
        uint32_t *flags, nghttp2_data_source *source, _unused_ void *user)
{
    struct rpc_call *call = source->ptr;
    nghttp2_nv trailer = header("grpc-status", "0");
    size_t n = call->reply.len - call->reply_sent;

    if (n > room)
        n = room;
    memcpy(to, call->reply.data + call->reply_sent, n);
    call->reply_sent += n;
    if (call->reply_sent == call->reply.len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, stream_id, &trailer, 1) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* becomes RST_STREAM */
    }
    return (ssize_t)n;
}

void rpc_call_reply(struct rpc_call *call, const void *message, size_t len)
{
    nghttp2_nv headers[] = {header(":status", "200"), header("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_reply};
    int rc;

    if (!take_call(call))
        return;
    rc = grpc_frame_put(&call->reply, message, len);
    if (rc == 0)
        rc = nghttp2_submit_response(
                call->conn->session, call->stream_id, headers, ARRAY_SIZE(headers), &provider);
    answer_or_reset(call, rc);
}

/* Trailers-Only. */
static void answer_error(struct rpc_call *call, enum grpc_status status, const char *text)
{
    _cleanup_buf_ struct buf message = BUF_INIT(LIMIT_GRPC_MESSAGE);
    char number[16];
    int rc = grpc_message_put(&message, text);

    (void)snprintf(number, sizeof(number), "%d", (int)status);
    if (rc == 0) {
        nghttp2_nv headers[] = {header(":status", "200"), header("content-type", "application/grpc"),
                header("grpc-status", number), header("grpc-message", buf_str(&message))};

        rc = nghttp2_submit_response(
                call->conn->session, call->stream_id, headers, ARRAY_SIZE(headers), NULL);
    }
    answer_or_reset(call, rc);
}

void rpc_call_fail(struct rpc_call *call, enum grpc_status status, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (take_call(call))
        answer_error(call, status == GRPC_OK ? GRPC_UNKNOWN : status, text);
}

static void answer_refusal(struct rpc_call *call)
{
    char number[16];

    log_debug("%s: request refused: %s", call->conn->server->name,
            call->http_status ? "not gRPC" : call->refusal_text);
    (void)take_call(call);
    if (call->http_status == 0) {
        answer_error(call, call->refusal, call->refusal_text);
        return;
    }
    (void)snprintf(number, sizeof(number), "%d", call->http_status);
    {
        nghttp2_nv headers[] = {header(":status", number)};

        answer_or_reset(call, nghttp2_submit_response(call->conn->session, call->stream_id, headers,
                                      ARRAY_SIZE(headers), NULL));
    }
}

/* --- to and from the handlers
 * ------------------------------------------------------------------------------- */

void rpc_call_dispatch(struct rpc_call *call)
{
    const struct rpc_method *method;
    struct pb_slice message = {0};
    int rc;

    if (!refused(call)) {
        rc = grpc_frame_get(call->body.data, call->body.len, &message);
        if (rc == -ENOTSUP)
            rpc_call_refuse(call, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
        else if (rc < 0)
            rpc_call_refuse(call, GRPC_INTERNAL, "the request is not exactly one message");
    }
    method = find_method(call);
    if (refused(call) || !method) {
        answer_refusal(call);
        return;
    }
    call->state = CALL_PENDING;
    rpc_conn_pending(call->conn, 1);
    method->fn(call, message.data, message.len, method->user);
    drop_body(call);
    if (call->state == CALL_PENDING && !call->cancel) {
        log_debug("%s: the handler of %s gave no answer", call->conn->server->name, call->path);
        rpc_call_fail(call, GRPC_INTERNAL, "%s gave no answer", call->path);
    }
}

void rpc_call_cancel(struct rpc_call *call)
{
    rpc_cancel_fn fn = call->cancel;

    if (call->state != CALL_PENDING)
        return;
    (void)take_call(call);
    if (fn)
        fn(call, call->cancel_user);
}

void rpc_call_on_cancel(struct rpc_call *call, rpc_cancel_fn fn, void *user)
{
    call->cancel = fn;
    call->cancel_user = user;
}

usec_t rpc_call_deadline(const struct rpc_call *call)
{
    return call->deadline;
}
