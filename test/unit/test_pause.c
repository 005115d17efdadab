/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pause: when it stays and when it leaves. As pid 1 of a real pid namespace: test/priv/test_tiny.c.
 */
#include <sys/mman.h>

#include "execwrap/hold.h"
#include "test/unit/fake_agent.h"

static void begin(void)
{
    fake_begin();
    fake_file("log", "", 0666);
}

TestSuite(pause, .init = begin, .fini = fake_end, .timeout = 120);

static int start(void *data)
{
    void (*before)(void) = *(void (**)(void))data;

    if (before)
        before();
    return hold(fake_path("agent.sock"), fake_path("log"));
}

static pid_t start_pause(void (*before)(void))
{
    return fake_start(start, &before);
}

static int accept_hello(void)
{
    int fd = fake_accept();

    cr_assert_eq(fake_request(fd).type, WIRE_HELLO);
    return fd;
}

static int accept_held(void)
{
    int fd = accept_hello();

    fake_plain(fd, WIRE_HELD);
    return fd;
}

/* Answers STOPPING with RELEASE and sees the program leave. */
static void release(pid_t pid, int fd)
{
    cr_assert_eq(fake_request(fd).type, WIRE_STOPPING);
    fake_plain(fd, WIRE_RELEASE);
    cr_assert_eq(fake_wait(pid), 0);
    cr_assert_str_eq(fake_content("err"), "");
    cr_assert_str_eq(fake_content("out"), "");
    cr_assert_str_eq(fake_content("log"), "");
    close(fd);
}

Test(pause, holds_and_leaves_when_released)
{
    pid_t pid = start_pause(NULL);
    int fd = accept_held();

    cr_assert_eq(kill(pid, SIGTERM), 0);
    release(pid, fd);
}

Test(pause, asks_on_every_signal_that_can_mean_stop)
{
    for (int signo = 1; signo <= 64; signo++) {
        pid_t pid;
        int fd;

        if (signo == SIGKILL || signo == SIGSTOP || signo == SIGCHLD || signo == SIGCONT || signo == SIGURG)
            continue;
        pid = start_pause(NULL);
        fd = accept_held();
        cr_assert_eq(kill(pid, signo), 0);
        release(pid, fd);
    }
}

Test(pause, other_signals_ask_for_nothing)
{
    pid_t pid = start_pause(NULL);
    int fd = accept_held();

    cr_assert_eq(kill(pid, SIGCHLD), 0);
    cr_assert_eq(kill(pid, SIGURG), 0);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    cr_assert_eq(kill(pid, SIGCONT), 0);
    fake_text(fd, WIRE_REFUSED, true, "come again");
    fake_expect_close(fd);
    fd = accept_held(); /* a STOPPING would have followed or preceded the HELLO */
    cr_assert_eq(kill(pid, SIGTERM), 0);
    release(pid, fd);
}

Test(pause, stays_until_it_is_released)
{
    pid_t pid = start_pause(NULL);
    int fd = accept_held();

    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(fake_request(fd).type, WIRE_STOPPING);
    fake_text(fd, WIRE_WAIT, false, "a consumer still runs");
    /* More signals change nothing, and are not asked about again. */
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(kill(pid, SIGINT), 0);
    fake_text(fd, WIRE_REFUSED, true, "come again");
    fake_expect_close(fd);
    fd = accept_hello();
    release(pid, fd);
}

Test(pause, a_stop_before_held_is_told_at_once)
{
    pid_t pid = start_pause(NULL);
    int fd = accept_hello();

    fake_text(fd, WIRE_WAIT, false, "busy");
    cr_assert_eq(kill(pid, SIGTERM), 0);
    release(pid, fd);
}

Test(pause, says_hello_again_to_every_agent)
{
    pid_t pid = start_pause(NULL);
    int fd = accept_held();

    for (int i = 0; i < 2; i++) {
        fake_unlisten();
        close(fd);
        usleep(150 *
                1000); /* longer than the first delay: an attempt fails; nothing can be waited for instead */
        fake_listen();
        fd = accept_held();
    }
    /* Stopping while the agent is away, and again away before it answers. */
    fake_unlisten();
    close(fd);
    cr_assert_eq(kill(pid, SIGTERM), 0);
    usleep(150 * 1000);
    cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0, "without an agent it stays");
    fake_listen();
    fd = accept_held();
    cr_assert_eq(fake_request(fd).type, WIRE_STOPPING);
    close(fd);
    fd = accept_hello();
    release(pid, fd);
}

