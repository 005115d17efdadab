/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The removal of what an instance left on the node (agent.h). A reclaim's publish call moves it to the trash,
 * in one step after which it is nobody's root any more, and waits; here it is emptied, one worker at a time
 * for each instance, slice by slice, whether anybody waits or not; a few at once, each in its turn, so that
 * there are always workers left for attaches. What a crash left in the trash is taken up at the next start.
 * After a failure that passes it is tried again by itself, any other (something is mounted in it) stops the
 * work until a reclaim asks again; who waits meanwhile hears why.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "node-agent/agent.h"
#include "node-agent/mounts/reclaim.h"
#include "node-agent/rootdir.h"

enum { REMOVALS_MAX = 4 }; /* workers at once */

/* Said once, however often it is tried. */
static void failed(struct node_instance *in, bool passing, const char *text)
{
    char before[sizeof(in->remove_error)];

    memcpy(before, in->remove_error, sizeof(before));
    (void)snprintf(in->remove_error, sizeof(in->remove_error), "%s", text);
    if (strcmp(before, in->remove_error) != 0)
        log_warn("instance %s: not all of it is removed%s: %s", in->i.uid, passing ? " yet" : "", text);
    in->remove_again = passing;
    if (passing)
        agent_touch_later(in);
}

/* Somebody else's. */
static void pass_turn(struct agent *a)
{
    struct node_instance *next;

    if (list_empty(&a->removals))
        return;
    next = list_entry(a->removals.next, struct node_instance, turn);
    list_remove(&next->turn);
    agent_touch(next);
}

static void on_removed(int code, const char *text, void *data)
{
    struct node_instance *in = data;

    in->removing = false;
    in->agent->n_removing--;
    if (code == 0 || code == -EAGAIN)
        in->remove_error[0] = '\0';
    else /* EBUSY is a mount, which a person has made */
        failed(in, agent_is_passing(code) && code != -EBUSY, text);
    pass_turn(in->agent); /* before its own next slice */
    agent_touch(in);
}

static bool begin(struct node_instance *in, const char *name)
{
    struct agent *a = in->agent;
    const struct reclaim_request req = {.target = name, .dir = a->trash_fd, .name = name};
    struct err err = ERR_INIT;
    int r = reclaim_start(a->workers, &req, on_removed, in, &err);

    in->removing = r == 0;
    a->n_removing += r == 0;
    if (r < 0)
        failed(in, agent_is_passing(r), err_text(&err));
    return r == 0;
}

/* True when a worker is at it now. */
static bool go_on(struct node_instance *in)
{
    char name[ROOTDIR_TRASH_MAX];
    struct err err = ERR_INIT;
    int r = rootdir_trashed(in->agent->trash_fd, in->i.uid, name, &err);

    if (r > 0)
        return begin(in, name);
    if (r < 0) {
        failed(in, agent_is_passing(r), err_text(&err));
        return false;
    }
    in->trash = false;
    in->refs--; /* trash_add's */
    return false;
}

void trash_settle(struct node_instance *in)
{
    struct agent *a = in->agent;

    if (!in->trash || in->removing || (in->remove_error[0] && (in->again || !in->remove_again)))
        return;
    if (a->n_removing < REMOVALS_MAX) {
        list_remove(&in->turn);
        if (!go_on(in))
            pass_turn(a);
    } else if (list_empty(&in->turn)) {
        list_append(&a->removals, &in->turn);
    }
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
