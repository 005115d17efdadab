/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execwrap as the program that gives a privilege (execwrap/enter.h), as it is shipped and as the agent puts
 * it into a container: with its file capability, or setuid, called by a user who wants more from it than the
 * preserved root.
 */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/time.h>

#include "test/priv/chroot_run.h"

enum { NOT_STARTED = 128 };

static char status_text[8192]; /* of the last look_at_status */

static const char *field(const char *name)
{
    static char value[128];
    const char *at_name = strstr(status_text, name);

    if (!at_name)
        return "?";
    (void)snprintf(
            value, sizeof(value), "%s", at_name + strlen(name) + strspn(at_name + strlen(name), ":\t "));
    value[strcspn(value, "\n")] = '\0';
    return value;
}

static bool has_nothing(void)
{
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb"};
    bool nothing = true;

    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        nothing = nothing && strcmp(field(sets[i]), "0000000000000000") == 0;
    return nothing;
}

static void look_at_status(const struct box *b, struct run *r)
{
    RUN(b, r, "/usr/bin/cat", "/proc/self/status");
    (void)snprintf(status_text, sizeof(status_text), "%s", r->out);
}

static bool in_the_root(const struct box *b, struct run *r)
{
    RUN(b, r, "/usr/bin/cat", "/where");
    return r->code == 0 && strcmp(r->out, "preserved") == 0;
}

/* --- what the command has --------------------------------------------------------------------------------
 */

/* As some runtimes gave it to their processes; a change of uid keeps it. */
static void inherit(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    must(syscall(SYS_capget, &header, data) == 0);
    data[0].inheritable |= CAP_TO_MASK(CAP_NET_RAW);
    must(syscall(SYS_capset, &header, data) == 0);
}

static void play_privileges(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000};

    start_chroot(a, &provider, &consumer, &by_user);
    look_at_status(&consumer, &r);
    tap_ok(r.code == 0 && has_nothing(), "the command has no capability (%d)", r.code);
    tap_ok(strcmp(field("CapBnd"), "0000000000000000") != 0, "its bounding set is left alone");
    r.early = inherit;
    look_at_status(&consumer, &r);
    tap_ok(r.code == 0 && has_nothing(), "nor one that it could inherit: %s", field("CapInh"));
    tap_ok(strcmp(field("Uid"), "1000\t1000\t1000\t1000") == 0, "its uids are the user's: %s", field("Uid"));
    tap_ok(strcmp(field("Gid"), "1000\t1000\t1000\t1000") == 0, "and its gids: %s", field("Gid"));
    end_pair(a, &provider, &consumer);
}

/* A copy that somebody made setuid or setgid, in a place of root's. */
static void play_setuid(struct agent *a)
{
    static const char *const modes[] = {"4555", "2555", "6555"};
    struct box provider, consumer;
    struct run r = {.uid = 1000, .path = NULL};

    must(realpath("build/execwrap", execwrap_path) != NULL);
    start_chroot(a, &provider, &consumer, NULL);
    put_dir(BOX_BASE "/consumer/upper/opt");
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        must(chmod(BOX_BASE "/consumer/upper/opt", 0755) == 0);
        put_program(execwrap_path, at(BOX_BASE "/consumer/upper/opt/%s", modes[i]),
                (mode_t)strtoul(modes[i], NULL, 8));
    }
    must(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        r.path = strdup(at("/opt/%s", modes[i]));
        RUN(&consumer, &r, "cat", "/proc/self/status");
        (void)snprintf(status_text, sizeof(status_text), "%s", r.out);
        if (modes[i][0] == '2') { /* no privilege to chroot by */
            tap_ok(r.code == NOT_STARTED && strstr(r.out, "attach: Pivot"), "setgid alone: %s", r.out);
            continue;
        }
        tap_ok(r.code == 0 && has_nothing(), "%s: no capability (%d)", modes[i], r.code);
        tap_ok(strcmp(field("Uid"), "1000\t1000\t1000\t1000") == 0, "%s: uids %s", modes[i], field("Uid"));
        tap_ok(strcmp(field("Gid"), "1000\t1000\t1000\t1000") == 0, "%s: gids %s", modes[i], field("Gid"));
        tap_ok(strcmp(field("Groups"), "") == 0 || strcmp(field("Groups"), " ") == 0, "%s: groups", modes[i]);
        /* A log file that only root may write is not written. */
        put_file(BOX_BASE "/provider/upper/log", "");
        must(chmod(BOX_BASE "/provider/upper/log", 0600) == 0);
        RUN(&consumer, &r, CAPABLE, "/nowhere", "/log", "cat");
        tap_ok(r.code == NOT_STARTED && strstr(r.out, "/nowhere"), "%s: a failure is told: %s", modes[i],
                r.out);
        struct stat st;
        must(stat(BOX_BASE "/provider/upper/log", &st) == 0);
        tap_ok(st.st_size == 0, "%s: with the user's own means", modes[i]);
    }
    end_pair(a, &provider, &consumer);
}

