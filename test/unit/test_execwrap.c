/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execwrap: how it asks, waits, gives up, and in which state it leaves the process. What it executes is in
 * test_execwrap_command.c.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <time.h>

#include "execwrap/link.h"
#include "execwrap/wrap.h"
#include "test/unit/fake_agent.h"

static void begin(void)
{
    fake_begin();
    fake_file("log", "", 0666);
}

TestSuite(execwrap, .init = begin, .fini = fake_end, .timeout = 120);

/* What a test changes in the child before execwrap begins. */
struct setup {
    const char *const *args; /* behind "execwrap", ended by NULL */
    void (*before)(void);
};

static const char *const run_true[] = {"run", "--termination-log", "LOG", "--", "/bin/true", NULL};

static int start(void *data)
{
    const struct setup *s = data;
    static char *argv[32];
    int argc = 0;

    argv[argc++] = strdup("execwrap");
    for (size_t i = 0; s->args[i]; i++)
        argv[argc++] = strdup(strcmp(s->args[i], "LOG") == 0 ? fake_path("log") : s->args[i]);
    if (s->before)
        s->before();
    return wrap(argc, argv, fake_path("agent.sock"), 0);
}

static pid_t start_run(const char *const *args, void (*before)(void))
{
    struct setup s = {.args = args, .before = before};

    return fake_start(start, &s);
}

static void attach(int fd)
{
    static const struct wire_attached nothing;
    uint8_t buf[64];

    fake_bytes(fd, buf, (size_t)wire_encode_attached(buf, sizeof buf, &nothing));
}

/* The line of a failure must be in both places, and be one line. */
static void expect_said(const char *text)
{
    static char err[8192];

    snprintf(err, sizeof err, "%s", fake_content("err"));
    cr_assert_not_null(strstr(err, text), "\"%s\" is not in: %s", text, err);
    cr_assert_eq(strchr(err, '\n'), err + strlen(err) - 1, "not one line: %s", err);
    cr_assert_str_eq(fake_content("log"), err);
}

Test(execwrap, asks_and_prints_nothing)
{
    pid_t pid = start_run(run_true, NULL);
    int fd = fake_accept();
    struct wire_request q = fake_request(fd);

    cr_assert_eq(q.type, WIRE_ATTACH);
    cr_assert_eq(q.kind, WIRE_RUN);
    cr_assert_not(q.want_entrypoint);
    cr_assert_not(q.have_args);
    fake_text(fd, WIRE_WAIT, false, "for the root");
    attach(fd);
    fake_expect_close(fd);
    cr_assert_eq(fake_wait(pid), 0);
    cr_assert_str_eq(fake_content("err"), "");
    cr_assert_str_eq(fake_content("out"), "");
    cr_assert_str_eq(fake_content("log"), "");
}

Test(execwrap, exec_asks_as_exec)
{
    static const char *const args[] = {"exec", "--", "/bin/sh", "-c", "exit 7", NULL};
    pid_t pid = start_run(args, NULL);
    int fd = fake_accept();
    struct wire_request q = fake_request(fd);

    cr_assert_eq(q.type, WIRE_ATTACH);
    cr_assert_eq(q.kind, WIRE_EXEC);
    attach(fd);
    cr_assert_eq(fake_wait(pid), 7);
    close(fd);
}

Test(execwrap, ready_ends_when_the_root_is_there)
{
    static const char *const args[] = {"ready", NULL};
    pid_t pid = start_run(args, NULL);
    int fd = fake_accept();
    struct wire_request q = fake_request(fd);

    cr_assert_eq(q.type, WIRE_ATTACH);
    cr_assert_eq(q.kind, WIRE_EXEC);
    fake_text(fd, WIRE_WAIT, false, "for the root");
    cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0, "it did not wait");
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    cr_assert_str_eq(fake_content("err"), "");
    close(fd);
}

