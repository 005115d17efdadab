/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC client (client.h): one HTTP/2 request a call, its headers and trailers looked at one by one.
 *
 * curl hands trailers over like headers, after the body; in a Trailers-Only reply grpc-status is a header.
 * Both come through on_header here, the last grpc-status counts.
 */
#include "common/rpc/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "common/base/limits.h"
#include "common/base/list.h"
#include "common/http/http.h"

struct rpc_client {
    struct loop *loop;
    struct http_client *http;
    struct list unaries;
};

struct rpc_unary {
    struct list node; /* in client->unaries */
    struct rpc_client *client;
    struct http_request *request;
    char *url;
    struct buf frame;
    usec_t deadline;
    bool retried;
    bool finished; /* fn is being called */
    rpc_unary_fn fn;
    void *user;

    bool is_grpc; /* content-type said so */
    bool have_status;
    enum grpc_status status;
    struct buf text; /* grpc-message, decoded */
    struct buf body;
};

int rpc_client_new(
        struct loop *loop, const char *socket_path, struct rpc_client **ret_client, struct err *err)
{
    struct http_client_config config = {.unix_socket = socket_path, .http2_prior_knowledge = true};
    struct rpc_client *c;
    int rc;

    if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_say(err, ENAMETOOLONG, "the path of the socket %s is too long", socket_path);
    c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(err, ENOMEM, "cannot make a client of %s", socket_path);
    c->loop = loop;
    list_init(&c->unaries);
    rc = http_client_new(loop, &config, &c->http, err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    *ret_client = c;
    return 0;
}

static void unary_free(struct rpc_unary *u)
{
    list_remove(&u->node);
    buf_free(&u->frame);
    buf_free(&u->text);
    buf_free(&u->body);
    free(u->url);
    free(u);
}

struct rpc_unary *rpc_unary_cancel(struct rpc_unary *u)
{
    if (u && !u->finished) {
        u->request = http_cancel(u->request);
        unary_free(u);
    }
    return NULL;
}

struct rpc_client *rpc_client_free(struct rpc_client *c)
{
    if (!c)
        return NULL;
    while (!list_empty(&c->unaries))
        (void)rpc_unary_cancel(list_entry(c->unaries.next, struct rpc_unary, node));
    c->http = http_client_free(c->http);
    free(c);
    return NULL;
}

static void on_header(_unused_ struct http_request *req, const char *name, const char *value, void *user)
{
    struct rpc_unary *u = user;

    if (strcmp(name, "content-type") == 0)
        u->is_grpc = strncmp(value, "application/grpc", strlen("application/grpc")) == 0;
    else if (strcmp(name, "grpc-status") == 0)
        u->have_status = grpc_status_parse(value, &u->status) == 0;
    else if (strcmp(name, "grpc-message") == 0) {
        buf_reset(&u->text);
        (void)grpc_message_get(&u->text, value);
    }
}

static int on_data(_unused_ struct http_request *req, const void *bytes, size_t len, void *user)
{
    struct rpc_unary *u = user;

    return buf_append(&u->body, bytes, len);
}

static struct rpc_result failed(enum grpc_status status, const char *text)
{
    return (struct rpc_result){.status = status, .text = text};
}

static struct rpc_result transport_failure(const struct http_result *http)
{
    if (http->code == -ETIMEDOUT)
        return failed(GRPC_DEADLINE_EXCEEDED, err_text(http->err));
    if (http->code == -E2BIG)
        return failed(GRPC_RESOURCE_EXHAUSTED, "the reply is too large");
    return failed(GRPC_UNAVAILABLE, err_text(http->err));
}

static struct rpc_result judge(const struct rpc_unary *u, const struct http_result *http)
{
    struct rpc_result result = {.status = GRPC_OK, .text = ""};
    int rc;

