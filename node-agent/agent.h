/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: its tables, and the I/O around the decisions of instance.h.
 *
 *   agent.c      start and stop, the tables, settling
 *   publish.c    the kubelet's calls: publish (with its waiting), unpublish, reclaim
 *   rest.c       persistence Node: the roots of an instance unmounted
 *   visitor.c    a process on a volume's socket, from its first request to its answer
 *   provider.c   hello: exposing a root, watching its container, losing it
 *   provider_node.c  the same in persistence Node: the root is the node's
 *   use.c        the same: a sizeLimit that is only watched
 *   trash.c      the removal of what a reclaimed instance left
 *   consumer.c   attach
 *   hook.c       attach: the postStart hook's process, waited for
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
#include "node-agent/record.h"
#include "node-agent/runtime/cri.h"
#include "node-agent/serve.h"
#include "node-agent/target.h"
#include "node-agent/volume.h"

struct served;
struct visitor;

/* use.c's, of a provider's root. */
struct slot_use {
    bool watched; /* its sizeLimit, by no more than looking at it */
    bool stale; /* may have changed since it was counted */
    bool counting;
    bool armed;
    usec_t next; /* not before */
    struct loop_source *timer;
    enum root_use is; /* as last counted */
    uint64_t bytes;
    char why[DECISION_TEXT_MAX]; /* USE_UNKNOWN */
};

/* hook.c's, of a consumer's container. */
struct slot_hook {
    char of[LIMIT_CONTAINER_ID + 1]; /* the container in which one waits for the other; "": none does */
    bool over; /* its time is */
    struct loop_source *timer;
    char first[LIMIT_CONTAINER_ID + 1]; /* the last one whose first process was told that it has its root */
};

/* What the agent knows of one container of a published volume, beside what is journaled. */
struct slot {
    struct served *served;
    struct volume_container *container;
    struct peer *peer; /* provider: holds the root; consumer: the container whose attach was begun last */
    struct loop_source *watch; /* provider: end of peer's init */

    struct slot_use use;
    usec_t busy_since; /* provider in persistence Node: its root is held by somebody else; 0: not */
    bool left; /* provider: the lost root could not be taken off the node */

    /* config of the container's image, asked for once; in persistence Node a consumer's too */
    struct cri_image *image;
    struct cri_request *image_request;
    char image_for[LIMIT_CONTAINER_ID + 1]; /* the container whose image it is */

    /* after a restart of the agent: what became of the journaled container */
    struct cri_request *recover_request;
    struct loop_source *recover_timer;
    struct backoff recover_backoff;

    /* consumer */
    bool attaching; /* peer's attach is under way */
    bool attached; /* peer has its root */
    struct slot_hook hook;
};

/* A published volume. */
struct served {
    struct agent *agent;
    struct volume *volume;
    struct node_instance *instance;
    struct serve *serve; /* NULL for reclaim, and where there is no socket yet */
    struct loop_source *listen_timer; /* until there is one again, after a restart of the agent */
    struct backoff listen_backoff;
    struct list visitors;
    size_t checks; /* of visitors, under way */
    bool unsaved; /* its journal entry is older than it */
    bool still_marked; /* consumer: its root is lost, and the mark could not be removed */
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
    size_t refs; /* publish calls that wait and volumes that are published, a reclaim pod's too; trash; rest */
    bool again; /* something came to nothing that nobody asks for again: to be settled when agent->again is due */
    bool trash; /* something of it is in the trash */
    bool removing; /* a worker is at that */
    struct list turn; /* in agent->removals when there are enough workers */
    bool remove_again; /* what follows passes: tried again when `again` is due */
    char remove_error[DECISION_TEXT_MAX]; /* why that came to nothing; until somebody asks again */
};

/* A publish call that has no answer yet. */
struct waiting {
    struct list node; /* agent->waiting, in order of arrival */
    struct agent *agent;
    struct csi_call *call;
    struct volume *volume;
    struct node_instance *instance;
    struct loop_source *timer;
    bool trashed; /* reclaim: what there was is in the trash */
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
    bool unserved; /* the journal has volumes that are not served: what belongs to nobody here may be theirs */

    int state_fd; /* locked: one agent for each state directory */
    int volumes_fd;
    int instances_fd;
    int trash_fd;
    const char *runtime_root; /* borrowed; NULL: not known */
    int machine_ns; /* the machine's mount namespace, where the runtime's directories are */
    struct target_sources target;

