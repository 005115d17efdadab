/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See serve.h. A connection is freed in one place, conn_free, and never inside a callback into the owner:
 * what conn_send finds out (a broken socket) is acted upon at the connection's next turn.
 */
#include "node-agent/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/list.h"

/* New connections: this many at once, then one each so often. A container needs two or three in its life; a
 * probe every second is the most that a sane pod makes of each of its containers. */
enum { SERVE_BURST = 64 };
#define SERVE_REFILL (10 * USEC_PER_MSEC)

struct serve {
    struct loop *loop;
    int fd;
    struct loop_source *io;
    struct loop_source *timer; /* patience of the connections, and the end of a pause in accepting */
    struct serve_total *total;
    const struct serve_ops *ops;
    void *user;
    struct list conns;
    size_t n_conns;
    unsigned tokens;
    usec_t refilled; /* when the tokens were last counted */
    bool paused;
};

struct conn {
    struct list node;
    struct serve *serve;
    int fd;
    struct loop_source *io;
    uint8_t *in; /* WIRE_REQUEST_MAX bytes, only while a request is coming */
    struct wire_reader reader;
    struct buf out;
    size_t sent;
    usec_t patience; /* closed then; USEC_INFINITY while nothing is owed */
    bool finishing; /* the owner has forgotten it */
    bool broken;
    void *data;
};

static void serve_schedule(struct serve *s);

static void conn_free(struct conn *c)
{
    list_remove(&c->node);
    c->serve->n_conns--;
    c->serve->total->n--;
    c->io = loop_remove(c->io);
    c->fd = close_fd(c->fd);
    buf_free(&c->out);
    free(c->in);
    free(c);
}

/* The end, told to the owner unless it knows. */
static void conn_close(struct conn *c)
{
    struct serve *s = c->serve;

    if (!c->finishing)
        s->ops->closed(c, s->user);
    conn_free(c);
    serve_schedule(s);
}

static void conn_interest(struct conn *c)
{
    uint32_t events = c->finishing ? 0 : (uint32_t)(EPOLLIN | EPOLLRDHUP);

    if (c->broken || c->out.len > c->sent || c->finishing)
        events |= EPOLLOUT;
    if (loop_io_set_events(c->io, events) < 0)
        c->broken = true;
}

/* Sends what the socket takes. Negative: the connection is of no use any more. */
static int conn_flush(struct conn *c)
{
    if (c->out.len == 0)
        return 0; /* then patience is about something else */
    while (c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            return -errno;
        c->sent += (size_t)n;
    }
    buf_free(&c->out);
    c->sent = 0;
    c->patience = USEC_INFINITY;
    return 0;
}

void conn_send(struct conn *c, const void *frame, size_t len)
{
    if (buf_append(&c->out, frame, len) < 0 || conn_flush(c) < 0)
        c->broken = true;
    if (c->out.len > c->sent && c->patience == USEC_INFINITY) {
        c->patience = usec_add(clock_monotonic(), SERVE_PATIENCE);
        serve_schedule(c->serve);
    }
    conn_interest(c);
}

void conn_finish(struct conn *c, const void *frame, size_t len)
{
    c->finishing = true;
    if (len > 0)
        conn_send(c, frame, len);
    else
        conn_interest(c);
}

/* One read. True when the connection still stands. */
static bool conn_read(struct conn *c)
{
    struct serve *s = c->serve;
    struct wire_frame frame;
    struct wire_request request;
    int r;

    if (!c->in) {
        c->in = malloc(WIRE_REQUEST_MAX);
        if (!c->in)
            return false;
        wire_reader_init(&c->reader, c->in, WIRE_REQUEST_MAX);
    }
    r = wire_recv(c->fd, &c->reader, &frame);
    if (r == -EAGAIN || r == -EINTR || r == 0)
        return true;
    if (r < 0)
        return false;
    r = wire_decode_request(&frame, &request);
    if (r == -EPROTONOSUPPORT) {
        uint8_t reply[WIRE_HEADER + WIRE_TEXT_MAX + 64];
        int len = wire_encode_version_refused(reply, sizeof(reply), &frame);

        s->ops->closed(c, s->user);
        conn_finish(c, reply, len > 0 ? (size_t)len : 0);
        return true;
    }
    if (r < 0)
        return false;
    free(c->in);
    c->in = NULL;
    c->patience = c->out.len > c->sent ? c->patience : USEC_INFINITY;
    s->ops->request(c, &request, s->user);
    return true;
}

