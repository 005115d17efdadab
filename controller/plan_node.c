/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistence Node: the root lies on its node and outlives its provider, which only pins the image's layers
 * and mounts the root for the next start. So a provider that ended, failed or is gone is no loss: another is made at
 * once, with a growing distance when it does not stay, and the consumer is left alone meanwhile.
 *
 *     until the consumer has run    as in persistence Provider (plan_provider.c): the provider follows the consumer.
 *                                   The node is noted before the first provider is made, so that what it leaves
 *                                   there is found again whatever happens to us
 *     from then on                  RootfsIntact stands in the instance's status, and the agent is told that there
 *                                   must be a root (SC_ROOT_KEPT): it never makes an empty one in its place
 *
 * What can go wrong then, and how it is told. The agent's refusals are a provider's last words: "Reason: text".
 *
 *     RootMissing                   the root is lost (plan_loss.c)
 *     another refusal               Ready False with that reason, phase Failed while nothing runs; tried again. What
 *                                   ended stays to be looked at until then, and the words stand until a
 *                                   provider has run for some seconds
 *     news of a watched sizeLimit   no trouble: the condition WithinSizeLimit, and another provider that says so
 *     the image cannot be had       ImageUnavailable; the kubelet tries again
 *     no room on the node, cordon   in the scheduler's words; the pod waits
 *     the Node object is gone       NodeGone, RootfsIntact Unknown; the pod waits for a node of that name. With onLoss:
 *     or tainted out-of-service     Recreate it is a loss after a minute. The provider tolerates the taint and stays:
 *                                   there it is the consumer that waits
 */
#include <string.h>

#include "common/names.h"
#include "controller/plan_internal.h"
#include "controller/plan_provider.h"
#include "controller/pod_parts.h"
#include "controller/provider_pod.h"
#include "controller/status.h"
#include "controller/text.h"

/* A provider that is refused ends well within it. */
#define PROVEN_AFTER (5 * USEC_PER_SEC)
/* When the last one was made that long ago, the next comes at once. */
#define KEEP_FORGET (600 * USEC_PER_SEC)

#define REASON_NODE_GONE "NodeGone"
#define REASON_IMAGE_UNAVAILABLE "ImageUnavailable"
#define REASON_ROOT_MISSING "RootMissing"
enum { REASON_LEN_MIN = 4 };

static const struct json *written_intact(const struct view *v)
{
    return status_condition(json_field(v->o->sci, "status"), SC_COND_ROOTFS_INTACT);
}

/* The consumer's volume is published only when its root is there. */
static bool root_is_proven(const struct view *v)
{
    return written_intact(v) || v->consumer.started || v->consumer.init_started ||
           (v->m->consumer.known && v->m->consumer.started);
}

/* The agent's word in the provider's last ones, "Reason: text". Notes the reason in ret_reason; returns the text, or
 * NULL when it ended otherwise. */
static const char *last_words(const struct view *v, char ret_reason[REASON_MAX])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const char *words = v->provider.exit_message;
    size_t len = strspn(words, letters);

    if (!v->provider.any_ended || words[len] != ':' || len < REASON_LEN_MIN || len >= REASON_MAX ||
            words[0] >= 'a')
        return NULL;
    memcpy(ret_reason, words, len);
    ret_reason[len] = '\0';
    words += len + 1;
    return words + strspn(words, " ");
}

/* What the agent ends a provider for that it refuses nothing. The condition's status is what the next provider's
 * volume says was told (provider_pod.c). */
static const struct {
    const char *reason, *status;
} news[] = {
        {SC_REASON_LIMIT_WATCHED, "True"},
        {SC_REASON_LIMIT_EXCEEDED, "False"},
        {SC_REASON_USE_UNKNOWN, "Unknown"},
};

static const char *status_in_news(const char *reason)
{
    for (size_t i = 0; i < ARRAY_SIZE(news); i++)
        if (strcmp(reason, news[i].reason) == 0)
            return news[i].status;
    return NULL;
}

/* A refusal by the agent: its text, and the reason in v->refused_for. */
static const char *refusal_of(struct view *v)
{
    const char *text = last_words(v, v->refused_for);

    return text && !status_in_news(v->refused_for) ? text : NULL;
}

static const struct json *written_limit(const struct view *v)
{
    return status_condition(json_field(v->o->sci, "status"), SC_COND_WITHIN_LIMIT);
}

void plan_node_limit(struct view *v)
{
    const struct json *written = written_limit(v);
    struct opinion *o = &v->verdict.limit;
    const char *text = v->on_node ? last_words(v, v->news) : NULL;
    const char *status = text ? status_in_news(v->news) : NULL;

    if (status)
        opine(o, status, v->news, "%s", text);
    else if (written)
        opine(o, json_str_or(written, "status", "Unknown"), json_str_or(written, "reason", ""), "%s",
                json_str_or(written, "message", ""));
}