    struct map *volumes; /* volume id -> struct served */
    struct map *instances; /* instance uid -> struct node_instance */
    struct map *tried; /* ids of volumes whose first publish call has ended without success */
    struct list waiting;
    size_t n_waiting;
    struct list dirty;
    struct loop_source *settle; /* a timer, due once something is dirty */
    struct loop_source *again; /* a timer, for node_instance.again */
    bool again_due; /* it is set */
    struct list removals; /* instances whose trash waits for a worker, in order */
    size_t n_removing;
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

/* Something about the instance has changed. Takes no memory: a provider that said hello might wait for ever. */
void agent_touch(struct node_instance *in);
void agent_settle(struct loop_source *src, usec_t now, void *data); /* of agent->settle; data: the agent */
/* In a second, for what failed and is nobody's to repeat: an entry of the journal, a copy to be taken off. */
void agent_touch_later(struct node_instance *in);
void agent_again(struct loop_source *src, usec_t now, void *data); /* of agent->again */

/* The instance of that uid, made when it is not known. NULL: no memory, or too many. */
struct node_instance *agent_instance(struct agent *a, const char *ns, const char *uid);
/* Forgets it if nothing refers to it. */
void agent_instance_put(struct node_instance *in);

/* err_is_passing, or a disk's bad time: another try, when there is room again, may succeed. code is negative. */
bool agent_is_passing(int code);

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
void unpublish_continue(struct served *sv); /* if it leaves: what it waited for may be over */
void unpublish_rested(struct served *sv, int code); /* rest_begin's worker has ended, with that code */

/* --- rest.c --- */
/* Whether a worker is at unmounting the instance's roots now, whose volume leaves or has left; instance.resting until
 * then. No: nothing is mounted, or rootdir_rest is the caller's to call. */
bool rest_begin(struct node_instance *in);
/* Unmounts them in the caller's own time. */
void rest_here(struct agent *a, const char *uid);

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
void visitor_say(struct visitor *v, const char *text); /* what it waits for */
/* Refuses all checked visitors of the container of that name that have not been answered. */
void visitor_refuse_name(struct served *sv, const char *container, bool retryable, const char *text);

/* Ends the provider's processes that hold its roots, with these as their last words. */
void visitor_dismiss(struct served *sv, const char *text);

/* --- provider.c --- */
/* Exposes the peer's root, or finds it exposed. The result comes by agent_touch. -ENOTRECOVERABLE: it never
 * will be, and the text is for the pod's author. */
int provider_take(struct slot *slot, struct peer *peer, struct err *err);
void provider_lose(struct node_instance *in, const char *reason);
/* Takes the copies of its roots off the node. */
void provider_unexpose(struct served *sv);
void provider_settle(struct served *sv); /* tries that again where it failed */
/* The image's config is there, or asked for (false). slot->peer's image, or with a peer that one's. */
bool provider_image(struct slot *slot);
bool slot_image(struct slot *slot, const struct peer *peer);

/* --- provider_node.c --- */
/* provider_take's second half. dir: the container's directory. */
int provider_node_take(struct slot *slot, struct peer *peer, int dir, struct err *err);
void provider_node_exposed(struct slot *slot);
void provider_node_ended(struct slot *slot);

/* --- use.c --- */
/* The root that this record is of is exposed, or will be. */
void use_watch(struct slot *slot, const struct record *rec);
void use_settle(struct served *sv);
/* For a format with the limit. */
#define USE_WATCHED_TEXT                                                                                    \
    "the node's file system can hold no limit (it has no project quota): the sizeLimit of %" PRIu64         \
    " bytes "                                                                                               \
    "stops no write; what the root takes is counted from time to time, and this condition says when it is " \
    "more"

/* --- trash.c --- */
void trash_add(struct node_instance *in); /* something of it was moved there */
void trash_settle(struct node_instance *in);
void trash_recover(const char *name, void *user); /* user: the agent; name: an entry of the trash */

/* --- consumer.c --- */
/* Answers the visitor, or has the attach under way that will. root: the provider's, or NULL in persistence
 * Node without one. */
void consumer_attach(struct visitor *v, struct slot *root);
/* The roots under the consumer are lost: journaled, and its containers ended. Nothing if it is on others. */
void consumer_lose(struct node_instance *in, const char *reason);
/* The name of a container that may still be on its root, or NULL. Most often none is when the volume goes; but a
 * kubelet that starts again unmounts the volumes of a pod that was deleted by force meanwhile before it ends its
 * containers. */
const char *consumer_runs(const struct served *sv);
void consumer_settle(struct served *sv); /* tries again what failed of a loss */
/* Ends the containers that are known to run on a lost root. */
void consumer_kill(struct served *consumer);

/* --- hook.c --- */
/* What a process that asks for the root waits for: the hook's for the container's first one, or that one for the hook's.
 * NULL: it need not. Decided again when the other asks, and when the time for it is over. */
const char *hook_waits_for(struct slot *slot, const struct visitor *v);
/* The peer, a container's first process, is told that it has its root. */
void hook_first_goes_on(struct slot *slot, const struct peer *peer);
/* The kubelet publishes a volume once more: it was started again, and will execute no hook of a container that runs. */
void hook_kubelet_is_new(struct served *sv);

/* --- recover.c --- */
int recover_all(struct agent *a, struct err *err);
