/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a root takes of the disk against its sizeLimit, where the file system cannot hold it. PURE: what the
 * use is called, and how often it is looked at; use.c watches.
 */
#pragma once

#include "node-agent/volume.h"

/* told: what it is called now. It is within its limit again only when a tenth of that is free, so that one
 * who writes and removes at its edge is not told of each time. */
enum root_use use_judge(enum root_use told, uint64_t bytes, uint64_t limit);

/* How long nothing is counted after a count that took so long. */
usec_t use_pause(usec_t took, usec_t interval);
