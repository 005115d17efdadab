/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of the exposed roots: STATE/instances/<instance uid>/<container>/rootfs.
 *
 * They are the agent's own, 0700, and hold nothing but what it made; so they are removed by name and by
 * rmdir, never recursively. A root that is still mounted there makes its removal fail; it is never walked
 * into.
 */
#pragma once

#include "common/base/err.h"

/* An O_PATH fd of <uid>/<container>, made if it is not there. */
int rootdir_make(int instances_fd, const char *uid, const char *container, int *ret_fd, struct err *err);

/* The same, or -ENOENT. */
int rootdir_open(int instances_fd, const char *uid, const char *container) _must_check_;

/* Detaches the exposed root and removes its directory; the container's and the instance's directory stay. */
int rootdir_unexpose(int instances_fd, const char *uid, const char *container, struct err *err);

/* Detaches all roots of an instance and removes all of its directories. Absent: success. */
int rootdir_remove(int instances_fd, const char *uid, struct err *err);

/* Calls fn with the name of every entry. */
int rootdir_list(int instances_fd, void (*fn)(const char *uid, void *user), void *user, struct err *err);
