/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Required node affinity: our requirements merged with the template's. PURE.
 *
 * nodeSelectorTerms are ORed and the requirements inside a term are ANDed, so ours go into every term, or
 * into one of their own where there is none. A term without requirements matches nothing (v1
 * NodeSelectorTerm): it is dropped, unless there are only such terms, when the pod must stay unschedulable as
 * its author wrote it.
 */
#pragma once

#include <stdbool.h>

#include "common/json/json.h"

struct placement {
    bool agent; /* only Linux nodes on which our agent has registered */
    const char *node; /* exactly this node; NULL: any */
    const char *also_node; /* and this one: spec.nodeName of the template; NULL: no such wish */
    const struct json *excluded; /* array of node names; may be NULL */
};

/* Changes pod_spec.affinity.nodeAffinity. -ENOMEM. */
int affinity_require(struct json *pod_spec, const struct placement *placement) _must_check_;

/* The node that a pod of ours was pinned to by the above; NULL when it was not. */
const char *affinity_pinned_node(const struct json *pod);