/* News are on their way until they are written: then the provider that brought them may go. */
static bool brings_news(const struct view *v)
{
    const struct json *written = written_limit(v);

    return status_in_news(v->news) &&
           strcmp(json_str_or(written, "message", ""), v->verdict.limit.message) != 0;
}

static bool gives_up(const struct view *v)
{
    return strcmp(json_str_or(v->o->sc, "spec.rootfs.onLoss", "Hold"), "Recreate") == 0;
}

static bool start_waits_for_node(const struct view *v)
{
    const struct pod_facts *c = &v->consumer;

    return v->provider.node[0] && c->exists && !c->node[0] && c->unschedulable;
}

/* A pod waits for a node that has not been there for long enough, whenever it was asked for. */
static bool node_is_given_up(const struct view *v)
{
    const struct pod_facts *p = &v->provider;
    bool waits = (p->exists && !p->node[0] && p->unschedulable) || start_waits_for_node(v);

    return gives_up(v) && waits && v->m->node == NODE_GONE &&
           v->o->now - v->m->node_at <= PLAN_NODE_ANSWER_AGE && v->m->node_gone_since &&
           v->o->now >= usec_add(v->m->node_gone_since, PLAN_NODE_GONE_PATIENCE);
}

enum root_state plan_node_root(struct view *v, struct opinion *ret_why)
{
    const char *text = refusal_of(v);

    if (text && strcmp(v->refused_for, REASON_ROOT_MISSING) == 0)
        opine(ret_why, "False", REASON_ROOT_MISSING,
                "node %s has no root filesystem of this instance any more: %s", v->node, text);
    else if (node_is_given_up(v))
        opine(ret_why, "False", REASON_NODE_GONE,
                "node %s is gone, and with it the root filesystem that it kept", v->node);
    else {
        if (root_is_proven(v))
            opine(ret_why, "True", INTACT_KEPT, "the root filesystem is kept on node %s", v->node);
        return ROOT_INTACT;
    }
    return plan_namespace_active(v) ? ROOT_LOST : ROOT_ASK;
}

/* Is the state one in which a provider's trouble is what matters? A consumer that runs, ends or has finished goes
 * its own way. */
static bool trouble_matters(const struct view *v)
{
    const struct pod_facts *c = &v->consumer;
    const char *phase = v->verdict.phase ? v->verdict.phase : "";

    if (v->no_status || c->started || c->init_started || (c->exists && c->deleting))
        return false;
    return strcmp(phase, SC_PHASE_PENDING) == 0 || strcmp(phase, SC_PHASE_PROVIDER_READY) == 0 ||
           strcmp(phase, SC_PHASE_STOPPED) == 0;
}

/* Ready, where it matters. */
static void tell(struct view *v, const char *reason, const char *text)
{
    if (!trouble_matters(v))
        return;
    v->verdict.progress = false;
    v->verdict.problem = true;
    opine(&v->verdict.ready, "False", reason, "%s", text);
}

static bool is_stopped(const struct view *v)
{
    return strcmp(v->verdict.phase ? v->verdict.phase : "", SC_PHASE_STOPPED) == 0;
}

/* What only matters to a start. */
static void tell_start(struct view *v, const char *reason, const char *text)
{
    if (!is_stopped(v))
        tell(v, reason, text);
}

static void tell_refusal(struct view *v, const char *reason, const char *text)
{
    if (root_is_proven(v))
        opine(&v->verdict.intact, "True", reason, "%s", text);
    if (trouble_matters(v)) {
        tell(v, reason, text);
        verdict_phase(v, SC_PHASE_FAILED, SC_PHASE_FAILED, false);
    }
}

/* The refusal that was written, while no later provider has shown that it no longer holds. */
static const char *standing_refusal(struct view *v, const char **ret_text)
{
    const struct json *written = written_intact(v);
    const char *reason = json_str_or(written, "reason", INTACT_KEPT);
    usec_t due = usec_add(v->provider.all_running_since, PROVEN_AFTER);

    if (strcmp(json_str_or(written, "status", ""), "True") != 0 || strcmp(reason, INTACT_KEPT) == 0 ||
            strcmp(reason, REASON_IMAGE_UNAVAILABLE) == 0)
        return NULL;
    if (v->provider.all_running && v->o->realtime >= due)
        return NULL;
    if (v->provider.all_running)
        plan_requeue(v, usec_add(v->o->now, due - v->o->realtime));
    *ret_text = json_str_or(written, "message", "");
    return reason;
}

