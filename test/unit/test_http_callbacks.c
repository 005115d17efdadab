/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP: requests that end, start and cancel each other at every possible moment.
 */
#include "test/unit/http_fixture.h"

TestSuite(http_callbacks, .init = setup, .fini = teardown, .timeout = 60);

Test(http_callbacks, deadline_holds_for_a_request_that_waits_for_a_connection)
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

Test(http_callbacks, a_cancelled_request_makes_room_for_one_that_waits)
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

Test(http_callbacks, data_callback_ends_with_its_code)
{
    _cleanup_seen_ struct seen s = {.data_result = -EBADMSG};

    start(&s, "/hello");
    finish(&s);
    cr_assert_eq(s.code, -EBADMSG);
}

Test(http_callbacks, cancel_outside_and_in_each_callback)
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

Test(http_callbacks, cancel_another_in_a_callback)
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

Test(http_callbacks, start_in_callbacks)
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

Test(http_callbacks, start_and_cancel_in_one_callback)
{
    _cleanup_seen_ struct seen other = {0};
    _cleanup_seen_ struct seen s = {.start_in_data = &other, .cancel_in_data = &other.req};

    start(&s, "/hello");
    finish(&s);
    settle();
    cr_assert_not(other.done);
    cr_assert_eq(server.requests, 1);
}

Test(http_callbacks, free_the_client_in_callbacks)
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

Test(http_callbacks, free_with_requests_under_way)
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

Test(http_callbacks, a_thousand_at_once)
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
