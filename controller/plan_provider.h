/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's part of a start, and its size. Only plan.c and plan_start.c include it.
 */
#pragma once

#include "controller/plan_internal.h"
#include "controller/pod_parts.h"

/* The consumer has a node: makes the provider there, notes its root, waits for it. Returns 0 when the
 * provider runs and the root is noted, 1 when the verdict says what is waited for, -ENOMEM. */
int plan_provider(struct view *v) _must_check_;

/* What a refusal of the last provider leaves of our wishes for the next: its final size from the beginning, and, where
 * it was the PriorityClass that was refused (it does not exist, or a quota admits none of it here), the
 * template's own. */
void plan_provider_request(const struct view *v, struct pod_request *q);

/* Notes the uid of a provider that exists as the root's id, with its node, in the new status of the SCI. In
 * persistence Node the first one's stays. */
int plan_adopt_root(struct view *v) _must_check_;

/* It may hold the root, or come to. */
bool plan_provider_is_good(const struct view *v);
/* The consumer was placed, and will never start there: its root is on another node. */
bool plan_consumer_is_elsewhere(const struct view *v);

/* A provider of which nothing can come (rejected, or on a node that has been given up) goes away. Returns 1
 * when there is one and nothing else may be done before it is gone, else 0; -ENOMEM. */
int plan_provider_rejected(struct view *v) _must_check_;

/* A provider that runs, or that does not fit, is brought to its final size (provider_pod.c says why it began
 * larger). -ENOMEM. */
int plan_settle_provider(struct view *v) _must_check_;
