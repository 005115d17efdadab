/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words for what the state is: conditions in the making. Texts of the kubelet, the scheduler and the API
 * server are shown as they are; what changes in them while nothing changes (a back-off's seconds, the switch
 * between ErrImagePull and ImagePullBackOff) is taken out, so that a stuck pod makes no writes.
 */
#include <stdarg.h>
#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/text.h"

/* Beyond the end of its grace period a pod's node is "not responding". */
#define OVERDUE (30 * USEC_PER_SEC)

void opine(struct opinion *o, const char *status, const char *reason, const char *fmt, ...)
{
    va_list args;

    o->status = status;
    o->reason = reason;
    va_start(args, fmt);
    text_format_args(o->message, sizeof(o->message), fmt, args);
    va_end(args);
}

void verdict_phase(struct view *v, const char *phase, const char *sci_phase, bool progress)
{
    v->verdict.phase = phase;
    v->verdict.sci_phase = sci_phase;
    v->verdict.progress = progress;
}

bool verdict_refused(struct view *v, enum action_kind kind)
{
    const struct retry *r = &v->m->retry[kind];

    if (!r->reason)
        return false;
    v->verdict.progress = false;
    v->verdict.problem = true;
    opine(&v->verdict.ready, "False", r->reason, "cannot %s: %s", action_name(kind),
            r->message ? r->message : "refused");
    return true;
}

void verdict_template_refused(struct view *v)
{
    v->verdict.progress = false;
    v->verdict.problem = true;
    opine(&v->verdict.ready, "False", "TemplateRefused", "%s", err_text(&v->refusal));
}

/* What the object is called while nothing runs. */
const char *phase_when_idle(const struct view *v)
{
    return json_bool_or(v->o->sc, "spec.running", false) ? SC_PHASE_PENDING : SC_PHASE_STOPPED;
}

static const char *written_ready_message(const struct view *v, const char *reason)
{
    json_for_each (condition, json_at(v->o->sc, "status.conditions"))
        if (strcmp(json_str_or(condition, "type", ""), SC_COND_READY) == 0 &&
                strcmp(json_str_or(condition, "reason", ""), reason) == 0)
            return json_str(condition, "message");
    return NULL;
}

/* The cause of an image that cannot be pulled. ImagePullBackOff repeats it after "ErrImagePull: " since
 * Kubernetes 1.29; before, what was written already stays. */
static void image_problem(struct view *v, const struct pod_facts *f, const char *pod_name)
{
    static const char reason[] = "ErrImagePull", marker[] = "ErrImagePull: ";
    const char *message = f->waiting_message;
    const char *cause = strstr(message, marker);
    const char *written = written_ready_message(v, reason);

    if (cause)
        message = cause + strlen(marker);
    else if (strcmp(f->waiting_reason, "ImagePullBackOff") == 0 && written) {
        opine(&v->verdict.ready, "False", reason, "%s", written);
        return;
    }
    opine(&v->verdict.ready, "False", reason, "pod %s, container %s: %s", pod_name, f->waiting_container,
            message);
}

bool verdict_pod_problem(struct view *v, const struct pod_facts *f, const char *pod_name)
{
    if (!f->waiting_reason[0])
        return false;
    if (strcmp(f->waiting_reason, "ErrImagePull") == 0 || strcmp(f->waiting_reason, "ImagePullBackOff") == 0)
        image_problem(v, f, pod_name);
    else if (strcmp(f->waiting_reason, "CrashLoopBackOff") == 0)
        opine(&v->verdict.ready, "False", "CrashLoopBackOff",
                "pod %s, container %s ends again and again; the kubelet starts it again after a while",
                pod_name, f->waiting_container);
    else
        opine(&v->verdict.ready, "False", f->waiting_reason, "pod %s, container %s: %s", pod_name,
                f->waiting_container, f->waiting_message);
    v->verdict.progress = false;
    v->verdict.problem = true;
    return true;
}

bool verdict_pod_overdue(struct view *v, const struct pod_facts *f, const struct json *pod)
{
    usec_t overdue = usec_add(f->deletion_deadline, OVERDUE);

    if (v->o->realtime < overdue) {
        plan_requeue(v, usec_add(v->o->now, overdue - v->o->realtime));
        return false;
    }
    v->verdict.progress = false;
    v->verdict.problem = true;
    if (f->terminal && json_at(pod, "metadata.finalizers[0]")) {
        opine(&v->verdict.ready, "False", "HeldByFinalizer",
                "pod %s has ended and is held by the finalizer %s, which is not ours: this goes on when "
                "whoever set it "
                "takes it away",
                json_str_or(pod, "metadata.name", ""), json_str_or(pod, "metadata.finalizers[0]", ""));
        return true;
    }
    opine(&v->verdict.ready, "False", "NodeNotResponding",
            "pod %s should have ended, but node %s does not confirm it: the node or its kubelet may be down. "
            "Once it is back, deleted, or tainted node.kubernetes.io/out-of-service, this goes on by itself",
            json_str_or(pod, "metadata.name", ""), f->node);
    return true;
}