Test(execwrap, asks_for_what_the_pod_does_not_give)
{
    static const char *const cases[][8] = {
            {"run", "--image-entrypoint", "--", NULL},
            {"run", "--image-entrypoint", "--", "arg", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        pid_t pid = start_run(cases[i], NULL);
        int fd = fake_accept();
        struct wire_request q = fake_request(fd);

        cr_assert(q.want_entrypoint);
        cr_assert_eq(q.have_args, i == 1);
        fake_text(fd, WIRE_REFUSED, false, "enough");
        cr_assert_eq(fake_wait(pid), WRAP_NOT_STARTED);
        close(fd);
    }
}

/* pivot_root moves only processes that are at the root; and of the old one nothing is held but the volume. */
Test(execwrap, waits_at_the_root_with_nothing_else_open)
{
    pid_t pid = start_run(run_true, NULL);
    int fd = fake_accept();
    char path[64], target[PATH_MAX];

    (void)fake_request(fd);
    snprintf(path, sizeof path, "/proc/%d/cwd", pid);
    cr_assert_eq(readlink(path, target, sizeof target), 1);
    cr_assert_eq(target[0], '/');
    for (int i = 3; i < 64; i++) {
        ssize_t n;

        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, i);
        n = readlink(path, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        cr_assert(strncmp(target, "socket:", 7) == 0 || strcmp(target, "anon_inode:[signalfd]") == 0 ||
                          strcmp(target, fake_dir) == 0,
                "%s open", target);
    }
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    close(fd);
}

static bool asks_for_nothing(int signo)
{
    return signo == SIGCHLD || signo == SIGCONT || signo == SIGURG;
}

static void ignore_everything(void)
{
    for (int signo = 1; signo <= SIGRTMAX; signo++)
        signal(signo, SIG_IGN);
}

static void stop_with_each(void (*before)(void))
{
    for (int signo = 1; signo <= 64; signo++) {
        pid_t pid;
        int fd;

        if (signo == SIGKILL || signo == SIGSTOP || asks_for_nothing(signo))
            continue;
        fake_file("log", "", 0666);
        pid = start_run(run_true, before);
        fd = fake_accept();
        (void)fake_request(fd);
        cr_assert_eq(kill(pid, signo), 0);
        cr_assert_eq(fake_wait(pid), 128 + signo, "signal %d", signo);
        close(fd);
        expect_said("before the command was started");
    }
}

Test(execwrap, every_signal_ends_the_wait)
{
    stop_with_each(NULL);
}

Test(execwrap, ignored_signals_end_the_wait_too)
{
    stop_with_each(ignore_everything);
}

Test(execwrap, signals_that_ask_for_nothing_are_passed_over)
{
    pid_t pid = start_run(run_true, NULL);
    int fd = fake_accept();

    (void)fake_request(fd);
    for (int signo = 1; signo <= 64; signo++) {
        if (asks_for_nothing(signo))
            cr_assert_eq(kill(pid, signo), 0);
    }
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    close(fd);
}

/* Both are there when execwrap looks: the command must not be started after all. */
Test(execwrap, a_signal_comes_before_the_answer)
{
    pid_t pid = start_run(run_true, NULL);
    int fd = fake_accept();

    (void)fake_request(fd);
    fake_text(fd, WIRE_WAIT, false, "");
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    attach(fd);
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(kill(pid, SIGCONT), 0);
    cr_assert_eq(fake_wait(pid), 128 + SIGTERM);
    close(fd);
}

Test(execwrap, tells_what_it_waited_for)
{
    pid_t pid = start_run(run_true, NULL);
    int fd = fake_accept();

    (void)fake_request(fd);
    fake_text(fd, WIRE_REFUSED, true, "the provider is not there yet");
    fake_expect_close(fd);
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(fake_wait(pid), 128 + SIGTERM);
    expect_said("stopped by signal 15 before the command was started, while waiting: the provider is not "
                "there yet");
}

static void some_dispositions(void)
{
    sigset_t set;

    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

/* Runs the command (behind "run" and "--") with the setup, once through execwrap and once without. Both must
 * print the same. */
static void expect_same_state(const char *const *args, void (*before)(void))
{
    static char direct[8192];
    struct setup s = {.args = args, .before = before};
    pid_t pid = fork();
    int fd;

    if (pid == 0) {
        int out = open(fake_path("direct"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
        int null = open("/dev/null", O_RDWR);

        if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(null, 2) < 0 || close_range(3, ~0U, 0) < 0)
            _exit(99);
        before();
        execv(args[2], (char **)(uintptr_t)(args + 2));
        _exit(98);
    }
    cr_assert_eq(fake_wait(pid), 0);
    snprintf(direct, sizeof direct, "%s", fake_content("direct"));
    cr_assert_neq(direct[0], '\0');

    pid = fake_start(start, &s);
    fd = fake_accept();
    (void)fake_request(fd);
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    cr_assert_str_eq(fake_content("out"), direct);
    close(fd);
}

Test(execwrap, signals_are_as_before)
{
    /* No shell: dash empties the mask of what it starts. */
    static const char *const args[] = {"run", "--", "/bin/grep", "^Sig[BI]", "/proc/self/status", NULL};

    expect_same_state(args, some_dispositions);
    cr_assert_not_null(strstr(fake_content("out"), "SigBlk:\t0000000000010800\n"), "%s", fake_content("out"));
}

static void unusual_surroundings(void)
{
    static char one[] = "ONE=1", two[] = "TWO=a b", path[] = "PATH=/usr/bin:/bin", odd[] = "NOEQUALS",
                again[] = "ONE=again";
    static char *env[] = {one, two, path, odd, again, NULL};

    environ = env;
    umask(0137);
    if (chdir(fake_dir) < 0)
        _exit(97);
}

Test(execwrap, surroundings_are_as_before)
{
    static const char *const args[] = {"run", "--", "/bin/sh", "-c",
            "tr '\\0' '\\n' </proc/$$/environ; umask; ulimit -a; pwd; ls /proc/self/fd; "
            "grep -e Groups -e Uid -e Gid -e Cap -e NoNew -e Umask /proc/self/status",
            NULL};

    expect_same_state(args, unusual_surroundings);
    cr_assert_not_null(strstr(fake_content("out"), "NOEQUALS\n"), "%s", fake_content("out"));
}

/* Waits until SIGTERM is blocked, which is before the first attempt to connect. */
static void expect_caught(pid_t pid)
{
    char path[64], text[4096];
    unsigned long long mask = 0;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    for (int left = FAKE_DEADLINE_MS; left > 0 && !(mask & 1ULL << (SIGTERM - 1)); left--) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof text - 1);

        cr_assert_gt(n, 0);
        text[n] = '\0';
        cr_assert_eq(sscanf(strstr(text, "SigBlk:"), "SigBlk: %llx", &mask), 1);
        usleep(1000);
    }
    cr_assert(mask & 1ULL << (SIGTERM - 1));
}

/* connect(2) to a unix socket waits where the backlog is full, and it must not wait there with signals
 * blocked. */
Test(execwrap, an_agent_that_does_not_accept_does_not_stop_a_stop)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    pid_t pid;
    int rc;

    strncpy(addr.sun_path, fake_path("agent.sock"), sizeof addr.sun_path - 1);
    do {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        rc = connect(fd, (struct sockaddr *)&addr, sizeof addr);
    } while (rc == 0);
    cr_assert_eq(errno, EAGAIN);
    pid = start_run(run_true, NULL);
    expect_caught(pid);
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(fake_wait(pid), 128 + SIGTERM);
}

