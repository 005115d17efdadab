/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short-lived forked children that enter other mount namespaces, and the only file that forks for that.
 *
 * A child is hardened before its function runs (worker_harden.h); the function joins the namespace, does its
 * work with our own code only, and what it found comes back as one message with fds. The agent never waits
 * for it: it is an event of the loop. A child can hang for good in a tenant's file system, where not even
 * SIGKILL ends it; so a job is answered at its deadline whatever its child does, the child is killed, and one
 * second later it counts as stuck, until the kernel lets it die and the loop reaps it. There are caps on
 * those per pod and per node, and never more than one living child per target.
 *
 * The parent must be single-threaded.
 */
#pragma once

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "node-agent/mounts/mntns.h"
#include "node-agent/mounts/mountinfo.h"
#include "node-agent/mounts/worker_harden.h"

#define WORKER_DEADLINE (5 * USEC_PER_SEC)
#define WORKER_ABANDON (1 * USEC_PER_SEC)

enum {
    WORKER_KEEP_MAX = 8, /* fds a child inherits */
    WORKER_FDS_MAX = 2, /* fds a child returns */
    WORKER_NAME_MAX = 320,
};

struct workers; /* all children of one agent */

/* What the child's function works with. */
struct worker_child {
    int self_procfd; /* the machine's /proc/WORKER, opened before anything was joined */
    struct buf notes; /* NUL-terminated strings, one after the other, for the caller */
    int fds[WORKER_FDS_MAX]; /* to return; the child's copies end with it */
    size_t n_fds;
};

/* Runs in the child. Returns 0 (or a small positive number, for the caller to understand), or a negative
 * errno with the sentence in err. */
typedef int (*worker_fn)(struct worker_child *child, void *data, struct err *err);

struct worker_result {
    int code; /* what the function returned; -ETIMEDOUT at the deadline; when the child died -EINTR if it was killed
               or could not answer, -EIO if it broke; -ECANCELED by workers_free */
    const char *text; /* the sentence when code < 0 */
    const char *notes; /* NUL-terminated strings, notes_len bytes in all; valid during the callback */
    size_t notes_len;
    int fds[WORKER_FDS_MAX]; /* closed after the callback unless taken (take_fd) */
    size_t n_fds;
};

/* Called exactly once per started job: from the loop, or from workers_free. */
typedef void (*worker_done_fn)(struct worker_result *result, void *data);

struct worker_job {
    enum worker_place place; /* 0: it enters a container */
    const char *what; /* "attach", "expose": for messages */
    const char *pod; /* uid: key of the cap per pod */
    const char *target; /* key under which only one child lives at a time: a container id */
    worker_fn run;
    void *run_data; /* read by the child as it was at worker_start */
    const int *keep; /* fds that the child needs */
    size_t n_keep;
    worker_done_fn done;
    void *done_data;
    usec_t deadline; /* 0: WORKER_DEADLINE */
};

int workers_new(struct loop *loop, struct workers **ret, struct err *err);
/* Kills what still runs, without waiting; the jobs are answered with -ECANCELED. What a child was doing may
 * be half done: the next attempt repairs it. Returns NULL; accepts NULL. */
struct workers *workers_free(struct workers *ws);
DEFINE_CLEANUP_FUNC(struct workers *, workers_free);
#define _cleanup_workers_ _cleanup_(workers_freep)

/* Starts a child. -EBUSY with the reason when the target still has one or a cap is reached: nothing was
 * started, and the callback is not called. */
int worker_start(struct workers *ws, const struct worker_job *job, struct err *err);

/* In the child: joins the mount namespace and makes sure that "/" there is no root of the machine, whatever
 * was judged before. Root and working directory are that namespace's "/" then. ret_root (O_PATH) may be NULL.
 */
int worker_join(int nsfd, const struct machine *machine, int *ret_root, struct err *err);

/* In the child, on the node: joins the machine's mount namespace, whose fd nsfd is. *ret_root: its "/",
 * O_PATH. With apart, it is a copy of that namespace, seen by nobody else and in which nothing that is mounted
 * spreads. */
int worker_join_machine(int nsfd, bool apart, int *ret_root, struct err *err);

/* In the child: its own table of mounts, as of now. */
int worker_read_mounts(const struct worker_child *child, struct mountinfo **ret, struct err *err);

/* In the child: adds a string to what the caller gets. Full: dropped, since it is only news. */
void worker_note(struct worker_child *child, const char *text);

size_t workers_stuck(const struct workers *ws); /* now; for metrics */
size_t workers_alive(const struct workers *ws);
