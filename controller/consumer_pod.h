/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer pod: the user's own pod template, changed only where the preserved root needs it. PURE.
 *
 * In each container: execwrap goes in front of the command, of exec probes and of exec hooks; our volume is
 * mounted; the container's own, throw-away root becomes read-only, so that nothing is written there by
 * mistake before the attach. Init containers keep roots of their own and stay as they are.
 */
#pragma once

#include "controller/pod_parts.h"

/* At the first start q->provider is NULL and the scheduler chooses the node among all that are not excluded;
 * later q->node is the provider's and the images are the provider's. -ENOMEM. */
int consumer_pod_build(const struct pod_request *q, struct json **ret) _must_check_;

/* Which fields of the pod that we sent did not survive in the pod that the server made: paths, one after the
 * other, separated by ", ". Values that were changed (admission may) are not among them. */
int consumer_pod_dropped(const struct json *sent, const struct json *made, struct buf *b) _must_check_;

/* Which fields of the template have a value in the pod that is not the user's: paths, as above. It is those
 * that ask for a container's requests.ephemeral-storage, which moved to the provider and reads 0. */
int consumer_pod_misread(const struct template *t, struct buf *b) _must_check_;