/* --- environment and argv --------------------------------------------------------------------------------
 */

static void play_environment(struct agent *a)
{
    static const char *const env[] = {"LD_PRELOAD=/tmp/evil.so", "LD_LIBRARY_PATH=/tmp", "MALLOC_CHECK_=3",
            "PATH=/rootfs/usr/bin:relative:/.stoppablecontainer/chroot/bin:/usr/bin", "IFS=/",
            "HOME=", "NOEQUALS", "LD_PRELOAD=again", NULL};
    static const char *const no_path[] = {NULL};
    struct box provider, consumer;
    struct run r = {.uid = 1000, .env = env};

    start_chroot(a, &provider, &consumer, &by_user);
    tap_ok(in_the_root(&consumer, &r), "a hostile environment leads nowhere else (%s)", r.out);
    r.path = "/usr/bin/env";
    RUN(&consumer, &r, "env");
    tap_ok(r.code == 0 && strstr(r.out, "LD_PRELOAD=/tmp/evil.so"), "it is the command's as it was");
    r.env = no_path;
    RUN(&consumer, &r, "env");
    tap_ok(r.code == 127 && strstr(r.out, "PATH is empty"), "a bare name without a PATH: %s", r.out);
    end_pair(a, &provider, &consumer);
}

static void play_argv(struct agent *a)
{
    static char longest[100 * 1024];
    struct box provider, consumer;
    struct run r = {.uid = 1000, .path = "/usr/bin/cat"};

    memset(longest, 'a', sizeof(longest) - 1);
    start_chroot(a, &provider, &consumer, &by_user);
    run_in(consumer.pid, &r, (const char *const[]){NULL});
    tap_ok(r.code >= 126, "no argv at all: %d %s", r.code, r.out);
    RUN(&consumer, &r, "");
    tap_ok(r.code == 127, "an empty name: %d %s", r.code, r.out);
    RUN(&consumer, &r, CAPABLE);
    tap_ok(r.code == NOT_STARTED && strstr(r.out, "no command"), "its own name, and nothing: %s", r.out);
    RUN(&consumer, &r, CAPABLE, "/", "");
    tap_ok(r.code == NOT_STARTED && strstr(r.out, "no command"), "without a command: %s", r.out);
    RUN(&consumer, &r, CAPABLE, "relative", "", "cat", "/where");
    tap_ok(r.code == NOT_STARTED && strstr(r.out, "working directory"), "a relative directory: %s", r.out);
    RUN(&consumer, &r, CAPABLE, "/", "", "cat", "/where");
    tap_ok(r.code == 0 && strcmp(r.out, "preserved") == 0, "as execwrap calls it: %s", r.out);
    RUN(&consumer, &r, SC_MOUNT_DIR "/" SC_EXECWRAP_FILE, "run", "--", "cat");
    tap_ok(r.code == 127, "with the privilege, execwrap's name is a command like any other: %d %s", r.code,
            r.out);
    RUN(&consumer, &r, longest);
    tap_ok(r.code == 127, "a name of 100 KiB: %d", r.code);
    end_pair(a, &provider, &consumer);
}

