/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of execwrap and pause: the test plays the agent on a real socket, step by step, and the
 * program under test runs in a forked child with its output in files. Every wait has a deadline.
 */
#pragma once

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/wire/wire.h"

enum { FAKE_DEADLINE_MS = 20000 };

static char fake_dir[64]; /* everything of one test: socket, output, files; removed at its end */
static int fake_listener = -EBADF;

/* The path of a file in the test's directory. Four results may be in use at a time. */
static const char *fake_path(const char *name)
{
    static char paths[4][sizeof fake_dir + 64];
    static unsigned int next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];

    snprintf(path, sizeof paths[0], "%s/%s", fake_dir, name);
    return path;
}

static void fake_listen(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    strncpy(addr.sun_path, fake_path("agent.sock"), sizeof addr.sun_path - 1);
    fake_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fake_listener, 0);
    cr_assert_eq(bind(fake_listener, (struct sockaddr *)&addr, sizeof addr), 0);
    cr_assert_eq(listen(fake_listener, 8), 0);
}

static _unused_ void fake_unlisten(void)
{
    fake_listener = close_fd(fake_listener);
    unlink(fake_path("agent.sock"));
}

static void fake_begin(void)
{
    strcpy(fake_dir, "/tmp/sc-fake-agent-XXXXXX");
    cr_assert_not_null(mkdtemp(fake_dir));
    cr_assert_eq(chmod(fake_dir, 0755), 0);
    fake_listen();
}

static void fake_end(void)
{
    char command[sizeof fake_dir + 16];

    fake_listener = close_fd(fake_listener);
    snprintf(command, sizeof command, "rm -rf %s", fake_dir);
    cr_assert_eq(system(command), 0);
}

static _unused_ void fake_file(const char *name, const char *content, mode_t mode)
{
    _cleanup_close_ int fd = open(fake_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    cr_assert_eq(fchmod(fd, mode), 0);
}

/* The content of a file of the test's directory; "" when it does not exist. */
static _unused_ const char *fake_content(const char *name)
{
    static char text[1 << 18];
    _cleanup_close_ int fd = open(fake_path(name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* --- the program under test
 * ------------------------------------------------------------------------------------- */

/* Runs fn in a child with /dev/null, "out" and "err" as its only fds. The child does not outlive a test that
 * fails. */
static pid_t fake_start(int (*fn)(void *), void *data)
{
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        int out = open(fake_path("out"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
        int err = open(fake_path("err"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
        int null = open("/dev/null", O_RDONLY);

        if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || close_range(3, ~0U, 0) < 0)
            _exit(99);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
            _exit(99);
        _exit(fn(data));
    }
    return pid;
}

/* The exit code; -N for an end by signal N. */
static int fake_wait(pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    int status;

    cr_assert_eq(poll(&p, 1, FAKE_DEADLINE_MS), 1, "the program does not end");
    close(pidfd);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* --- the agent's side of one connection
 * ---------------------------------------------------------------------------- */

static int fake_accept(void)
{
    struct pollfd p = {.fd = fake_listener, .events = POLLIN};
    int fd;

    cr_assert_eq(poll(&p, 1, FAKE_DEADLINE_MS), 1, "the program does not connect");
    fd = accept4(fake_listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static struct wire_request fake_request(int fd)
{
    static uint8_t buf[WIRE_REQUEST_MAX];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct wire_request q;
    struct wire_reader r;
    struct wire_frame f;
    int rc = 0;

    wire_reader_init(&r, buf, sizeof buf);
    while (rc == 0) {
        cr_assert_eq(poll(&p, 1, FAKE_DEADLINE_MS), 1, "no request comes");
        rc = wire_recv(fd, &r, &f);
    }
    cr_assert_eq(rc, 1, "no request: %d", rc);
    cr_assert_eq(wire_decode_request(&f, &q), 0);
    return q;
}

/* Waits until the program closes its end. */
static _unused_ void fake_expect_close(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;

    cr_assert_eq(poll(&p, 1, FAKE_DEADLINE_MS), 1, "the connection stays open");
    cr_assert_leq(read(fd, &c, 1), 0, "something comes instead of the end");
    close(fd);
}

static void fake_bytes(int fd, const void *data, size_t len)
{
    cr_assert_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static _unused_ void fake_plain(int fd, enum wire_type type)
{
    uint8_t buf[WIRE_HEADER];

    fake_bytes(fd, buf, (size_t)wire_encode_plain(buf, sizeof buf, type));
}

static _unused_ void fake_text(int fd, enum wire_type type, bool retryable, const char *text)
{
    uint8_t buf[WIRE_HEADER + WIRE_TEXT_MAX + 16];

    fake_bytes(fd, buf, (size_t)wire_encode_text(buf, sizeof buf, type, retryable, text));
}
