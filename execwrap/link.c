/* SPDX-License-Identifier: Apache-2.0 */
#include "execwrap/link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    DELAY_FIRST = 100, /* ms */
    DELAY_LAST = 5000,
};

static int64_t now_ms(uint32_t *ret_jitter)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    *ret_jitter = (uint32_t)t.tv_nsec;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The directory of the socket, and the socket's name in it. */
static int open_directory(const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];

    if (!slash || slash == path || (size_t)(slash - path) >= sizeof dir)
        return -EBADF;
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    *ret_name = slash + 1;
    return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void link_init(struct link *l, const char *path, uint8_t *buf, size_t cap)
{
    *l = (struct link){.path = path, .fd = -EBADF};
    l->directory = open_directory(path, &l->name);
    wire_reader_init(&l->reader, buf, cap);
}

void link_drop(struct link *l)
{
    uint32_t jitter;
    int64_t now = now_ms(&jitter);

    link_close(l);
    l->delay = l->delay == 0 ? DELAY_FIRST : l->delay * 2;
    if (l->delay > DELAY_LAST)
        l->delay = DELAY_LAST;
    /* Longer by up to a quarter, so that the containers of a node do not all come back at once. */
    l->retry_at = now + l->delay + jitter % (l->delay / 4);
}

void link_settled(struct link *l)
{
    l->delay = 0;
}

void link_hurry(struct link *l)
{
    l->delay = 0;
    l->retry_at = 0;
}

void link_close(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -EBADF;
    wire_reader_init(&l->reader, l->reader.buf, l->reader.cap);
}

/* Whether an error is one that a restart of the agent does not explain. ENOSYS, and EPERM of a call that
 * needs no permission: a seccomp profile of the pod's. */
static bool is_lasting(int error)
{
    return error == EACCES || error == EPERM || error == ENOTDIR || error == ELOOP || error == EPROTOTYPE ||
           error == ENAMETOOLONG || error == ENOSYS || error == EAFNOSUPPORT;
}

void link_send(struct link *l, const struct wire_request *q)
{
    int rc = wire_send(l->fd, q);

    if (rc < 0)
        link_drop(l);
    l->unsendable = is_lasting(-rc) ? -rc : 0;
}

static int connect_to(int fd, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len >= sizeof addr.sun_path)
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, len);
    return connect(fd, (const struct sockaddr *)&addr, sizeof addr) < 0 ? -errno : 0;
}

/* Through the directory as it was at the start, whatever is mounted over it now. The working directory is "/"
 * again afterwards: the agent moves only processes that are there. */
static int connect_below(const struct link *l)
{
    int rc;

    if (fchdir(l->directory) < 0)
        return -errno;
    rc = connect_to(l->fd, l->name);
    return chdir("/") < 0 ? -errno : rc;
}

/* Non-blocking: connect to a unix socket waits where the backlog is full, and then no signal would be seen.
 */
static int link_connect(struct link *l)
{
    int rc;

    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return -errno;
    rc = connect_to(l->fd, l->path);
    /* A worker of the agent's that was killed at the wrong moment has left half of a new root over it, which
     * only the next attempt removes: it must still be possible to ask for that. */
    if (rc == -ENOENT && l->directory >= 0)
        rc = connect_below(l);
    return rc;
}

/* ms until the next attempt to connect; -1 while there is a connection. */
static int time_left(const struct link *l)
{
    uint32_t jitter;
    int64_t left;

    if (l->fd >= 0)
        return -1;
    left = l->retry_at - now_ms(&jitter);
    return left <= 0 ? 0 : (int)left;
}

/* Reads from the agent. True when there is something to tell. */
static bool receive(struct link *l, enum link_event *ret_event, struct link_news *ret_news)
{
    struct wire_frame f;
    int rc = wire_recv(l->fd, &l->reader, &f);

    if (rc == 1)
        rc = wire_decode_reply(&f, &ret_news->reply);
    else if (rc == 0 || rc == -EAGAIN || rc == -EINTR)
        return false;
    if (rc == 0) {
        *ret_event = LINK_REPLY;
        return true;
    }
    link_drop(l);
    ret_news->number = -rc;
    *ret_event = LINK_BROKEN;
    return rc == -EPROTO || rc == -EMSGSIZE || rc == -EPROTONOSUPPORT;
}

static enum link_event denied(const char *what, int error, struct link_news *ret_news)
{
    ret_news->what = what;
    ret_news->number = error;
    return LINK_DENIED;
}

enum link_event link_wait(struct link *l, const struct signals *s, struct link_news *ret_news)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = l->fd, .events = POLLIN}};
        enum link_event event;
        int error = l->unsendable;

        l->unsendable = 0;
        if (error)
            return denied("send to", error, ret_news);
        if (poll(p, 2, time_left(l)) < 0) {
            if (is_lasting(errno))
                return denied("wait for", errno, ret_news);
            continue;
        }
        if (p[0].revents) {
            ret_news->number = signals_next(s);
            if (ret_news->number)
                return LINK_SIGNAL;
        }
        if (p[1].revents && receive(l, &event, ret_news))
            return event;
        if (time_left(l) == 0) {
            int rc = link_connect(l);

            if (rc == 0)
                return LINK_UP;
            link_drop(l);
            if (is_lasting(-rc))
                return denied("connect to", -rc, ret_news);
        }
    }
}
