/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See target.h. The path of an agent.sock is longer than the 108 bytes of sun_path (85 and the volume's
 * name), so it is bound through /proc/self/fd (unix(7)).
 */
#include "node-agent/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "common/base/file.h"
#include "common/base/random.h"
#include "common/names.h"
#include "common/wire/mark.h"
#include "node-agent/mounts/safe_path.h"

#define MOUNT_NAME "mount"
#define TMP(name) "." name ".tmp"

enum { LISTEN_BACKLOG = 128 };

static const char *const our_files[] = {
        SC_SOCKET_FILE,
        TMP(SC_SOCKET_FILE),
        SC_PAUSE_FILE,
        TMP(SC_PAUSE_FILE),
        SC_EXECWRAP_FILE,
        TMP(SC_EXECWRAP_FILE),
};

/* The directory that holds "mount"; made by the kubelet. */
static int open_parent(const struct target_sources *src, const char *dir)
{
    char parent[VOLUME_DIR_MAX];
    const char *slash = strrchr(dir, '/');

    if (!slash || strcmp(slash + 1, MOUNT_NAME) != 0)
        return -EINVAL;
    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - dir), dir);
    return safe_open_mounted(src->kubelet_fd, parent, O_DIRECTORY);
}

int target_open(const struct target_sources *src, const char *dir)
{
    _cleanup_close_ int parent = open_parent(src, dir);

    if (parent < 0)
        return parent;
    return safe_open_child(parent, MOUNT_NAME, O_DIRECTORY);
}

