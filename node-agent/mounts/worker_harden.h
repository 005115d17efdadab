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
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "common/base/err.h"

/* keep: fds to leave open. ret_self_procfd: /proc/WORKER. parent: the agent's own pid. */
int worker_harden(const int *keep, size_t n_keep, pid_t parent, int *ret_self_procfd, struct err *err);