/* --- fds and limits --------------------------------------------------------------------------------------
 */

static void open_outside(void)
{
    for (int i = 3; i < 64; i++)
        (void)dup2(open("/", O_RDONLY | O_DIRECTORY), i); /* inherited: no close-on-exec */
    must(dup2(open("/", O_PATH | O_DIRECTORY), 900) == 900);
}

static void close_in(void)
{
    close(0);
}

/* What opens a file next would get stderr's number. */
static void close_all(void)
{
    close(0);
    close(1);
    close(2);
}

static void play_fds(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000, .before = open_outside};

    start_chroot(a, &provider, &consumer, &by_user);
    RUN(&consumer, &r, "/usr/bin/ls", "/proc/self/fd");
    tap_ok(r.code == 0 && strcmp(r.out, "0\n1\n2\n3\n") == 0, "no fd comes along (3 is ls's own): %s", r.out);
    r.before = close_in;
    tap_ok(in_the_root(&consumer, &r), "stdin closed: %s", r.out);
    r.before = close_all;
    RUN(&consumer, &r, "/usr/bin/sh", "-c", "echo lost; echo lost >&2; test -c /proc/self/fd/1");
    tap_ok(r.code == 0 && r.out[0] == '\0', "all closed: it has /dev/null (%d, %s)", r.code, r.out);
    RUN(&consumer, &r, CAPABLE, "/nowhere", "", "cat");
    tap_ok(r.code == NOT_STARTED, "all closed, and a failure (%d)", r.code);
    end_pair(a, &provider, &consumer);
}

static void limit(int what, rlim_t value)
{
    const struct rlimit l = {.rlim_cur = value, .rlim_max = value};

    must(setrlimit(what, &l) == 0);
}

static void limit_files(void)
{
    limit(RLIMIT_NOFILE, 3);
}

static void limit_no_files(void)
{
    close(0);
    limit(RLIMIT_NOFILE, 0);
}

static void limit_stack(void)
{
    limit(RLIMIT_STACK, 64 * 1024);
}

static void limit_memory(void)
{
#ifndef __SANITIZE_ADDRESS__ /* whose own memory is larger, in this process, before the execve */
    limit(RLIMIT_AS, 1024 * 1024);
#endif
    limit(RLIMIT_DATA, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_CPU, 1);
}

static void play_limits(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000, .before = limit_files};

    start_chroot(a, &provider, &consumer, &by_user);
    in_the_root(&consumer, &r);
    tap_ok(r.code == NOT_STARTED, "no fd to be had: it ends (%d, %s)", r.code, r.out);
    r.before = limit_no_files;
    tap_ok(!in_the_root(&consumer, &r) && r.code != 0, "nor for stdin: %d", r.code);
    r.before = limit_stack;
    in_the_root(&consumer, &r);
    tap_ok(r.code != 0 || strcmp(r.out, "preserved") == 0, "a small stack: it ends, or is in the root (%d)",
            r.code);
    r.before = limit_memory;
    in_the_root(&consumer, &r);
    tap_ok(r.code != 0 || strcmp(r.out, "preserved") == 0, "hardly any memory: the same (%d)", r.code);
    end_pair(a, &provider, &consumer);
}

/* --- where no privilege is gained ------------------------------------------------------------------------
 */

