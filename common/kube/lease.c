/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader election (lease.h).
 *
 *   WAITING   a reflector shows the record; it is judged when it changes and when it would have expired
 *   TAKING    create or patch under way; the patch tests that the version is the one that was judged
 *   HELD      renewed by a JSON patch that tests the holder, every half deadline; the reflector is gone. One that is
 *             not answered has another beside it, on a connection of its own: the first that succeeds counts
 *   GIVING    the last patch, or nothing, is under way; then `released` is called
 *   ENDED     lost, or given back
 *
 * The deadline counts from when the last renewal that succeeded was sent, the candidates' wait from when they
 * saw it: so the holder has given up before anybody takes over. User callbacks come last in their functions,
 * since they may free the lease.
 */
#include "common/kube/lease.h"

#include <string.h>

#include "common/kube/lease_record.h"
#include "common/kube/reflector.h"

enum lease_state { WAITING, TAKING, HELD, GIVING, ENDED };

/* A request that was sent, and when: on CLOCK_MONOTONIC and on CLOCK_BOOTTIME. */
struct attempt {
    struct kube_lease *lease;
    struct kube_call *call; /* NULL: none is under way */
    usec_t sent, sent_boottime;
};

struct kube_lease {
    struct kube_lease_config config; /* its strings are ours */
    enum lease_state state;
    struct kube_store *store;
    struct kube_reflector *reflector;
    struct attempt attempts[2]; /* [1] is only for a renewal beside another */
    struct loop_source *timer; /* the next thing to do */
    struct loop_source *deadline; /* HELD: when it is lost */
    struct json *seen; /* the spec judged last ... */
    usec_t seen_since; /* ... and when it was first seen so */
    usec_t held_until, held_until_boottime; /* HELD: the deadline, on CLOCK_MONOTONIC and on CLOCK_BOOTTIME */
    struct err trouble; /* why the last renewal failed */
    void (*released)(void *user);
    void *released_user;
};

static void on_timer(struct loop_source *src, usec_t now, void *data);

static void cancel_attempts(struct kube_lease *lease)
{
    for (size_t i = 0; i < ARRAY_SIZE(lease->attempts); i++)
        lease->attempts[i].call = kube_call_cancel(lease->attempts[i].call);
}

struct kube_lease *kube_lease_free(struct kube_lease *lease)
{
    if (!lease)
        return NULL;
    cancel_attempts(lease);
    (void)kube_reflector_free(lease->reflector);
    (void)kube_store_free(lease->store);
    loop_set_first_look(kube_client_loop(lease->config.client), NULL, NULL);
    (void)loop_remove(lease->timer);
    (void)loop_remove(lease->deadline);
    (void)json_free(lease->seen);
    free((char *)(uintptr_t)lease->config.namespace);
    free((char *)(uintptr_t)lease->config.name);
    free((char *)(uintptr_t)lease->config.identity);
    free(lease);
    return NULL;
}

bool kube_lease_held(const struct kube_lease *lease)
{
    return lease->state == HELD;
}

static struct lease_writer writer_of(const struct kube_lease *lease)
{
    return (struct lease_writer){
            .namespace = lease->config.namespace,
            .name = lease->config.name,
            .identity = lease->config.identity,
            .duration = lease->config.duration,
            .now = clock_realtime(),
    };
}

static usec_t renew_every(const struct kube_lease *lease)
{
    return lease->config.renew_deadline / 2;
}

/* Sends the body, which is consumed. NULL: it could not be made. */
static int send(
        struct attempt *try, enum kube_verb verb, struct json *body, kube_done_fn done, struct err *err)
{
    _cleanup_json_ struct json *mine = body;
    struct kube_lease *lease = try->lease;
    const struct kube_request request = {
            .verb = verb,
            .resource = &kube_leases,
            .namespace = lease->config.namespace,
            .name = verb == KUBE_CREATE ? NULL : lease->config.name,
            .body = mine,
            .timeout = renew_every(lease),
            .urgent = true,
            .fresh_connection = try != lease->attempts,
            .done = done,
            .user = try,
    };

    if (!mine)
        return err_set(err, ENOMEM, "lease %s", lease->config.name);
    try->sent = clock_monotonic();
    try->sent_boottime = clock_boottime();
    return kube_request_start(lease->config.client, &request, &try->call, err);
}

/* An attempt failed: again after a while. The last thing in its caller. */
static void again(struct kube_lease *lease, const char *why, usec_t retry_after)
{
    usec_t delay = lease->config.retry_period;

    /* A held lease is not renewed later because the server is busy: the deadline does not wait either. */
    if (lease->state == WAITING && retry_after > delay)
        delay = retry_after;
    (void)loop_timer_in(lease->timer, delay);
    if (lease->config.failed)
        lease->config.failed(why, lease->config.user);
}

static void lose(struct kube_lease *lease, const char *why)
{
    lease->state = ENDED;
    cancel_attempts(lease);
    (void)loop_timer_set(lease->timer, USEC_INFINITY);
    (void)loop_timer_set(lease->deadline, USEC_INFINITY);
    lease->config.lost(why, lease->config.user);
}

