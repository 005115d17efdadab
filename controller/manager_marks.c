/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods of ours that lost their marks (pod_marks.h): by `kubectl label`, `kubectl edit`, a tool that prunes. What the watch
 * does not show any more must not be taken for gone: a root would be given up that its provider still holds, a
 * StoppableContainer called stopped whose workload runs. So where the status speaks of a pod that is not to be seen, and
 * that was not seen to end, the server is asked for the pod of that name before anything is decided, once for each
 * time that it goes out of sight; and if it is ours, it gets its marks again, as does one that lost some and is seen.
 */
#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "common/names.h"
#include "controller/manager_internal.h"
#include "controller/pod_marks.h"
#include "controller/status.h"
#include "controller/text.h"

static const char *role_name(bool provider)
{
    return provider ? SC_ROLE_PROVIDER : SC_ROLE_CONSUMER;
}

static const char *role_of(const struct key *key)
{
    return role_name(key->asked_provider);
}

static void warn(const struct key *key, const char *what, const char *why)
{
    log_set_object(key->text);
    log_warn("%s the %s pod: %s", what, role_of(key), why);
    log_set_object(NULL);
}

/* Not answered: asked again. */
static void again(struct key *key)
{
    key->asked_for[key->asked_provider][0] = '\0';
    manager_key_done(key, usec_add(clock_monotonic(), backoff_next(&key->conflicts)));
}

static void ask_again(struct key *key, const char *what, const char *why)
{
    warn(key, what, why);
    again(key);
}

static void on_marked(struct kube_result *result, void *user)
{
    struct key *key = user;

    key->call = NULL;
    if (result->code == -EPERM ||
            result->code == -EINVAL) { /* it has another controller, a policy forbids it */
        warn(key, "cannot mark", result->message);
        manager_key_done(key, 0);
        return;
    }
    if (result->code < 0 && result->code != -ENOENT) {
        ask_again(key, "cannot mark", result->message);
        return;
    }
    if (result->code == 0) {
        warn(key, "marked", "its labels or its owner had been taken away");
        manager_remember(key->manager, WATCH_POD, take_ptr(result->object));
    }
    manager_key_done(key, 0);
}

static void mark(struct key *key, const struct json *pod, const struct json *sci)
{
    _cleanup_json_ struct json *patch = pod_marks_patch(pod, sci, role_of(key));
    const struct kube_request request = {
            .verb = KUBE_MERGE_PATCH,
            .resource = &kube_pods,
            .namespace = key->namespace,
            .name = json_str_or(pod, "metadata.name", ""),
            .body = patch,
            .done = on_marked,
            .user = key,
    };
    struct err err = ERR_INIT;

    if (key->manager->stopping)
        manager_key_done(key, 0);
    else if (!patch)
        ask_again(key, "cannot mark", strerror(ENOMEM));
    else if (kube_request_start(key->manager->client, &request, &key->call, &err) < 0)
        ask_again(key, "cannot mark", err_text(&err));
}

static void on_pod(struct kube_result *result, void *user)
{
    struct key *key = user;
    const struct json *sci = kube_store_get(key->manager->stores[WATCH_SCI], key->namespace, key->name);

    key->call = NULL;
    if (result->code < 0 && result->code != -ENOENT) {
        ask_again(key, "cannot look at", result->message);
        return;
    }
    key->unanswered[key->asked_provider] = false;
    if (result->code < 0 || !pod_marks_fit(result->object, sci, role_of(key))) {
        manager_key_done(key, 0);
        return;
    }
    if (!pod_marks_are_there(result->object, sci, role_of(key))) {
        mark(key, result->object, sci);
        return;
    }
    manager_remember(key->manager, WATCH_POD, take_ptr(result->object));
    manager_key_done(key, 0);
}

static void ask(struct key *key)
{
    char name[LIMIT_NAME + 1];

    snprintf(name, sizeof(name), "%.*s%s", SC_NAME_MAX, key->name,
            key->asked_provider ? SC_PROVIDER_SUFFIX : "");
    if (!manager_get(key, &kube_pods, key->namespace, name, on_pod))
        again(key);
}

bool manager_mark_existing(struct key *key, const struct json *pod)
{
    const struct json *sci = kube_store_get(key->manager->stores[WATCH_SCI], key->namespace, key->name);
    const char *uid = json_str_or(sci, "metadata.uid", "");

    for (int provider = 0; provider < 2; provider++) {
        char *asked_for = key->asked_for[provider];
        bool tried = strcmp(asked_for, uid) == 0;

        if (!pod_marks_fit(pod, sci, role_name(provider)))
            continue;
        text_copy(asked_for, sizeof(key->asked_for[0]), tried ? "" : uid);
        key->asked_provider = provider;
        if (!tried)
            mark(key, pod, sci);
        return !tried;
    }
    return false;
}

void manager_pod_unanswered(struct key *key, enum action_kind kind)
{
    if (kind != ACT_CONSUMER_CREATE && kind != ACT_PROVIDER_CREATE)
        return;
    key->unanswered[kind == ACT_PROVIDER_CREATE] = true;
    key->asked_for[kind == ACT_PROVIDER_CREATE][0] = '\0';
}

/* While it is to run, the next try to make it finds it. */
static bool is_to_run(const struct json *sc)
{
    return sc && !object_deleting(sc) && json_bool_or(sc, "spec.running", false);
}

static bool has_started(const struct json *pod)
{
    struct pod_facts f;

    pod_facts_read(pod, &f);
    return f.started;
}

/* May it be there? The provider when the status speaks of it, or the consumer has its root, until it was seen to end; the
 * consumer while the instance has a phase in which its processes run; and either when it may have been made
 * unanswered. */
static bool is_expected(const struct key *key, const struct observed *o, bool provider)
{
    const struct removed_pod *gone = provider ? &key->memory.provider : &key->memory.consumer;

    if (key->unanswered[provider] && !is_to_run(o->sc))
        return true;
    if (gone->known && gone->clean)
        return false;
    return provider ? json_str_or(o->sci, "status.rootfs.id", "")[0] || has_started(o->consumer)
                    : status_may_run(o->sci);
}

/* True: something was asked of the server, and the key is planned when it has answered. A pod that is seen, but not as
 * ours, needs no question. */
static bool missed(struct key *key, const struct observed *o, bool provider)
{
    const struct json *pod = provider ? o->provider : o->consumer;
    const char *role = role_name(provider);
    const char *uid = json_str_or(o->sci, "metadata.uid", "");
    char *asked_for = key->asked_for[provider];
    bool seen = pod_marks_fit(pod, o->sci, role);

    if (strcmp(asked_for, uid) == 0 || pod_marks_are_there(pod, o->sci, role) ||
            (!seen && !is_expected(key, o, provider)))
        return false;
    text_copy(asked_for, sizeof(key->asked_for[0]), uid);
    key->asked_provider = provider;
    if (seen)
        mark(key, pod, o->sci);
    else
        ask(key);
    return true;
}

bool manager_look_for_pods(struct key *key, const struct observed *o)
{
    if (!o->sci)
        return false;
    memory_set_instance(&key->memory, json_str_or(o->sci, "metadata.uid", ""));
    return missed(key, o, false) || missed(key, o, true);
}