static void no_new_privs(void)
{
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

static void drop_from_bounding(void)
{
    must(prctl(PR_CAPBSET_DROP, 18 /* CAP_SYS_CHROOT */, 0, 0, 0) == 0);
}

static void own_user_namespace(void)
{
    must(unshare(CLONE_NEWUSER) == 0);
}

static void own_namespaces(void)
{
    must(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
}

static void map_user(void)
{
    put_file("/proc/self/setgroups", "deny");
    put_file("/proc/self/uid_map", "0 1000 1");
    put_file("/proc/self/gid_map", "0 1000 1");
}

static void user_namespace_as_root(void)
{
    own_user_namespace();
    map_user();
}

static void namespaces_as_root(void)
{
    own_namespaces();
    map_user();
}

static void play_no_gain(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000, .before = no_new_privs};

    start_chroot(a, &provider, &consumer, &by_user);
    tap_ok(!in_the_root(&consumer, &r) && r.code == NOT_STARTED && strstr(r.out, "attach: Pivot"),
            "no_new_privs is told: %s", r.out);
    r.before = NULL;
    r.early = drop_from_bounding;
    in_the_root(&consumer, &r);
    tap_ok(r.code == 101, "a bounding set without SYS_CHROOT: EPERM at once (%d, %s)", r.code, r.out);
    r.early = NULL;
    /* Namespaces of one's own, as everybody may make them: root's files are nobody's there. */
    r.before = own_user_namespace;
    in_the_root(&consumer, &r);
    tap_ok(r.code == NOT_STARTED, "a user namespace: %s", r.out);
    r.before = own_namespaces;
    in_the_root(&consumer, &r);
    tap_ok(r.code == NOT_STARTED, "and a mount namespace: %s", r.out);
    r.before = user_namespace_as_root;
    in_the_root(&consumer, &r);
    tap_ok(r.code == NOT_STARTED && strstr(r.out, "not attached"), "the first, as its root: %s", r.out);
    r.before = namespaces_as_root;
    in_the_root(&consumer, &r);
    tap_ok(r.code == NOT_STARTED, "and both: %s", r.out);
    end_pair(a, &provider, &consumer);
}

/* --- a seccomp profile of the pod's ----------------------------------------------------------------------
 */

static long forbidden_call;

static void forbid_call(void)
{
    struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden_call, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void play_forbidden_calls(struct agent *a)
{
    static const struct {
        long call;
        const char *name;
    } calls[] = {{SYS_close_range, "close_range"}, {SYS_statx, "statx"}};
    struct box provider, consumer;
    struct run r = {.uid = 1000, .early = forbid_call};

    start_chroot(a, &provider, &consumer, &by_user);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        forbidden_call = calls[i].call;
        in_the_root(&consumer, &r);
        tap_ok(r.code == NOT_STARTED && strstr(r.out, at("is the system call %s forbidden?", calls[i].name)),
                "%s forbidden: %s", calls[i].name, r.out);
    }
    end_pair(a, &provider, &consumer);
}

/* --- a root of one's own ---------------------------------------------------------------------------------
 */

/* "/" is the preserved root, which is the user's to fill; the program is had by an fd, as through
 * /proc/PID/root. */
static void enter_preserved(void)
{
    must(dup2(open(CAPABLE, O_RDONLY), 200) == 200 && chroot("/rootfs") == 0 && chdir("/") == 0);
}

static int do_mount_over(const char *path)
{
    return mount("other", path, "tmpfs", 0, "size=64k") < 0 ? -errno : 0;
}

static void play_own_root(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000, .early = enter_preserved, .path = "/proc/self/fd/200", .cwd = "/"};

    start_chroot(a, &provider, &consumer, NULL);
    must(box_call(&provider, do_mkdir, "/rootfs") == 0);
    must(box_call(&provider, do_mkdir, "/rootfs/bin") == 0);
    must(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0);
    RUN(&consumer, &r, "cat", "/where");
    tap_ok(r.code == NOT_STARTED && strstr(r.out, "not attached"), "/rootfs of the preserved root: %s",
            r.out);
    /* With a mark that somebody forged: not on a file system that only the agent could have made. */
    put_file(BOX_BASE "/mark", "1\n");
    for (uint64_t id = 1; id < 3; id++) {
        must(box_call(&consumer, do_write, "/rootfs/.stoppablecontainer/chroot/root") == 0);
        put_file(at("/proc/%d/root/rootfs/.stoppablecontainer/chroot/root", (int)consumer.pid), "1\n");
    }
    RUN(&consumer, &r, "cat", "/where");
    tap_ok(r.code == NOT_STARTED && strstr(r.out, "not attached"), "and a forged mark: %s", r.out);
    /* Another mount at the place, by who may mount there. */
    r = (struct run){.uid = 1000};
    must(box_call(&consumer, do_mount_over, "/rootfs") == 0);
    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(r.code == NOT_STARTED && strstr(r.out, "not what the node agent attached"), "another mount: %s",
            r.out);
    must(box_call(&consumer, do_umount, "/rootfs") == 0);
    tap_ok(in_the_root(&consumer, &r), "and without it again: %s", r.out);
    end_pair(a, &provider, &consumer);
}

