/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs that go into other people's pods, as they are shipped: build/execwrap and build/pause, each as
 * pid 1 of a pid namespace, in a mount namespace whose root really is swapped under them.
 *
 * Each case runs in a "stage": a forked process with a mount namespace of its own (private), whose root is a
 * tmpfs with the machine's programs in it, and with a pid namespace for its children. The stage plays the
 * agent. What it leaves behind goes with its namespaces; a stage that hangs is ended by its alarm, and its
 * children die with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/names.h"
#include "common/wire/wire.h"
#include "test/priv/tap.h"

#define EXECWRAP SC_MOUNT_DIR "/" SC_EXECWRAP_FILE
#define PAUSE SC_MOUNT_DIR "/" SC_PAUSE_FILE

#define CHECK(cond)                                                                \
    do {                                                                           \
        if (!(cond)) {                                                             \
            fprintf(stderr, "%s:%d: %s (errno: %m)\n", __FILE__, __LINE__, #cond); \
            _exit(1);                                                              \
        }                                                                          \
    } while (0)

static char stage_dir[] = "/tmp/sc-tiny-XXXXXX";
static int listener = -EBADF;
static int machine_proc = -EBADF; /* /proc of the pid namespace that the stage is in */

/* --- the stage
 * --------------------------------------------------------------------------------------------------- */

static void copy_program(const char *from, const char *to)
{
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

    CHECK(in >= 0 && out >= 0 && file_copy_fd(in, out, NULL) == 0);
}

/* Gives `root` the machine's programs and libraries: read through bind mounts, links kept as links. */
static void furnish(const char *root)
{
    static const char *const names[] = {"usr", "bin", "lib", "lib32", "lib64"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char from[PATH_MAX], to[PATH_MAX], target[PATH_MAX];
        ssize_t n;

        snprintf(from, sizeof from, "/%s", names[i]);
        snprintf(to, sizeof to, "%s/%s", root, names[i]);
        n = readlink(from, target, sizeof target - 1);
        if (n >= 0) {
            target[n] = '\0';
            CHECK(symlink(target, to) == 0);
        } else if (access(from, F_OK) == 0) {
            CHECK(mkdir(to, 0755) == 0 && mount(from, to, NULL, MS_BIND, NULL) == 0);
        }
    }
}

static void make_dirs(const char *const *names)
{
    for (; *names; names++)
        CHECK(mkdir(*names, 0755) == 0);
}

/* Swaps the root as the agent does: "." becomes "/", and the old root is let go. */
static void swap_root(void)
{
    int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    CHECK(old >= 0);
    CHECK(syscall(SYS_pivot_root, ".", ".") == 0);
    CHECK(fchdir(old) == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0);
    close(old);
}

static void write_file(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void set_stage(void)
{
    static const char *const dirs[] = {"proc", "dev", "work", "new", "." SC_MOUNT_DIR, NULL};
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = SC_MOUNT_DIR "/" SC_SOCKET_FILE};
    char execwrap[PATH_MAX], pause_path[PATH_MAX];

    CHECK(realpath("build/execwrap", execwrap) && realpath("build/pause", pause_path));
    alarm(60);
    machine_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(machine_proc >= 0);
    CHECK(unshare(CLONE_NEWNS | CLONE_NEWPID) == 0);
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("stage", stage_dir, "tmpfs", 0, NULL) == 0 && chdir(stage_dir) == 0);
    furnish(stage_dir);
    make_dirs(dirs);
    copy_program(execwrap, "." EXECWRAP);
    copy_program(pause_path, "." PAUSE);
    write_file("dev/termination-log", "");
    write_file("which", "old root\n");
    swap_root();
    umask(0);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&addr, sizeof addr) == 0);
    CHECK(listen(listener, 8) == 0);
}

/* --- the agent's part
 * --------------------------------------------------------------------------------------------- */

static int accept_request(struct wire_request *ret)
{
    static uint8_t buf[WIRE_REQUEST_MAX];
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), rc = 0;
    struct wire_reader r;
    struct wire_frame f;

    CHECK(fd >= 0);
    wire_reader_init(&r, buf, sizeof buf);
    while (rc == 0)
        rc = wire_recv(fd, &r, &f);
    CHECK(rc == 1 && wire_decode_request(&f, ret) == 0);
    return fd;
}