Test(pause, is_patient_with_garbage)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
            {"HTTP/1.1 400\r\n\r\n", 16}, {"SCaw\1\201\0\0\377\377\377\377", 12}, /* too large */
            {"SCaw\1\201\0\0\1\0\0\0x", 13}, /* trailing byte */
            {"SCaw\2\201\0\0\0\0\0\0", 12}, /* another version */
            {"SCaw\1\1\0\0\0\0\0\0", 12}, /* a request */
            {"SCaw\1\205\0\0\0\0\0\0", 12}, /* RELEASE, which was not asked for */
    };
    pid_t pid = start_pause(NULL);
    int fd;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fd = accept_held();
        fake_bytes(fd, cases[i].bytes, cases[i].len);
        fake_expect_close(fd);
    }
    fd = accept_held();
    cr_assert_eq(kill(pid, SIGTERM), 0);
    release(pid, fd);
}

Test(pause, a_refusal_for_good_ends_it)
{
    pid_t pid = start_pause(NULL);
    int fd = accept_hello();
    char err[512];

    fake_text(fd, WIRE_REFUSED, false, "another container holds this root");
    cr_assert_eq(fake_wait(pid), 1);
    snprintf(err, sizeof err, "%s", fake_content("err"));
    cr_assert_str_eq(
            err, "pause: the node agent refused to hold this root: another container holds this root\n");
    cr_assert_str_eq(fake_content("log"), err);
    close(fd);
}

/* A reason is the first word that the controller finds. */
Test(pause, a_refusal_with_a_reason_is_said_as_it_is)
{
    pid_t pid = start_pause(NULL);
    int fd = accept_hello();

    fake_text(fd, WIRE_REFUSED, false, "RootMissing: there is no root of container main");
    cr_assert_eq(fake_wait(pid), 1);
    cr_assert_str_eq(fake_content("log"), "RootMissing: there is no root of container main\n");
    close(fd);
}

Test(pause, a_version_that_is_not_spoken_does_not_end_it)
{
    pid_t pid = start_pause(NULL);
    struct wire_frame from_the_future = {.version = 9, .type = WIRE_HELLO};
    uint8_t buf[512];
    int fd = accept_hello();

    fake_bytes(fd, buf, (size_t)wire_encode_version_refused(buf, sizeof buf, &from_the_future));
    fake_expect_close(fd);
    fd = accept_held();
    cr_assert_eq(kill(pid, SIGTERM), 0);
    release(pid, fd);
}

static pid_t *child; /* shared with the program under test */

static void have_a_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    *child = pid;
}

Test(pause, reaps_children)
{
    pid_t pid;
    int fd, left = FAKE_DEADLINE_MS;

    child = mmap(NULL, sizeof *child, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(child, MAP_FAILED);
    pid = start_pause(have_a_child);
    fd = accept_held();
    cr_assert_gt(*child, 0);
    cr_assert_eq(kill(*child, SIGKILL), 0);
    /* A zombie can still be sent signal 0. There is no event for its end but its parent's. */
    for (; kill(*child, 0) == 0 && left > 0; left--)
        usleep(1000);
    cr_assert_gt(left, 0, "the child stays a zombie");
    cr_assert_eq(kill(pid, SIGTERM), 0);
    release(pid, fd);
}

/* /proc/PID/syscall shows a blocked process's system call and its arguments. Waits until they are as wanted.
 */
static void expect_blocked_in(pid_t pid, const char *want)
{
    char path[64], text[256];

    snprintf(path, sizeof path, "/proc/%d/syscall", pid);
    for (int left = FAKE_DEADLINE_MS; left > 0; left--) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

        if (n < 0)
            cr_skip_test("/proc/PID/syscall cannot be read here");
        text[n] = '\0';
        if (strncmp(text, want, strlen(want)) == 0 && strstr(text, " 0x2 0xffffffff "))
            return;
        usleep(1000);
    }
    cr_assert_fail("not blocked in poll without a timeout: %s", text);
}

Test(pause, sleeps_without_a_timer)
{
    char want[16];
    pid_t pid;
    int fd;

#ifndef SYS_poll
    cr_skip_test("no poll system call here");
#else
    snprintf(want, sizeof want, "%d ", SYS_poll);
#endif
    pid = start_pause(NULL);
    fd = accept_held();
    expect_blocked_in(pid, want);
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(fake_request(fd).type, WIRE_STOPPING);
    expect_blocked_in(pid, want);
    fake_plain(fd, WIRE_RELEASE);
    cr_assert_eq(fake_wait(pid), 0);
    close(fd);
}
