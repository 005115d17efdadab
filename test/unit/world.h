/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster on a table, for the tests of the controller's decisions: one StoppableContainer, what belongs to
 * it, and an API server, scheduler and kubelet that do what a test says. Everything that a plan writes is
 * applied and counted.
 */
#pragma once

#include <criterion/criterion.h>
#include <string.h>

#include "common/names.h"
#include "controller/plan.h"

#define WORLD_EPOCH (1800000000 * USEC_PER_SEC)

struct world {
    struct json *sc, *sci, *consumer, *provider, *reclaim;
    struct key_memory memory;
    struct plan_config config;
    usec_t now; /* monotonic; wall time is WORLD_EPOCH + now */
    usec_t requeue_at;
    int serial; /* uids and resource versions */
    int writes;
    int made[ACT_KINDS];
    char events[2048]; /* reasons, each followed by a space */
    enum namespace_state namespace;
    enum node_state node;
    enum action_kind refuse; /* this kind of action is refused, ACT_KINDS: none */
    const char *refusal;
    bool asked_namespace, asked_node;
};

/* JSON with single quotes. */
static inline struct json *lit(const char *text)
{
    char *copy = strdup(text);
    struct json *root = NULL;
    struct err err = ERR_INIT;

    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    cr_assert_eq(json_parse(copy, strlen(copy), &root, &err), 0, "%s in %s", err_text(&err), text);
    free(copy);
    return root;
}

static inline void merge(struct json *to, const struct json *patch)
{
    json_for_each (value, patch) {
        struct json *old = json_field(to, json_key(value));

        if (json_is_null(value))
            json_remove(to, json_key(value));
        else if (json_is_object(value))
            merge(json_is_object(old) ? old : json_ensure_object(to, json_key(value)), value);
        else
            json_set(to, json_key(value), json_copy(value));
    }
}

static inline void stamp(struct world *w, struct json *object, const char *path)
{
    char text[CLOCK_TEXT_MAX];

    clock_format_time(WORLD_EPOCH + w->now, text);
    json_set_str(object, path, text);
}

static inline void touch(struct world *w, struct json *object)
{
    char text[32];

    snprintf(text, sizeof(text), "%d", ++w->serial);
    json_set_str(json_field(object, "metadata"), "resourceVersion", text);
}

static inline void admit(struct world *w, struct json *object)
{
    struct json *metadata = json_field(object, "metadata");
    char text[64];

    snprintf(text, sizeof(text), "uid-%d", ++w->serial);
    json_set_str(metadata, "uid", text);
    json_set_int(metadata, "generation", 1);
    stamp(w, metadata, "creationTimestamp");
    touch(w, object);
    if (strcmp(json_str_or(object, "kind", ""), "Pod") != 0)
        return;
    json_set_str(json_ensure_object(object, "status"), "phase", "Pending");
    json_for_each (container, json_at(object, "spec.containers"))
        if (!json_field(container, "imagePullPolicy"))
            json_set_str(container, "imagePullPolicy", "IfNotPresent");
}

/* spec is the whole spec of the SC. */
static inline void world_init(struct world *w, const char *spec)
{
    *w = (struct world){
            .config = {.rules = {.runtime_classes = "runc-alias"},
                    .namespace = "system",
                    .reclaim_image = "sc:1",
                    .host = "test"},
            .now = 1000 * USEC_PER_SEC,
            .namespace = NAMESPACE_ACTIVE,
            .node = NODE_READY,
            .refuse = ACT_KINDS,
    };
    memory_init(&w->memory);
    w->sc = lit("{'apiVersion':'" SC_API_VERSION "','kind':'" SC_KIND
                "','metadata':{'name':'box','namespace':'ns'}}");
    json_set(w->sc, "spec", lit(spec));
    admit(w, w->sc);
}

static inline void world_free(struct world *w)
{
    struct json **all[] = {&w->sc, &w->sci, &w->consumer, &w->provider, &w->reclaim};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        *all[i] = json_free(*all[i]);
    memory_free(&w->memory);
}

/* The controller starts anew. */
static inline void world_restart(struct world *w)
{
    memory_free(&w->memory);
    memory_init(&w->memory);
}

static inline void world_spec(struct world *w, const char *patch)
{
    struct json *p = lit(patch);

    merge(json_field(w->sc, "spec"), p);
    json_free(p);
    json_set_int(
            json_field(w->sc, "metadata"), "generation", json_int_or(w->sc, "metadata.generation", 0) + 1);
    touch(w, w->sc);
}

/* The object disappears; the controller sees it go, if it runs. */
static inline void pod_gone(struct world *w, struct json **pod, bool seen)
{
    if (seen && pod != &w->reclaim && w->sci) {
        memory_set_instance(&w->memory, json_str(w->sci, "metadata.uid"));
        memory_pod_removed(&w->memory, pod == &w->provider, *pod);
    }
    *pod = json_free(*pod);
}

static inline void pod_status(struct world *w, struct json *pod, const char *status)
{
    struct json *s = lit(status);

    merge(json_ensure_object(pod, "status"), s);
    json_free(s);
    touch(w, pod);
}

