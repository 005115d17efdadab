/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written into the two status objects, and when: a create takes 8 writes to all objects, a stop or
 * a start 5, and none is made while nothing changes (the goals; test/bench counts).
 *
 *   on the way      (verdict.progress) is written only when it lasts: 2 s in the SC, 10 s in the SCI
 *   words only      same phase, same spec: at once the first time, then with a growing distance, so that a
 *                   text that keeps changing while nothing moves makes no stream of writes
 *   the rest        at once; likewise what must survive us (the root's id, the node, the nodes excluded)
 */
#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/status.h"
#include "controller/text.h"

#define SC_PATIENCE (2 * USEC_PER_SEC)
#define SCI_PATIENCE (10 * USEC_PER_SEC)
#define NOTES_FORGOTTEN (600 * USEC_PER_SEC) /* after that long without a change, one is news again */

static int64_t generation(const struct view *v)
{
    return json_int_or(v->o->sc, "metadata.generation", 0);
}

/* generation: of the object that carries the condition, 0: the condition does not say */
static int set_opinion_at(const struct view *v, struct json *status, const char *type,
        const struct opinion *o, int64_t at_generation)
{
    const struct condition c = {
            .type = type,
            .status = o->status,
            .reason = o->reason,
            .message = o->message,
            .generation = at_generation,
    };

    return o->status ? status_set_condition(status, &c, v->o->realtime) : 0;
}

static int set_opinion(const struct view *v, struct json *status, const char *type, const struct opinion *o)
{
    return set_opinion_at(v, status, type, o, generation(v));
}

static int set_sci_opinion(const struct view *v, const char *type, const struct opinion *o)
{
    return set_opinion_at(v, v->sci_status, type, o, 0);
}

static int set_last_run(const struct view *v, struct json *status)
{
    struct last_run run = v->m->consumer.run;
    struct json *to;
    char text[CLOCK_TEXT_MAX];
    int bad = 0;

    if (v->consumer.exists && v->consumer.terminal)
        last_run_read(&v->consumer, &run);
    else if (v->consumer.exists || !v->m->consumer.known)
        return 0;
    if (!run.started_at)
        return 0;
    json_remove(status, "lastRun");
    to = json_ensure_object(status, "lastRun");
    clock_format_time(run.started_at, text);
    bad |= json_set_str(to, "startedAt", text);
    if (run.finished_at) {
        clock_format_time(run.finished_at, text);
        bad |= json_set_str(to, "finishedAt", text);
    }
    if (run.has_exit)
        bad |= json_set_int(to, "exitCode", run.exit_code);
    if (run.reason[0])
        bad |= json_set_str(to, "reason", run.reason);
    if (run.message[0])
        bad |= json_set_str(to, "message", run.message);
    return bad;
}

/* One that is there only sometimes. */
static int set_or_remove_opinion(
        const struct view *v, struct json *status, const char *type, const struct opinion *o)
{
    if (o->status)
        return set_opinion(v, status, type, o);
    status_remove_condition(status, type);
    return 0;
}

static int set_template_conditions(const struct view *v, struct json *status)
{
    struct opinion restart = {0}, honored = {0};
    int r = plan_opine_template(v, &restart, &honored);

    if (r == 0)
        r = set_opinion(v, status, SC_COND_RESTART_REQUIRED, &restart);
    return r < 0 ? r : set_opinion(v, status, SC_COND_HONORED, &honored);
}

static int set_or_remove(struct json *object, const char *name, const char *text)
{
    if (!text || !text[0]) {
        json_remove(object, name);
        return 0;
    }
    return json_set_str(object, name, text);
}

/* What both have in common. */
static int set_places(const struct view *v, struct json *status)
{
    char provider[SC_NAME_MAX + sizeof(SC_PROVIDER_SUFFIX)], path[128];
    const char *node = json_str(v->sci_status, "nodeName");
    bool rooted = json_at(v->sci_status, "rootfs.id") != NULL;
    int bad = 0;

    snprintf(provider, sizeof(provider), "%s" SC_PROVIDER_SUFFIX, v->o->name);
    snprintf(path, sizeof(path), SC_STATE_DIR "/" SC_INSTANCES_DIR "/%s", v->uid);
    bad |= set_or_remove(status, "providerPodName", v->provider.exists ? provider : NULL);
    bad |= set_or_remove(status, "consumerPodName", v->consumer.exists ? v->o->name : NULL);
    bad |= set_or_remove(status, "nodeName", node);
    bad |= set_or_remove(status, "hostPath", rooted ? path : NULL);
    return bad;
}

static int new_sc_status(const struct view *v, struct json **ret)
{
    const struct json *old = json_at(v->o->sc, "status");
    const struct json *root = json_field(v->sci_status, "rootfs");
    const char *image = json_str(v->template.spec, "containers[0].image");
    _cleanup_json_ struct json *s = old ? json_copy(old) : json_new_object();
    int bad = !s;

    bad |= json_set_str(s, "phase", v->verdict.phase);
    bad |= json_set_int(s, "observedGeneration", generation(v));
    bad |= set_or_remove(s, "instanceName", v->o->sci ? v->o->name : NULL);
    bad |= set_places(v, s);
    if (root)
        bad |= json_set(s, "rootfs", json_copy(root));
    else
        json_remove(s, "rootfs");
    if (v->o->sci)
        bad |= json_set_str(s, "resetToken", json_str(v->o->sci, "spec.resetToken"));
    bad |= json_set_str(s, "image", image);
    bad |= set_last_run(v, s);
    bad |= set_opinion(v, s, SC_COND_READY, &v->verdict.ready);
    bad |= set_opinion(v, s, SC_COND_SCHEDULED, &v->verdict.scheduled);
    bad |= set_opinion(v, s, SC_COND_ROOTFS_INTACT, &v->verdict.intact);
    bad |= set_or_remove_opinion(v, s, SC_COND_WITHIN_LIMIT, &v->verdict.limit);
    bad |= set_template_conditions(v, s);
    if (bad)
        return -ENOMEM;
    *ret = take_ptr(s);
    return 0;
}

static int add_status(
        struct view *v, enum action_kind kind, const struct json *object, const struct json *status)
{
    _cleanup_json_ struct json *body = json_new_object();
    struct json *metadata = body ? json_ensure_object(body, "metadata") : NULL;
    int bad = !metadata;

    bad |= json_set_str(metadata, "resourceVersion", json_str(object, "metadata.resourceVersion"));
    bad |= json_set(body, "status", status_merge_patch(json_field(object, "status"), status));
    return bad ? -ENOMEM : plan_add(v, kind, v->o->name, take_ptr(body));
}

/* Has what is held back lasted long enough? */
static bool held_long_enough(struct view *v, struct hold *hold, usec_t patience)
{
    if (!hold->since)
        hold->since = v->o->now;
    if (v->o->now >= usec_add(hold->since, patience))
        return true;
    plan_requeue(v, usec_add(hold->since, patience));
    return false;
}

static bool newly_false(const struct json *old, const struct json *new, const char *type)
{
    const char *was = json_str_or(status_condition(old, type), "status", "");
    const char *is = json_str_or(status_condition(new, type), "status", "");

    return strcmp(is, "False") == 0 && strcmp(was, "False") != 0;
}

static bool sc_status_is_due(struct view *v, const struct json *old, const struct json *new)
{
    struct key_memory *m = v->m;
    bool words_only =
            strcmp(json_str_or(old, "phase", ""), json_str_or(new, "phase", "")) == 0 &&
            json_int_or(old, "observedGeneration", 0) == json_int_or(new, "observedGeneration", 0) &&
            !newly_false(old, new, SC_COND_ROOTFS_INTACT);

    if (v->verdict.progress && !held_long_enough(v, &m->sc_hold, SC_PATIENCE))
        return false;
    if (m->note_at && v->o->now > usec_add(m->note_at, NOTES_FORGOTTEN))
        backoff_reset(&m->notes);
    if (!words_only) {
        backoff_reset(&m->notes);
        m->note_at = 0;
    } else if (v->o->now < m->note_at) {
        plan_requeue(v, m->note_at);
        return false;
    } else {
        m->note_at = usec_add(v->o->now, backoff_next(&m->notes));
    }
    return plan_may(v, ACT_SC_STATUS);
}

static bool reason_is_new(const struct json *old, const char *type, const struct opinion *o)
{
    const struct json *condition = status_condition(old, type);

    return strcmp(json_str_or(condition, "reason", ""), o->reason) != 0 ||
           strcmp(json_str_or(condition, "status", ""), o->status) != 0;
}

/* What an edit of the template will not do, when that is new. */
static struct plan_event event_of_edit(const struct json *old, const struct json *new)
{
    const struct json *was = status_condition(old, SC_COND_HONORED),
                      *is = status_condition(new, SC_COND_HONORED);
    const char *reason = json_str_or(is, "reason", "");

    if (!plan_is_edit(reason) || strcmp(json_str_or(was, "message", ""), json_str_or(is, "message", "")) == 0)
        return (struct plan_event){0};
    return (struct plan_event){true, reason, json_str(is, "message")};
}

/* Persistence Node: what will keep the next start, while a consumer still runs and Ready says so. */
static bool refused_while_in_use(const struct verdict *d, const struct json *old)
{
    const struct json *was = status_condition(old, SC_COND_ROOTFS_INTACT);

    return d->intact.status && was && strcmp(d->intact.reason, INTACT_KEPT) != 0 &&
           strcmp(d->intact.reason, INTACT_HELD) != 0 &&
           reason_is_new(old, SC_COND_ROOTFS_INTACT, &d->intact);
}

/* The change that this write makes, as an event; reason NULL when it is none that a person wants to see. */
static struct plan_event event_of_change(struct view *v, const struct json *old, const struct json *new)
{
    const struct verdict *d = &v->verdict;
    const char *was = json_str_or(old, "phase", "");
    bool other_phase = strcmp(was, d->phase) != 0;
    bool lost = d->intact.status && strcmp(d->intact.status, "False") == 0;

    if (lost && reason_is_new(old, SC_COND_ROOTFS_INTACT, &d->intact))
        return (struct plan_event){true, "RootfsLost", d->intact.message};
    if (other_phase && strcmp(d->phase, SC_PHASE_RUNNING) == 0) {
        v->m->warned[0] = '\0';
        if (!d->problem) /* a hook that failed, say, is told below and in its own words */
            return (struct plan_event){false, "Started", d->ready.message};
    }
    if (other_phase && was[0] && strcmp(d->phase, SC_PHASE_STOPPED) == 0)
        return (struct plan_event){false, "Stopped", d->ready.message};
    if (other_phase && strcmp(d->phase, SC_PHASE_SUCCEEDED) == 0)
        return (struct plan_event){false, "Completed", d->ready.message};
    if (d->problem && d->ready.status && reason_is_new(old, SC_COND_READY, &d->ready) &&
            strcmp(v->m->warned, d->ready.reason) != 0) {
        text_copy(v->m->warned, sizeof(v->m->warned), d->ready.reason);
        return (struct plan_event){true, d->ready.reason, d->ready.message};
    }
    if (refused_while_in_use(d, old) && strcmp(v->m->warned, d->intact.reason) != 0) {
        text_copy(v->m->warned, sizeof(v->m->warned), d->intact.reason);
        return (struct plan_event){true, d->intact.reason, d->intact.message};
    }
    return event_of_edit(old, new);
}

/* A limit that is not held, or passed, or kept again. */
static int tell_limit(struct view *v, const struct json *old)
{
    const struct opinion *o = &v->verdict.limit;
    bool again = status_condition(old, SC_COND_WITHIN_LIMIT) != NULL;

    if (!o->status || !reason_is_new(old, SC_COND_WITHIN_LIMIT, o))
        return 0;
    return plan_event(v, &(struct plan_event){.warning = !again || strcmp(o->status, "True") != 0,
                                 .reason = o->reason,
                                 .message = o->message});
}

/* A root counts from when its provider has run: RootfsIntact says so. From Unknown it comes back. */
static bool root_is_new(const struct json *old, const struct json *new)
{
    const char *was = json_str_or(status_condition(old, SC_COND_ROOTFS_INTACT), "status", "");
    const char *is = json_str_or(status_condition(new, SC_COND_ROOTFS_INTACT), "status", "");

    return strcmp(is, "True") == 0 &&
           ((strcmp(was, "True") != 0 && strcmp(was, "Unknown") != 0) ||
                   strcmp(json_str_or(old, "rootfs.id", ""), json_str_or(new, "rootfs.id", "")) != 0);
}

/* Tells of a new root once, in one event with its start where that is the same write. */
static int tell_change(struct view *v, const struct json *old, const struct json *new)
{
    struct plan_event event = event_of_change(v, old, new);
    char text[VERDICT_TEXT_MAX];
    int r = 0;

    if (root_is_new(old, new)) {
        bool started = event.reason && strcmp(event.reason, "Started") == 0;

        snprintf(text, sizeof(text), "created the root filesystem from %s%s%s",
                json_str_or(new, "image", "the template's image"), started ? "; " : "",
                started ? event.message : "");
        r = plan_event(v, &(struct plan_event){.reason = "Created", .message = text});
        if (started)
            return r;
    }
    return r < 0 || !event.reason ? r : plan_event(v, &event);
}

static int sc_status(struct view *v)
{
    const struct json *old = json_field(v->o->sc, "status");
    _cleanup_json_ struct json *new = NULL;
    int r = new_sc_status(v, &new);

    if (r < 0)
        return r;
    if (json_equal(old, new)) {
        v->m->sc_hold.since = 0;
        return 0;
    }
    if (!sc_status_is_due(v, old, new))
        return 0;
    r = add_status(v, ACT_SC_STATUS, v->o->sc, new);
    if (r < 0 || object_deleting(v->o->sc))
        return r;
    r = tell_limit(v, old);
    return r < 0 ? r : tell_change(v, old, new);
}

/* What a restarted controller could not find out again. */
static bool durable_part_differs(const struct json *old, const struct json *new)
{
    static const char *const fields[] = {"rootfs", "nodeName", "excludedNodes", "allNodesTried"};

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct json *a = json_field(old, fields[i]), *b = json_field(new, fields[i]);

        if (a != b && !json_equal(a, b))
            return true;
    }
    const struct json *was = status_condition(old, SC_COND_WITHIN_LIMIT),
                      *is = status_condition(new, SC_COND_WITHIN_LIMIT);

    if (was != is && !json_equal(was, is))
        return true;
    return newly_false(old, new, SC_COND_ROOTFS_INTACT) || newly_false(old, new, SCI_COND_NODE_CLEAN);
}

