/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the planning share. Only plan_*.c include it.
 */
#pragma once

#include "common/base/buf.h"
#include "controller/plan.h"

/* What was learned of a node counts for so long. */
#define PLAN_NODE_ANSWER_AGE (10 * USEC_PER_SEC)

/* A root is not given up for a Node object, or a taint, of a moment. */
#define PLAN_NODE_GONE_PATIENCE (60 * USEC_PER_SEC)

enum { VERDICT_TEXT_MAX = 1024, REASON_MAX = 64 };

/* Condition of an SCI only: False once a pod of it went without our knowing that its node is clean. */
#define SCI_COND_NODE_CLEAN "NodeClean"

/* One condition as it should be. status NULL: as it was. */
struct opinion {
    const char *status; /* "True", "False", "Unknown" */
    const char *reason;
    char message[VERDICT_TEXT_MAX];
};

/* What the state is called. */
struct verdict { /* phase NULL: nothing is said */
    const char *phase;
    const char *sci_phase;
    bool progress; /* on the way: written only when it lasts */
    bool problem; /* Ready's reason deserves a Warning event */
    struct opinion ready;
    struct opinion scheduled;
    struct opinion intact;
    struct opinion limit; /* no status: the sizeLimit is not watched */
    struct opinion clean; /* SCI only */
};

struct view {
    const struct observed *o;
    const struct plan_config *config;
    struct key_memory *m;
    struct plan *p;

    const char *uid; /* of the SCI, "" when there is none */
    struct pod_facts consumer; /* ours; exists is false for somebody else's */
    struct pod_facts provider;
    struct pod_facts reclaim;
    bool foreign_consumer;
    bool foreign_provider;

    struct template template; /* spec NULL when refused */
    struct err refusal;

    const char *node; /* SCI status, "" when not known */
    const char *root_id;
    bool on_node; /* persistence Node: of the instance, whatever the SC's spec says by now */
    struct json *sci_status; /* the new one, being made; owned */
    struct verdict verdict;
    enum action_kind delete_refused; /* a wanted deletion; ACT_KINDS: none */
    char refused_for[REASON_MAX]; /* a reason that the agent gave: what opinions point to */
    char news[REASON_MAX]; /* the same, of what is no refusal; or "" */
    bool no_status; /* nothing is said this time */
};

/* Ways; each returns 0 or -ENOMEM. */
int plan_start(struct view *v) _must_check_;
int plan_stop(struct view *v) _must_check_;
int plan_teardown(struct view *v) _must_check_;
int plan_first_start(struct view *v) _must_check_; /* no SCI yet */
int plan_unplaced(struct view *v) _must_check_; /* the consumer has no node yet (plan_place.c) */
int plan_status(struct view *v) _must_check_;

/* The root: intact (or not made yet), lost, or not to be judged before the namespace's state is known. */
enum root_state { ROOT_NONE, ROOT_INTACT, ROOT_LOST, ROOT_ASK };
enum root_state plan_root_state(struct view *v, struct opinion *ret_why);
int plan_lost(struct view *v) _must_check_;
/* The same in persistence Node (plan_node.c), where a provider's end is no loss; what else is known of the root
 * goes into ret_why too. */
enum root_state plan_node_root(struct view *v, struct opinion *ret_why);
/* Persistence Node, once the root may have been used. keep: after the way up or down was chosen: another provider for
 * one that is gone, and what is wrong with it. wait: in a start, 0 when the provider runs, else 1 with the
 * verdict. refused: the agent has refused the root; nothing is to be started on it. */
int plan_node_keep(struct view *v) _must_check_;
int plan_node_wait(struct view *v) _must_check_;
bool plan_node_refused(struct view *v);
/* What is known of a sizeLimit that is only watched, into v->verdict.limit. */
void plan_node_limit(struct view *v);
/* Where the root is, or, before that is written, where a pod that is gone was; "" when neither is known. */
const char *plan_last_node(const struct view *v);
/* Nothing has ever run on this instance's root. */
bool plan_root_unused(const struct view *v);

