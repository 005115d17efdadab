/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the writes of a plan, one after the other, and asking what a plan must know first (is the namespace
 * terminating, is the node there). Each callback ends in exactly one of: the next action, manager_key_done.
 */
#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "common/names.h"
#include "controller/apply.h"
#include "controller/manager_internal.h"
#include "controller/text.h"

/* The back-off after two failures. */
#define TOLD_FROM (2 * USEC_PER_SEC)

static void next_action(struct key *key);

static void log_failure(const struct key *key, enum action_kind kind, const char *why)
{
    log_set_object(key->text);
    log_warn("cannot %s: %s", action_name(kind), why);
    log_set_object(NULL);
}

static enum watched store_of(enum action_kind kind)
{
    const struct kube_resource *resource = apply_resource(kind);

    if (resource == &kube_pods)
        return WATCH_POD;
    return resource == &kube_instances ? WATCH_SCI : WATCH_SC;
}

void manager_remember(struct manager *m, enum watched what, struct json *object)
{
    struct err err = ERR_INIT;

    if (kube_store_put(m->stores[what], object, &err) < 0)
        log_debug("an answer is left to the watch: %s", err_text(&err));
}

static void remember_answer(struct key *key, enum action_kind kind, struct json *object)
{
    manager_remember(key->manager, store_of(kind), object);
}

/* What the server said is told when it refuses the object, and when it goes on failing: a webhook that is down is a 500
 * for each create. */
static bool is_to_be_told(const struct key *key, enum action_kind kind, const struct kube_result *result)
{
    return result->http > 0 && !kube_unreached(result) &&
           key->memory.retry[kind].backoff.current >= TOLD_FROM;
}

static void record_failure(
        struct key *key, enum action_kind kind, const struct kube_result *result, bool refused)
{
    struct manager *m = key->manager;
    bool told = refused || is_to_be_told(key, kind, result);
    const struct json *sc = kube_store_get(m->stores[WATCH_SC], key->namespace, key->name);
    const struct failure failure = {
            .now = clock_monotonic(),
            .retry_after = result->retry_after,
            .unreached = kube_unreached(result),
            .generation = json_int_or(sc, "metadata.generation", 0),
            .reason = told ? (result->reason[0] ? result->reason : "Refused") : NULL,
            .message = told ? result->message : NULL,
    };

    memory_action_failed(&key->memory, kind, &failure);
    m->stats.failures++;
    log_failure(key, kind, result->message);
}

static void again_after_conflict(struct key *key)
{
    manager_key_done(key, usec_add(clock_monotonic(), backoff_next(&key->conflicts)));
}

/* Who has our name? A pod of ours was only not seen yet; another's is told, and left alone. */
static void on_existing(struct kube_result *result, void *user)
{
    struct key *key = user;
    enum action_kind kind = key->plan.actions[key->step].kind;
    const struct json *labels = json_at(result->object, "metadata.labels");
    const char *managed = json_string(json_field(labels, SC_LABEL_MANAGED_BY));
    _cleanup_buf_ struct buf text = BUF_INIT(ERR_TEXT_MAX);
    struct kube_result refusal = {.reason = "NameConflict"};

    key->call = NULL;
    if (result->code < 0 || (managed && strcmp(managed, SC_MANAGED_BY) == 0)) {
        if (result->code == 0)
            remember_answer(key, kind, take_ptr(result->object));
        again_after_conflict(key);
        return;
    }
    if (manager_mark_existing(key, result->object))
        return;
    buf_printf(&text, "a pod named %s exists and is controlled by ", key->plan.actions[key->step].name);
    object_owner_words(result->object, &text);
    buf_puts(&text, ": it is neither adopted nor deleted");
    refusal.message = buf_str(&text);
    record_failure(key, kind, &refusal, true);
    manager_key_done(key, 0);
}

bool manager_get(struct key *key, const struct kube_resource *resource, const char *namespace,
        const char *name, kube_done_fn done)
{
    const struct kube_request request = {
            .verb = KUBE_GET,
            .resource = resource,
            .namespace = namespace,
            .name = name,
            .done = done,
            .user = key,
    };
    struct err err = ERR_INIT;

    if (kube_request_start(key->manager->client, &request, &key->call, &err) == 0)
        return true;
    log_warn("cannot ask the API server: %s", err_text(&err));
    return false;
}

static void look_at_existing(struct key *key, const struct action *a)
{
    if (apply_resource(a->kind) != &kube_pods ||
            !manager_get(key, &kube_pods, a->namespace, a->name, on_existing))
        again_after_conflict(key);
}

static void action_made(struct key *key, struct action *a, struct kube_result *result)
{
    struct manager *m = key->manager;

    m->stats.actions[a->kind]++;
    memory_action_done(&key->memory, a->kind);
    if (a->kind != ACT_EVENT) /* it never meets a conflict, and comes again with what does */
        backoff_reset(&key->conflicts);
    if (a->uid[0])
        text_copy(key->memory.write_sent[a->kind], sizeof(key->memory.write_sent[a->kind]), a->uid);
    if (apply_answers_object(a->kind) && result->object)
        remember_answer(key, a->kind, take_ptr(result->object));
    log_set_object(key->text);
    log_debug("made: %s", action_name(a->kind));
    log_set_object(NULL);
    key->changed = key->changed || a->kind != ACT_EVENT;
}