static int sci_status(struct view *v)
{
    const struct json *old = json_field(v->o->sci, "status");
    struct json *new = v->sci_status;
    int bad = 0;

    bad |= json_set_str(new, "phase", v->verdict.sci_phase);
    bad |= set_places(v, new);
    bad |= set_sci_opinion(v, SC_COND_ROOTFS_INTACT, &v->verdict.intact);
    bad |= set_sci_opinion(v, SC_COND_WITHIN_LIMIT, &v->verdict.limit);
    if (v->m->unclean)
        opine(&v->verdict.clean, "False", "RemovedUnseen",
                "a pod went without being seen to end: the node is asked before the instance is released");
    bad |= set_sci_opinion(v, SCI_COND_NODE_CLEAN, &v->verdict.clean);
    if (bad)
        return -ENOMEM;
    if (old ? json_equal(old, new) : json_len(new) == 0) {
        v->m->sci_hold.since = 0;
        return 0;
    }
    if (!durable_part_differs(old, new) && v->verdict.progress &&
            !held_long_enough(v, &v->m->sci_hold, SCI_PATIENCE))
        return 0;
    if (!plan_may(v, ACT_SCI_STATUS))
        return 0;
    if (set_sci_opinion(v, SC_COND_READY, &v->verdict.ready) < 0)
        return -ENOMEM;
    return add_status(v, ACT_SCI_STATUS, v->o->sci, new);
}

int plan_status(struct view *v)
{
    int r = v->o->sc ? sc_status(v) : 0;

    if (r == 0 && v->o->sci && v->verdict.sci_phase)
        r = sci_status(v);
    return r;
}
