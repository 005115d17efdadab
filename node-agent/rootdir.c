/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rootdir.h.
 */
#include "node-agent/rootdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/names.h"
#include "node-agent/mounts/expose.h"
#include "node-agent/mounts/safe_path.h"
#include "node-agent/record.h"

static int make_child(int dir, const char *name, struct err *err)
{
    int fd;

    if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the directory %s", name);
    fd = safe_open_child(dir, name, O_DIRECTORY);
    if (fd < 0)
        return err_set(err, fd, "cannot open the directory %s", name);
    return fd;
}

int rootdir_make(int instances_fd, const char *uid, const char *container, int *ret_fd, struct err *err)
{
    _cleanup_close_ int instance = make_child(instances_fd, uid, err);
    int fd;

    if (instance < 0)
        return instance;
    fd = make_child(instance, container, err);
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return 0;
}

int rootdir_open(int instances_fd, const char *uid, const char *container)
{
    _cleanup_close_ int instance = safe_open_child(instances_fd, uid, O_DIRECTORY);

    if (instance < 0)
        return instance;
    return safe_open_child(instance, container, O_DIRECTORY);
}

int rootdir_unexpose(int instances_fd, const char *uid, const char *container, struct err *err)
{
    _cleanup_close_ int dir = rootdir_open(instances_fd, uid, container);

    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return err_set(err, dir, "cannot open instances/%s/%s", uid, container);
    return expose_remove(dir, SC_ROOTFS_DIR, err);
}

/* Calls fn with each name in dir, and stops at its first failure. fn may remove the entry (readdir(3): others
 * are still found). */
static int each_name(int dirfd, int (*fn)(int dirfd, const char *name, struct err *err), struct err *err)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int r = 0;

    if (!dir) {
        r = err_set(err, errno, "cannot read a directory");
        (void)close_fd(fd);
        return r;
    }
    while (r == 0) {
        r = dir_next(dir, &e);
        if (r <= 0) {
            r = r < 0 ? err_set(err, r, "cannot read a directory") : 0;
            break;
        }
        r = fn(dirfd, e->d_name, err);
    }
    (void)closedir(dir);
    return r;
}

/* 1 when there is a directory of that container, whose root is not mounted any more; 0 when there is none. */
static int unmount_root(int instance, const char *container, struct err *err)
{
    _cleanup_close_ int dir = safe_open_child(instance, container, O_DIRECTORY);
    int r;

    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return err_set(err, dir, "cannot open the directory of container %s", container);
    r = expose_remove(dir, SC_ROOTFS_DIR, err);
    return r < 0 ? r : 1;
}