static void on_answer(struct kube_result *result, void *user)
{
    struct key *key = user;
    struct action *a = &key->plan.actions[key->step];

    key->call = NULL;
    switch (apply_outcome(a->kind, result)) {
    case APPLY_DONE:
        action_made(key, a, result);
        break;
    case APPLY_EXISTS:
        look_at_existing(key, a);
        return;
    case APPLY_CONFLICT:
        if (a->kind == ACT_SC_STATUS)
            memory_not_told(&key->memory);
        again_after_conflict(key);
        return;
    case APPLY_TERMINATING:
        key->memory.namespace = NAMESPACE_TERMINATING;
        key->memory.namespace_at = clock_monotonic();
        manager_key_done(key, 0);
        return;
    case APPLY_REFUSED:
    case APPLY_FAILED:
    default:
        if (a->kind == ACT_EVENT) { /* an event may be lost */
            log_failure(key, a->kind, result->message);
            break;
        }
        record_failure(key, a->kind, result, apply_outcome(a->kind, result) == APPLY_REFUSED);
        if (apply_outcome(a->kind, result) == APPLY_FAILED)
            manager_pod_unanswered(key, a->kind);
        manager_key_done(key, 0);
        return;
    }
    key->step++;
    next_action(key);
}

static void next_action(struct key *key)
{
    struct manager *m = key->manager;
    struct kube_request request;
    struct err err = ERR_INIT;

    if (key->step >= key->plan.n || m->stopping) {
        manager_key_done(key, key->changed ? 0 : key->plan.requeue_at);
        return;
    }
    request = apply_request(&key->plan.actions[key->step]);
    request.done = on_answer;
    request.user = key;
    if (kube_request_start(m->client, &request, &key->call, &err) < 0) {
        log_failure(key, key->plan.actions[key->step].kind, err_text(&err));
        again_after_conflict(key);
    }
}

void manager_run_plan(struct key *key)
{
    next_action(key);
}

static void on_namespace(struct kube_result *result, void *user)
{
    struct key *key = user;
    struct key_memory *m = &key->memory;

    key->call = NULL;
    if (result->code < 0 && result->code != -ENOENT) {
        log_warn("cannot look at namespace %s: %s", key->namespace, result->message);
        again_after_conflict(key);
        return;
    }
    m->namespace = result->code == -ENOENT || object_deleting(result->object) ? NAMESPACE_TERMINATING
                                                                              : NAMESPACE_ACTIVE;
    m->namespace_at = clock_monotonic();
    manager_key_done(key, 0);
}

static enum node_state node_state(const struct json *node)
{
    json_for_each (taint, json_at(node, "spec.taints"))
        if (strcmp(json_str_or(taint, "key", ""), SC_TAINT_OUT_OF_SERVICE) == 0)
            return NODE_GONE;
    json_for_each (condition, json_at(node, "status.conditions"))
        if (strcmp(json_str_or(condition, "type", ""), "Ready") == 0)
            return strcmp(json_str_or(condition, "status", ""), "True") == 0 ? NODE_READY : NODE_NOT_READY;
    return NODE_NOT_READY;
}

static void on_node(struct kube_result *result, void *user)
{
    struct key *key = user;

    key->call = NULL;
    if (result->code < 0 && result->code != -ENOENT) {
        log_warn("cannot look at node %s: %s", key->plan.ask_node, result->message);
        again_after_conflict(key);
        return;
    }
    memory_node_answered(&key->memory, result->code == -ENOENT ? NODE_GONE : node_state(result->object),
            clock_monotonic());
    manager_key_done(key, 0);
}

void manager_ask(struct key *key)
{
    bool asked = key->plan.ask_namespace
                         ? manager_get(key, &kube_namespaces, NULL, key->namespace, on_namespace)
                         : manager_get(key, &kube_nodes, NULL, key->plan.ask_node, on_node);

    if (!asked)
        again_after_conflict(key);
}

static void on_spec(struct kube_result *result, void *user)
{
    struct key *key = user;

    key->call = NULL;
    if (result->code < 0) { /* one that is not there any more will be seen to go */
        log_warn("cannot look at StoppableContainer %s: %s", key->text, result->message);
        if (result->code != -ENOENT)
            key->spec_asked = 0;
        again_after_conflict(key);
        return;
    }
    text_copy(key->confirmed, sizeof(key->confirmed),
            json_str_or(result->object, "metadata.resourceVersion", ""));
    remember_answer(key, ACT_SC_STATUS, take_ptr(result->object));
    manager_key_done(key, 0);
}

void manager_ask_spec(struct key *key, int64_t generation)
{
    key->spec_asked = generation;
    if (!manager_get(key, &kube_stoppablecontainers, key->namespace, key->name, on_spec)) {
        key->spec_asked = 0;
        again_after_conflict(key);
    }
}