bool plan_node_refused(struct view *v)
{
    const char *text;

    if (!v->on_node || plan_root_unused(v))
        return false;
    return refusal_of(v) || standing_refusal(v, &text);
}

static bool is_over(const struct pod_facts *p)
{
    return p->deleting || p->terminal || p->any_ended;
}

/* What has become of it, and why where that is known. */
static void opine_ended(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    const char *reason = p->reason[0] ? p->reason : p->exit_reason;
    const char *message = p->message[0] ? p->message : p->exit_message;

    if (!p->terminal && !p->any_ended)
        opine(&v->verdict.ready, "False", "ProviderDeleted",
                "pod %s" SC_PROVIDER_SUFFIX " is being deleted, and is made again when it has gone",
                v->o->name);
    else
        opine(&v->verdict.ready, "False", "ProviderEnded",
                "pod %s" SC_PROVIDER_SUFFIX " has ended and is made again%s%s%s%s", v->o->name,
                reason[0] ? ": " : "", reason, message[0] ? ": " : "", message);
}

/* Also of one that runs, or starts: what was written may still stand. */
static void tell_ended(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    char text[VERDICT_TEXT_MAX];
    const char *words = refusal_of(v), *standing = NULL;
    const char *standing_reason = words ? NULL : standing_refusal(v, &standing);

    if (words) {
        snprintf(text, sizeof(text), "the root filesystem is kept on node %s and cannot be used now: %s",
                v->node, words);
        tell_refusal(v, v->refused_for, text);
    } else if (standing_reason) {
        tell_refusal(v, standing_reason, standing);
    } else if (is_over(p) && trouble_matters(v) && !is_stopped(v) && !v->news[0]) {
        opine_ended(v);
    }
}

static bool too_early(struct view *v)
{
    if (v->o->now >= v->m->keep_at)
        return false;
    plan_requeue(v, v->m->keep_at);
    return true;
}

static int create(struct view *v)
{
    struct pod_request q;
    char name[SC_NAME_MAX + sizeof(SC_PROVIDER_SUFFIX)];
    struct json *pod;
    int r;

    if (!plan_may(v, ACT_PROVIDER_CREATE))
        return 0;
    if (!plan_namespace_active(v)) {
        v->no_status = true;
        return 0;
    }
    if (v->o->now >= usec_add(v->m->keep_at, KEEP_FORGET))
        backoff_reset(&v->m->keep);
    v->m->keep_at = usec_add(v->o->now, backoff_next(&v->m->keep));
    snprintf(name, sizeof(name), "%s" SC_PROVIDER_SUFFIX, v->o->name);
    plan_provider_request(v, &q);
    q.node = v->node;
    r = provider_pod_build(&q, &pod);
    return r < 0 ? r : plan_add(v, ACT_PROVIDER_CREATE, name, pod);
}

/* There is none. What stands against another: a template that is refused, or that has other containers than there
 * are roots, both of which Ready and Honored tell. */
static int make_again(struct view *v)
{
    const struct retry *refused = &v->m->retry[ACT_PROVIDER_CREATE];
    char text[VERDICT_TEXT_MAX];

    tell_ended(v);
    if (!v->template.spec || !plan_same_containers(v))
        return 0;
    if (v->foreign_provider) {
        snprintf(text, sizeof(text),
                "a pod named %s" SC_PROVIDER_SUFFIX " exists that is not ours: it is neither "
                "adopted nor deleted",
                v->o->name);
        tell_start(v, "NameConflict", text);
        return 0;
    }
    if (refused->reason) {
        snprintf(text, sizeof(text), "cannot %s: %s", action_name(ACT_PROVIDER_CREATE),
                refused->message ? refused->message : "refused");
        tell_start(v, refused->reason, text);
    }
    return too_early(v) ? 0 : create(v);
}

/* What ended stays to be looked at until another may be made. */
static int replace(struct view *v)
{
    tell_ended(v);
    if (v->provider.deleting || brings_news(v) || too_early(v))
        return 0;
    return plan_delete_pod(v, ACT_PROVIDER_DELETE, v->o->provider);
}

static void tell_node_gone(struct view *v)
{
    usec_t due = plan_node_given_up_at(v);
    char text[VERDICT_TEXT_MAX];

    snprintf(text, sizeof(text),
            "node %s, which keeps the root filesystem, is gone or out of service: this goes on when a node "
            "of "
            "that name is "
            "back with its disk; %s",
            v->node,
            gives_up(v) ? "else a fresh one is made"
                        : "set spec.rootfs.resetToken to a new value to give the root up");
    if (root_is_proven(v))
        opine(&v->verdict.intact, "Unknown", REASON_NODE_GONE, "%s", text);
    tell(v, REASON_NODE_GONE, text);
    if (trouble_matters(v))
        opine(&v->verdict.scheduled, "False", REASON_NODE_GONE, "%s", text);
    if (gives_up(v) && v->o->now < due)
        plan_requeue(v, due);
}

