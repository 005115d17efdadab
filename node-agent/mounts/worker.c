/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job, as seen from the agent:
 *
 *   worker_start   socketpair, fork, pidfd, a timer for the deadline
 *   child ends     its message is read, the callback made, everything freed
 *   deadline       SIGKILL; the callback is made with its message if one came, else with ETIMEDOUT; the
 *                  child stays listed
 *   + 1 s          it counts as stuck
 *   it ends, some time or never: reaped by its pidfd, freed
 *
 * The message is one SOCK_SEQPACKET record: a header, the sentence, the notes, and fds by SCM_RIGHTS. The
 * child runs our code, but among a tenant's files: what it says is checked like anybody's.
 */
#include "node-agent/mounts/worker.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "node-agent/mounts/mount_api.h"

#define REAP_AGAIN USEC_PER_SEC

struct workers {
    struct loop *loop;
    struct list all;
    /* Children that could not be watched: killed, and looked at once a second until they have ended. */
    pid_t unwatched[LIMIT_STUCK_WORKERS];
    size_t n_unwatched;
    struct loop_source *reaper;
};

struct worker {
    struct list node;
    struct workers *ws;
    char what[32];
    char pod[WORKER_NAME_MAX];
    char target[WORKER_NAME_MAX];
    pid_t pid;
    int pidfd;
    int sock;
    struct loop_source *exit_src;
    struct loop_source *timer;
    worker_done_fn done; /* NULL once answered */
    void *done_data;
    bool killed;
    bool stuck;
};

struct message_header {
    int32_t code;
    uint32_t text_len;
    uint32_t notes_len;
};

enum { MESSAGE_MAX = sizeof(struct message_header) + ERR_TEXT_MAX + 64 * 1024 };
_Static_assert(LIMIT_WORKER_NOTES <= 64 * 1024, "MESSAGE_MAX holds the notes");

/* --- in the child --------------------------------------------------------------------------------------- */

int worker_join(int nsfd, const struct machine *machine, int *ret_root, struct err *err)
{
    _cleanup_close_ int root = -EBADF;
    struct file_id id;
    struct stat st;

    if (setns(nsfd, CLONE_NEWNS) < 0)
        return err_set(err, errno, "cannot join the container's mount namespace");
    root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fstat(root, &st) < 0)
        return err_set(err, errno, "cannot look at the container's root");
    id = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
    if (machine_owns_root(machine, &id))
        return err_say(err, EPERM, "the container's root is the machine's own: refused");
    if (ret_root)
        *ret_root = take_fd(&root);
    return 0;
}

int worker_join_machine(int nsfd, bool apart, int *ret_root, struct err *err)
{
    const struct mount_change no_spread = {.spread = MOUNT_SPREAD_PRIVATE, .recursive = true};
    _cleanup_close_ int root = -EBADF;
    int r;

    if (setns(nsfd, CLONE_NEWNS) < 0 || (apart && unshare(CLONE_NEWNS) < 0))
        return err_set(err, errno, "cannot join the machine's mount namespace");
    root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_set(err, errno, "cannot look at the machine's root");
    r = apart ? mount_change(root, &no_spread) : 0;
    if (r < 0)
        return err_set(err, r, "cannot part the mounts from the machine's");
    *ret_root = take_fd(&root);
    return 0;
}

int worker_read_mounts(const struct worker_child *child, struct mountinfo **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_MOUNTINFO);
    int r = file_read_at(child->self_procfd, "mountinfo", &b, err);

    return r < 0 ? r : mountinfo_parse(buf_str(&b), b.len, ret, err);
}

void worker_note(struct worker_child *child, const char *text)
{
    size_t len = strlen(text) + 1;

    if (child->notes.len + len <= child->notes.max)
        (void)buf_append(&child->notes, text, len);
}

