/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way up, one write after the other, each made only when what it needs is there:
 *
 *   finalizer on the SC -> SCI -> consumer pod -> (it has a node) -> provider pod pinned there -> its uid and
 *   the node into the SCI's status -> (the agent lets the consumer start) -> Running
 *
 * Later starts find the provider and make only the consumer, pinned to the provider's node.
 */
#include <inttypes.h>
#include <string.h>

#include "common/names.h"
#include "controller/consumer_pod.h"
#include "controller/plan_internal.h"
#include "controller/plan_provider.h"
#include "controller/provider_pod.h"
#include "controller/quantity.h"
#include "controller/status.h"

/* After that long in one piece an earlier failure is forgotten, as the kubelet does. */
#define STABLE_RUN (600 * USEC_PER_SEC)
/* The kubelet's first publish call ends after 100 s at the latest; a consumer that was placed this long
 * before its provider ran may be waiting out a back-off of up to 2 minutes. */
#define BACKOFF_AGE (90 * USEC_PER_SEC)
#define BACKOFF_PATIENCE (5 * USEC_PER_SEC)

/* Ready's reasons after a run that is not to be repeated. Failed is the phase of other troubles too. */
#define RUN_COMPLETED "Completed"
#define RUN_FAILED "ContainerFailed"

/* What the root is for as long as it lives, whatever becomes of the SC's spec. */
static int set_persistence(const struct view *v, struct json *spec)
{
    const char *persistence = json_str_or(v->o->sc, "spec.rootfs.persistence", SC_PERSISTENCE_PROVIDER);
    char text[24];
    uint64_t bytes;
    int bad = json_set_str(spec, "persistence", persistence);

    if (quantity_bytes(v->o->sc, "spec.rootfs.sizeLimit", &bytes) < 0)
        return bad;
    snprintf(text, sizeof(text), "%" PRIu64, bytes);
    return bad | json_set_str(spec, "sizeLimit", text);
}

static struct json *new_instance(const struct view *v)
{
    _cleanup_json_ struct json *sci = json_new_object();
    struct json *metadata = sci ? json_ensure_object(sci, "metadata") : NULL;
    struct json *spec = sci ? json_ensure_object(sci, "spec") : NULL;
    struct json *owner = json_new_object();
    int bad = !metadata || !spec;

    bad |= json_set_str(sci, "apiVersion", SC_API_VERSION);
    bad |= json_set_str(sci, "kind", SCI_KIND);
    bad |= json_set_str(metadata, "name", v->o->name);
    bad |= json_set_str(metadata, "namespace", v->o->namespace);
    bad |= json_append_str(json_ensure_array(metadata, "finalizers"), SC_FINALIZER);
    bad |= json_set_str(json_ensure_object(metadata, "labels"), SC_LABEL_MANAGED_BY, SC_MANAGED_BY);
    bad |= json_set_str(owner, "apiVersion", SC_API_VERSION);
    bad |= json_set_str(owner, "kind", SC_KIND);
    bad |= json_set_str(owner, "name", v->o->name);
    bad |= json_set_str(owner, "uid", json_str_or(v->o->sc, "metadata.uid", ""));
    bad |= json_set_bool(owner, "controller", true);
    bad |= json_set_bool(owner, "blockOwnerDeletion", true);
    bad |= json_append(json_ensure_array(metadata, "ownerReferences"), owner);
    bad |= json_set_str(spec, "stoppableContainerName", v->o->name);
    bad |= json_set_str(spec, "templateHash", v->template.hash);
    bad |= json_set_str(spec, "attach", v->template.chroot ? "Chroot" : "Pivot");
    bad |= set_persistence(v, spec);
    bad |= json_set_str(spec, "resetToken", json_str_or(v->o->sc, "spec.rootfs.resetToken", ""));
    json_for_each (container, template_containers(&v->template)) {
        bad |= json_append_str(json_ensure_array(spec, "containers"), json_str_or(container, "name", ""));
        bad |= json_append_str(json_ensure_array(spec, "images"), json_str_or(container, "image", ""));
    }
    return bad ? NULL : take_ptr(sci);
}

