/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, in the consumer's mount namespace: the order of the steps (attach_state.h).
 *
 * What a killed worker leaves is one of two things: a tree on the stage, removed here at the next attempt,
 * or, after the pivot, the old root in the new one: then the next attempt finishes the job. For Chroot see
 * attach_chroot.c.
 */
#include "node-agent/mounts/attach_steps.h"

#include "node-agent/mounts/attach_state.h"

static int pivot(struct attach_state *s, struct err *err)
{
    int r = attach_assemble(s, err);

    if (r == 0)
        r = attach_pivot(s, err);
    if (r < 0)
        attach_undo_stage(s);
    return r;
}

static int attach_new(struct attach_state *s, struct err *err)
{
    int r;

    r = attach_clear_stage(s, err);
    if (r == 0 && s->req->chroot)
        r = attach_chroot_clear(s, err);
    if (r == 0)
        r = attach_select_mounts(s, err);
    for (size_t i = 0; r == 0 && i < s->list.n; i++)
        r = attach_copy_mount(s, &s->carried[i], err);
    if (r == 0)
        r = attach_find_places(s, err);
    if (r < 0)
        return r;
    return s->req->chroot ? attach_chroot(s, err) : pivot(s, err);
}

int attach_run(struct worker_child *child, void *data, struct err *err)
{
    const struct attach_steps *steps = data;
    _cleanup_(attach_state_free) struct attach_state s = {
            .req = steps->req,
            .child = child,
            .root = steps->root,
            .scaffold = -EBADF,
            .process_root = -EBADF,
            .old = -EBADF,
            .volume = -EBADF,
            .stage = -EBADF,
            .chroot = {.tools = steps->tools, .commands = -EBADF, .own = -EBADF, .place = -EBADF},
    };
    int r;

    r = attach_look_around(&s, err);
    if (r < 0)
        return r;
    /* Device and inode of the root: the kernel gives a file system its device number, so a tenant could only
     * show the preserved root's by having it, and gets nothing here but "yes". */
    if (file_id_equal(&s.old_id, &s.root_id)) {
        r = attach_finish_pivot(&s, err);
        return r < 0 ? r : ATTACH_ALREADY;
    }
    r = attach_read_mounts(&s, err);
    if (r == 0 && s.req->chroot)
        r = attach_chroot_is_done(&s, err);
    if (r != 0)
        return r < 0 ? r : ATTACH_ALREADY;
    /* pivot_root moves the processes whose root is the old root: one that did a chroot would be told of
     * success and stay where it is, on a tree that is no longer mounted anywhere. */
    if (!file_id_equal(&s.process_root_id, &s.old_id))
        return err_say(
                err, EPERM, "process %d has another root than its container", (int)s.req->process->pid);
    return attach_new(&s, err);
}
