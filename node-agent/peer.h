/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is on the other end of a connection.
 *
 * The socket vouches for the pod, since only that pod has it. The rest is found out, in this order:
 *
 *   1. the peer is pinned (pidfd and /proc/PID), never used as a number again;
 *   2. its cgroup names a container;
 *   3. the runtime says about that container: of this pod (by uid), one of the volume's containers, no user
 *      namespace of its own, and its init process. A runtime that has not got so far (containerd writes down
 *      state and pid only after the start) is asked again, for PEER_PATIENCE;
 *   4. the init process is pinned, and must be in the same container's cgroup;
 *   5. the peer's mount namespace is opened and judged: it is that of init, and by the rules of
 *      mounts/mntns.h neither the machine's, nor the agent's, nor a forbidden one;
 *   6. peer and init were alive after all that.
 *
 * The result holds fds only; whatever the processes do afterwards, it is about the same ones.
 */
#pragma once

#include "common/base/loop.h"
#include "node-agent/mounts/mntns.h"
#include "node-agent/runtime/cri.h"
#include "node-agent/volume.h"

#define PEER_PATIENCE (1 * USEC_PER_SEC)

/* Counted: the agent keeps it for as long as it needs to find the container's first process again. */
struct peer {
    unsigned refs;
    struct process process; /* the one that connected */
    struct process init; /* its container's first process */
    struct mntns ns; /* of both */
    struct cri_container *container;
};

struct peer *peer_ref(struct peer *p);
struct peer *peer_unref(struct peer *p); /* accepts NULL; returns NULL */
DEFINE_CLEANUP_FUNC(struct peer *, peer_unref);
#define _cleanup_peer_ _cleanup_(peer_unrefp)

/* Step 5 once more, for who begins something in its namespace, and the end of that. An open one outlives its
 * processes, and who closes it last unmounts all that is mounted there, in his own time: so it is open for no longer
 * than it takes to hand it to a worker. ns.id is as of the last look. Errors are those of a check. */
int peer_open_namespace(struct peer *p, const struct machine *machine, struct err *err) _must_check_;
void peer_leave_namespace(struct peer *p);

struct peer_check;

/* Exactly one call, from the loop, unless cancelled; the check is gone by then. code 0: peer is the callee's.
 * Negative: the sentence in err; -EAGAIN: it may be otherwise a moment later. */
typedef void (*peer_fn)(int code, struct peer *peer, const struct err *err, void *user);

struct peer_question {
    struct loop *loop;
    struct cri *cri;
    const struct machine *machine;
    int sock; /* borrowed; used before peer_check_start returns */
    const struct volume *volume; /* borrowed until the answer or the cancellation */
    peer_fn fn;
    void *user;
};

int peer_check_start(const struct peer_question *q, struct peer_check **ret_check, struct err *err);
struct peer_check *peer_check_cancel(struct peer_check *check); /* accepts NULL; returns NULL */

/* The same for a container that nobody connected from: steps 4 to 6 with its init process as the peer. The
 * container must be reported as running, and becomes the peer's on success only. -ESRCH when it has ended,
 * -EPERM when the process with init's number is in another container. */
int peer_from_container(struct cri_container *container, const struct machine *machine,
        struct peer **ret_peer, struct err *err);
