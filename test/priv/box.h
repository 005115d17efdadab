/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container for tests: a process that is pid 1 of its own pid namespace, in its own mount namespace, on an
 * overlay root it pivoted to, as a runtime would make it. It waits for calls: box_call runs a function of
 * the test program inside, with a text, and hands back what it returned.
 *
 * Everything of a box lies in BOX_BASE/NAME/{lower,upper,work,root}; BOX_BASE is a tmpfs of the scene.
 */
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"

#define BOX_BASE "/mnt"

/* Ends the scene: nothing after it would mean anything. */
#define must(cond)                                                                          \
    do {                                                                                    \
        if (!(cond)) {                                                                      \
            printf("not ok - %s:%d: %s: %s\n", __FILE__, __LINE__, #cond, strerror(errno)); \
            fflush(stdout);                                                                 \
            _exit(1);                                                                       \
        }                                                                                   \
    } while (0)

typedef int (*box_fn)(const char *text);

struct box_call {
    box_fn fn;
    char text[512];
};

struct box_spec {
    const char *name;
    /* Adds to the image, in the scene's namespace; `root` is the lower directory. */
    void (*image)(const char *root);
    /* Adds mounts, in the box's namespace before it pivots; `root` is its root to be. */
    void (*mounts)(const char *root);
    bool user_ns; /* in a user namespace of its own */
    bool moved_root; /* its root is moved over "/", which is shared, instead of pivoted to */
};

struct box {
    pid_t pid;
    int sock;
};

/* A path built from its parts, in one of a few rotating buffers. */
_printf_(1, 2) _unused_ static const char *at(const char *fmt, ...)
{
    static char buffers[8][1024];
    static unsigned next;
    char *b = buffers[next++ % ARRAY_SIZE(buffers)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(b, sizeof(buffers[0]), fmt, ap);
    va_end(ap);
    return b;
}

_unused_ static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    must(fd >= 0);
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

_unused_ static void put_dir(const char *path)
{
    must(mkdir(path, 0755) == 0 || errno == EEXIST);
}

/* Directories in one another, and a file in the last. Descends by fds: no path of it fits anywhere. */
_unused_ static void put_chain(const char *top, int depth)
{
    int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    must(dir >= 0);
    for (int i = 0; i < depth; i++) {
        int next;

        must(mkdirat(dir, "a-rather-long-name-of-a-directory", 0700) == 0);
        next = openat(dir, "a-rather-long-name-of-a-directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(next >= 0);
        close(dir);
        dir = next;
    }
    must(close(openat(dir, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) == 0);
    close(dir);
}

_unused_ static void put_tmpfs(const char *path, const char *marker)
{
    must(mount("box", path, "tmpfs", 0, "size=1m") == 0);
    put_file(at("%s/%s", path, marker), marker);
}

/* What every image has. */
static void box_image(const char *root)
{
    static const char *const dirs[] = {
            "proc", "dev", "sys", "etc", "tmp", "run", "var", "bin", "data", ".stoppablecontainer"};

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        put_dir(at("%s/%s", root, dirs[i]));
    put_file(at("%s/etc/hosts", root), "of the image");
    must(symlink("/run", at("%s/var/run", root)) == 0 || errno == EEXIST);
}

/* What a runtime mounts in every container, and the pod's volume. */
static void box_mounts(const char *root)
{
    must(mount("proc", at("%s/proc", root), "proc", 0, NULL) == 0);
    put_tmpfs(at("%s/dev", root), "dev-of-runtime");
    put_dir(at("%s/dev/shm", root));
    put_tmpfs(at("%s/dev/shm", root), "shm-of-runtime");
    put_tmpfs(at("%s/sys", root), "sys-of-runtime");
    put_tmpfs(at("%s/.stoppablecontainer", root), "agent.sock");
    put_dir(at("%s/.stoppablecontainer/chroot", root));
    put_dir(at("%s/.stoppablecontainer/old-root", root));
    must(mount(BOX_BASE "/hosts", at("%s/etc/hosts", root), NULL, MS_BIND, NULL) == 0);
}

static void box_pivot(const char *root)
{
    int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    must(old >= 0 && chdir(root) == 0);
    must(syscall(SYS_pivot_root, ".", ".") == 0);
    must(fchdir(old) == 0);
    must(mount(NULL, ".", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(umount2(".", MNT_DETACH) == 0 && chdir("/") == 0);
    close(old);
}

static void box_move_root(const char *root)
{
    must(mount(NULL, "/", NULL, MS_SHARED, NULL) == 0);
    must(chdir(root) == 0 && mount(root, "/", NULL, MS_MOVE, NULL) == 0);
    must(chroot(".") == 0 && chdir("/") == 0);
}

_Noreturn static void box_serve(int sock)
{
    struct box_call call;
    ssize_t n;

    for (;;) {
        int r;

        n = recv(sock, &call, sizeof(call), 0);
        if (n != (ssize_t)sizeof(call))
            _exit(0);
        r = call.fn(call.text);
        if (send(sock, &r, sizeof(r), MSG_NOSIGNAL) != (ssize_t)sizeof(r))
            _exit(0);
    }
}

/* Root there is root here: the namespace is what matters, not the ids. */
static void box_map_ids(void)
{
    put_file("/proc/self/setgroups", "deny");
    put_file("/proc/self/uid_map", "0 0 1");
    put_file("/proc/self/gid_map", "0 0 1");
}

_Noreturn static void box_main(const struct box_spec *spec, int sock, const char *base)
{
    const char *root = strdup(at("%s/root", base));
    int ready = 0;

    must(root && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    if (spec->user_ns)
        box_map_ids();
    must(mount("overlay", root, "overlay", 0,
                 at("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", base, base, base)) == 0);
    box_mounts(root);
    if (spec->mounts)
        spec->mounts(root);
    if (spec->moved_root)
        box_move_root(root);
    else
        box_pivot(root);
    must(send(sock, &ready, sizeof(ready), 0) == (ssize_t)sizeof(ready));
    box_serve(sock);
}

_unused_ static void box_start(struct box *b, const struct box_spec *spec)
{
    static const char *const parts[] = {"lower", "upper", "work", "root"};
    const char *base = strdup(at(BOX_BASE "/%s", spec->name));
    const char *lower;
    long flags = CLONE_NEWNS | CLONE_NEWPID | SIGCHLD | (spec->user_ns ? CLONE_NEWUSER : 0);
    int pair[2], ready;

    must(base);
    put_dir(base);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        put_dir(at("%s/%s", base, parts[i]));
    lower = strdup(at("%s/lower", base));
    must(lower);
    box_image(lower);
    if (spec->image)
        spec->image(lower);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    b->pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    must(b->pid >= 0);
    if (b->pid == 0) {
        close(pair[0]);
        box_main(spec, pair[1], base);
    }
    close(pair[1]);
    b->sock = pair[0];
    must(recv(b->sock, &ready, sizeof(ready), 0) == (ssize_t)sizeof(ready));
}

_unused_ static int box_call(const struct box *b, box_fn fn, const char *text)
{
    struct box_call call = {.fn = fn};
    int r;

    (void)snprintf(call.text, sizeof(call.text), "%s", text);
    must(send(b->sock, &call, sizeof(call), 0) == (ssize_t)sizeof(call));
    must(recv(b->sock, &r, sizeof(r), 0) == (ssize_t)sizeof(r));
    return r;
}

/* Its pid namespace dies with it, its mount namespace when the last process is gone. */
_unused_ static void box_end(struct box *b)
{
    if (b->pid <= 0)
        return;
    must(kill(b->pid, SIGKILL) == 0);
    must(waitpid(b->pid, NULL, 0) == b->pid);
    close(b->sock);
    b->pid = 0;
}

/* --- things to do in a box ------------------------------------------------------------------------------ */

/* 1 when the path is there (a link itself counts), 0 when not. */
_unused_ static int do_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

_unused_ static int do_is_dir(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

_unused_ static int do_mkdir(const char *path)
{
    return mkdir(path, 0755) < 0 ? -errno : 0;
}

_unused_ static int do_mkfifo(const char *path)
{
    return mkfifo(path, 0644) < 0 ? -errno : 0;
}

_unused_ static int do_write(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* Away with a file, an empty directory or a mount point's directory. */
_unused_ static int do_remove(const char *path)
{
    return remove(path) < 0 ? -errno : 0;
}

/* "target link" */
_unused_ static int do_symlink(const char *text)
{
    char copy[512], *space;

    (void)snprintf(copy, sizeof(copy), "%s", text);
    space = strchr(copy, ' ');
    if (!space)
        return -EINVAL;
    *space = '\0';
    return symlink(copy, space + 1) < 0 ? -errno : 0;
}

_unused_ static int do_umount(const char *path)
{
    return umount2(path, MNT_DETACH) < 0 ? -errno : 0;
}

/* Mounts in the box's own view. */
_unused_ static int do_count_mounts(const char *text _unused_)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    int n = 0, c;

    if (!f)
        return -errno;
    while ((c = fgetc(f)) != EOF)
        n += c == '\n';
    (void)fclose(f);
    return n;
}
