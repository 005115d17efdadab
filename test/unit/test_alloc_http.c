/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request to the API server and its answer, with each of their allocations refused, libcurl's too.
 */
#include "common/base/limits.h"
#include "test/unit/alloc_server.h"

static void serve(struct fake_conn *c, const struct fake_request *req, void *user _unused_)
{
    if (strstr(req->path, "gone"))
        fake_reply(c, 404, "",
                "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"it is gone\",\"code\":404}");
    else
        fake_reply(c, 200, "X-Other: 1\r\n", "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"n\":1.50}");
}

struct exchange {
    const struct kube_request *request;
    struct alloc_outcome *ret;
    bool done;
};

static void on_done(struct kube_result *result, void *user)
{
    struct exchange *x = user;
    struct buf text = BUF_INIT(MIB);
    bool armed = alloc_now.armed;

    alloc_end();
    cr_assert_not(x->done, "told twice");
    x->done = true;
    x->ret->r = result->code;
    cr_assert(result->code == 0 || *result->message, "%d without a word", result->code);
    if (result->object)
        json_write(result->object, &text);
    if (result->code == 0 || result->code == -ENOENT)
        buf_printf(&text, " %ld %s", result->http, result->reason);
    x->ret->text = text.len > 0 ? buf_take(&text, NULL) : NULL;
    alloc_now.armed = armed;
}

static void run_request(void *user, struct alloc_outcome *ret)
{
    struct exchange x = {.ret = ret};
    struct kube_request request = *(const struct kube_request *)user;
    struct kube_client *client;
    struct kube_call *call = NULL;
    struct loop *loop = NULL;
    struct err err = ERR_INIT;
    usec_t end = clock_monotonic() + 10 * USEC_PER_SEC;
    int r;

    cr_assert_eq(loop_new(&loop, NULL), 0);
    client = api_client(loop);
    request.done = on_done;
    request.user = &x;
    alloc_begin();
    r = kube_request_start(client, &request, &call, &err);
    while (r >= 0 && !x.done && clock_monotonic() < end)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    alloc_end();
    if (r < 0) {
        cr_assert_not(x.done, "told although it was not begun");
        cr_assert_eq(r, -err.code);
        ret->r = r;
    } else if (!x.done) {
        ret->r = -ETIME; /* no answer, for ever */
    }
    kube_client_free(client);
    loop_free(loop);
}

Test(alloc_http, request)
{
    _cleanup_json_ struct json *body = json_new_object();
    const struct kube_request
            get = {.verb = KUBE_GET, .resource = &kube_pods, .namespace = "ns", .name = "p"},
            gone = {.verb = KUBE_GET, .resource = &kube_pods, .namespace = "ns", .name = "gone"},
            create = {.verb = KUBE_CREATE, .resource = &kube_pods, .namespace = "ns", .body = body},
            delete = {
                    .verb = KUBE_DELETE, .resource = &kube_pods, .namespace = "ns", .name = "p", .uid = "u"};
    struct kube_request all[] = {get, gone, create, delete};

    json_set_str(body, "kind", "Pod");
    api_start(serve);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        alloc_torture(&(struct alloc_case){.name = "request",
                .run = run_request,
                .user = &all[i],
                /* libcurl's word for a name that it has no memory to look up; an error whose words were not read */
                .errors = {-EHOSTUNREACH, -EREMOTEIO},
                .may_pass = true,
                .varies = true});
    api_stop();
}
