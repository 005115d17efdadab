/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers for hash keys, jitter and names that must not collide. Never fails and never blocks.
 */
#pragma once

#include <stdint.h>

uint64_t random_u64(void);
