/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/rpc/server, driven by our own client.
 */
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "test/unit/rpc_fixture.h"

TestSuite(rpc_server, .init = fixture_start, .fini = fixture_stop, .timeout = 30);

Test(rpc_server, answers_with_the_message)
{
    usec_t now = clock_monotonic();

    call("/t.T/Echo", "hello", 5);
    cr_expect_eq(t.replies, 0, "never from inside the call");
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK);
    cr_expect(t.len == 5 && memcmp(t.text, "hello", 5) == 0);
    cr_expect(t.deadline > now && t.deadline <= clock_monotonic() + WAIT, "the client's grpc-timeout");
}

Test(rpc_server, answers_with_an_empty_message)
{
    t.len = 99;
    call("/t.T/Echo", "", 0);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK);
    cr_expect_eq(t.len, 0u);
}

Test(rpc_server, carries_messages_larger_than_a_window)
{
    _cleanup_free_ char *big = calloc(1, 3 * MIB);

    call("/t.T/Echo", big, 3 * MIB);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "%s", t.text);
    cr_expect_eq(t.len, 3 * MIB);
}

Test(rpc_server, answers_with_an_error_text)
{
    call("/t.T/Fail", "godot", 5);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_UNAVAILABLE);
    cr_expect_str_eq(t.text, "waited for godot: 100% of \xe2\x82\xac ");
}

Test(rpc_server, knows_no_other_method)
{
    call("/t.T/Other", "x", 1);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_UNIMPLEMENTED);
    cr_expect_eq(t.handled, 0u);
}

Test(rpc_server, answers_later)
{
    call("/t.T/Hold", "x", 1);
    UNTIL(t.held);
    cr_expect_eq(t.replies, 0u);
    rpc_call_reply(t.held, "late", 4);
    cr_expect_eq(t.replies, 0u);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK);
    cr_expect(t.len == 4 && memcmp(t.text, "late", 4) == 0);
    cr_expect_eq(t.cancelled, 0u);
}

Test(rpc_server, a_handler_without_an_answer_is_an_internal_error)
{
    call("/t.T/Forget", "x", 1);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_INTERNAL);
}

Test(rpc_server, tells_of_a_client_that_gave_up)
{
    struct rpc_client *other = NULL;

    call("/t.T/Hold", "x", 1);
    UNTIL(t.held);
    cr_assert_eq(rpc_client_new(t.loop, t.path, &other, NULL), 0);
    t.client = rpc_client_free(t.client);
    UNTIL(t.cancelled == 1);
    t.client = other;
    call("/t.T/Echo", "on", 2);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "the server goes on");
}

Test(rpc_server, freeing_the_server_cancels)
{
    call("/t.T/Hold", "1", 1);
    UNTIL(t.held);
    t.server = rpc_server_free(t.server);
    cr_expect_eq(t.cancelled, 1u);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_UNAVAILABLE);
}

Test(rpc_server, takes_many_calls_at_once)
{
    enum { N = 64 };

    for (int i = 0; i < N; i++)
        call("/t.T/Echo", &i, sizeof(i));
    UNTIL(t.replies == N);
    cr_expect_eq(t.handled, (unsigned)N);
    cr_expect_eq(t.status, GRPC_OK);
}

static void on_drained(struct rpc_server *server, _unused_ void *user)
{
    cr_expect_eq(server, t.server);
    t.drained = true;
}

Test(rpc_server, drains_at_once_when_idle)
{
    rpc_server_drain(t.server, on_drained, NULL);
    cr_expect_not(t.drained, "never from inside the call");
    UNTIL(t.drained);
}

Test(rpc_server, replaces_a_stale_socket_and_leaves_a_newer_one)
{
    struct rpc_server *newer = NULL;
    struct stat st;

    cr_assert_eq(rpc_server_new(t.loop, "newer", &newer, NULL), 0);
    cr_assert_eq(rpc_server_listen(newer, t.dirfd, "s.sock", NULL), 0);
    t.server = rpc_server_free(t.server);
    cr_expect_eq(stat(t.path, &st), 0, "the newer one's socket is still there");
    cr_expect_eq(st.st_mode, (mode_t)(S_IFSOCK | 0600));
    t.server = newer;
}

Test(rpc_server, listens_in_directories_of_any_length)
{
    struct rpc_server *deep = NULL;
    char name[201];
    int fd;

    memset(name, 'd', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(mkdirat(t.dirfd, name, 0700), 0);
    fd = openat(t.dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(rpc_server_new(t.loop, "deep", &deep, NULL), 0);
    cr_expect_eq(rpc_server_listen(deep, fd, "s.sock", NULL), 0);
    cr_expect_eq(faccessat(fd, "s.sock", F_OK, 0), 0);
    cr_expect_eq(faccessat(fd, ".s.sock.tmp", F_OK, 0), -1);
    deep = rpc_server_free(deep);
    (void)close_fd(fd);
    cr_expect_eq(unlinkat(t.dirfd, name, AT_REMOVEDIR), 0);
}

Test(rpc_server, lets_no_more_than_its_connections_in)
{
    struct rlimit files = {.rlim_cur = 4096, .rlim_max = 4096}; /* both ends of each are ours */
    int fds[LIMIT_RPC_CONNECTIONS + 1];
    char byte;

    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        cr_skip("needs more files than allowed: %s", strerror(errno));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = raw_connect(t.path);
        (void)loop_turn(t.loop, 10000);
    }
    UNTIL(recv(fds[LIMIT_RPC_CONNECTIONS], &byte, 1, MSG_PEEK) == 0);
    cr_expect_eq(recv(fds[0], &byte, 1, MSG_PEEK), 1, "the first one still has its SETTINGS");
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = close_fd(fds[i]);
    call("/t.T/Echo", "on", 2);
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "room again");
}

Test(rpc_server, refuses_another_user)
{
    pid_t child, reaped = 0;
    int status;

    if (geteuid() != 0)
        cr_skip("needs root to become another user");
    cr_assert_eq(chmod(t.path, 0666), 0);
    cr_assert_eq(chmod(t.dir, 0711), 0);
    child = fork();
    if (child == 0) {
        char byte;
        int fd;

        if (setuid(65534) < 0)
            _exit(3);
        fd = raw_connect(t.path);
        (void)fcntl(fd, F_SETFL, 0);
        _exit(recv(fd, &byte, 1, 0) == 0 ? 0 : 1); /* closed without even the SETTINGS */
    }
    UNTIL(reaped == child || (reaped = waitpid(child, &status, WNOHANG)) == child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}
