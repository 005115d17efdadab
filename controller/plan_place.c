/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer that has no node yet. What the scheduler says of it goes into Scheduled and Ready as it is,
 * with what only we know: that a root ties it to one node, or that nodes were left out because the provider
 * did not fit there.
 *
 * Nodes left out (plan_provider.c) come back when there is no other: after 30 s the list is emptied, once,
 * and the pods stay where they are put next, so that they start by themselves when there is room.
 */
#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/plan_provider.h"

#define OTHER_PATIENCE (30 * USEC_PER_SEC)

/* The scheduler says nothing of a pod whose claims do not exist, nor does one that is not there. */
static void opine_waiting(struct view *v)
{
    static const char usual[] = "default-scheduler";
    const char *scheduler = json_str_or(v->o->consumer, "spec.schedulerName", usual);
    bool other = strcmp(scheduler, usual) != 0;
    bool claims = json_len(json_at(v->o->consumer, "spec.resourceClaims")) > 0;

    opine(&v->verdict.ready, "False", "Starting", "pod %s waits for the scheduler%s%s%s%s", v->o->name,
            other ? " " : "", other ? scheduler : "", other ? ", which the template names" : "",
            claims ? "; its resource claims must exist first" : "");
    opine(&v->verdict.scheduled, "Unknown", "Waiting", "%s", v->verdict.ready.message);
}

static int add_excluded(const struct json *excluded, struct buf *b)
{
    int r = buf_puts(b, ", not on nodes where its provider pod did not fit (");

    for (size_t i = 0; i < json_len(excluded) && r == 0; i++) {
        const char *node = json_string(json_index(excluded, i));

        r = buf_printf(b, "%s%s", i ? ", " : "", node ? node : "?");
    }
    return r < 0 ? r : buf_puts(b, ")");
}

/* Only at a first start: there is no root yet, so the pod can be made again without its list. */
static int try_excluded_again(struct view *v)
{
    usec_t due = usec_add(v->consumer.created_at, OTHER_PATIENCE);

    if (v->o->realtime < due) {
        plan_requeue(v, usec_add(v->o->now, due - v->o->realtime));
        return 0;
    }
    if (json_set_bool(v->sci_status, "allNodesTried", true))
        return -ENOMEM;
    json_remove(v->sci_status, "excludedNodes");
    return plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
}

int plan_unplaced(struct view *v)
{
    const struct pod_facts *c = &v->consumer;
    const struct json *excluded = json_at(v->o->sci, "status.excludedNodes");
    _cleanup_buf_ struct buf where = BUF_INIT(VERDICT_TEXT_MAX);
    int r;

    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PENDING, true);
    opine_waiting(v);
    if (!c->unschedulable)
        return 0;
    v->verdict.progress = false;
    v->verdict.problem = true;
    if (v->node[0] && plan_root_unused(v))
        (void)buf_printf(&where, " waits for node %s, where its first start began", v->node);
    else if (v->node[0])
        (void)buf_printf(&where, " can run on node %s only, which has its root filesystem", v->node);
    else if (json_len(excluded) > 0)
        (void)add_excluded(excluded, &where);
    if (buf_error(&where) == -ENOMEM)
        return -ENOMEM;
    opine(&v->verdict.ready, "False", c->scheduler_reason, "pod %s%s: %s", v->o->name, buf_str(&where),
            c->scheduler_message);
    v->verdict.scheduled = v->verdict.ready;
    r = plan_provider_rejected(v);
    if (r != 0)
        return r < 0 ? r : 0;
    return json_len(excluded) > 0 && !v->root_id[0] ? try_excluded_again(v) : 0;
}
