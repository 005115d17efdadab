/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way down: the consumer is deleted with its own grace period, the provider stays. "Stopped" is said only
 * when no process of the user can be running any more.
 *
 * That is known when the consumer was last seen terminal, or never on a node. A consumer that vanished
 * otherwise (a forced deletion) may still be ending on its node: the kubelet of a node that is up ends the
 * processes of a pod that is gone within the pod's grace period, so that long is waited. On a node that does
 * not answer nothing is known, and the phase stays Stopping.
 */
#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/plan_provider.h"
#include "controller/status.h"

#define VANISHED_EXTRA (5 * USEC_PER_SEC)

static int with_consumer(struct view *v)
{
    verdict_phase(v, SC_PHASE_STOPPING, SC_PHASE_STOPPING, true);
    opine(&v->verdict.ready, "False", "Stopping", "pod %s is ending", v->o->name);
    if (!v->consumer.deleting)
        return plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
    verdict_pod_overdue(v, &v->consumer, v->o->consumer);
    return 0;
}

/* Without a memory of the removal, the status tells whether there can have been processes. */
static bool processes_may_run(const struct view *v)
{
    if (v->m->consumer.known)
        return !v->m->consumer.terminal;
    return status_may_run(v->o->sci) && v->node[0];
}

/* Returns true when the consumer's processes have ended for certain, or by all that can be known. */
static bool vanished_is_over(struct view *v)
{
    const struct removed_pod *gone = &v->m->consumer;
    usec_t grace = (usec_t)(gone->known ? gone->grace : template_grace(&v->template)) * USEC_PER_SEC;
    const char *name = plan_last_node(v);
    usec_t due;
    enum node_state node;

    if (!v->m->missing_since) {
        v->m->missing_since = v->o->now;
        v->m->missing_away = false;
    }
    due = usec_add(usec_add(v->m->missing_since, grace), VANISHED_EXTRA);
    verdict_phase(v, SC_PHASE_STOPPING, SC_PHASE_STOPPING, false);
    opine(&v->verdict.ready, "False", "Stopping",
            "pod %s vanished before it was seen to end: node %s is given time to end its processes",
            v->o->name, name);
    if (v->o->now < due) {
        plan_requeue(v, due);
        return false;
    }
    node = plan_node_state(v, name, PLAN_NODE_ANSWER_AGE);
    if (node == NODE_UNKNOWN) {
        v->no_status = true;
        return false;
    }
    if (node == NODE_NOT_READY) {
        v->m->missing_away = true;
        opine(&v->verdict.ready, "False", "NodeNotResponding",
                "pod %s vanished, and node %s is not Ready: its processes may still run there. Once the node "
                "is back, deleted, or tainted node.kubernetes.io/out-of-service, this goes on by itself",
                v->o->name, name);
        plan_requeue(v, usec_add(v->o->now, backoff_next(&v->m->node_backoff)));
        return false;
    }
    backoff_reset(&v->m->node_backoff);
    if (node == NODE_READY && v->m->missing_away) {
        v->m->missing_away = false;
        v->m->missing_since = v->o->now;
        plan_requeue(v, usec_add(usec_add(v->o->now, grace), VANISHED_EXTRA));
        return false;
    }
    v->m->consumer.terminal = true;
    return true;
}

static bool root_is_kept(const struct view *v)
{
    return v->on_node ? v->verdict.intact.status != NULL : v->provider.started;
}

int plan_stop(struct view *v)
{
    /* A start that is cut short may have made it, and the next one must find the root that it holds. */
    int r = plan_provider_is_good(v) ? plan_adopt_root(v) : 0;

    v->m->consumer.by_surprise = false;
    if (r < 0)
        return r;
    if (v->consumer.exists)
        return with_consumer(v);
    if (processes_may_run(v)) {
        v->m->unclean = true;
        if (!vanished_is_over(v))
            return 0;
    }
    v->m->missing_since = 0;
    v->m->again_at = 0;
    backoff_reset(&v->m->again);
    verdict_phase(v, SC_PHASE_STOPPED, SC_PHASE_STOPPED, false);
    opine(&v->verdict.ready, "False", "Stopped", "spec.running is false%s",
            root_is_kept(v) ? "; the root filesystem is kept" : "");
    opine(&v->verdict.scheduled, "Unknown", "Stopped", "nothing is to be placed");
    return 0;
}