static void send_result(int sock, const struct worker_child *child, int code, const char *text)
{
    struct message_header header = {
            .code = code,
            .text_len = (uint32_t)strlen(text),
            .notes_len = (uint32_t)child->notes.len,
    };
    char control[CMSG_SPACE(sizeof(int) * WORKER_FDS_MAX)] = {0};
    struct iovec iov[] = {
            {.iov_base = &header, .iov_len = sizeof(header)},
            {.iov_base = (void *)(uintptr_t)text, .iov_len = header.text_len},
            {.iov_base = child->notes.data, .iov_len = child->notes.len},
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov)};
    ssize_t n;

    if (child->n_fds > 0) {
        struct cmsghdr *c;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * child->n_fds);
        c = CMSG_FIRSTHDR(&msg);
        if (!c)
            return;
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * child->n_fds);
        memcpy(CMSG_DATA(c), child->fds, sizeof(int) * child->n_fds);
    }
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
}

/* Never returns: nothing of the agent's may run in the child, not even its exit handlers. */
_Noreturn static void child_main(const struct worker_job *job, int sock, pid_t parent)
{
    struct worker_child child = {.self_procfd = -EBADF};
    const struct worker_bounds bounds = {.place = job->place, .parent = parent};
    int keep[WORKER_KEEP_MAX + 1];
    struct err err = ERR_INIT;
    size_t n = 0;
    int r;

    buf_init(&child.notes, LIMIT_WORKER_NOTES);
    for (size_t i = 0; i < job->n_keep; i++)
        if (job->keep[i] >= 0)
            keep[n++] = job->keep[i];
    keep[n++] = sock;
    r = worker_harden(keep, n, &bounds, &child.self_procfd, &err);
    if (r == 0)
        r = job->run(&child, job->run_data, &err);
    send_result(sock, &child, r, r < 0 ? err_text(&err) : "");
    _exit(0);
}

/* --- in the agent --------------------------------------------------------------------------------------- */

static void take_fds(struct msghdr *msg, struct worker_result *res)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (res->n_fds < WORKER_FDS_MAX)
                res->fds[res->n_fds++] = fd;
            else
                (void)close_fd(fd);
        }
    }
}

/* 0 when a whole message was there. text and notes point into data, which has one byte to spare. -ENODATA: there was none, or
 * none of ours; else why it could not be had. */
