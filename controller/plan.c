/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The top of the planning: see plan.h. What exists decides the way:
 *
 *   no SC, no SCI                  nothing (a reclaim pod that is left goes)
 *   SC or SCI being deleted        teardown
 *   SC, no SCI                     first start, or "Stopped"
 *   SC and its SCI                 fresh root wanted? root lost? else start or stop
 *   SCI of another SC              wait: the garbage collector deletes it, then teardown; an SC that is being deleted goes
 */
#include "controller/plan.h"

#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/plan_provider.h"
#include "controller/pod_parts.h"

static bool belongs_to_sc(const struct json *sci, const struct json *sc)
{
    return object_controlled_by(sci, json_str_or(sc, "metadata.uid", ""));
}

static void read_pod(const struct view *v, const struct json *pod, struct pod_facts *ret, bool *ret_foreign)
{
    bool ours = pod && v->o->sci && object_controlled_by(pod, v->uid);

    pod_facts_read(ours ? pod : NULL, ret);
    *ret_foreign = pod && !ours;
}

static int read_view(struct view *v)
{
    const struct observed *o = v->o;
    int r;

    v->uid = json_str_or(o->sci, "metadata.uid", "");
    v->node = json_str_or(o->sci, "status.nodeName", "");
    v->root_id = json_str_or(o->sci, "status.rootfs.id", "");
    v->on_node = pod_parts_on_node(o->sci);
    if (o->sci)
        memory_set_instance(v->m, v->uid);
    read_pod(v, o->consumer, &v->consumer, &v->foreign_consumer);
    read_pod(v, o->provider, &v->provider, &v->foreign_provider);
    pod_facts_read(o->reclaim, &v->reclaim);
    if (o->sci) {
        const struct json *status = json_field(o->sci, "status");

        v->sci_status = status ? json_copy(status) : json_new_object();
        if (!v->sci_status)
            return -ENOMEM;
    }
    if (o->sc) {
        r = template_parse(o->sc, &v->config->rules, &v->template, &v->refusal);
        if (r < 0 && r != -EINVAL)
            return r;
    }
    return 0;
}

/* One that is being deleted and has no instance. */
static int release_sc(struct view *v)
{
    v->no_status = true;
    return object_has_finalizer(v->o->sc, SC_FINALIZER) ? plan_release(v, ACT_SC_RELEASE, v->o->sc) : 0;
}

static int without_instance(struct view *v)
{
    const struct json *sc = v->o->sc;

    if (v->o->reclaim) {
        v->no_status = true;
        return v->reclaim.deleting ? 0 : plan_delete_pod(v, ACT_RECLAIM_DELETE, v->o->reclaim);
    }
    if (!sc)
        return 0;
    return object_deleting(sc) ? release_sc(v) : plan_first_start(v);
}

/* A new reset token throws the root away; so does, without loss, a new template while nothing has ever run.
 */
static bool wants_fresh_root(const struct view *v, const char **ret_reason)
{
    const char *asked = json_str_or(v->o->sc, "spec.rootfs.resetToken", "");
    const char *made_for = json_str_or(v->o->sci, "spec.resetToken", "");
    const char *hash = json_str_or(v->o->sci, "spec.templateHash", "");

    if (strcmp(asked, made_for) != 0) {
        *ret_reason = "RootfsReset";
        return true;
    }
    *ret_reason = NULL;
    return v->template.spec && strcmp(hash, v->template.hash) != 0 && plan_root_unused(v);
}

static int fresh_root(struct view *v, const char *reason)
{
    int r = plan_delete_instance(v);
    bool done = v->p->n > 0; /* else it is on its way, or held back: told already, or not yet */

    v->no_status = v->delete_refused == ACT_KINDS;
    verdict_phase(v, json_str_or(v->o->sc, "status.phase", SC_PHASE_PENDING), NULL, false);
    if (r < 0 || !reason || !done)
        return r;
    return plan_event(
            v, &(struct plan_event){.reason = reason,
                       .message = "spec.rootfs.resetToken changed: the root filesystem is thrown away"});
}

static int with_instance(struct view *v)
{
    const char *reason;
    enum root_state root;
    int r;

    if (wants_fresh_root(v, &reason))
        return fresh_root(v, reason);
    root = plan_root_state(v, &v->verdict.intact);
    if (root == ROOT_ASK) {
        v->no_status = true;
        return 0;
    }
    if (root == ROOT_LOST)
        return plan_lost(v);
    if (root == ROOT_INTACT && !v->on_node)
        opine(&v->verdict.intact, "True", INTACT_HELD,
                "the root filesystem is held by pod %s" SC_PROVIDER_SUFFIX, v->o->name);
    r = json_bool_or(v->o->sc, "spec.running", false) ? plan_start(v) : plan_stop(v);
    if (r == 0)
        r = plan_node_keep(v);
    return r < 0 ? r : plan_settle_provider(v);
}

static int choose(struct view *v)
{
    const struct json *sc = v->o->sc, *sci = v->o->sci;

    if (!sci)
        return without_instance(v);
    if (object_deleting(sci) || (sc && object_deleting(sc) && belongs_to_sc(sci, sc)))
        return plan_teardown(v);
    if (plan_namespace_terminating(v) || !sc) {
        v->no_status = true;
        return 0;
    }
    if (!belongs_to_sc(sci, sc) &&
            object_deleting(sc)) /* its instance was taken from it: --cascade=orphan, by hand */
        return release_sc(v);
    if (!belongs_to_sc(sci, sc)) {
        verdict_phase(v, SC_PHASE_PENDING, NULL, false);
        opine(&v->verdict.ready, "False", "NameConflict",
                "the StoppableContainerInstance %s exists and does not belong to this StoppableContainer: it "
                "is "
                "neither adopted nor deleted",
                v->o->name);
        return 0;
    }
    return with_instance(v);
}

/* A pod has no node, and the scheduler finds none; or the one of a first start is about to be made for its node again. */
static bool waits_for_node(const struct view *v)
{
    const struct pod_facts *c = &v->consumer, *p = &v->provider;
    bool again = !c->exists && v->node[0] && plan_root_unused(v);

    return again || (c->exists && !c->node[0] && c->unschedulable) ||
           (p->exists && !p->node[0] && p->unschedulable);
}

int plan_make(
        const struct observed *o, const struct plan_config *config, struct key_memory *m, struct plan *p)
{
    struct view v = {.o = o, .config = config, .m = m, .p = p, .delete_refused = ACT_KINDS};
    const struct key_memory before = *m;
    int r;

    r = read_view(&v);
    if (r == 0 && !waits_for_node(&v))
        m->node_gone_since = 0;
    if (r == 0 && o->sc && belongs_to_sc(o->sci, o->sc))
        plan_node_limit(&v);
    if (r == 0)
        r = choose(&v);
    if (r == 0 && !v.no_status && v.verdict.phase) {
        if (v.delete_refused != ACT_KINDS)
            (void)verdict_refused(&v, v.delete_refused);
        r = plan_status(&v);
    }
    template_free(&v.template);
    json_free(v.sci_status);
    if (r < 0)
        *m = before; /* what it owns no plan touches; waits and words are for a plan that is carried out */
    return r;
}

void plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        json_free(p->actions[i].body);
    p->n = 0;
}
