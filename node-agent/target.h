/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target directory of a volume, below the kubelet's directory: what a pod sees at /.stoppablecontainer.
 *
 * A plain directory, not a mount, so it outlives the agent and needs no propagation:
 *
 *     pods/<uid>/volumes/kubernetes.io~csi/<volume>/mount/
 *         agent.sock    0666, one listening socket for each volume: who comes through it is of that pod
 *         pause         0555, in a provider's; execwrap in a consumer's
 *         roots/        0555, with attach: Pivot, from the first attach on: a directory for each preserved root,
 *                       whose name execwrap looks for (common/wire/mark.h)
 *         chroot/       0555, empty, in a consumer's with attach: Chroot: the agent mounts there, in its
 *                       containers
 *
 * A reclaim pod's directory stays empty. Every file appears complete, by rename. The kubelet makes everything
 * above `mount`; nothing on the way is followed if it is a link.
 */
#pragma once

#include <stdbool.h>

#include "common/base/err.h"
#include "node-agent/volume.h"

struct target_sources {
    int kubelet_fd; /* the kubelet's directory */
    const char *pause_path;
    const char *execwrap_path;
};

/* Makes directory and files, replacing what is there; safe to repeat. The listening socket (non-blocking,
 * close-on-exec) goes to *ret_listen, -EBADF for reclaim. Refused where the file system is mounted noexec:
 * nothing in it could be started. On failure what was made stays, for the next try or target_remove. */
int target_publish(
        const struct target_sources *src, const struct volume *v, int *ret_listen, struct err *err);

/* Whether everything that target_publish makes is there. */
bool target_is_complete(const struct target_sources *src, const struct volume *v);

/* A consumer's, Pivot: marks the root (an fd of it) as one that is preserved; safe to repeat. Marks of an earlier boot
 * go. The root's file system is not waited for: one that does not know its inode by heart has no mark. */
int target_mark_root(const struct target_sources *src, const char *dir, int root, struct err *err);

/* No root is, from now on. Without marks, or a directory: success. */
int target_unmark(const struct target_sources *src, const char *dir, struct err *err);

/* The directory (O_PATH), or -ENOENT; -EXDEV where something is mounted on it. */
int target_open(const struct target_sources *src, const char *dir) _must_check_;

/* Whether the directory is there: 1, 0, or a negative errno. */
int target_exists(const struct target_sources *src, const char *dir);

/* Removes our files, directories without files, and the directory. Absent: success. Anything else in it is
 * not removed, and an error. 1: a pod's author can have the kubelet make millions of directories there, so each call
 * takes some away; call again. */
int target_remove(const struct target_sources *src, const char *dir, struct err *err);
