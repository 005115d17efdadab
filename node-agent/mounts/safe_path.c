/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk. Its state is a directory (an fd, and its canonical path as text) and the text that is still to be
 * walked. One step takes one component:
 *
 *   "..", "."     handled here; ".." opens the parent anew from the root, so no rename can lead outside
 *   a link        its text goes in front of the rest; an absolute one starts again at the root
 *   a directory   becomes the directory of the walk
 *   missing       made (safe_ensure_at)
 *   anything in the way   renamed aside, then made
 *
 * Every open is openat2(2) (Linux 5.6) of one component under BENEATH|NO_XDEV|NO_MAGICLINKS|NO_SYMLINKS; the
 * kernel's own following of links is never used.
 */
#include "node-agent/mounts/safe_path.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/base/limits.h"

/* The policies. The first is for everything whose owner is not us. */
#define POLICY_CHILD (RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
#define POLICY_CHILD_XDEV (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
#define POLICY_IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
#define POLICY_IN_ROOT_XDEV (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)

#define POLICY_BELOW (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)

static int open_under(int dirfd, const char *path, int flags, mode_t mode, uint64_t policy)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode, .resolve = policy};
    long fd;

    /* EAGAIN: a rename somewhere raced with the lookup of ".."; not for single components, but harmless. */
    for (int i = 0; i < 32; i++) {
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        if (errno != EINTR && errno != EAGAIN)
            break;
    }
    return -errno;
}

int safe_open_child(int dirfd, const char *name, int extra_flags)
{
    return open_under(dirfd, name, O_PATH | extra_flags, 0, POLICY_CHILD);
}

int safe_open_mountpoint(int dirfd, const char *name, int extra_flags)
{
    return open_under(dirfd, name, O_PATH | extra_flags, 0, POLICY_CHILD_XDEV);
}

int safe_open_mounted(int rootfd, const char *path, int extra_flags)
{
    return open_under(rootfd, path, O_PATH | extra_flags, 0, POLICY_IN_ROOT_XDEV);
}

int safe_open_own(int rootfd, const char *path, int extra_flags)
{
    return open_under(rootfd, path, O_PATH | extra_flags, 0, POLICY_IN_ROOT);
}

int safe_open_below(int dirfd, const char *path, int extra_flags)
{
    return open_under(dirfd, path, O_PATH | extra_flags, 0, POLICY_BELOW);
}

int safe_open_to_read(int dirfd)
{
    return open_under(dirfd, ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0, POLICY_CHILD);
}

bool safe_is_absent(int error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -EXDEV ||
           error == -ENAMETOOLONG;
}

struct walk {
    int rootfd; /* borrowed */
    int dir; /* owned */
    struct buf at; /* canonical path of dir; empty at the root */
    struct buf rest;
    const struct safe_ensure
            *how; /* NULL: nothing is made, a component that stops the walk ends the opening */
    bool stopped; /* only text from here on */
    unsigned links;
    unsigned steps;
};

static void walk_free(struct walk *w)
{
    w->dir = close_fd(w->dir);
    buf_free(&w->at);
    buf_free(&w->rest);
}

/* Goes to the directory whose canonical path `at` holds. */
static int walk_reopen(struct walk *w)
{
    const char *at = buf_str(&w->at);
    int fd;

    fd = open_under(w->rootfd, at[0] ? at : "/", O_PATH | O_DIRECTORY, 0, POLICY_IN_ROOT);
    if (fd < 0)
        return fd;
    (void)close_fd(w->dir);
    w->dir = fd;
    return 0;
}

static int walk_init(struct walk *w, int rootfd, const char *path, const struct safe_ensure *how)
{
    *w = (struct walk){.rootfd = rootfd, .dir = -EBADF, .how = how};
    buf_init(&w->at, LIMIT_PATH_TEXT);
    buf_init(&w->rest, LIMIT_PATH_TEXT);
    if (path[0] != '/')
        return -EINVAL;
    (void)buf_puts(&w->rest, path);
    if (buf_error(&w->rest))
        return buf_error(&w->rest);
    return walk_reopen(w);
}

/* Drops slashes and "." components from the front of the rest. */
static void walk_trim(struct walk *w)
{
    const char *rest = buf_str(&w->rest), *s = rest;

    while (s[0] == '/' || (s[0] == '.' && (s[1] == '/' || s[1] == '\0')))
        s++;
    buf_consume(&w->rest, (size_t)(s - rest));
}

