/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system that a container in attach mode Chroot gets beside its root: one small tmpfs for each, made
 * by the agent, filled further by the worker (attach_commands.c), and read-only for good before the container
 * may use it.
 *
 *     execwrap     0555; for a container whose user is not root with the file capability cap_sys_chroot=ep
 *     bin/         links to execwrap, named as the commands of the preserved root
 *     root         the id of the mount at /rootfs, in decimal; made last
 *
 * nodev, and nosuid where there is no capability to be gained. The capability is of the machine's user
 * namespace and needs CAP_SETFCAP; what may be done with it, and what is guarded, is told in
 * execwrap/enter.h. Not setuid root: that works in no case where a file capability does not, and adds a
 * process of root's where it fails.
 */
#pragma once

#include "node-agent/mounts/attach.h"

#define CHROOT_TOOLS_SOURCE "stoppablecontainer-chroot" /* in mountinfo: how a left-over one is known */

/* *ret: a detached mount, writable. */
int chroot_tools_make(const struct attach_chroot *how, int *ret, struct err *err);
