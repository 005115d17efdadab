/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the gRPC server as a whole: each input is what one connection sends, cut into two pieces at the
 * place that its first byte says, and the loop is turned until the server has taken it all. One method
 * echoes, one keeps the call until the connection has gone.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/rpc/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static struct loop *loop;
static struct rpc_server *server;
static struct sockaddr_un addr = {.sun_family = AF_UNIX};
static struct rpc_call *held;

static void must(bool good)
{
    if (!good)
        abort();
}

static void echo(struct rpc_call *call, const uint8_t *msg, size_t len, void *user)
{
    (void)user;
    (void)rpc_call_deadline(call);
    rpc_call_reply(call, msg, len);
}

static void on_cancel(struct rpc_call *call, void *user)
{
    (void)user;
    if (held == call)
        held = NULL;
}

static void hold(struct rpc_call *call, const uint8_t *msg, size_t len, void *user)
{
    (void)msg;
    (void)len;
    (void)user;
    if (held)
        rpc_call_fail(held, GRPC_UNAVAILABLE, "another came");
    held = call;
    rpc_call_on_cancel(call, on_cancel, NULL);
}

static void start(void)
{
    static char dir[] = "/tmp/sc-fuzz-XXXXXX";
    int fd;

    must(mkdtemp(dir) != NULL);
    fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    log_set_level(LOG_LEVEL_ERROR);
    must(fd >= 0 && loop_new(&loop, NULL) == 0 && rpc_server_new(loop, "fuzz", &server, NULL) == 0);
    must(rpc_server_handle(server, "/t.T/Echo", echo, NULL) == 0);
    must(rpc_server_handle(server, "/t.T/Hold", hold, NULL) == 0);
    must(rpc_server_listen(server, fd, "s", NULL) == 0);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", dir);
}

/* The server has read all, or has hung up. */
static void settle(int fd)
{
    for (int i = 0; i < 200; i++) {
        int left = 0;

        (void)loop_turn(loop, 0);
        if (ioctl(fd, TIOCOUTQ, &left) < 0 || left == 0)
            break;
    }
    (void)loop_turn(loop, 0);
}

static void put(int fd, const void *data, size_t size)
{
    (void)!send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    settle(fd);
}

static void hear(int fd)
{
    static char reply[1 << 16];

    while (recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > 0)
        (void)loop_turn(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cut;
    int fd;

    if (size < 2)
        return 0;
    if (!loop)
        start();
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0);
    cut = data[0] % size;
    /* An odd cut: the input brings its own preface, or something else. */
    if (!(data[0] & 1))
        put(fd, preface, sizeof(preface) - 1);
    put(fd, data + 1, cut > 0 ? cut - 1 : 0);
    put(fd, data + (cut > 0 ? cut : 1), size - (cut > 0 ? cut : 1));
    hear(fd);
    close(fd);
    for (int i = 0; i < 3; i++)
        (void)loop_turn(loop, 0);
    must(!held);
    return 0;
}