static bool is_over(const struct kube_lease *lease)
{
    return clock_monotonic() >= lease->held_until || clock_boottime() >= lease->held_until_boottime;
}

static void miss_deadline(struct kube_lease *lease)
{
    struct err err = ERR_INIT;

    (void)err_say(&err, ETIMEDOUT, "the lease could not be renewed in time%s%s",
            lease->trouble.code ? ": " : "", lease->trouble.code ? err_text(&lease->trouble) : "");
    lose(lease, err_text(&err));
}

static void on_deadline(struct loop_source *src, usec_t now, void *data)
{
    (void)src;
    (void)now;
    miss_deadline(data);
}

/* Before each turn of the loop. */
static void first_look(void *data)
{
    struct kube_lease *lease = data;

    if (lease->state == HELD && is_over(lease))
        miss_deadline(lease);
}

/* Counts from when the request was sent, not from its answer. */
static void set_deadline(struct kube_lease *lease, const struct attempt *good)
{
    cancel_attempts(lease);
    err_clear(&lease->trouble);
    lease->held_until = usec_add(good->sent, lease->config.renew_deadline);
    lease->held_until_boottime = usec_add(good->sent_boottime, lease->config.renew_deadline);
    (void)loop_timer_set(lease->deadline, lease->held_until);
    (void)loop_timer_set(lease->timer, usec_add(good->sent, renew_every(lease)));
}

static void on_renewed(struct kube_result *result, void *user)
{
    struct attempt *try = user;
    struct kube_lease *lease = try->lease;

    try->call = NULL;
    if (result->code == 0) {
        set_deadline(lease, try);
    } else if (result->http == 422 || result->code == -ENOENT) {
        /* The patch's test failed, or the record is gone: it is not ours any more. */
        lose(lease,
                result->code == -ENOENT ? "the lease has been deleted" : "another candidate holds the lease");
    } else {
        err_clear(&lease->trouble);
        (void)err_say(&lease->trouble, -result->code, "%s", result->message);
        again(lease, result->message, result->retry_after);
    }
}

/* The first is waited for until the deadline: a server may be slow. Beside it another is tried, as often as it fails. */
static void renew(struct kube_lease *lease)
{
    const struct lease_writer w = writer_of(lease);
    struct attempt *a = lease->attempts;
    struct attempt *try = a[0].call ? &a[1] : &a[0];
    struct err err = ERR_INIT;

    if (try->call)
        return;
    (void)loop_timer_in(lease->timer, renew_every(lease) / 2);
    if (send(try, KUBE_JSON_PATCH, lease_renew(&w), on_renewed, &err) < 0)
        again(lease, err_text(&err), 0);
}

static void stop_watching(struct kube_lease *lease)
{
    lease->reflector = kube_reflector_free(lease->reflector);
    lease->store = kube_store_free(lease->store);
    lease->seen = json_free(lease->seen);
}

static void on_taken(struct kube_result *result, void *user)
{
    struct attempt *try = user;
    struct kube_lease *lease = try->lease;

    try->call = NULL;
    lease->state = WAITING;
    if (result->code == 0) {
        set_deadline(lease, try);
        if (is_over(lease)) { /* we were stopped meanwhile: another may have it again */
            (void)loop_timer_set(lease->deadline, USEC_INFINITY);
            (void)loop_timer_in(lease->timer, lease->config.retry_period);
            return;
        }
        lease->state = HELD;
        stop_watching(lease);
        lease->config.acquired(lease->config.user);
    } else if (result->code == -EEXIST || result->code == -ESTALE || result->http == 422 ||
               result->code == -ENOENT) {
        /* Another was first (422: the patch's test failed), or the record is gone: the watch tells. */
        (void)loop_timer_in(lease->timer, lease->config.retry_period);
    } else {
        again(lease, result->message, result->retry_after);
    }
}

static void take(struct kube_lease *lease, const struct json *record)
{
    const struct lease_writer w = writer_of(lease);
    struct err err = ERR_INIT;
    int r;

    lease->state = TAKING;
    if (record)
        r = send(lease->attempts, KUBE_JSON_PATCH, lease_take(&w, record), on_taken, &err);
    else
        r = send(lease->attempts, KUBE_CREATE, lease_create(&w), on_taken, &err);
    if (r >= 0)
        return;
    lease->state = WAITING;
    again(lease, err_text(&err), 0);
}

static void judge(struct kube_lease *lease, usec_t now)
{
    const struct json *record = kube_store_get(lease->store, lease->config.namespace, lease->config.name);
    const struct json *spec = json_field(record, "spec");
    const char *holder = lease_holder(record);
    usec_t expires;

    if (!record || !*holder || strcmp(holder, lease->config.identity) == 0) {
        take(lease, record);
        return;
    }
    if (!lease->seen || !json_equal(lease->seen, spec)) {
        (void)json_free(lease->seen);
        lease->seen =
                json_copy(spec); /* NULL without memory: seen as changed again, which only waits longer */
        lease->seen_since = now;
    }
    expires = usec_add(lease->seen_since, lease_duration(record, lease->config.duration));
    if (now >= expires)
        take(lease, record);
    else
        (void)loop_timer_set(lease->timer, expires);
}

