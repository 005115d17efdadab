/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys want attention: client-go's workqueue without its threads.
 *
 *   - A key that is added several times before it is taken is taken once.
 *   - A key that is added while it is being processed is taken again after workqueue_done, never beside it.
 *   - A key may be added for later; the earliest time counts, and an immediate addition cancels it.
 *
 * No clock, no I/O: the caller passes `now` (monotonic) and sets its timer by workqueue_next_at.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/clock.h"

struct workqueue;

struct workqueue *workqueue_new(void); /* NULL: no memory */
struct workqueue *workqueue_free(struct workqueue *q); /* accepts NULL, returns NULL */

/* -ENOMEM, or -E2BIG beyond LIMIT_KEYS keys; the caller says so and the next event of the object adds it. */
int workqueue_add(struct workqueue *q, const char *key);
int workqueue_add_at(struct workqueue *q, const char *key, usec_t at);

/* What was to come at a time that is over stands in line from now on, behind what stands there: it has its turn also
 * where the line never gets empty. */
void workqueue_due(struct workqueue *q, usec_t now);

/* The next key that is due, or NULL. It is being processed from then on. The string lives until
 * workqueue_done. */
const char *workqueue_take(struct workqueue *q, usec_t now);
void workqueue_done(struct workqueue *q, const char *key);

/* When something is due that is not yet: 0 when a key can be taken now, USEC_INFINITY when none waits. */
usec_t workqueue_next_at(const struct workqueue *q);
size_t workqueue_length(const struct workqueue *q); /* waiting to be taken, those for later included */