Test(execwrap, asks_again_when_the_agent_restarts)
{
    pid_t pid = start_run(run_true, NULL);
    int fd = fake_accept();

    (void)fake_request(fd);
    fake_text(fd, WIRE_WAIT, false, "for the root");
    fake_unlisten();
    close(fd);
    /* Longer than the first delay: the next attempt finds no socket. Nothing can be waited for instead. */
    usleep(200 * 1000);
    cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0);
    fake_listen();
    fd = fake_accept();
    cr_assert_eq(fake_request(fd).type, WIRE_ATTACH);
    close(fd); /* with no answer at all */
    fd = fake_accept();
    cr_assert_eq(fake_request(fd).type, WIRE_ATTACH);
    fake_bytes(fd, "SCaw\1\202", 6); /* in the middle of an answer */
    close(fd);
    fd = fake_accept();
    cr_assert_eq(fake_request(fd).type, WIRE_ATTACH);
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    cr_assert_str_eq(fake_content("err"), "");
    close(fd);
}

Test(execwrap, waits_for_an_agent_that_is_not_there)
{
    pid_t pid;
    int fd;

    fake_unlisten();
    pid = start_run(run_true, NULL);
    usleep(50 * 1000); /* most likely the first attempt is over */
    fake_listen();
    fd = fake_accept();
    (void)fake_request(fd);
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    close(fd);
}

