/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop around the decisions: watches, a queue of keys (namespace/name of a StoppableContainer), and for
 * each key one plan at a time whose writes are made one after the other.
 *
 *     watch event -> store -> key into the queue -> observe, plan -> write -> answer into the store -> ...
 *
 * Event handlers only note keys (and, for a pod that goes, its last state). A manager that does not lead
 * keeps its stores and memories warm and does nothing else.
 */
#pragma once

#include "common/kube/client.h"
#include "controller/plan.h"

struct manager;

/* config must outlive the manager. */
int manager_new(struct kube_client *client, const struct plan_config *config, struct manager **ret,
        struct err *err) _must_check_;
struct manager *manager_free(struct manager *m); /* accepts NULL, returns NULL */
DEFINE_CLEANUP_FUNC(struct manager *, manager_free);

/* From now on acts, beginning with every object there is. */
void manager_lead(struct manager *m);

/* Takes no new key and starts no new write; calls done when those under way have been answered. */
void manager_stop(struct manager *m, void (*done)(void *user), void *user);

bool manager_synced(const struct manager *m);
bool manager_leading(const struct manager *m);

struct manager_stats {
    size_t keys;
    size_t queued;
    uint64_t plans;
    uint64_t actions[ACT_KINDS]; /* made */
    uint64_t failures; /* of actions */
};
struct manager_stats manager_stats(const struct manager *m);
