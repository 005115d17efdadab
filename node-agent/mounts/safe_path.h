/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From untrusted paths to fds, and the only file that uses openat2.
 *
 * A preserved root belongs to whoever worked in it: any name in it may be a link, a fifo, or change between
 * two looks. So a path is walked one component at a time, each opened by openat2 relative to the fd of the
 * one before, under a policy that has a name; links are read and followed here, with a budget, always within
 * the root; nothing is ever looked up through a mount that is not the root's own. What comes out is an fd,
 * and nothing is looked up by that path again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* Opens one component (no "/") below dirfd as O_PATH: never a link, never a magic link, never a mount.
 * extra_flags: O_DIRECTORY or 0. Links are answered with -ELOOP, mounts with -EXDEV. */
int safe_open_child(int dirfd, const char *name, int extra_flags) _must_check_;

/* The same, but a mount is crossed into: for what we mounted ourselves. */
int safe_open_mountpoint(int dirfd, const char *name, int extra_flags) _must_check_;

/* Opens a whole path within rootfd, crossing mounts but following no link at all: for mount points as
 * mountinfo names them, which contain none. */
int safe_open_mounted(int rootfd, const char *path, int extra_flags) _must_check_;

/* Opens a whole path within rootfd on the root's own mount alone, following no link: -ELOOP, -EXDEV. */
int safe_open_own(int rootfd, const char *path, int extra_flags) _must_check_;

/* Opens a whole path below dirfd, crossing mounts and following links as long as they do not lead out of
 * dirfd: for what belongs to the node's own programs. */
int safe_open_below(int dirfd, const char *path, int extra_flags) _must_check_;

/* The directory that dirfd (O_PATH) is, opened to be read. */
int safe_open_to_read(int dirfd) _must_check_;

/* What one of these was answered with says that nothing of the kind is at the path within the root, and will say
 * so whenever it is asked, as long as nobody changes the root: missing, no directory, a link or too many of
 * them, a mount, names or a path too long. All else (no fds, no memory, a disk that fails) says nothing of it. */
bool safe_is_absent(int error);

/* Called for each thing that was in the way and was renamed: both are paths within the root. */
typedef void (*safe_aside_fn)(const char *path, const char *aside, void *data);

enum safe_type { SAFE_DIRECTORY, SAFE_FILE };

struct safe_ensure {
    enum safe_type type; /* SAFE_FILE: anything that is no directory and no link will do */
    bool no_links; /* a link is in the way too, not followed: /proc, /dev, /sys */
    safe_aside_fn aside; /* may be NULL */
    void *data;
};

/* Opens path within rootfd (O_PATH), making what is missing: directories 0755, a file 0644, root:root. What
 * is of the wrong type is renamed aside to NAME.sc-aside-N. canonical (may be NULL) receives the path without
 * links, beginning with "/". -ELOOP after LIMIT_PATH_LINKS links, -EXDEV at a mount. */
int safe_ensure_at(int rootfd, const char *path, const struct safe_ensure *how, struct buf *canonical,
        int *ret_fd, struct err *err);

/* The path without links, "." and "..", as far as it can be followed on the root's own mount; from the first
 * component that is missing, or is a mount, the rest is taken as written. Creates nothing. */
int safe_canonical(int rootfd, const char *path, struct buf *canonical, struct err *err);
