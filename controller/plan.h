/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions: (objects as observed, memory, time) -> (list of writes, when to look again). PURE: no I/O,
 * no clock. Level-triggered: nothing depends on which event led here, and the same state gives the same plan.
 *
 * The writes of a plan are made one after the other; the first that fails ends it. Each carries a
 * precondition (uid, resourceVersion) or can be repeated. A plan holds the writes that can be made with what
 * is known now; when they are done the caller observes and plans again.
 *
 *     plan.c           who is who; which of the ways below
 *     plan_start.c     the instance, the consumer, the provider, until it runs
 *     plan_place.c     the consumer that has no node yet
 *     plan_stop.c      the consumer away, the provider stays
 *     plan_loss.c      is the root still there, and what if not
 *     plan_node.c      persistence Node: the provider made again, and what is wrong with it
 *     plan_teardown.c  deletion of an instance, in order, until its node is clean
 *     plan_template.c  what an edit of the template does, and what it cannot do
 *     plan_status.c    what is written into the status, and when
 */
#pragma once

#include "common/base/limits.h"
#include "common/json/json.h"
#include "controller/memory.h"
#include "controller/template.h"

enum { PLAN_ACTIONS_MAX = 8 };

struct plan_config {
    struct template_rules rules;
    const char *namespace; /* the controller's own */
    const char *reclaim_image;
    const char *provider_priority_class; /* NULL or "": the template's own */
    const char *host; /* reporting instance in events */
};

struct observed {
    const char *namespace; /* the key */
    const char *name;
    const struct json *sc; /* each NULL when absent */
    const struct json *sci;
    const struct json *consumer; /* the pod NAME, whoever made it, if it is known */
    const struct json *provider; /* the pod NAME-provider */
    const struct json *reclaim; /* the reclaim pod of the instance */
    usec_t now; /* monotonic */
    usec_t realtime;
};

struct action {
    enum action_kind kind;
    char namespace[LIMIT_NAMESPACE + 1];
    char name[LIMIT_NAME + 1];
    char uid[LIMIT_UID + 1]; /* deletions and releases: of the object that is meant */
    char version
            [32]; /* an instance's deletion: its resourceVersion as it was seen, since a root goes with it */
    int64_t grace_seconds; /* deletions: 0 is the pod's own */
    struct json *body; /* creations and patches; owned by the plan */
};

struct plan {
    struct action actions[PLAN_ACTIONS_MAX];
    size_t n;
    usec_t requeue_at; /* monotonic; USEC_INFINITY: when something changes */
    bool ask_namespace; /* nothing else is in the plan: its state must be known first (memory.namespace) */
    char ask_node[LIMIT_NAME + 1]; /* likewise (memory.node); "" when not asked */
};

#define PLAN_INIT                                                 \
    {                                                             \
        .n = 0, .requeue_at = USEC_INFINITY, .ask_node = { '\0' } \
    }

/* *p is PLAN_INIT. -ENOMEM. */
int plan_make(const struct observed *o, const struct plan_config *config, struct key_memory *m,
        struct plan *p) _must_check_;
void plan_free(struct plan *p);

const char *action_name(enum action_kind kind);
