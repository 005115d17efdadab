/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod as the decisions see it: what its object says, read once. PURE. Strings are borrowed from the object
 * and never NULL.
 */
#pragma once

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/json/json.h"

struct pod_facts {
    bool exists;
    const char *uid;
    const char *node; /* "" before it is scheduled */
    const char *hash; /* our annotation, "" when absent */

    bool deleting;
    bool terminal; /* Succeeded or Failed */
    bool succeeded;
    bool running; /* phase Running */
    bool ready;
    bool started; /* a process of a container has run, now or before */
    bool init_started; /* the same of an init container */
    bool all_running; /* every container runs now */
    bool any_ended; /* a container's process ended, now or before; not of one that a webhook has added */
    bool all_ended; /* all containers have; a kubelet before 1.27 leaves the phase of a pod that it ends at Running */
    bool by_system; /* ended by the kubelet or a controller, not by its own processes: evicted, rejected, ...
                     */

    const char *reason; /* status.reason and .message of the pod */
    const char *message;

    const char *waiting_container; /* the first container that waits for something other than its turn */
    const char *waiting_reason; /* "" when none does */
    const char *waiting_message;

    bool unschedulable;
    const char *scheduler_reason;
    const char *scheduler_message;

    const char *unready_reason; /* why the Ready condition is not True */
    const char *unready_message;

    /* CLOCK_REALTIME; 0 when not (yet) known */
    usec_t created_at;
    usec_t scheduled_at;
    usec_t all_running_since; /* when all_running */
    usec_t first_started_at;
    usec_t last_finished_at;
    usec_t deletion_deadline; /* metadata.deletionTimestamp: the end of the grace period */

    /* How it ended: the first container that failed, else the first that ended */
    bool has_exit;
    int exit_code;
    const char *exit_container;
    const char *exit_reason;
    const char *exit_message;
};

/* pod NULL: exists is false and all else empty. */
void pod_facts_read(const struct json *pod, struct pod_facts *ret);

/* "the object is controlled by the one with this uid" (metadata.ownerReferences). */
bool object_controlled_by(const struct json *object, const char *uid);

/* Kind and name of the controlling owner in words, for messages: "ReplicaSet x", or "nobody". */
int object_owner_words(const struct json *object, struct buf *b);

bool object_deleting(const struct json *object);
bool object_has_finalizer(const struct json *object, const char *finalizer);

/* The generation of the StoppableContainer that this consumer pod was made for; 0 when it does not say. */
int64_t pod_made_for(const struct json *pod);

/* An RFC 3339 field; 0 when absent or no time. */
usec_t object_time(const struct json *node, const char *path);
