/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who still has an overlay mounted: told to a person, and nothing is decided by it.
 *
 * Looks at the mounts of every other mount namespace of the machine, at LIMIT_HOLDER_NAMESPACES and
 * LIMIT_HOLDER_TEXT at most. A table of mounts is text that a tenant can influence, so what comes out is a
 * number, and a uid only where it has the form of one. Not found: who holds it by an open file of a mount
 * that was taken away.
 */
#pragma once

#include <sys/types.h>

#include "common/base/cleanup.h"
#include "common/base/limits.h"

struct holder {
    pid_t pid; /* of the machine */
    char pod_uid[LIMIT_UID + 1]; /* "" when it is in no pod's cgroup */
};

/* proc: the machine's /proc. upper: the overlay's upper directory as the kernel tells it, a path of the machine.
 * 1: found, 0: not, or a negative errno. */
int holder_find(int proc, const char *upper, struct holder *ret) _must_check_;
