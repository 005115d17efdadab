/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cap on what a preserved root of persistence Node may take of the node's disk: a project quota of its own
 * (ext4 or XFS, mounted with project quota). Upper and work get a project id that all that is made in them
 * inherits, and that project a hard limit; the workload sees EDQUOT or ENOSPC, and the limit in df.
 *
 * The overlay writes with the agent's credentials, so the agent must not have CAP_SYS_RESOURCE when it
 * mounts: the limit would not count (caps.c drops it).
 *
 * No boundary: who owns a file may give it another project (FS_IOC_FSSETXATTR, without a user namespace).
 * Kernels: quotactl_fd, 5.14.
 */
#pragma once

#include <stdint.h>

#include "common/base/err.h"

/* Gives two empty directories one project that nothing else uses, and returns its id; limits nothing yet.
 * -EOPNOTSUPP, with a sentence on what the file system lacks and how to get it; -EUSERS: none was found. */
int project_quota_assign(int upper, int work, uint32_t *ret_project, struct err *err);

/* Sets the hard limit, in bytes; 0: none. dir: any directory of the file system. -EOPNOTSUPP as above. */
int project_quota_limit(int dir, uint32_t project, uint64_t bytes, struct err *err);
