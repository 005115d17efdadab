/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider's root, visible on the node.
 *
 *   worker   setns(nsfd); "/" is no root of the machine; open_tree(CLONE) of "/", that mount alone; the fd
 *            goes back
 *   agent    on the detached copy: nosuid, nodev, noexec, nosymfollow, shared (so that other mount
 *            namespaces of the node see it); then move_mount onto dir/name, opened without following a link
 *
 * The path /proc/PID/root is never used as a source: mount(2) refuses it, and libmount reads it as "/" and
 * binds the machine's root instead.
 */
#pragma once

#include "node-agent/mounts/mntns.h"
#include "node-agent/mounts/mount_api.h"
#include "node-agent/mounts/worker.h"

/* Everything is borrowed and used before expose_start returns, except `dir`, which is duplicated. */
struct expose_request {
    const char *pod; /* uid of the provider pod */
    const char *target; /* container id */
    const struct machine *machine;
    const struct mount_caps *caps;
    const struct process *process; /* checked alive once more before the copy is attached */
    const struct mntns *ns; /* judged by mntns_open */
    int dir; /* instances/<uid>/<container> */
    const char *name; /* SC_ROOTFS_DIR */
};

/* code 0: exposed. -EEXIST: something is mounted there already. text is valid during the callback. */
typedef void (*expose_done_fn)(int code, const char *text, void *data);

/* Like worker_start: when this fails, done is not called. */
int expose_start(struct workers *ws, const struct expose_request *req, expose_done_fn done, void *data,
        struct err *err);

/* The second half alone, for a detached mount that is to be exposed: protected, then moved onto dir/name. */
int expose_place(int dir, const char *name, const struct mount_caps *caps, int tree, struct err *err);

/* 1 when something is mounted at dir/name, 0 when not (or it is not there), or a negative errno. */
int expose_is_exposed(int dir, const char *name);

/* An O_PATH fd of the exposed root's directory. -ENOENT when nothing is mounted there. */
int expose_open(int dir, const char *name, int *ret_fd, struct err *err);

/* Detaches everything at dir/name and removes the directory. Absent: success. */
int expose_remove(int dir, const char *name, struct err *err);
