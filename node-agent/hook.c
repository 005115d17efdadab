/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach mode Pivot and the postStart hook (agent.h): a container is given its root when its first process and the hook's
 * have come.
 *
 * pivot_root(2) gives the new root to the tasks that the kernel has in its list and that have the old one. A process that is
 * just being forked is not in the list yet and has its copy of the old root already; one in a setns(2) of several namespaces
 * is to be given a copy that was made before. Such a process keeps the old root, where nothing is mounted any more. The
 * runtime joins a container and forks there to execute something, so what it executes in that moment does not find
 * execwrap; and the kubelet ends a container whose hook failed. When the hook's process asks on the socket it is execwrap,
 * which forks no more, and the pivot takes it along.
 *
 *   - Which containers have a hook of ours the controller says (SC_ATTR_POST_START). Where an older one has made the pod, or
 *     an older agent has published its volume, nothing is said, and nothing is waited for.
 *   - The first process waits for the hook before the first attach of its container only. When that was begun the hook had
 *     come, or had had its time; a hook that comes after the attach does not ask.
 *   - The kubelet executes the hook as soon as the runtime has started the container, and never later: one that
 *     is started again in between does not. It publishes the volumes of all pods once more then, which ends the waiting; and so
 *     does FOR_HOOK, in any case.
 *   - The hook waits for the first process too, since its success makes the container Running: both come again, in any
 *     order, when an agent has ended in between. In vain where an earlier agent has let that go on: FOR_FIRST ends this.
 *   - Probes begin after the hook. Who is on such a way without being waited for: mounts/README.md, "Forks".
 *
 * Attach mode Chroot leaves everyone's root as it is.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "node-agent/agent.h"

/* A hook comes within a second, mostly. Too short, a late one may fail; too long, a start takes that much longer where
 * none comes. */
#define FOR_HOOK (20 * USEC_PER_SEC)

/* More than the longest of execwrap's delays between two attempts (execwrap/link.h). */
#define FOR_FIRST (10 * USEC_PER_SEC)

static bool has_come(const struct served *sv, enum wire_kind kind, const char *id)
{
    list_for_each (it, &sv->visitors) {
        const struct visitor *v = list_entry(it, struct visitor, node);

        if (v->state == VISITOR_CHECKED && v->request.kind == kind && strcmp(v->peer->container->id, id) == 0)
            return true;
    }
    return false;
}

static void give_up(struct slot *s, const char *why)
{
    const struct volume *v = s->served->volume;

    log_warn("pod %s/%s: container %s: its postStart hook and its first process wait for each other no more: "
             "%s",
            v->pod_namespace, v->pod_name, s->container->name, why);
    s->hook.over = true;
    s->hook.timer = loop_remove(s->hook.timer);
    agent_touch(s->served->instance);
}

static void on_time_over(struct loop_source *src, usec_t now, void *data)
{
    (void)src;
    (void)now;
    give_up(data, "the other has not come in time");
}

/* False: no memory, so that nobody would be woken. */
static bool begin_waiting(struct slot *s, const char *id, usec_t patience)
{
    struct slot_hook *h = &s->hook;

    if (!h->timer && loop_add_timer(s->served->agent->loop, "hook", on_time_over, s, &h->timer) < 0)
        return false;
    if (loop_timer_in(h->timer, patience) < 0)
        return false;
    (void)snprintf(h->of, sizeof(h->of), "%s", id);
    h->over = false;
    return true;
}

static bool is_complete(const struct slot *s, enum wire_kind kind, const char *id)
{
    if (kind == WIRE_RUN)
        return strcmp(s->container->id, id) == 0 || has_come(s->served, WIRE_EXEC, id);
    return strcmp(s->hook.first, id) == 0 || has_come(s->served, WIRE_RUN, id);
}

const char *hook_waits_for(struct slot *s, const struct visitor *v)
{
    bool first = v->request.kind == WIRE_RUN;
    const char *id = v->peer->container->id;
    bool waits;

    if (!s->container->post_start || s->served->volume->chroot)
        return NULL;
    if (is_complete(s, v->request.kind, id)) {
        s->hook.timer = loop_remove(s->hook.timer);
        s->hook.of[0] = '\0';
        return NULL;
    }
    waits = strcmp(s->hook.of, id) == 0 ? !s->hook.over : begin_waiting(s, id, first ? FOR_HOOK : FOR_FIRST);
    if (!waits)
        return NULL;
    return first ? "waiting for the container's postStart hook to be executed"
                 : "waiting for the container's first process";
}

void hook_first_goes_on(struct slot *s, const struct peer *peer)
{
    (void)snprintf(s->hook.first, sizeof(s->hook.first), "%s", peer->container->id);
}

void hook_kubelet_is_new(struct served *sv)
{
    for (size_t i = 0; i < sv->n_slots; i++)
        if (sv->slots[i].hook.timer)
            give_up(&sv->slots[i], "the kubelet has been started again");
}
