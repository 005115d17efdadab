/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's half of attach: what runs in the consumer's mount namespace. See attach.h for the sequence.
 */
#pragma once

#include "node-agent/mounts/attach.h"

struct attach_steps {
    const struct attach_request *req;
    int root; /* the detached, private copy of the exposed root */
    int tools; /* Chroot: a detached tmpfs, see chroot_tools.h; otherwise -EBADF */
};

enum { ATTACH_DONE = 0, ATTACH_ALREADY = 1, ATTACH_COMMANDS_CUT = 2 };

/* A worker_fn; data is a struct attach_steps. Notes come in pairs: what was moved aside, and where to. */
int attach_run(struct worker_child *child, void *data, struct err *err);