static void on_conn(struct loop_source *src, int fd, uint32_t events, void *data)
{
    struct conn *c = data;
    bool ok = !c->broken && conn_flush(c) == 0;

    (void)src;
    (void)fd;
    if (ok && c->finishing)
        ok = c->out.len > 0 && !(events & (EPOLLERR | EPOLLHUP));
    else if (ok && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        ok = conn_read(c);
    if (!ok)
        conn_close(c);
    else
        conn_interest(c);
}

static void serve_refill(struct serve *s, usec_t now)
{
    usec_t n = (now - s->refilled) / SERVE_REFILL;

    if (s->tokens + n >= SERVE_BURST) {
        s->tokens = SERVE_BURST;
        s->refilled = now;
    } else {
        s->tokens += (unsigned)n;
        s->refilled += n * SERVE_REFILL;
    }
}

/* Sets the timer to the next deadline, and whether new connections are taken. */
static void serve_schedule(struct serve *s)
{
    bool full = s->n_conns >= LIMIT_PEERS_VOLUME || s->total->n >= LIMIT_PEERS;
    bool pause = full || s->tokens == 0;
    usec_t next = USEC_INFINITY;

    if (pause != s->paused && loop_io_set_events(s->io, pause ? 0 : (uint32_t)EPOLLIN) == 0)
        s->paused = pause;
    if (s->tokens == 0)
        next = s->refilled + SERVE_REFILL;
    /* Room on the node as a whole is made by others, who do not know of this socket. */
    if (s->total->n >= LIMIT_PEERS)
        next = usec_add(clock_monotonic(), USEC_PER_SEC);
    list_for_each (it, &s->conns) {
        struct conn *c = list_entry(it, struct conn, node);

        if (c->patience < next)
            next = c->patience;
    }
    (void)loop_timer_set(s->timer, next);
}

static void on_timer(struct loop_source *src, usec_t now, void *data)
{
    struct serve *s = data;

    (void)src;
    serve_refill(s, now);
    list_for_each (it, &s->conns) {
        struct conn *c = list_entry(it, struct conn, node);

        /* Closing this one may make the owner send on others, which removes none from the list. */
        if (c->patience <= now)
            conn_close(c);
    }
    serve_schedule(s);
}

static int conn_new(struct serve *s, int fd)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (!c || loop_add_io(s->loop, "peer", fd, EPOLLIN | EPOLLRDHUP, on_conn, c, &c->io) < 0) {
        free(c);
        (void)close_fd(fd);
        return -ENOMEM;
    }
    c->serve = s;
    c->fd = fd;
    buf_init(&c->out, (size_t)WIRE_REPLY_MAX * 2);
    c->patience = usec_add(clock_monotonic(), SERVE_PATIENCE);
    list_append(&s->conns, &c->node);
    s->n_conns++;
    s->total->n++;
    return 0;
}

static void on_listen(struct loop_source *src, int fd, uint32_t events, void *data)
{
    struct serve *s = data;
    int client;

    (void)src;
    (void)events;
    serve_refill(s, clock_monotonic());
    if (s->tokens > 0) {
        client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        /* Also when it failed: out of fds, say, is a condition that must not spin. */
        s->tokens--;
        if (client >= 0)
            (void)conn_new(s, client);
    }
    serve_schedule(s);
}

int serve_new(struct loop *loop, const struct serve_config *config, struct serve **ret_serve, struct err *err)
{
    struct serve *s = calloc(1, sizeof(*s));
    int r = s ? 0 : -ENOMEM;

    if (!s) {
        (void)close_fd(config->fd);
        return err_set(err, r, "cannot serve the socket");
    }
    s->loop = loop;
    s->fd = config->fd;
    s->total = config->total;
    s->ops = config->ops;
    s->user = config->user;
    s->tokens = SERVE_BURST;
    s->refilled = clock_monotonic();
    list_init(&s->conns);
    r = loop_add_timer(loop, "socket", on_timer, s, &s->timer);
    if (r == 0)
        r = loop_add_io(loop, "socket", s->fd, EPOLLIN, on_listen, s, &s->io);
    if (r < 0) {
        (void)serve_free(s);
        return err_set(err, r, "cannot serve the socket");
    }
    *ret_serve = s;
    return 0;
}

struct serve *serve_free(struct serve *s)
{
    if (!s)
        return NULL;
    list_for_each (it, &s->conns)
        conn_free(list_entry(it, struct conn, node));
    s->io = loop_remove(s->io);
    s->timer = loop_remove(s->timer);
    s->fd = close_fd(s->fd);
    free(s);
    return NULL;
}

int conn_fd(const struct conn *c)
{
    return c->fd;
}

void conn_set_data(struct conn *c, void *data)
{
    c->data = data;
}

void *conn_data(const struct conn *c)
{
    return c->data;
}
