/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of one preserved root in persistence Node, in STATE/instances/<uid>/<container>/:
 *
 *     root.json    the record (record.h): what the root is made of. Written before the root is first mounted
 *     upper/       what the workload changed; owner, mode and attributes of its top as the runtime made "/"
 *     work/        overlayfs' own
 *
 * keptroot_decide is the whole of the rules on when a root may be used; each refusal begins with the reason
 * that the controller shows (names.h).
 */
#pragma once

#include "node-agent/instance.h"
#include "node-agent/record.h"

struct keptroot {
    bool has_record;
    bool has_upper;
    bool foreign; /* the instance has another root here, of another namespace; the caller fills it in */
    char damage[VOLUME_REASON_MAX]; /* there is a record and it cannot be used: why; or "" */
    struct record record;
};

/* dir: the container's directory. Negative only where the directory cannot be read. */
int keptroot_look(int dir, struct keptroot *ret, struct err *err);

/* What the provider's container is given. chain: its image's identity, "" where the runtime gives none.
 * VERDICT_DONE: the root that is there; VERDICT_DO: one is to be made; VERDICT_NEVER, with the text. PURE. */
struct decision keptroot_decide(
        const struct keptroot *k, const struct volume *provider, const char *container, const char *chain);

/* Whether a container of that image may be put on the root. -ENOTRECOVERABLE: it is another image than the root's,
 * "ImageChanged: ...". */
int keptroot_check_image(int dir, const char *container, const char *chain, struct err *err);

/* Makes upper and work, as `like` (the container's "/", opened for reading) is, and the record of them; all
 * on disk when it returns. What an earlier try left is removed, if it is empty. record: in with what is wanted
 * (ns, chain, size_limit), out with what was made. -ENOSYS: the file system can hold no limit, and it is not
 * known yet that it will be watched instead. */
int keptroot_make(int dir, int like, bool watched, struct record *record, struct err *err);

/* Sets the limit of a root that is there, and writes down one that is another than before. As project_quota_limit where the
 * file system enforces none any more. */
int keptroot_limit(int dir, struct record *record, uint64_t bytes, struct err *err);
