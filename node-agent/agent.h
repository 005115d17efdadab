/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: its tables, and the I/O around the decisions of instance.h.
 *
 *   agent.c      start and stop, the tables, settling
 *   publish.c    the kubelet's calls: publish (with its waiting), unpublish, reclaim
 *   visitor.c    a process on a volume's socket, from its first request to its answer
 *   provider.c   hello: exposing a root, watching its container, losing it
 *   consumer.c   attach
 *   recover.c    what an earlier life of the agent left
 *
 * Everything is level-triggered. Whatever changes an instance calls agent_touch; at the loop's next turn all
 * that wait on the instance, first publish calls and then visitors, in order, are decided again by
 * instance.h, and what may be done is done. No callback from another module frees anything that is in use
 * further up: a served volume is freed only by the kubelet's calls, when none of its jobs is under way.
 */
#pragma once

#include "common/base/backoff.h"
#include "common/base/list.h"
#include "common/base/loop.h"
#include "common/base/map.h"
#include "node-agent/csi/node_service.h"
#include "node-agent/csi/registration.h"
#include "node-agent/instance.h"
#include "node-agent/mounts/mntns.h"
#include "node-agent/mounts/mount_api.h"
#include "node-agent/mounts/worker.h"
#include "node-agent/options.h"
#include "node-agent/peer.h"
#include "node-agent/runtime/cri.h"
#include "node-agent/serve.h"
#include "node-agent/target.h"
#include "node-agent/volume.h"

struct served;
struct visitor;

/* What the agent knows of one container of a published volume, beside what is journaled. */
struct slot {
    struct served *served;
    struct volume_container *container;
    struct peer *peer; /* provider: holds the root; consumer: the container attached last */
    struct loop_source *watch; /* provider: end of peer's init */

    /* provider: config of the container's image, asked for once */
    struct cri_image *image;
    struct cri_request *image_request;

    /* after a restart of the agent: what became of the journaled container */
    struct cri_request *recover_request;
    struct loop_source *recover_timer;
    struct backoff recover_backoff;

    /* consumer */
    struct peer *attaching; /* its attach is under way */
    bool attached; /* peer has its root */
};

/* A published volume. */
struct served {
    struct agent *agent;
    struct volume *volume;
    struct node_instance *instance;
    struct serve *serve; /* NULL for reclaim */
    struct list visitors;
    size_t checks; /* of visitors, under way */
    bool leaving; /* unpublish has begun */
    struct csi_call *unpublish; /* answered when no job is under way any more */
    size_t n_slots;
    struct slot slots[]; /* as volume->containers */
};

struct node_instance {
    struct list dirty; /* in agent->dirty when it must be settled */
    struct agent *agent;
    struct instance i;
    struct served *provider;
    struct served *consumer;
    size_t refs; /* publish calls that wait and volumes that are published, a reclaim pod's too */
};

/* A publish call that has no answer yet. */
struct waiting {
    struct list node; /* agent->waiting, in order of arrival */
    struct agent *agent;
    struct csi_call *call;
    struct volume *volume;
    struct node_instance *instance;
    struct loop_source *timer;
    char text[DECISION_TEXT_MAX]; /* what it waits for */
};

struct agent {
    const struct options *options;
    struct loop *loop;
    struct cri *cri;
    struct workers *workers;
    struct csi_node_service *csi;
    struct csi_registration *registration;
    struct machine machine;
    struct mount_caps mount_caps;
    bool fit; /* this node can run StoppableContainers */
    struct err unfit; /* why not */
    bool registered;

    int state_fd; /* locked: one agent for each state directory */
    int volumes_fd;
    int instances_fd;
    struct target_sources target;

    struct map *volumes; /* volume id -> struct served */
    struct map *instances; /* instance uid -> struct node_instance */
    struct map *tried; /* ids of volumes whose first publish call has ended without success */
    struct list waiting;
    size_t n_waiting;
    struct list dirty;
    struct loop_source *settle;
    struct serve_total connections;

