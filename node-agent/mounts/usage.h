/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a preserved root takes of the node's disk, counted as du(1) does: the blocks of every file and
 * directory below one directory of the agent's own, on its file system alone.
 *
 * The tree is a tenant's, and changes while it is counted. Nothing in it is opened but directories, each as a
 * child of the one before, without links and mounts; what is gone or became something else meanwhile is left
 * out. A file with several links counts with its share at each of them, so that none has to be remembered:
 * all of them are in the tree, since nobody but the workload makes any. The memory is some bytes for each
 * level and one buffer. A tree that is deeper than LIMIT_USAGE_DEPTH, or has more than LIMIT_USAGE_ENTRIES
 * entries, is not counted but called uncountable (-E2BIG).
 *
 * A worker on the node does it, beside the agent and for at most USAGE_DEADLINE.
 *
 * Kernels: openat2, 5.6.
 */
#pragma once

#include "node-agent/mounts/worker.h"

#define USAGE_DEADLINE (60 * USEC_PER_SEC)

/* code 0: bytes. -E2BIG, -ETIMEDOUT: it cannot be counted; text says why. */
typedef void (*usage_fn)(int code, const char *text, uint64_t bytes, void *data);

struct usage_request {
    const char *pod;
    const char *target; /* the key under which one worker lives at a time */
    int dir;
};

/* Everything is borrowed and used before it returns. Like worker_start: when this fails, done is not called. */
int usage_start(
        struct workers *ws, const struct usage_request *req, usage_fn done, void *data, struct err *err);

/* What the worker does, for tests of it. */
int usage_count(int dir, uint64_t *ret_bytes, struct err *err);
