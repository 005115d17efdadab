/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List and watch, for ever (reflector.h).
 *
 * One of `list`, `watch` and the armed timer is there at any time; `version` is how far the store is, and
 * NULL when the next thing to do is a list. The store's handlers and our callbacks may free the reflector:
 * while one of them can be on the stack, `busy` is set and the freeing is put off.
 */
#include "common/kube/reflector.h"

#include <string.h>

#include "common/base/backoff.h"
#include "common/kube/internal.h"
#include "common/kube/list.h"
#include "common/kube/watch.h"

#define BACKOFF_MIN (800 * USEC_PER_MSEC)
#define BACKOFF_MAX (30 * USEC_PER_SEC)
#define UNREACHED_MAX (5 * USEC_PER_SEC) /* and up to a quarter more */
#define BACKOFF_RESET (120 * USEC_PER_SEC) /* a watch that lived so long clears the record */
#define LIVED (5 * USEC_PER_SEC) /* a watch that lived so long may be followed by the next at once */

enum { VERSION_TEXT = 24 };

struct kube_reflector {
    struct kube_reflector_config config;
    char *namespace;
    char *label_selector;
    char *field_selector;
    struct loop_source *timer;
    struct kube_list *list; /* or the question for the version */
    struct kube_watch *watch;
    char *version;
    char newest[VERSION_TEXT]; /* the highest one that was seen; "" */
    usec_t watch_since;
    struct backoff backoff;
    struct err bad_item; /* the first item of this list that could not be stored */
    bool synced;
    bool waiting; /* the timer is armed */
    bool failing; /* no server was reached, and `recovered` was not called yet */
    bool busy;
    bool dead;
};

static void go_on(struct kube_reflector *r);

static void destroy(struct kube_reflector *r)
{
    (void)loop_remove(r->timer);
    (void)kube_list_cancel(r->list);
    (void)kube_watch_cancel(r->watch);
    free(r->version);
    free(r->namespace);
    free(r->label_selector);
    free(r->field_selector);
    free(r);
}

struct kube_reflector *kube_reflector_free(struct kube_reflector *r)
{
    if (!r)
        return NULL;
    if (r->busy)
        r->dead = true;
    else
        destroy(r);
    return NULL;
}

/* After callbacks: false when one of them freed the reflector, which is gone now. */
static bool alive(struct kube_reflector *r)
{
    r->busy = false;
    if (!r->dead)
        return true;
    destroy(r);
    return false;
}

static void forget_version(struct kube_reflector *r)
{
    free(r->version);
    r->version = NULL;
}

/* On -ENOMEM the next thing is a list, which is right too, only slower. */
static void set_version(struct kube_reflector *r, const char *version)
{
    char *copy = strdup(version);

    free(r->version);
    r->version = copy;
    if (kube_version_compare(version, r->newest) > 0)
        (void)snprintf(r->newest, sizeof(r->newest), "%s", version);
}

/* Goes on after `delay`; tells `failed` first when there is a failure to tell. */
static void retry(struct kube_reflector *r, const struct kube_result *failure, usec_t delay)
{
    if (failure && r->config.failed) {
        r->busy = true;
        r->config.failed(failure, delay, r->config.user);
        if (!alive(r))
            return;
    }
    r->waiting = delay > 0;
    if (delay > 0)
        (void)loop_timer_in(r->timer, delay);
    else
        go_on(r);
}

/* Trying again costs the server next to nothing: it was not reached, or the way to it broke during a watch. */
static bool is_cheap(const struct kube_reflector *r, const struct kube_result *result)
{
    bool cut = result->code == -ECONNRESET || result->code == -EPROTO || result->code == -ETIMEDOUT;

    return kube_unreached(result) || (r->version && cut);
}

static usec_t delay_after(struct kube_reflector *r, const struct kube_result *result, bool at_once)
{
    usec_t most = UNREACHED_MAX + UNREACHED_MAX / 4;
    usec_t delay = at_once ? 0 : backoff_next(&r->backoff);

    if (is_cheap(r, result)) {
        r->failing = true;
        if (delay > most)
            delay = UNREACHED_MAX + delay % (UNREACHED_MAX / 4);
    }
    return delay > result->retry_after ? delay : result->retry_after;
}