static inline void pod_placed(struct world *w, struct json *pod, const char *node)
{
    struct json *condition = lit("{'type':'PodScheduled','status':'True'}");

    stamp(w, condition, "lastTransitionTime");
    json_set_str(json_field(pod, "spec"), "nodeName", node);
    json_set(json_field(pod, "status"), "conditions", json_new_array());
    json_append(json_at(pod, "status.conditions"), condition);
    touch(w, pod);
}

static inline void pod_runs(struct world *w, struct json *pod)
{
    struct json *statuses = json_new_array();

    json_for_each (container, json_at(pod, "spec.containers")) {
        struct json *status = lit("{'imageID':'docker.io/library/x@sha256:abc','state':{'running':{}}}");

        json_set_str(status, "name", json_str(container, "name"));
        stamp(w, json_at(status, "state.running"), "startedAt");
        json_append(statuses, status);
    }
    json_set(json_field(pod, "status"), "containerStatuses", statuses);
    json_append(json_at(pod, "status.conditions"), lit("{'type':'Ready','status':'True'}"));
    pod_status(w, pod, "{'phase':'Running'}");
}

/* Every container ends with that code. */
static inline void pod_ends(struct world *w, struct json *pod, int code)
{
    struct json *statuses = json_new_array();

    json_for_each (container, json_at(pod, "spec.containers")) {
        struct json *status = lit("{'state':{'terminated':{'reason':'Error'}}}");
        struct json *ended = json_at(status, "state.terminated");

        json_set_str(status, "name", json_str(container, "name"));
        json_set_int(ended, "exitCode", code);
        stamp(w, ended, "startedAt");
        stamp(w, ended, "finishedAt");
        json_append(statuses, status);
    }
    json_set(json_field(pod, "status"), "containerStatuses", statuses);
    pod_status(w, pod, code ? "{'phase':'Failed'}" : "{'phase':'Succeeded'}");
}

/* What the kubelet does with a pod that is being deleted: ends it, says so, drops the object. Of a container
 * that never ran it says ContainerStatusUnknown. */
static inline void pod_finishes(struct world *w, struct json **pod)
{
    cr_assert(*pod && json_str(*pod, "metadata.deletionTimestamp"), "this pod is not being deleted");
    if (strcmp(json_str_or(*pod, "status.phase", ""), "Running") == 0)
        pod_ends(w, *pod, 0);
    else
        pod_status(w, *pod,
                "{'phase':'Failed','containerStatuses':[{'name':'main','state':{'terminated':{'reason':"
                "'ContainerStatusUnknown','exitCode':137}}}]}");
    pod_gone(w, pod, true);
}

static inline void delete_pod(struct world *w, struct json **pod)
{
    const char *phase = json_str_or(*pod, "status.phase", "");

    if (!json_str(*pod, "spec.nodeName") || strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0) {
        pod_gone(w, pod, true);
        return;
    }
    stamp(w, json_field(*pod, "metadata"), "deletionTimestamp");
    touch(w, *pod);
}

static inline void delete_object(struct world *w, struct json **object)
{
    if (json_len(json_at(*object, "metadata.finalizers")) == 0) {
        *object = json_free(*object);
        return;
    }
    stamp(w, json_field(*object, "metadata"), "deletionTimestamp");
    touch(w, *object);
}

static inline void release_object(struct json **object)
{
    if (json_str(*object, "metadata.deletionTimestamp") &&
            json_len(json_at(*object, "metadata.finalizers")) == 0)
        *object = json_free(*object);
}

static inline struct json **target(struct world *w, enum action_kind kind)
{
    switch (kind) {
    case ACT_SC_FINALIZER:
    case ACT_SC_STATUS:
    case ACT_SC_RELEASE:
        return &w->sc;
    case ACT_SCI_CREATE:
    case ACT_SCI_STATUS:
    case ACT_SCI_DELETE:
    case ACT_SCI_RELEASE:
        return &w->sci;
    case ACT_CONSUMER_CREATE:
    case ACT_CONSUMER_DELETE:
        return &w->consumer;
    case ACT_PROVIDER_CREATE:
    case ACT_PROVIDER_RESIZE:
    case ACT_PROVIDER_DELETE:
        return &w->provider;
    case ACT_RECLAIM_CREATE:
    case ACT_RECLAIM_DELETE:
        return &w->reclaim;
    case ACT_EVENT:
    case ACT_KINDS:
    default:
        return NULL;
    }
}

