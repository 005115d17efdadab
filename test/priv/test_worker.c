/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: what they gave up before they run, what comes back from them, and that none of them can hold the
 * agent up: not one that is slow, not one that dies, not one that hangs for good.
 */
#include <dirent.h>
#include <linux/capability.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/num.h"
#include "test/priv/fuse.h"
#include "test/priv/pair.h"

struct answer {
    int times;
    int code;
    char text[ERR_TEXT_MAX];
    char notes[2048];
    size_t notes_len;
    int fd;
    usec_t when;
};

static void on_done(struct worker_result *res, void *data)
{
    struct answer *a = data;

    a->times++;
    a->code = res->code;
    a->when = clock_monotonic();
    (void)snprintf(a->text, sizeof(a->text), "%s", res->text);
    a->notes_len = res->notes_len < sizeof(a->notes) ? res->notes_len : sizeof(a->notes);
    if (a->notes_len > 0)
        memcpy(a->notes, res->notes, a->notes_len);
    a->fd = res->n_fds > 0 ? take_fd(&res->fds[0]) : -EBADF;
}

static struct worker_job job_for(worker_fn run, void *data, const int *keep, size_t n_keep, struct answer *a)
{
    *a = (struct answer){.fd = -EBADF};
    return (struct worker_job){.what = "test",
            .pod = "pod",
            .target = "target",
            .run = run,
            .run_data = data,
            .keep = keep,
            .n_keep = n_keep,
            .done = on_done,
            .done_data = a};
}

static void wait_answer(struct agent *agent, const struct answer *a)
{
    usec_t end = usec_add(clock_monotonic(), 10 * USEC_PER_SEC);

    while (a->times == 0 && clock_monotonic() < end)
        (void)loop_turn(agent->loop, USEC_PER_SEC);
    must(a->times == 1);
}

static void wait_nobody(struct agent *agent)
{
    usec_t end = usec_add(clock_monotonic(), 10 * USEC_PER_SEC);

    while (workers_alive(agent->workers) > 0 && clock_monotonic() < end)
        (void)loop_turn(agent->loop, USEC_PER_SEC);
    must(workers_alive(agent->workers) == 0);
}

static void run(struct agent *agent, worker_fn fn, void *data, struct answer *a)
{
    struct worker_job job = job_for(fn, data, NULL, 0, a);
    struct err err = ERR_INIT;

    must(worker_start(agent->workers, &job, &err) == 0);
    wait_answer(agent, a);
}

/* --- answers -------------------------------------------------------------------------------------------- */

static int give_everything(struct worker_child *child, void *data _unused_, struct err *err _unused_)
{
    worker_note(child, "one");
    worker_note(child, "two");
    child->fds[child->n_fds++] = child->self_procfd;
    return 7;
}

static int fail(struct worker_child *child, void *data _unused_, struct err *err)
{
    worker_note(child, "on the way");
    return err_say(err, EXDEV, "no way through %s", "here");
}

static int flood(struct worker_child *child, void *data _unused_, struct err *err _unused_)
{
    static char big[3000];

    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 100; i++)
        worker_note(child, big);
    return 0;
}

static int die(struct worker_child *child _unused_, void *data _unused_, struct err *err _unused_)
{
    _exit(3);
}

static int die_of_sigkill(struct worker_child *child _unused_, void *data _unused_, struct err *err _unused_)
{
    return (int)syscall(SYS_tgkill, getpid(), getpid(), SIGKILL);
}

static void play_answers(struct agent *agent)
{
    struct answer a;
    struct stat st;

    run(agent, give_everything, NULL, &a);
    tap_ok(a.code == 7, "the code comes back");
    tap_ok(a.notes_len == 8 && memcmp(a.notes, "one\0two", 8) == 0, "with its notes");
    tap_ok(fstat(a.fd, &st) == 0 && S_ISDIR(st.st_mode), "and its fd");
    close(a.fd);
    run(agent, fail, NULL, &a);
    tap_ok(a.code == -EXDEV && strcmp(a.text, "no way through here") == 0,
            "a failure comes with its sentence");
    tap_ok(a.notes_len == 11, "and its notes");
    run(agent, flood, NULL, &a);
    tap_ok(a.code == 0 && a.notes_len == sizeof(a.notes), "too many notes are cut, the answer comes");
    run(agent, die, NULL, &a);
    tap_ok(a.code == -EINTR, "a worker that dies is answered for: %s", a.text);
    run(agent, die_of_sigkill, NULL, &a);
    tap_ok(a.code == -EINTR && strstr(a.text, "signal 9"), "and so is one that is killed: %s", a.text);
    tap_ok(workers_alive(agent->workers) == 0, "nobody is left");
}

