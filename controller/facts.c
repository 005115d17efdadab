/* SPDX-License-Identifier: Apache-2.0 */
/* See facts.h. Field names and reasons are those of v1 Pod and of the kubelet (pkg/kubelet/images,
 * pkg/kubelet/kuberuntime). */
#include "controller/facts.h"

#include <string.h>

#include "common/base/num.h"
#include "common/names.h"

bool object_deleting(const struct json *object)
{
    return json_str(object, "metadata.deletionTimestamp") != NULL;
}

bool object_has_finalizer(const struct json *object, const char *finalizer)
{
    json_for_each (item, json_at(object, "metadata.finalizers")) {
        const char *text = json_string(item);

        if (text && strcmp(text, finalizer) == 0)
            return true;
    }
    return false;
}

static const struct json *controlling_owner(const struct json *object)
{
    json_for_each (owner, json_at(object, "metadata.ownerReferences"))
        if (json_bool_or(owner, "controller", false))
            return owner;
    return NULL;
}

bool object_controlled_by(const struct json *object, const char *uid)
{
    return uid[0] && strcmp(json_str_or(controlling_owner(object), "uid", ""), uid) == 0;
}

int object_owner_words(const struct json *object, struct buf *b)
{
    const struct json *owner = controlling_owner(object);

    if (!owner)
        return buf_puts(b, "nobody");
    return buf_printf(b, "%s %s", json_str_or(owner, "kind", "?"), json_str_or(owner, "name", "?"));
}

int64_t pod_made_for(const struct json *pod)
{
    const struct json *notes = json_at(pod, "metadata.annotations");
    const char *text = json_string(json_field(notes, SC_ANNOTATION_GENERATION));
    uint64_t generation;

    return text && num_parse_u64(text, 0, INT64_MAX, &generation) == 0 ? (int64_t)generation : 0;
}

usec_t object_time(const struct json *node, const char *path)
{
    const char *text = json_str(node, path);
    usec_t t = 0;

    if (!text || clock_parse_time(text, &t) < 0)
        return 0;
    return t;
}

/* "has never run": the runtime could not start it, or the pod was ended before its turn came (the kubelet
 * then writes ContainerStatusUnknown, without times). Nothing was written to its root. */
static bool never_ran(const struct json *terminated)
{
    const char *reason = json_str_or(terminated, "reason", "");

    return strcmp(reason, "StartError") == 0 || strcmp(reason, "ContainerCannotRun") == 0 ||
           (strcmp(reason, "ContainerStatusUnknown") == 0 && !object_time(terminated, "startedAt"));
}

static void note_end(const struct json *status, const struct json *ended, struct pod_facts *f)
{
    int code = (int)json_int_or(ended, "exitCode", 0);
    usec_t started = object_time(ended, "startedAt"), finished = object_time(ended, "finishedAt");

    f->any_ended = true;
    if (started && (!f->first_started_at || started < f->first_started_at))
        f->first_started_at = started;
    if (finished > f->last_finished_at)
        f->last_finished_at = finished;
    if (f->has_exit && (f->exit_code != 0 || code == 0))
        return;
    f->has_exit = true;
    f->exit_code = code;
    f->exit_container = json_str_or(status, "name", "");
    f->exit_reason = json_str_or(ended, "reason", "");
    f->exit_message = json_str_or(ended, "message", "");
}

/* ContainerCreating and PodInitializing are what a healthy start looks like. */
static void note_waiting(const struct json *status, struct pod_facts *f)
{
    const struct json *waiting = json_at(status, "state.waiting");
    const char *reason = json_str_or(waiting, "reason", "");

    if (!reason[0] || f->waiting_reason[0] || strcmp(reason, "ContainerCreating") == 0 ||
            strcmp(reason, "PodInitializing") == 0)
        return;
    f->waiting_container = json_str_or(status, "name", "");
    f->waiting_reason = reason;
    f->waiting_message = json_str_or(waiting, "message", "");
}

static void read_container(const struct json *status, struct pod_facts *f, size_t *running)
{
    const struct json *run = json_at(status, "state.running");
    const struct json *end = json_at(status, "state.terminated");
    const struct json *last = json_at(status, "lastState.terminated");
    usec_t since = object_time(run, "startedAt");

    if (run) {
        f->started = true;
        (*running)++;
        if (since > f->all_running_since)
            f->all_running_since = since;
        if (since && (!f->first_started_at || since < f->first_started_at))
            f->first_started_at = since;
    }
    if (end && !never_ran(end))
        f->started = true;
    if (end)
        note_end(status, end, f);
    if (last) {
        f->started = f->started || !never_ran(last);
        f->any_ended = true;
    }
    note_waiting(status, f);
}

/* An init container that fails for good ends the pod before any other has run; beside one that ended, its end
 * (a sidecar's, by TERM) says nothing. */
static void note_init_failure(const struct json *status, struct pod_facts *f)
{
    const struct json *end = json_at(status, "state.terminated");

    if (!f->has_exit && json_int_or(end, "exitCode", 0) != 0)
        note_end(status, end, f);
}

