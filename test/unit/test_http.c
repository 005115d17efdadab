/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP transfers against a server on the same loop: what is sent, what is refused, what comes back.
 */
#include "test/unit/http_fixture.h"

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

/* curl asks first ("Expect: 100-continue") for bodies over a megabyte, and waits a second for the answer. */
Test(http, large_bodies_are_sent_without_asking)
{
    static char block[3 << 20];
    _cleanup_seen_ struct seen s = {0};
    struct http_request_spec spec = spec_of(&s, url_of("/echo"));

    memset(block, 'x', sizeof(block) - 1);
    spec.method = "POST";
    spec.body = block;
    spec.body_len = sizeof(block) - 1;
    start_spec(&s, &spec);
    finish(&s);
    cr_assert_eq(s.code, 0, "%s", s.text);
    cr_assert_gt(s.body.len, sizeof(block));
    cr_assert_null(strcasestr(buf_str(&s.body), "expect"));
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

    silent.timeout = 500 * USEC_PER_MSEC;
    start_spec(&s, &silent);
    struct http_request_spec hold = spec_of(&t, url_of("/hold"));
    hold.timeout = 500 * USEC_PER_MSEC;
    start_spec(&t, &hold);
    finish(&s);
    finish(&t);
    cr_assert_eq(s.code, -ETIMEDOUT);
    cr_assert_eq(t.code, -ETIMEDOUT, "a transfer that began is ended too");
    cr_assert_str_eq(buf_str(&t.body), "first");
    cr_assert_lt(clock_monotonic() - begin, 4 * USEC_PER_SEC);
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
    cr_assert_eq(t.retry_after, 60 * USEC_PER_SEC);
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