    if (http->code < 0)
        return transport_failure(http);
    if (http->status != 200 || !u->is_grpc)
        return failed(GRPC_UNKNOWN, "the answer is not gRPC");
    if (!u->have_status)
        return failed(GRPC_UNKNOWN, "the answer has no grpc-status");
    if (u->status != GRPC_OK)
        return failed(u->status, u->text.len > 0 ? buf_str(&u->text) : grpc_status_name(u->status));
    rc = grpc_frame_get(u->body.data, u->body.len, &result.message);
    if (rc == -ENOTSUP)
        return failed(GRPC_INTERNAL, "the reply is compressed, which was not asked for");
    if (rc < 0)
        return failed(GRPC_INTERNAL, "the reply is not exactly one message");
    return result;
}

static int start(struct rpc_unary *u, struct err *err);

/* A reused connection whose server has gone fails before anything of a reply came. One that the server ended
 * orderly (GOAWAY, the answer, close) may lose the answer's trailers in curl 7.88. */
static bool try_again(struct rpc_unary *u, const struct http_result *http)
{
    bool dead = http->code < 0 && http->code != -ETIMEDOUT && http->code != -E2BIG && http->status == 0;
    bool cut = http->code == 0 && http->status == 200 && u->is_grpc && !u->have_status;

    if (u->retried || !(dead || cut))
        return false;
    u->retried = true;
    u->is_grpc = false;
    buf_reset(&u->body);
    return start(u, NULL) == 0;
}

static void on_done(_unused_ struct http_request *req, const struct http_result *http, void *user)
{
    struct rpc_unary *u = user;
    struct rpc_result result;

    u->request = NULL;
    if (try_again(u, http))
        return;
    result = judge(u, http);
    /* Out of the list first: fn may free the client, and this call is not to be cancelled then. */
    list_remove(&u->node);
    u->finished = true;
    u->fn(u, &result, u->user);
    unary_free(u);
}

static int start(struct rpc_unary *u, struct err *err)
{
    usec_t now = clock_monotonic(), left = u->deadline > now ? u->deadline - now : USEC_PER_MSEC;
    char value[GRPC_TIMEOUT_TEXT], timeout[GRPC_TIMEOUT_TEXT + 32];
    const char *const headers[] = {
            "Content-Type: application/grpc", "TE: trailers", "Accept:", timeout, NULL};
    struct http_request_spec spec = {
            .method = "POST",
            .url = u->url,
            .headers = headers,
            .body = u->frame.data,
            .body_len = u->frame.len,
            .timeout = left,
            .max_body = LIMIT_GRPC_REPLY + GRPC_PREFIX,
            .fresh_connection = u->retried,
            .on_data = on_data,
            .on_header = on_header,
            .on_done = on_done,
            .user = u,
    };

    grpc_timeout_format(left, value);
    (void)snprintf(timeout, sizeof(timeout), "grpc-timeout: %s", value);
    return http_start(u->client->http, &spec, &u->request, err);
}

int rpc_unary_start(struct rpc_client *client, const struct rpc_unary_spec *spec,
        struct rpc_unary **ret_unary, struct err *err)
{
    struct rpc_unary *u = calloc(1, sizeof(*u));
    int rc = -ENOMEM;

    if (!u)
        return err_set(err, ENOMEM, "cannot call %s", spec->method);
    u->client = client;
    u->fn = spec->fn;
    u->user = spec->user;
    u->deadline = usec_add(clock_monotonic(), spec->timeout);
    buf_init(&u->frame, LIMIT_GRPC_REQUEST + GRPC_PREFIX);
    buf_init(&u->text, LIMIT_HTTP_HEADERS);
    buf_init(&u->body, LIMIT_GRPC_REPLY + GRPC_PREFIX);
    list_append(&client->unaries, &u->node);
    /* The host is a formality: the connection goes to the socket. */
    if (asprintf(&u->url, "http://localhost%s", spec->method) < 0)
        u->url = NULL;
    if (u->url)
        rc = grpc_frame_put(&u->frame, spec->message, spec->len);
    rc = rc < 0 ? err_set(err, rc, "cannot call %s", spec->method) : start(u, err);
    if (rc < 0) {
        unary_free(u);
        return rc;
    }
    if (ret_unary)
        *ret_unary = u;
    return 0;
}
