/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC server's socket (server.h): bind under a temporary name, listen, rename; accept and check the
 * peer; drain and free.
 *
 * bind(2) and chmod go through /proc/self/fd/DIRFD/NAME: sun_path has 108 bytes and directories of the
 * kubelet are longer. The socket's inode is remembered, so that an agent that ends late does not unlink the
 * socket of the one that replaced it.
 */
#include "common/rpc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/base/log.h"
#include "common/rpc/server_internal.h"

#define ACCEPT_RESUME USEC_PER_SEC

int rpc_server_new(struct loop *loop, const char *name, struct rpc_server **ret_server, struct err *err)
{
    struct rpc_server *s = calloc(1, sizeof(*s));

    if (!s)
        return err_set(err, ENOMEM, "cannot make the server %s", name);
    s->loop = loop;
    (void)snprintf(s->name, sizeof(s->name), "%s", name);
    s->fd = -EBADF;
    s->dirfd = -EBADF;
    list_init(&s->conns);
    *ret_server = s;
    return 0;
}

/* Removes the socket from the file system, if it is still the one that we made. */
static void unlink_socket(struct rpc_server *s)
{
    struct stat st;

    if (s->file && fstatat(s->dirfd, s->file, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == s->dev &&
            st.st_ino == s->ino)
        (void)unlinkat(s->dirfd, s->file, 0);
    free(take_ptr(s->file));
}

static void stop_listening(struct rpc_server *s)
{
    unlink_socket(s);
    s->src = loop_remove(s->src);
    s->resume = loop_remove(s->resume);
    s->fd = close_fd(s->fd);
    s->dirfd = close_fd(s->dirfd);
}

struct rpc_server *rpc_server_free(struct rpc_server *s)
{
    if (!s)
        return NULL;
    s->drained = NULL;
    stop_listening(s);
    while (!list_empty(&s->conns))
        rpc_conn_close(list_entry(s->conns.next, struct rpc_conn, node));
    s->drained_src = loop_remove(s->drained_src);
    free(s);
    return NULL;
}

int rpc_server_handle(struct rpc_server *s, const char *method, rpc_handler_fn fn, void *user)
{
    if (s->n_methods == ARRAY_SIZE(s->methods) || strlen(method) >= RPC_PATH_MAX)
        return -E2BIG;
    s->methods[s->n_methods++] = (struct rpc_method){.path = method, .fn = fn, .user = user};
    return 0;
}

/* The peer as the kernel noted it at connect(2) (unix(7), SO_PEERCRED). */
static bool peer_allowed(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && len == sizeof(cred) &&
           cred.uid == geteuid();
}

static void resume_accept(_unused_ struct loop_source *src, _unused_ usec_t now, void *data)
{
    struct rpc_server *s = data;

    (void)loop_io_set_events(s->src, EPOLLIN);
}

static void accept_one(_unused_ struct loop_source *src, int fd, _unused_ uint32_t events, void *data)
{
    struct rpc_server *s = data;
    _cleanup_close_ int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (peer < 0) {
        /* Without an fd or memory the connection stays in the backlog and epoll would report it for ever. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            (void)loop_io_set_events(s->src, 0);
            (void)loop_timer_in(s->resume, ACCEPT_RESUME);
        }
        return;
    }
    if (!peer_allowed(peer)) {
        log_debug("%s: a connection of another user was refused", s->name);
        return;
    }
    if (s->n_conns >= LIMIT_RPC_CONNECTIONS) {
        log_debug("%s: %d connections are open, one more was refused", s->name, LIMIT_RPC_CONNECTIONS);
        return;
    }
    if (rpc_conn_new(s, take_fd(&peer)) < 0)
        log_debug("%s: no memory for a connection", s->name);
}

/* Binds and listens under the temporary name, and notes the inode. */
static int bind_socket(int fd, int dirfd, const char *tmp, struct stat *ret_st, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dirfd, tmp);

    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return err_say(err, ENAMETOOLONG, "the name of the socket %s is too long", tmp);
    if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove the old socket %s", tmp);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return err_set(err, errno, "cannot bind the socket %s", tmp);
    if (chmod(addr.sun_path, 0600) < 0)
        return err_set(err, errno, "cannot set the mode of the socket %s", tmp);
    if (fstatat(dirfd, tmp, ret_st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(err, errno, "cannot look at the socket %s", tmp);
    if (listen(fd, SOMAXCONN) < 0)
        return err_set(err, errno, "cannot listen on the socket %s", tmp);
    return 0;
}

static int add_sources(struct rpc_server *s, int fd, struct err *err)
{
    int rc = loop_add_timer(s->loop, s->name, resume_accept, s, &s->resume);

    if (rc == 0)
        rc = loop_add_io(s->loop, s->name, fd, EPOLLIN, accept_one, s, &s->src);
    return rc < 0 ? err_set(err, rc, "cannot watch the socket of %s", s->name) : 0;
}

int rpc_server_listen(struct rpc_server *s, int dirfd, const char *name, struct err *err)
{
    char tmp[NAME_MAX + 1];
    _cleanup_close_ int fd = -EBADF;
    _cleanup_free_ char *file = strdup(name);
    struct stat st;
    int rc;

    if (!file)
        return err_set(err, ENOMEM, "cannot listen on %s", name);
    rc = snprintf(tmp, sizeof(tmp), ".%s.tmp", name);
    if (rc < 0 || (size_t)rc >= sizeof(tmp) || strchr(name, '/'))
        return err_say(err, EINVAL, "%s cannot be the name of a socket", name);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, errno, "cannot make a socket");
    s->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
    if (s->dirfd < 0)
        return err_set(err, errno, "cannot keep the directory of the socket %s", name);
    rc = bind_socket(fd, s->dirfd, tmp, &st, err);
    if (rc == 0)
        rc = add_sources(s, fd, err);
    if (rc == 0 && renameat(s->dirfd, tmp, s->dirfd, name) < 0)
        rc = err_set(err, errno, "cannot rename the socket %s to %s", tmp, name);
    if (rc < 0) {
        (void)unlinkat(s->dirfd, tmp, 0);
        stop_listening(s);
        return rc;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    s->file = take_ptr(file);
    s->fd = take_fd(&fd);
    return 0;
}

static void tell_drained(_unused_ struct loop_source *src, void *data)
{
    struct rpc_server *s = data;
    rpc_drained_fn fn = s->drained;

    s->drained_src = loop_remove(s->drained_src);
    s->drained = NULL;
    if (fn)
        fn(s, s->drained_user);
}

void rpc_server_conn_closed(struct rpc_server *s)
{
    if (!s->drained || s->n_conns > 0 || s->drained_src)
        return;
    if (loop_add_defer(s->loop, s->name, tell_drained, s, &s->drained_src) < 0)
        log_debug("%s: no memory to tell that it is drained", s->name);
}

void rpc_server_drain(struct rpc_server *s, rpc_drained_fn fn, void *user)
{
    s->drained = fn;
    s->drained_user = user;
    stop_listening(s);
    list_for_each (it, &s->conns)
        rpc_conn_drain(list_entry(it, struct rpc_conn, node));
    rpc_server_conn_closed(s);
}