static int make_target(const struct target_sources *src, const struct volume *v, int *ret_fd, struct err *err)
{
    _cleanup_close_ int parent = open_parent(src, v->dir);
    int fd;

    if (parent < 0)
        return err_set(err, parent, "cannot open the directory above %s", v->dir);
    if (mkdirat(parent, MOUNT_NAME, 0755) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make %s", v->dir);
    fd = safe_open_child(parent, MOUNT_NAME, O_DIRECTORY);
    if (fd < 0)
        return err_set(err, fd, "cannot open %s", v->dir);
    /* mkdir's mode is subject to the umask, and every uid must be able to pass. */
    if (fchmodat(parent, MOUNT_NAME, 0755, 0) < 0) {
        int r = err_set(err, errno, "cannot set the mode of %s", v->dir);

        (void)close_fd(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static int check_exec(int dir, const char *path, struct err *err)
{
    struct statvfs st;

    if (fstatvfs(dir, &st) < 0)
        return err_set(err, errno, "cannot look at the file system of %s", path);
    if (st.f_flag & ST_NOEXEC)
        return err_say(err, EACCES,
                "the kubelet's directory is on a file system mounted noexec: no program in a volume "
                "there can be started; mount it without noexec");
    return 0;
}

/* No fsync: after a crash of the machine a short file is found by its size, and every container is new. */
static int put_program(int dir, const char *name, const char *tmp, const char *from, struct err *err)
{
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = -EBADF;
    int r;

    if (in < 0)
        return err_set(err, errno, "cannot open %s", from);
    if (unlinkat(dir, tmp, 0) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove a left-over %s", tmp);
    out = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return err_set(err, errno, "cannot create %s", name);
    r = file_copy_fd(in, out, err);
    if (r < 0)
        return err_wrap(err, r, "copying %s", from);
    if (fchmod(out, 0555) < 0)
        return err_set(err, errno, "cannot set the mode of %s", name);
    if (renameat(dir, tmp, dir, name) < 0)
        return err_set(err, errno, "cannot put %s in place", name);
    return 0;
}

/* Bound under umask 0, so that every uid may connect from the first moment. */
static int bind_at(int fd, int dir, const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    mode_t mask;
    int r;

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dir, name);
    mask = umask(0);
    r = bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
    (void)umask(mask);
    return r;
}

static int put_socket(int dir, int *ret_listen, struct err *err)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r;

    if (fd < 0)
        return err_set(err, errno, "cannot make a socket");
    if (unlinkat(dir, TMP(SC_SOCKET_FILE), 0) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove a left-over socket");
    r = bind_at(fd, dir, TMP(SC_SOCKET_FILE));
    if (r < 0)
        return err_set(err, r, "cannot bind " SC_SOCKET_FILE);
    if (listen(fd, LISTEN_BACKLOG) < 0)
        return err_set(err, errno, "cannot listen on " SC_SOCKET_FILE);
    if (renameat(dir, TMP(SC_SOCKET_FILE), dir, SC_SOCKET_FILE) < 0)
        return err_set(err, errno, "cannot put " SC_SOCKET_FILE " in place");
    *ret_listen = take_fd(&fd);
    return 0;
}

/* The directory in which an attach mounts something of the container's own; NULL for none. */
static const char *place_of(const struct volume *v)
{
    if (v->role != VOLUME_CONSUMER)
        return NULL;
    return v->chroot ? SC_CHROOT_NAME : SC_OLD_ROOT_NAME;
}

static int put_place(int dir, const char *name, struct err *err)
{
    if (mkdirat(dir, name, 0555) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the directory %s", name);
    if (fchmodat(dir, name, 0555, 0) < 0)
        return err_set(err, errno, "cannot set the mode of %s", name);
    return 0;
}

static bool place_is_there(int dir, const char *name)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Name and source of the program that belongs into the volume; NULL for none. */
static const char *program_of(const struct target_sources *src, const struct volume *v, const char **ret_from)
{
    switch (v->role) {
    case VOLUME_PROVIDER:
        *ret_from = src->pause_path;
        return SC_PAUSE_FILE;
    case VOLUME_CONSUMER:
        *ret_from = src->execwrap_path;
        return SC_EXECWRAP_FILE;
    case VOLUME_RECLAIM:
        break;
    }
    *ret_from = NULL;
    return NULL;
}

/* The file is the one that was copied, whole. */
static bool program_is_there(int dir, const char *name)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
           (st.st_mode & 07777) == 0555;
}

int target_publish(const struct target_sources *src, const struct volume *v, int *ret_listen, struct err *err)
{
    _cleanup_close_ int dir = -EBADF;
    const char *from;
    const char *name = program_of(src, v, &from);
    int r = make_target(src, v, &dir, err);

    if (r < 0)
        return r;
    if (!name) {
        *ret_listen = -EBADF;
        return 0;
    }
    r = check_exec(dir, v->dir, err);
    /* A program that is there may be running, and stays: pause is never replaced while its root lives. */
    if (r == 0 && !program_is_there(dir, name))
        r = put_program(dir, name, v->role == VOLUME_PROVIDER ? TMP(SC_PAUSE_FILE) : TMP(SC_EXECWRAP_FILE),
                from, err);
    if (r == 0 && place_of(v))
        r = put_place(dir, place_of(v), err);
    if (r == 0 && v->lost[0])
        r = target_unmark(src, v->dir, err); /* an agent may have ended before it came to that */
    if (r == 0)
        r = put_socket(dir, ret_listen, err);
    return r < 0 ? err_wrap(err, r, "%s", v->dir) : 0;
}

bool target_is_complete(const struct target_sources *src, const struct volume *v)
{
    _cleanup_close_ int dir = target_open(src, v->dir);
    const char *from;
    const char *name = program_of(src, v, &from);
    struct stat st;

    if (dir < 0)
        return false;
    if (!name)
        return true;
    if (place_of(v) && !place_is_there(dir, place_of(v)))
        return false;
    return program_is_there(dir, name) && fstatat(dir, SC_SOCKET_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISSOCK(st.st_mode);
}

int target_exists(const struct target_sources *src, const char *dir)
{
    _cleanup_close_ int fd = target_open(src, dir);

    if (fd >= 0)
        return 1;
    return fd == -ENOENT ? 0 : fd;
}

static void closedirp(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

static DIR *open_listing(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d)
        (void)close_fd(fd);
    return d;
}

/* --- marks ----------------------------------------------------------------------------------------------- */

/* 1, or 0 where there is no name: an inode that is not at hand is no reason to wait for the root's file system. */
static int name_mark(int root, char ret[WIRE_MARK_MAX])
{
    struct statx sx;
    int r;

    memset(&sx, 0, sizeof(sx));
    if (statx(root, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &sx) < 0)
        return -errno;
    if (!(sx.stx_mask & STATX_INO))
        return 0;
    r = wire_mark_name(makedev(sx.stx_dev_major, sx.stx_dev_minor), sx.stx_ino, ret);
    return r < 0 ? r : 1;
}

/* All but those of a boot; NULL: all. What is no empty directory was not put there by an agent. */
static int remove_marks(int marks, const char *boot)
{
    _cleanup_(closedirp) DIR *d = open_listing(marks);
    struct dirent *e;
    int r;

    if (!d)
        return -errno;
    while ((r = dir_next(d, &e)) > 0) {
        if (boot && strncmp(e->d_name, boot, WIRE_BOOT_ID) == 0)
            continue;
        if (unlinkat(marks, e->d_name, AT_REMOVEDIR) < 0 && errno != ENOTDIR && errno != ENOTEMPTY)
            return -errno;
    }
    return r;
}

static int put_mark(int dir, const char *name, struct err *err)
{
    _cleanup_close_ int marks = -EBADF;
    int r = put_place(dir, SC_MARKS_NAME, err);

    if (r < 0)
        return r;
    marks = safe_open_child(dir, SC_MARKS_NAME, O_DIRECTORY);
    if (marks < 0)
        return err_set(err, marks, "cannot open " SC_MARKS_NAME);
    r = remove_marks(marks, name);
    if (r < 0)
        return err_set(err, r, "cannot remove what is in " SC_MARKS_NAME " of an earlier boot");
    return put_place(marks, name, err);
}

int target_mark_root(const struct target_sources *src, const char *dir, int root, struct err *err)
{
    _cleanup_close_ int fd = target_open(src, dir);
    char name[WIRE_MARK_MAX];
    int r = fd < 0 ? fd : name_mark(root, name);

    if (r < 0)
        return err_set(err, r, fd < 0 ? "cannot open %s" : "cannot tell the root from others, for %s", dir);
    if (r > 0)
        r = put_mark(fd, name, err);
    return r < 0 ? err_wrap(err, r, "%s", dir) : 0;
}

int target_unmark(const struct target_sources *src, const char *dir, struct err *err)
{
    _cleanup_close_ int fd = target_open(src, dir);
    _cleanup_close_ int marks = fd < 0 ? fd : safe_open_child(fd, SC_MARKS_NAME, O_DIRECTORY);
    int r = marks < 0 ? marks : remove_marks(marks, NULL);

    if (r < 0 && r != -ENOENT)
        return err_set(err, r, "cannot remove " SC_MARKS_NAME " from %s", dir);
    return 0;
}

/* --- its end --------------------------------------------------------------------------------------------- */

/* Directories that one call moves or takes away: some milliseconds. */
enum { SLICE = 250 };

struct slice {
    uint64_t next; /* the last number that was given out; begun where no earlier slice has been */
    unsigned done;
};

/* Moves the directories out of the directory name of top into top, and removes it where all are out. A file is not
 * ours. */
static int flatten(int top, const char *name, struct slice *x, struct err *err)
{
    _cleanup_close_ int child = safe_open_child(top, name, O_DIRECTORY);
    _cleanup_(closedirp) DIR *d = NULL;
    struct dirent *e;
    struct stat st;
    char to[32];
    int r;

    d = child < 0 ? NULL : open_listing(child);
    if (!d)
        return err_set(err, child < 0 ? child : errno, "cannot open %s", name);
    while ((r = dir_next(d, &e)) > 0) {
        if (fstatat(child, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
            return err_set(err, ENOTEMPTY, "%s in %s was not put there by this agent", e->d_name, name);
        if (x->done > 2 * SLICE)
            return 0;
        do {
            (void)snprintf(to, sizeof(to), ".flat.%llx", (unsigned long long)++x->next);
            r = renameat2(child, e->d_name, top, to, RENAME_NOREPLACE) < 0 ? -errno : 0;
        } while (r == -EEXIST);
        if (r < 0)
            return err_set(err, r, "cannot move %s out of %s", e->d_name, name);
        x->done++;
    }
    if (r < 0)
        return err_set(err, r, "cannot list %s", name);
    return unlinkat(top, name, AT_REMOVEDIR) < 0 ? err_set(err, errno, "cannot remove %s", name) : 0;
}

/* One pass over the directories in top, or as much of it as there is time for. Returns whether there were any. */
static int flatten_pass(int top, struct slice *x, struct err *err)
{
    _cleanup_(closedirp) DIR *d = open_listing(top);
    struct dirent *e;
    int found = 0, r;

    if (!d)
        return err_set(err, errno, "cannot list a volume's directory");
    while ((r = dir_next(d, &e)) > 0) {
        if (unlinkat(top, e->d_name, AT_REMOVEDIR) < 0) {
            if (errno == ENOTDIR)
                continue;
            r = errno == ENOTEMPTY ? flatten(top, e->d_name, x, err)
                                   : err_set(err, errno, "cannot remove %s", e->d_name);
            if (r < 0)
                return r;
        }
        found = 1;
        if (++x->done > SLICE)
            return found;
    }
    return r < 0 ? err_set(err, r, "cannot list a volume's directory") : found;
}

/* The kubelet makes the directories of a subPath of any depth in the volume, for whoever writes one into a
 * pod. They are brought to the top and removed there, so that neither fds nor stack grow with their depth. 1: there are
 * more. */
static int remove_subpaths(int top, struct err *err)
{
    struct slice x = {.next = random_u64()};
    int r;

    do
        r = flatten_pass(top, &x, err);
    while (r > 0 && x.done <= SLICE);
    return r;
}

int target_remove(const struct target_sources *src, const char *dir, struct err *err)
{
    _cleanup_close_ int parent = open_parent(src, dir);
    _cleanup_close_ int fd = parent < 0 ? parent : safe_open_child(parent, MOUNT_NAME, O_DIRECTORY);
    int r;

    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return err_set(err, fd, "cannot open %s", dir);
    for (size_t i = 0; i < ARRAY_SIZE(our_files); i++)
        if (unlinkat(fd, our_files[i], 0) < 0 && errno != ENOENT && errno != EISDIR)
            return err_set(err, errno, "cannot remove %s from %s", our_files[i], dir);
    r = remove_subpaths(fd, err);
    if (r != 0)
        return r < 0 ? err_wrap(err, r, "%s", dir) : r;
    if (unlinkat(parent, MOUNT_NAME, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove %s", dir);
    return 0;
}