static int add_finalizer(struct view *v)
{
    _cleanup_json_ struct json *body = json_new_object();
    struct json *metadata = body ? json_ensure_object(body, "metadata") : NULL;
    struct json *list = metadata ? json_ensure_array(metadata, "finalizers") : NULL;
    int bad = !list;
    int r = 0;

    bad |= json_set_str(metadata, "resourceVersion", json_str(v->o->sc, "metadata.resourceVersion"));
    json_for_each (item, json_at(v->o->sc, "metadata.finalizers"))
        bad |= json_append(list, json_copy(item));
    bad |= json_append_str(list, SC_FINALIZER);
    if (bad)
        return -ENOMEM;
    if (json_str(v->o->sc, "spec.hostPathPrefix"))
        r = plan_event(v,
                &(struct plan_event){.warning = true,
                        .reason = "HostPathPrefixIgnored",
                        .message = "spec.hostPathPrefix is ignored: a path on the node is no user's choice"});
    return r < 0 ? r : plan_add(v, ACT_SC_FINALIZER, v->o->name, take_ptr(body));
}

int plan_first_start(struct view *v)
{
    verdict_phase(v, phase_when_idle(v), NULL, false);
    if (!json_bool_or(v->o->sc, "spec.running", false)) {
        opine(&v->verdict.ready, "False", "Stopped", "spec.running is false; it has not been started yet");
        return 0;
    }
    if (!v->template.spec) {
        verdict_template_refused(v);
        return 0;
    }
    if (plan_namespace_terminating(v)) {
        v->no_status = true;
        return 0;
    }
    v->verdict.progress = true;
    opine(&v->verdict.ready, "False", "Starting", "making the instance");
    if (!object_has_finalizer(v->o->sc, SC_FINALIZER)) {
        verdict_refused(v, ACT_SC_FINALIZER);
        return add_finalizer(v);
    }
    verdict_refused(v, ACT_SCI_CREATE);
    return plan_may(v, ACT_SCI_CREATE) ? plan_add(v, ACT_SCI_CREATE, v->o->name, new_instance(v)) : 0;
}

/* A run that ended and is not to be repeated: the pod may be gone since. The status alone remembers it. */
static bool has_finished(const struct view *v)
{
    const char *phase = json_str_or(v->o->sc, "status.phase", "");
    const char *root = json_str_or(v->o->sc, "status.rootfs.id", "");

    const struct json *ready = status_condition(json_field(v->o->sc, "status"), SC_COND_READY);
    const char *reason = json_str_or(ready, "reason", "");

    return (strcmp(phase, SC_PHASE_SUCCEEDED) == 0 || strcmp(phase, SC_PHASE_FAILED) == 0) && v->root_id[0] &&
           (strcmp(reason, RUN_COMPLETED) == 0 || strcmp(reason, RUN_FAILED) == 0) &&
           strcmp(root, v->root_id) == 0;
}

/* 1, or 0 with what stands against it told. */
static int may_create_consumer(struct view *v)
{
    if (!v->template.spec) {
        verdict_template_refused(v);
        return 0;
    }
    if (!plan_same_containers(v)) {
        v->verdict.progress = false;
        v->verdict.problem = true;
        return plan_opine_containers(v, &v->verdict.ready);
    }
    if (v->foreign_consumer) {
        _cleanup_buf_ struct buf owner = BUF_INIT(512);

        if (object_owner_words(v->o->consumer, &owner) == -ENOMEM)
            return -ENOMEM;
        v->verdict.progress = false;
        v->verdict.problem = true;
        opine(&v->verdict.ready, "False", "NameConflict",
                "a pod named %s exists and is controlled by %s: it is neither adopted nor deleted",
                v->o->name, buf_str(&owner));
        return 0;
    }
    if (v->m->again_at > v->o->now) {
        plan_requeue(v, v->m->again_at);
        return 0;
    }
    return 1;
}

static int create_consumer(struct view *v)
{
    const struct pod_request q = {
            .sc = v->o->sc,
            .sci = v->o->sci,
            .template = &v->template,
            .node = v->node[0] ? v->node : NULL,
            .excluded = v->node[0] ? NULL : json_at(v->o->sci, "status.excludedNodes"),
            .provider = v->provider.started ? v->o->provider : NULL,
    };
    struct json *pod;
    int r;

    if (!plan_may(v, ACT_CONSUMER_CREATE))
        return 0;
    r = consumer_pod_build(&q, &pod);
    return r < 0 ? r : plan_add(v, ACT_CONSUMER_CREATE, v->o->name, pod);
}

