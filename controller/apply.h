/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an action of a plan to a request, and from its answer to what the decisions need to know of it.
 */
#pragma once

#include "common/kube/client.h"
#include "controller/plan.h"

/* The request borrows from the action. done and user are the caller's to set. */
struct kube_request apply_request(const struct action *action);

enum apply_outcome {
    APPLY_DONE, /* made, or the object to be deleted was gone already */
    APPLY_EXISTS, /* something of that name exists already */
    APPLY_CONFLICT, /* decided on an old state: observe again */
    APPLY_REFUSED, /* the server does not take it; its words are for the user */
    APPLY_TERMINATING, /* the namespace is being deleted */
    APPLY_FAILED, /* no answer, or "later" */
};

enum apply_outcome apply_outcome(enum action_kind kind, const struct kube_result *result);

/* Does the answer hold the object's new state? */
bool apply_answers_object(enum action_kind kind);
const struct kube_resource *apply_resource(enum action_kind kind);