Test(execwrap, a_refusal_for_now_is_asked_again)
{
    pid_t pid = start_run(run_true, NULL);

    for (int i = 0; i < 3; i++) {
        int fd = fake_accept();

        (void)fake_request(fd);
        fake_text(fd, WIRE_REFUSED, true, "not yet");
        fake_expect_close(fd);
    }
    int fd = fake_accept();
    (void)fake_request(fd);
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    cr_assert_str_eq(fake_content("err"), "");
    close(fd);
}

Test(execwrap, a_refusal_ends_it)
{
    pid_t pid = start_run(run_true, NULL);
    int fd = fake_accept();

    (void)fake_request(fd);
    fake_text(fd, WIRE_REFUSED, false, "the root is\nlost\x1b[2J");
    cr_assert_eq(fake_wait(pid), WRAP_NOT_STARTED);
    expect_said("execwrap: the node agent refused to attach the root: the root is?lost?[2J\n");
    close(fd);
}

Test(execwrap, answers_may_come_in_pieces)
{
    static const char *const args[] = {"run", "--image-entrypoint", "--", "two", NULL};
    static const char *const echo[] = {"/bin/echo", "one"};
    struct wire_attached a = {.entrypoint = echo, .entrypoint_count = 2};
    uint8_t buf[256];
    int len = wire_encode_attached(buf, sizeof buf, &a);
    pid_t pid = start_run(args, NULL);
    int fd = fake_accept();

    (void)fake_request(fd);
    fake_text(fd, WIRE_WAIT, false, "a");
    fake_text(fd, WIRE_WAIT, false, "b");
    for (int i = 0; i < len; i++) {
        fake_bytes(fd, buf + i, 1);
        sched_yield();
    }
    cr_assert_eq(fake_wait(pid), 0);
    cr_assert_str_eq(fake_content("out"), "one two\n");
    close(fd);
}

static void expect_not_understood(const void *bytes, size_t len, const char *said)
{
    pid_t pid;
    int fd;

    fake_file("log", "", 0666);
    pid = start_run(run_true, NULL);
    fd = fake_accept();
    (void)fake_request(fd);
    fake_bytes(fd, bytes, len);
    cr_assert_eq(fake_wait(pid), WRAP_NOT_STARTED);
    expect_said(said);
    close(fd);
}

Test(execwrap, garbage_is_no_answer)
{
    expect_not_understood("HTTP/1.1 400 Bad Request\r\n", 26, "cannot be understood");
    expect_not_understood("SCaw\1\202\0\0\377\377\377\377", 12, "cannot be understood");
    expect_not_understood("SCaw\1\202\0\0\0\0\0\0", 12, "cannot be understood");
    expect_not_understood("SCaw\2\202\0\0\0\0\0\0", 12, "cannot be understood");
    expect_not_understood("SCaw\1\201\0\0\0\0\0\0", 12, "something else than was asked");
    expect_not_understood("SCaw\1\205\0\0\0\0\0\0", 12, "something else than was asked");
    expect_not_understood("SCaw\11\204\0\0\10\0\0\0\0\2\0\0\0no\0", 20, "refused to attach the root: no");
}

