/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount system calls, and the only file that makes them. Everything goes from fd to fd with empty paths
 * (Linux 5.2); the two exceptions are explained where they are.
 *
 *   open_tree(OPEN_TREE_CLONE)   mount_clone, mount_clone_root     5.2
 *   move_mount                   mount_move                        5.2; onto a detached tree 6.15
 *   mount_setattr                mount_change                      5.12; MOUNT_ATTR_NOSYMFOLLOW 5.14
 *   fsopen, fsconfig, fsmount    mount_new_scaffold, _tmpfs        5.2
 *   pivot_root, umount2          mount_pivot, mount_detach_*       always
 *   fsconfig with O_PATH layers  mount_new_overlay                 6.15; 6.13 takes fds, but no O_PATH ones
 *   mount                        mount_new_overlay before that     always
 *
 * All return an fd or 0, or a negative errno; the sentence is the caller's, who knows what it was doing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* What this kernel can do, found out by calls and not by version numbers. */
struct mount_caps {
    bool nosymfollow; /* 5.14 */
    bool detached_assembly; /* 6.15: a tree may be put together before any of it is visible */
    bool layer_fds; /* 6.15: an overlay takes its layers as O_PATH fds */
};

/* -ENOSYS with a sentence for people when the kernel is too old to work with at all. Needs CAP_SYS_ADMIN.
 * Leaves nothing behind. */
int mount_caps_probe(struct mount_caps *ret, struct err *err);

enum mount_flag {
    MOUNT_NOSUID = 1 << 0,
    MOUNT_NODEV = 1 << 1,
    MOUNT_NOEXEC = 1 << 2,
    MOUNT_NOSYMFOLLOW = 1 << 3,
    MOUNT_RDONLY = 1 << 4,
};

enum mount_spread { MOUNT_SPREAD_KEEP, MOUNT_SPREAD_PRIVATE, MOUNT_SPREAD_SHARED };

struct mount_change {
    unsigned set; /* enum mount_flag */
    unsigned clear; /* enum mount_flag */
    enum mount_spread spread;
    bool recursive;
};

/* Changes the mount (or the tree, when recursive) whose root fd refers to; it may be attached or detached. */
int mount_change(int fd, const struct mount_change *change);

/* A detached copy of the mount that fd refers to the root of; recursive: with everything mounted below it,
 * except unbindable mounts, which the kernel leaves out without a word. Returns an O_PATH fd; closing the
 * last fd of a tree that was never moved dissolves it, without propagation. */
int mount_clone(int fd, bool recursive) _must_check_;

/* A detached copy of the caller's own "/", that mount alone. By path, because "/" is what is wanted: the root
 * of the namespace that was just joined. */
int mount_clone_root(void) _must_check_;

/* An empty detached tmpfs of one directory, read-only once filled, to build a tree on. A tree cloned in one
 * namespace may not be built upon from another (EINVAL, by its anonymous namespace's origin), but a new file
 * system's mount has no origin. */
int mount_new_scaffold(void) _must_check_;

/* A detached tmpfs of our own, writable, nodev, of at most that many bytes and files. source: what mountinfo
 * shows for it. */
int mount_new_tmpfs(const char *source, size_t bytes, size_t files) _must_check_;

/* An overlay: layers from the topmost down, upper and work, all O_PATH fds of directories on mounts of the
 * caller's namespace; upper and work on one and the same mount. */
struct mount_overlay {
    const int *layers;
    size_t n_layers;
    int upper;
    int work;
    /* The upper's, for mount(2), so that the table of mounts names it; NULL: it is not named there. */
    const char *upper_path;
};

/* What it is mounted with. None of it is left to the kernel's configuration: two mounts of one upper with
 * different options would not agree on what they find in it. */
#define MOUNT_OVERLAY_OPTIONS "index=off,metacopy=off,redirect_dir=nofollow,nfs_export=off,xino=off"

/* Where mount(2) mounts it: an empty directory, in a mount namespace that is the caller's alone. It stays
 * mounted there. */
struct mount_stage {
    int dir;
    const char *name;
};

/* A detached mount of that overlay; its file system acts with the caller's credentials as they are now.
 * stage NULL (mount_caps.layer_fds): by fsconfig. Otherwise by mount(2), with /proc/self/fd paths but for
 * upper_path. why receives what the kernel says to a failure. */
int mount_new_overlay(
        const struct mount_overlay *o, const struct mount_stage *stage, struct buf *why) _must_check_;

/* Whether an overlay that uses this upper directory is mounted anywhere, in whatever namespace, even only
 * held open by a process: 1 or 0. The kernel refuses no second one under index=off. stage: as above. */
int mount_overlay_in_use(int upper, const struct mount_stage *stage) _must_check_;

/* Moves a detached tree onto target: the two are both directories or both not. */
int mount_move(int tree, int target);

/* pivot_root(".", put_old): the caller's directory becomes the root, the old root is at put_old in it. */
int mount_pivot(const char *put_old);

/* Detaches the mount that the caller's directory is the root of, with everything below it. What is below must
 * be private, or the same is unmounted in every peer. */
int mount_detach_cwd(void);

/* Detaches the topmost mount at dirfd/name. -EINVAL when nothing is mounted there. name is one component and
 * is not followed. Through /proc/self/fd, since umount2 knows no directory fd: only for the agent itself. */
int mount_detach_at(int dirfd, const char *name);

/* A mount by its id (that of mountinfo), and whether fd is its root. Never asks the file system, which may
 * be a tenant's. */
int mount_identify(int fd, uint64_t *ret_id, bool *ret_is_root);
