/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client, and single requests: verb, path, query and body for the exchange (call.c).
 */
#include "common/kube/client.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/kube/internal.h"

#define WATCH_SILENCE ((usec_t)180 * USEC_PER_SEC)
#define READ_TIMEOUT ((usec_t)15 * USEC_PER_SEC)
/* kube-apiserver gives a write 34 s (requestTimeoutUpperBound), in which several webhooks may take up to 30 s each, one
 * after another. Who hangs up before makes it undo what it has done so far, and would never come to an end. */
#define WRITE_TIMEOUT ((usec_t)40 * USEC_PER_SEC)

/* Each idle one costs some 50 KB and a system call per request. */
static const unsigned connections[KUBE_POOLS] = {
        [KUBE_POOL_REQUESTS] = 8, [KUBE_POOL_URGENT] = 2, [KUBE_POOL_WATCHES] = 32};

int kube_client_new(struct loop *loop, struct kube_config *config, const char *user_agent,
        struct kube_client **ret, struct err *err)
{
    _cleanup_kube_client_ struct kube_client *client = calloc(1, sizeof(*client));
    struct http_tls tls = kube_config_tls(config);
    int r;

    if (!client) {
        (void)kube_config_free(config);
        return err_set(err, ENOMEM, "API client");
    }
    client->loop = loop;
    client->config = config;
    client->credentials_read = clock_monotonic();
    client->watch_silence = WATCH_SILENCE;
    list_init(&client->calls);
    if (asprintf(&client->user_agent, "User-Agent: %s", user_agent) < 0) {
        client->user_agent = NULL;
        return err_set(err, ENOMEM, "API client");
    }
    for (size_t i = 0; i < KUBE_POOLS; i++) {
        const struct http_client_config http = {.tls = &tls, .max_connections = connections[i]};

        r = http_client_new(loop, &http, &client->pools[i], err);
        if (r < 0)
            return r;
    }
    *ret = take_ptr(client);
    return 0;
}

struct kube_client *kube_client_free(struct kube_client *client)
{
    if (!client)
        return NULL;
    while (!list_empty(&client->calls))
        (void)kube_call_cancel(kube_call_from_list(client->calls.next));
    for (size_t i = 0; i < KUBE_POOLS; i++)
        (void)http_client_free(client->pools[i]);
    (void)kube_config_free(client->config);
    free(client->user_agent);
    free(client);
    return NULL;
}

void kube_client_on_went_back(
        struct kube_client *client, void (*fn)(const char *message, void *user), void *user)
{
    client->went_back = fn;
    client->went_back_user = user;
}

bool kube_went_back(const struct kube_client *client, const char *message)
{
    if (client->went_back)
        client->went_back(message, client->went_back_user);
    return client->went_back != NULL;
}

struct loop *kube_client_loop(const struct kube_client *client)
{
    return client->loop;
}

const struct kube_config *kube_client_config(const struct kube_client *client)
{
    return client->config;
}

struct kube_stats kube_client_stats(const struct kube_client *client)
{
    return client->stats;
}

static int delete_options(const struct kube_request *request, struct json **ret)
{
    _cleanup_json_ struct json *options = json_new_object();
    int r;

    if (!options)
        return -ENOMEM;
    r = json_set_str(options, "apiVersion", "v1");
    if (r >= 0)
        r = json_set_str(options, "kind", "DeleteOptions");
    if (r >= 0 && request->grace_seconds > 0)
        r = json_set_int(options, "gracePeriodSeconds", request->grace_seconds);
    if (r >= 0)
        r = json_set_str(options, "propagationPolicy", request->propagation);
    if (r >= 0 && (request->uid || request->version)) {
        struct json *preconditions = json_ensure_object(options, "preconditions");

        r = preconditions ? json_set_str(preconditions, "uid", request->uid) : -ENOMEM;
        if (r >= 0)
            r = json_set_str(preconditions, "resourceVersion", request->version);
    }
    if (r < 0)
        return r;
    *ret = take_ptr(options);
    return 0;
}

static int body_of(const struct kube_request *request, char **ret_body, size_t *ret_len)
{
    _cleanup_json_ struct json *options = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_API_OBJECT);
    const struct json *body = request->body;
    int r = 0;

    *ret_body = NULL;
    *ret_len = 0;
    if (request->verb == KUBE_DELETE) {
        r = delete_options(request, &options);
        body = options;
    }
    if (r < 0 || !body)
        return r;
    r = json_write(body, &b);
    if (r < 0)
        return r;
    *ret_body = buf_take(&b, ret_len);
    return *ret_body ? 0 : -ENOMEM;
}

static const struct {
    const char *method;
    const char *content_type;
    bool named;
    bool body;
} verbs[] = {
        [KUBE_GET] = {"GET", NULL, true, false},
        [KUBE_CREATE] = {"POST", "application/json", false, true},
        [KUBE_UPDATE] = {"PUT", "application/json", true, true},
        [KUBE_MERGE_PATCH] = {"PATCH", "application/merge-patch+json", true, true},
        [KUBE_JSON_PATCH] = {"PATCH", "application/json-patch+json", true, true},
        [KUBE_DELETE] = {"DELETE", "application/json", true, false},
};

/* A list-wide DELETE or a write of nothing would be a bug of ours with dear consequences. */
static int check(const struct kube_request *request, struct err *err)
{
    const char *plural = request->resource->plural;

    if (!request->name == verbs[request->verb].named)
        return err_say(err, EINVAL, "%s of %s: a name is %s", verbs[request->verb].method, plural,
                request->name ? "not part of the path" : "needed");
    if (request->resource->namespaced && !request->namespace)
        return err_say(err, EINVAL, "%s of %s: a namespace is needed", verbs[request->verb].method, plural);
    if (!request->body == verbs[request->verb].body)
        return err_say(err, EINVAL, "%s of %s: %s", verbs[request->verb].method, plural,
                request->body ? "a body is not sent" : "a body is needed");
    return 0;
}

int kube_request_start(struct kube_client *client, const struct kube_request *request,
        struct kube_call **ret_call, struct err *err)
{
    _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_API_PATH);
    struct kube_exchange x = {
            .method = verbs[request->verb].method,
            .content_type = verbs[request->verb].content_type,
            .timeout = request->timeout            ? request->timeout
                       : request->verb == KUBE_GET ? READ_TIMEOUT
                                                   : WRITE_TIMEOUT,
            .max_body = LIMIT_API_ANSWER,
            .urgent = request->urgent,
            .fresh_connection = request->fresh_connection,
            .done = request->done,
            .user = request->user,
    };
    int r = check(request, err);

    if (r < 0)
        return r;
    r = kube_resource_path(request->resource, request->namespace, request->name, request->subresource, &path);
    if (r >= 0 && verbs[request->verb].body)
        r = kube_query_add(&path, "fieldValidation", "Strict");
    if (r >= 0)
        r = body_of(request, &x.body, &x.body_len);
    if (r < 0)
        return err_set(err, r, "%s of %s %s", x.method, request->resource->plural,
                request->name ? request->name : "");
    x.path = buf_str(&path);
    return kube_exchange_start(client, &x, ret_call, err);
}
