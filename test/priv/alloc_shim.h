/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test and alloc_shim.c share: memory behind an fd that the agent inherits.
 */
#pragma once

#include <stdatomic.h>

enum { ALLOC_SHIM_FD = 200 };

struct alloc_shim {
    atomic_ulong refuse; /* which allocation from now on, from 1; 0: none */
    atomic_ulong seen; /* since then */
    atomic_bool all; /* and all after it */
    atomic_bool done; /* it was reached */
};