static int receive_result(int sock, char *data, struct worker_result *res)
{
    char control[CMSG_SPACE(sizeof(int) * WORKER_FDS_MAX)];
    struct iovec iov = {.iov_base = data, .iov_len = MESSAGE_MAX};
    struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct message_header header;
    size_t text_at = sizeof(header) + 1;
    ssize_t n;

    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == ECONNRESET ? -ENODATA : -errno;
    take_fds(&msg, res);
    if ((size_t)n < sizeof(header) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return -ENODATA;
    memcpy(&header, data, sizeof(header));
    if (header.text_len >= ERR_TEXT_MAX || header.notes_len > LIMIT_WORKER_NOTES ||
            (size_t)n != sizeof(header) + header.text_len + header.notes_len)
        return -ENODATA;
    if (header.notes_len > 0 && data[n - 1] != '\0')
        return -ENODATA;

    /* Room for a NUL between sentence and notes. */
    memmove(data + text_at + header.text_len, data + sizeof(header) + header.text_len, header.notes_len);
    data[sizeof(header) + header.text_len] = '\0';
    res->code = header.code;
    res->text = data + sizeof(header);
    res->notes = data + text_at + header.text_len;
    res->notes_len = header.notes_len;
    return 0;
}

/* What to say of a child that sent nothing. One that was killed (no memory) or could not send may do better the
 * next time; one that broke does not: it is ended by its own fault, or by what it is not allowed to call. */
static int say_death(int code, int status, char *text, size_t size)
{
    if (code == CLD_EXITED) {
        (void)snprintf(text, size, "the worker ended with status %d and no answer", status);
        return -EINTR;
    }
    (void)snprintf(text, size, "the worker was ended by signal %d", status);
    return status == SIGKILL ? -EINTR : -EIO;
}

/* Makes the callback, once. otherwise: what to say when the child has sent nothing. */
static void answer(struct worker *w, int otherwise, const char *otherwise_text)
{
    _cleanup_free_ char *data = NULL;
    struct worker_result res = {.code = 0, .text = "", .notes = ""};
    worker_done_fn done = w->done;
    int r;

    if (!done)
        return;
    w->done = NULL;
    data = malloc(MESSAGE_MAX + 1);
    r = data ? receive_result(w->sock, data, &res) : -ENOMEM;
    if (r == -ENODATA) {
        res.code = otherwise;
        res.text = otherwise_text;
    } else if (r < 0) {
        res.code = r; /* what it did is found by the next that is asked for the same */
        res.text = "the answer of a worker could not be received";
    }
    done(&res, w->done_data);
    for (size_t i = 0; i < res.n_fds; i++)
        (void)close_fd(res.fds[i]);
}

static void worker_free(struct worker *w)
{
    list_remove(&w->node);
    (void)loop_remove(w->exit_src);
    (void)loop_remove(w->timer);
    (void)close_fd(w->sock);
    (void)close_fd(w->pidfd);
    free(w);
}

static void kill_worker(struct worker *w)
{
    if (!w->killed)
        (void)syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
    w->killed = true;
}

static void reap_unwatched(struct workers *ws)
{
    for (size_t i = 0; i < ws->n_unwatched;)
        if (waitpid(ws->unwatched[i], NULL, WNOHANG) == 0)
            i++;
        else
            ws->unwatched[i] = ws->unwatched[--ws->n_unwatched];
    if (ws->n_unwatched > 0)
        (void)loop_timer_in(ws->reaper, REAP_AGAIN);
}

static void on_reaper(struct loop_source *src _unused_, usec_t now _unused_, void *data)
{
    reap_unwatched(data);
}

static void on_exit_of_child(struct loop_source *src _unused_, int code, int status, void *data)
{
    struct worker *w = data;
    char text[80];
    int otherwise = say_death(code, status, text, sizeof(text));

    answer(w, otherwise, text);
    worker_free(w);
}

static void on_timer(struct loop_source *src, usec_t now _unused_, void *data)
{
    struct worker *w = data;

    if (w->killed) {
        w->stuck = true;
        log_debug("worker %d for %s is stuck (%s)", (int)w->pid, w->target, w->what);
        return;
    }
    kill_worker(w);
    (void)loop_timer_in(src, WORKER_ABANDON);
    answer(w, -ETIMEDOUT,
            "the worker did not finish in time: a file system of the container does not answer, or the "
            "node is overloaded");
}

int workers_new(struct loop *loop, struct workers **ret, struct err *err)
{
    struct workers *ws = calloc(1, sizeof(*ws));
    int r;

    if (!ws)
        return err_set(err, ENOMEM, "cannot prepare for workers");
    ws->loop = loop;
    list_init(&ws->all);
    r = loop_add_timer(loop, "workers", on_reaper, ws, &ws->reaper);
    if (r < 0) {
        free(ws);
        return err_set(err, r, "cannot prepare for workers");
    }
    *ret = ws;
    return 0;
}

struct workers *workers_free(struct workers *ws)
{
    if (!ws)
        return NULL;
    list_for_each (it, &ws->all) {
        struct worker *w = list_entry(it, struct worker, node);

        kill_worker(w);
        answer(w, -ECANCELED, "the agent stops");
        worker_free(w);
    }
    (void)loop_remove(ws->reaper);
    free(ws);
    return NULL;
}

static int check_room(const struct workers *ws, const struct worker_job *job, struct err *err)
{
    size_t alive = 0, of_pod = 0, stuck = 0, stuck_of_pod = 0;

    list_for_each (it, &ws->all) {
        const struct worker *w = list_entry(it, struct worker, node);

        if (strcmp(w->target, job->target) == 0)
            return err_say(
                    err, EBUSY, "an earlier worker for this container has not ended yet (%s)", w->what);
        alive++;
        of_pod += !w->stuck && strcmp(w->pod, job->pod) == 0; /* those have a cap of their own */
        stuck += w->stuck;
        stuck_of_pod += w->stuck && strcmp(w->pod, job->pod) == 0;
    }
    if (stuck_of_pod >= LIMIT_STUCK_WORKERS_POD)
        return err_say(err, EBUSY, "%zu workers for this pod hang in its file systems: no more are started",
                stuck_of_pod);
    if (stuck >= LIMIT_STUCK_WORKERS)
        return err_say(err, EBUSY,
                "%zu workers hang in file systems of pods on this node: no more are started", stuck);
    if (of_pod >= LIMIT_WORKERS_POD)
        return err_say(err, EBUSY, "%zu workers run for this pod already", of_pod);
    if (alive >= LIMIT_WORKERS)
        return err_say(err, EBUSY, "%zu workers run on this node already", alive);
    return 0;
}

static int watch(struct worker *w, usec_t deadline, struct err *err)
{
    int r;

    r = loop_add_pidfd(w->ws->loop, "worker", w->pidfd, on_exit_of_child, w, &w->exit_src);
    if (r == 0)
        r = loop_add_timer(w->ws->loop, "worker deadline", on_timer, w, &w->timer);
    if (r == 0)
        r = loop_timer_in(w->timer, deadline);
    if (r < 0)
        return err_set(err, r, "cannot watch a worker");
    return 0;
}

static int spawn(struct worker *w, const struct worker_job *job, struct err *err)
{
    _cleanup_close_ int theirs = -EBADF;
    pid_t self = getpid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, errno, "cannot make a socket pair for a worker");
    w->sock = pair[0];
    theirs = pair[1];
    w->pid = fork();
    if (w->pid < 0)
        return err_set(err, errno, "cannot start a worker");
    if (w->pid == 0)
        child_main(job, theirs, self);
    theirs = close_fd(theirs);
    /* Ours and not reaped, so the number is still its. */
    w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
    if (w->pidfd < 0)
        return err_set(err, errno, "cannot open a worker's pidfd");
    return 0;
}