static enum wire_type next_request(int fd)
{
    static uint8_t buf[WIRE_REQUEST_MAX];
    struct wire_request q;
    struct wire_reader r;
    struct wire_frame f;
    int rc = 0;

    wire_reader_init(&r, buf, sizeof buf);
    while (rc == 0)
        rc = wire_recv(fd, &r, &f);
    CHECK(rc == 1 && wire_decode_request(&f, &q) == 0);
    return q.type;
}

static void answer(int fd, enum wire_type type)
{
    uint8_t buf[WIRE_HEADER];

    CHECK(wire_encode_plain(buf, sizeof buf, type) == WIRE_HEADER);
    CHECK(write(fd, buf, sizeof buf) == (ssize_t)sizeof buf);
}

static void answer_attached(int fd, const char *workdir)
{
    struct wire_attached a = {.workdir = workdir};
    uint8_t buf[256];
    int len = wire_encode_attached(buf, sizeof buf, &a);

    CHECK(len > 0 && write(fd, buf, (size_t)len) == len);
}

/* The attach: a new root with our volume carried over, swapped under everybody who is at the old one. */
static void attach_root(void)
{
    static const char *const dirs[] = {"work", "proc", "dev", "." SC_MOUNT_DIR, NULL};

    CHECK(mount("new", "/new", "tmpfs", 0, NULL) == 0 && chdir("/new") == 0);
    furnish("/new");
    make_dirs(dirs);
    CHECK(mount(SC_MOUNT_DIR, "/new" SC_MOUNT_DIR, NULL, MS_BIND, NULL) == 0);
    write_file("which", "new root\n");
    write_file("work/which", "its working directory\n");
    swap_root();
}

/* --- the programs
 * -------------------------------------------------------------------------------------------------- */

struct program {
    pid_t pid;
    int out; /* what it prints, on both */
};

/* Starts argv with cwd. With a gate (a socket) the child says there that it has got so far, and waits for a
 * byte. */
static struct program start(const char *const *argv, const char *cwd, int gate)
{
    struct program p;
    int fd[2];

    CHECK(pipe2(fd, O_CLOEXEC) == 0);
    p.pid = fork();
    CHECK(p.pid >= 0);
    if (p.pid == 0) {
        char c;

        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && chdir(cwd) == 0);
        CHECK(gate < 0 || (write(gate, "", 1) == 1 && read(gate, &c, 1) == 1));
        CHECK(dup2(fd[1], 1) == 1 && dup2(fd[1], 2) == 2);
        execv(argv[0], (char **)(uintptr_t)argv);
        _exit(99);
    }
    close(fd[1]);
    p.out = fd[0];
    return p;
}