static inline void apply(struct world *w, struct action *a)
{
    struct json **object = target(w, a->kind);

    switch (a->kind) {
    case ACT_EVENT:
        strcat(w->events, json_str_or(a->body, "reason", "?"));
        strcat(w->events, " ");
        break;
    case ACT_SCI_CREATE:
    case ACT_CONSUMER_CREATE:
    case ACT_PROVIDER_CREATE:
    case ACT_RECLAIM_CREATE:
        cr_assert_null(*object, "%s: it exists already", action_name(a->kind));
        *object = take_ptr(a->body);
        admit(w, *object);
        break;
    case ACT_PROVIDER_RESIZE: /* of a container, the server takes the resources and nothing else */
        cr_assert_str_eq(json_str(a->body, "metadata.uid"), json_str(*object, "metadata.uid"));
        strcpy(w->memory.write_sent[a->kind], a->uid);
        for (size_t i = 0; i < json_len(json_at(*object, "spec.containers")); i++)
            json_set(json_index(json_at(*object, "spec.containers"), i), "resources",
                    json_copy(json_field(json_index(json_at(a->body, "spec.containers"), i), "resources")));
        touch(w, *object);
        break;
    case ACT_SCI_DELETE:
        cr_assert_str_eq(a->uid, json_str(*object, "metadata.uid"));
        cr_assert_str_eq(a->version, json_str(*object, "metadata.resourceVersion"));
        delete_object(w, object);
        break;
    case ACT_CONSUMER_DELETE:
    case ACT_PROVIDER_DELETE:
    case ACT_RECLAIM_DELETE:
        cr_assert_str_eq(a->uid, json_str(*object, "metadata.uid"));
        strcpy(w->memory.write_sent[a->kind], a->uid);
        delete_pod(w, object);
        return;
    case ACT_SC_FINALIZER:
    case ACT_SC_STATUS:
    case ACT_SCI_STATUS:
    case ACT_SCI_RELEASE:
    case ACT_SC_RELEASE:
    case ACT_KINDS:
    default:
        cr_assert_str_eq(json_str_or(a->body, "metadata.resourceVersion", ""),
                json_str(*object, "metadata.resourceVersion"), "%s: decided on an old state",
                action_name(a->kind));
        merge(*object, a->body);
        touch(w, *object);
        if (a->kind == ACT_SCI_RELEASE || a->kind == ACT_SC_RELEASE)
            release_object(object);
        break;
    }
    memory_action_done(&w->memory, a->kind);
}

/* One plan, with its writes; returns whether anything was written or asked. */
static inline bool world_turn(struct world *w)
{
    const struct observed o = {
            .namespace = "ns",
            .name = "box",
            .sc = w->sc,
            .sci = w->sci,
            .consumer = w->consumer,
            .provider = w->provider,
            .reclaim = w->reclaim,
            .now = w->now,
            .realtime = WORLD_EPOCH + w->now,
    };
    struct plan p = PLAN_INIT;
    bool did;

    cr_assert_eq(plan_make(&o, &w->config, &w->memory, &p), 0);
    did = p.n > 0 || p.ask_namespace || p.ask_node[0];
    if (p.ask_namespace) {
        w->asked_namespace = true;
        w->memory.namespace = w->namespace;
        w->memory.namespace_at = w->now;
    }
    if (p.ask_node[0]) {
        w->asked_node = true;
        memory_node_answered(&w->memory, w->node, w->now);
    }
    for (size_t i = 0; i < p.n && !p.ask_namespace && !p.ask_node[0]; i++) {
        w->writes++;
        if (p.actions[i].kind == w->refuse) {
            const struct failure f = {.now = w->now,
                    .generation = json_int_or(w->sc, "metadata.generation", 0),
                    .reason = "Forbidden",
                    .message = w->refusal};

            memory_action_failed(&w->memory, w->refuse, &f);
            break;
        }
        w->made[p.actions[i].kind]++;
        apply(w, &p.actions[i]);
    }
    w->requeue_at = p.requeue_at;
    plan_free(&p);
    return did;
}

/* Until nothing more is to be done now. */
static inline void world_settle(struct world *w)
{
    for (int i = 0; world_turn(w); i++)
        cr_assert_lt(i, 50, "the controller does not come to rest");
}

/* Time passes, with the controller's own timers. */
static inline void world_wait(struct world *w, usec_t duration)
{
    usec_t end = w->now + duration;

    world_settle(w);
    while (w->requeue_at <= end) {
        w->now = w->requeue_at > w->now ? w->requeue_at : w->now;
        world_settle(w);
        cr_assert(w->requeue_at > w->now, "a timer that fires at once, for ever");
    }
    w->now = end;
    world_settle(w);
}

static inline const char *phase(const struct world *w)
{
    return json_str_or(w->sc, "status.phase", "");
}

static inline const struct json *condition_of(const struct json *object, const char *type)
{
    json_for_each (c, json_at(object, "status.conditions"))
        if (strcmp(json_str_or(c, "type", ""), type) == 0)
            return c;
    return NULL;
}

static inline const char *condition_text(const struct json *object, const char *type, const char *field)
{
    return json_str_or(condition_of(object, type), field, "");
}

/* From nothing to Running, by the usual way. */
static inline void world_run(struct world *w)
{
    world_settle(w);
    cr_assert_not_null(w->consumer, "no consumer was made");
    pod_placed(w, w->consumer, "node-a");
    world_settle(w);
    cr_assert_not_null(w->provider, "no provider was made");
    pod_placed(w, w->provider, "node-a");
    world_settle(w);
    pod_runs(w, w->provider);
    world_settle(w);
    pod_runs(w, w->consumer);
    world_settle(w);
    cr_assert_str_eq(phase(w), "Running");
}
