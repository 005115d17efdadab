/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See the header for the sequence. The worker's part is three calls; everything that decides how the copy
 * looks is done by the agent on the detached mount, so no half-configured copy is ever visible.
 */
#include "node-agent/mounts/expose.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/limits.h"
#include "node-agent/mounts/safe_path.h"

/* One exposure under way; lives from expose_start to the callback. */
struct exposure {
    int dir;
    char *name;
    struct mount_caps caps;
    struct process process; /* only the pidfd */
    expose_done_fn done;
    void *data;
};

static void exposure_free(struct exposure *x)
{
    if (!x)
        return;
    (void)close_fd(x->dir);
    process_unpin(&x->process);
    free(x->name);
    free(x);
}
DEFINE_CLEANUP_FUNC(struct exposure *, exposure_free);

static int clone_root_in_child(struct worker_child *child, void *data, struct err *err)
{
    const struct expose_request *req = data;
    int r;

    r = worker_join(req->ns->fd, req->machine, NULL, err);
    if (r < 0)
        return r;
    r = mount_clone_root();
    if (r < 0)
        return err_set(err, r, "cannot copy the mount of the container's root");
    child->fds[child->n_fds++] = r;
    return 0;
}

int expose_place(int dir, const char *name, const struct mount_caps *caps, int tree, struct err *err)
{
    _cleanup_close_ int target = -EBADF;
    const struct mount_change protect = {
            .set = MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC | (caps->nosymfollow ? MOUNT_NOSYMFOLLOW : 0),
            .spread = MOUNT_SPREAD_SHARED,
    };
    int r;

    r = mount_change(tree, &protect);
    if (r < 0)
        return err_set(err, r, "cannot protect the copy of the root");
    if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the directory %s", name);
    target = safe_open_child(dir, name, O_DIRECTORY);
    if (target == -EXDEV)
        return err_say(err, EEXIST, "something is mounted on %s already", name);
    if (target < 0)
        return err_set(err, target, "cannot open the directory %s", name);
    r = mount_move(tree, target);
    if (r < 0)
        return err_set(err, r, "cannot attach the copy of the root to %s", name);
    return 0;
}

static void on_cloned(struct worker_result *res, void *data)
{
    _cleanup_(exposure_freep) struct exposure *x = data;
    struct err err = ERR_INIT;
    int r;

    if (res->code < 0) {
        x->done(res->code, res->text, x->data);
        return;
    }
    if (res->n_fds != 1)
        r = err_say(&err, EBADMSG, "the worker sent no mount");
    else if (!process_alive(&x->process))
        r = err_say(&err, ESRCH, "the provider's process has ended: its root is being removed");
    else
        r = expose_place(x->dir, x->name, &x->caps, res->fds[0], &err);
    x->done(r, r < 0 ? err_text(&err) : "", x->data);
}

int expose_start(struct workers *ws, const struct expose_request *req, expose_done_fn done, void *data,
        struct err *err)
{
    _cleanup_(exposure_freep) struct exposure *x = NULL;
    const int keep[] = {req->ns->fd};
    struct expose_request copy = *req;
    int r;

    x = calloc(1, sizeof(*x));
    if (!x)
        return err_set(err, ENOMEM, "cannot expose a root");
    *x = (struct exposure){.process = PROCESS_INIT, .done = done, .data = data};
    x->caps = *req->caps;
    x->name = strdup(req->name);
    x->dir = fcntl(req->dir, F_DUPFD_CLOEXEC, 3);
    x->process.pidfd = fcntl(req->process->pidfd, F_DUPFD_CLOEXEC, 3);
    if (!x->name || x->dir < 0 || x->process.pidfd < 0)
        return err_set(err, x->name ? errno : ENOMEM, "cannot expose a root");

    const struct worker_job job = {
            .what = "expose",
            .pod = req->pod,
            .target = req->target,
            .run = clone_root_in_child,
            .run_data = &copy,
            .keep = keep,
            .n_keep = ARRAY_SIZE(keep),
            .done = on_cloned,
            .done_data = x,
    };
    r = worker_start(ws, &job, err);
    if (r < 0)
        return r;
    (void)take_ptr(x);
    return 0;
}

int expose_is_exposed(int dir, const char *name)
{
    _cleanup_close_ int fd = -EBADF;
    bool is_root;
    int r;

    fd = safe_open_mountpoint(dir, name, 0);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    r = mount_identify(fd, NULL, &is_root);
    return r < 0 ? r : is_root;
}

int expose_open(int dir, const char *name, int *ret_fd, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;
    bool is_root = false;
    int r;

    fd = safe_open_mountpoint(dir, name, O_DIRECTORY);
    if (fd < 0)
        return err_set(err, fd, "cannot open the exposed root %s", name);
    r = mount_identify(fd, NULL, &is_root);
    if (r < 0)
        return err_set(err, r, "cannot look at the exposed root %s", name);
    if (!is_root)
        return err_say(err, ENOENT, "nothing is mounted on %s", name);
    *ret_fd = take_fd(&fd);
    return 0;
}

int expose_remove(int dir, const char *name, struct err *err)
{
    int r = 0;

    for (int i = 0; i < LIMIT_MOUNT_STACK; i++) {
        r = mount_detach_at(dir, name);
        if (r < 0)
            break;
    }
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        return err_say(err, EBUSY, "%s is still a mount after %d were detached", name, LIMIT_MOUNT_STACK);
    if (r != -EINVAL)
        return err_set(err, r, "cannot detach %s", name);
    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove the directory %s", name);
    return 0;
}