static void be_nobody(void)
{
    if (setgid(1000) < 0 || setuid(1000) < 0)
        _exit(97);
}

Test(execwrap, a_socket_that_may_not_be_used_is_told)
{
    pid_t pid;

    if (geteuid() != 0)
        cr_skip_test("needs root to become another user");
    cr_assert_eq(chmod(fake_path("agent.sock"), 0600), 0);
    pid = start_run(run_true, be_nobody);
    cr_assert_eq(fake_wait(pid), WRAP_NOT_STARTED);
    expect_said("cannot connect to the node agent at /tmp/");
}

static long forbidden_call;
static unsigned forbidden_error;

/* What a seccomp profile of a pod's does. */
static void forbid_call(void)
{
    struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden_call, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | forbidden_error),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(97);
}

Test(execwrap, a_call_that_is_forbidden_is_told)
{
    static const long calls[] = {SYS_socket, SYS_connect, SYS_sendto, SYS_poll, SYS_signalfd4};
    static const char *const words[] = {
            "connect to the node agent at /tmp/", "connect to", "send to", "wait for", "catch signals: "};

    for (size_t i = 0; i < 2 * ARRAY_SIZE(calls); i++) {
        forbidden_call = calls[i / 2];
        forbidden_error = i % 2 ? ENOSYS : EPERM;
        fake_file("log", "", 0666);
        cr_assert_eq(fake_wait(start_run(run_true, forbid_call)), WRAP_NOT_STARTED);
        expect_said(words[i / 2]);
        expect_said("(does the container's seccomp profile forbid the call?)");
    }
}

static pid_t refuse(const char *const *args)
{
    pid_t pid = start_run(args, NULL);
    int fd = fake_accept();

    (void)fake_request(fd);
    fake_text(fd, WIRE_REFUSED, false, "no");
    close(fd);
    return pid;
}

Test(execwrap, the_termination_log_is_only_ever_a_file)
{
    cr_assert_eq(unlink(fake_path("log")), 0);
    cr_assert_eq(fake_wait(refuse(run_true)), WRAP_NOT_STARTED);
    cr_assert_eq(access(fake_path("log"), F_OK), -1, "it must not be created");

    cr_assert_eq(mkfifo(fake_path("log"), 0666), 0);
    cr_assert_eq(fake_wait(refuse(run_true)), WRAP_NOT_STARTED, "a FIFO without a reader blocks nobody");
    int reader = open(fake_path("log"), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    cr_assert_eq(fake_wait(refuse(run_true)), WRAP_NOT_STARTED);
    char c;
    cr_assert_eq(read(reader, &c, 1), -1, "nothing is written to a FIFO");
    close(reader);
    cr_assert_eq(unlink(fake_path("log")), 0);

    fake_file("elsewhere", "", 0666);
    cr_assert_eq(symlink(fake_path("elsewhere"), fake_path("log")), 0);
    cr_assert_eq(fake_wait(refuse(run_true)), WRAP_NOT_STARTED);
    cr_assert_str_eq(fake_content("elsewhere"), "", "links are not followed");
}

Test(execwrap, delays_grow_to_five_seconds_and_begin_again)
{
    static const uint32_t want[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    static uint8_t buf[WIRE_HEADER];
    struct timespec t;
    struct link l;

    link_init(&l, "/nowhere", buf, sizeof buf);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        int64_t now;

        clock_gettime(CLOCK_MONOTONIC, &t);
        now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
        link_drop(&l);
        cr_assert_eq(l.delay, want[i]);
        cr_assert_geq(l.retry_at, now + want[i]);
        cr_assert_lt(l.retry_at, now + want[i] + want[i] / 4 + 5000, "and not much more");
    }
    link_settled(&l);
    link_drop(&l);
    cr_assert_eq(l.delay, 100);
}
