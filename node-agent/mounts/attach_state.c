/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach: into the container's namespace, its mount table, and what an earlier worker left there.
 */
#include "node-agent/mounts/attach_state.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/limits.h"
#include "common/names.h"
#include "node-agent/mounts/safe_path.h"

static const struct mount_change make_tree_private = {.spread = MOUNT_SPREAD_PRIVATE, .recursive = true};

int attach_identify(int fd, struct file_id *ret)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    *ret = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
    return 0;
}

/* Copies stay open until the child ends, which it does at once. */
void attach_state_free(struct attach_state *s)
{
    for (size_t i = 0; s->carried && i < s->list.n; i++) {
        (void)close_fd(s->carried[i].copy);
        (void)close_fd(s->carried[i].target);
        free(s->carried[i].place);
    }
    free(s->carried);
    carry_list_free(&s->list);
    (void)mountinfo_free(s->mounts);
    (void)close_fd(s->scaffold);
    (void)close_fd(s->process_root);
    (void)close_fd(s->old);
    (void)close_fd(s->volume);
    (void)close_fd(s->stage);
    for (size_t i = 0; i < s->chroot.n_covers; i++)
        (void)close_fd(s->chroot.covers[i]);
    (void)close_fd(s->chroot.commands);
    (void)close_fd(s->chroot.own);
    (void)close_fd(s->chroot.place);
}

int attach_look_around(struct attach_state *s, struct err *err)
{
    int r;

    r = attach_identify(s->root, &s->root_id);
    if (r < 0)
        return err_set(err, r, "cannot look at the preserved root");
    s->process_root = openat(s->req->process->procfd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s->process_root < 0)
        return err_set(err, errno == ENOENT ? ESRCH : errno, "cannot open the root of process %d",
                (int)s->req->process->pid);
    r = attach_identify(s->process_root, &s->process_root_id);
    if (r < 0)
        return err_set(err, r, "cannot look at the root of process %d", (int)s->req->process->pid);
    if (s->req->caps->detached_assembly && !s->req->chroot) {
        s->scaffold = mount_new_scaffold();
        if (s->scaffold < 0)
            return err_set(err, s->scaffold, "cannot make a mount to build on");
    }
    r = worker_join(s->req->ns->fd, s->req->machine, &s->old, err);
    if (r < 0)
        return r;
    r = attach_identify(s->old, &s->old_id);
    if (r == 0)
        r = mount_identify(s->old, &s->old_mount, NULL);
    if (r < 0)
        return err_set(err, r, "cannot look at the container's root");
    return 0;
}

/* (a) The table as this process has it now: through the machine's /proc, since /proc here is a tenant's. */
int attach_read_mounts(struct attach_state *s, struct err *err)
{
    s->mounts = mountinfo_free(s->mounts);
    return worker_read_mounts(s->child, &s->mounts, err);
}

/* Detaches the tree whose root is fd, never reaching its peers: what is carried may be shared with the
 * machine, and detaching a shared mount's child detaches the machine's. So it is made private first, through
 * the fd and not through a path, which might lead to another tree by now. */
int attach_detach_tree(int fd)
{
    int r;

    r = mount_change(fd, &make_tree_private);
    if (r < 0)
        return r;
    if (fchdir(fd) < 0)
        return -errno;
    return mount_detach_cwd();
}

/* The pod's volume, directly on the root mount: the lowest of what is at its path. */
static const struct mount *find_volume(const struct attach_state *s)
{
    for (size_t i = 0; i < s->mounts->n; i++) {
        const struct mount *m = &s->mounts->mounts[i];

        if (m->parent == s->old_mount && strcmp(m->path, SC_MOUNT_DIR) == 0)
            return m;
    }
    return NULL;
}

/* Opens what is seen at path, and detaches it, until that is in the mount with this id. How many were in the
 * way. */
static int uncover(
        const struct attach_state *s, const char *path, uint64_t wanted, int *ret_fd, struct err *err)
{
    for (int i = 0; i < LIMIT_MOUNT_STACK; i++) {
        _cleanup_close_ int fd = safe_open_mounted(s->old, path, O_DIRECTORY);
        uint64_t there;
        int r;

        if (fd < 0)
            return err_set(err, fd, "cannot open %s", path);
        r = mount_identify(fd, &there, NULL);
        if (r < 0)
            return err_set(err, r, "cannot look at %s", path);
        if (there == wanted) {
            *ret_fd = take_fd(&fd);
            return i;
        }
        r = attach_detach_tree(fd);
        if (r < 0)
            return err_set(err, r, "cannot remove what an earlier attempt left on %s", path);
    }
    return err_say(err, EBUSY, "more than %d mounts lie on %s", LIMIT_MOUNT_STACK, path);
}

int attach_clear_stage(struct attach_state *s, struct err *err)
{
    const struct mount *volume = find_volume(s);
    int above, within = 0;

    if (!volume)
        return err_say(err, ENOENT, "the pod's volume is not mounted at " SC_MOUNT_DIR);
    /* Versions that put the tree over the whole volume left theirs there. */
    above = uncover(s, SC_MOUNT_DIR, volume->id, &s->volume, err);
    if (above >= 0 && !s->req->chroot)
        within = uncover(s, SC_OLD_ROOT_DIR, volume->id, &s->stage, err);
    if (above < 0 || within < 0)
        return above < 0 ? above : within;
    return above + within > 0 ? attach_read_mounts(s, err) : 0;
}