/* --- hardening ------------------------------------------------------------------------------------------ */

/* Waits until the other end of the pipe is closed. */
static int wait_for_pipe(struct worker_child *child _unused_, void *data, struct err *err _unused_)
{
    char c;

    return (int)read(*(int *)data, &c, 1);
}

static pid_t only_child(void)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    uint64_t pid;

    must(file_read_at(AT_FDCWD, at("/proc/%d/task/%d/children", (int)getpid(), (int)getpid()), &b, NULL) ==
            0);
    must(num_parse_u64_n(buf_str(&b), strcspn(buf_str(&b), " "), 1, INT32_MAX, &pid) == 0);
    return (pid_t)pid;
}

static bool status_has(pid_t pid, const char *line)
{
    _cleanup_buf_ struct buf b = BUF_INIT(65536);

    must(file_read_at(AT_FDCWD, at("/proc/%d/status", (int)pid), &b, NULL) == 0);
    return strstr(buf_str(&b), line);
}

static bool limits_have(pid_t pid, const char *line)
{
    _cleanup_buf_ struct buf b = BUF_INIT(65536);

    must(file_read_at(AT_FDCWD, at("/proc/%d/limits", (int)pid), &b, NULL) == 0);
    return strstr(buf_str(&b), line);
}

static int count_fds(pid_t pid)
{
    DIR *dir = opendir(at("/proc/%d/fd", (int)pid));
    int n = 0;

    must(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* Can a process of the same user, which has no capability in effect that would let it read anybody's memory,
 * read this one's? It has permitted all that the worker has, so that only dumpability can stop it. */
static bool peer_may_read(pid_t pid)
{
    int status = -1;
    pid_t child = fork();

    must(child >= 0);
    if (child == 0) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
        struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
        char here = 0;
        struct iovec to = {.iov_base = &here, .iov_len = 1}, from = to;

        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && syscall(SYS_capget, &header, caps) == 0);
        caps[0].effective = caps[1].effective = 0;
        must(syscall(SYS_capset, &header, caps) == 0);
        _exit(process_vm_readv(pid, &to, 1, &from, 1, 0) == 1);
    }
    must(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status) == 1;
}

