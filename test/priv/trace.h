/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent and its workers under ptrace, stopped at each system call, while something is asked of them: what
 * is to happen at the n-th is the test's. One loop does it all; whoever asks is a child of its own (`asker`).
 */
#pragma once

#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "test/priv/node_steps.h"

enum trace_act {
    TRACE_COUNT, /* nothing happens: how many are there? */
    TRACE_KILL_ALL, /* agent and workers end before the n-th call of all */
    TRACE_KILL_WORKER, /* a worker ends before the n-th call of workers */
    TRACE_FAIL, /* the n-th call that can fail does so with an error of its kind */
    TRACE_HOLD, /* who has done a call of the number `only` is held there, as by one that takes long */
};

enum { TRACE_MAX = 64 };

struct trace {
    enum trace_act act;
    unsigned long at; /* n */
    unsigned variant; /* TRACE_FAIL: which of the errors */
    long only; /* TRACE_FAIL, TRACE_HOLD: calls of this number alone; 0: of all */
    const char *path; /* TRACE_FAIL: those alone that have this in the path they are given; NULL: all */
    unsigned long count; /* system calls of the kind that is counted */
    bool early; /* the agent is not yet the program */
    bool done; /* it has happened */
    long number; /* of the system call where it did */
    int error; /* that it failed with */
    int ended; /* waitpid's word of the agent, once it has ended */
    pid_t held; /* by TRACE_HOLD, until trace_release */
    pid_t agent;
    size_t n;
    struct {
        pid_t pid;
        long number; /* of its last call */
        int fail; /* errno that its call is to fail with */
    } tracees[TRACE_MAX];
};

/* Errors that a call may fail with; what is not listed never fails, or only by a programmer's mistake. */
static const struct trace_error {
    long number;
    int errors[4];
} trace_errors[] = {
        {SYS_openat, {EMFILE, ENFILE, ENOMEM, EIO}},
        {SYS_openat2, {EMFILE, ENFILE, ENOMEM, EIO}},
        {SYS_read, {EINTR, EIO, EINTR, EIO}},
        {SYS_write, {ENOSPC, EINTR, EIO, EDQUOT}},
        {SYS_copy_file_range, {ENOSPC, EIO, ENOMEM, EINTR}},
        {SYS_mkdirat, {ENOSPC, ENOMEM, EIO, EROFS}},
        {SYS_unlinkat, {EIO, EROFS, ENOMEM, EBUSY}},
        {SYS_renameat, {ENOSPC, EIO, EROFS, ENOMEM}},
        {SYS_renameat2, {ENOSPC, EIO, EROFS, ENOMEM}},
        {SYS_fsync, {EIO, ENOSPC, EDQUOT, EIO}},
        {SYS_fchmod, {EIO, EROFS, EIO, EROFS}},
        {SYS_fchmodat, {EIO, EROFS, ENOMEM, EIO}},
        {SYS_fchown, {EIO, EROFS, EDQUOT, EIO}},
        {SYS_fgetxattr, {EIO, ENOMEM, EIO, ENOMEM}},
        {SYS_flistxattr, {EIO, ENOMEM, EIO, ENOMEM}},
        {SYS_fsetxattr, {ENOSPC, EIO, EDQUOT, EROFS}},
        {SYS_fstatfs, {EIO, ENOMEM, EIO, ENOMEM}},
        {SYS_linkat, {ENOSPC, EIO, EROFS, ENOMEM}},
        {SYS_symlinkat, {ENOSPC, EIO, EROFS, ENOMEM}},
        {SYS_newfstatat, {EIO, ENOMEM, EIO, ENOMEM}},
        {SYS_statx, {EIO, ENOMEM, EIO, ENOMEM}},
        {SYS_readlinkat, {EIO, ENOMEM, EIO, ENOMEM}},
        {SYS_getdents64, {EIO, EIO, EIO, EIO}},
        {SYS_socket, {EMFILE, ENFILE, ENOMEM, ENOBUFS}},
        {SYS_socketpair, {EMFILE, ENFILE, ENOMEM, EMFILE}},
        {SYS_bind, {ENOSPC, EROFS, ENOMEM, EIO}},
        {SYS_listen, {ENOMEM, ENOMEM, ENOMEM, ENOMEM}},
        {SYS_connect, {EAGAIN, ENOMEM, EINTR, ECONNREFUSED}},
        {SYS_accept4, {EMFILE, ENFILE, ENOMEM, EINTR}},
        {SYS_sendmsg, {ENOMEM, ENOBUFS, EINTR, EPIPE}},
        {SYS_recvmsg, {ENOMEM, EINTR, ECONNRESET, ENOMEM}},
        {SYS_sendto, {ENOMEM, EINTR, EPIPE, ENOBUFS}},
        {SYS_recvfrom, {ENOMEM, EINTR, ECONNRESET, EINTR}},
        {SYS_getsockopt, {ENOMEM, ENOBUFS, ENOMEM, ENOBUFS}},
        {SYS_clone, {EAGAIN, ENOMEM, EAGAIN, ENOMEM}},
        {SYS_clone3, {EAGAIN, ENOMEM, EAGAIN, ENOMEM}},
        {SYS_pidfd_open, {EMFILE, ENFILE, ENOMEM, ESRCH}},
        {SYS_setns, {ENOMEM, EPERM, ENOMEM, EPERM}},
        {SYS_open_tree, {ENOMEM, EMFILE, ENOSPC, EIO}},
        {SYS_move_mount, {ENOMEM, ENOSPC, EIO, EINVAL}},
        {SYS_mount_setattr, {ENOMEM, EIO, EPERM, ENOMEM}},
        {SYS_fsopen, {ENOMEM, EMFILE, ENODEV, EMFILE}},
        {SYS_fsconfig, {ENOMEM, EIO, EINVAL, ENOMEM}},
        {SYS_fsmount, {ENOMEM, EMFILE, ENOMEM, EMFILE}},
        {SYS_pivot_root, {ENOMEM, EBUSY, EINVAL, EIO}},
        {SYS_umount2, {EBUSY, ENOMEM, EIO, EBUSY}},
        {SYS_fchdir, {EIO, ENOMEM, EIO, ENOMEM}},
#ifndef __SANITIZE_ADDRESS__ /* whose allocator ends the program then */
        {SYS_mmap, {ENOMEM, ENOMEM, ENOMEM, ENOMEM}},
#endif
        {SYS_epoll_ctl, {ENOMEM, ENOSPC, ENOMEM, ENOSPC}},
        {SYS_epoll_wait, {EINTR, EINTR, EINTR, EINTR}},
        {SYS_fcntl, {EMFILE, ENOMEM, EMFILE, ENOMEM}},
        {SYS_flock, {ENOMEM, EINTR, ENOMEM, EINTR}},
        {SYS_prctl, {ENOMEM, EPERM, ENOMEM, EPERM}},
        {SYS_seccomp, {ENOMEM, ENOMEM, ENOMEM, ENOMEM}},
};

