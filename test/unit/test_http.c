/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP transfers against a server on the same loop that does what servers, and worse, do.
 */
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
            .timeout = 5 * USEC_PER_SEC,
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
    cr_assert(fake_wait(loop, &s->done, 10 * USEC_PER_SEC));
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

TestSuite(http, .init = setup, .fini = teardown, .timeout = 60);

Test(http, plain_answer)
{
    _cleanup_seen_ struct seen s = {0};

    start(&s, "/hello");
    finish(&s);
    cr_assert_eq(s.code, 0, "%s", s.text);
    cr_assert_eq(s.status, 200);
    cr_assert_str_eq(buf_str(&s.body), "hello");
    cr_assert(strstr(buf_str(&s.headers), "x-test=a value;"), "%s", buf_str(&s.headers));
    cr_assert_null(strstr(buf_str(&s.headers), "http/"));
}

Test(http, request_is_sent_as_asked)
{
    static const char *const headers[] = {"Content-Type: application/json", "X-Mine: 1", NULL};
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        _cleanup_seen_ struct seen s = {0};
        struct http_request_spec spec = spec_of(&s, url_of("/echo"));
        char line[64];

        spec.method = methods[i];
        spec.headers = headers;
        spec.body = "{\"a\":1}";
        spec.body_len = 7;
        start_spec(&s, &spec);
        finish(&s);
        cr_assert_eq(s.code, 0, "%s", s.text);
        snprintf(line, sizeof(line), "%s /echo HTTP/1.1\r\n", methods[i]);
        cr_assert(strncmp(buf_str(&s.body), line, strlen(line)) == 0, "%s", buf_str(&s.body));
        cr_assert(strstr(buf_str(&s.body), "Content-Type: application/json\r\n"));
        cr_assert(strstr(buf_str(&s.body), "X-Mine: 1\r\n"));
        cr_assert(strstr(buf_str(&s.body), "\r\n\r\n{\"a\":1}"));
        cr_assert_null(strcasestr(buf_str(&s.body), "expect"));
    }
    cr_assert_eq(server.accepted, 1, "the connection was not reused");
}

Test(http, header_injection_is_refused)
{
    static const char *const headers[] = {"X-Mine: 1\r\nX-Other: 2", NULL};
    _cleanup_seen_ struct seen s = {0};
    struct http_request_spec spec = spec_of(&s, url_of("/echo"));
    struct http_request *req;
    struct err err = ERR_INIT;

    spec.headers = headers;
    cr_assert_eq(http_start(client, &spec, &req, &err), -EINVAL);
}

Test(http, other_protocols_and_users_in_urls_are_refused)
{
    static const char *const urls[] = {
            "file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "nonsense:"};

    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        _cleanup_seen_ struct seen s = {0};
        struct http_request_spec spec = spec_of(&s, urls[i]);
        struct err err = ERR_INIT;

        if (http_start(client, &spec, &s.req, &err) < 0)
            continue;
        s.started = true;
        finish(&s);
        cr_assert_lt(s.code, 0, "%s", urls[i]);
    }
}

Test(http, no_timeout_is_refused)
{
    _cleanup_seen_ struct seen s = {0};
    struct http_request_spec spec = spec_of(&s, url_of("/hello"));
    struct err err = ERR_INIT;

    spec.timeout = 0;
    cr_assert_eq(http_start(client, &spec, &s.req, &err), -EINVAL);
}

Test(http, chunks_and_trailers)
{
    _cleanup_seen_ struct seen s = {0};

    start(&s, "/chunks");
    finish(&s);
    cr_assert_eq(s.code, 0, "%s", s.text);
    cr_assert_str_eq(buf_str(&s.body), "one two");
    cr_assert(strstr(buf_str(&s.headers), "x-late=yes;"), "%s", buf_str(&s.headers));
}

Test(http, broken_answers)
{
    static const struct {
        const char *path;
        int code;
    } cases[] = {{"/cut-body", -ECONNRESET}, {"/cut-chunk", -ECONNRESET}, {"/cut-headers", -ECONNRESET},
            {"/nothing", -ECONNRESET}, {"/garbage", -EINVAL}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_seen_ struct seen s = {0};

        start(&s, cases[i].path);
        finish(&s);
        cr_expect_eq(s.code, cases[i].code, "%s: %d, %s", cases[i].path, s.code, s.text);
        cr_expect(strstr(s.text, cases[i].path), "%s", s.text);
    }
}