static void play_hardening(struct agent *agent)
{
    struct err err = ERR_INIT;
    struct answer a;
    struct worker_job job;
    int pair[2];
    pid_t pid;

    must(pipe2(pair, O_CLOEXEC) == 0);
    must(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    job = job_for(wait_for_pipe, &pair[0], &pair[0], 1, &a);
    must(worker_start(agent->workers, &job, &err) == 0);
    pid = only_child();
    /* The filter is the last thing it puts on. */
    for (int i = 0; i < 1000 && !status_has(pid, "Seccomp:\t2"); i++)
        (void)loop_turn(agent->loop, USEC_PER_MSEC);
    tap_ok(status_has(pid, "Seccomp:\t2"), "a worker has a seccomp filter");
    tap_ok(status_has(pid, "NoNewPrivs:\t1"), "gains no privilege");
    /* 21 SYS_ADMIN, 19 SYS_PTRACE, 18 SYS_CHROOT, 3 FOWNER, 1 DAC_OVERRIDE */
    tap_ok(status_has(pid, "CapEff:\t00000000002c000a") && status_has(pid, "CapPrm:\t00000000002c000a"),
            "has the five capabilities and no other");
    tap_ok(status_has(pid, "Umask:\t0000"), "umask 0");
    /* Signal 32 is glibc's own, out of a program's reach; make starts its commands with it ignored. */
    tap_ok((status_has(pid, "SigIgn:\t0000000000000000") || status_has(pid, "SigIgn:\t0000000080000000")) &&
                    status_has(pid, "SigBlk:\t0000000000000000"),
            "signals as they are by default");
    tap_ok(count_fds(pid) == 3, "the fd it keeps, its answer's and its /proc: %d fds", count_fds(pid));
    tap_ok(peer_may_read(getpid()) && !peer_may_read(pid), "it is not dumpable");
    tap_ok(limits_have(pid, "Max core file size        0                    0 "), "and leaves no core");
    close(pair[1]);
    wait_answer(agent, &a);
    tap_ok(a.code == 0, "it ends well");
    close(pair[0]);
}

enum forbidden { CALL_EXECVE, CALL_PTRACE, CALL_SOCKET, CALL_OPEN, CALL_KILL, CALL_UNSHARE, CALL_MOUNT };

static int call_forbidden(struct worker_child *child _unused_, void *data, struct err *err _unused_)
{
    static char *const none[] = {NULL};

    switch (*(enum forbidden *)data) {
    case CALL_EXECVE:
        return execve("/bin/true", none, none);
    case CALL_PTRACE:
        return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    case CALL_SOCKET:
        return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    case CALL_OPEN:
        return (int)syscall(SYS_memfd_create, "x", 0);
    case CALL_KILL:
        return kill(1, 0);
    case CALL_UNSHARE:
        return unshare(CLONE_NEWNS);
    case CALL_MOUNT:
        return mount("x", "/mnt", "tmpfs", 0, NULL);
    }
    return 0;
}

static void play_seccomp(struct agent *agent)
{
    static const char *const names[] = {
            "execve", "ptrace", "socket", "memfd_create", "kill", "unshare", "mount"};
    struct answer a;

    for (enum forbidden f = CALL_EXECVE; f <= CALL_MOUNT; f++) {
        run(agent, call_forbidden, &f, &a);
        tap_ok(a.code == -EIO && strstr(a.text, "signal 31"), "%s: %s", names[f], a.text);
    }
}

/* --- time ----------------------------------------------------------------------------------------------- */

static void play_deadline(struct agent *agent)
{
    struct err err = ERR_INIT;
    struct answer a, second;
    struct worker_job job;
    usec_t start = clock_monotonic();
    int pair[2];

    must(pipe2(pair, O_CLOEXEC) == 0);
    job = job_for(wait_for_pipe, &pair[0], &pair[0], 1, &a);
    job.deadline = 200 * USEC_PER_MSEC;
    must(worker_start(agent->workers, &job, &err) == 0);
    job = job_for(wait_for_pipe, &pair[0], &pair[0], 1, &second);
    tap_ok(worker_start(agent->workers, &job, &err) == -EBUSY, "one worker a target: %s", err.text);
    wait_answer(agent, &a);
    tap_ok(a.code == -ETIMEDOUT, "a slow worker is answered for: %s", a.text);
    tap_ok(a.when - start >= 200 * USEC_PER_MSEC && a.when - start < 700 * USEC_PER_MSEC, "at its deadline");
    wait_nobody(agent);
    tap_ok(a.times == 1 && second.times == 0, "once");
    tap_ok(workers_stuck(agent->workers) == 0, "killed, it is not stuck");
    close(pair[0]);
    close(pair[1]);
}

static int look_at(struct worker_child *child _unused_, void *data, struct err *err)
{
    struct stat st;

    return fstat(*(int *)data, &st) < 0 ? err_set(err, errno, "looked") : 0;
}

struct ticker {
    struct loop_source *src;
    int ticks;
    usec_t longest;
    usec_t last;
};

static void on_tick(struct loop_source *src, usec_t now _unused_, void *data)
{
    struct ticker *t = data;
    usec_t here = clock_monotonic();

    if (here - t->last > t->longest)
        t->longest = here - t->last;
    t->last = here;
    t->ticks++;
    (void)loop_timer_in(src, 20 * USEC_PER_MSEC);
}

static void start_stuck(struct agent *agent, int *fd, const char *pod, const char *target, struct answer *a)
{
    struct worker_job job = job_for(look_at, fd, fd, 1, a);
    struct err err = ERR_INIT;

    job.pod = pod;
    job.target = target;
    job.deadline = 100 * USEC_PER_MSEC;
    must(worker_start(agent->workers, &job, &err) == 0);
}

static void play_stuck(struct agent *agent)
{
    struct dead_fuse fuse;
    struct ticker ticker = {.last = clock_monotonic()};
    struct err err = ERR_INIT;
    struct answer one, two, three;
    struct worker_job job;
    usec_t end;
    int fd;

    put_dir(BOX_BASE "/dead");
    if (!dead_fuse_mount(BOX_BASE "/dead", &fuse)) {
        tap_skip("stuck", "no /dev/fuse");
        return;
    }
    fd = open(BOX_BASE "/dead", O_PATH | O_CLOEXEC);
    must(fd >= 0);
    must(loop_add_timer(agent->loop, "ticker", on_tick, &ticker, &ticker.src) == 0);
    must(loop_timer_in(ticker.src, 0) == 0);

    start_stuck(agent, &fd, "pod", "one", &one);
    start_stuck(agent, &fd, "pod", "two", &two);
    wait_answer(agent, &one);
    if (two.times == 0)
        wait_answer(agent, &two);
    tap_ok(one.code == -ETIMEDOUT && two.code == -ETIMEDOUT,
            "two that hang are answered for at their deadline");
    tap_ok(workers_alive(agent->workers) == 2, "they do not even die of SIGKILL");
    job = job_for(look_at, &fd, &fd, 1, &three);
    job.target = "one";
    tap_ok(worker_start(agent->workers, &job, &err) == -EBUSY, "the same target again: %s", err.text);
    end = usec_add(clock_monotonic(), 60 * USEC_PER_SEC);
    while (workers_stuck(agent->workers) < 2 && clock_monotonic() < end)
        (void)loop_turn(agent->loop, USEC_PER_SEC);
    tap_ok(workers_stuck(agent->workers) == 2, "a second later they count as stuck");
    job.target = "three";
    tap_ok(worker_start(agent->workers, &job, &err) == -EBUSY, "the pod gets no more: %s", err.text);
    start_stuck(agent, &fd, "another", "three", &three);
    wait_answer(agent, &three);
    tap_ok(three.code == -ETIMEDOUT, "another pod does");
    tap_ok(ticker.ticks > 20 && ticker.longest < 500 * USEC_PER_MSEC, "and the loop went on all the time");

    dead_fuse_end(&fuse);
    wait_nobody(agent);
    tap_ok(workers_stuck(agent->workers) == 0, "let go, they are reaped");
    tap_ok(one.times == 1 && two.times == 1 && three.times == 1, "each was answered once");
    (void)loop_remove(ticker.src);
    close(fd);
}

/* The cap of the node. */
static void play_stuck_node(struct agent *agent)
{
    static struct answer answers[LIMIT_STUCK_WORKERS];
    struct dead_fuse fuse;
    struct err err = ERR_INIT;
    struct answer last;
    struct worker_job job;
    usec_t end;
    int fd;

    put_dir(BOX_BASE "/dead");
    if (!dead_fuse_mount(BOX_BASE "/dead", &fuse)) {
        tap_skip("stuck on the node", "no /dev/fuse");
        return;
    }
    fd = open(BOX_BASE "/dead", O_PATH | O_CLOEXEC);
    must(fd >= 0);
    for (int i = 0; i < LIMIT_STUCK_WORKERS; i++)
        start_stuck(agent, &fd, at("pod-%d", i), at("target-%d", i), &answers[i]);
    end = usec_add(clock_monotonic(), 60 * USEC_PER_SEC);
    while (workers_stuck(agent->workers) < LIMIT_STUCK_WORKERS && clock_monotonic() < end)
        (void)loop_turn(agent->loop, USEC_PER_SEC);
    job = job_for(fail, NULL, NULL, 0, &last);
    tap_ok(worker_start(agent->workers, &job, &err) == -EBUSY, "the node gets no more: %s", err.text);
    dead_fuse_end(&fuse);
    wait_nobody(agent);
    tap_ok(worker_start(agent->workers, &job, &err) == 0, "until they are let go");
    wait_answer(agent, &last);
    close(fd);
}

/* --- many of one pod -------------------------------------------------------------------------------------- */

static int wait_for_end(struct worker_child *child _unused_, void *data, struct err *err _unused_)
{
    char c;

    return read(*(const int *)data, &c, 1) == 0 ? 0 : -EIO;
}

static void play_crowd(struct agent *agent)
{
    static struct answer answers[LIMIT_WORKERS_POD + 2];
    struct err err = ERR_INIT;
    size_t good = 0;
    int pipes[2];

    must(pipe2(pipes, O_CLOEXEC) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        bool another = i == ARRAY_SIZE(answers) - 1, over = i == LIMIT_WORKERS_POD;
        struct worker_job job = job_for(wait_for_end, &pipes[0], &pipes[0], 1, &answers[i]);
        int r;

        job.target = at("target-%zu", i);
        job.pod = another ? "another" : "pod";
        r = worker_start(agent->workers, &job, &err);
        good += r == 0;
        if (over)
            tap_ok(r == -EBUSY && good == LIMIT_WORKERS_POD, "a pod has %zu workers, and no more: %s", good,
                    err.text);
        else if (another)
            tap_ok(r == 0, "another pod has its own");
    }
    (void)close(pipes[1]);
    wait_nobody(agent);
    (void)close(pipes[0]);
}

/* --- a tenant's dead file system, and attach ------------------------------------------------------------ */

static void mount_dead_volume(const char *root)
{
    static struct dead_fuse fuse; /* its server is the box's child and ends with it */

    put_dir(at("%s/dead", root));
    if (!dead_fuse_mount(at("%s/dead", root), &fuse))
        _exit(0);
}

static int do_is_mounted(const char *path)
{
    char *table = mounts_of(getpid()), line[1024];
    bool found = mount_line(table, path, line, sizeof(line));

    free(table);
    return found;
}

static void play_dead_volume(struct agent *agent)
{
    static const struct wish wish = {.workdir = "/dead/dir/below"};
    struct box provider, consumer;

    if (access("/dev/fuse", R_OK | W_OK) < 0) {
        tap_skip("dead volume", "no /dev/fuse");
        return;
    }
    start_pair(agent, &provider, &consumer, mount_dead_volume);
    tap_ok(agent_attach(agent, consumer.pid, "rootfs", &wish) == 0,
            "a volume that answers nothing is carried, because it is asked nothing (%s)", agent->text);
    tap_ok(box_call(&consumer, do_is_mounted, "/dead") == 1, "and it is there");
    tap_ok(access(BOX_BASE "/state/rootfs/dead", F_OK) == 0 &&
                    access(BOX_BASE "/state/rootfs/dead/dir", F_OK) < 0,
            "a working directory in it is not made below it");
    box_end(&consumer);
    must(expose_remove(agent->state, "rootfs", NULL) == 0);
    box_end(&provider);
}

/* The agent ends while a worker is under way: it is answered, and does not survive. */
static void play_shutdown(struct agent *agent)
{
    struct err err = ERR_INIT;
    struct worker_job job;
    struct answer a;
    int pair[2], status;
    pid_t pid;

    must(pipe2(pair, O_CLOEXEC) == 0);
    job = job_for(wait_for_pipe, &pair[0], &pair[0], 1, &a);
    must(worker_start(agent->workers, &job, &err) == 0);
    pid = only_child();
    agent->workers = workers_free(agent->workers);
    tap_ok(a.times == 1 && a.code == -ECANCELED, "at the agent's end a job is answered: %s", a.text);
    tap_ok(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
            "and its worker killed");
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"answers", play_answers},
            {"hardening", play_hardening},
            {"seccomp", play_seccomp},
            {"deadline", play_deadline},
            {"stuck", play_stuck},
            {"stuck-node", play_stuck_node},
            {"crowd", play_crowd},
            {"dead-volume", play_dead_volume},
            {"shutdown", play_shutdown},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
