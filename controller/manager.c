/* SPDX-License-Identifier: Apache-2.0 */
/* See manager.h and manager_internal.h. */
#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "controller/manager_internal.h"
#include "controller/text.h"

/* Memory may be there again by then. */
#define LOOK_AGAIN (1 * USEC_PER_SEC)
#define TURN (100 * USEC_PER_MSEC)

static void key_free(void *p)
{
    struct key *key = p;

    kube_call_cancel(key->call);
    plan_free(&key->plan);
    memory_free(&key->memory);
    free(key);
}

struct key *manager_key(struct manager *m, const char *namespace, const char *name)
{
    char text[KEY_MAX];
    struct key *key;

    snprintf(text, sizeof(text), "%s/%s", namespace, name);
    key = map_get(m->keys, text);
    if (key)
        return key;
    key = calloc(1, sizeof(*key));
    if (!key)
        return NULL;
    key->manager = m;
    key->conflicts = (struct backoff)BACKOFF_INIT(20 * USEC_PER_MSEC, 30 * USEC_PER_SEC);
    text_copy(key->text, sizeof(key->text), text);
    text_copy(key->namespace, sizeof(key->namespace), namespace);
    text_copy(key->name, sizeof(key->name), name);
    memory_init(&key->memory);
    if (map_put(m->keys, text, key) < 0) {
        key_free(key);
        return NULL;
    }
    return key;
}

static void set_timer(struct manager *m)
{
    usec_t at = workqueue_next_at(m->queue);

    if (m->look_again_at && m->look_again_at < at)
        at = m->look_again_at;
    if (m->leading && !m->stopping)
        loop_timer_set(m->timer, at);
}

void manager_enqueue(struct manager *m, struct key *key)
{
    if (!key || workqueue_add(m->queue, key->text) < 0) {
        log_error("cannot note a changed object: out of memory, or more objects than the cap of %d",
                LIMIT_KEYS);
        if (map_size(m->keys) < LIMIT_KEYS)
            m->look_again_at = usec_add(clock_monotonic(), LOOK_AGAIN);
    }
    set_timer(m);
}

/* Whoever may make pods makes as many names as they like: without a StoppableContainer or an instance of that name a pod
 * is nothing to us, and its name is not kept. */
static bool nothing_left(const struct observed *o)
{
    return !o->sc && !o->sci && !o->reclaim;
}

static void forget_key(struct key *key)
{
    struct manager *m = key->manager;
    char text[KEY_MAX];

    text_copy(text, sizeof(text), key->text);
    workqueue_done(m->queue, text);
    map_remove(m->keys, text);
}

void manager_forget_if_gone(struct key *key)
{
    struct observed o = manager_observe(key);

    if (nothing_left(&o))
        forget_key(key);
}

/* StoppableContainers and pods come by watches of their own. A consumer that was made for a later spec than the one
 * seen here (by another leader, or the one before) must not be judged by this one: it could be stopped although it
 * is to run. The server is asked for the spec then, once for each such generation: a user may have written it to the pod,
 * which must not keep the instance from its end. */
static bool spec_is_behind(const struct key *key, const struct observed *o)
{
    return o->sc && o->sci && o->consumer &&
           object_controlled_by(o->sci, json_str_or(o->sc, "metadata.uid", "")) &&
           object_controlled_by(o->consumer, json_str_or(o->sci, "metadata.uid", "")) &&
           pod_made_for(o->consumer) > json_int_or(o->sc, "metadata.generation", 0) &&
           pod_made_for(o->consumer) > key->spec_asked;
}

/* Likewise a reset, which throws the root away: the token that asks for it must be the server's. A view that is behind may
 * show an older one beside the instance that was made for a newer. */
static bool reset_is_unconfirmed(const struct key *key, const struct observed *o)
{
    return o->sc && o->sci && !object_deleting(o->sc) && !object_deleting(o->sci) &&
           object_controlled_by(o->sci, json_str_or(o->sc, "metadata.uid", "")) &&
           strcmp(json_str_or(o->sc, "spec.rootfs.resetToken", ""),
                   json_str_or(o->sci, "spec.resetToken", "")) != 0 &&
           strcmp(key->confirmed, json_str_or(o->sc, "metadata.resourceVersion", "")) != 0;
}