static int start_without_consumer(struct view *v)
{
    bool fresh = !v->node[0];
    int r;

    if (has_finished(v)) {
        verdict_phase(v, json_str_or(v->o->sc, "status.phase", ""), SC_PHASE_STOPPED, false);
        return 0;
    }
    if (v->m->consumer.by_surprise && !plan_namespace_active(v)) {
        v->no_status = true;
        return 0;
    }
    v->m->consumer.by_surprise = false;
    v->m->missing_since = 0;
    verdict_phase(v, SC_PHASE_PENDING, fresh ? SC_PHASE_PENDING : SC_PHASE_CONSUMER_STARTING, true);
    opine(&v->verdict.ready, "False", "Starting", "the consumer pod is being made");
    opine(&v->verdict.scheduled, "Unknown", "Waiting", "the consumer pod is not made yet");
    r = plan_provider_rejected(v);
    if (r != 0)
        return r < 0 ? r : 0;
    if (plan_node_refused(v))
        return 0;
    r = plan_adopt_root(v);
    if (r < 0)
        return r;
    if (v->provider.exists && !v->root_id[0])
        return 0; /* where its root is must be written before it is pinned there */
    r = may_create_consumer(v);
    if (r <= 0)
        return r;
    verdict_refused(v, ACT_CONSUMER_CREATE);
    return create_consumer(v);
}

/* The consumer ended. Its own end counts where the template's restartPolicy says so, also when the system then comes and
 * evicts what is left of it; an end by the system, or of a pod that is to run always, is made good. */
static int after_end(struct view *v)
{
    const struct pod_facts *c = &v->consumer;
    const char *policy = json_str_or(v->o->consumer, "spec.restartPolicy", "Always");
    bool again = strcmp(policy, "Always") == 0 || (c->by_system && !has_finished(v));
    const char *reason = c->reason[0] ? c->reason : c->exit_reason;

    if (!again) {
        const char *phase = c->succeeded ? SC_PHASE_SUCCEEDED : SC_PHASE_FAILED;

        verdict_phase(v, phase, SC_PHASE_STOPPED, false);
        v->verdict.problem = !c->succeeded;
        /* Its activeDeadlineSeconds: how its containers ended says nothing. */
        if (c->reason[0] && !c->by_system) {
            opine(&v->verdict.ready, "False", RUN_FAILED, "the run was ended: %s%s%s", c->reason,
                    c->message[0] ? ": " : "", c->message);
            return 0;
        }
        opine(&v->verdict.ready, "False", c->succeeded ? RUN_COMPLETED : RUN_FAILED,
                "container %s ended with exit code %d%s%s", c->exit_container, c->exit_code,
                c->exit_message[0] ? ": " : "", c->exit_message);
        return 0;
    }
    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_CONSUMER_STARTING, false);
    v->verdict.problem = true;
    opine(&v->verdict.ready, "False", reason[0] ? reason : "ConsumerFailed",
            "the consumer pod has ended and is made again%s%s", c->message[0] ? ": " : "", c->message);
    if (!c->deleting && v->m->again_at <= v->o->now &&
            strcmp(v->m->write_sent[ACT_CONSUMER_DELETE], c->uid) != 0)
        v->m->again_at = usec_add(v->o->now, backoff_next(&v->m->again));
    return plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
}

/* The kubelet says why a pod is not ready. A Ready False without a word is the node controller's, about a node
 * that fell silent: what runs there may go on. The kubelet's next word wakes us. */
static bool node_fell_silent(struct view *v)
{
    const struct pod_facts *c = &v->consumer;
    enum node_state node;

    if (c->ready || !c->all_running || c->unready_reason[0])
        return false;
    node = plan_node_state(v, c->node, PLAN_NODE_ANSWER_AGE);
    v->no_status = node == NODE_UNKNOWN;
    if (node != NODE_NOT_READY)
        return v->no_status;
    v->verdict.problem = true;
    opine(&v->verdict.ready, "False", "NodeNotResponding",
            "node %s does not answer; the workload may go on there, and is started nowhere else", c->node);
    return true;
}

