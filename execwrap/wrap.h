/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What execwrap does: it waits, as a container's first process or in front of a probe or hook, until the
 * agent has put the container into its preserved root, and becomes the user's program there (or, called as
 * `ready`, just ends with 0: the kubelet calls a container running when its postStart hook has ended).
 *
 *   1. note the working directory and leave it for "/": pivot_root(2) takes along only processes whose root
 *      and working directory are the old root. Nothing of the old root stays open: fds are not moved at all
 *   2. block signals, connect to agent.sock, ask (link.h); any signal ends the wait with 128 + its number. What
 *      is not the first process also gives up after `patience` seconds: the kubelet waits for a postStart hook
 *      without a bound, also while the pod is being deleted, and ends nothing in it before that (its SyncPod
 *      does not pass on the cancellation)
 *      A probe or hook in a container that has its root does not ask: the agent may be away for a while. It knows by
 *      a mark, which only the agent can make: for Pivot common/wire/mark.h, for Chroot that of enter.h. The working
 *      directory is then the one that the runtime has put it in: that of the preserved root for Pivot, of
 *      the container's own root, whose links have been followed, for Chroot, as with `kubectl exec`. Where there
 *      is no mark (also of an agent that knows none) or it does not fit, it asks
 *   3. on ATTACHED: the working directory again, now in the new root; the command (cmdline.h); signals as
 *      they were; execute (command.h)
 *
 * In attach mode Chroot (--chroot) the root is not changed under the process: step 3 is left to the copy of
 * this program that the agent has put into the container, which enters the root first (enter.h).
 *
 * Environment, user, groups, umask, rlimits, inherited fds and signal dispositions are the runtime's and
 * stay. Nothing is printed on success. Before the attach nothing of the image is opened, but for the
 * termination log where the wait has failed.
 *
 * Exit codes: 127 the command was not found, 126 it cannot be executed, 128 it was never tried (usage, no
 * command, refused, no working directory), 128 + N signal N came first.
 */
#pragma once

enum { WRAP_NOT_STARTED = 128, WRAP_PATIENCE = 120 };

/* patience: in seconds, for `exec` and `ready`; 0 is without end. Returns on failure, with the exit code, when the line has been said; and 0 for `ready`. */
int wrap(int argc, char **argv, const char *socket_path, unsigned patience);