static int remove_container(int instance, const char *container, struct err *err)
{
    int r = unmount_root(instance, container, err);

    if (r <= 0)
        return r;
    if (unlinkat(instance, container, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove the directory of container %s", container);
    return 0;
}

int rootdir_remove(int instances_fd, const char *uid, struct err *err)
{
    _cleanup_close_ int instance = safe_open_child(instances_fd, uid, O_DIRECTORY);
    int r;

    if (instance == -ENOENT)
        return 0;
    if (instance < 0)
        return err_set(err, instance, "cannot open instances/%s", uid);
    r = each_name(instance, remove_container, err);
    if (r < 0)
        return err_wrap(err, r, "instances/%s", uid);
    if (unlinkat(instances_fd, uid, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove instances/%s", uid);
    return 0;
}

/* --- kept roots ------------------------------------------------------------------------------------------
 */

static int is_there(int dir, const char *name)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    return errno == ENOENT ? 0 : -errno;
}

/* An each_name function: -EEXIST stops at the first. */
static int look_for_kept(int instance, const char *container, struct err *err)
{
    _cleanup_close_ int dir = safe_open_child(instance, container, O_DIRECTORY);
    int r = dir < 0 ? dir : is_there(dir, SC_RECORD_FILE);

    if (r == 0)
        r = is_there(dir, SC_UPPER_DIR);
    if (r > 0)
        r = -EEXIST;
    return r < 0 ? err_set(err, r, "directory %s", container) : 0;
}

static int look_for_exposed(int instance, const char *container, struct err *err)
{
    _cleanup_close_ int dir = safe_open_child(instance, container, O_DIRECTORY);
    int r = dir < 0 ? dir : expose_is_exposed(dir, SC_ROOTFS_DIR);

    if (r > 0)
        r = -EEXIST;
    return r < 0 ? err_set(err, r, "directory %s", container) : 0;
}

/* Whether fn, an each_name function, stops with -EEXIST at a container of the instance. */
static int has(int instances_fd, const char *uid, int (*fn)(int, const char *, struct err *))
{
    _cleanup_close_ int instance = safe_open_child(instances_fd, uid, O_DIRECTORY);
    int r;

    if (instance < 0)
        return instance == -ENOENT ? 0 : instance;
    r = each_name(instance, fn, NULL);
    return r == -EEXIST ? 1 : r;
}

int rootdir_is_kept(int instances_fd, const char *uid)
{
    return has(instances_fd, uid, look_for_kept);
}

int rootdir_is_exposed(int instances_fd, const char *uid)
{
    return has(instances_fd, uid, look_for_exposed);
}

/* rmdir, where it can be: a kept root stays. */
static int remove_if_empty(int dir, const char *name, struct err *err)
{
    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        return err_set(err, errno, "cannot remove the directory %s", name);
    return 0;
}

static int rest_container(int instance, const char *container, struct err *err)
{
    int r = unmount_root(instance, container, err);

    return r <= 0 ? r : remove_if_empty(instance, container, err);
}

int rootdir_rest(int instances_fd, const char *uid, struct err *err)
{
    _cleanup_close_ int instance = safe_open_child(instances_fd, uid, O_DIRECTORY);
    int r;

    if (instance == -ENOENT)
        return 0;
    if (instance < 0)
        return err_set(err, instance, "cannot open instances/%s", uid);
    r = each_name(instance, rest_container, err);
    return r < 0 ? err_wrap(err, r, "instances/%s", uid) : remove_if_empty(instances_fd, uid, err);
}

/* Whether a container's root is another namespace's, as its record says: 1, 0, or a negative errno. What has no
 * readable record belongs to whoever names its instance. */
static int look_for_foreign(int instance, const char *container, const char *ns)
{
    _cleanup_close_ int dir = safe_open_child(instance, container, O_DIRECTORY);
    struct record rec;
    int r = dir < 0 ? dir : record_read(dir, &rec, NULL);

    if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EBADMSG)
        return 0;
    return r < 0 ? r : strcmp(rec.ns, ns) != 0;
}

int rootdir_has_foreign(int instances_fd, const char *uid, const char *ns)
{
    _cleanup_close_ int instance = safe_open_child(instances_fd, uid, O_DIRECTORY);
    int fd = instance < 0 ? instance : safe_open_to_read(instance);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int r = 0;

    if (!dir) {
        r = fd < 0 ? fd : -errno;
        (void)close_fd(fd);
        return r == -ENOENT ? 0 : r;
    }
    while ((r = dir_next(dir, &e)) > 0) {
        r = e->d_name[0] == '.' ? 0 : look_for_foreign(instance, e->d_name, ns);
        if (r != 0)
            break;
    }
    (void)closedir(dir);
    return r;
}

/* Names are given out once: what was moved before may be half gone. */
int rootdir_trash(int instances_fd, int trash_fd, const char *uid, const char *ns, struct err *err)
{
    char name[ROOTDIR_TRASH_MAX];
    int r;

    r = rootdir_has_foreign(instances_fd, uid, ns);
    if (r != 0)
        return r > 0 ? 0 : err_set(err, r, "cannot tell whose instances/%s is", uid);
    r = rootdir_rest(instances_fd, uid, err);
    for (unsigned i = 1; r == 0 && i <= LIMIT_ASIDES; i++) {
        (void)snprintf(name, sizeof(name), "%.*s.%u", LIMIT_UID, uid, i);
        if (renameat2(instances_fd, uid, trash_fd, name, RENAME_NOREPLACE) == 0 || errno == ENOENT)
            return 0;
        if (errno != EEXIST)
            r = err_set(err, errno, "cannot move instances/%s to the trash", uid);
    }
    return r < 0 ? r
                 : err_say(err, EBUSY, "%d earlier roots of instance %s are still being removed",
                           LIMIT_ASIDES, uid);
}

int rootdir_trashed(int trash_fd, const char *uid, char ret_name[ROOTDIR_TRASH_MAX], struct err *err)
{
    for (unsigned i = 1; i <= LIMIT_ASIDES; i++) {
        int r;

        (void)snprintf(ret_name, ROOTDIR_TRASH_MAX, "%.*s.%u", LIMIT_UID, uid, i);
        r = is_there(trash_fd, ret_name);
        if (r != 0)
            return r < 0 ? err_set(err, r, "cannot look into the trash") : r;
    }
    return 0;
}

int rootdir_list(int instances_fd, void (*fn)(const char *uid, void *user), void *user, struct err *err)
{
    int fd = openat(instances_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int r;

    if (!dir) {
        r = err_set(err, errno, "cannot read the directory of instances");
        (void)close_fd(fd);
        return r;
    }
    while ((r = dir_next(dir, &e)) > 0)
        if (e->d_name[0] != '.')
            fn(e->d_name, user);
    (void)closedir(dir);
    return r < 0 ? err_set(err, r, "cannot read the directory of instances") : 0;
}
