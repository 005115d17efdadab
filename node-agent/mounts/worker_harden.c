/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capability and seccomp calls are made directly: libcap would need its own allocations for what is two
 * structures, and libseccomp could be loaded into the child only together with its whole compiler. The filter
 * is one table of numbers and a loop over it.
 */
#include "node-agent/mounts/worker_harden.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#error "add this architecture's AUDIT_ARCH constant"
#endif

/* Those of a worker on the node alone come first: the filter of the others begins behind them. */
enum { N_NODE_CALLS = 4 };

static const int allowed_calls[] = {
        SYS_mount,
        SYS_unshare,
        SYS_unlinkat,
        SYS_ioctl,
        /* files and paths */
        SYS_openat,
        SYS_openat2,
        SYS_read,
        SYS_close,
        SYS_fstat,
        SYS_newfstatat,
        SYS_statx,
        SYS_readlinkat,
        SYS_mkdirat,
        SYS_renameat2,
        SYS_fchdir,
        SYS_fcntl,
        SYS_lseek,
        SYS_getdents64,
        SYS_linkat,
        SYS_write,
        /* mounts */
        SYS_setns,
        SYS_open_tree,
        SYS_move_mount,
        SYS_mount_setattr,
        SYS_fsopen,
        SYS_fsconfig,
        SYS_fsmount,
        SYS_pivot_root,
        SYS_umount2,
        /* the answer, and the end */
        SYS_sendmsg,
        SYS_exit,
        SYS_exit_group,
        SYS_rt_sigreturn,
        SYS_restart_syscall,
        /* memory and what libc does on its own: malloc, abort */
        SYS_mmap,
        SYS_munmap,
        SYS_mremap,
        SYS_mprotect,
        SYS_madvise,
        SYS_brk,
        SYS_futex,
        SYS_getrandom,
        SYS_clock_gettime,
        SYS_rt_sigprocmask,
        SYS_rt_sigaction,
        SYS_getpid,
        SYS_gettid,
        SYS_tgkill,
#if defined(__SANITIZE_ADDRESS__) || defined(SC_SANITIZE)
        SYS_sigaltstack,
        SYS_sched_yield,
        SYS_prctl,
        SYS_prlimit64,
#endif
};

static int default_signals(struct err *err)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        if (i != SIGKILL && i != SIGSTOP)
            (void)sigaction(i, &sa, NULL); /* EINVAL for those that libc keeps to itself */
    (void)sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        return err_set(err, errno, "cannot unblock signals");
    return 0;
}

static int die_with_parent(pid_t parent, struct err *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return err_set(err, errno, "cannot bind the worker's life to the agent's");
    if (getppid() != parent)
        return err_say(err, ESRCH, "the agent has ended");
    return 0;
}

static int limit_process(enum worker_place place, struct err *err)
{
    const struct rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};
    struct rlimit files;

    (void)prctl(PR_SET_NAME, place == WORKER_ON_NODE ? WORKER_NODE_COMM : WORKER_COMM);
    if (prctl(PR_SET_DUMPABLE, 0) < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0)
        return err_set(err, errno, "cannot make the worker undumpable");
    (void)umask(0);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return err_set(err, errno, "cannot read the limit of open files");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        return err_set(err, errno, "cannot raise the limit of open files");
    return 0;
}

static int compare_int(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

static int close_all_but(int *keep, size_t n, struct err *err)
{
    unsigned from = 0;

    qsort(keep, n, sizeof(*keep), compare_int);
    for (size_t i = 0; i < n; i++) {
        unsigned fd = (unsigned)keep[i];

        if (fd > from && close_range(from, fd - 1, 0) < 0)
            return err_set(err, errno, "cannot close fds");
        from = fd + 1;
    }
    if (close_range(from, ~0U, 0) < 0)
        return err_set(err, errno, "cannot close fds");
    return 0;
}

static int drop_capabilities(struct err *err)
{
    static const int kept[] = {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_DAC_OVERRIDE, CAP_FOWNER};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{.effective = 0}};

    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        data[CAP_TO_INDEX(kept[i])].permitted |= CAP_TO_MASK(kept[i]);
    for (size_t i = 0; i < ARRAY_SIZE(data); i++)
        data[i].effective = data[i].permitted;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return err_set(err, errno, "cannot clear the ambient capabilities");
    if (syscall(SYS_capset, &header, data) < 0)
        return err_set(err, errno, "cannot drop capabilities");
    return 0;
}

static int install_filter(enum worker_place place, struct err *err)
{
    enum { HEAD = 4, TAIL = 2 };
    struct sock_filter code[HEAD + ARRAY_SIZE(allowed_calls) + TAIL];
    struct sock_fprog program = {.filter = code};
    size_t n = 0;

    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    /* A match jumps to the last instruction, over all comparisons that are left and the kill. x32 numbers
     * have a bit of their own and match nothing. */
    for (size_t i = place == WORKER_ON_NODE ? 0 : N_NODE_CALLS; i < ARRAY_SIZE(allowed_calls); i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed_calls[i],
                (uint8_t)(ARRAY_SIZE(allowed_calls) - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = (unsigned short)n;

    _Static_assert(ARRAY_SIZE(allowed_calls) < 255, "jump offsets are bytes");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return err_set(err, errno, "cannot install the worker's seccomp filter");
    return 0;
}

int worker_harden(const int *keep, size_t n_keep, const struct worker_bounds *bounds, int *ret_self_procfd,
        struct err *err)
{
    int kept[32], procfd, r;

    if (n_keep >= ARRAY_SIZE(kept))
        return err_say(err, E2BIG, "too many fds to keep");
    r = die_with_parent(bounds->parent, err);
    if (r == 0)
        r = default_signals(err);
    if (r == 0)
        r = limit_process(bounds->place, err);
    if (r < 0)
        return r;

    procfd = open("/proc/self/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (procfd < 0)
        return err_set(err, errno, "cannot open /proc/self");
    for (size_t i = 0; i < n_keep; i++)
        kept[i] = keep[i];
    kept[n_keep] = procfd;
    r = close_all_but(kept, n_keep + 1, err);
    if (r == 0 && bounds->place == WORKER_IN_CONTAINER)
        r = drop_capabilities(err);
    if (r == 0)
        r = install_filter(bounds->place, err);
    if (r < 0)
        return r;
    *ret_self_procfd = procfd;
    return 0;
}