static int trace_error_of(long number, unsigned variant)
{
    for (size_t i = 0; i < ARRAY_SIZE(trace_errors); i++)
        if (trace_errors[i].number == number)
            return trace_errors[i].errors[variant % 4];
    return 0;
}

static void trace_seize(struct trace *t, pid_t pid)
{
    must(ptrace(PTRACE_SEIZE, pid, 0,
                 PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                         PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC) == 0);
    t->agent = pid;
    t->tracees[0].pid = pid;
    t->n = 1;
}

static size_t trace_index(struct trace *t, pid_t pid)
{
    size_t i = 0;

    while (i < t->n && t->tracees[i].pid != pid)
        i++;
    if (i == t->n) {
        must(t->n < TRACE_MAX);
        t->tracees[t->n].pid = pid;
        t->tracees[t->n++].fail = 0;
    }
    return i;
}

static void trace_forget(struct trace *t, pid_t pid)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->tracees[i].pid == pid)
            t->tracees[i] = t->tracees[--t->n];
}

#if defined(__x86_64__)
/* The call becomes one that does nothing, which the workers' filter lets pass too. */
static void trace_skip_call(pid_t pid)
{
    must(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.orig_rax), SYS_getpid) == 0);
}

static void trace_set_result(pid_t pid, int error)
{
    must(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.rax), -(long)error) == 0);
}
#define TRACE_CAN_FAIL true
#else
static void trace_skip_call(pid_t pid)
{
    (void)pid;
}

static void trace_set_result(pid_t pid, int error)
{
    (void)pid;
    (void)error;
}
#define TRACE_CAN_FAIL false
#endif

/* Whether the text at address, a second argument, has that part. */
static bool trace_has_path(pid_t pid, uint64_t address, const char *part)
{
    char text[256] = "";
    struct iovec here = {.iov_base = text, .iov_len = sizeof(text) - 1};
    struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = sizeof(text) - 1};

    /* Less is read where the page of the text is the last one. */
    return process_vm_readv(pid, &here, 1, &there, 1, 0) > 0 && strstr(text, part);
}

/* Before a system call. False: the process has ended. */
static bool trace_on_entry(struct trace *t, size_t i, const struct __ptrace_syscall_info *info)
{
    long number = (long)info->entry.nr;
    pid_t pid = t->tracees[i].pid;
    bool may_fail = t->act == TRACE_FAIL && (t->only == 0 || t->only == number) &&
                    (!t->path || trace_has_path(pid, info->entry.args[1], t->path));
    int error = may_fail ? trace_error_of(number, t->variant) : 0;

    if (t->early || t->act == TRACE_HOLD || (t->act == TRACE_KILL_WORKER && pid == t->agent) ||
            (t->act == TRACE_FAIL && !error))
        return true;
    if (t->done || t->count++ != t->at || t->act == TRACE_COUNT)
        return true;
    t->done = true;
    t->number = number;
    t->error = error;
    if (t->act == TRACE_FAIL) {
        t->tracees[i].fail = error;
        trace_skip_call(pid);
        return true;
    }
    for (size_t k = 0; k < t->n; k++)
        if (t->act == TRACE_KILL_ALL || k == i)
            (void)kill(t->tracees[k].pid, SIGKILL);
    return false;
}

