/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status objects: conditions by the API conventions, and the smallest merge patch between two of them. PURE.
 */
#pragma once

#include "common/base/clock.h"
#include "common/json/json.h"

struct condition {
    const char *type;
    const char *status; /* "True", "False", "Unknown" */
    const char *reason;
    const char *message;
    int64_t generation;
};

/* Sets it in status.conditions. lastTransitionTime is `realtime` when the status is another one than before,
 * and kept otherwise. -ENOMEM. */
int status_set_condition(struct json *status, const struct condition *c, usec_t realtime) _must_check_;
void status_remove_condition(struct json *status, const char *type); /* absent: nothing */
const struct json *status_condition(const struct json *status, const char *type); /* or NULL */

/* By an instance's phase, where nothing else is known: its consumer's processes may run. */
bool status_may_run(const struct json *sci);

/* RFC 7386: {"field": new, "gone": null}; empty when equal. from may be NULL. NULL: no memory. */
struct json *status_merge_patch(const struct json *from, const struct json *to) _must_check_;
