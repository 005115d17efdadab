/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests against a fake API server (lists: test_kube_list.c).
 */
#include "test/unit/fake_http.h"
#include "test/unit/json_text.h"

#include "common/kube/internal.h"

static struct loop *loop;
static struct fake_server server;
static struct kube_client *client;
static char token_file[] = "/tmp/sc-test-XXXXXX";

/* What the server got last, and what it answers. */
static char got[4096], got_head[4096], got_body[4096];
static int answer_status;
static const char *answer_headers, *answer_body;

static void serve(struct fake_conn *c, const struct fake_request *req, void *user)
{
    (void)user;
    snprintf(got, sizeof(got), "%s %s", req->method, req->path);
    snprintf(got_head, sizeof(got_head), "%s", req->head);
    snprintf(got_body, sizeof(got_body), "%s", req->body);
    if (answer_status)
        fake_reply(c, answer_status, answer_headers, answer_body);
}

static void write_token(const char *token)
{
    FILE *f = fopen(token_file, "we");

    cr_assert_not_null(f);
    fputs(token, f);
    fclose(f);
}

static void setup(void)
{
    struct kube_config *config = calloc(1, sizeof(*config));
    int fd = mkstemp(token_file);
    struct err err = ERR_INIT;

    cr_assert_geq(fd, 0);
    close(fd);
    write_token("first");
    cr_assert_eq(loop_new(&loop, &err), 0);
    fake_server_start(&server, loop, serve, NULL);
    cr_assert_gt(asprintf(&config->server, "http://127.0.0.1:%d", server.port), 0);
    config->namespace = strdup("default");
    config->token = strdup("first");
    config->token_file = strdup(token_file);
    cr_assert_eq(kube_client_new(loop, config, "sc-test/1", &client, &err), 0, "%s", err_text(&err));
    answer_status = 200;
    answer_headers = "";
    answer_body = "{}";
}

static void teardown(void)
{
    client = kube_client_free(client);
    fake_server_stop(&server);
    loop = loop_free(loop);
    (void)unlink(token_file);
}

TestSuite(kube_client, .init = setup, .fini = teardown, .timeout = 60);

struct seen {
    bool done;
    int code;
    long http;
    char reason[64];
    char message[512];
    char answer[512];
    usec_t retry_after;
    bool unreached;
};

static void on_done(struct kube_result *result, void *user)
{
    struct seen *s = user;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    s->done = true;
    s->code = result->code;
    s->http = result->http;
    s->retry_after = result->retry_after;
    s->unreached = kube_unreached(result);
    snprintf(s->reason, sizeof(s->reason), "%s", result->reason);
    snprintf(s->message, sizeof(s->message), "%s", result->message);
    cr_assert_eq(result->code == 0, result->object != NULL);
    if (result->object)
        cr_assert_eq(json_write(result->object, &b), 0);
    snprintf(s->answer, sizeof(s->answer), "%s", buf_str(&b));
}

static struct seen run(struct kube_request *req)
{
    struct seen s = {0};
    struct err err = ERR_INIT;

    req->done = on_done;
    req->user = &s;
    cr_assert_eq(kube_request_start(client, req, NULL, &err), 0, "%s", err_text(&err));
    cr_assert(fake_wait(loop, &s.done, 10 * USEC_PER_SEC));
    return s;
}

static struct kube_request get_pod(void)
{
    return (struct kube_request){.verb = KUBE_GET, .resource = &kube_pods, .namespace = "ns", .name = "p"};
}

Test(kube_client, get)
{
    struct kube_request req = get_pod();

    answer_body = "{\"kind\":\"Pod\"}";
    struct seen s = run(&req);
    cr_assert_eq(s.code, 0, "%s", s.message);
    cr_assert_str_eq(s.answer, "{\"kind\":\"Pod\"}");
    cr_assert_str_eq(got, "GET /api/v1/namespaces/ns/pods/p");
    cr_assert(strstr(got_head, "\r\nAuthorization: Bearer first\r\n"));
    cr_assert(strstr(got_head, "\r\nUser-Agent: sc-test/1\r\n"));
    cr_assert(strstr(got_head, "\r\nAccept: application/json\r\n"));
    cr_assert_eq(kube_client_stats(client).reads, 1);
}

