/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The removal of a preserved root's files, whatever a tenant has made of them.
 *
 * A worker on the node empties one directory of the agent's own and removes it. Nothing in it is followed,
 * no mount is entered (-EBUSY, named: what is mounted there is somebody's), and nothing outside is touched:
 * every name is looked up in the fd of a directory that was opened as a child of the one before.
 *
 * The tree is never descended. A directory that is not empty is renamed up into the directory that is being
 * removed, under a number, and its own entries are dealt with there; so depth costs nothing, no path is ever
 * longer than two components, and the worker needs the same few fds and a few kilobytes for any tree. What was done
 * stays done: a removal that was cut off (the agent's end, the deadline) goes on where it stopped.
 *
 * Immutable and append-only flags are cleared where they are in the way, on files and directories only, and
 * never by opening what might be a device or a fifo.
 *
 * Kernels: openat2, 5.6.
 */
#pragma once

#include "node-agent/mounts/worker.h"

#define RECLAIM_SLICE (10 * USEC_PER_SEC) /* a worker gives up after this and answers -EAGAIN: call again */

/* code 0: it is gone. -EAGAIN: much is gone, more is left. */
typedef void (*reclaim_fn)(int code, const char *text, void *data);

struct reclaim_request {
    const char *target; /* the key under which one worker lives at a time */
    int dir;
    const char *name; /* a directory in it; absent: success */
};

/* Removes it. Everything is borrowed and used before it returns. Like worker_start: when this fails, done is
 * not called. */
int reclaim_start(
        struct workers *ws, const struct reclaim_request *req, reclaim_fn done, void *data, struct err *err);

/* What the worker does, for tests of it: until `deadline` (monotonic). */
int reclaim_tree(int dir, const char *name, usec_t deadline, struct err *err);
