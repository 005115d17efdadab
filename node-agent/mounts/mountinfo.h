/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/mountinfo, parsed (proc_pid_mountinfo(5)). Pure: text in, table out.
 *
 * Strict about structure (a line that does not parse fails the whole, with its number), tolerant where the
 * manual page asks for it (unknown optional fields). Names in it are chosen by tenants: all text is
 * unescaped, and nothing is looked up by it here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct mount {
    uint64_t id;
    uint64_t parent; /* may be the id of a mount that is not listed: it lies outside the reader's root */
    const char *root; /* of the mount within its file system */
    const char *path; /* where it is mounted, relative to the reader's root */
    const char *options; /* of the mount: "rw,nosuid" */
    const char *fs_type;
    const char *source;
    const char *super_options;
    bool shared;
    bool slave;
    bool unbindable;
};

struct mountinfo {
    size_t n;
    struct mount *mounts; /* in the order of the file */
    char *text; /* what the strings point into */
};

/* -E2BIG beyond LIMIT_MOUNTS or LIMIT_MOUNTINFO, -EBADMSG for text that is no mountinfo. */
int mountinfo_parse(const char *text, size_t len, struct mountinfo **ret, struct err *err);
struct mountinfo *mountinfo_free(struct mountinfo *mi); /* returns NULL; accepts NULL */
DEFINE_CLEANUP_FUNC(struct mountinfo *, mountinfo_free);
#define _cleanup_mountinfo_ _cleanup_(mountinfo_freep)

/* In place: the kernel's octal escapes ("\\040"). False for any other backslash. For super options, whose
 * values the table leaves as they are. */
bool mountinfo_unescape(char *s);

/* NULL when not listed. */
const struct mount *mountinfo_by_id(const struct mountinfo *mi, uint64_t id);

/* The mount that is seen where `m` was mounted: `m`, or what is stacked on it, the topmost. */
const struct mount *mountinfo_topmost(const struct mountinfo *mi, const struct mount *m);
