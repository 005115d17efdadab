/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Into the preserved root of a container in attach mode Chroot, and there the command.
 *
 * Called in two ways:
 *   - by the name of a command: the agent laid links of such names over the directories of the container's
 *     PATH, so `kubectl exec POD -- CMD` comes here. argv is the command, the working directory is where the
 *     runtime put us
 *   - by execwrap itself, as SC_CHROOT_DIR/execwrap WORKDIR LOG COMMAND..., see enter_command
 *
 * Where the container's user is not root this program has the file capability cap_sys_chroot=ep, so it is one
 * that any process of the container may run, with whatever it likes, to get something that it does not have.
 * What that can be is: a process in the preserved root, as the same user, which every process of the
 * container is anyway. What it must not be: a chroot to anywhere else (in a root of one's own making a setuid
 * program believes what one wrote), or anything done with more than the caller has. So, in this order:
 *
 *   1. fds 0 to 2 are open (on /dev/null where they were closed: what is opened next must not become stdout);
 *      all others are closed
 *   2. /rootfs is opened, O_PATH and not through a link. It must be the root of the mount whose id the agent
 *      wrote into the mark, and the mark must be a plain file of root's on a tmpfs that is mounted
 *      read-only: what nobody can make who may not mount in the machine's user namespace. In another one
 *      root's files belong to nobody: refused. Who mounts a mark of their own in a user namespace of their
 *      own gets what the capability is worth there, and that its maker has already
 *   3. fchdir there, chroot("."), chdir("/"). Nothing is looked up by name between the check and the chroot
 *   4. found setuid or setgid, which it never is: back to the real ids. Groups are not changed by an exec.
 *      Unless the caller is root: permitted, effective, inheritable and ambient set emptied. Both are read
 *      back; whatever differs ends the process. The bounding set is left alone, so what is setuid in the
 *      root works as the pod allows
 *   5. only now: words on stderr or in a log, the working directory, the environment (PATH), the command
 *
 * Not relied upon: the environment (not read before 5), argv (text, used in 5), the working directory (text,
 * in 5), umask, limits (a call that fails ends the process, after 4), signals (each may end it at any moment;
 * nothing is left half done but itself). A tracer's process does not gain the capability at all (ptrace(2)),
 * and one that has it cannot be attached to. no_new_privs and a bounding set without the capability: no gain,
 * told in 5.
 *
 * For a container whose user is root the same file has no capability, and step 4 changes nothing. chroot(2)
 * is no wall for root: out of /rootfs is the container's own root, read-only and thrown away at its end. The
 * wall is the container.
 */
#pragma once

#include <stdbool.h>

/* What is wrong where entering is not permitted. */
extern const char enter_hint[];

/* Whether the program was called for this. */
bool enter_is_meant(int argc, char *const *argv);

/* Whether enter would find the root and its mark, which it looks at again: step 2, as whoever calls. */
bool enter_is_ready(void);

/* Returns on failure, with the exit code (wrap.h), when the line has been said. */
int enter(int argc, char **argv);

/* The command line that makes execwrap enter, change to workdir and execute argv; failures are said in `log`
 * (NULL: stderr only). NULL: out of memory. Never freed: it is made to be executed. */
char **enter_command(char *const *argv, const char *workdir, const char *log);
