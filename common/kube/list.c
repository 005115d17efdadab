/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paged lists: each page names the next by its continue token, and all pages are of one snapshot. A page that is larger
 * than the cap is asked for again with fewer items, since whoever may write objects decides how large they are; the next
 * ones grow again.
 */
#include "common/kube/list.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/base/num.h"
#include "common/kube/internal.h"

#define PAGE_TIMEOUT ((usec_t)60 * USEC_PER_SEC)

enum { PAGE_SIZE = 500, PAGE_SHRINK = 8 };

struct kube_list {
    struct kube_client *client;
    struct kube_list_spec spec; /* its strings are in path */
    char *path; /* without limit and continue token */
    char *token; /* of the page that is asked for; NULL: the first */
    unsigned page_size;
    struct kube_call *call;
    unsigned restarts;
    bool busy;
    bool dead;
};

static void list_free(struct kube_list *list)
{
    (void)kube_call_cancel(list->call);
    free(list->path);
    free(list->token);
    free(list);
}

struct kube_list *kube_list_cancel(struct kube_list *list)
{
    if (!list)
        return NULL;
    if (list->busy)
        list->dead = true;
    else
        list_free(list);
    return NULL;
}

static void finish(struct kube_list *list, struct kube_result *result, const char *version)
{
    list->busy = true;
    list->dead = true;
    list->spec.done(result, version, list->spec.user);
    list_free(list);
}

static void fail(struct kube_list *list, int code, const char *message)
{
    struct kube_result result = {.code = code, .reason = "", .message = message};

    finish(list, &result, NULL);
}

static void on_page(struct kube_result *result, void *user);

static int ask_for_page(struct kube_list *list, struct err *err)
{
    _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_API_PATH);
    struct kube_exchange x = {
            .method = "GET",
            .timeout = PAGE_TIMEOUT,
            .max_body = LIMIT_API_PAGE,
            .done = on_page,
            .user = list,
    };
    char limit[16];
    int r = buf_puts(&path, list->path);

    (void)snprintf(limit, sizeof(limit), "%u", list->page_size);
    if (r >= 0)
        r = kube_query_add(&path, "limit", limit);
    if (r >= 0)
        r = kube_query_add(&path, "continue", list->token);
    /* A continue token implies the version; the server refuses both together. The cache is for the first try
     * only: it was too old if the list has to begin again. */
    if (r >= 0 && !list->token && list->spec.from_cache && list->restarts == 0)
        r = kube_query_add(&path, "resourceVersion", "0");
    if (r < 0)
        return err_set(err, r, "list of %s", list->spec.resource->plural);
    x.path = buf_str(&path);
    return kube_exchange_start(list->client, &x, &list->call, err);
}

static void go_on(struct kube_list *list)
{
    struct err err = ERR_INIT;
    int r = ask_for_page(list, &err);

    if (r < 0)
        fail(list, r, err_text(&err));
}

/* token NULL: from the beginning */
static void next_page(struct kube_list *list, const char *token)
{
    char *copy = token ? strdup(token) : NULL;

    if (token && !copy) {
        fail(list, -ENOMEM, "out of memory");
        return;
    }
    free(list->token);
    list->token = copy;
    go_on(list);
}

static unsigned full_page(const struct kube_list *list)
{
    if (list->spec.version_only)
        return 1;
    return list->spec.page_size ? list->spec.page_size : PAGE_SIZE;
}

/* False: a page of one item is too large. */
static bool shrink(struct kube_list *list)
{
    unsigned fewer = list->page_size / PAGE_SHRINK;

    if (list->page_size <= 1)
        return false;
    list->page_size = fewer ? fewer : 1;
    return true;
}

static void grow(struct kube_list *list)
{
    list->page_size = list->page_size > full_page(list) / 2 ? full_page(list) : list->page_size * 2;
}

/* After a callback. False: the list was cancelled in it, and is gone now. */
static bool alive(struct kube_list *list)
{
    list->busy = false;
    if (!list->dead)
        return true;
    list_free(list);
    return false;
}

static bool give_items(struct kube_list *list, const struct json *items)
{
    list->busy = true;
    json_for_each (item, items) {
        list->spec.item(item, list->spec.user);
        if (list->dead)
            break;
    }
    return alive(list);
}

static bool begin_again(struct kube_list *list)
{
    list->restarts++;
    list->busy = true;
    list->spec.restart(list->spec.user);
    return alive(list);
}

static void on_page(struct kube_result *result, void *user)
{
    struct kube_list *list = user;
    const char *version, *token;
    struct json *items;
    struct err err = ERR_INIT;

    list->call = NULL;
    if (result->http == 410 && !list->spec.version_only && list->restarts < LIMIT_LIST_RESTARTS) {
        if (begin_again(list))
            next_page(list, NULL);
        return;
    }
    if (result->code == -E2BIG && shrink(list)) {
        go_on(list);
        return;
    }
    if (result->code < 0) {
        finish(list, result, NULL);
        return;
    }
    /* items may be null in an empty list that Go wrote. */
    items = json_field(result->object, "items");
    if ((items && !json_is_null(items) && !json_is_array(items)) ||
            json_need_str(result->object, "metadata.resourceVersion", &version, &err) < 0) {
        fail(list, -EBADMSG, "the answer of the API server is no list");
        return;
    }
    token = list->spec.version_only ? "" : json_str_or(result->object, "metadata.continue", "");
    if (!list->spec.version_only && !give_items(list, items))
        return;
    if (*token) {
        grow(list);
        next_page(list, token);
        return;
    }
    struct kube_result done = {.http = result->http, .reason = "", .message = ""};
    finish(list, &done, version);
}

static int build_path(const struct kube_list_spec *spec, char **ret)
{
    _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_API_PATH);
    int r = kube_resource_path(spec->resource, spec->namespace, NULL, NULL, &path);

    if (r < 0)
        return r;
    (void)kube_query_add(&path, "labelSelector", spec->label_selector);
    r = kube_query_add(&path, "fieldSelector", spec->field_selector);
    if (r < 0)
        return r;
    *ret = buf_take(&path, NULL);
    return *ret ? 0 : -ENOMEM;
}

int kube_list_start(struct kube_client *client, const struct kube_list_spec *spec, struct kube_list **ret,
        struct err *err)
{
    struct kube_list *list = calloc(1, sizeof(*list));
    int r;

    if (!list)
        return err_set(err, ENOMEM, "list of %s", spec->resource->plural);
    list->client = client;
    list->spec = *spec;
    list->page_size = full_page(list);
    r = build_path(spec, &list->path);
    r = r < 0 ? err_set(err, r, "list of %s", spec->resource->plural) : ask_for_page(list, err);
    if (r < 0) {
        list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}