Test(kube_client, writes)
{
    _cleanup_json_ struct json *body = parsed("{\"a\":1}");
    static const struct {
        enum kube_verb verb;
        const char *name, *sub, *got, *type;
    } cases[] = {
            {KUBE_CREATE, NULL, NULL,
                    "POST /apis/stoppablecontainer.xtlsoft.top/v1alpha1/namespaces/ns/"
                    "stoppablecontainers?fieldValidation=Strict",
                    "application/json"},
            {KUBE_UPDATE, "n", "status",
                    "PUT /apis/stoppablecontainer.xtlsoft.top/v1alpha1/namespaces/ns/"
                    "stoppablecontainers/n/status?fieldValidation=Strict",
                    "application/json"},
            {KUBE_MERGE_PATCH, "n", "status",
                    "PATCH /apis/stoppablecontainer.xtlsoft.top/v1alpha1/namespaces/ns/"
                    "stoppablecontainers/n/status?fieldValidation=Strict",
                    "application/merge-patch+json"},
            {KUBE_JSON_PATCH, "n", NULL,
                    "PATCH /apis/stoppablecontainer.xtlsoft.top/v1alpha1/namespaces/ns/"
                    "stoppablecontainers/n?fieldValidation=Strict",
                    "application/json-patch+json"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct kube_request req = {.verb = cases[i].verb,
                .resource = &kube_stoppablecontainers,
                .namespace = "ns",
                .name = cases[i].name,
                .subresource = cases[i].sub,
                .body = body};
        char type[64];
        struct seen s = run(&req);

        cr_assert_eq(s.code, 0, "%s", s.message);
        cr_assert_str_eq(got, cases[i].got);
        cr_assert_str_eq(got_body, "{\"a\":1}");
        snprintf(type, sizeof(type), "\r\nContent-Type: %s\r\n", cases[i].type);
        cr_assert(strstr(got_head, type), "%s", got_head);
    }
    cr_assert_eq(kube_client_stats(client).writes, ARRAY_SIZE(cases));
}

Test(kube_client, delete)
{
    struct kube_request req = {.verb = KUBE_DELETE, .resource = &kube_pods, .namespace = "ns", .name = "p"};

    (void)run(&req);
    cr_assert_str_eq(got, "DELETE /api/v1/namespaces/ns/pods/p");
    cr_assert_str_eq(got_body, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\"}");
    req.uid = "u-1";
    req.grace_seconds = 30;
    req.propagation = "Background";
    (void)run(&req);
    cr_assert_str_eq(got_body, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"gracePeriodSeconds\":30,"
                               "\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"u-1\"}}");
    req = (struct kube_request){.verb = KUBE_DELETE,
            .resource = &kube_pods,
            .namespace = "ns",
            .name = "p",
            .uid = "u-1",
            .version = "7"};
    (void)run(&req);
    cr_assert_str_eq(got_body, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\","
                               "\"preconditions\":{\"uid\":\"u-1\",\"resourceVersion\":\"7\"}}");
}

Test(kube_client, requests_that_would_hit_something_else_are_refused)
{
    _cleanup_json_ struct json *body = json_new_object();
    struct kube_request cases[] = {
            {.verb = KUBE_DELETE, .resource = &kube_pods, .namespace = "ns"},
            {.verb = KUBE_DELETE, .resource = &kube_pods, .namespace = "ns", .name = ""},
            {.verb = KUBE_DELETE, .resource = &kube_pods, .namespace = "ns", .name = ".."},
            {.verb = KUBE_DELETE, .resource = &kube_pods, .namespace = "ns", .name = "p", .body = body},
            {.verb = KUBE_GET, .resource = &kube_pods, .name = "p"},
            {.verb = KUBE_GET, .resource = &kube_pods, .namespace = ".", .name = "p"},
            {.verb = KUBE_UPDATE, .resource = &kube_pods, .namespace = "ns", .name = "p"},
            {.verb = KUBE_CREATE, .resource = &kube_pods, .namespace = "ns", .name = "p", .body = body},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;

        cases[i].done = on_done;
        cr_assert_eq(kube_request_start(client, &cases[i], NULL, &err), -EINVAL, "case %zu", i);
    }
    struct kube_request odd = get_pod();
    odd.name = "a/b?c#d";
    (void)run(&odd);
    cr_assert_str_eq(got, "GET /api/v1/namespaces/ns/pods/a%2Fb%3Fc%23d");
}

#define STATUS(code, reason, message)                                                       \
    "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"" reason "\",\"code\":" #code \
    ",\"message\":\"" message "\"}"

Test(kube_client, answers_in_the_servers_words)
{
    static const struct {
        int status;
        const char *body;
        int code;
        const char *reason, *message;
    } cases[] = {
            {403, STATUS(403, "Forbidden", "exceeded quota: pods=1"), -EPERM, "Forbidden",
                    "exceeded quota: pods=1"},
            {404, STATUS(404, "NotFound", "pods x not found"), -ENOENT, "NotFound", "pods x not found"},
            {409, STATUS(409, "AlreadyExists", "exists"), -EEXIST, "AlreadyExists", "exists"},
            {409, STATUS(409, "Conflict", "changed"), -ESTALE, "Conflict", "changed"},
            {410, STATUS(410, "Expired", "old"), -ESTALE, "Expired", "old"},
            {422, STATUS(422, "Invalid", "spec.x: bad"), -EINVAL, "Invalid", "spec.x: bad"},
            {400, STATUS(400, "BadRequest", "strict decoding error"), -EINVAL, "BadRequest",
                    "strict decoding error"},
            {500, STATUS(500, "InternalError", "etcd"), -EREMOTEIO, "InternalError", "etcd"},
            {503, "upstream\nis \x01 down\xff ", -EAGAIN, "",
                    "the API server answered HTTP 503: upstream is   down"},
            {502, "", -EREMOTEIO, "", "the API server answered HTTP 502"},
            {500, "{\"message\":7}", -EREMOTEIO, "", "the API server answered HTTP 500"},
            {302, "", -EREMOTEIO, "", "the API server answered HTTP 302"},
            {200, "not json", -EBADMSG, "", "the API server's answer is no JSON object"},
            {200, "[]", -EBADMSG, "", "the API server's answer is no JSON object"},
            {200, "", -EBADMSG, "", "the API server's answer is no JSON object"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct kube_request req = get_pod();

        answer_status = cases[i].status;
        answer_body = cases[i].body;
        struct seen s = run(&req);
        cr_expect_eq(s.code, cases[i].code, "%d %s: %d", cases[i].status, cases[i].body, s.code);
        cr_expect_eq(s.http, cases[i].status);
        cr_expect_str_eq(s.reason, cases[i].reason);
        cr_expect(strncmp(s.message, cases[i].message, strlen(cases[i].message)) == 0, "%s", s.message);
    }
    cr_assert_eq(kube_client_stats(client).failures, ARRAY_SIZE(cases));
}

Test(kube_client, retry_after)
{
    struct kube_request req = get_pod();

    answer_status = 429;
    answer_headers = "Retry-After: 3\r\n";
    struct seen s = run(&req);
    cr_assert_eq(s.code, -EAGAIN);
    cr_assert_eq(s.retry_after, 3 * USEC_PER_SEC);
    answer_status = 504;
    answer_headers = "";
    answer_body = "{\"message\":\"m\",\"details\":{\"retryAfterSeconds\":2}}";
    s = run(&req);
    cr_assert_eq(s.code, -EAGAIN);
    cr_assert_eq(s.retry_after, 2 * USEC_PER_SEC);
}

/* A write that took too long in a webhook is the server's answer to the object; a page of a proxy is nobody's. */
Test(kube_client, a_timeout_in_the_servers_own_words_is_an_answer)
{
    struct kube_request req = get_pod();

    answer_status = 504;
    answer_body = STATUS(504, "Timeout", "request did not complete within the allotted timeout");
    cr_assert_not(run(&req).unreached);
    answer_body = "upstream timed out";
    cr_assert(run(&req).unreached);
}

Test(kube_client, deadline)
{
    struct kube_request req = get_pod();

    req.timeout = 200 * USEC_PER_MSEC;
    answer_status = 0;
    struct seen s = run(&req);
    cr_assert_eq(s.code, -ETIMEDOUT);
    cr_assert_eq(s.http, 0);
    cr_assert(strstr(s.message, "GET http://127.0.0.1"), "%s", s.message);
}

Test(kube_client, a_rotated_token_is_used_after_a_401)
{
    struct kube_request req = get_pod();

    answer_status = 401;
    answer_body = STATUS(401, "Unauthorized", "Unauthorized");
    struct seen s = run(&req);
    cr_assert_eq(s.code, -EACCES);
    cr_assert_eq(server.requests, 1, "the token is the same: no second try");
    write_token("second\n");
    s = run(&req);
    cr_assert_eq(s.code, -EACCES);
    cr_assert_eq(server.requests, 3, "one more try, and only one");
    cr_assert(strstr(got_head, "Bearer second\r\n"), "%s", got_head);
}

static void refuse_and_rotate(struct fake_conn *c, const struct fake_request *req, void *user)
{
    char token[32];

    snprintf(token, sizeof(token), "token-%u", server.requests);
    write_token(token);
    serve(c, req, user);
}

Test(kube_client, a_token_that_rotates_all_the_time_does_not_keep_us_trying)
{
    struct kube_request req = get_pod();

    server.handler = refuse_and_rotate;
    answer_status = 401;
    struct seen s = run(&req);
    cr_assert_eq(s.code, -EACCES);
    cr_assert_eq(server.requests, 2);
}

Test(kube_client, a_rotated_token_is_seen_within_five_minutes)
{
    struct kube_request req = get_pod();

    write_token("second");
    client->credentials_read -= 290 * USEC_PER_SEC;
    (void)run(&req);
    cr_assert(strstr(got_head, "Bearer first\r\n"), "read too often");
    client->credentials_read -= 301 * USEC_PER_SEC;
    (void)run(&req);
    cr_assert(strstr(got_head, "Bearer second\r\n"), "%s", got_head);
    (void)unlink(token_file);
    client->credentials_read -= 301 * USEC_PER_SEC;
    (void)run(&req);
    cr_assert(
            strstr(got_head, "Bearer second\r\n"), "a file that cannot be read must not take the token away");
}

struct taking {
    struct json *object;
    bool done;
};

static void take_object(struct kube_result *result, void *user)
{
    struct taking *t = user;

    t->object = take_ptr(result->object);
    t->done = true;
}

Test(kube_client, the_object_can_be_taken)
{
    struct taking t = {0};
    struct kube_request req = get_pod();

    req.done = take_object;
    req.user = &t;
    answer_body = "{\"a\":\"b\"}";
    cr_assert_eq(kube_request_start(client, &req, NULL, NULL), 0);
    cr_assert(fake_wait(loop, &t.done, 5 * USEC_PER_SEC));
    cr_assert_str_eq(json_str(t.object, "a"), "b");
    (void)json_free(t.object);
}

static void must_not_come(struct kube_result *result, void *user)
{
    (void)result;
    (void)user;
    cr_assert_fail("a callback after the cancel");
}

Test(kube_client, cancel)
{
    struct kube_request req = get_pod(), other = get_pod();
    struct kube_call *call;

    req.done = must_not_come;
    cr_assert_eq(kube_request_start(client, &req, &call, NULL), 0);
    call = kube_call_cancel(call);
    (void)run(&other);
    /* The client's end cancels too. */
    cr_assert_eq(kube_request_start(client, &req, &call, NULL), 0);
}

static void free_client(struct kube_result *result, void *user)
{
    bool *done = user;

    (void)result;
    *done = true;
    client = kube_client_free(client);
}

Test(kube_client, free_the_client_in_done)
{
    struct kube_request req = get_pod();
    bool done = false;

    req.done = free_client;
    req.user = &done;
    cr_assert_eq(kube_request_start(client, &req, NULL, NULL), 0);
    cr_assert(fake_wait(loop, &done, 5 * USEC_PER_SEC));
}