/* Where a pod waits for the node: true when that is not there, or when that is not known yet. */
static bool node_is_away(struct view *v)
{
    switch (plan_node_state(v, v->node, PLAN_NODE_ANSWER_AGE)) {
    case NODE_UNKNOWN:
        v->no_status = true;
        return true;
    case NODE_GONE:
        tell_node_gone(v);
        return true;
    case NODE_READY:
    case NODE_NOT_READY:
    default:
        plan_look_at_node_again(v);
        return false;
    }
}

/* The scheduler keeps trying, and so does nobody else. */
static int judge_unplaced(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    char text[VERDICT_TEXT_MAX];

    tell_ended(v);
    if (!p->unschedulable || node_is_away(v))
        return 0;
    snprintf(text, sizeof(text),
            "pod %s" SC_PROVIDER_SUFFIX " must be on node %s, which has the root filesystem: %s", v->o->name,
            v->node, p->scheduler_message);
    tell_start(v, p->scheduler_reason, text);
    return 0;
}

static bool lacks_image(const char *reason)
{
    static const char *const reasons[] = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull",
            "InvalidImageName", "ImageInspectError", "RegistryUnavailable"};

    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return false;
}

/* The words for one cause change back and forth in the kubelet's message (plan_verdict.c): the image is enough. What else
 * it waits for is told as the kubelet says it. */
static int judge_starting(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    const char *image = pod_parts_pinned_image(v->o->sci, p->waiting_container);
    char text[VERDICT_TEXT_MAX];

    tell_ended(v);
    if (!lacks_image(p->waiting_reason)) {
        if (trouble_matters(v) && !is_stopped(v))
            verdict_pod_problem(v, p, json_str_or(v->o->provider, "metadata.name", ""));
        return 0;
    }
    if (!image)
        image = pod_parts_instance_image(v->o->sci, p->waiting_container);
    snprintf(text, sizeof(text),
            "the root filesystem of container %s is kept on node %s and needs its image %s, which is not "
            "there and cannot "
            "be pulled; the kubelet tries again",
            p->waiting_container, v->node, image ? image : "");
    if (root_is_proven(v))
        opine(&v->verdict.intact, "True", REASON_IMAGE_UNAVAILABLE, "%s", text);
    tell(v, REASON_IMAGE_UNAVAILABLE, text);
    return 0;
}

/* The images of the root, as they are to be had again: once, when a consumer has run on it. */
static int note_images(struct view *v)
{
    struct json *list;
    int bad = 0;

    if (json_field(v->sci_status, "images") || !v->provider.all_running || !root_is_proven(v))
        return 0;
    list = json_ensure_array(v->sci_status, "images");
    json_for_each (item, json_at(v->o->sci, "spec.containers")) {
        const char *name = json_string(item) ? json_string(item) : "";
        const char *image = pod_parts_image_digest(v->o->provider, name);

        if (!image)
            image = pod_parts_instance_image(v->o->sci, name);
        bad |= json_append_str(list, image ? image : "");
    }
    return bad ? -ENOMEM : 0;
}

int plan_node_keep(struct view *v)
{
    const struct pod_facts *p = &v->provider;
    int r;

    if (!v->on_node || plan_root_unused(v) || v->p->ask_namespace || v->p->ask_node[0])
        return 0;
    r = plan_adopt_root(v);
    if (r == 0)
        r = note_images(v);
    if (r < 0)
        return r;
    if (!p->exists)
        return make_again(v);
    if (is_over(p))
        return replace(v);
    if (!p->node[0])
        return judge_unplaced(v);
    if (start_waits_for_node(v) && node_is_away(v))
        return 0;
    if (!p->all_running)
        return judge_starting(v);
    tell_ended(v);
    return 0;
}

/* A start waits for the provider; what keeps it is told by plan_node_keep. */
int plan_node_wait(struct view *v)
{
    if (v->provider.all_running && !plan_node_refused(v))
        return 0;
    verdict_phase(v, SC_PHASE_PENDING, SC_PHASE_PROVIDER_STARTING, true);
    opine(&v->verdict.ready, "False", "ProviderStarting",
            "pod %s" SC_PROVIDER_SUFFIX " is starting on node %s", v->o->name, v->node);
    return 1;
}