Test(http, refused_connection_says_so)
{
    _cleanup_seen_ struct seen s = {0};
    struct http_request_spec spec = spec_of(&s, "http://127.0.0.1:1/x?token=secret");

    start_spec(&s, &spec);
    finish(&s);
    cr_assert_eq(s.code, -ECONNREFUSED);
    cr_assert_eq(s.status, 0);
    cr_assert(strstr(s.text, "GET http://127.0.0.1:1/x: "), "%s", s.text);
    cr_assert_null(strstr(s.text, "secret"));
}

Test(http, missing_unix_socket)
{
    struct http_client_config config = {.unix_socket = "/nonexistent/socket"};
    _cleanup_http_client_ struct http_client *other = NULL;
    _cleanup_seen_ struct seen s = {0};
    struct http_request_spec spec = spec_of(&s, "http://localhost/");
    struct err err = ERR_INIT;

    cr_assert_eq(http_client_new(loop, &config, &other, &err), 0);
    cr_assert_eq(http_start(other, &spec, &s.req, &err), 0);
    s.started = true;
    finish(&s);
    cr_assert_eq(s.code, -ENOENT, "%d %s", s.code, s.text);
}

Test(http, deadline)
{
    _cleanup_seen_ struct seen s = {0}, t = {0};
    struct http_request_spec silent = spec_of(&s, url_of("/silent"));
    usec_t begin = clock_monotonic();

    silent.timeout = 200 * USEC_PER_MSEC;
    start_spec(&s, &silent);
    struct http_request_spec hold = spec_of(&t, url_of("/hold"));
    hold.timeout = 200 * USEC_PER_MSEC;
    start_spec(&t, &hold);
    finish(&s);
    finish(&t);
    cr_assert_eq(s.code, -ETIMEDOUT);
    cr_assert_eq(t.code, -ETIMEDOUT, "a transfer that began is ended too");
    cr_assert_str_eq(buf_str(&t.body), "first");
    cr_assert_lt(clock_monotonic() - begin, 2 * USEC_PER_SEC);
}

Test(http, deadline_holds_for_a_request_that_waits_for_a_connection)
{
    struct http_client_config config = {.max_connections = 1};
    _cleanup_http_client_ struct http_client *small = NULL;
    _cleanup_seen_ struct seen s = {0}, t = {0};
    struct http_request_spec hold = spec_of(&s, url_of("/hold"));
    struct http_request_spec waits = spec_of(&t, url_of("/hello"));
    struct err err = ERR_INIT;

    waits.timeout = 200 * USEC_PER_MSEC;
    cr_assert_eq(http_client_new(loop, &config, &small, &err), 0);
    s.started = t.started = true;
    cr_assert_eq(http_start(small, &hold, &s.req, &err), 0);
    cr_assert_eq(http_start(small, &waits, &t.req, &err), 0);
    cr_assert(fake_wait(loop, &t.done, 3 * USEC_PER_SEC));
    cr_assert_eq(t.code, -ETIMEDOUT);
    cr_assert_not(s.done);
    s.req = http_cancel(s.req);
}

Test(http, a_cancelled_request_makes_room_for_one_that_waits)
{
    struct http_client_config config = {.max_connections = 1};
    _cleanup_http_client_ struct http_client *small = NULL;
    _cleanup_seen_ struct seen s = {0}, t = {0};
    struct http_request_spec hold = spec_of(&s, url_of("/hold"));
    struct http_request_spec waits = spec_of(&t, url_of("/hello"));

    cr_assert_eq(http_client_new(loop, &config, &small, NULL), 0);
    s.started = t.started = true;
    cr_assert_eq(http_start(small, &hold, &s.req, NULL), 0);
    cr_assert_eq(http_start(small, &waits, &t.req, NULL), 0);
    while (s.body.len == 0)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    s.req = http_cancel(s.req);
    cr_assert(fake_wait(loop, &t.done, 3 * USEC_PER_SEC));
    cr_assert_eq(t.code, 0, "%s", t.text);
}