static void judge_running(struct view *v)
{
    const struct pod_facts *c = &v->consumer;

    verdict_phase(v, SC_PHASE_RUNNING, SC_PHASE_RUNNING, false);
    if (verdict_pod_problem(v, c, v->o->name) || node_fell_silent(v))
        return;
    if (c->ready) {
        opine(&v->verdict.ready, "True", "Running", "running on node %s", c->node);
    } else {
        v->verdict.progress = strcmp(json_str_or(v->o->sc, "status.phase", ""), SC_PHASE_RUNNING) == 0;
        opine(&v->verdict.ready, "False", "ContainersNotReady", "%s",
                c->unready_message[0] ? c->unready_message : "the containers are not ready yet");
    }
    if (c->all_running_since && v->o->realtime > usec_add(c->all_running_since, STABLE_RUN)) {
        backoff_reset(&v->m->again);
        backoff_reset(&v->m->recreate);
    }
}

/* Until a postStart hook ends, a pod's status does not show that its container runs. Ours ends with the
 * attach; a user's may take its time. */
static bool may_run_unseen(const struct view *v)
{
    json_for_each (container, template_containers(&v->template))
        if (json_at(container, "lifecycle.postStart"))
            return true;
    return false;
}

/* A publish call that was answered "not yet" may come again only after 2 minutes; a new pod's comes at once.
 */
static int unstick(struct view *v)
{
    const struct pod_facts *c = &v->consumer, *p = &v->provider;
    usec_t due = usec_add(p->all_running_since, BACKOFF_PATIENCE);

    if (!p->all_running_since || !c->scheduled_at || c->started || c->init_started || c->waiting_reason[0] ||
            p->all_running_since < usec_add(c->scheduled_at, BACKOFF_AGE) || may_run_unseen(v))
        return 0;
    if (v->o->realtime < due) {
        plan_requeue(v, usec_add(v->o->now, due - v->o->realtime));
        return 0;
    }
    return plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
}

static int with_scheduled_consumer(struct view *v)
{
    int r;

    opine(&v->verdict.scheduled, "True", "Scheduled", "placed on node %s", v->consumer.node);
    if (v->consumer.running) {
        judge_running(v);
        return plan_adopt_root(v);
    }
    r = plan_provider(v);
    if (r != 0)
        return r < 0 ? r : 0;
    if (plan_consumer_is_elsewhere(v)) {
        verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_CONSUMER_STARTING, true);
        opine(&v->verdict.ready, "False", "Starting",
                "pod %s was placed on another node than its root filesystem: it is made again", v->o->name);
        return plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
    }
    verdict_phase(v, SC_PHASE_PROVIDER_READY, SC_PHASE_CONSUMER_STARTING, true);
    opine(&v->verdict.ready, "False", "ConsumerStarting", "the root filesystem is held; pod %s is starting",
            v->o->name);
    verdict_pod_problem(v, &v->consumer, v->o->name);
    return unstick(v);
}

int plan_start(struct view *v)
{
    const struct pod_facts *c = &v->consumer;

    if (!c->exists)
        return start_without_consumer(v);
    v->m->consumer.by_surprise = false;
    if (c->deleting) {
        verdict_phase(v, SC_PHASE_STOPPING, SC_PHASE_STOPPING, true);
        opine(&v->verdict.ready, "False", "Restarting", "pod %s is ending; it will be made again",
                v->o->name);
        verdict_pod_overdue(v, c, v->o->consumer);
        return 0;
    }
    if (c->terminal)
        return after_end(v);
    if (plan_edited_before_it_ran(v)) {
        verdict_phase(
                v, SC_PHASE_PENDING, v->root_id[0] ? SC_PHASE_CONSUMER_STARTING : SC_PHASE_PENDING, true);
        opine(&v->verdict.ready, "False", "TemplateChanged",
                "the template changed before pod %s ran: it is made again", v->o->name);
        return plan_delete_pod(v, ACT_CONSUMER_DELETE, v->o->consumer);
    }
    if (!c->node[0])
        return plan_unplaced(v);
    return with_scheduled_consumer(v);
}
