/* SPDX-License-Identifier: Apache-2.0 */
#include "execwrap/link.h"

#include <errno.h>
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

void link_init(struct link *l, const char *path, uint8_t *buf, size_t cap)
{
    *l = (struct link){.path = path, .fd = -EBADF};
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

void link_send(struct link *l, const struct wire_request *q)
{
    if (wire_send(l->fd, q) < 0)
        link_drop(l);
}

/* Non-blocking: connect to a unix socket waits where the backlog is full, and then no signal would be seen.
 */
static int link_connect(struct link *l)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(l->path);

    if (len >= sizeof addr.sun_path)
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, l->path, len);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return -errno;
    if (connect(l->fd, (const struct sockaddr *)&addr, sizeof addr) < 0)
        return -errno;
    return 0;
}

/* Whether an error of connect is one that a restart of the agent does not explain. */
static bool is_lasting(int error)
{
    return error == EACCES || error == EPERM || error == ENOTDIR || error == ELOOP || error == EPROTOTYPE ||
           error == ENAMETOOLONG;
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

enum link_event link_wait(struct link *l, const struct signals *s, struct link_news *ret_news)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = l->fd, .events = POLLIN}};
        enum link_event event;

        if (poll(p, 2, time_left(l)) < 0)
            continue;
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
            ret_news->number = -rc;
            if (is_lasting(-rc))
                return LINK_DENIED;
        }
    }
}