/* 1 and the next component, 0 at the end. */
static int walk_next(struct walk *w, char ret_name[NAME_MAX + 1], bool *ret_last)
{
    const char *rest;
    size_t len;

    walk_trim(w);
    rest = buf_str(&w->rest);
    len = strcspn(rest, "/");
    if (len == 0)
        return 0;
    if (len > NAME_MAX || w->steps++ >= LIMIT_PATH_DEPTH)
        return -ENAMETOOLONG;
    memcpy(ret_name, rest, len);
    ret_name[len] = '\0';
    buf_consume(&w->rest, len);
    walk_trim(w);
    *ret_last = buf_str(&w->rest)[0] == '\0';
    return 1;
}

static int walk_up(struct walk *w)
{
    const char *at = buf_str(&w->at), *slash = strrchr(at, '/');
    size_t keep = slash ? (size_t)(slash - at) : 0;
    _cleanup_free_ char *parent = strndup(at, keep);

    if (!parent)
        return -ENOMEM;
    buf_reset(&w->at);
    (void)buf_puts(&w->at, parent);
    if (buf_error(&w->at))
        return buf_error(&w->at);
    return w->stopped ? 0 : walk_reopen(w);
}

static int walk_append_name(struct walk *w, const char *name)
{
    (void)buf_putc(&w->at, '/');
    (void)buf_puts(&w->at, name);
    return buf_error(&w->at);
}

/* Puts the text of the link in front of the rest. */
static int walk_follow(struct walk *w, int link)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_PATH_TEXT);
    char target[PATH_MAX];
    ssize_t n;

    if (w->links++ >= LIMIT_PATH_LINKS)
        return -ELOOP;
    n = readlinkat(link, "", target, sizeof(target));
    if (n < 0)
        return -errno;
    if (n == 0 || (size_t)n >= sizeof(target))
        return -ENAMETOOLONG;
    (void)buf_append(&text, target, (size_t)n);
    (void)buf_putc(&text, '/');
    (void)buf_puts(&text, buf_str(&w->rest));
    buf_reset(&w->rest);
    (void)buf_puts(&w->rest, buf_str(&text));
    if (buf_error(&text) || buf_error(&w->rest))
        return buf_error(&text) == -ENOMEM || buf_error(&w->rest) == -ENOMEM ? -ENOMEM : -ENAMETOOLONG;
    if (target[0] != '/')
        return 0;
    buf_reset(&w->at);
    return walk_reopen(w);
}

