/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker child gives up before it goes near a tenant. One way only; called once, in the child, right
 * after fork. In this order:
 *
 *   - it dies with the agent (PDEATHSIG), takes every signal's default action, blocks none
 *   - it is not dumpable (nobody in the namespace may trace it or read its memory) and leaves no core
 *   - umask 0; as many fds as the hard limit allows
 *   - every fd is closed but those it is told to keep, and a directory fd of the machine's /proc/WORKER
 *   - its capabilities: SYS_ADMIN and SYS_CHROOT (setns, mounts, pivot_root), SYS_PTRACE (to look at
 *     /proc/PID/root of a tenant's process), DAC_OVERRIDE and FOWNER (to make a mount's target wherever a
 *     preserved root needs one); none of them can be got back
 *   - a seccomp list of the calls that its functions make; any other kills it: no execve, ptrace, socket
 *
 * A worker on the node (WORKER_ON_NODE) never enters a container. It mounts overlays, whose file systems act
 * with its credentials for as long as they live, and removes trees of every kind: it keeps the agent's own
 * capabilities (caps.c), and its list has the calls for that beside.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "common/base/err.h"

/* The name of a worker's process, for those who look at the node. One on the node takes what time the disk takes. */
#define WORKER_COMM "sc-worker"
#define WORKER_NODE_COMM "sc-node-worker"

enum worker_place { WORKER_IN_CONTAINER, WORKER_ON_NODE };

struct worker_bounds {
    enum worker_place place;
    pid_t parent; /* the agent's own pid */
};

/* keep: fds to leave open. ret_self_procfd: /proc/WORKER. */
int worker_harden(const int *keep, size_t n_keep, const struct worker_bounds *bounds, int *ret_self_procfd,
        struct err *err);
