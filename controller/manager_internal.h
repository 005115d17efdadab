/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What manager.c (queue, plans), manager_watch.c (stores, events), manager_write.c (requests) and manager_marks.c (pods
 * that were not seen to go) share.
 */
#pragma once

#include "common/base/map.h"
#include "common/kube/reflector.h"
#include "controller/manager.h"
#include "controller/workqueue.h"

enum { KEY_MAX = LIMIT_NAMESPACE + 1 + LIMIT_NAME + 1, VERSION_MAX = 32 };

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
    usec_t look_again_at; /* there was no memory to note a change: then every object is looked at; 0: all are noted */
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
    int64_t spec_asked; /* the newest generation of a consumer for which the server was asked for the spec */
    char confirmed[VERSION_MAX]; /* resourceVersion of the StoppableContainer that the server answered then */
    /* Consumer, provider: asked for since it is out of sight; the instance's uid, or "". */
    char asked_for[2][LIMIT_UID + 1];
    bool asked_provider; /* the one that is asked for now */
    bool unanswered[2]; /* whether one was made was not told: it may be there, and unseen */
};

/* manager.c */
struct key *manager_key(struct manager *m, const char *namespace, const char *name); /* NULL: no memory */
void manager_enqueue(struct manager *m, struct key *key);
void manager_forget_if_gone(struct key *key);
void manager_key_done(struct key *key, usec_t again_at); /* the plan is over */

/* manager_watch.c */
int manager_watch_start(struct manager *m, struct err *err) _must_check_;
void manager_enqueue_all(struct manager *m);
struct observed manager_observe(struct key *key);

/* manager_write.c */
void manager_run_plan(struct key *key);
void manager_ask(struct key *key);
void manager_ask_spec(struct key *key, int64_t generation);
/* Gets one object (namespace NULL: of the cluster); done comes with the key as its user. False: not asked, and logged. */
bool manager_get(struct key *key, const struct kube_resource *resource, const char *namespace,
        const char *name, kube_done_fn done);
void manager_remember(struct manager *m, enum watched what, struct json *object); /* takes the object */

/* manager_marks.c */
/* True: the server is asked for a pod that is not to be seen; manager_key_done comes later. */
bool manager_look_for_pods(struct key *key, const struct observed *o);
/* The server did not say whether it made that pod. */
void manager_pod_unanswered(struct key *key, enum action_kind kind);
/* True: a pod that is in the way of one to be made is ours, and is marked again; manager_key_done comes later. Every
 * other time where that does not succeed, so that it is told. */
bool manager_mark_existing(struct key *key, const struct json *pod);