/* Renames name out of the way, under the first free name. */
static int move_aside(struct walk *w, const char *name)
{
    char aside[NAME_MAX + 1], from[PATH_MAX], to[PATH_MAX];

    for (unsigned i = 1; i <= LIMIT_ASIDES; i++) {
        /* The name is cut so that the longest fits with its suffix. */
        (void)snprintf(aside, sizeof(aside), "%.*s.sc-aside-%u", NAME_MAX - 16, name, i);
        if (renameat2(w->dir, name, w->dir, aside, RENAME_NOREPLACE) == 0) {
            (void)snprintf(from, sizeof(from), "%s/%s", buf_str(&w->at), name);
            (void)snprintf(to, sizeof(to), "%s/%s", buf_str(&w->at), aside);
            if (w->how->aside)
                w->how->aside(from, to, w->how->data);
            return 0;
        }
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

/* Makes what is missing. EEXIST is no failure: somebody was faster, and the next look decides. The owner is
 * root because we are; it is not set afterwards, for what is there then may not be what was made. */
static int make(struct walk *w, const char *name, enum safe_type type)
{
    int fd;

    if (type == SAFE_DIRECTORY)
        return mkdirat(w->dir, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
    fd = open_under(w->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, 0644, POLICY_CHILD);
    if (fd < 0)
        return fd == -EEXIST ? 0 : fd;
    (void)close_fd(fd);
    return 0;
}

/* What a component turned out to be. */
enum found { FOUND_NOTHING, FOUND_MOUNT, FOUND_LINK, FOUND_DIRECTORY, FOUND_FILE };

static int look(const struct walk *w, const char *name, int *ret_fd)
{
    _cleanup_close_ int fd = -EBADF;
    struct stat st;

    /* O_PATH with O_NOFOLLOW opens a link itself, which the policy then lets pass. */
    fd = open_under(w->dir, name, O_PATH | O_NOFOLLOW, 0, POLICY_CHILD);
    if (fd == -ENOENT)
        return FOUND_NOTHING;
    if (fd == -EXDEV)
        return FOUND_MOUNT;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_fd = take_fd(&fd);
    return S_ISLNK(st.st_mode) ? FOUND_LINK : S_ISDIR(st.st_mode) ? FOUND_DIRECTORY : FOUND_FILE;
}

/* The component exists with the right type, or is made so. Returns FOUND_LINK (to be followed),
 * FOUND_DIRECTORY or FOUND_FILE with its fd. */
static int ensure_one(struct walk *w, const char *name, enum safe_type type, int *ret_fd)
{
    int r;

    /* Each round either ends or repairs one thing; somebody who keeps changing it is not humoured for long.
     */
    for (int i = 0; i < 8; i++) {
        _cleanup_close_ int fd = -EBADF;
        bool fits;

        r = look(w, name, &fd);
        if (r < 0)
            return r;
        if (r == FOUND_MOUNT)
            return -EXDEV;
        fits = r == FOUND_LINK ? !w->how->no_links
                               : r == (type == SAFE_DIRECTORY ? FOUND_DIRECTORY : FOUND_FILE);
        if (fits) {
            *ret_fd = take_fd(&fd);
            return r;
        }
        if (r == FOUND_NOTHING)
            r = make(w, name, type);
        else
            r = move_aside(w, name);
        if (r < 0)
            return r;
    }
    return -EBUSY;
}

/* For safe_canonical: stops the opening where it cannot go on. */
static int follow_one(struct walk *w, const char *name, bool last, int *ret_fd)
{
    int r;

    r = look(w, name, ret_fd);
    if (r < 0)
        return r;
    if (r == FOUND_NOTHING || r == FOUND_MOUNT || (r == FOUND_FILE && !last))
        w->stopped = true;
    return r;
}

/* One component. ret_file is set when it was the last and is no directory. */
static int walk_step(struct walk *w, const char *name, bool last, int *ret_file)
{
    _cleanup_close_ int fd = -EBADF;
    int r;

    if (strcmp(name, "..") == 0)
        return walk_up(w);
    if (w->stopped)
        return walk_append_name(w, name);

    if (w->how)
        r = ensure_one(w, name, last ? w->how->type : SAFE_DIRECTORY, &fd);
    else
        r = follow_one(w, name, last, &fd);
    if (r < 0)
        return r;
    if (r == FOUND_LINK)
        return walk_follow(w, fd);
    if (r == FOUND_DIRECTORY) {
        (void)close_fd(w->dir);
        w->dir = take_fd(&fd);
    } else {
        *ret_file = take_fd(&fd);
    }
    return walk_append_name(w, name);
}

/* To the end of the rest. *ret_fd: the last thing, owned. */
static int walk_all(struct walk *w, int *ret_fd)
{
    _cleanup_close_ int file = -EBADF;
    char name[NAME_MAX + 1];
    bool last;
    int r;

    for (;;) {
        r = walk_next(w, name, &last);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        file = close_fd(file);
        r = walk_step(w, name, last, &file);
        if (r < 0)
            return r;
    }
    *ret_fd = file >= 0 ? take_fd(&file) : take_fd(&w->dir);
    return 0;
}

static int give_canonical(const struct walk *w, struct buf *canonical)
{
    const char *at = buf_str(&w->at);

    if (!canonical)
        return 0;
    (void)buf_puts(canonical, at[0] ? at : "/");
    return buf_error(canonical);
}

int safe_ensure_at(int rootfd, const char *path, const struct safe_ensure *how, struct buf *canonical,
        int *ret_fd, struct err *err)
{
    _cleanup_(walk_free) struct walk w;
    _cleanup_close_ int fd = -EBADF;
    struct stat st;
    int r;

    r = walk_init(&w, rootfd, path, how);
    if (r == 0)
        r = walk_all(&w, &fd);
    if (r == 0 && fstat(fd, &st) < 0)
        r = -errno;
    if (r == 0 && S_ISDIR(st.st_mode) != (how->type == SAFE_DIRECTORY))
        r = how->type == SAFE_DIRECTORY ? -ENOTDIR : -EISDIR; /* "..", or "/": nothing that was looked at */
    if (r == 0)
        r = give_canonical(&w, canonical);
    if (r < 0)
        return err_set(err, r, "cannot make %s in the root (at %s/)", path, buf_str(&w.at));
    *ret_fd = take_fd(&fd);
    return 0;
}

int safe_canonical(int rootfd, const char *path, struct buf *canonical, struct err *err)
{
    _cleanup_(walk_free) struct walk w;
    _cleanup_close_ int fd = -EBADF;
    int r;

    r = walk_init(&w, rootfd, path, NULL);
    if (r == 0)
        r = walk_all(&w, &fd);
    if (r == 0)
        r = give_canonical(&w, canonical);
    if (r < 0)
        return err_set(err, r, "cannot resolve %s in the root (at %s/)", path, buf_str(&w.at));
    return 0;
}