    struct loop_source *stop_timer;
    usec_t warn_last; /* rate of warnings about peers; 0: none yet, the bucket is full */
    unsigned warn_tokens;
    unsigned warn_dropped;
};

/* --- agent.c --- */

/* Checks the node, takes over what is there, serves, registers. options outlives it. */
int agent_new(struct loop *loop, const struct options *options, struct agent **ret_agent, struct err *err);

/* Orderly end: unregisters, answers what waits, then stops the loop with code 0. Sockets, files, mounts and
 * journal stay as they are for the next agent. */
void agent_stop(struct agent *a);
struct agent *agent_free(struct agent *a); /* accepts NULL; returns NULL */
DEFINE_CLEANUP_FUNC(struct agent *, agent_free);

/* Something about the instance has changed. */
void agent_touch(struct node_instance *in);

/* The instance of that uid, made when it is not known. NULL: no memory, or too many. */
struct node_instance *agent_instance(struct agent *a, const char *ns, const char *uid);
/* Forgets it if nothing refers to it. */
void agent_instance_put(struct node_instance *in);

/* A warning about what a pod's process did: text of strangers' making comes at their rate, so it is limited.
 */
void agent_warn(struct agent *a, const char *fmt, ...) _printf_(2, 3);

/* Makes a volume a published one: takes it over, and its socket (listen_fd, also on failure). */
int served_new(struct agent *a, struct node_instance *in, struct volume *v, int listen_fd,
        struct served **ret_served, struct err *err);
int served_listen(struct served *sv, int listen_fd, struct err *err); /* replaces the socket */
void served_free(struct served *sv); /* takes it out of the tables */
bool served_is_busy(const struct served *sv); /* a worker is at one of its roots */
struct slot *served_slot(struct served *sv, const char *container);
int served_journal(struct served *sv, struct err *err);

/* --- publish.c --- */
extern const struct csi_ops publish_ops;
void publish_settle(struct node_instance *in);
void publish_stop(struct agent *a); /* answers all that wait */
void unpublish_continue(struct served *sv); /* a job of a leaving volume has ended */

/* --- visitor.c --- */
enum visitor_state { VISITOR_QUEUED, VISITOR_CHECKING, VISITOR_CHECKED };

struct visitor {
    struct list node;
    struct served *served;
    struct conn *conn;
    enum visitor_state state;
    struct wire_request request; /* HELLO or ATTACH */
    struct peer_check *check;
    struct peer *peer; /* once CHECKED */
    struct loop_source *timer; /* ATTACH: an end to its waiting */
    bool stopping; /* STOPPING has come */
    bool held; /* HELD was sent */
    char waits_for[DECISION_TEXT_MAX]; /* as last said in a WAIT */
};

extern const struct serve_ops visitor_ops;
void visitor_settle(struct served *sv);
void visitor_free_all(struct served *sv);
struct slot *visitor_slot(const struct visitor *v);
/* Answers with a last frame (len <= 0: none). v is gone. */
void visitor_end(struct visitor *v, const void *frame, int len);
void visitor_refuse(struct visitor *v, bool retryable, const char *text); /* v is gone */
/* Refuses all checked visitors of the container of that name that have not been answered. */
void visitor_refuse_name(struct served *sv, const char *container, bool retryable, const char *text);

/* --- provider.c --- */
/* Exposes the peer's root, or finds it exposed. The result comes by agent_touch. */
int provider_take(struct slot *slot, struct peer *peer, struct err *err);
void provider_lose(struct node_instance *in, const char *reason);
/* The image's config is there, or asked for (false). */
bool provider_image(struct slot *slot);

/* --- consumer.c --- */
/* Answers the visitor, or has the attach under way that will. */
void consumer_attach(struct visitor *v, struct slot *root);
/* The roots under the consumer are lost: journaled, and its containers ended. Nothing if it is on others. */
void consumer_lose(struct node_instance *in, const char *reason);
/* Ends the containers that are known to run on a lost root. */
void consumer_kill(struct served *consumer);

/* --- recover.c --- */
int recover_all(struct agent *a, struct err *err);
