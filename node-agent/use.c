/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sizeLimit of roots in persistence Node that no project quota holds (agent.h): what they take is counted
 * (mounts/usage.h) when they are exposed, and again and again while a consumer is there to write to them, once more when
 * it has gone. No workload is stopped for it.
 *
 *   told       what the controller knows is in the provider's volume (SC_ATTR_USE). Where it is not what was
 *              counted, the provider is ended with the news as its last words, "REASON: sentence"; the
 *              controller makes another, whose volume says so. In persistence Node a provider's end harms
 *              nothing, and it is the one word that a kubelet carries from a node to the API
 *   how often  --limit-interval after the last count ended, and at least nine times as long as that took
 *
 * Level-triggered: a count that is lost is made again, news that do not arrive are told to the next provider.
 */
#include "node-agent/use.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/names.h"
#include "node-agent/agent.h"
#include "node-agent/mounts/safe_path.h"
#include "node-agent/mounts/usage.h"
#include "node-agent/rootdir.h"

enum { REST = 9, NAME_MAX_USE = LIMIT_UID + LIMIT_NAMESPACE + 16 };

enum root_use use_judge(enum root_use told, uint64_t bytes, uint64_t limit)
{
    if (told == USE_EXCEEDED)
        limit -= limit / 10;
    return bytes > limit ? USE_EXCEEDED : USE_WITHIN;
}

usec_t use_pause(usec_t took, usec_t interval)
{
    return REST * took > interval ? REST * took : interval;
}

/* One count under way: the volume may be gone when it is done. */
struct counting {
    struct agent *agent;
    usec_t since;
    char volume[VOLUME_ID_LEN + 1];
    char container[LIMIT_NAMESPACE + 1];
};

static void conclude(struct slot *s, int code, const char *text, uint64_t bytes)
{
    const struct volume *v = s->served->volume;
    struct slot_use *u = &s->use;

    if (code == 0) {
        u->is = use_judge(v->use, bytes, v->size_limit);
        u->bytes = bytes;
    } else if (code == -E2BIG || code == -ETIMEDOUT) {
        u->is = USE_UNKNOWN;
        (void)snprintf(u->why, sizeof(u->why), "%s", text);
    } else {
        u->stale = true;
        log_warn("pod %s/%s: the root of container %s is not counted: %s", v->pod_namespace, v->pod_name,
                s->container->name, text);
    }
}

static void on_counted(int code, const char *text, uint64_t bytes, void *data)
{
    _cleanup_free_ struct counting *c = data;
    struct served *sv = code == -ECANCELED ? NULL : map_get(c->agent->volumes, c->volume);
    struct slot *s = sv ? served_slot(sv, c->container) : NULL;
    usec_t now = clock_monotonic();

    if (!s)
        return;
    s->use.counting = false;
    s->use.next = usec_add(now, use_pause(now - c->since, c->agent->options->limit_interval));
    conclude(s, code, text, bytes);
    agent_touch(sv->instance);
}

static int count(struct slot *s, struct err *err)
{
    const struct volume *v = s->served->volume;
    struct agent *a = s->served->agent;
    _cleanup_free_ struct counting *c = calloc(1, sizeof(*c));
    _cleanup_close_ int dir = rootdir_open(a->instances_fd, v->instance_uid, s->container->name);
    _cleanup_close_ int upper = dir < 0 ? dir : safe_open_child(dir, SC_UPPER_DIR, O_DIRECTORY);
    char target[NAME_MAX_USE];
    const struct usage_request req = {.pod = v->id, .target = target, .dir = upper};
    int r;

    if (!c || upper < 0)
        return err_set(err, c ? upper : ENOMEM, "cannot open the root");
    (void)snprintf(target, sizeof(target), "%s/%s use", v->instance_uid, s->container->name);
    c->agent = a;
    c->since = clock_monotonic();
    (void)snprintf(c->volume, sizeof(c->volume), "%s", v->id);
    (void)snprintf(c->container, sizeof(c->container), "%s", s->container->name);
    r = usage_start(a->workers, &req, on_counted, c, err);
    if (r < 0)
        return r;
    (void)take_ptr(c);
    return 0;
}

