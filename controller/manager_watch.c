/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores and what their changes mean: which key an object belongs to, and the last state of a pod that
 * goes, which tells whether its node is known to be clean. Nothing is decided here.
 *
 * Keys wait until all three stores are complete: a pod that is merely not listed yet must not look gone.
 */
#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "common/names.h"
#include "controller/manager_internal.h"
#include "controller/reclaim_pod.h"
#include "controller/slim.h"
#include "controller/text.h"

static const char *name_of(const struct json *object)
{
    return json_str_or(object, "metadata.name", "");
}

static const char *namespace_of(const struct json *object)
{
    return json_str_or(object, "metadata.namespace", "");
}

/* One that does not lead notes no key, but forgets those of which nothing is left: else what came and went meanwhile, for
 * weeks, would be remembered. manager_lead begins with every object there is. */
static void note(struct manager *m, struct key *key)
{
    if (key && !m->leading)
        manager_forget_if_gone(key);
    else if (manager_synced(m) || !key)
        manager_enqueue(m, key);
}

/* The name of the SC: the pod's own, without the provider's suffix (no SC's name may end in it). */
static bool strip_suffix(const char *pod_name, char *ret, size_t size)
{
    size_t len = strlen(pod_name), suffix = strlen(SC_PROVIDER_SUFFIX);
    bool provider = len > suffix && strcmp(pod_name + len - suffix, SC_PROVIDER_SUFFIX) == 0;

    text_copy(ret, size, pod_name);
    if (provider && len < size)
        ret[len - suffix] = '\0';
    return provider;
}

static struct key *key_of_pod(struct manager *m, const struct json *pod, bool *ret_provider)
{
    struct reclaim_subject about = reclaim_pod_subject(pod);
    char name[LIMIT_NAME + 1];
    struct key *key;

    *ret_provider = false;
    if (about.uid && about.namespace && about.name && strcmp(namespace_of(pod), m->config->namespace) == 0) {
        key = manager_key(m, about.namespace, about.name);
        if (key)
            text_copy(key->reclaim_uid, sizeof(key->reclaim_uid), about.uid);
        return key;
    }
    *ret_provider = strip_suffix(name_of(pod), name, sizeof(name));
    return manager_key(m, namespace_of(pod), name);
}

static void note_removal(struct manager *m, struct key *key, const struct json *pod, bool provider)
{
    const struct json *sci = kube_store_get(m->stores[WATCH_SCI], key->namespace, key->name);
    const char *uid = json_str_or(sci, "metadata.uid", "");

    if (!sci || !object_controlled_by(pod, uid))
        return;
    memory_set_instance(&key->memory, uid);
    memory_pod_removed(&key->memory, provider, pod);
}

static bool is_another(const struct json *old, const struct json *new)
{
    return old &&
           (!new || strcmp(json_str_or(old, "metadata.uid", ""), json_str_or(new, "metadata.uid", "")) != 0);
}

static void pod_changed(
        enum kube_change change _unused_, const struct json *old, const struct json *new, void *user)
{
    struct manager *m = user;
    bool provider;
    struct key *key = key_of_pod(m, new ? new : old, &provider);

    if (key)
        key->asked_for[provider][0] = '\0';
    if (key && is_another(old, new))
        note_removal(m, key, old, provider);
    note(m, key);
}

static void owner_changed(
        enum kube_change change _unused_, const struct json *old, const struct json *new, void *user)
{
    struct manager *m = user;
    const struct json *object = new ? new : old;

    note(m, manager_key(m, namespace_of(object), name_of(object)));
}

static int enqueue_owner(const struct json *object, void *user)
{
    struct manager *m = user;

    manager_enqueue(m, manager_key(m, namespace_of(object), name_of(object)));
    return 0;
}

static int enqueue_pod(const struct json *object, void *user)
{
    struct manager *m = user;
    bool provider;

    manager_enqueue(m, key_of_pod(m, object, &provider));
    return 0;
}

