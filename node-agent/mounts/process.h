/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process is never a number: it is a pidfd together with a directory fd of its /proc/PID.
 *
 * The pidfd says whether the process still lives, the directory fd answers questions about it; once the
 * process is gone the directory answers ESRCH for ever, even if its number is used again. Both are opened
 * through the /proc of the agent, which must be that of the machine's pid namespace (hostPID).
 *
 * A fact that was read is worth something only if the process was still alive afterwards: whoever reads
 * several facts and then acts on them calls process_alive last.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct process {
    pid_t pid; /* as the machine numbers it; for messages only */
    int pidfd;
    int procfd; /* /proc/PID, O_PATH */
};

#define PROCESS_INIT                                \
    {                                               \
        .pid = 0, .pidfd = -EBADF, .procfd = -EBADF \
    }
#define _cleanup_process_ _cleanup_(process_unpin)

/* Pins the process that has this number now. -ESRCH when there is none (or it is a zombie). */
int process_pin(pid_t pid, struct process *ret, struct err *err);

/* Pins the process that connected the unix socket `sock`: by SO_PEERPIDFD (Linux 6.5), which names the very
 * process; before that by the number in SO_PEERCRED. In the second case the number may have been used again
 * if the peer died meanwhile: the checks on its cgroup and namespace are then made on the new process, which
 * gains nothing that it could not ask for itself. */
int process_pin_peer(int sock, struct process *ret, struct err *err);

void process_unpin(struct process *p); /* closes both; accepts a process that was never pinned */

bool process_alive(const struct process *p);

/* Appends the whole of /proc/PID/name ("cgroup", "status") to b. */
int process_read_file(const struct process *p, const char *name, struct buf *b, struct err *err);
