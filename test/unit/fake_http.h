/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server on the test's own loop: it reads whole requests and calls the test's handler, which
 * sends whatever bytes it likes, now or later. Loopback, any free port.
 */
#pragma once

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/buf.h"
#include "common/base/loop.h"

struct fake_server;

struct fake_conn {
    struct fake_server *server;
    int fd;
    struct loop_source *src;
    struct buf in;
    struct buf out;
    bool closing; /* when out is empty */
    unsigned requests; /* on this connection */
    struct fake_conn *next;
};

struct fake_request {
    const char *method;
    const char *path;
    const char *head; /* request line and headers */
    const char *body;
};

typedef void (*fake_handler)(struct fake_conn *conn, const struct fake_request *req, void *user);

struct fake_server {
    struct loop *loop;
    struct loop_source *src;
    int fd;
    int port;
    fake_handler handler;
    void *user;
    unsigned accepted;
    unsigned requests;
    unsigned open; /* connections that are open now */
    struct fake_conn *conns;
};

static inline void fake_flush(struct fake_conn *c)
{
    while (c->fd >= 0 && c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            break;
        buf_consume(&c->out, n < 0 ? c->out.len : (size_t)n);
    }
    if (c->fd < 0)
        return;
    if (c->out.len == 0 && c->closing) {
        c->src = loop_remove(c->src);
        c->fd = close_fd(c->fd);
        c->server->open--;
        return;
    }
    (void)loop_io_set_events(c->src, c->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static inline void fake_write(struct fake_conn *c, const void *bytes, size_t len)
{
    cr_assert_eq(buf_append(&c->out, bytes, len), 0);
    fake_flush(c);
}

static inline void _printf_(2, 3) fake_send(struct fake_conn *c, const char *fmt, ...)
{
    char text[8192];
    va_list ap;
    int n;

    va_start(ap, fmt);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    n = vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
    va_end(ap);
    cr_assert_lt((size_t)n, sizeof(text));
    fake_write(c, text, (size_t)n);
}

static inline void fake_close(struct fake_conn *c)
{
    c->closing = true;
    fake_flush(c);
}

static inline void fake_reply(struct fake_conn *c, int status, const char *headers, const char *body)
{
    fake_send(c, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status, strlen(body), headers);
    fake_write(c, body, strlen(body));
}

static inline void fake_start_chunks(struct fake_conn *c)
{
    fake_send(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static inline void fake_chunk(struct fake_conn *c, const char *text)
{
    fake_send(c, "%zx\r\n", strlen(text));
    fake_write(c, text, strlen(text));
    fake_send(c, "\r\n");
}

static inline void fake_end_chunks(struct fake_conn *c)
{
    fake_send(c, "0\r\n\r\n");
}

/* True when a request was complete and has been handled. */
static inline bool fake_take_request(struct fake_conn *c)
{
    static char method[16], path[8192];
    const char *text = buf_str(&c->in), *end = strstr(text, "\r\n\r\n"), *field;
    size_t length = 0, head;
    char *copy;

    if (!end)
        return false;
    head = (size_t)(end - text) + 4;
    field = strcasestr(text, "\r\ncontent-length:");
    if (field && field < end)
        length = strtoul(field + 17, NULL, 10);
    if (c->in.len < head + length)
        return false;
    cr_assert_eq(sscanf(text, "%15s %8191s", method, path), 2);
    copy = strndup(text, head + length);
    buf_consume(&c->in, head + length);
    c->requests++;
    c->server->requests++;
    char *body = strdup(copy + head);
    copy[head] = '\0';
    const struct fake_request req = {.method = method, .path = path, .head = copy, .body = body};
    c->server->handler(c, &req, c->server->user);
    free(copy);
    free(body);
    return true;
}

static inline void fake_on_io(struct loop_source *src, int fd, uint32_t events, void *data)
{
    struct fake_conn *c = data;
    char bytes[65536];
    ssize_t n;

    (void)src;
    (void)events;
    n = recv(fd, bytes, sizeof(bytes), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        c->out.len = 0;
        fake_close(c);
        return;
    }
    if (n > 0)
        cr_assert_eq(buf_append(&c->in, bytes, (size_t)n), 0);
    while (c->fd >= 0 && fake_take_request(c))
        ;
    fake_flush(c);
}

static inline void fake_on_accept(struct loop_source *src, int fd, uint32_t events, void *data)
{
    struct fake_server *s = data;
    struct fake_conn *c = calloc(1, sizeof(*c));

    (void)src;
    (void)events;
    c->server = s;
    c->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert_geq(c->fd, 0);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    buf_init(&c->in, 64 << 20);
    buf_init(&c->out, 64 << 20);
    c->next = s->conns;
    s->conns = c;
    s->accepted++;
    s->open++;
    cr_assert_geq(loop_add_io(s->loop, "fake conn", c->fd, EPOLLIN, fake_on_io, c, &c->src), 0);
}

static inline void fake_server_start(
        struct fake_server *s, struct loop *loop, fake_handler handler, void *user)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    *s = (struct fake_server){.loop = loop, .handler = handler, .user = user};
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_geq(s->fd, 0);
    cr_assert_eq(bind(s->fd, (struct sockaddr *)&a, len), 0);
    cr_assert_eq(listen(s->fd, 128), 0);
    cr_assert_eq(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
    cr_assert_geq(loop_add_io(loop, "fake server", s->fd, EPOLLIN, fake_on_accept, s, &s->src), 0);
}

static inline void fake_server_stop(struct fake_server *s)
{
    while (s->conns) {
        struct fake_conn *c = s->conns;

        s->conns = c->next;
        c->out.len = 0;
        fake_close(c);
        buf_free(&c->in);
        buf_free(&c->out);
        free(c);
    }
    s->src = loop_remove(s->src);
    s->fd = close_fd(s->fd);
}

/* Turns the loop until *flag is true, at most `timeout`. */
static inline bool fake_wait(struct loop *loop, const bool *flag, usec_t timeout)
{
    usec_t end = usec_add(clock_monotonic(), timeout);

    while (!*flag && clock_monotonic() < end)
        (void)loop_turn(loop, 20 * USEC_PER_MSEC);
    return *flag;
}
