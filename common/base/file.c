/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files (file.h).
 *
 * Replacing goes: a file `.NAME.tmp` beside it, made anew (O_EXCL, never through a link), content, mode,
 * fsync, rename over NAME, fsync of the directory. The temporary name is fixed, so that a crash leaves at
 * most one, which the next replacement removes; who lists such a directory skips names that begin with a dot.
 * One writer per name is assumed.
 */
#include "common/base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

enum { READ_CHUNK = 16 * 1024, COPY_CHUNK = 1024 * 1024 * 1024 };

static ssize_t read_retry(int fd, void *data, size_t len)
{
    ssize_t n;

    do
        n = read(fd, data, len);
    while (n < 0 && errno == EINTR);
    return n;
}

int file_read_fd(int fd, struct buf *b, struct err *err)
{
    char chunk[READ_CHUNK];

    for (;;) {
        ssize_t n = read_retry(fd, chunk, sizeof(chunk));
        int r;

        if (n < 0)
            return err_set(err, errno, "cannot read");
        if (n == 0)
            return buf_append(b, "", 0); /* an empty file is an empty string; an old error is told */
        r = buf_append(b, chunk, (size_t)n);
        if (r == -E2BIG)
            return err_say(err, E2BIG, "larger than the %zu bytes allowed", b->max);
        if (r < 0)
            return err_set(err, r, "cannot read");
    }
}

int file_read_at(int dirfd, const char *path, struct buf *b, struct err *err)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int r;

    if (fd < 0)
        return err_set(err, errno, "cannot open %s", path);
    r = file_read_fd(fd, b, err);
    if (r < 0)
        return err_wrap(err, r, "%s", path);
    return 0;
}

int file_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static bool is_component(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

struct content {
    const void *data;
    size_t len;
    mode_t mode;
};

/* The file at its temporary name, complete and on disk. */
static int write_temporary(int dirfd, const char *tmp, const struct content *content, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;
    int r;

    if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove the left-over %s", tmp);
    fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, errno, "cannot create %s", tmp);
    r = file_write_all(fd, content->data, content->len);
    if (r < 0)
        return err_set(err, r, "cannot write %s", tmp);
    if (fchmod(fd, content->mode) < 0) /* open's mode is subject to the umask */
        return err_set(err, errno, "cannot set the mode of %s", tmp);
    if (fsync(fd) < 0)
        return err_set(err, errno, "cannot write %s to disk", tmp);
    return 0;
}

static int sync_directory(int dirfd)
{
    /* Opened anew: dirfd may be O_PATH or AT_FDCWD, which fsync does not take. */
    _cleanup_close_ int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

int file_replace_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *err)
{
    const struct content content = {.data = data, .len = len, .mode = mode};
    char tmp[NAME_MAX + 1];
    int n, r;

    if (!is_component(name))
        return err_say(err, EINVAL, "\"%s\" is not the name of a file", name);
    n = snprintf(tmp, sizeof(tmp), ".%s.tmp", name);
    if (n < 0 || (size_t)n >= sizeof(tmp))
        return err_set(err, ENAMETOOLONG, "cannot replace %s", name);
    r = write_temporary(dirfd, tmp, &content, err);
    if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
        r = err_set(err, errno, "cannot rename %s to %s", tmp, name);
    if (r < 0) {
        (void)unlinkat(dirfd, tmp, 0);
        return err_wrap(err, r, "replacing %s", name);
    }
    r = sync_directory(dirfd);
    if (r < 0)
        return err_set(err, r, "cannot write the directory of %s to disk", name);
    return 0;
}

/* The rest of `from` by read and write. */
static int copy_by_hand(int from, int to, struct err *err)
{
    char chunk[READ_CHUNK];

    for (;;) {
        ssize_t n = read_retry(from, chunk, sizeof(chunk));
        int r;

        if (n < 0)
            return err_set(err, errno, "cannot read");
        if (n == 0)
            return 0;
        r = file_write_all(to, chunk, (size_t)n);
        if (r < 0)
            return err_set(err, r, "cannot write");
    }
}

/* copy_file_range(2): the file systems, the kernel (before 5.19 across file systems), the kinds of files or a
 * seccomp policy may refuse it. */
static bool is_refusal(int error)
{
    return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EPERM;
}

int file_copy_fd(int from, int to, struct err *err)
{
    ssize_t n;

    do
        n = copy_file_range(from, NULL, to, NULL, COPY_CHUNK, 0);
    while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0 && !is_refusal(errno))
        return err_set(err, errno, "cannot copy");
    /* Both files' offsets say how far it came. Some kernels answer 0 for files in /proc that are not empty,
     * so the end is always confirmed by a read. */
    return copy_by_hand(from, to, err);
}

int dir_next(DIR *dir, struct dirent **ret)
{
    struct dirent *e;

    do {
        errno = 0;
        e = readdir(dir);
        if (!e)
            return errno == 0 || errno == ENOENT ? 0 : -errno;
    } while (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
    *ret = e;
    return 1;
}
