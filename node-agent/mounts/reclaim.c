/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See reclaim.h. "Top" is the directory that is being removed. One round opens each directory in it and
 * clears that: files are unlinked, empty directories removed, others renamed to top. Rounds are repeated
 * until top is empty; each takes one level of the deepest tree away, and there is no more in top than was in
 * one level of the tree.
 *
 * readdir(3) may miss or repeat entries that are renamed or removed meanwhile; that costs a round, nothing
 * else.
 */
#include "node-agent/mounts/reclaim.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/random.h"
#include "node-agent/mounts/safe_path.h"

#define PROTECTION (FS_IMMUTABLE_FL | FS_APPEND_FL)

struct reclaim {
    int top;
    uint64_t next; /* the last number that was given out; begun where no earlier slice has been */
    usec_t deadline;
    bool progress; /* something was removed or moved in this round */
};

/* Clears what keeps the thing from being changed. fd: O_PATH, so it is opened anew, by what it is and not by
 * its name, and only if it is a file or a directory: opening anything else has effects. */
static int unprotect(int fd)
{
    _cleanup_close_ int real = -EBADF;
    char path[32];
    struct stat st;
    int flags;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return -EPERM;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    real = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (real < 0 || ioctl(real, FS_IOC_GETFLAGS, &flags) < 0)
        return -errno;
    if (!(flags & PROTECTION))
        return -EPERM;
    flags &= ~PROTECTION;
    return ioctl(real, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;
}

/* The directory is protected, or the thing itself, or both. 0 when one of them was and is no longer. */
static int unprotect_both(int dir, const char *name)
{
    int of_dir = unprotect(dir);
    _cleanup_close_ int fd = safe_open_child(dir, name, O_NOFOLLOW);
    int of_child = fd < 0 ? fd : unprotect(fd);

    return of_dir == 0 || of_child == 0 ? 0 : -EPERM;
}

/* A directory of a project that its children inherit takes in nothing of another project (rename(2) says EXDEV):
 * an administrator's, in which the whole of the state directory may be, where the root has its own. Top is of no
 * project's use any more. 0 when that is off now, and was not. */
static int disinherit(int top)
{
    _cleanup_close_ int fd = safe_open_to_read(top);
    struct fsxattr attr;

    if (fd < 0)
        return fd;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0)
        return -errno;
    if (!(attr.fsx_xflags & FS_XFLAG_PROJINHERIT))
        return -EXDEV;
    attr.fsx_xflags &= ~(uint32_t)FS_XFLAG_PROJINHERIT;
    return ioctl(fd, FS_IOC_FSSETXATTR, &attr) < 0 ? -errno : 0;
}

static int drop(struct reclaim *x, int dir, const char *name, int flags)
{
    int r = unlinkat(dir, name, flags) < 0 ? -errno : 0;

    if (r == -EPERM && unprotect_both(dir, name) == 0)
        r = unlinkat(dir, name, flags) < 0 ? -errno : 0;
    x->progress = x->progress || r == 0;
    return r == -ENOENT ? 0 : r;
}

/* Renames a directory to top under the next free number. -EAGAIN: no time was left to find one. */
static int lift(struct reclaim *x, int dir, const char *name)
{
    char number[24];
    int r;

    do {
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)++x->next);
        r = renameat2(dir, name, x->top, number, RENAME_NOREPLACE) < 0 ? -errno : 0;
        if (r == -EPERM && unprotect_both(dir, name) == 0)
            r = renameat2(dir, name, x->top, number, RENAME_NOREPLACE) < 0 ? -errno : 0;
        if (r == -EXDEV && disinherit(x->top) == 0)
            r = renameat2(dir, name, x->top, number, RENAME_NOREPLACE) < 0 ? -errno : 0;
        if (r == -EEXIST && clock_monotonic() >= x->deadline)
            r = -EAGAIN;
    } while (r == -EEXIST);
    x->progress = x->progress || r == 0;
    return r == -ENOENT ? 0 : r;
}

/* One entry of a directory below top. */
static int clear_entry(struct reclaim *x, int dir, const char *name)
{
    int r = drop(x, dir, name, 0);

    if (r == -EISDIR || r == -EPERM) { /* unlink(2) of a directory: EISDIR on Linux, EPERM by POSIX */
        r = drop(x, dir, name, AT_REMOVEDIR);
        if (r == -ENOTEMPTY || r == -EEXIST)
            r = lift(x, dir, name);
        else if (r == -ENOTDIR)
            r = -EPERM;
    }
    return r;
}

static int out_of_time(struct err *err)
{
    return err_say(err, EAGAIN, "the files of the root are being removed");
}

