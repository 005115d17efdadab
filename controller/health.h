/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health and metrics over HTTP, on the program's own loop, without threads.
 *
 *   /healthz   200 as long as the loop turns
 *   /readyz    200 once the caches are complete (also in a replica that does not lead), else 503
 *   /metrics   Prometheus text format
 */
#pragma once

#include <stdint.h>

#include "common/base/loop.h"
#include "controller/manager.h"

struct health;

/* Listens on all addresses. The manager must outlive it. */
int health_new(struct loop *loop, uint16_t port, const struct manager *manager, struct kube_client *client,
        struct health **ret, struct err *err) _must_check_;
struct health *health_free(struct health *h); /* accepts NULL, returns NULL */
DEFINE_CLEANUP_FUNC(struct health *, health_free);

/* The text of /metrics. */
int health_metrics(const struct manager *manager, struct kube_client *client, struct buf *b);
