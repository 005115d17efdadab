/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pidfd_open(2) first, /proc/PID second, then a look whether the pidfd's process is still alive: if it is,
 * its number was its own all the time, so the directory is its directory. Any other order leaves room for the
 * number to be used again in between.
 */
#include "node-agent/mounts/process.h"

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/num.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5, asm-generic; Debian 12's headers are of 6.1 */
#endif

/* Takes the pidfd over. */
static int pin_pidfd(pid_t pid, int pidfd_taken, struct process *ret, struct err *err)
{
    _cleanup_process_ struct process p = {.pid = pid, .pidfd = pidfd_taken, .procfd = -EBADF};
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    p.procfd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (p.procfd < 0)
        return err_set(err, errno == ENOENT ? ESRCH : errno, "cannot open %s", path);
    if (!process_alive(&p))
        return err_say(err, ESRCH, "process %d has ended", (int)pid);

    *ret = (struct process){.pid = pid, .pidfd = take_fd(&p.pidfd), .procfd = take_fd(&p.procfd)};
    return 0;
}

int process_pin(pid_t pid, struct process *ret, struct err *err)
{
    int pidfd;

    if (pid <= 0)
        return err_say(err, ESRCH, "%d is no process id", (int)pid);
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return err_set(err, errno, "cannot open a pidfd of process %d", (int)pid);
    return pin_pidfd(pid, pidfd, ret, err);
}

/* The number behind a pidfd, from the "Pid:" line of its fdinfo: -1 when the process has ended, 0 when it
 * has no number in the pid namespace of this /proc. */
static int pid_of_pidfd(int pidfd, pid_t *ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4 * KIB);
    const char *line, *end;
    uint64_t pid;
    char path[48];
    int r;

    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    r = file_read_at(AT_FDCWD, path, &b, err);
    if (r < 0)
        return r;
    line = strstr(buf_str(&b), "\nPid:\t");
    if (!line)
        return err_say(err, EBADMSG, "%s has no Pid line", path);
    line += strlen("\nPid:\t");
    end = strchrnul(line, '\n');
    if (num_parse_u64_n(line, (size_t)(end - line), 1, INT32_MAX, &pid) < 0)
        return err_say(err, ESRCH, "the peer has ended, or is outside the machine's pid namespace");
    *ret = (pid_t)pid;
    return 0;
}

int process_pin_peer(int sock, struct process *ret, struct err *err)
{
    struct ucred cred;
    socklen_t len;
    int pidfd = -EBADF, r;
    pid_t pid = 0;

    len = sizeof(pidfd);
    if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0) {
        r = pid_of_pidfd(pidfd, &pid, err);
        if (r < 0) {
            (void)close_fd(pidfd);
            return r;
        }
        return pin_pidfd(pid, pidfd, ret, err);
    }
    if (errno != ENOPROTOOPT)
        return err_set(err, errno, "cannot ask a connection for its peer");

    len = sizeof(cred);
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return err_set(err, errno, "cannot ask a connection for its peer");
    return process_pin(cred.pid, ret, err);
}

void process_unpin(struct process *p)
{
    p->pidfd = close_fd(p->pidfd);
    p->procfd = close_fd(p->procfd);
    p->pid = 0;
}

bool process_alive(const struct process *p)
{
    /* A signal 0 would still reach a zombie, which has no namespaces left; a pidfd reads as ready then. */
    struct pollfd poller = {.fd = p->pidfd, .events = POLLIN};
    int r;

    if (p->pidfd < 0)
        return false;
    do {
        r = poll(&poller, 1, 0);
    } while (r < 0 && errno == EINTR);
    return r == 0;
}

int process_read_file(const struct process *p, const char *name, struct buf *b, struct err *err)
{
    int r;

    r = file_read_at(p->procfd, name, b, err);
    if (r < 0)
        return err_wrap(err, r, "process %d", (int)p->pid);
    return 0;
}
