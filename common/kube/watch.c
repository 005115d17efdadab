/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One watch request, from its URL to its end.
 *
 * Whatever ends it, `ending` holds the reason found in the stream (an ERROR event, a bad line); without one
 * the exchange's own outcome counts.
 *
 * A proxy may keep a connection up whose API server is gone; TCP tells nothing then. The server sends a bookmark about
 * once a minute (KEP-956), so a watch that has had one, and then nothing for some minutes, is given up.
 */
#include "common/kube/watch.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/base/random.h"
#include "common/kube/internal.h"
#include "common/kube/watch_line.h"

enum { TIMEOUT_MIN_S = 300, TIMEOUT_SPREAD_S = 300, OVERTIME_S = 60 };

struct kube_watch {
    struct kube_client *client;
    struct kube_watch_spec spec; /* its strings are in the path */
    struct kube_call *call;
    struct watch_lines lines;
    struct json *status; /* of an ERROR event */
    struct err err; /* why the stream was given up */
    struct loop_source *silence;
    bool has_bookmarks;
    bool busy;
    bool dead;
};

static void watch_free(struct kube_watch *watch)
{
    (void)kube_call_cancel(watch->call);
    (void)loop_remove(watch->silence);
    watch_lines_free(&watch->lines);
    (void)json_free(watch->status);
    free(watch);
}

struct kube_watch *kube_watch_cancel(struct kube_watch *watch)
{
    if (!watch)
        return NULL;
    if (watch->busy)
        watch->dead = true;
    else
        watch_free(watch);
    return NULL;
}

static int on_line(const char *line, size_t len, void *user)
{
    struct kube_watch *watch = user;
    enum kube_watch_type type = KUBE_WATCH_BOOKMARK;
    struct json *object = NULL;
    int r = watch_event_parse(line, len, &type, &object, &watch->err);

    if (r < 0)
        return r;
    if (r == 1) {
        watch->status = object;
        return -ESTALE;
    }
    watch->has_bookmarks = watch->has_bookmarks || type == KUBE_WATCH_BOOKMARK;
    watch->spec.event(type, object, watch->spec.user);
    return watch->dead ? -ECANCELED : 0;
}

static int on_bytes(const void *bytes, size_t len, void *user)
{
    struct kube_watch *watch = user;
    int r;

    watch->busy = true;
    r = watch_lines_feed(&watch->lines, bytes, len, on_line, watch);
    watch->busy = false;
    if (watch->dead) {
        watch_free(watch);
        return -ECANCELED;
    }
    if (watch->has_bookmarks)
        (void)loop_timer_in(watch->silence, watch->client->watch_silence);
    if (r == -E2BIG)
        r = err_say(&watch->err, EBADMSG, "a watch event is longer than %zu bytes", LIMIT_WATCH_LINE);
    return r;
}

static void on_opened(void *user)
{
    struct kube_watch *watch = user;

    watch->busy = true;
    watch->spec.opened(watch->spec.user);
    watch->busy = false;
    if (watch->dead)
        watch_free(watch);
}

static void on_done(struct kube_result *result, void *user)
{
    struct kube_watch *watch = user;

    watch->call = NULL;
    if (watch->status) {
        result->http = 0;
        kube_result_of_status(result, watch->status);
    } else if (watch->err.code) {
        result->code = -watch->err.code;
        result->message = err_text(&watch->err);
    } else if (result->code == 0 && !watch_lines_between(&watch->lines)) {
        result->code = -ECONNRESET;
        result->message = "the watch was cut in the middle of an event";
    }
    watch->busy = true;
    watch->dead = true;
    watch->spec.done(result, watch->spec.user);
    watch_free(watch);
}

static void on_silence(struct loop_source *src, usec_t now, void *data)
{
    struct kube_watch *watch = data;
    struct kube_result result = {.code = -ETIMEDOUT,
            .reason = "",
            .message = "nothing comes on the watch any more, not even a bookmark"};

    (void)src;
    (void)now;
    (void)kube_call_cancel(watch->call);
    on_done(&result, watch);
}

static int build_path(const struct kube_watch_spec *spec, unsigned timeout_s, struct buf *path)
{
    char seconds[16];
    int r = kube_resource_path(spec->resource, spec->namespace, NULL, NULL, path);

    if (r < 0)
        return r;
    (void)snprintf(seconds, sizeof(seconds), "%u", timeout_s);
    (void)kube_query_add(path, "watch", "true");
    (void)kube_query_add(path, "allowWatchBookmarks", "true");
    (void)kube_query_add(path, "timeoutSeconds", seconds);
    (void)kube_query_add(path, "resourceVersion", spec->resource_version);
    (void)kube_query_add(path, "labelSelector", spec->label_selector);
    return kube_query_add(path, "fieldSelector", spec->field_selector);
}

int kube_watch_start(struct kube_client *client, const struct kube_watch_spec *spec, struct kube_watch **ret,
        struct err *err)
{
    unsigned timeout_s = TIMEOUT_MIN_S + (unsigned)(random_u64() % (TIMEOUT_SPREAD_S + 1));
    _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_API_PATH);
    struct kube_watch *watch = calloc(1, sizeof(*watch));
    struct kube_exchange x = {
            .method = "GET",
            .timeout = (usec_t)(timeout_s + OVERTIME_S) * USEC_PER_SEC,
            .watch = true,
            .opened = spec->opened ? on_opened : NULL,
            .bytes = on_bytes,
            .done = on_done,
            .user = watch,
    };
    int r;

    if (!watch)
        return err_set(err, ENOMEM, "watch of %s", spec->resource->plural);
    watch->client = client;
    watch->spec = *spec;
    watch_lines_init(&watch->lines);
    r = loop_add_timer(client->loop, "silent watch", on_silence, watch, &watch->silence);
    if (r >= 0)
        r = build_path(spec, timeout_s, &path);
    x.path = buf_str(&path);
    r = r < 0 ? err_set(err, r, "watch of %s", spec->resource->plural)
              : kube_exchange_start(client, &x, &watch->call, err);
    if (r < 0) {
        watch_free(watch);
        return r;
    }
    *ret = watch;
    return 0;
}
