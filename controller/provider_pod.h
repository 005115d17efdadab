/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider pod: one container for each of the template's, in the same image, running only `pause`. Its
 * writable layers are the preserved roots, so everything here makes it the last pod that a node gives up. PURE.
 */
#pragma once

#include "controller/pod_parts.h"

/* q->node must be set; without q->consumer (persistence Node, while it is stopped) the template's own tolerations
 * are taken. -ENOMEM. */
int provider_pod_build(const struct pod_request *q, struct json **ret) _must_check_;

/* A provider that began larger than it need be: the merge patch of its `resize` subresource that brings it to
 * its final size. *ret is NULL when it has that already. -ENOMEM. */
int provider_pod_settle(const struct json *pod, struct json **ret) _must_check_;
