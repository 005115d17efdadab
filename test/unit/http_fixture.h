/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of common/http: a server with a path for each thing that servers, and worse, do; and requests
 * that note what they see and can be told to cancel, start or free from inside their callbacks.
 */
#pragma once

#include "test/unit/fake_http.h"

#include "common/base/limits.h"
#include "common/http/http.h"

static struct loop *loop;
static struct fake_server server;
static struct http_client *client;

/* What one request saw. */
struct seen {
    bool done;
    int n_done;
    int code;
    long status;
    usec_t retry_after;
    char text[256];
    struct buf body;
    struct buf headers; /* "name=value;" */
    bool started; /* http_start has returned */
    /* What to do in a callback: */
    int data_result;
    struct http_request **cancel_in_data, **cancel_in_header, **cancel_in_done;
    bool free_client_in_data, free_client_in_done;
    struct seen *start_in_data, *start_in_done;
    struct http_request *req;
};

static void start(struct seen *s, const char *path);

static int on_data(struct http_request *req, const void *bytes, size_t len, void *user)
{
    struct seen *s = user;

    cr_assert_not(s->done);
    cr_assert_gt(http_status(req), 0);
    cr_assert_eq(buf_append(&s->body, bytes, len), 0);
    if (s->start_in_data && !s->start_in_data->started)
        start(s->start_in_data, "/hello");
    if (s->cancel_in_data)
        *s->cancel_in_data = http_cancel(*s->cancel_in_data);
    if (s->free_client_in_data)
        client = http_client_free(client);
    return s->data_result;
}

static void on_header(struct http_request *req, const char *name, const char *value, void *user)
{
    struct seen *s = user;

    (void)req;
    (void)buf_printf(&s->headers, "%s=%s;", name, value);
    if (s->cancel_in_header)
        *s->cancel_in_header = http_cancel(*s->cancel_in_header);
}

static void on_done(struct http_request *req, const struct http_result *result, void *user)
{
    struct seen *s = user;

    cr_assert(s->started, "done from inside http_start");
    cr_assert_eq(req, s->req);
    s->done = true;
    s->n_done++;
    s->code = result->code;
    s->status = result->status;
    s->retry_after = result->retry_after;
    snprintf(s->text, sizeof(s->text), "%s", result->code < 0 ? err_text(result->err) : "");
    if (s->cancel_in_done)
        *s->cancel_in_done = http_cancel(*s->cancel_in_done);
    if (s->start_in_done)
        start(s->start_in_done, "/hello");
    if (s->free_client_in_done)
        client = http_client_free(client);
}

static struct http_request_spec spec_of(struct seen *s, const char *url)
{
    buf_init(&s->body, 32 * MIB);
    buf_init(&s->headers, 32 * MIB);
    return (struct http_request_spec){.method = "GET",
            .url = url,
            .timeout = 30 * USEC_PER_SEC,
            .on_data = on_data,
            .on_header = on_header,
            .on_done = on_done,
            .user = s};
}

static const char *url_of(const char *path)
{
    static char urls[4][256];
    static unsigned next;
    char *url = urls[next++ % ARRAY_SIZE(urls)];

    snprintf(url, sizeof(urls[0]), "http://127.0.0.1:%d%s", server.port, path);
    return url;
}

static void start_spec(struct seen *s, const struct http_request_spec *spec)
{
    struct err err = ERR_INIT;

    cr_assert_eq(http_start(client, spec, &s->req, &err), 0, "%s", err_text(&err));
    s->started = true;
}

static void start(struct seen *s, const char *path)
{
    struct http_request_spec spec = spec_of(s, url_of(path));

    start_spec(s, &spec);
}

static void seen_free(struct seen *s)
{
    buf_free(&s->body);
    buf_free(&s->headers);
}
#define _cleanup_seen_ _cleanup_(seen_free)

static void finish(struct seen *s)
{
    cr_assert(fake_wait(loop, &s->done, 40 * USEC_PER_SEC));
    cr_assert_eq(s->n_done, 1);
}

/* Some turns in which nothing may happen any more. */
static void settle(void)
{
    for (int i = 0; i < 5; i++)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
}

static struct fake_conn *held; /* the connection of the last request to /hold */

static void serve(struct fake_conn *c, const struct fake_request *req, void *user)
{
    (void)user;
    if (strcmp(req->path, "/hello") == 0) {
        fake_reply(c, 200, "X-Test:  a value \r\n", "hello");
    } else if (strcmp(req->path, "/echo") == 0) {
        fake_send(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(req->head) + strlen(req->body));
        fake_write(c, req->head, strlen(req->head));
        fake_write(c, req->body, strlen(req->body));
    } else if (strcmp(req->path, "/chunks") == 0) {
        fake_send(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-late\r\n\r\n");
        fake_chunk(c, "one ");
        fake_chunk(c, "two");
        fake_send(c, "0\r\nX-Late: yes\r\n\r\n");
    } else if (strcmp(req->path, "/cut-body") == 0) {
        fake_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        fake_close(c);
    } else if (strcmp(req->path, "/cut-chunk") == 0) {
        fake_start_chunks(c);
        fake_send(c, "ff\r\nhalf");
        fake_close(c);
    } else if (strcmp(req->path, "/cut-headers") == 0) {
        fake_send(c, "HTTP/1.1 200 OK\r\nContent-Le");
        fake_close(c);
    } else if (strcmp(req->path, "/nothing") == 0) {
        fake_close(c);
    } else if (strcmp(req->path, "/garbage") == 0) {
        fake_send(c, "SSH-2.0-whatever\r\n\r\n");
        fake_close(c);
    } else if (strcmp(req->path, "/busy") == 0) {
        fake_reply(c, 429, "Retry-After: 7\r\n", "slow down");
    } else if (strcmp(req->path, "/busy-long") == 0) {
        fake_reply(c, 503, "Retry-After: 90000\r\n", "");
    } else if (strcmp(req->path, "/redirect") == 0) {
        fake_reply(c, 302, "Location: /hello\r\n", "");
    } else if (strcmp(req->path, "/headers") == 0) {
        fake_send(c, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 2000; i++)
            fake_send(c, "X-%d: %0100d\r\n", i, i);
        fake_send(c, "Content-Length: 0\r\n\r\n");
    } else if (strcmp(req->path, "/long-header") == 0) {
        fake_send(c, "HTTP/1.1 200 OK\r\nX-Long: ");
        for (int i = 0; i < 100; i++)
            fake_send(c, "%04000d", 0);
        fake_send(c, "\r\nContent-Length: 0\r\n\r\n");
    } else if (strcmp(req->path, "/large") == 0) {
        _cleanup_free_ char *block = malloc(4 * MIB);

        memset(block, 'x', 4 * MIB);
        fake_send(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", 4 * MIB);
        fake_write(c, block, 4 * MIB);
    } else if (strcmp(req->path, "/hold") == 0) {
        held = c;
        fake_start_chunks(c);
        fake_chunk(c, "first");
    }
    /* anything else: no answer */
}

static void setup(void)
{
    struct http_client_config config = {0};
    struct err err = ERR_INIT;

    cr_assert_eq(loop_new(&loop, &err), 0);
    fake_server_start(&server, loop, serve, NULL);
    cr_assert_eq(http_client_new(loop, &config, &client, &err), 0);
}

static void teardown(void)
{
    client = http_client_free(client);
    fake_server_stop(&server);
    loop = loop_free(loop);
}
