/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See instance.h. Each function reads top down like its row of the table there: the first condition that
 * holds gives the answer.
 */
#include "node-agent/instance.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct decision decide(enum verdict verdict, const char *fmt, ...) _printf_(2, 3);

static struct decision decide(enum verdict verdict, const char *fmt, ...)
{
    struct decision d = {.verdict = verdict};
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(d.text, sizeof(d.text), fmt, ap);
    va_end(ap);
    return d;
}

static struct decision yes(enum verdict verdict)
{
    return (struct decision){.verdict = verdict};
}

static bool same_volume(const struct volume *a, const struct volume *b)
{
    return a && strcmp(a->id, b->id) == 0;
}

/* The two persistences have their roots in different places: one after the other, never both. */
static bool is_other_kind(const struct volume *there, const struct volume *want)
{
    return there && there->node != want->node;
}

static struct decision wait_for_rest(void)
{
    return decide(VERDICT_WAIT, "the instance's roots are being unmounted, for which the kernel writes out "
                                "the disk that they are on");
}

static struct decision publish_provider(const struct instance *in, const struct volume *want)
{
    if (same_volume(in->provider, want))
        return yes(VERDICT_DONE);
    if (is_other_kind(in->consumer, want))
        return decide(VERDICT_WAIT,
                "pod %s (uid %s), whose root is of the other persistence, is still mounted on this node",
                in->consumer->pod_name, in->consumer->pod_uid);
    if (in->resting)
        return wait_for_rest();
    if (in->provider)
        return decide(VERDICT_WAIT,
                "the instance's root is held by pod %s (uid %s) on this node; a second provider gets its "
                "turn "
                "when that pod's volume is unmounted",
                in->provider->pod_name, in->provider->pod_uid);
    return yes(VERDICT_DO);
}

/* The first root that the consumer needs and that is not there. */
static struct decision roots_ready(const struct volume *provider, const struct volume *want)
{
    for (size_t i = 0; i < want->n_containers; i++) {
        const char *name = want->containers[i].name;
        const struct volume_container *c = volume_container_const(provider, name);

        if (!c)
            return decide(VERDICT_WAIT, "the provider pod %s has no root for container %s",
                    provider->pod_name, name);
        if (c->root == ROOT_EXPOSING)
            return decide(VERDICT_WAIT, "the root of container %s is being exposed", name);
        if (c->root != ROOT_EXPOSED)
            return decide(VERDICT_WAIT, "waiting for container %s of the provider pod %s to start", name,
                    provider->pod_name);
    }
    return yes(VERDICT_DO);
}

static struct decision publish_consumer(const struct instance *in, const struct volume *want)
{
    const struct volume *p = in->provider;

    if (same_volume(in->consumer, want))
        return yes(VERDICT_DONE);
    if (in->consumer)
        return decide(VERDICT_WAIT,
                "the volume of pod %s (uid %s), which runs on the same root, is still mounted",
                in->consumer->pod_name, in->consumer->pod_uid);
    if (!p)
        return decide(VERDICT_WAIT, "waiting for the provider pod %s%s to start on this node",
                want->instance_name, SC_PROVIDER_SUFFIX);
    if (is_other_kind(p, want))
        return decide(VERDICT_LATER, "the provider pod %s is of the other persistence", p->pod_name);
    if (p->lost[0])
        return decide(VERDICT_LATER, "the preserved root is lost: %s", p->lost);
    if (in->provider_leaving)
        return decide(VERDICT_LATER, "the provider pod %s is leaving this node", p->pod_name);
    if (in->stopping)
        return decide(VERDICT_WAIT, "the provider pod %s is being stopped", p->pod_name);
    return roots_ready(p, want);
}

static struct decision publish_reclaim(const struct instance *in)
{
    const struct volume *left = in->consumer ? in->consumer : in->provider;

    if (left)
        return decide(VERDICT_WAIT, "the volume of pod %s (uid %s) is still mounted on this node",
                left->pod_name, left->pod_uid);
    return in->resting ? wait_for_rest() : yes(VERDICT_DO);
}

/* Directories on the node are keyed by the uid alone, which is an attribute and so text of the pod's author:
 * the namespace that came first keeps it. A reclaim of another namespace's instance has nothing to remove. */
static struct decision publish_foreign(const struct volume *want)
{
    if (want->role == VOLUME_RECLAIM)
        return yes(VERDICT_DO);
    return decide(VERDICT_LATER, "the instance uid %s is in use on this node by a pod of another namespace",
            want->instance_uid);
}

