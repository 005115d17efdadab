/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: one file for each published volume, STATE/volumes/<volume id>.json, replaced atomically.
 *
 * It holds what a restarted agent cannot ask anybody: which volumes are published, for which pods, which
 * container was a provider's first, and that a root is lost. A file that cannot be read back is moved to
 * STATE/volumes/bad/ and never removed: the next publish of that volume (the kubelet repeats it) writes a new
 * one, and a person can see what was in the old.
 */
#pragma once

#include "common/base/buf.h"
#include "common/base/err.h"
#include "node-agent/volume.h"

/* The file's text. PURE. */
int journal_encode(const struct volume *v, struct buf *b, struct err *err);

/* The reverse. Everything is checked as if it were a request; -EBADMSG with a sentence. PURE. */
int journal_decode(const char *text, size_t len, struct volume **ret_volume, struct err *err);

/* volumes_fd is the directory STATE/volumes. On disk (fsync) when it returns. */
int journal_write(int volumes_fd, const struct volume *v, struct err *err);

/* Absent: 0. */
int journal_remove(int volumes_fd, const char *volume_id, struct err *err);

/* Calls fn with each volume, which owns it from then on. Bad files are moved aside and told to `bad`; they
 * are no failure. Negative only when the directory itself cannot be read. */
int journal_load(int volumes_fd, void (*fn)(struct volume *v, void *user),
        void (*bad)(const char *file, const struct err *err, void *user), void *user, struct err *err);
