/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting writes into a plan. An action that failed is held back until its back-off has passed, or the SC's
 * spec has changed; a deletion that was asked for is not asked for again while the object is on its way.
 */
#include <string.h>

#include "common/kube/event.h"
#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/text.h"

#define NAMESPACE_ASK_AGAIN (60 * USEC_PER_SEC)

const char *action_name(enum action_kind kind)
{
    static const char *const names[ACT_KINDS] = {
            [ACT_SC_FINALIZER] = "add the finalizer",
            [ACT_SCI_CREATE] = "create the instance",
            [ACT_CONSUMER_CREATE] = "create the consumer pod",
            [ACT_PROVIDER_CREATE] = "create the provider pod",
            [ACT_PROVIDER_RESIZE] = "resize the provider pod",
            [ACT_RECLAIM_CREATE] = "create the reclaim pod",
            [ACT_SC_STATUS] = "write the status",
            [ACT_SCI_STATUS] = "write the instance's status",
            [ACT_EVENT] = "write an event",
            [ACT_SCI_DELETE] = "delete the instance",
            [ACT_CONSUMER_DELETE] = "delete the consumer pod",
            [ACT_PROVIDER_DELETE] = "delete the provider pod",
            [ACT_RECLAIM_DELETE] = "delete the reclaim pod",
            [ACT_SCI_RELEASE] = "release the instance",
            [ACT_SC_RELEASE] = "release the StoppableContainer",
    };

    return names[kind];
}

void plan_requeue(struct view *v, usec_t at)
{
    if (at < v->p->requeue_at)
        v->p->requeue_at = at;
}

bool plan_may(struct view *v, enum action_kind kind)
{
    const struct retry *r = &v->m->retry[kind];

    if (r->not_before <= v->o->now || r->generation != json_int_or(v->o->sc, "metadata.generation", 0))
        return true;
    plan_requeue(v, r->not_before);
    return false;
}

static int add_write(
        struct view *v, enum action_kind kind, const char *name, const char *uid, struct json *body)
{
    struct action *a = &v->p->actions[v->p->n];

    if (!body)
        return -ENOMEM;
    if (v->p->n == PLAN_ACTIONS_MAX || !plan_may(v, kind)) {
        json_free(body);
        return 0;
    }
    *a = (struct action){.kind = kind, .body = body};
    text_copy(a->namespace, sizeof(a->namespace),
            kind == ACT_RECLAIM_CREATE ? v->config->namespace : v->o->namespace);
    text_copy(a->name, sizeof(a->name), name);
    text_copy(a->uid, sizeof(a->uid), uid);
    v->p->n++;
    return 0;
}

int plan_add(struct view *v, enum action_kind kind, const char *name, struct json *body)
{
    return add_write(v, kind, name, "", body);
}

int plan_add_for(struct view *v, enum action_kind kind, const struct json *object, struct json *body)
{
    return add_write(
            v, kind, json_str_or(object, "metadata.name", ""), json_str_or(object, "metadata.uid", ""), body);
}

static int add_delete(struct view *v, enum action_kind kind, const struct json *object, int64_t grace)
{
    const char *uid = json_str_or(object, "metadata.uid", "");
    struct action *a = &v->p->actions[v->p->n];

    if (strcmp(v->m->write_sent[kind], uid) == 0)
        return 0;
    if (v->m->retry[kind].reason)
        v->delete_refused = kind;
    if (v->p->n == PLAN_ACTIONS_MAX || !plan_may(v, kind))
        return 0;
    *a = (struct action){.kind = kind, .grace_seconds = grace};
    text_copy(a->namespace, sizeof(a->namespace), json_str_or(object, "metadata.namespace", ""));
    text_copy(a->name, sizeof(a->name), json_str_or(object, "metadata.name", ""));
    text_copy(a->uid, sizeof(a->uid), uid);
    if (kind == ACT_SCI_DELETE)
        text_copy(a->version, sizeof(a->version), json_str_or(object, "metadata.resourceVersion", ""));
    v->p->n++;
    return 0;
}

/* A grace of 0 would drop the object before its processes have ended: then it is 1 s. */
int plan_delete_pod(struct view *v, enum action_kind kind, const struct json *pod)
{
    bool none = json_int_or(pod, "spec.terminationGracePeriodSeconds", 30) == 0;

    return add_delete(v, kind, pod, none ? 1 : 0);
}

int plan_delete_instance(struct view *v)
{
    return add_delete(v, ACT_SCI_DELETE, v->o->sci, 0);
}

/* The list without our finalizer, valid for exactly this version of the object. It is often the last one: the
 * object is gone then, and the server's answer is its old version, from which the store learns nothing. */
int plan_release(struct view *v, enum action_kind kind, const struct json *object)
{
    const char *uid = json_str_or(object, "metadata.uid", "");
    _cleanup_json_ struct json *body = json_new_object();
    struct json *metadata = body ? json_ensure_object(body, "metadata") : NULL;
    struct json *list = metadata ? json_ensure_array(metadata, "finalizers") : NULL;
    int bad = !list;

    if (strcmp(v->m->write_sent[kind], uid) == 0)
        return 0;
    bad |= json_set_str(metadata, "resourceVersion", json_str(object, "metadata.resourceVersion"));
    json_for_each (item, json_at(object, "metadata.finalizers")) {
        const char *text = json_string(item);

        if (text && strcmp(text, SC_FINALIZER) != 0)
            bad |= json_append_str(list, text);
    }
    return bad ? -ENOMEM : add_write(v, kind, v->o->name, uid, take_ptr(body));
}

int plan_event(struct view *v, const struct plan_event *e)
{
    const struct kube_event event = {
            .about = v->o->sc,
            .api_version = SC_API_VERSION,
            .kind = SC_KIND,
            .warning = e->warning,
            .reason = e->reason,
            .message = e->message,
            .component = SC_MANAGED_BY,
            .host = v->config->host,
            .now = v->o->realtime,
    };

    return plan_add(v, ACT_EVENT, "", kube_event_new(&event));
}

bool plan_namespace_active(struct view *v)
{
    static const usec_t fresh = 5 * USEC_PER_SEC;

    if (v->m->namespace == NAMESPACE_ACTIVE && v->o->now - v->m->namespace_at <= fresh)
        return true;
    if (v->m->namespace != NAMESPACE_TERMINATING)
        v->p->ask_namespace = true;
    return false;
}

bool plan_namespace_terminating(struct view *v)
{
    usec_t again = usec_add(v->m->namespace_at, NAMESPACE_ASK_AGAIN);

    if (v->m->namespace != NAMESPACE_TERMINATING)
        return false;
    if (v->o->now >= again)
        v->p->ask_namespace = true;
    else
        plan_requeue(v, again);
    return true;
}

void plan_look_at_node_again(struct view *v)
{
    plan_requeue(v, usec_add(v->o->now, backoff_next(&v->m->node_backoff)));
}

usec_t plan_node_given_up_at(struct view *v)
{
    if (!v->m->node_gone_since)
        v->m->node_gone_since = v->o->now;
    return usec_add(v->m->node_gone_since, PLAN_NODE_GONE_PATIENCE);
}

enum node_state plan_node_state(struct view *v, const char *node, usec_t max_age)
{
    if (v->m->node != NODE_UNKNOWN && v->o->now - v->m->node_at <= max_age)
        return v->m->node;
    text_copy(v->p->ask_node, sizeof(v->p->ask_node), node);
    return NODE_UNKNOWN;
}