static void on_item(const struct json *item, void *user)
{
    struct kube_reflector *r = user;
    struct json *copy = json_copy(item);
    struct err err = ERR_INIT;
    int rc;

    r->busy = true;
    rc = copy ? kube_store_put(r->config.store, copy, &err) : err_set(&err, ENOMEM, "an item of the list");
    if (rc < 0 && !r->bad_item.code)
        r->bad_item = err;
    (void)alive(r);
}

static void on_restart(void *user)
{
    struct kube_reflector *r = user;

    err_clear(&r->bad_item);
    kube_store_replace_begin(r->config.store);
}

static void list_failed(struct kube_reflector *r, const struct kube_result *result)
{
    retry(r, result, delay_after(r, result, false));
}

/* The server knows less than it did, and that was told: the reflector stands still, or is gone. */
static bool has_gone_back(struct kube_reflector *r, const char *version)
{
    struct err err = ERR_INIT;
    bool told;

    if (kube_version_compare(version, r->newest) >= 0)
        return false;
    (void)err_say(&err, ESTALE,
            "the API server is at version %s of %s, and was at %s: its etcd was restored from an older "
            "backup",
            version, r->config.resource->plural, r->newest);
    r->busy = true;
    told = kube_went_back(r->config.client, err_text(&err));
    return !alive(r) || told;
}

static void on_listed(const struct kube_result *result, const char *version, void *user)
{
    struct kube_reflector *r = user;
    bool first = !r->synced, again = r->failing;

    r->list = NULL;
    if (result->code < 0) {
        list_failed(r, result);
        return;
    }
    if (r->bad_item.code) {
        struct kube_result bad = {.code = -r->bad_item.code, .reason = "", .message = err_text(&r->bad_item)};

        list_failed(r, &bad);
        return;
    }
    if (has_gone_back(r, version))
        return;
    r->busy = true;
    r->synced = true;
    set_version(r, version);
    kube_store_replace_end(r->config.store, version);
    if (first && r->config.synced && !r->dead)
        r->config.synced(r->config.user);
    r->failing = false;
    if (again && r->config.recovered && !r->dead)
        r->config.recovered(r->config.user);
    if (alive(r))
        go_on(r);
}

/* What is listed; what is done with it is the caller's to add. */
static struct kube_list_spec list_spec(struct kube_reflector *r)
{
    return (struct kube_list_spec){
            .resource = r->config.resource,
            .namespace = r->namespace,
            .label_selector = r->label_selector,
            .field_selector = r->field_selector,
            .user = r,
    };
}

static int start_list(struct kube_reflector *r, struct err *err)
{
    struct kube_list_spec spec = list_spec(r);

    spec.item = on_item;
    spec.restart = on_restart;
    spec.done = on_listed;

    on_restart(r);
    return kube_list_start(r->config.client, &spec, &r->list, err);
}

/* The server sends every change in order, so what the store refuses as old is old. A change that cannot be
 * stored leaves a gap: the watch is given up, and a list fills it. */
static void on_event(enum kube_watch_type type, struct json *object, void *user)
{
    struct kube_reflector *r = user;
    _cleanup_json_ struct json *mine = object;
    const char *version = json_str(object, "metadata.resourceVersion");
    struct err err = ERR_INIT;
    int rc = 0;

    r->busy = true;
    if (!version)
        rc = err_say(&err, EBADMSG, "a watch event without a resourceVersion");
    else
        set_version(r, version);
    if (rc >= 0 && type == KUBE_WATCH_DELETED)
        (void)kube_store_delete(r->config.store, object);
    else if (rc >= 0 && type != KUBE_WATCH_BOOKMARK)
        rc = kube_store_put(r->config.store, take_ptr(mine), &err);
    if (!alive(r) || rc >= 0)
        return;
    struct kube_result bad = {.code = rc, .reason = "", .message = err_text(&err)};
    r->watch = kube_watch_cancel(r->watch);
    forget_version(r);
    retry(r, &bad, delay_after(r, &bad, false));
}

