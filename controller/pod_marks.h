/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marks by which a pod of ours is known: its labels (the watch selects by one) and the instance as its controller.
 * Anybody who may edit the pod can take them away, and to the watch it is gone then, though it runs and holds a root.
 * What cannot be edited is its volume, whose attributes name the instance too. PURE.
 */
#pragma once

#include <stdbool.h>

#include "common/json/json.h"

/* "the pod has all marks of this instance." sci may be NULL: then it has not. role: SC_ROLE_PROVIDER, SC_ROLE_CONSUMER. */
bool pod_marks_are_there(const struct json *pod, const struct json *sci, const char *role);

/* "the pod was made for this instance, in this role", whatever marks it has. */
bool pod_marks_fit(const struct json *pod, const struct json *sci, const char *role);

/* A merge patch that gives them to exactly this version of the pod; its other labels and owners stay, and where it has
 * another controller the API server refuses. NULL: no memory. */
struct json *pod_marks_patch(const struct json *pod, const struct json *sci, const char *role) _must_check_;
