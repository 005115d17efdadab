/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: one file for each published volume, STATE/volumes/<volume id>.json, replaced atomically.
 *
 * It holds what a restarted agent cannot ask anybody: which volumes are published, for which pods, which
 * container was a provider's first, and that a root is lost. A file that cannot be read back is moved to
 * STATE/volumes/bad/ and never removed: the next publish of that volume (the kubelet repeats it) writes a new
 * one, a person can see what was in the old, and an agent that can read it takes it back.
 */
#pragma once

#include "common/base/buf.h"
#include "common/base/err.h"
#include "node-agent/volume.h"

/* The file's text. PURE. */
int journal_encode(const struct volume *v, struct buf *b, struct err *err);

/* The reverse. Everything is checked as if it were a request; -EBADMSG with a sentence. -EPROTONOSUPPORT: of a
 * newer agent. PURE. */
int journal_decode(const char *text, size_t len, struct volume **ret_volume, struct err *err);

/* volumes_fd is the directory STATE/volumes. On disk (fsync) when it returns. */
int journal_write(int volumes_fd, const struct volume *v, struct err *err);

/* Absent: 0. */
int journal_remove(int volumes_fd, const char *volume_id, struct err *err);

/* Reads one file back; its name must be that of the volume inside. */
int journal_read(int volumes_fd, const char *name, struct volume **ret_volume, struct err *err);

/* An older agent has set aside what only this one can read; a disk may have been bad for a while. Moves such
 * files back out of STATE/volumes/bad, unless the volume has been published anew since. Returns how many. What
 * became of their volumes meanwhile is for the caller of journal_load to see, as after a crash. */
size_t journal_take_back(int volumes_fd);

/* Calls fn with each volume, which owns it from then on. Bad files are moved aside and told to `bad`, those of
 * a newer agent (EPROTONOSUPPORT) told and left; they are no failure, and temporary ones that a crash left are
 * removed. Negative when the directory cannot be read, or a file only for want of memory or fds: it may be
 * good, and without it its volume would be forgotten. */
int journal_load(int volumes_fd, void (*fn)(struct volume *v, void *user),
        void (*bad)(const char *file, const struct err *err, void *user), void *user, struct err *err);
