/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange with the API server: sends the request with our credentials, collects or streams the answer,
 * and tells the outcome. Refused with 401, or by TLS, it reads the credential files again and, when they have
 * changed, sends the request once more.
 *
 * A call can be cancelled from inside its own callbacks; it is then freed when they have returned (`busy`).
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/kube/internal.h"

struct kube_call {
    struct list node; /* in the client's calls */
    struct kube_client *client;
    struct http_request *request;
    struct kube_exchange x; /* strings are ours */
    struct buf answer;
    bool sent_twice;
    bool opened; /* that was told */
    bool busy; /* a callback of this call is on the stack */
    bool dead; /* cancelled while busy */
};

static int send_request(struct kube_call *call, struct err *err);

struct kube_call *kube_call_from_list(struct list *node)
{
    return list_entry(node, struct kube_call, node);
}

void kube_call_free(struct kube_call *call)
{
    list_remove(&call->node);
    buf_free(&call->answer);
    free(call->x.body);
    free((char *)(uintptr_t)call->x.path);
    free(call);
}

struct kube_call *kube_call_cancel(struct kube_call *call)
{
    if (!call || call->dead)
        return NULL;
    call->request = http_cancel(call->request);
    if (call->busy) {
        call->dead = true;
        list_remove(&call->node);
    } else {
        kube_call_free(call);
    }
    return NULL;
}

static bool is_success(long http)
{
    return http >= 200 && http < 300;
}

static int on_data(struct http_request *req, const void *bytes, size_t len, void *user)
{
    struct kube_call *call = user;
    int r;

    if (!is_success(http_status(req))) {
        /* An error's text: what is beyond the cap is not missed. */
        if (call->answer.len + len <= LIMIT_API_STATUS)
            (void)buf_append(&call->answer, bytes, len);
        return 0;
    }
    if (!call->x.bytes)
        return buf_append(&call->answer, bytes, len);
    call->busy = true;
    r = call->x.bytes(bytes, len, call->x.user);
    call->busy = false;
    if (!call->dead)
        return r;
    kube_call_free(call);
    return -ECANCELED;
}

static void on_header(struct http_request *req, const char *name, const char *value, void *user)
{
    struct kube_call *call = user;

    (void)name;
    (void)value;
    if (call->opened || !is_success(http_status(req)))
        return;
    call->opened = true;
    call->busy = true;
    call->x.opened(call->x.user);
    call->busy = false;
    if (call->dead)
        kube_call_free(call);
}

static void deliver(struct kube_call *call, struct kube_result *result)
{
    if (result->code < 0)
        call->client->stats.failures++;
    list_remove(&call->node);
    call->request = NULL;
    call->busy = true;
    call->dead = true; /* a cancel from here on does nothing */
    call->x.done(result, call->x.user);
    (void)json_free(result->object);
    kube_call_free(call);
}

/* The answer is whole: what is in it? */
static void deliver_answer(struct kube_call *call, struct kube_result *result)
{
    _cleanup_json_ struct json *answer = NULL;
    struct err err = ERR_INIT;
    int r = call->answer.len > 0 ? json_parse_any(buf_str(&call->answer), call->answer.len, &answer, &err)
                                 : 0;

    /* The tree is several times larger than the text: not both while the callback works. */
    if (r >= 0)
        buf_free(&call->answer);
    if (is_success(result->http) && !call->x.bytes) {
        if (r < 0 || !json_is_object(answer)) {
            result->code = r == -E2BIG || r == -ENOMEM ? r : -EBADMSG;
            (void)err_wrap(&err, -result->code, "the API server's answer %s",
                    r == -ENOMEM ? "cannot be read" : "is no JSON object");
            result->message = err_text(&err);
        } else {
            result->object = take_ptr(answer);
        }
    } else if (json_is_object(answer) && json_str(answer, "message")) {
        kube_result_of_status(result, answer);
    } else if (!is_success(result->http)) {
        err_clear(&err);
        kube_result_of_text(result, r < 0 ? buf_str(&call->answer) : "", &err);
    }
    deliver(call, result);
}

static bool may_send_again(struct kube_call *call, const struct http_result *http)
{
    if (call->sent_twice || (http->status != 401 && http->code != -EKEYREJECTED))
        return false;
    return kube_renew_credentials(call->client);
}

static void on_done(struct http_request *req, const struct http_result *http, void *user)
{
    struct kube_result result = {.code = http->code,
            .http = http->status,
            .reason = "",
            .message = "",
            .retry_after = http->retry_after};
    struct kube_call *call = user;
    struct err err = ERR_INIT;

    (void)req;
    if (may_send_again(call, http)) {
        buf_reset(&call->answer);
        call->sent_twice = true;
        int r = send_request(call, &err);
        if (r >= 0)
            return;
    }
    if (http->code == 0) {
        deliver_answer(call, &result);
        return;
    }
    result.message = err_text(http->err);
    deliver(call, &result);
}

static void count(struct kube_call *call)
{
    struct kube_stats *stats = &call->client->stats;

    if (call->x.watch)
        stats->watches++;
    else if (strcmp(call->x.method, "GET") == 0)
        stats->reads++;
    else
        stats->writes++;
}

static int send_request(struct kube_call *call, struct err *err)
{
    _cleanup_free_ char *url = NULL, *authorization = NULL, *type = NULL;
    struct kube_client *client = call->client;
    const char *headers[5] = {client->user_agent, "Accept: application/json"};
    size_t n = 2;
    int r;

    if (asprintf(&url, "%s%s", client->config->server, call->x.path) < 0)
        return err_set(err, ENOMEM, "request");
    if (call->x.content_type) {
        if (asprintf(&type, "Content-Type: %s", call->x.content_type) < 0)
            return err_set(err, ENOMEM, "request");
        headers[n++] = type;
    }
    r = kube_authorization(client, &authorization);
    if (r < 0)
        return err_set(err, r, "request");
    headers[n] = authorization;
    struct http_request_spec spec = {
            .method = call->x.method,
            .url = url,
            .headers = headers,
            .body = call->x.body,
            .body_len = call->x.body_len,
            .timeout = call->x.timeout,
            .max_body = call->x.bytes ? 0 : call->x.max_body,
            .fresh_connection = call->x.fresh_connection,
            .own_connection = call->x.watch,
            .on_header = call->x.opened ? on_header : NULL,
            .on_data = on_data,
            .on_done = on_done,
            .user = call,
    };
    r = http_start(client->pools[call->x.watch    ? KUBE_POOL_WATCHES
                                 : call->x.urgent ? KUBE_POOL_URGENT
                                                  : KUBE_POOL_REQUESTS],
            &spec, &call->request, err);
    if (r >= 0)
        count(call);
    return r;
}

int kube_exchange_start(
        struct kube_client *client, struct kube_exchange *exchange, struct kube_call **ret, struct err *err)
{
    struct kube_call *call = calloc(1, sizeof(*call));
    int r;

    if (!call) {
        free(exchange->body);
        return err_set(err, ENOMEM, "request");
    }
    list_init(&call->node);
    call->client = client;
    call->x = *exchange;
    call->x.path = strdup(exchange->path);
    buf_init(&call->answer, exchange->bytes ? LIMIT_API_STATUS : exchange->max_body);
    kube_refresh_credentials(client, clock_monotonic());
    r = call->x.path ? send_request(call, err) : err_set(err, ENOMEM, "request");
    if (r < 0) {
        kube_call_free(call);
        return r;
    }
    list_append(&client->calls, &call->node);
    if (ret)
        *ret = call;
    return 0;
}