static void end_release(struct kube_lease *lease)
{
    lease->state = ENDED;
    cancel_attempts(lease);
    (void)loop_timer_set(lease->timer, USEC_INFINITY);
    lease->released(lease->released_user);
}

static void on_timer(struct loop_source *src, usec_t now, void *data)
{
    struct kube_lease *lease = data;

    (void)src;
    if (lease->state == WAITING && kube_store_synced(lease->store))
        judge(lease, now);
    else if (lease->state == HELD)
        renew(lease);
    else if (lease->state == GIVING)
        end_release(lease);
}

static void on_given(struct kube_result *result, void *user)
{
    struct attempt *try = user;

    /* Whatever came of it: nobody needs us any more, the lease runs out by itself. */
    (void)result;
    try->call = NULL;
    end_release(try->lease);
}

void kube_lease_release(struct kube_lease *lease, void (*done)(void *user), void *user)
{
    const struct lease_writer w = writer_of(lease);
    bool held = lease->state == HELD;

    lease->released = done;
    lease->released_user = user;
    cancel_attempts(lease);
    (void)loop_timer_set(lease->deadline, USEC_INFINITY);
    stop_watching(lease);
    lease->state = GIVING;
    if (held && send(lease->attempts, KUBE_JSON_PATCH, lease_give_back(&w), on_given, NULL) >= 0)
        (void)loop_timer_in(lease->timer, lease->config.retry_period);
    else
        (void)loop_timer_in(lease->timer, 0);
}

/* Judged from the timer, outside of the store. */
static void on_change(enum kube_change change, const struct json *old, const struct json *new, void *user)
{
    struct kube_lease *lease = user;

    (void)change;
    (void)old;
    (void)new;
    if (lease->state == WAITING)
        (void)loop_timer_in(lease->timer, 0);
}

static void on_synced(void *user)
{
    struct kube_lease *lease = user;

    (void)loop_timer_in(lease->timer, 0);
}

static void on_watch_failed(const struct kube_result *result, usec_t again_in, void *user)
{
    struct kube_lease *lease = user;

    (void)again_in;
    if (lease->config.failed)
        lease->config.failed(result->message, lease->config.user);
}

static int start(struct kube_lease *lease, struct err *err)
{
    const struct kube_store_config store = {.changed = on_change, .changed_user = lease};
    struct kube_reflector_config reflector = {
            .client = lease->config.client,
            .resource = &kube_leases,
            .namespace = lease->config.namespace,
            .synced = on_synced,
            .failed = on_watch_failed,
            .user = lease,
    };
    struct loop *loop = kube_client_loop(lease->config.client);
    _cleanup_free_ char *selector = NULL;
    int r = loop_add_timer(loop, "lease", on_timer, lease, &lease->timer);

    if (r >= 0)
        r = loop_add_timer(loop, "lease deadline", on_deadline, lease, &lease->deadline);
    if (r >= 0)
        r = kube_store_new(&store, &lease->store);
    if (r >= 0 && asprintf(&selector, "metadata.name=%s", lease->config.name) < 0) {
        selector = NULL;
        r = -ENOMEM;
    }
    if (r < 0)
        return err_set(err, r, "lease %s", lease->config.name);
    loop_set_first_look(loop, first_look, lease);
    reflector.store = lease->store;
    reflector.field_selector = selector;
    return kube_reflector_new(&reflector, &lease->reflector, err);
}

static usec_t or_seconds(usec_t value, unsigned seconds)
{
    return value ? value : seconds * USEC_PER_SEC;
}

int kube_lease_new(const struct kube_lease_config *config, struct kube_lease **ret, struct err *err)
{
    _cleanup_(kube_lease_freep) struct kube_lease *lease = calloc(1, sizeof(*lease));
    int r;

    if (!lease)
        return err_set(err, ENOMEM, "lease %s", config->name);
    for (size_t i = 0; i < ARRAY_SIZE(lease->attempts); i++)
        lease->attempts[i].lease = lease;
    lease->config = *config;
    lease->config.namespace = strdup(config->namespace);
    lease->config.name = strdup(config->name);
    lease->config.identity = strdup(config->identity);
    lease->config.duration = or_seconds(config->duration, 15);
    lease->config.renew_deadline = or_seconds(config->renew_deadline, 10);
    lease->config.retry_period = or_seconds(config->retry_period, 2);
    if (!lease->config.namespace || !lease->config.name || !lease->config.identity)
        return err_set(err, ENOMEM, "lease %s", config->name);
    if (lease->config.renew_deadline >= lease->config.duration ||
            lease->config.retry_period > renew_every(lease))
        return err_say(err, EINVAL,
                "lease %s: the renew deadline must be shorter than the duration, and the retry period at "
                "most "
                "half of the deadline",
                config->name);
    r = start(lease, err);
    if (r < 0)
        return r;
    *ret = take_ptr(lease);
    return 0;
}