static bool has_our_volume(const struct json *container)
{
    json_for_each (mount, json_field(container, "volumeMounts"))
        if (strcmp(json_str_or(mount, "name", ""), SC_VOLUME_NAME) == 0)
            return true;
    return false;
}

/* How many containers of the pod are ours: those with our volume, and not what a webhook has put beside them. */
static size_t count_ours(const struct json *pod)
{
    size_t n = 0;

    json_for_each (container, json_at(pod, "spec.containers"))
        n += has_our_volume(container);
    return n;
}

static bool is_ours(const struct json *pod, const char *name)
{
    json_for_each (container, json_at(pod, "spec.containers"))
        if (strcmp(json_str_or(container, "name", ""), name) == 0)
            return has_our_volume(container);
    return false;
}

/* Of a stranger only its words and its exit are of interest, to who asks why a pod does not run. */
static void read_stranger(const struct json *status, struct pod_facts *f)
{
    struct pod_facts its = *f;
    size_t running = 0;

    read_container(status, &its, &running);
    its.started = f->started;
    its.any_ended = f->any_ended;
    its.first_started_at = f->first_started_at;
    its.all_running_since = f->all_running_since;
    *f = its;
}

static void read_containers(const struct json *pod, struct pod_facts *f)
{
    const struct json *statuses = json_at(pod, "status.containerStatuses");
    size_t all = json_len(json_at(pod, "spec.containers")), ours = count_ours(pod), running = 0, ended = 0;
    bool init_runs = false;

    json_for_each (status, statuses) {
        if (ours == 0 || is_ours(pod, json_str_or(status, "name", "")))
            read_container(status, f, &running);
        else
            read_stranger(status, f);
        ended += json_at(status, "state.terminated") != NULL;
    }
    json_for_each (status, json_at(pod, "status.initContainerStatuses")) {
        note_waiting(status, f);
        note_init_failure(status, f);
        if (json_at(status, "state.running") || json_at(status, "state.terminated") ||
                json_at(status, "lastState.terminated"))
            f->init_started = true;
        init_runs = init_runs || json_at(status, "state.running");
    }
    f->all_ended = ended > 0 && ended == all && !init_runs;
    f->all_running = running > 0 && running == (ours > 0 ? ours : all);
    if (!f->all_running)
        f->all_running_since = 0;
}

static void read_conditions(const struct json *pod, struct pod_facts *f)
{
    json_for_each (condition, json_at(pod, "status.conditions")) {
        const char *type = json_str_or(condition, "type", "");
        bool is_true = strcmp(json_str_or(condition, "status", ""), "True") == 0;

        if (strcmp(type, "Ready") == 0) {
            f->ready = is_true;
            f->unready_reason = json_str_or(condition, "reason", "");
            f->unready_message = json_str_or(condition, "message", "");
        } else if (strcmp(type, "PodScheduled") == 0) {
            f->unschedulable = !is_true && !f->node[0];
            f->scheduled_at = is_true ? object_time(condition, "lastTransitionTime") : 0;
            f->scheduler_reason = json_str_or(condition, "reason", "Unschedulable");
            f->scheduler_message = json_str_or(condition, "message", "");
        } else if (strcmp(type, "DisruptionTarget") == 0 && is_true) {
            f->by_system = true;
        }
    }
}

void pod_facts_read(const struct json *pod, struct pod_facts *ret)
{
    const struct json *notes = json_at(pod, "metadata.annotations");
    const char *phase = json_str_or(pod, "status.phase", "");
    const char *hash = json_string(json_field(notes, SC_ANNOTATION_TEMPLATE_HASH));
    struct pod_facts f = {
            .exists = pod != NULL,
            .uid = json_str_or(pod, "metadata.uid", ""),
            .node = json_str_or(pod, "spec.nodeName", ""),
            .hash = hash ? hash : "",
            .deleting = object_deleting(pod),
            .succeeded = strcmp(phase, "Succeeded") == 0,
            .terminal = strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0,
            .running = strcmp(phase, "Running") == 0,
            .reason = json_str_or(pod, "status.reason", ""),
            .message = json_str_or(pod, "status.message", ""),
            .waiting_container = "",
            .waiting_reason = "",
            .waiting_message = "",
            .scheduler_reason = "",
            .scheduler_message = "",
            .unready_reason = "",
            .unready_message = "",
            .created_at = object_time(pod, "metadata.creationTimestamp"),
            .deletion_deadline = object_time(pod, "metadata.deletionTimestamp"),
            .exit_container = "",
            .exit_reason = "",
            .exit_message = "",
    };

    read_conditions(pod, &f);
    read_containers(pod, &f);
    /* activeDeadlineSeconds is the user's own wish, every other reason on the pod is the system's. */
    if (f.reason[0] && strcmp(f.reason, "DeadlineExceeded") != 0)
        f.by_system = true;
    *ret = f;
}