/* What is written while it is counted, by a consumer that then goes, is counted the next time. */
static void on_due(struct loop_source *src, usec_t now, void *data)
{
    struct slot *s = data;
    struct err err = ERR_INIT;
    int r;

    (void)src;
    s->use.armed = false;
    s->use.next = usec_add(now, s->served->agent->options->limit_interval);
    s->use.stale = s->served->instance->consumer != NULL;
    s->use.counting = true;
    r = count(s, &err);
    if (r == 0)
        return;
    s->use.counting = false;
    if (r == -EBUSY) { /* others are counted first */
        s->use.stale = true;
        s->use.next = usec_add(now, USEC_PER_SEC);
    } else {
        conclude(s, -EAGAIN, err_text(&err), 0);
    }
    agent_touch(s->served->instance);
}

static void arm(struct slot *s)
{
    struct loop *loop = s->served->agent->loop;

    if ((s->use.timer || loop_add_timer(loop, "use", on_due, s, &s->use.timer) == 0) &&
            loop_timer_set(s->use.timer, s->use.next) == 0)
        s->use.armed = true;
    else
        log_error("no memory to watch a sizeLimit; the next change will try again");
}

/* The news, as the provider's last words. s: the root that they are about, for a limit that is kept the first. */
static void tell(struct served *sv, const struct slot *s, enum root_use is)
{
    const struct volume *v = sv->volume;
    char text[DECISION_TEXT_MAX];

    if (is == USE_EXCEEDED)
        (void)snprintf(text, sizeof(text),
                SC_REASON_LIMIT_EXCEEDED
                ": the root of container %s took %" PRIu64
                " bytes of the node's disk when it was last looked at, more than its "
                "sizeLimit of %" PRIu64 ", which the node's file system cannot hold: it is not stopped from "
                "taking more",
                s->container->name, s->use.bytes, v->size_limit);
    else if (is == USE_UNKNOWN)
        (void)snprintf(text, sizeof(text),
                SC_REASON_USE_UNKNOWN ": what the root of container %s takes of the node's disk cannot be "
                                      "counted, so its sizeLimit is not watched: %.200s",
                s->container->name, s->use.why);
    else
        (void)snprintf(text, sizeof(text), SC_REASON_LIMIT_WATCHED ": " USE_WATCHED_TEXT, v->size_limit);
    visitor_dismiss(sv, text);
}

/* The worst of its roots; a limit is kept when all were counted. */
static void compare(struct served *sv)
{
    const struct slot *worst = NULL;
    bool all = true;

    for (size_t i = 0; i < sv->n_slots; i++) {
        const struct slot *s = &sv->slots[i];

        if (!s->use.watched)
            continue;
        all = all && s->use.is != USE_NONE;
        if (!worst || s->use.is > worst->use.is)
            worst = s;
    }
    if (worst && (all || worst->use.is == USE_EXCEEDED) && worst->use.is != sv->volume->use)
        tell(sv, worst, worst->use.is);
}

void use_watch(struct slot *s, const struct record *rec)
{
    const struct volume *v = s->served->volume;
    bool watched = v->size_limit > 0 && v->use != USE_NONE && rec->project == 0;

    if (watched && !s->use.watched)
        s->use.stale = true;
    s->use.watched = watched;
}

void use_settle(struct served *sv)
{
    for (size_t i = 0; i < sv->n_slots; i++) {
        struct slot *s = &sv->slots[i];

        if (!s->use.watched || s->container->root != ROOT_EXPOSED || sv->leaving)
            continue;
        s->use.stale = s->use.stale || sv->instance->consumer;
        if (s->use.stale && !s->use.counting && !s->use.armed)
            arm(s);
    }
    if (!sv->leaving)
        compare(sv);
}
