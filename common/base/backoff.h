/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exponential back-off with jitter: min, min*2, min*4 ... max, each made longer by up to a quarter, at
 * random, so that many clients of one server do not return together. Pure but for the random number.
 */
#pragma once

#include "common/base/clock.h"

struct backoff {
    usec_t min;
    usec_t max;
    usec_t current; /* 0: the next delay is min */
};

#define BACKOFF_INIT(lo, hi)                   \
    {                                          \
        .min = (lo), .max = (hi), .current = 0 \
    }

/* The delay to wait now; the next one is twice as long, up to max. */
usec_t backoff_next(struct backoff *b);

/* After a success: start from min again. */
void backoff_reset(struct backoff *b);