/* --- tracers and signals ---------------------------------------------------------------------------------
 */

static void be_traced(void)
{
    must(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
}

/* The tracer lets it run, and sees what became of it. */
static void play_ptrace(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000};
    int fd[2], status;
    pid_t tracer;

    start_chroot(a, &provider, &consumer, &by_user);
    must(pipe2(fd, 0) == 0);
    tracer = fork();
    must(tracer >= 0);
    if (tracer == 0) { /* the user's own: without capabilities over anybody */
        pid_t child;

        join_as(consumer.pid, &r);
        must(dup2(fd[1], 1) == 1 && dup2(fd[1], 2) == 2);
        close(fd[0]);
        close(fd[1]);
        child = fork();
        if (child == 0) {
            be_traced();
            (void)execl("/usr/bin/cat", "cat", "/where", (char *)NULL);
            _exit(99);
        }
        while (waitpid(child, &status, 0) == child && WIFSTOPPED(status))
            (void)ptrace(PTRACE_CONT, child, NULL, NULL);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
    }
    close(fd[1]);
    read_all(fd[0], r.out, sizeof(r.out));
    close(fd[0]);
    must(waitpid(tracer, &status, 0) == tracer);
    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == NOT_STARTED && strstr(r.out, "cannot enter"),
            "traced, it gains nothing: %s", r.out);
    end_pair(a, &provider, &consumer);
}

static void ignore_and_block(void)
{
    sigset_t all;

    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_IGN);
    (void)sigfillset(&all);
    must(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
}

static unsigned alarm_usec;

/* Ends it somewhere on its way. */
static void alarm_soon(void)
{
    const struct itimerval t = {.it_value = {.tv_usec = alarm_usec}};

    must(setitimer(ITIMER_REAL, &t, NULL) == 0);
}

static void play_signals(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000, .before = ignore_and_block};
    unsigned ended = 0, entered = 0;
    int mounts;

    start_chroot(a, &provider, &consumer, &by_user);
    tap_ok(in_the_root(&consumer, &r), "every signal blocked and ignored (%s)", r.out);
    mounts = box_call(&consumer, do_count_mounts, "");
    r.before = alarm_soon;
    for (int i = 0; i < 200; i++) {
        alarm_usec = 20 + (unsigned)i * 10;
        if (in_the_root(&consumer, &r))
            entered++;
        else if (r.code == -SIGALRM)
            ended++;
    }
    tap_ok(ended + entered == 200 && ended > 0,
            "ended at any moment: %u ended, %u entered, none did anything else", ended, entered);
    tap_ok(box_call(&consumer, do_count_mounts, "") == mounts, "and nothing is left of them");
    end_pair(a, &provider, &consumer);
}

static const struct scene scenes[] = {
        {"privileges", play_privileges},
        {"setuid", play_setuid},
        {"environment", play_environment},
        {"argv", play_argv},
        {"fds", play_fds},
        {"limits", play_limits},
        {"no-gain", play_no_gain},
        {"forbidden-calls", play_forbidden_calls},
        {"own-root", play_own_root},
        {"ptrace", play_ptrace},
        {"signals", play_signals},
};

int main(void)
{
    return chroot_main(scenes, ARRAY_SIZE(scenes));
}
