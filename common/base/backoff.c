/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exponential back-off (backoff.h). `current` is the plain delay of the last call; jitter is added only to
 * what is returned, so it does not add up.
 */
#include "common/base/backoff.h"

#include "common/base/random.h"

usec_t backoff_next(struct backoff *b)
{
    usec_t delay = b->current ? usec_add(b->current, b->current) : b->min;

    if (delay > b->max)
        delay = b->max;
    b->current = delay;
    return usec_add(delay, random_u64() % (delay / 4 + 1));
}

void backoff_reset(struct backoff *b)
{
    b->current = 0;
}