Test(http, retry_after)
{
    _cleanup_seen_ struct seen s = {0}, t = {0};

    start(&s, "/busy");
    finish(&s);
    cr_assert_eq(s.code, 0);
    cr_assert_eq(s.status, 429);
    cr_assert_eq(s.retry_after, 7 * USEC_PER_SEC);
    start(&t, "/busy-long");
    finish(&t);
    cr_assert_eq(t.retry_after, 3600 * USEC_PER_SEC);
}

Test(http, redirects_are_not_followed)
{
    _cleanup_seen_ struct seen s = {0};

    start(&s, "/redirect");
    finish(&s);
    cr_assert_eq(s.status, 302);
    cr_assert_eq(server.requests, 1);
}

Test(http, headers_are_capped)
{
    _cleanup_seen_ struct seen s = {0}, t = {0};

    start(&s, "/headers");
    finish(&s);
    cr_assert_eq(s.code, -E2BIG, "%d %s", s.code, s.text);
    cr_assert_leq(s.headers.len, LIMIT_HTTP_HEADERS);
    start(&t, "/long-header");
    finish(&t);
    cr_assert_lt(t.code, 0, "%s", t.text);
}

Test(http, body_is_capped)
{
    _cleanup_seen_ struct seen s = {0}, t = {0};
    struct http_request_spec spec = spec_of(&s, url_of("/large"));

    spec.max_body = 4 * MIB - 1;
    start_spec(&s, &spec);
    finish(&s);
    cr_assert_eq(s.code, -E2BIG);
    cr_assert_leq(s.body.len, 4 * MIB - 1);
    struct http_request_spec exact = spec_of(&t, url_of("/large"));
    exact.max_body = 4 * MIB;
    start_spec(&t, &exact);
    finish(&t);
    cr_assert_eq(t.code, 0, "%s", t.text);
    cr_assert_eq(t.body.len, 4 * MIB);
}

Test(http, data_callback_ends_with_its_code)
{
    _cleanup_seen_ struct seen s = {.data_result = -EBADMSG};

    start(&s, "/hello");
    finish(&s);
    cr_assert_eq(s.code, -EBADMSG);
}

Test(http, cancel_outside_and_in_each_callback)
{
    _cleanup_seen_ struct seen s = {0}, data = {0}, header = {0}, done = {0};

    start(&s, "/hello");
    s.req = http_cancel(s.req);
    start(&data, "/hold");
    data.cancel_in_data = &data.req;
    start(&header, "/hello");
    header.cancel_in_header = &header.req;
    start(&done, "/hello");
    done.cancel_in_done = &done.req;
    finish(&done);
    cr_assert(fake_wait(loop, &(bool){false}, 100 * USEC_PER_MSEC) == false);
    cr_assert_not(s.done);
    cr_assert_not(data.done);
    cr_assert_not(header.done);
    cr_assert_str_eq(buf_str(&data.body), "first");
}

Test(http, cancel_another_in_a_callback)
{
    _cleanup_seen_ struct seen a = {0}, b = {0}, c = {0}, d = {0};

    start(&a, "/hold");
    while (a.body.len == 0)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    start(&b, "/hello");
    b.cancel_in_data = &a.req;
    finish(&b);
    settle();
    cr_assert_not(a.done);
    start(&c, "/hold");
    while (c.body.len == 0)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    start(&d, "/hello");
    d.cancel_in_done = &c.req;
    finish(&d);
    settle();
    cr_assert_not(c.done);
}

Test(http, start_in_callbacks)
{
    _cleanup_seen_ struct seen in_data = {0}, in_done = {0};
    _cleanup_seen_ struct seen s = {.start_in_data = &in_data, .start_in_done = &in_done};

    start(&s, "/chunks");
    finish(&s);
    finish(&in_data);
    finish(&in_done);
    cr_assert_str_eq(buf_str(&in_data.body), "hello");
    cr_assert_str_eq(buf_str(&in_done.body), "hello");
}

Test(http, start_and_cancel_in_one_callback)
{
    _cleanup_seen_ struct seen other = {0};
    _cleanup_seen_ struct seen s = {.start_in_data = &other, .cancel_in_data = &other.req};

    start(&s, "/hello");
    finish(&s);
    settle();
    cr_assert_not(other.done);
    cr_assert_eq(server.requests, 1);
}