static int fail(int code, const char *name, struct err *err)
{
    if (code == -EAGAIN)
        return out_of_time(err);
    if (code == -EBUSY)
        return err_say(err, EBUSY,
                "something is mounted on a directory \"%.80s\" of the root that is to be removed; it is not "
                "entered: unmount it",
                name);
    return err_set(err, code, "cannot remove \"%.80s\" of the root", name);
}

/* Calls fn with every entry of dir until one fails, or time is over (-EAGAIN). */
static int each(struct reclaim *x, int dir,
        int (*fn)(struct reclaim *x, int dir, const char *name, struct err *err), struct err *err)
{
    int fd = safe_open_to_read(dir);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int r = 0;

    if (!d) {
        r = err_set(err, fd < 0 ? fd : errno, "cannot read a directory of the root that is to be removed");
        (void)close_fd(fd);
        return r;
    }
    while (r == 0) {
        r = dir_next(d, &e);
        if (r <= 0) {
            r = r < 0 ? err_set(err, r, "cannot read a directory of the root that is to be removed") : 0;
            break;
        }
        r = fn(x, dir, e->d_name, err);
        if (r == 0 && clock_monotonic() >= x->deadline)
            r = out_of_time(err);
    }
    (void)closedir(d);
    return r;
}

/* A directory that safe_open_child has refused. */
static int fail_open(int code, const char *name, struct err *err)
{
    if (code == -EXDEV) /* which it says of a mount; rename(2) has other reasons */
        code = -EBUSY;
    return fail(code == -ENOTDIR || code == -ELOOP ? -EPERM : code, name, err);
}

static int on_entry(struct reclaim *x, int dir, const char *name, struct err *err)
{
    int r = clear_entry(x, dir, name);

    return r < 0 ? fail(r, name, err) : 0;
}

/* One entry of top: gone at once, or emptied and then gone, if nothing was missed. */
static int on_top_entry(struct reclaim *x, int top, const char *name, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;
    int r = drop(x, top, name, 0);

    if (r != -EISDIR && r != -EPERM)
        return r < 0 ? fail(r, name, err) : 0;
    fd = safe_open_child(top, name, O_DIRECTORY);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fail_open(fd, name, err);
    r = each(x, fd, on_entry, err);
    if (r < 0)
        return r;
    r = drop(x, top, name, AT_REMOVEDIR);
    return r < 0 && r != -ENOTEMPTY && r != -EEXIST ? fail(r, name, err) : 0;
}

static bool is_empty(int r)
{
    return r != -ENOTEMPTY && r != -EEXIST;
}

int reclaim_tree(int dir, const char *name, usec_t deadline, struct err *err)
{
    _cleanup_close_ int top = safe_open_child(dir, name, O_DIRECTORY);
    struct reclaim x = {.top = top, .next = random_u64(), .deadline = deadline, .progress = true};
    int r;

    if (top == -ENOENT)
        return 0;
    if (top < 0)
        return fail_open(top, name, err);
    while (!is_empty(r = drop(&x, dir, name, AT_REMOVEDIR))) {
        if (!x.progress)
            return err_say(err, EIO, "\"%.80s\" is not empty, and nothing in it can be removed", name);
        x.progress = false;
        r = each(&x, top, on_top_entry, err);
        if (r < 0)
            return r;
    }
    return r < 0 ? fail(r, name, err) : 0;
}

/* --- the worker ------------------------------------------------------------------------------------------
 */

struct waiting_for {
    reclaim_fn done;
    void *data;
};

static int remove_in_child(struct worker_child *child _unused_, void *data, struct err *err)
{
    const struct reclaim_request *j = data;

    return reclaim_tree(j->dir, j->name, usec_add(clock_monotonic(), RECLAIM_SLICE), err);
}

static void on_done(struct worker_result *res, void *data)
{
    _cleanup_free_ struct waiting_for *w = data;

    w->done(res->code, res->text, w->data);
}

int reclaim_start(
        struct workers *ws, const struct reclaim_request *req, reclaim_fn done, void *data, struct err *err)
{
    _cleanup_free_ struct waiting_for *w = malloc(sizeof(*w));
    struct reclaim_request copy = *req;
    const struct worker_job job = {
            .place = WORKER_ON_NODE,
            .what = "remove a root",
            .pod = req->target,
            .target = req->target,
            .run = remove_in_child,
            .run_data = &copy,
            .keep = &copy.dir,
            .n_keep = 1,
            .done = on_done,
            .done_data = w,
            .deadline = 3 * RECLAIM_SLICE,
    };
    int r;

    if (!w)
        return err_set(err, ENOMEM, "cannot remove a root");
    *w = (struct waiting_for){.done = done, .data = data};
    r = worker_start(ws, &job, err);
    if (r < 0)
        return r;
    (void)take_ptr(w);
    return 0;
}
