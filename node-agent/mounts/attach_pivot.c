/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, d and f: the new tree put together and swapped in for the old root.
 *
 * The tree that is built:
 *
 *     detached (6.15)               staged
 *     scaffold (tmpfs)              /.stoppablecontainer/old-root (in the pod's volume)
 *       `- preserved root             `- preserved root
 *            |- /proc (copy)               |- /proc (copy)
 *            `- ...                        `- ...
 *
 * The scaffold is needed because the root's copy was cloned in the agent's namespace: the kernel lets nobody
 * build on such a tree from another namespace (EINVAL), but on a new file system's mount it does, and on what
 * was moved onto that. It is moved onto the stage when everything is in place, and goes away with the old
 * tree. The stage is a directory of the pod's volume, and not the volume: what is in it, execwrap above all, is
 * there at every instant, for a hook or a probe that the kubelet executes meanwhile. In the new tree the same
 * directory has the old one for a moment.
 *
 * What can be undone is undone by closing fds (detached) or by detaching the stage (staged); "/" and the
 * volume stay private then, which nothing in a container can see.
 */
#include "node-agent/mounts/attach_state.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/limits.h"
#include "common/names.h"
#include "node-agent/mounts/safe_path.h"

static const struct mount_change make_private = {.spread = MOUNT_SPREAD_PRIVATE};

static bool old_root_is_there(const struct attach_state *s)
{
    for (size_t i = 0; i < s->mounts->n; i++)
        if (strcmp(s->mounts->mounts[i].path, SC_OLD_ROOT_DIR) == 0)
            return true;
    return false;
}

int attach_finish_pivot(struct attach_state *s, struct err *err)
{
    _cleanup_close_ int left = -EBADF;
    int r = attach_read_mounts(s, err);

    if (r < 0 || !old_root_is_there(s))
        return r;
    left = safe_open_mounted(s->old, SC_OLD_ROOT_DIR, O_DIRECTORY);
    r = left < 0 ? left : attach_detach_tree(left);
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
        r = mount_change(s->volume, &make_private);
    if (r < 0)
        return err_set(err, r, "cannot make / and " SC_MOUNT_DIR " private");
    r = mount_move(tree, s->stage);
    if (r < 0)
        return err_set(err, r, "cannot attach the root to " SC_OLD_ROOT_DIR);
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

static const struct carried *find_volume_copy(const struct attach_state *s)
{
    for (size_t i = 0; i < s->list.n; i++)
        if (strcmp(s->carried[i].mount->path, SC_MOUNT_DIR) == 0)
            return &s->carried[i];
    return NULL;
}

/* Not pivot_root(".", "."), which leaves the old root on top of the new one until it is detached: who joins
 * the namespace meanwhile (a hook's exec) would be put there, and stay behind with an empty directory in the
 * place of every mount. */
static int swap_roots(struct attach_state *s, struct err *err)
{
    _cleanup_buf_ struct buf old = BUF_INIT(LIMIT_PATH_TEXT);
    const struct carried *volume = find_volume_copy(s);
    int r;

    if (!volume)
        return err_say(err, ENOENT, "the pod's volume is not among the mounts that are carried");
    r = mount_change(volume->copy, &make_private);
    if (r < 0)
        return err_set(err, r, "cannot make the copy of " SC_MOUNT_DIR " private");
    r = buf_printf(&old, ".%s/" SC_OLD_ROOT_NAME, volume->place);
    if (r < 0)
        return err_set(err, r, "cannot name the place of the old root");
    if (fchdir(s->root) < 0)
        return err_set(err, errno, "cannot change to the new root");
    r = mount_pivot(buf_str(&old));
    if (r < 0)
        return err_set(err, r, "cannot pivot to the new root");
    return 0;
}

int attach_pivot(struct attach_state *s, struct err *err)
{
    int r = swap_roots(s, err);

    if (r < 0)
        return r;
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
