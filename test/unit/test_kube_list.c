/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists in pages, against a fake API server.
 */
#include "test/unit/fake_http.h"

#include "common/base/limits.h"
#include "common/kube/list.h"

static struct loop *loop;
static struct fake_server server;
static struct kube_client *client;
static const char *answer_body;

static void serve(struct fake_conn *c, const struct fake_request *req, void *user)
{
    (void)req;
    (void)user;
    fake_reply(c, 200, "", answer_body);
}

static void setup(void)
{
    struct kube_config *config = calloc(1, sizeof(*config));
    struct err err = ERR_INIT;

    cr_assert_eq(loop_new(&loop, &err), 0);
    fake_server_start(&server, loop, serve, NULL);
    cr_assert_gt(asprintf(&config->server, "http://127.0.0.1:%d", server.port), 0);
    config->namespace = strdup("default");
    cr_assert_eq(kube_client_new(loop, config, "sc-test/1", &client, &err), 0, "%s", err_text(&err));
}

static void teardown(void)
{
    client = kube_client_free(client);
    fake_server_stop(&server);
    loop = loop_free(loop);
}

TestSuite(kube_list, .init = setup, .fini = teardown, .timeout = 60);

struct listing {
    bool done;
    int code;
    char items[512];
    char version[64];
    int restarts;
    int cancel_at; /* cancel when that many items came */
    int n;
    struct kube_list *list;
};

static void on_item(const struct json *item, void *user)
{
    struct listing *l = user;

    snprintf(l->items + strlen(l->items), sizeof(l->items) - strlen(l->items), "%s ",
            json_str(item, "metadata.name"));
    if (++l->n == l->cancel_at)
        l->list = kube_list_cancel(l->list);
}

static void on_restart(void *user)
{
    struct listing *l = user;

    l->restarts++;
    l->items[0] = '\0';
}

static void on_listed(const struct kube_result *result, const char *version, void *user)
{
    struct listing *l = user;

    l->done = true;
    l->code = result->code;
    snprintf(l->version, sizeof(l->version), "%s", version ? version : "none");
}

static void start_list(struct listing *l, bool from_cache)
{
    const struct kube_list_spec spec = {.resource = &kube_pods,
            .label_selector = "a=b,c in (d)",
            .page_size = 2,
            .from_cache = from_cache,
            .item = on_item,
            .restart = on_restart,
            .done = on_listed,
            .user = l};
    struct err err = ERR_INIT;

    cr_assert_eq(kube_list_start(client, &spec, &l->list, &err), 0, "%s", err_text(&err));
}

static char paths[4096];
static bool expire_always;

/* Two pages; the token of the second is good only from the second list on. */
static void serve_pages(struct fake_conn *c, const struct fake_request *req, void *user)
{
    static int lists;

    (void)user;
    snprintf(paths + strlen(paths), sizeof(paths) - strlen(paths), "%s\n", req->path);
    if (!strstr(req->path, "continue=")) {
        lists++;
        fake_reply(c, 200, "",
                "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"t=/+\"},"
                "\"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"}}]}");
    } else if (lists == 1 || expire_always) {
        fake_reply(c, 410, "",
                "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}");
    } else {
        fake_reply(c, 200, "",
                "{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[{\"metadata\":{\"name\":\"c\"}}]}");
    }
}

Test(kube_list, list_in_pages_with_a_410_in_the_middle)
{
    struct listing l = {0};

    server.handler = serve_pages;
    start_list(&l, true);
    cr_assert(fake_wait(loop, &l.done, 5 * USEC_PER_SEC));
    cr_assert_eq(l.code, 0);
    cr_assert_eq(l.restarts, 1);
    cr_assert_str_eq(l.items, "a b c ");
    cr_assert_str_eq(l.version, "8");
    cr_assert_str_eq(paths,
            "/api/v1/pods?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=2&resourceVersion=0\n"
            "/api/v1/pods?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=2&continue=t%3D%2F%2B\n"
            "/api/v1/pods?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=2\n"
            "/api/v1/pods?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=2&continue=t%3D%2F%2B\n");
}

Test(kube_list, list_that_never_gets_through)
{
    struct listing l = {0};

    server.handler = serve_pages;
    expire_always = true;
    start_list(&l, false);
    cr_assert(fake_wait(loop, &l.done, 5 * USEC_PER_SEC));
    cr_assert_eq(l.code, -ESTALE);
    cr_assert_str_eq(l.version, "none");
    cr_assert_eq(l.restarts, 3);
}

Test(kube_list, list_cancelled_by_its_item_callback)
{
    struct listing l = {.cancel_at = 1};
    struct listing other = {0};

    server.handler = serve_pages;
    start_list(&l, false);
    while (l.n == 0)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    start_list(&other, false);
    cr_assert(fake_wait(loop, &other.done, 5 * USEC_PER_SEC));
    cr_assert_eq(l.n, 1);
    cr_assert_not(l.done);
}

static bool one_is_too_large;

/* Two items of which the first is as large as a page may be. */
static void serve_large(struct fake_conn *c, const struct fake_request *req, void *user)
{
    static char large[LIMIT_API_PAGE + 2];
    bool first = !strstr(req->path, "continue=");

    (void)user;
    snprintf(paths + strlen(paths), sizeof(paths) - strlen(paths), "%s ", strstr(req->path, "limit="));
    memset(large, ' ', sizeof(large) - 1);
    if (first && (one_is_too_large || strstr(req->path, "limit=2")))
        fake_reply(c, 200, "", large);
    else
        fake_reply(c, 200, "",
                first ? "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"t\"},"
                        "\"items\":[{\"metadata\":{\"name\":\"a\"}}]}"
                      : "{\"metadata\":{\"resourceVersion\":\"7\"},"
                        "\"items\":[{\"metadata\":{\"name\":\"b\"}}]}");
}

Test(kube_list, page_that_is_too_large_is_asked_for_in_smaller_ones)
{
    struct listing l = {0};

    server.handler = serve_large;
    start_list(&l, false);
    cr_assert(fake_wait(loop, &l.done, 20 * USEC_PER_SEC));
    cr_assert_eq(l.code, 0);
    cr_assert_eq(l.restarts, 0);
    cr_assert_str_eq(l.items, "a b ");
    cr_assert_str_eq(paths, "limit=2 limit=1 limit=2&continue=t ");
}

Test(kube_list, item_that_is_too_large_for_a_page_ends_the_list)
{
    struct listing l = {0};

    server.handler = serve_large;
    one_is_too_large = true;
    start_list(&l, false);
    cr_assert(fake_wait(loop, &l.done, 20 * USEC_PER_SEC));
    cr_assert_eq(l.code, -E2BIG);
    cr_assert_str_eq(paths, "limit=2 limit=1 ");
}

Test(kube_list, lists_that_are_none)
{
    static const char *const bodies[] = {
            "{}", "{\"items\":[]}", "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":7}"};

    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        struct listing l = {0};

        answer_body = bodies[i];
        start_list(&l, false);
        cr_assert(fake_wait(loop, &l.done, 5 * USEC_PER_SEC));
        cr_assert_eq(l.code, -EBADMSG, "%s", bodies[i]);
    }
    struct listing l = {0};
    answer_body = "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":null}";
    start_list(&l, false);
    cr_assert(fake_wait(loop, &l.done, 5 * USEC_PER_SEC));
    cr_assert_eq(l.code, 0);
}