/* Reads all that it prints, waits for its end, and compares. code: of the exit, or -N for signal N. */
static void expect_end(struct program p, int code, const char *want)
{
    char text[4096];
    size_t len = 0;
    ssize_t n;
    int status;

    while ((n = read(p.out, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(p.out);
    CHECK(waitpid(p.pid, &status, 0) == p.pid);
    status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    if (status != code || strcmp(text, want) != 0)
        fprintf(stderr, "wanted %d: %s, got %d: %s\n", code, want, status, text);
    CHECK(status == code && strcmp(text, want) == 0);
}

static const char *const show[] = {
        EXECWRAP, "run", "--", "/bin/sh", "-c", "echo pid $$; cat /which which; pwd; pwd -P", NULL};
static const char showed[] = "pid 1\nnew root\nits working directory\n/work\n/work\n";

static void execwrap_is_pivoted_and_becomes_the_program(void)
{
    struct program p = start(show, "/work", -1);
    struct wire_request q;
    int fd = accept_request(&q);

    CHECK(q.type == WIRE_ATTACH && q.kind == WIRE_RUN);
    attach_root();
    answer_attached(fd, NULL);
    expect_end(p, 0, showed);
}

/* The answer is lost with the agent: the next one is asked, through the volume as it is in the new root. */
static void execwrap_finds_the_socket_again_in_the_new_root(void)
{
    struct program p = start(show, "/work", -1);
    struct wire_request q;
    int fd = accept_request(&q);

    attach_root();
    close(fd);
    fd = accept_request(&q);
    CHECK(q.type == WIRE_ATTACH);
    answer_attached(fd, NULL);
    expect_end(p, 0, showed);
}

/* A worker was killed when half a new root lay over the volume: execwrap still asks, or it would stay there for
 * good. */
static void execwrap_finds_the_socket_under_half_a_root(void)
{
    struct program p = start(show, "/work", -1);
    struct wire_request q;
    int fd = accept_request(&q);

    CHECK(mount("half", SC_MOUNT_DIR, "tmpfs", 0, NULL) == 0);
    close(fd);
    fd = accept_request(&q);
    CHECK(q.type == WIRE_ATTACH && umount2(SC_MOUNT_DIR, 0) == 0);
    attach_root();
    answer_attached(fd, NULL);
    expect_end(p, 0, showed);
}

/* A hook's process that is pivoted between its start and execwrap's first look: root new, directory old. */
static void execwrap_started_across_the_swap(const char *workdir, int code, const char *want)
{
    static const char *const argv[] = {EXECWRAP, "exec", "--", "/bin/cat", "which", "/which", NULL};
    struct wire_request q;
    struct program p;
    int gate[2], fd;
    char c;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate) == 0);
    p = start(argv, "/work", gate[0]);
    CHECK(read(gate[1], &c, 1) == 1);
    attach_root();
    CHECK(write(gate[1], "", 1) == 1);
    fd = accept_request(&q);
    CHECK(q.kind == WIRE_EXEC);
    answer_attached(fd, workdir);
    expect_end(p, code, want);
}

static void execwrap_across_the_swap_takes_the_agents_directory(void)
{
    execwrap_started_across_the_swap("/work", 0, "its working directory\nnew root\n");
}

static void execwrap_across_the_swap_without_a_directory(void)
{
    execwrap_started_across_the_swap(NULL, 128, "execwrap: the working directory is not known\n");
}

static int stop_signal; /* of the case that is running */

static void execwrap_as_pid_1_ends_at_a_signal(void)
{
    struct program p = start(show, "/work", -1);
    struct wire_request q;
    char want[128];

    (void)accept_request(&q);
    CHECK(kill(p.pid, stop_signal) == 0);
    snprintf(want, sizeof want, "execwrap: stopped by signal %d before the command was started\n",
            stop_signal);
    expect_end(p, 128 + stop_signal, want);
}

/* The kernel's SIGWINCH is a terminal that somebody attached to. */
static void execwrap_does_not_mind_a_resized_terminal(void)
{
    struct winsize size = {.ws_row = 40, .ws_col = 100};
    int master, slave, fd, status, unlocked = 0;
    struct wire_request q;
    pid_t pid;

    CHECK(mkdir("/dev/pts", 0755) == 0 && mount("pts", "/dev/pts", "devpts", 0, "ptmxmode=0666") == 0);
    master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(master >= 0 && ioctl(master, TIOCSPTLCK, &unlocked) == 0);
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(slave >= 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        CHECK(setsid() >= 0 && ioctl(slave, TIOCSCTTY, 0) == 0 && dup2(slave, 0) == 0);
        execl(EXECWRAP, EXECWRAP, "run", "--", "/bin/true", (char *)NULL);
        _exit(99);
    }
    fd = accept_request(&q);
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    attach_root();
    answer_attached(fd, NULL);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

static const char *const pause_argv[] = {PAUSE, NULL};

static struct program start_pause(int *ret_fd)
{
    struct program p = start(pause_argv, "/", -1);
    struct wire_request q;

    *ret_fd = accept_request(&q);
    CHECK(q.type == WIRE_HELLO);
    answer(*ret_fd, WIRE_HELD);
    return p;
}

static void release(struct program p, int fd)
{
    CHECK(next_request(fd) == WIRE_STOPPING);
    answer(fd, WIRE_RELEASE);
    expect_end(p, 0, "");
}

static void pause_as_pid_1_leaves_when_released(void)
{
    int fd;
    struct program p = start_pause(&fd);

    CHECK(kill(p.pid, stop_signal) == 0);
    release(p, fd);
}

static void pause_says_why_it_is_refused(void)
{
    static const char line[] = "pause: the node agent refused to hold this root: a second container\n";
    struct program p = start(pause_argv, "/", -1);
    struct wire_request q;
    uint8_t buf[256];
    char log[256] = "";
    int fd = accept_request(&q), len, file;

    len = wire_encode_text(buf, sizeof buf, WIRE_REFUSED, false, "a second container");
    CHECK(len > 0 && write(fd, buf, (size_t)len) == len);
    expect_end(p, 1, line);
    file = open("/dev/termination-log", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0 && read(file, log, sizeof log - 1) > 0 && strcmp(log, line) == 0);
}

/* Children that pause has, by the machine's /proc, as text. */
static void read_children(pid_t pid, char *text, size_t size)
{
    char path[64];
    int fd;
    ssize_t n;

    snprintf(path, sizeof path, "%d/task/%d/children", pid, pid);
    fd = openat(machine_proc, path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    n = read(fd, text, size - 1);
    CHECK(n >= 0);
    text[n] = '\0';
    close(fd);
}

/* Leaves an orphan to pid 1 that lives until `gate` is closed. */
static void make_orphan(const int gate[2])
{
    pid_t pid = fork();
    int status;

    CHECK(pid >= 0);
    if (pid == 0) {
        if (fork() == 0) {
            char c;

            close(gate[1]);
            _exit(read(gate[0], &c, 1) == 0 ? 0 : 1);
        }
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void pause_reaps_what_it_inherits(void)
{
    int fd, gate[2];
    struct program p = start_pause(&fd);
    char text[256];

    CHECK(pipe2(gate, O_CLOEXEC) == 0);
    make_orphan(gate);
    make_orphan(gate);
    read_children(p.pid, text, sizeof text);
    CHECK(text[0] != '\0');
    close(gate[0]);
    close(gate[1]);
    do { /* only pid 1 is told of their end; the alarm is the deadline */
        usleep(1000);
        read_children(p.pid, text, sizeof text);
    } while (text[0] != '\0');
    CHECK(kill(p.pid, SIGTERM) == 0);
    release(p, fd);
}

/* --- running
 * ------------------------------------------------------------------------------------------------------- */

/* True when the case passed on a stage of its own. */
static bool passes(void (*body)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        set_stage();
        body();
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool passes_with_every_stop_signal(void (*body)(void))
{
    for (stop_signal = 1; stop_signal <= 64; stop_signal++) {
        if (stop_signal == SIGKILL || stop_signal == SIGSTOP || stop_signal == SIGCHLD ||
                stop_signal == SIGCONT || stop_signal == SIGURG)
            continue;
        if (!passes(body)) {
            printf("with signal %d: ", stop_signal);
            return false;
        }
    }
    return true;
}

#define CASE(name, signals)    \
    {                          \
#name, (name), signals \
    }

static const struct {
    const char *name;
    void (*body)(void);
    bool every_signal;
} cases[] = {
        CASE(execwrap_is_pivoted_and_becomes_the_program, false),
        CASE(execwrap_finds_the_socket_again_in_the_new_root, false),
        CASE(execwrap_finds_the_socket_under_half_a_root, false),
        CASE(execwrap_across_the_swap_takes_the_agents_directory, false),
        CASE(execwrap_across_the_swap_without_a_directory, false),
        CASE(execwrap_as_pid_1_ends_at_a_signal, true),
        CASE(execwrap_does_not_mind_a_resized_terminal, false),
        CASE(pause_as_pid_1_leaves_when_released, true),
        CASE(pause_says_why_it_is_refused, false),
        CASE(pause_reaps_what_it_inherits, false),
};

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0); /* forked children must not print it again */
    if (geteuid() != 0) {
        tap_skip("all", "needs root to make namespaces");
        return tap_status();
    }
    if (access("build/execwrap", X_OK) < 0 || access("build/pause", X_OK) < 0) {
        printf("build/execwrap and build/pause are not built, or this is not the top of the checkout\n");
        return 1;
    }
    if (!mkdtemp(stage_dir))
        return 1;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool ok =
                cases[i].every_signal ? passes_with_every_stop_signal(cases[i].body) : passes(cases[i].body);

        tap_ok(ok, "%s", cases[i].name);
    }
    rmdir(stage_dir);
    return tap_status();
}
