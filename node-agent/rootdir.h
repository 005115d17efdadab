/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of the exposed roots: STATE/instances/<instance uid>/<container>/rootfs, and in persistence
 * Node beside it upper, work and root.json (keptroot.h).
 *
 * They are the agent's own, 0700, and hold nothing but what it made; so they are removed by name and by
 * rmdir, never recursively, and whatever holds a kept root stays. A root that is still mounted there makes its
 * removal fail; it is never walked into. A kept root goes by being moved, with all of its instance, to
 * STATE/trash/<instance uid>.<number>: from then on it is nobody's, and is emptied there (trash.c).
 */
#pragma once

#include "common/base/err.h"
#include "common/base/limits.h"

enum { ROOTDIR_TRASH_MAX = LIMIT_UID + 24 };

/* An O_PATH fd of <uid>/<container>, made if it is not there. */
int rootdir_make(int instances_fd, const char *uid, const char *container, int *ret_fd, struct err *err);

/* The same, or -ENOENT. */
int rootdir_open(int instances_fd, const char *uid, const char *container) _must_check_;

/* Detaches the exposed root and removes its directory; the container's and the instance's directory stay. */
int rootdir_unexpose(int instances_fd, const char *uid, const char *container, struct err *err);

/* Detaches all roots of an instance and removes all of its directories. Absent: success. */
int rootdir_remove(int instances_fd, const char *uid, struct err *err);

/* Whether a container of it has an upper directory or a record: 1, 0, or a negative errno. */
int rootdir_is_kept(int instances_fd, const char *uid) _must_check_;

/* Whether a container of it has a root that is another namespace's, as its record says: 1, 0, or a negative
 * errno. */
int rootdir_has_foreign(int instances_fd, const char *uid, const char *ns) _must_check_;

/* Whether a container of it has a root that is exposed: 1, 0, or a negative errno. */
int rootdir_is_exposed(int instances_fd, const char *uid) _must_check_;

/* Detaches all exposed roots of an instance. Kept roots stay; directories that hold nothing then are removed.
 * Absent: success. */
int rootdir_rest(int instances_fd, const char *uid, struct err *err);

/* The same, and what is left is moved to the trash. Absent: success. ns: the instance's namespace; a kept
 * root of another namespace's instance stays where it is, and that is a success too. */
int rootdir_trash(int instances_fd, int trash_fd, const char *uid, const char *ns, struct err *err);

/* The name of something in the trash that was the instance's: 1, 0, or a negative errno. */
int rootdir_trashed(int trash_fd, const char *uid, char ret_name[ROOTDIR_TRASH_MAX], struct err *err);

/* Calls fn with the name of every entry of instances or trash. */
int rootdir_list(int instances_fd, void (*fn)(const char *uid, void *user), void *user, struct err *err);
