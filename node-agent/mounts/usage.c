/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See usage.h. The levels are a stack of fds with a position in each directory: when a directory is met, the
 * position behind it is noted, and its parent is read on from there when it has been counted. So one
 * buffer serves them all.
 */
#include "node-agent/mounts/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/limits.h"
#include "common/base/num.h"
#include "node-agent/mounts/safe_path.h"

enum { BUFFER = 8192, BLOCK = 512 /* of st_blocks, whatever the file system's own are */ };

struct level {
    int fd;
    off_t next;
};

struct usage {
    dev_t dev;
    uint64_t bytes;
    uint32_t entries;
    size_t depth; /* levels in use */
    struct level levels[LIMIT_USAGE_DEPTH];
    char buffer[BUFFER] __attribute__((aligned(__alignof__(struct dirent64))));
};

static int push(struct usage *u, int dir, struct err *err)
{
    int fd;

    if (u->depth == LIMIT_USAGE_DEPTH)
        return err_say(err, E2BIG, "it has directories more than %d below each other", LIMIT_USAGE_DEPTH);
    fd = safe_open_to_read(dir);
    if (fd < 0)
        return fd == -ENOENT ? 0 : err_set(err, fd, "cannot read a directory of the root");
    u->levels[u->depth++] = (struct level){.fd = fd};
    return 1;
}

/* The share of one link in its file; a directory's links are none. */
static uint64_t share(const struct stat *st)
{
    uint64_t bytes = (uint64_t)st->st_blocks * BLOCK, links = st->st_nlink;

    return S_ISDIR(st->st_mode) || links < 2 ? bytes : (bytes + links - 1) / links;
}

/* 1: a level was added, which comes first. */
static int enter(struct usage *u, int parent, const char *name, struct err *err)
{
    _cleanup_close_ int dir = safe_open_child(parent, name, O_DIRECTORY);

    if (dir == -ENOENT || dir == -ENOTDIR || dir == -ELOOP || dir == -EXDEV)
        return 0;
    return dir < 0 ? err_set(err, dir, "cannot open a directory of the root") : push(u, dir, err);
}

static int count_entry(struct usage *u, int parent, const char *name, struct err *err)
{
    struct stat st;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (++u->entries > LIMIT_USAGE_ENTRIES)
        return err_say(err, E2BIG, "it has more than %d files", LIMIT_USAGE_ENTRIES);
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
        return errno == ENOENT ? 0 : err_set(err, errno, "cannot look at a file of the root");
    if (st.st_dev != u->dev)
        return 0;
    u->bytes += share(&st);
    return S_ISDIR(st.st_mode) ? enter(u, parent, name, err) : 0;
}

/* Reads on in the innermost directory: to its end, which takes it off the stack, or to the next directory. */
static int read_on(struct usage *u, struct err *err)
{
    struct level *l = &u->levels[u->depth - 1];
    ssize_t n = lseek(l->fd, l->next, SEEK_SET) < 0 ? -1 : getdents64(l->fd, u->buffer, sizeof(u->buffer));

    if (n < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot read a directory of the root");
    if (n <= 0) {
        l->fd = close_fd(l->fd);
        u->depth--;
        return 0;
    }
    for (ssize_t at = 0; at < n;) {
        const struct dirent64 *e = (const struct dirent64 *)(const void *)(u->buffer + at);
        int r;

        l->next = e->d_off;
        at += e->d_reclen;
        r = count_entry(u, l->fd, e->d_name, err);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return 0;
}

static int count(struct usage *u, int dir, struct err *err)
{
    struct stat st;
    int r;

    if (fstat(dir, &st) < 0)
        return err_set(err, errno, "cannot look at the root");
    u->dev = st.st_dev;
    u->bytes = share(&st);
    r = push(u, dir, err);
    while (r >= 0 && u->depth > 0)
        r = read_on(u, err);
    while (u->depth > 0)
        (void)close_fd(u->levels[--u->depth].fd);
    return r < 0 ? r : 0;
}

int usage_count(int dir, uint64_t *ret_bytes, struct err *err)
{
    _cleanup_free_ struct usage *u = calloc(1, sizeof(*u));
    int r = u ? count(u, dir, err) : err_set(err, ENOMEM, "cannot count the root");

    if (r == 0)
        *ret_bytes = u->bytes;
    return r;
}

/* --- the worker ------------------------------------------------------------------------------------------
 */

struct waiting_for {
    usage_fn done;
    void *data;
};

static int count_in_child(struct worker_child *child, void *data, struct err *err)
{
    const struct usage_request *req = data;
    char text[24];
    uint64_t bytes = 0;
    int r = usage_count(req->dir, &bytes, err);

    (void)snprintf(text, sizeof(text), "%" PRIu64, bytes);
    if (r == 0)
        worker_note(child, text);
    return r;
}

static void on_done(struct worker_result *res, void *data)
{
    _cleanup_free_ struct waiting_for *w = data;
    uint64_t bytes = 0;

    if (res->code == 0 && (res->notes_len == 0 || num_parse_u64(res->notes, 0, UINT64_MAX, &bytes) < 0))
        w->done(-EBADMSG, "the worker counted nothing", 0, w->data);
    else
        w->done(res->code, res->text, bytes, w->data);
}

int usage_start(
        struct workers *ws, const struct usage_request *req, usage_fn done, void *data, struct err *err)
{
    _cleanup_free_ struct waiting_for *w = malloc(sizeof(*w));
    struct usage_request copy = *req;
    const struct worker_job job = {
            .place = WORKER_ON_NODE,
            .what = "count a root",
            .pod = req->pod,
            .target = req->target,
            .run = count_in_child,
            .run_data = &copy,
            .keep = &copy.dir,
            .n_keep = 1,
            .done = on_done,
            .done_data = w,
            .deadline = USAGE_DEADLINE,
    };
    int r;

    if (!w)
        return err_set(err, ENOMEM, "cannot count a root");
    *w = (struct waiting_for){.done = done, .data = data};
    r = worker_start(ws, &job, err);
    if (r < 0)
        return r;
    (void)take_ptr(w);
    return 0;
}
