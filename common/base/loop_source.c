/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop's sources other than timers: io, signal, pidfd, defer. What each does when its fd is ready.
 */
#include <string.h>
#include <sys/wait.h>

#include "common/base/log.h"
#include "common/base/loop_internal.h"

/* Hands the source to the caller, or marks it as nobody's. */
static int hand_out(struct loop_source *src, struct loop_source **ret_src)
{
    if (ret_src)
        *ret_src = src;
    else
        src->floating = true;
    return 0;
}

/* Starts watching a new source; one that cannot be watched is removed. */
static int start(struct loop_source *src, struct loop_source **ret_src)
{
    int r = loop_watch(src);

    if (r < 0) {
        loop_remove(src);
        return r;
    }
    return hand_out(src, ret_src);
}

int loop_add_io(struct loop *loop, const char *name, int fd, uint32_t events, loop_io_fn fn, void *data,
        struct loop_source **ret_src)
{
    struct loop_source *src = loop_source_new(loop, SOURCE_IO, name, data);

    if (!src)
        return -ENOMEM;
    src->fn.io = fn;
    src->fd = fd;
    src->events = events;
    return start(src, ret_src);
}

int loop_add_signal(struct loop *loop, const char *name, int signo, loop_signal_fn fn, void *data,
        struct loop_source **ret_src)
{
    struct loop_source *src;
    sigset_t mask;

    /* Two signalfds for one signal would share its instances at random. */
    list_for_each (node, &loop->sources) {
        const struct loop_source *other = list_entry(node, struct loop_source, link);

        if (other->kind == SOURCE_SIGNAL && other->signo == signo)
            return -EEXIST;
    }
    sigemptyset(&mask);
    if (sigaddset(&mask, signo) < 0)
        return -EINVAL;
    src = loop_source_new(loop, SOURCE_SIGNAL, name, data);
    if (!src)
        return -ENOMEM;
    src->fn.signal = fn;
    src->signo = signo;
    src->events = EPOLLIN;
    src->fd = sigprocmask(SIG_BLOCK, &mask, NULL) < 0 ? -1 : signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (src->fd < 0) {
        int r = -errno;

        loop_remove(src);
        return r;
    }
    return start(src, ret_src);
}

int loop_add_pidfd(struct loop *loop, const char *name, int pidfd, loop_pidfd_fn fn, void *data,
        struct loop_source **ret_src)
{
    struct loop_source *src = loop_source_new(loop, SOURCE_PIDFD, name, data);

    if (!src)
        return -ENOMEM;
    src->fn.pidfd = fn;
    src->fd = pidfd;
    src->events = EPOLLIN;
    return start(src, ret_src);
}

int loop_add_defer(
        struct loop *loop, const char *name, loop_defer_fn fn, void *data, struct loop_source **ret_src)
{
    struct loop_source *src = loop_source_new(loop, SOURCE_DEFER, name, data);

    if (!src)
        return -ENOMEM;
    src->fn.defer = fn;
    list_append(&loop->deferred, &src->queue);
    return hand_out(src, ret_src);
}

static int dispatch_io(struct loop_source *src, uint32_t events)
{
    /* Another callback of this batch may have asked for less since the event was fetched. */
    events &= src->events | EPOLLERR | EPOLLHUP;
    if (!events)
        return 0;
    src->fn.io(src, src->fd, events, src->data);
    return 1;
}

static int dispatch_signal(struct loop_source *src)
{
    struct signalfd_siginfo info;
    ssize_t n = read(src->fd, &info, sizeof(info)); /* one a turn; the fd stays readable for the next */

    if (n != (ssize_t)sizeof(info))
        return 0;
    src->fn.signal(src, &info, src->data);
    return 1;
}

static int dispatch_pidfd(struct loop_source *src)
{
    int code = 0, status = 0;
    siginfo_t si;

    memset(&si, 0, sizeof(si));
    if (waitid(P_PIDFD, (id_t)src->fd, &si, WEXITED | WNOHANG) == 0) {
        if (si.si_pid == 0) /* a tracer has first say over a child of ours; once it let go we see the end */
            return 0;
        code = si.si_code;
        status = si.si_status;
    } else if (errno != ECHILD) {
        log_debug("loop: %s: waitid: %s", src->name, strerrordesc_np(errno));
    }
    loop_unwatch(src); /* it stays readable for good */
    src->fn.pidfd(src, code, status, src->data);
    return 1;
}

int loop_source_dispatch(struct loop_source *src, uint32_t events)
{
    switch (src->kind) {
    case SOURCE_IO:
        return dispatch_io(src, events);
    case SOURCE_SIGNAL:
        return dispatch_signal(src);
    case SOURCE_PIDFD:
        return dispatch_pidfd(src);
    case SOURCE_TIMER:
    case SOURCE_DEFER:
    default:
        return 0; /* not epoll's */
    }
}