void manager_enqueue_all(struct manager *m)
{
    kube_store_each(m->stores[WATCH_SC], enqueue_owner, m);
    kube_store_each(m->stores[WATCH_SCI], enqueue_owner, m);
    kube_store_each(m->stores[WATCH_POD], enqueue_pod, m);
}

static void synced(void *user)
{
    struct manager *m = user;

    if (!manager_synced(m))
        return;
    log_info("caches are complete: %zu StoppableContainers, %zu instances, %zu pods",
            kube_store_size(m->stores[WATCH_SC]), kube_store_size(m->stores[WATCH_SCI]),
            kube_store_size(m->stores[WATCH_POD]));
    manager_enqueue_all(m);
}

static void failed(const struct kube_result *result, usec_t again_in, void *user _unused_)
{
    log_warn("watching the API server: %s; again in %.1f s", result->message,
            (double)again_in / (double)USEC_PER_SEC);
}

static void try_again(struct manager *m, struct key *key)
{
    bool held = key->conflicts.current > 0;

    backoff_reset(&key->conflicts);
    if (memory_reached_again(&key->memory) || held)
        manager_enqueue(m, key);
}

/* One watch is answered again: the others need not wait for their own back-off, nor need the writes that failed
 * meanwhile. */
static void recovered(void *user)
{
    struct manager *m = user;

    log_info("the API server answers again");
    for (int i = 0; i < WATCHES; i++)
        if (m->reflectors[i])
            kube_reflector_hurry(m->reflectors[i]);
    map_for_each (e, m->keys)
        try_again(m, e->value);
}

int manager_watch_start(struct manager *m, struct err *err)
{
    static const struct kube_resource *const resources[WATCHES] = {
            [WATCH_SC] = &kube_stoppablecontainers,
            [WATCH_SCI] = &kube_instances,
            [WATCH_POD] = &kube_pods,
    };

    for (int i = 0; i < WATCHES; i++) {
        const struct kube_store_config store = {
                .changed = i == WATCH_POD ? pod_changed : owner_changed,
                .changed_user = m,
                .slim = i == WATCH_POD  ? slim_pod
                        : i == WATCH_SC ? slim_stoppablecontainer
                                        : NULL,
        };

        if (kube_store_new(&store, &m->stores[i]) < 0)
            return err_set(err, ENOMEM, "cannot make a store");
    }
    for (int i = 0; i < WATCHES; i++) {
        const struct kube_reflector_config config = {
                .client = m->client,
                .store = m->stores[i],
                .resource = resources[i],
                .label_selector = i == WATCH_POD ? SC_LABEL_MANAGED_BY "=" SC_MANAGED_BY : NULL,
                .synced = synced,
                .failed = failed,
                .recovered = recovered,
                .user = m,
        };
        int r = kube_reflector_new(&config, &m->reflectors[i], err);

        if (r < 0)
            return r;
    }
    return 0;
}

struct observed manager_observe(struct key *key)
{
    struct manager *m = key->manager;
    const struct json *sci = kube_store_get(m->stores[WATCH_SCI], key->namespace, key->name);
    const char *uid = sci ? json_str_or(sci, "metadata.uid", "") : key->reclaim_uid;
    char provider[LIMIT_NAME + 1], reclaim[sizeof(SC_RECLAIM_PREFIX) + LIMIT_UID];

    snprintf(provider, sizeof(provider), "%.*s" SC_PROVIDER_SUFFIX, SC_NAME_MAX, key->name);
    snprintf(reclaim, sizeof(reclaim), SC_RECLAIM_PREFIX "%s", uid);
    return (struct observed){
            .namespace = key->namespace,
            .name = key->name,
            .sc = kube_store_get(m->stores[WATCH_SC], key->namespace, key->name),
            .sci = sci,
            .consumer = kube_store_get(m->stores[WATCH_POD], key->namespace, key->name),
            .provider = kube_store_get(m->stores[WATCH_POD], key->namespace, provider),
            .reclaim = uid[0] ? kube_store_get(m->stores[WATCH_POD], m->config->namespace, reclaim) : NULL,
            .now = clock_monotonic(),
            .realtime = clock_realtime(),
    };
}