static void on_opened(void *user)
{
    struct kube_reflector *r = user;

    if (!r->failing)
        return;
    r->failing = false;
    r->busy = true;
    if (r->config.recovered)
        r->config.recovered(r->config.user);
    (void)alive(r);
}

static void on_watch_end(const struct kube_result *result, void *user)
{
    struct kube_reflector *r = user;
    usec_t lived = clock_monotonic() - r->watch_since;

    r->watch = NULL;
    if (lived >= BACKOFF_RESET)
        backoff_reset(&r->backoff);
    /* Only where the stream was cut is its last version a good place to go on from. */
    if (result->code == -ESTALE || result->code == -EBADMSG || result->code == -EINVAL)
        forget_version(r);
    retry(r, result->code < 0 ? result : NULL, delay_after(r, result, lived >= LIVED));
}

static int start_watch(struct kube_reflector *r, struct err *err)
{
    const struct kube_watch_spec spec = {
            .resource = r->config.resource,
            .namespace = r->namespace,
            .label_selector = r->label_selector,
            .field_selector = r->field_selector,
            .resource_version = r->version,
            .opened = on_opened,
            .event = on_event,
            .done = on_watch_end,
            .user = r,
    };

    r->watch_since = clock_monotonic();
    return kube_watch_start(r->config.client, &spec, &r->watch, err);
}

static void begin(struct kube_reflector *r, int (*start)(struct kube_reflector *r, struct err *err))
{
    struct err err = ERR_INIT;
    int rc = start(r, &err);

    if (rc >= 0)
        return;
    struct kube_result failure = {.code = rc, .reason = "", .message = err_text(&err)};
    list_failed(r, &failure);
}

static void on_version(const struct kube_result *result, const char *version, void *user)
{
    struct kube_reflector *r = user;

    r->list = NULL;
    if (result->code < 0)
        list_failed(r, result);
    else if (!has_gone_back(r, version))
        begin(r, start_watch);
}

static int ask_for_version(struct kube_reflector *r, struct err *err)
{
    struct kube_list_spec spec = list_spec(r);

    spec.version_only = true;
    spec.done = on_version;
    return kube_list_start(r->config.client, &spec, &r->list, err);
}

static void go_on(struct kube_reflector *r)
{
    begin(r, !r->version ? start_list : r->failing ? ask_for_version : start_watch);
}

static void on_timer(struct loop_source *src, usec_t now, void *data)
{
    struct kube_reflector *r = data;

    (void)src;
    (void)now;
    r->waiting = false;
    go_on(r);
}

void kube_reflector_hurry(struct kube_reflector *r)
{
    if (r->waiting)
        (void)loop_timer_in(r->timer, 0);
}

static int copy_text(const char *text, char **ret)
{
    *ret = text ? strdup(text) : NULL;
    return text && !*ret ? -ENOMEM : 0;
}

int kube_reflector_new(
        const struct kube_reflector_config *config, struct kube_reflector **ret, struct err *err)
{
    struct kube_reflector *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return err_set(err, ENOMEM, "reflector");
    r->config = *config;
    r->backoff = (struct backoff)BACKOFF_INIT(BACKOFF_MIN, BACKOFF_MAX);
    rc = loop_add_timer(kube_client_loop(config->client), config->resource->plural, on_timer, r, &r->timer);
    if (rc >= 0)
        rc = copy_text(config->namespace, &r->namespace);
    if (rc >= 0)
        rc = copy_text(config->label_selector, &r->label_selector);
    if (rc >= 0)
        rc = copy_text(config->field_selector, &r->field_selector);
    rc = rc < 0 ? err_set(err, rc, "reflector of %s", config->resource->plural) : start_list(r, err);
    if (rc < 0) {
        destroy(r);
        return rc;
    }
    *ret = r;
    return 0;
}

const char *kube_reflector_version(const struct kube_reflector *r)
{
    return r->version;
}
