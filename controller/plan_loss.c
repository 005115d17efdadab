/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the preserved root still there? In persistence Provider it lives exactly as long as the first run of the
 * provider pod's containers; persistence Node is plan_node.c's.
 *
 * A root counts as having existed from the moment when the provider's uid stands in the SCI's status (written
 * before the consumer can run on it), or when the consumer has run; unless that provider is still to be seen,
 * or was last seen, with no container ever started: then nothing is lost, and it is simply made again.
 * Once written, a loss stands until the instance is gone.
 */
#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/status.h"

/* What was written about the root: there since the provider ran, False after a loss. */
static const struct json *written_root(const struct view *v)
{
    return status_condition(json_field(v->o->sci, "status"), SC_COND_ROOTFS_INTACT);
}

/* The condition that says so; NULL when no loss has been written. */
static const struct json *written_loss(const struct view *v)
{
    const struct json *condition = written_root(v);

    return strcmp(json_str_or(condition, "status", ""), "False") == 0 ? condition : NULL;
}

static bool never_started(const struct view *v)
{
    const struct removed_pod *gone = &v->m->provider;

    if (v->provider.exists)
        return strcmp(v->provider.uid, v->root_id) == 0 && !v->provider.started;
    return gone->known && strcmp(gone->uid, v->root_id) == 0 && !gone->started;
}

bool plan_root_unused(const struct view *v)
{
    if (written_root(v) || v->consumer.started || (v->on_node && v->consumer.init_started) ||
            (v->m->consumer.known && v->m->consumer.started))
        return false;
    return !v->root_id[0] ? !v->provider.started : never_started(v);
}

static bool provider_is_dead(const struct view *v, struct opinion *why)
{
    const struct pod_facts *f = &v->provider;

    if (!f->exists)
        opine(why, "False", "ProviderVanished",
                "the pod %s" SC_PROVIDER_SUFFIX " that held the root filesystem is gone", v->o->name);
    else if (v->root_id[0] && strcmp(f->uid, v->root_id) != 0)
        opine(why, "False", "ProviderReplaced",
                "the pod %s" SC_PROVIDER_SUFFIX " is not the one that held the root filesystem", v->o->name);
    else if (f->terminal || f->any_ended)
        opine(why, "False", "ProviderEnded",
                "the pod %s" SC_PROVIDER_SUFFIX " that held the root filesystem has ended: %s%s%s",
                v->o->name, f->reason[0] ? f->reason : f->exit_reason, f->message[0] ? ": " : "", f->message);
    else if (f->deleting)
        opine(why, "False", "ProviderDeleted",
                "the pod %s" SC_PROVIDER_SUFFIX
                " that held the root filesystem is being deleted (drained, evicted or by hand)",
                v->o->name);
    else
        return false;
    return true;
}

/* An administrator's word that the node is off for good ends no provider: it tolerates every NoExecute taint. The
 * consumer tells, which waits for that node then. */
static enum root_state judge_node(struct view *v, struct opinion *why)
{
    const struct pod_facts *c = &v->consumer;
    enum node_state node;
    usec_t due;

    if (!v->provider.node[0] || !c->exists || c->node[0] || !c->unschedulable)
        return ROOT_INTACT;
    node = plan_node_state(v, v->provider.node, PLAN_NODE_ANSWER_AGE);
    if (node == NODE_UNKNOWN)
        return ROOT_ASK;
    if (node != NODE_GONE) {
        plan_look_at_node_again(v);
        return ROOT_INTACT;
    }
    due = plan_node_given_up_at(v);
    if (v->o->now < due) {
        plan_requeue(v, due);
        return ROOT_INTACT;
    }
    opine(why, "False", "NodeGone",
            "node %s, on which the pod %s" SC_PROVIDER_SUFFIX
            " held the root filesystem, is gone or tainted " SC_TAINT_OUT_OF_SERVICE,
            v->provider.node, v->o->name);
    return plan_namespace_active(v) ? ROOT_LOST : ROOT_ASK;
}

enum root_state plan_root_state(struct view *v, struct opinion *ret_why)
{
    const struct json *written = written_loss(v);

    if (written) {
        opine(ret_why, "False", json_str_or(written, "reason", "Lost"), "%s",
                json_str_or(written, "message", ""));
        return ROOT_LOST;
    }
    if (plan_root_unused(v))
        return ROOT_NONE;
    if (v->on_node)
        return plan_node_root(v, ret_why);
    if (!provider_is_dead(v, ret_why))
        return judge_node(v, ret_why);
    return plan_namespace_active(v) ? ROOT_LOST : ROOT_ASK;
}

/* In the SC's own status, with its event: the instance's goes with the instance. */
static bool is_told(const struct view *v)
{
    const struct json *told = status_condition(json_field(v->o->sc, "status"), SC_COND_ROOTFS_INTACT);

    return strcmp(json_str_or(told, "status", ""), "False") == 0;
}

/* The consumer is stopped, whatever spec.running says; what is left of the provider stays to be looked at.
 * The loss is written before anything is made anew, so that it cannot pass unseen. */
int plan_lost(struct view *v)
{
    const char *on_loss = json_str_or(v->o->sc, "spec.rootfs.onLoss", "Hold");
    bool recreate = strcmp(on_loss, "Recreate") == 0;

    if (v->consumer.exists) {
        verdict_phase(v, SC_PHASE_STOPPING, SC_PHASE_STOPPING, false);
        opine(&v->verdict.ready, "False", "RootfsLost", "%s; the workload is being stopped",
                v->verdict.intact.message);
        return v->consumer.deleting ? 0 : plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
    }
    verdict_phase(v, SC_PHASE_FAILED, SC_PHASE_FAILED, false);
    opine(&v->verdict.scheduled, "Unknown", "RootfsLost", "nothing is to be placed");
    opine(&v->verdict.ready, "False", "RootfsLost",
            recreate ? "%s; a fresh one is made"
                     : "%s; set spec.rootfs.resetToken to a new value to start on a fresh one",
            v->verdict.intact.message);
    if (!recreate || !written_loss(v) || !is_told(v))
        return 0;
    if (v->m->recreate_at > v->o->now) {
        plan_requeue(v, v->m->recreate_at);
        return 0;
    }
    v->m->recreate_at = usec_add(v->o->now, backoff_next(&v->m->recreate));
    v->no_status = true;
    return plan_delete_instance(v);
}
