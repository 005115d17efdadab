/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/serve: connections that speak, that say nothing, that say nonsense, that do not listen, that are
 * too many.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/limits.h"
#include "common/base/list.h"
#include "node-agent/serve.h"

static struct loop *loop;
static struct serve *serve;
static struct serve_total total;
static struct sockaddr_un address;
static size_t n_requests, n_closed;
static struct conn *last;
static void (*answer)(struct conn *c, const struct wire_request *q);

static void on_request(struct conn *c, const struct wire_request *q, void *user)
{
    (void)user;
    n_requests++;
    last = c;
    if (answer)
        answer(c, q);
}

static void on_closed(struct conn *c, void *user)
{
    (void)user;
    n_closed++;
    if (c == last)
        last = NULL;
}

static const struct serve_ops ops = {.request = on_request, .closed = on_closed};

static void begin(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const struct serve_config config = {.fd = fd, .total = &total, .ops = &ops};
    struct err err = ERR_INIT;

    address.sun_family = AF_UNIX;
    /* An abstract name, which the kernel picks (unix(7), autobind). */
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &(socklen_t){sizeof(address)}), 0);
    cr_assert_eq(listen(fd, 512), 0);
    cr_assert_eq(loop_new(&loop, &err), 0);
    cr_assert_eq(serve_new(loop, &config, &serve, &err), 0, "%s", err_text(&err));
}

static void end(void)
{
    serve = serve_free(serve);
    cr_assert_eq(total.n, 0, "every connection is counted off");
    loop = loop_free(loop);
}

TestSuite(agent_serve, .init = begin, .fini = end, .timeout = 60);

static int client(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    /* An autobound name is a NUL and five hex digits. */
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(sa_family_t) + 6), 0, "%s",
            strerror(errno));
    return fd;
}

/* Turns the loop until *n is `want`. */
static void until(const size_t *n, size_t want)
{
    for (int i = 0; i < 200 && *n != want; i++)
        (void)loop_turn(loop, 100 * USEC_PER_MSEC);
    cr_assert_eq(*n, want, "%zu, not %zu", *n, want);
}

/* Turns it until nothing is left to do at once. */
static void settle(void)
{
    while (loop_turn(loop, 0) > 0)
        ;
}

static void answer_held(struct conn *c, const struct wire_request *q)
{
    uint8_t frame[WIRE_HEADER];

    cr_assert_eq(wire_encode_plain(frame, sizeof(frame), q->type == WIRE_HELLO ? WIRE_HELD : WIRE_RELEASE),
            WIRE_HEADER);
    if (q->type == WIRE_HELLO)
        conn_send(c, frame, sizeof(frame));
    else
        conn_finish(c, frame, sizeof(frame));
}

static enum wire_type receive(int fd)
{
    static uint8_t buf[WIRE_REPLY_MAX];
    struct wire_reader reader;
    struct wire_frame frame;
    struct wire_reply reply;
    int r;

    wire_reader_init(&reader, buf, sizeof(buf));
    while ((r = wire_recv(fd, &reader, &frame)) == 0)
        ;
    cr_assert_eq(r, 1, "%d", r);
    cr_assert_eq(wire_decode_reply(&frame, &reply), 0);
    return reply.type;
}

Test(agent_serve, conversation)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    const struct wire_request stopping = {.type = WIRE_STOPPING};
    int fd = client();
    char byte;

    answer = answer_held;
    cr_assert_eq(wire_send(fd, &hello), 0);
    until(&n_requests, 1);
    cr_assert_eq(receive(fd), WIRE_HELD);
    cr_assert_eq(total.n, 1, "it stays");
    cr_assert_eq(wire_send(fd, &stopping), 0);
    until(&n_requests, 2);
    until(&total.n, 0);
    cr_assert_eq(receive(fd), WIRE_RELEASE);
    cr_assert_eq(read(fd, &byte, 1), 0, "closed after the last frame");
    cr_assert_eq(n_closed, 0, "who finishes is not told");
    close(fd);
}

Test(agent_serve, peer_goes)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    int fd = client();

    cr_assert_eq(wire_send(fd, &hello), 0);
    until(&n_requests, 1);
    close(fd);
    until(&n_closed, 1);
    cr_assert_eq(total.n, 0);
}

Test(agent_serve, nonsense_is_thrown_out)
{
    int fd = client();
    char byte;

    cr_assert_eq(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    until(&n_closed, 1);
    cr_assert_eq(n_requests, 0);
    cr_assert_leq(read(fd, &byte, 1), 0);
    close(fd);
}

/* A client of another age is told so, in words. */
Test(agent_serve, other_version)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    uint8_t frame[WIRE_REQUEST_MAX];
    int len = wire_encode_request(frame, sizeof(frame), &hello);
    int fd = client();

    cr_assert_gt(len, 0);
    frame[4] = WIRE_VERSION + 1;
    cr_assert_eq(write(fd, frame, (size_t)len), len);
    until(&n_closed, 1);
    cr_assert_eq(receive(fd), WIRE_REFUSED);
    until(&total.n, 0);
    cr_assert_eq(n_requests, 0);
    close(fd);
}

