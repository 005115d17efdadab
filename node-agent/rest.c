/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistence Node: the roots of an instance go to rest (agent.h), with its last published volume or at the agent's start.
 *
 * Who lets go of an overlay last waits in the kernel until all of the file system is written out that its upper lies on,
 * whoever's that is: minutes, on a slow disk. So a worker takes the mounts away, in the agent's own mount namespace, and
 * the agent serves meanwhile. The volume counts as published until the worker has ended, since nobody can mount the root
 * again before; and nothing of the instance is published meanwhile, or a root would be found exposed that is just going
 * (instance.h).
 *
 * The worker is for the agent's sake alone: where none can be started, and what one has not done, the agent does itself.
 */
#include <errno.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/names.h"
#include "node-agent/agent.h"
#include "node-agent/rootdir.h"

/* The kernel is done when it is done: nobody is helped by killing who waits for it. */
#define REST_DEADLINE (3600 * USEC_PER_SEC)

struct resting {
    int instances_fd;
    const char *uid;
};

static int rest_in_child(struct worker_child *child, void *data, struct err *err)
{
    const struct resting *r = data;

    (void)child;
    return rootdir_rest(r->instances_fd, r->uid, err);
}

void rest_here(struct agent *a, const char *uid)
{
    struct err err = ERR_INIT;

    if (rootdir_rest(a->instances_fd, uid, &err) < 0)
        log_warn("instances/%s: %s", uid, err_text(&err));
}

static void on_rested(struct worker_result *res, void *data)
{
    struct node_instance *in = data;
    struct served *sv = in->provider ? in->provider : in->consumer;
    bool failed = res->code < 0 && res->code != -ECANCELED;

    in->i.resting = false;
    in->refs--;
    if (failed)
        log_warn("instances/%s: %s", in->i.uid, res->text);
    if (sv)
        unpublish_rested(sv, res->code);
    else if (failed)
        rest_here(in->agent, in->i.uid);
    agent_touch(in);
}

bool rest_begin(struct node_instance *in)
{
    struct agent *a = in->agent;
    struct resting data = {.instances_fd = a->instances_fd, .uid = in->i.uid};
    char target[LIMIT_UID + 32];
    const struct worker_job job = {
            .place = WORKER_ON_NODE,
            .what = "unmount a root",
            .pod = in->i.uid,
            .target = target,
            .run = rest_in_child,
            .run_data = &data,
            .keep = &a->instances_fd,
            .n_keep = 1,
            .done = on_rested,
            .done_data = in,
            .deadline = REST_DEADLINE,
    };
    struct err err = ERR_INIT;

    if (rootdir_is_exposed(a->instances_fd, in->i.uid) != 1)
        return false; /* nothing that takes its time; what cannot be looked at is told by who does the rest */
    (void)snprintf(target, sizeof(target), SC_INSTANCES_DIR "/%s", in->i.uid);
    if (worker_start(a->workers, &job, &err) < 0) {
        log_warn("instances/%s is unmounted without a worker: %s", in->i.uid, err_text(&err));
        return false;
    }
    in->i.resting = true;
    in->refs++;
    return true;
}