static struct worker *worker_new(struct workers *ws, const struct worker_job *job)
{
    struct worker *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->ws = ws;
    w->pidfd = -EBADF;
    w->sock = -EBADF;
    (void)snprintf(w->what, sizeof(w->what), "%s", job->what);
    (void)snprintf(w->pod, sizeof(w->pod), "%s", job->pod);
    (void)snprintf(w->target, sizeof(w->target), "%s", job->target);
    w->done = job->done;
    w->done_data = job->done_data;
    list_append(&ws->all, &w->node);
    return w;
}

/* Killed by its number, which is its own until it is reaped; waiting for its end could take for ever. */
static void kill_unwatched(struct workers *ws, pid_t pid)
{
    (void)kill(pid, SIGKILL);
    ws->unwatched[ws->n_unwatched++] = pid;
    (void)loop_timer_in(ws->reaper, 0);
}

int worker_start(struct workers *ws, const struct worker_job *job, struct err *err)
{
    struct worker *w;
    int r;

    if (job->n_keep > WORKER_KEEP_MAX || strlen(job->pod) >= WORKER_NAME_MAX ||
            strlen(job->target) >= WORKER_NAME_MAX)
        return err_say(err, EINVAL, "a worker's job is out of bounds");
    reap_unwatched(ws);
    if (ws->n_unwatched == ARRAY_SIZE(ws->unwatched))
        return err_say(err, EBUSY, "%zu workers of the node have not ended", ws->n_unwatched);
    r = check_room(ws, job, err);
    if (r < 0)
        return r;
    w = worker_new(ws, job);
    if (!w)
        return err_set(err, ENOMEM, "cannot start a worker");
    r = spawn(w, job, err);
    if (r == 0)
        r = watch(w, job->deadline ? job->deadline : WORKER_DEADLINE, err);
    if (r < 0) {
        if (w->pid > 0)
            kill_unwatched(ws, w->pid);
        worker_free(w);
        return r;
    }
    return 0;
}

size_t workers_stuck(const struct workers *ws)
{
    size_t n = 0;

    list_for_each (it, &ws->all)
        n += list_entry(it, struct worker, node)->stuck;
    return n;
}

size_t workers_alive(const struct workers *ws)
{
    size_t n = 0;

    list_for_each (it, &ws->all)
        n++;
    return n;
}
