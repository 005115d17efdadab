/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files, whole, with a cap; and files replaced atomically.
 */
#pragma once

#include <dirent.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* Reads the rest of fd into b (appended) until EOF. -E2BIG when it would pass b's cap. Retries EINTR. */
int file_read_fd(int fd, struct buf *b, struct err *err);

/* Opens path relative to dirfd (AT_FDCWD allowed) with O_RDONLY|O_CLOEXEC|O_NOCTTY and reads it whole. -E2BIG
 * beyond b's cap. */
int file_read_at(int dirfd, const char *path, struct buf *b, struct err *err);

/* Writes all of data, retrying short writes and EINTR. */
int file_write_all(int fd, const void *data, size_t len);

/* Replaces dirfd/name by a file of that content and mode: written to a temporary name beside it, fsync'd,
 * renamed, and the directory fsync'd, so that after a crash the old or the new content is there, whole. name
 * is a single path component. */
int file_replace_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *err);

/* Copies the rest of the file `from` to `to` by copy_file_range, or by reads and writes where that is
 * refused. */
int file_copy_fd(int from, int to, struct err *err);

/* The next entry of a directory but "." and "..": 1, 0 at the end (also of one that was removed meanwhile), or a
 * negative errno. A reader that takes the failure for the end has not seen all that is there. */
int dir_next(DIR *dir, struct dirent **ret);