Test(http, free_the_client_in_callbacks)
{
    _cleanup_seen_ struct seen s = {.free_client_in_data = true}, other = {0},
                               t = {.free_client_in_done = true};
    struct http_client_config config = {0};

    start(&other, "/hold");
    start(&s, "/chunks");
    while (client)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    settle();
    cr_assert_not(s.done);
    cr_assert_not(other.done);
    cr_assert_str_eq(buf_str(&s.body), "one ");
    cr_assert_eq(http_client_new(loop, &config, &client, NULL), 0);
    start(&t, "/hello");
    finish(&t);
    settle();
    cr_assert_null(client);
    cr_assert_eq(server.open, 0);
}

Test(http, free_with_requests_under_way)
{
    _cleanup_seen_ struct seen s = {0}, t = {0};

    start(&s, "/hold");
    while (s.body.len == 0)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    start(&t, "/hello");
    client = http_client_free(client);
    settle();
    cr_assert_not(s.done);
    cr_assert_not(t.done);
}

Test(http, own_connection)
{
    _cleanup_seen_ struct seen a = {0}, b = {0}, c = {0};

    start(&a, "/hello");
    finish(&a);
    struct http_request_spec spec = spec_of(&b, url_of("/hello"));
    spec.own_connection = true;
    start_spec(&b, &spec);
    finish(&b);
    cr_assert_eq(server.accepted, 2, "it took an idle one");
    settle();
    cr_assert_eq(server.open, 1, "it left its connection open");
    start(&c, "/hello");
    finish(&c);
    cr_assert_eq(server.accepted, 2);
}

Test(http, reused_connection_that_the_server_closed)
{
    _cleanup_seen_ struct seen a = {0}, b = {0};

    start(&a, "/hello");
    finish(&a);
    fake_close(server.conns);
    start(&b, "/hello");
    finish(&b);
    cr_assert_eq(b.code, 0, "%s", b.text);
    cr_assert_eq(server.accepted, 2);
}

Test(http, a_thousand_at_once)
{
    enum { N = 1000 };
    static struct seen all[N];

    for (int i = 0; i < N; i++)
        start(&all[i], i % 3 ? "/hello" : "/chunks");
    for (int i = 0; i < N; i++) {
        finish(&all[i]);
        cr_assert_eq(all[i].code, 0, "%s", all[i].text);
        seen_free(&all[i]);
    }
    cr_assert_leq(server.accepted, 8);
}

Test(http, interim_answers_are_passed_over)
{
    _cleanup_seen_ struct seen s = {0};

    start(&s, "/none");
    while (server.requests == 0)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    fake_send(server.conns, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n");
    fake_reply(server.conns, 204, "", "");
    finish(&s);
    cr_assert_eq(s.code, 0);
    cr_assert_eq(s.status, 204);
}

Test(http, a_watch_that_idles_makes_no_timer)
{
    _cleanup_seen_ struct seen s = {0};
    struct http_request_spec spec = spec_of(&s, url_of("/hold"));
    usec_t end;
    int callbacks = 0;

    spec.timeout = USEC_INFINITY;
    spec.own_connection = true;
    start_spec(&s, &spec);
    while (s.body.len == 0)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    /* One timer of curl's comes after connecting (the next address would be tried at 200 ms). */
    end = usec_add(clock_monotonic(), 300 * USEC_PER_MSEC);
    while (clock_monotonic() < end)
        (void)loop_turn(loop, 50 * USEC_PER_MSEC);
    end = usec_add(clock_monotonic(), 1500 * USEC_PER_MSEC);
    while (clock_monotonic() < end)
        callbacks += loop_turn(loop, 500 * USEC_PER_MSEC);
    cr_assert_eq(callbacks, 0);
    fake_end_chunks(held);
    finish(&s);
    cr_assert_eq(s.code, 0);
}

Test(http, escape)
{
    _cleanup_buf_ struct buf b = BUF_INIT(100);

    cr_assert_eq(http_escape(&b, "aZ9-._~/ %\xc3\xa9?=&+,"), 0);
    cr_assert_str_eq(buf_str(&b), "aZ9-._~%2F%20%25%C3%A9%3F%3D%26%2B%2C");
}
