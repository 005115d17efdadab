/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rootdir.h.
 */
#include "node-agent/rootdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/names.h"
#include "node-agent/mounts/expose.h"
#include "node-agent/mounts/safe_path.h"

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
    int r = 0;

    if (!dir) {
        r = err_set(err, errno, "cannot read a directory");
        (void)close_fd(fd);
        return r;
    }
    for (struct dirent *e; r == 0 && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = fn(dirfd, e->d_name, err);
    (void)closedir(dir);
    return r;
}

static int remove_container(int instance, const char *container, struct err *err)
{
    _cleanup_close_ int dir = safe_open_child(instance, container, O_DIRECTORY);
    int r;

    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return err_set(err, dir, "cannot open the directory of container %s", container);
    r = expose_remove(dir, SC_ROOTFS_DIR, err);
    if (r < 0)
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

int rootdir_list(int instances_fd, void (*fn)(const char *uid, void *user), void *user, struct err *err)
{
    int fd = openat(instances_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir) {
        int r = err_set(err, errno, "cannot read the directory of instances");

        (void)close_fd(fd);
        return r;
    }
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            fn(e->d_name, user);
    (void)closedir(dir);
    return 0;
}
