/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the controller remembers of one StoppableContainer between decisions, and may lose at any moment: a
 * restarted controller begins with an empty memory and comes to the same end, at worst a little later or by a
 * reclaim pod more. What must not be lost is in the objects' status.
 */
#pragma once

#include <stdbool.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "controller/facts.h"

/* The writes, in the order in which a plan may have to make them. */
enum action_kind {
    ACT_SC_FINALIZER,
    ACT_SCI_CREATE,
    ACT_CONSUMER_CREATE,
    ACT_PROVIDER_CREATE,
    ACT_PROVIDER_RESIZE,
    ACT_RECLAIM_CREATE,
    ACT_SC_STATUS,
    ACT_SCI_STATUS,
    ACT_EVENT,
    ACT_SCI_DELETE,
    ACT_CONSUMER_DELETE,
    ACT_PROVIDER_DELETE,
    ACT_RECLAIM_DELETE,
    ACT_SCI_RELEASE, /* our finalizer away */
    ACT_SC_RELEASE,
    ACT_KINDS,
};

/* A write that failed: when it may be tried again, and in whose words it was refused. */
struct retry {
    struct backoff backoff;
    usec_t not_before; /* monotonic; 0: never failed */
    bool unreached; /* failed because no API server answered */
    int64_t generation; /* of the SC: a changed spec is tried at once */
    char *reason; /* NULL unless the server refused the object; owned */
    char *message;
};

struct last_run {
    usec_t started_at; /* realtime, 0: it never ran */
    usec_t finished_at;
    int exit_code;
    bool has_exit;
    char reason[64];
    char message[256];
};

/* A pod that is gone, as it was last seen. */
struct removed_pod {
    bool known; /* false: none was seen going since this process started */
    bool clean; /* deleted and terminal when last seen, or never on a node: nothing of it is left there */
    bool terminal; /* its processes had ended */
    bool started;
    bool by_surprise; /* we had not asked for it, and no plan has taken notice of it yet */
    char uid[LIMIT_UID + 1];
    char node[LIMIT_NAME + 1];
    int64_t grace; /* seconds that its kubelet gives it, whatever the template says by now */
    struct last_run run;
};

enum namespace_state { NAMESPACE_UNKNOWN, NAMESPACE_ACTIVE, NAMESPACE_TERMINATING };
/* NODE_GONE: no object of that name, or one that is tainted out-of-service: an administrator's word that nothing
 * runs there. */
enum node_state { NODE_UNKNOWN, NODE_READY, NODE_NOT_READY, NODE_GONE };

/* When a status that only says "on the way" is due. */
struct hold {
    usec_t since; /* monotonic; 0: nothing is held back */
};

struct key_memory {
    char instance[LIMIT_UID + 1]; /* all below that is about pods belongs to this instance */
    struct removed_pod consumer;
    struct removed_pod provider;
    bool unclean; /* some pod of the instance went without our knowing that its node is clean */
    usec_t missing_since; /* consumer gone and its processes not known to have ended */
    bool missing_away; /* and its node was not Ready since: it may begin to end them only when it is again */

    struct retry retry[ACT_KINDS];
    /* deletions and releases: uid of the object for which it was done; nothing is done twice while the watch
     * has not told of it yet */
    char write_sent[ACT_KINDS][LIMIT_UID + 1];

    struct backoff again; /* pods that ended by themselves, or were rejected */
    usec_t again_at;
    struct backoff recreate; /* whole instances, onLoss: Recreate */
    usec_t recreate_at;
    struct backoff keep; /* providers made again, persistence Node */
    usec_t keep_at;
    usec_t reclaim_at; /* reclaim pods that failed; distance by `again` */

    struct hold sc_hold, sci_hold;
    struct backoff notes; /* status writes that change words only */
    usec_t note_at;
    char warned[64]; /* reason of the last Warning event */

    enum namespace_state namespace;
    usec_t namespace_at; /* monotonic: when that was asked */
    enum node_state node;
    usec_t node_at;
    usec_t node_gone_since; /* monotonic; 0: not gone when asked last */
    struct backoff node_backoff;
};

void memory_init(struct key_memory *m);
void memory_free(struct key_memory *m);

/* Forgets all about pods when the instance is another one. */
void memory_set_instance(struct key_memory *m, const char *uid);

/* A pod of the instance went; last is its last state. */
void memory_pod_removed(struct key_memory *m, bool is_provider, const struct json *last);

/* The node's state was asked for. */
void memory_node_answered(struct key_memory *m, enum node_state state, usec_t now);

/* An action failed. reason and message are NULL unless the server refused what we sent. */
struct failure {
    usec_t now; /* monotonic */
    usec_t retry_after; /* 0: by our own back-off */
    bool unreached; /* no API server answered: nothing was refused */
    int64_t generation;
    const char *reason;
    const char *message;
};
void memory_action_failed(struct key_memory *m, enum action_kind kind, const struct failure *failure);

/* The status was not written, nor the event that comes after it: what is to be warned of has not been. */
void memory_not_told(struct key_memory *m);

/* The API server answers again: what it did not get to see may be sent now. True when there is such a write. */
bool memory_reached_again(struct key_memory *m);
void memory_action_done(struct key_memory *m, enum action_kind kind);

void last_run_read(const struct pod_facts *f, struct last_run *ret);