/* Byte by byte it is a request too; half of one, and silence, is not waited for for ever. */
Test(agent_serve, slow_peers)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    uint8_t frame[WIRE_REQUEST_MAX];
    int len = wire_encode_request(frame, sizeof(frame), &hello);
    int slow = client(), mute = client(), half = client();
    usec_t start = clock_monotonic();

    for (int i = 0; i < len; i++) {
        cr_assert_eq(write(slow, frame + i, 1), 1);
        settle();
    }
    until(&n_requests, 1);
    cr_assert_eq(write(half, frame, 5), 5);
    until(&n_closed, 2);
    cr_assert_geq(clock_monotonic() - start, SERVE_PATIENCE - USEC_PER_SEC);
    for (usec_t t = clock_monotonic(); clock_monotonic() < t + 200 * USEC_PER_MSEC;)
        (void)loop_turn(loop, 50 * USEC_PER_MSEC);
    cr_assert_eq(total.n, 1);
    cr_assert_not_null(last, "the one that asked stays");
    close(slow);
    close(mute);
    close(half);
}

static void answer_much(struct conn *c, const struct wire_request *q)
{
    static uint8_t frame[WIRE_REPLY_MAX];

    (void)q;
    conn_send(c, frame, sizeof(frame));
    conn_send(c, frame, sizeof(frame));
}

/* More than the socket takes is queued; a reader gets all of it. */
Test(agent_serve, large_answer)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    static char sink[2 * WIRE_REPLY_MAX];
    int small = 4096;
    int fd = client();
    size_t got = 0;

    answer = answer_much;
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    cr_assert_eq(wire_send(fd, &hello), 0);
    until(&n_requests, 1);
    while (got < sizeof(sink)) {
        ssize_t n = recv(fd, sink, sizeof(sink) - got, MSG_DONTWAIT);

        if (n > 0)
            got += (size_t)n;
        else
            (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    }
    cr_assert_eq(n_closed, 0);
    close(fd);
    until(&n_closed, 1);
}

/* One that floods with requests that nobody wants more of can be finished from inside the callback. */
static void answer_finish(struct conn *c, const struct wire_request *q)
{
    (void)q;
    conn_finish(c, NULL, 0);
}

Test(agent_serve, finished_inside)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    int fd = client();

    answer = answer_finish;
    cr_assert_eq(wire_send(fd, &hello), 0);
    cr_assert_eq(wire_send(fd, &hello), 0);
    until(&n_requests, 1);
    until(&total.n, 0);
    cr_assert_eq(n_requests, 1, "nothing is read of one that is finished");
    close(fd);
}

/* Beyond the cap nobody is let in, until one goes. */
Test(agent_serve, too_many)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    int fds[LIMIT_PEERS_VOLUME + 8];

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = client();
        cr_assert_eq(wire_send(fds[i], &hello), 0);
    }
    until(&n_requests, LIMIT_PEERS_VOLUME);
    /* New ones come at a rate: give it the time that the eight would take. */
    for (usec_t t = clock_monotonic(); clock_monotonic() < t + 300 * USEC_PER_MSEC;)
        (void)loop_turn(loop, 50 * USEC_PER_MSEC);
    cr_assert_eq(total.n, LIMIT_PEERS_VOLUME);
    close(fds[0]);
    close(fds[1]);
    until(&n_requests, LIMIT_PEERS_VOLUME + 2);
    cr_assert_eq(total.n, LIMIT_PEERS_VOLUME);
    for (size_t i = 2; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
}

/* Come and go as fast as it can: no more than the rate gets through. */
Test(agent_serve, flood)
{
    usec_t start = clock_monotonic();
    size_t made = 0;

    while (clock_monotonic() - start < USEC_PER_SEC) {
        close(client());
        made++;
        (void)loop_turn(loop, 0);
        if (made - n_closed > 400)
            (void)loop_turn(loop, 20 * USEC_PER_MSEC);
    }
    cr_assert_leq(n_closed, 64 + 100 + 10, "%zu connections in a second", n_closed);
    cr_assert_geq(n_closed, 64);
}

/* Nothing to do: nothing done. */
Test(agent_serve, idle)
{
    const struct wire_request hello = {.type = WIRE_HELLO};
    int fd = client();

    cr_assert_eq(wire_send(fd, &hello), 0);
    until(&n_requests, 1);
    settle();
    cr_assert_eq(loop_turn(loop, 500 * USEC_PER_MSEC), 0);
    close(fd);
}