/* Reasons of RootfsIntact True when all is well: held by the provider pod, kept on the node. */
#define INTACT_HELD "Intact"
#define INTACT_KEPT "Kept"

/* Reasons of Honored False that an edit of the template brings, and the edit's taking back ends. */
#define HONORED_IMAGE_KEPT "ImageKept"
#define HONORED_CONTAINERS_CHANGED "ContainersChanged"
#define HONORED_PERSISTENCE_KEPT "PersistenceKept"
bool plan_is_edit(const char *reason);

/* The template against what the instance keeps and runs (plan_template.c). An opinion that cannot be had now
 * is left without a status. */
int plan_opine_template(
        const struct view *v, struct opinion *ret_restart, struct opinion *ret_honored) _must_check_;
bool plan_same_containers(const struct view *v);
int plan_opine_containers(const struct view *v, struct opinion *o) _must_check_;
/* The consumer pod was made from an older template, and no container of it has run yet. What the kubelet has
 * not told yet cannot be known: a container that is just starting is then ended with its grace period. */
bool plan_edited_before_it_ran(const struct view *v);

/* Writes. A failed one is left out until its back-off has passed; plan_add_* then only set when to look. */
bool plan_may(struct view *v, enum action_kind kind);
int plan_add(struct view *v, enum action_kind kind, const char *name, struct json *body) _must_check_;
/* A change of an object that exists; its uid is remembered once it was made. */
int plan_add_for(
        struct view *v, enum action_kind kind, const struct json *object, struct json *body) _must_check_;
int plan_delete_pod(struct view *v, enum action_kind kind, const struct json *pod) _must_check_;
int plan_delete_instance(struct view *v) _must_check_;
int plan_release(struct view *v, enum action_kind kind, const struct json *object) _must_check_;
struct plan_event {
    bool warning;
    const char *reason;
    const char *message;
};
int plan_event(struct view *v, const struct plan_event *event) _must_check_;
void plan_requeue(struct view *v, usec_t at);

/* Is the namespace known not to be terminating? When not known, it is asked for and false is returned. */
bool plan_namespace_active(struct view *v);
/* Nothing is made or told in a terminating namespace. It is looked at again each minute: where it came back under
 * the same name (a namespace can go while an object stays, when its API was not served just then), life goes on. */
bool plan_namespace_terminating(struct view *v);
/* The node's state, or NODE_UNKNOWN after having asked. max_age: what was learned longer ago is asked again.
 */
enum node_state plan_node_state(struct view *v, const char *node, usec_t max_age);
/* When a node that is gone will have been so for long enough. An answer of before a pod waited counts from now on. */
usec_t plan_node_given_up_at(struct view *v);
/* A pod waits for that node, which is there. No event may tell when it is gone, or tainted: the scheduler's words for a taint
 * name none. */
void plan_look_at_node_again(struct view *v);

/* Verdicts */
void opine(struct opinion *o, const char *status, const char *reason, const char *fmt, ...) _printf_(4, 5);
void verdict_phase(struct view *v, const char *phase, const char *sci_phase, bool progress);
/* A refusal by the API server (or by us) that stands; false when there is none for this kind. */
bool verdict_refused(struct view *v, enum action_kind kind);
void verdict_template_refused(struct view *v);
/* What keeps a pod from running, in the kubelet's words; false when nothing does. */
bool verdict_pod_problem(struct view *v, const struct pod_facts *f, const char *pod_name);
/* A pod that is being deleted and should be gone: its node does not answer, or a finalizer of somebody's holds it, and
 * Ready says which. Otherwise false, and looked at again when it is overdue. */
bool verdict_pod_overdue(struct view *v, const struct pod_facts *f, const struct json *pod);
const char *phase_when_idle(const struct view *v);
