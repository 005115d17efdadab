/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider at a first start: see plan_provider.h.
 *
 * A provider that does not fit on the consumer's node within 30 s: that node is excluded (SCI status) and
 * both pods go; the next consumer is placed elsewhere. At most five nodes, or as many as there are
 * (plan_place.c); the last provider then stays pending, so that it starts by itself when there is room.
 */
#include "controller/plan_provider.h"

#include <errno.h>
#include <string.h>

#include "common/names.h"
#include "controller/affinity.h"
#include "controller/provider_pod.h"

#define FIT_PATIENCE (30 * USEC_PER_SEC)
enum { EXCLUDED_NODES_MAX = 5 }; /* maxItems in the CRD */

static const char *provider_name(const struct view *v)
{
    return json_str_or(v->o->provider, "metadata.name", "NAME" SC_PROVIDER_SUFFIX);
}

/* The node that the provider is on, or is meant for. */
static const char *provider_node(const struct view *v)
{
    const char *pinned = affinity_pinned_node(v->o->provider);

    return v->provider.node[0] ? v->provider.node : pinned ? pinned : "";
}

static bool is_excluded(const struct view *v, const char *node)
{
    json_for_each (item, json_at(v->o->sci, "status.excludedNodes")) {
        const char *text = json_string(item);

        if (text && strcmp(text, node) == 0)
            return true;
    }
    return false;
}

int plan_adopt_root(struct view *v)
{
    struct json *root;
    int bad = 0;

    if (!v->provider.exists || strcmp(v->root_id, v->provider.uid) == 0 || (v->on_node && v->root_id[0]))
        return 0;
    root = json_ensure_object(v->sci_status, "rootfs");
    bad |= !root;
    bad |= json_set_str(root, "id", v->provider.uid);
    bad |= json_set_str(root, "createdAt", json_str(v->o->provider, "metadata.creationTimestamp"));
    bad |= json_set_str(v->sci_status, "nodeName", provider_node(v));
    return bad ? -ENOMEM : 0;
}

bool plan_provider_is_good(const struct view *v)
{
    const struct pod_facts *p = &v->provider;

    return p->exists && !p->terminal && !p->any_ended && !p->deleting && !is_excluded(v, provider_node(v));
}

bool plan_consumer_is_elsewhere(const struct view *v)
{
    const struct pod_facts *c = &v->consumer;
    const char *node = provider_node(v);

    return !v->on_node && plan_provider_is_good(v) && node[0] && strcmp(c->node, node) != 0 && !c->started &&
           !c->init_started;
}

/* First the status forgets the root that never was, so that its end is not taken for a loss. */
static int forget_root(struct view *v)
{
    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PENDING, true);
    opine(&v->verdict.ready, "False", "Starting", "a provider pod that never ran is made again");
    json_remove(v->sci_status, "rootfs");
    json_remove(v->sci_status, "nodeName");
    return 0;
}

static int exclude_node(struct view *v)
{
    struct json *list = json_ensure_array(v->sci_status, "excludedNodes");

    if (json_append_str(list, provider_node(v)) < 0)
        return -ENOMEM;
    return forget_root(v);
}

/* A first start is tied to the node that its consumer was placed on. Whether that has been gone for so long that
 * nothing will ever have run there: 1, 0, or -EAGAIN: the API server is to be asked. */
static int tied_to_a_lost_node(struct view *v)
{
    const struct pod_facts *c = &v->consumer;
    enum node_state node;
    usec_t due;

    if (!v->node[0] || (c->exists && (c->node[0] || !c->unschedulable)))
        return 0;
    node = plan_node_state(v, v->node, PLAN_NODE_ANSWER_AGE);
    if (node == NODE_UNKNOWN) {
        v->no_status = true;
        return -EAGAIN;
    }
    if (node != NODE_GONE) {
        if (c->exists)
            plan_look_at_node_again(v);
        return 0;
    }
    due = plan_node_given_up_at(v);
    if (v->o->now < due)
        plan_requeue(v, due);
    return v->o->now >= due;
}

/* Of a root that never was, on such a node or where the provider goes: the status forgets it. A consumer that waits for that
 * node goes first, since nothing else unties it from there. */
static int untie(struct view *v, bool lost)
{
    const struct pod_facts *c = &v->consumer;

    if (!c->exists || c->node[0])
        return lost && v->provider.exists ? exclude_node(v) : forget_root(v);
    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PENDING, true);
    opine(&v->verdict.ready, "False", "Starting",
            "a consumer pod that waits for a node without a root is made again");
    return c->deleting ? 0 : plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
}

