/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The removal of what an instance left on the node (agent.h). A reclaim's publish call moves it to the trash,
 * in one step after which it is nobody's root any more, and waits; here it is emptied, one worker at a time
 * for each instance, slice by slice, whether anybody waits or not. What a crash left in the trash is taken up
 * at the next start. A failure (something is mounted in it) stops the work until a reclaim asks again, who
 * then hears why.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "node-agent/agent.h"
#include "node-agent/mounts/reclaim.h"
#include "node-agent/rootdir.h"

static void on_removed(int code, const char *text, void *data)
{
    struct node_instance *in = data;

    in->removing = false;
    if (code < 0 && code != -EAGAIN) {
        (void)snprintf(in->remove_error, sizeof(in->remove_error), "%s", text);
        log_warn("instance %s: not all of it is removed: %s", in->i.uid, text);
    }
    agent_touch(in);
}

static void begin(struct node_instance *in, const char *name)
{
    struct agent *a = in->agent;
    const struct reclaim_request req = {.target = name, .dir = a->trash_fd, .name = name};
    struct err err = ERR_INIT;

    if (reclaim_start(a->workers, &req, on_removed, in, &err) == 0)
        in->removing = true;
    else
        (void)snprintf(in->remove_error, sizeof(in->remove_error), "%s", err_text(&err));
}

void trash_settle(struct node_instance *in)
{
    char name[ROOTDIR_TRASH_MAX];
    struct err err = ERR_INIT;
    int r;

    if (!in->trash || in->removing || in->remove_error[0])
        return;
    r = rootdir_trashed(in->agent->trash_fd, in->i.uid, name, &err);
    if (r > 0) {
        begin(in, name);
        return;
    }
    if (r < 0) {
        (void)snprintf(in->remove_error, sizeof(in->remove_error), "%s", err_text(&err));
        return;
    }
    in->trash = false;
    in->refs--; /* trash_add's */
}

void trash_add(struct node_instance *in)
{
    in->remove_error[0] = '\0';
    if (!in->trash)
        in->refs++;
    in->trash = true;
    agent_touch(in);
}

void trash_recover(const char *name, void *user)
{
    struct agent *a = user;
    char uid[LIMIT_UID + 1];
    struct node_instance *in;

    (void)snprintf(uid, sizeof(uid), "%s", name);
    in = volume_is_uid(uid) ? agent_instance(a, "", uid) : NULL;
    if (in)
        trash_add(in);
    else
        log_warn("trash/%s is left as it is: no instance's, or there are too many", name);
}