/* One plan for one key. What it needs to write or ask is started; the answers come from the loop. */
static void process(struct key *key)
{
    struct manager *m = key->manager;
    struct observed o = manager_observe(key);
    int r;

    if (nothing_left(&o)) {
        forget_key(key);
        return;
    }
    m->busy++;
    key->step = 0;
    key->changed = false;
    key->plan = (struct plan)PLAN_INIT;
    if (spec_is_behind(key, &o)) {
        manager_ask_spec(key, pod_made_for(o.consumer));
        return;
    }
    if (reset_is_unconfirmed(key, &o)) {
        manager_ask_spec(key, key->spec_asked);
        return;
    }
    if (manager_look_for_pods(key, &o))
        return;
    m->stats.plans++;
    r = plan_make(&o, m->config, &key->memory, &key->plan);
    if (r < 0) {
        log_set_object(key->text);
        log_error("cannot decide what to do: %s", strerror(-r));
        log_set_object(NULL);
        manager_key_done(key, usec_add(o.now, backoff_next(&key->conflicts)));
        return;
    }
    if (key->plan.ask_namespace || key->plan.ask_node[0])
        manager_ask(key);
    else
        manager_run_plan(key);
}

void manager_key_done(struct key *key, usec_t again_at)
{
    struct manager *m = key->manager;

    plan_free(&key->plan);
    key->call = NULL;
    m->busy--;
    if (again_at == 0)
        (void)workqueue_add(m->queue, key->text);
    else if (again_at != USEC_INFINITY)
        (void)workqueue_add_at(m->queue, key->text, again_at);
    workqueue_done(m->queue, key->text);
    if (m->stopping && m->busy == 0 && m->stopped) {
        m->stopped(m->stopped_user);
        m->stopped = NULL;
        return;
    }
    set_timer(m);
}

/* Not all keys in one turn: there may be a hundred thousand, of which some tenant's take long, and the lease is to be
 * renewed meanwhile. */
static void on_timer(struct loop_source *src _unused_, usec_t now, void *data)
{
    struct manager *m = data;
    usec_t end = usec_add(clock_monotonic(), TURN);
    const char *text;

    if (m->leading && m->look_again_at && m->look_again_at <= now) {
        m->look_again_at = 0;
        manager_enqueue_all(m);
    }
    workqueue_due(m->queue, now);
    while (m->leading && !m->stopping && clock_monotonic() < end && (text = workqueue_take(m->queue, now))) {
        struct key *key = map_get(m->keys, text);

        if (key)
            process(key);
        else
            workqueue_done(m->queue, text);
    }
    set_timer(m);
}

int manager_new(
        struct kube_client *client, const struct plan_config *config, struct manager **ret, struct err *err)
{
    _cleanup_(manager_freep) struct manager *m = calloc(1, sizeof(*m));
    int r;

    if (!m)
        return err_set(err, ENOMEM, "cannot start");
    m->client = client;
    m->config = config;
    m->loop = kube_client_loop(client);
    m->queue = workqueue_new();
    m->keys = map_new(LIMIT_KEYS, key_free);
    if (!m->queue || !m->keys)
        return err_set(err, ENOMEM, "cannot start");
    r = loop_add_timer(m->loop, "queue", on_timer, m, &m->timer);
    if (r < 0)
        return err_set(err, r, "cannot add the queue's timer");
    r = manager_watch_start(m, err);
    if (r < 0)
        return r;
    *ret = take_ptr(m);
    return 0;
}

struct manager *manager_free(struct manager *m)
{
    if (!m)
        return NULL;
    for (int i = 0; i < WATCHES; i++) {
        kube_reflector_free(m->reflectors[i]);
        kube_store_free(m->stores[i]);
    }
    map_free(m->keys);
    workqueue_free(m->queue);
    loop_remove(m->timer);
    free(m);
    return NULL;
}

void manager_lead(struct manager *m)
{
    m->leading = true;
    if (manager_synced(m))
        manager_enqueue_all(m);
}

void manager_stop(struct manager *m, void (*done)(void *user), void *user)
{
    m->stopping = true;
    loop_timer_set(m->timer, USEC_INFINITY);
    if (m->busy == 0) {
        done(user);
        return;
    }
    m->stopped = done;
    m->stopped_user = user;
}

bool manager_synced(const struct manager *m)
{
    for (int i = 0; i < WATCHES; i++)
        if (!kube_store_synced(m->stores[i]))
            return false;
    return true;
}

bool manager_leading(const struct manager *m)
{
    return m->leading && !m->stopping;
}

struct manager_stats manager_stats(const struct manager *m)
{
    struct manager_stats s = m->stats;

    s.keys = map_size(m->keys);
    s.queued = workqueue_length(m->queue);
    return s;
}