/* After a system call. False: the process is held. */
static bool trace_on_exit(struct trace *t, size_t i, const struct __ptrace_syscall_info *info)
{
    pid_t pid = t->tracees[i].pid;

    if (t->tracees[i].fail) {
        trace_set_result(pid, t->tracees[i].fail);
        t->tracees[i].fail = 0;
    }
    if (t->act != TRACE_HOLD || t->done || t->tracees[i].number != t->only || info->exit.is_error)
        return true;
    t->done = true;
    t->held = pid;
    return false;
}

/* What a stop means for the process: true when it may go on, with *ret_signal. */
static bool trace_on_stop(struct trace *t, pid_t pid, int status, int *ret_signal)
{
    size_t i = trace_index(t, pid);
    int sig = WSTOPSIG(status);
    struct __ptrace_syscall_info info = {.op = 0};

    t->early = t->early && status >> 16 != PTRACE_EVENT_EXEC;
    *ret_signal = status >> 16 || sig == SIGTRAP || sig == SIGSTOP ? 0 : sig;
    if (sig != (SIGTRAP | 0x80))
        return true;
    *ret_signal = 0;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
        return false; /* killed meanwhile */
    if (info.op == PTRACE_SYSCALL_INFO_EXIT)
        return trace_on_exit(t, i, &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return true;
    t->tracees[i].number = (long)info.entry.nr;
    return trace_on_entry(t, i, &info);
}

static void trace_on_end(struct trace *t, struct node *n, pid_t pid, int status)
{
    if (pid == n->agent) {
        n->agent = 0;
        t->ended = status;
    }
    trace_forget(t, pid);
    node_ended(n, pid);
}

/* Lets go of all but who is held: each at its next stop, whichever that is. */
static void trace_detach(struct trace *t, struct node *n)
{
    t->act = TRACE_COUNT;
    trace_forget(t, t->held);
    for (size_t i = 0; i < t->n; i++)
        (void)ptrace(PTRACE_INTERRUPT, t->tracees[i].pid, 0, 0);
    while (t->n > 0) {
        int status, sig;
        pid_t pid = waitpid(-1, &status, __WALL);

        must(pid > 0);
        if (!WIFSTOPPED(status)) {
            trace_on_end(t, n, pid, status);
        } else if (trace_on_stop(t, pid, status, &sig)) {
            bool failing = t->tracees[trace_index(t, pid)].fail != 0;

            (void)ptrace(failing ? PTRACE_SYSCALL : PTRACE_DETACH, pid, 0, sig);
            if (!failing)
                trace_forget(t, pid);
        }
    }
}

_unused_ static void trace_release(struct trace *t)
{
    must(ptrace(PTRACE_DETACH, t->held, 0, 0) == 0);
    t->held = 0;
}

/* Runs until the asker has ended, and every tracee if they were killed. Returns the asker's exit status, or -1 when somebody
 * is held: then the asker still asks. */
static int trace_run(struct trace *t, struct node *n, pid_t asker)
{
    int answer = -1;

    while (answer < 0 && !t->held) {
        int status, sig;
        pid_t pid = waitpid(-1, &status, __WALL);

        must(pid > 0);
        if (pid == asker && !WIFSTOPPED(status)) {
            answer = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        } else if (WIFSTOPPED(status)) {
            if (trace_on_stop(t, pid, status, &sig))
                (void)ptrace(PTRACE_SYSCALL, pid, 0, sig);
        } else {
            trace_on_end(t, n, pid, status);
        }
    }
    trace_detach(t, n);
    return answer;
}

/* Traces the agent, which is started if there is none, and asks it in a process of its own, which is returned: what ask
 * returns is its exit status. */
_unused_ static pid_t trace_ask(
        struct trace *t, struct node *n, int (*ask)(struct node *n, int what), int what)
{
    bool start = n->agent <= 0;
    pid_t asker;
    int go[2];

    must(pipe2(go, O_CLOEXEC) == 0);
    t->early = start && t->act == TRACE_FAIL;
    if (start)
        n->agent = node_fork_agent(n, go[0]);
    trace_seize(t, n->agent);
    must(ptrace(PTRACE_INTERRUPT, n->agent, 0, 0) == 0);
    fflush(stdout);
    asker = fork();
    must(asker >= 0);
    if (asker == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && write(go[1], "g", 1) == 1);
        _exit(ask(n, what));
    }
    (void)close(go[0]);
    (void)close(go[1]);
    return asker;
}
