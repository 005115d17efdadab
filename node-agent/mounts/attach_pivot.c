/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, d and f: the new tree put together and swapped in for the old root.
 *
 * The tree that is built:
 *
 *     detached (6.15)               staged
 *     scaffold (tmpfs)              /.stoppablecontainer (the pod's volume)
 *       `- preserved root             `- preserved root
 *            |- /proc (copy)               |- /proc (copy)
 *            `- ...                        `- ...
 *
 * The scaffold is needed because the root's copy was cloned in the agent's namespace: the kernel lets nobody
 * build on such a tree from another namespace (EINVAL), but on a new file system's mount it does, and on what
 * was moved onto that. It is moved onto /.stoppablecontainer when everything is in place, and goes away with
 * the old tree.
 *
 * What can be undone is undone by closing fds (detached) or by detaching the stage (staged); "/" and the
 * stage stay private then, which nothing in a container can see.
 */
#include "node-agent/mounts/attach_state.h"

#include <unistd.h>

#include "common/names.h"

static const struct mount_change make_private = {.spread = MOUNT_SPREAD_PRIVATE};

/* The pivot was made, and the old root still lies over the new one: lookups of "/" by setns end at the top,
 * the container's processes are at the bottom. By mount ids, so that nobody's chroot is taken for it. */
int attach_finish_pivot(struct attach_state *s, struct err *err)
{
    const struct mount *top;
    uint64_t below;
    int r;

    r = mount_identify(s->process_root, &below, NULL);
    if (r < 0)
        return err_set(err, r, "cannot look at the root of process %d", (int)s->req->process->pid);
    top = mountinfo_by_id(s->mounts, s->old_mount);
    if (!top || top->parent != below)
        return err_say(err, EBUSY, "process %d has the preserved root, its container has not",
                (int)s->req->process->pid);
    r = attach_detach_tree(s->old);
    if (r < 0)
        return err_set(err, r, "cannot detach the old root that an earlier attempt left");
    return 0;
}

/* (d) The two mounts that pivot_root(2) wants private, alone: what is below keeps its propagation. Then the
 * tree becomes visible on the stage. */
static int use_stage(struct attach_state *s, int tree, struct err *err)
{
    int r;

    r = mount_change(s->old, &make_private);
    if (r == 0)
        r = mount_change(s->stage, &make_private);
    if (r < 0)
        return err_set(err, r, "cannot make / and " SC_MOUNT_DIR " private");
    r = mount_move(tree, s->stage);
    if (r < 0)
        return err_set(err, r, "cannot attach the root to " SC_MOUNT_DIR);
    s->stage_used = true;
    return 0;
}

int attach_assemble(struct attach_state *s, struct err *err)
{
    int r;

    if (s->scaffold < 0) {
        r = use_stage(s, s->root, err);
        return r < 0 ? r : attach_move_in(s, err);
    }
    r = mount_move(s->root, s->scaffold);
    if (r < 0)
        return err_set(err, r, "cannot begin the new tree");
    r = attach_move_in(s, err);
    return r < 0 ? r : use_stage(s, s->scaffold, err);
}

int attach_pivot(struct attach_state *s, struct err *err)
{
    int r;

    if (fchdir(s->root) < 0)
        return err_set(err, errno, "cannot change to the new root");
    r = mount_pivot();
    if (r < 0)
        return err_set(err, r, "cannot pivot to the new root");
    /* Nothing is undone from here on: the tree on the stage is the root now. */
    s->stage_used = false;
    r = attach_detach_tree(s->old);
    if (r < 0)
        return err_set(err, r, "cannot detach the old root");
    return 0;
}

/* A failure before the pivot. Nothing to be done about one here: the next attempt finds the rest. From the
 * top: umount2 goes up to what lies on the scaffold, whatever directory it is called in. */
void attach_undo_stage(const struct attach_state *s)
{
    if (!s->stage_used)
        return;
    (void)attach_detach_tree(s->root);
    if (s->scaffold >= 0)
        (void)attach_detach_tree(s->scaffold);
}
