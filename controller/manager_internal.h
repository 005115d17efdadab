/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What manager.c (queue, plans), manager_watch.c (stores, events) and manager_write.c (requests) share.
 */
#pragma once

#include "common/base/map.h"
#include "common/kube/reflector.h"
#include "controller/manager.h"
#include "controller/workqueue.h"

enum { KEY_MAX = LIMIT_NAMESPACE + 1 + LIMIT_NAME + 1 };

enum watched { WATCH_SC, WATCH_SCI, WATCH_POD, WATCHES };

struct manager {
    struct kube_client *client;
    const struct plan_config *config;
    struct loop *loop;
    struct loop_source *timer;
    struct kube_store *stores[WATCHES];
    struct kube_reflector *reflectors[WATCHES];
    struct workqueue *queue;
    struct map *keys; /* key text -> struct key, owned */
    bool leading;
    bool stopping;
    size_t busy; /* keys with a plan or a question under way */
    void (*stopped)(void *user);
    void *stopped_user;
    struct manager_stats stats;
};

struct key {
    struct manager *manager;
    char text[KEY_MAX];
    char namespace[LIMIT_NAMESPACE + 1];
    char name[LIMIT_NAME + 1];
    char reclaim_uid[LIMIT_UID + 1]; /* of the instance that a reclaim pod was seen for */
    struct key_memory memory;
    struct plan plan;
    size_t step; /* the action of the plan that is under way */
    bool changed; /* an action was made: plan again */
    struct backoff conflicts;
    struct kube_call *call;
};

/* manager.c */
struct key *manager_key(struct manager *m, const char *namespace, const char *name); /* NULL: no memory */
void manager_enqueue(struct manager *m, struct key *key);
void manager_key_done(struct key *key, usec_t again_at); /* the plan is over */

/* manager_watch.c */
int manager_watch_start(struct manager *m, struct err *err) _must_check_;
void manager_enqueue_all(struct manager *m);
struct observed manager_observe(struct key *key);

/* manager_write.c */
void manager_run_plan(struct key *key);
void manager_ask(struct key *key);