struct decision instance_publish(const struct instance *in, const struct volume *want)
{
    if (!instance_is_idle(in) && strcmp(in->ns, want->instance_namespace) != 0)
        return publish_foreign(want);
    switch (want->role) {
    case VOLUME_PROVIDER:
        return publish_provider(in, want);
    case VOLUME_CONSUMER:
        return publish_consumer(in, want);
    case VOLUME_RECLAIM:
        return publish_reclaim(in);
    }
    return decide(VERDICT_NEVER, "unknown role");
}

struct decision instance_hello(
        const struct instance *in, const struct volume *provider, const char *container, const char *id)
{
    const struct volume_container *c = volume_container_const(provider, container);

    if (!c)
        return decide(VERDICT_NEVER, "container %s is not among the volume's containers", container);
    if (in->provider != provider || in->provider_leaving)
        return decide(VERDICT_NEVER, "the provider's volume is being unmounted");
    if (provider->lost[0])
        return decide(VERDICT_NEVER, "the preserved root is lost: %s", provider->lost);
    if (c->id[0] && strcmp(c->id, id) != 0 && provider->node && c->root == ROOT_EXPOSED)
        return yes(VERDICT_DO);
    if (c->id[0] && strcmp(c->id, id) != 0 && !provider->node)
        return decide(VERDICT_LOSE,
                "container %s of pod %s was started a second time (%.12s after %.12s): its root is a new one",
                container, provider->pod_name, id, c->id);
    switch (c->root) {
    case ROOT_EXPOSED:
        return yes(VERDICT_DONE);
    case ROOT_EXPOSING:
        return decide(VERDICT_WAIT, "the root of container %s is being exposed", container);
    case ROOT_NONE:
    case ROOT_ADOPTING:
        break;
    }
    return yes(VERDICT_DO);
}

/* The consumer's own word on its root counts: it was exposed when its volume was published, and stays so. Only
 * a reboot of the node takes it away, and the next provider gives it back. */
static struct decision attach_node(const struct volume *consumer, const char *container)
{
    const struct volume_container *c = volume_container_const(consumer, container);

    if (c->root == ROOT_EXPOSED)
        return yes(VERDICT_DO);
    return decide(VERDICT_WAIT,
            "waiting for a provider pod %s%s to bring the root of container %s back on this node",
            consumer->instance_name, SC_PROVIDER_SUFFIX, container);
}

struct decision instance_attach(
        const struct instance *in, const struct volume *consumer, const char *container)
{
    const struct volume *p = in->provider;
    const struct volume_container *c;

    if (!volume_container_const(consumer, container))
        return decide(VERDICT_NEVER, "container %s is not among the volume's containers", container);
    if (in->consumer != consumer)
        return decide(VERDICT_NEVER, "the volume of pod %s is being unmounted", consumer->pod_name);
    if (consumer->lost[0])
        return decide(VERDICT_NEVER, "the preserved root is lost: %s", consumer->lost);
    if (consumer->node)
        return attach_node(consumer, container);
    if (!p || in->provider_leaving)
        return decide(VERDICT_NEVER, "the provider pod %s%s, which held the root, has left this node",
                consumer->instance_name, SC_PROVIDER_SUFFIX);
    if (strcmp(p->pod_uid, consumer->provider_uid) != 0)
        return decide(VERDICT_NEVER,
                "the root that this pod was started on is gone; the provider pod is a new one (uid %s, not "
                "%s)",
                p->pod_uid, consumer->provider_uid);
    if (p->lost[0])
        return decide(VERDICT_NEVER, "the preserved root is lost: %s", p->lost);
    c = volume_container_const(p, container);
    if (!c)
        return decide(
                VERDICT_NEVER, "the provider pod %s has no root for container %s", p->pod_name, container);
    if (c->root != ROOT_EXPOSED)
        return decide(
                VERDICT_WAIT, "waiting for container %s of the provider pod %s", container, p->pod_name);
    return yes(VERDICT_DO);
}

struct decision instance_release(const struct instance *in)
{
    /* A lost root has no use any more, and the agent has ended the processes that were on it. One of
     * persistence Node does not go with its provider. */
    if (in->provider && in->provider->node)
        return yes(VERDICT_DONE);
    if (in->consumer && !(in->provider && in->provider->lost[0]))
        return decide(VERDICT_WAIT, "pod %s still runs on the root", in->consumer->pod_name);
    return yes(VERDICT_DONE);
}

bool instance_is_idle(const struct instance *in)
{
    return !in->provider && !in->consumer;
}

bool instance_is_on_roots(const struct instance *in)
{
    return in->provider && in->consumer && !in->consumer->node &&
           strcmp(in->consumer->provider_uid, in->provider->pod_uid) == 0;
}

bool instance_lose(struct volume *v, const char *reason)
{
    if (v->lost[0])
        return false;
    (void)snprintf(v->lost, sizeof(v->lost), "%s", reason[0] ? reason : "unknown reason");
    return true;
}