int plan_provider_rejected(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    bool excluded = is_excluded(v, provider_node(v));
    /* it waits for the node of a consumer that is gone */
    bool alone = p->exists && !p->node[0] && !v->consumer.exists && !v->on_node;
    bool given_up = excluded || alone;
    bool gone = !p->exists && v->root_id[0];
    int lost, r;

    if (!plan_root_unused(v))
        return 0;
    lost = tied_to_a_lost_node(v);
    if (lost < 0)
        return 1;
    if (!lost && !gone && !(p->exists && (p->terminal || p->any_ended || p->deleting || given_up)))
        return 0;
    if (v->root_id[0] || lost) {
        r = untie(v, lost);
        return r < 0 ? r : 1;
    }
    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PENDING, true);
    if (!p->deleting && !given_up) {
        v->verdict.progress = false;
        v->verdict.problem = true;
        opine(&v->verdict.ready, "False", p->reason[0] ? p->reason : "ProviderRejected",
                "pod %s was rejected before it ran and is made again: %s", provider_name(v),
                p->message[0] ? p->message : p->exit_message);
    } else {
        opine(&v->verdict.ready, "False", "Starting", "pod %s is being removed", provider_name(v));
    }
    if (!p->deleting && strcmp(v->m->write_sent[ACT_PROVIDER_DELETE], p->uid) != 0)
        v->m->again_at = excluded ? 0
                         : alone  ? v->m->again_at
                                  : usec_add(v->o->now, backoff_next(&v->m->again));
    r = p->deleting ? 0 : plan_delete_pod(v, ACT_PROVIDER_DELETE, v->o->provider);
    if (r == 0 && given_up && v->consumer.exists && !v->consumer.deleting)
        r = plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
    return r < 0 ? r : 1;
}

/* The provider waits for the scheduler. */
static int judge_unplaced(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    bool many = json_len(json_at(v->o->sci, "status.excludedNodes")) >= EXCLUDED_NODES_MAX;
    bool all = json_bool_or(v->o->sci, "status.allNodesTried", false);
    const char *also = many ? ", nor did it on five others" : all ? ", nor did it on the others" : "";
    usec_t due = usec_add(p->created_at, FIT_PATIENCE);

    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PROVIDER_STARTING, true);
    opine(&v->verdict.ready, "False", "Starting", "pod %s waits for the scheduler", provider_name(v));
    if (!p->unschedulable)
        return 0;
    v->verdict.progress = false;
    v->verdict.problem = true;
    opine(&v->verdict.ready, "False", p->scheduler_reason, "pod %s does not fit on node %s%s: %s",
            provider_name(v), provider_node(v), also, p->scheduler_message);
    v->verdict.scheduled = v->verdict.ready;
    if (many || all || v->consumer.started)
        return 0;
    if (v->o->realtime < due) {
        plan_requeue(v, usec_add(v->o->now, due - v->o->realtime));
        return 0;
    }
    return exclude_node(v);
}

void plan_provider_request(const struct view *v, struct pod_request *q)
{
    const struct retry *refused = &v->m->retry[ACT_PROVIDER_CREATE];
    bool class = refused->message && strstr(refused->message, "PriorityClass");

    *q = (struct pod_request){
            .sc = v->o->sc,
            .sci = v->o->sci,
            .template = &v->template,
            .consumer = v->consumer.exists ? v->o->consumer : NULL,
            .priority_class = class ? NULL : v->config->provider_priority_class,
            .small = refused->reason != NULL,
    };
}

static int create_provider(struct view *v)
{
    struct pod_request q;
    char name[SC_NAME_MAX + sizeof(SC_PROVIDER_SUFFIX)];
    struct json *pod;
    int r;

    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PENDING, true);
    opine(&v->verdict.ready, "False", "Starting", "the provider pod is being made");
    if (!v->template.spec) {
        verdict_template_refused(v);
        return 0;
    }
    snprintf(name, sizeof(name), "%s" SC_PROVIDER_SUFFIX, v->o->name);
    if (v->foreign_provider) {
        v->verdict.progress = false;
        v->verdict.problem = true;
        opine(&v->verdict.ready, "False", "NameConflict",
                "a pod named %s exists that is not ours: it is neither adopted nor deleted", name);
        return 0;
    }
    verdict_refused(v, ACT_PROVIDER_CREATE);
    if (v->m->again_at > v->o->now)
        plan_requeue(v, v->m->again_at);
    if (v->m->again_at > v->o->now || !plan_may(v, ACT_PROVIDER_CREATE))
        return 0;
    if (v->on_node && !v->node[0]) /* written first (plan_node.c) */
        return json_set_str(v->sci_status, "nodeName", v->consumer.node);
    plan_provider_request(v, &q);
    q.node = v->consumer.node;
    r = provider_pod_build(&q, &pod);
    return r < 0 ? r : plan_add(v, ACT_PROVIDER_CREATE, name, pod);
}

int plan_provider(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    int r;

    if (v->on_node && !plan_root_unused(v))
        return plan_node_wait(v);
    if (!p->exists) {
        r = v->root_id[0] ? forget_root(v) : create_provider(v);
        return r < 0 ? r : 1;
    }
    r = plan_provider_rejected(v);
    if (r != 0)
        return r;
    r = plan_adopt_root(v);
    if (r < 0)
        return r;
    if (!p->node[0]) {
        r = judge_unplaced(v);
        return r < 0 ? r : 1;
    }
    if (p->all_running)
        return 0;
    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PROVIDER_STARTING, true);
    opine(&v->verdict.ready, "False", "ProviderStarting", "pod %s is starting on node %s", provider_name(v),
            p->node);
    verdict_pod_problem(v, p, provider_name(v));
    return 1;
}

int plan_settle_provider(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    struct json *body;
    int r;

    if (!p->exists || p->deleting || p->terminal || !(p->all_running || p->unschedulable))
        return 0;
    if (strcmp(v->m->write_sent[ACT_PROVIDER_RESIZE], p->uid) == 0)
        return 0;
    r = provider_pod_settle(v->o->provider, &body);
    if (r < 0 || !body)
        return r;
    return plan_add_for(v, ACT_PROVIDER_RESIZE, v->o->provider, body);
}
