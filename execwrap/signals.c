/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By system call, not by the C library's functions: those hide the real-time signals that the library uses
 * itself (32 and up), and "SIGRTMIN" in an image's STOPSIGNAL is one of them (34).
 */
#include "execwrap/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(signo) ((uint64_t)1 << ((signo)-1))

int signals_catch(struct signals *s, bool children)
{
    uint64_t caught = ~(BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGCHLD));
    uint64_t mask;

    if (children)
        caught |= BIT(SIGCHLD);
    /* The fd first: were the signals blocked and the fd missing, they would be lost. */
    s->fd = (int)syscall(SYS_signalfd4, -1, &caught, sizeof caught, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->fd < 0)
        return -errno;
    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &s->before, sizeof s->before) < 0)
        return -errno;
    mask = s->before | caught;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask) < 0)
        return -errno;
    return 0;
}

int signals_next(const struct signals *s)
{
    struct signalfd_siginfo info;

    while (read(s->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGWINCH && info.ssi_code == SI_KERNEL)
            continue;
        return (int)info.ssi_signo;
    }
    return 0;
}

void signals_release(struct signals *s)
{
    close(s->fd);
    s->fd = -EBADF;
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &s->before, NULL, sizeof s->before);
}
