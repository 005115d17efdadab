/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of attach mode Chroot: images with busybox in them, and a command run in a container as a
 * runtime's exec runs it: namespaces joined by the first process, "/" the container's own root, then the
 * user, then execve.
 */
#pragma once

#include <limits.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "common/base/file.h"
#include "test/priv/pair.h"

#define BUSYBOX "/usr/bin/busybox"
#define CAPABLE SC_CHROOT_DIR "/" SC_EXECWRAP_FILE

static char execwrap_path[PATH_MAX];

static const struct attach_chroot for_user = {.execwrap = execwrap_path, .capability = true};
static const struct attach_chroot for_root = {.execwrap = execwrap_path, .capability = false};
static const struct wish by_user = {.chroot = &for_user};
static const struct wish by_root = {.chroot = &for_root};

/* A program for the boxes, in the scene's tmpfs. */
_unused_ static void put_program(const char *from, const char *to, mode_t mode)
{
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

    must(in >= 0 && out >= 0 && file_copy_fd(in, out, NULL) == 0 && fchmod(out, mode) == 0);
}

/* The preserved root's: a shell and some tools, so that a command shows where it runs. */
_unused_ static void image_with_tools(const char *root)
{
    static const char *const tools[] = {
            "sh", "cat", "id", "pwd", "ls", "echo", "env", "true", "grep", "sleep"};

    put_dir(at("%s/usr", root));
    put_dir(at("%s/usr/bin", root));
    put_dir(at("%s/work", root));
    put_program(BUSYBOX, at("%s/usr/bin/busybox", root), 0755);
    for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
        must(symlink("busybox", at("%s/usr/bin/%s", root, tools[i])) == 0);
    put_file(at("%s/usr/bin/data", root), "not executable");
    put_file(at("%s/where", root), "preserved");
}

/* The container's own root: another image content, read-only as the controller asks for. */
_unused_ static void image_of_consumer(const char *root)
{
    put_dir(at("%s/usr", root));
    put_dir(at("%s/usr/bin", root));
    put_dir(at("%s/work", root));
    put_program(BUSYBOX, at("%s/usr/bin/cat", root), 0755);
    put_program(BUSYBOX, at("%s/usr/bin/only-here", root), 0755);
    put_file(at("%s/where", root), "own");
}

_unused_ static void read_only_root(const char *root)
{
    must(mknod(at("%s/dev/null", root), S_IFCHR | 0666, makedev(1, 3)) == 0);
    must(chmod(at("%s/dev/null", root), 0666) == 0);
    must(mount(NULL, root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
}

struct run {
    const char *path; /* what is executed; NULL: argv[0] */
    uid_t uid;
    const char *cwd; /* NULL: "/work" */
    const char *const *env; /* NULL: PATH=/usr/bin:/bin */
    void (*before)(void); /* in the child, just before execve, with the user's privileges */
    void (*early)(void); /* in the child, as root, after the namespace was joined */
    int code; /* the result: exit code, or -N for signal N */
    char out[8192]; /* stdout and stderr */
};

/* Joins the namespaces; what goes on is a child in them, and this process ends as it does. */
static void join(pid_t box)
{
    int mnt = open(at("/proc/%d/ns/mnt", (int)box), O_RDONLY | O_CLOEXEC);
    int pid = open(at("/proc/%d/ns/pid", (int)box), O_RDONLY | O_CLOEXEC);
    int status = -1;
    pid_t child;

    must(mnt >= 0 && pid >= 0 && setns(pid, CLONE_NEWPID) == 0 && setns(mnt, CLONE_NEWNS) == 0);
    close(mnt);
    close(pid);
    child = fork();
    must(child >= 0);
    if (child == 0)
        return;
    must(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        (void)kill(getpid(), WTERMSIG(status));
    _exit(WEXITSTATUS(status));
}

static void join_as(pid_t pid, const struct run *r)
{
    join(pid);
    if (r->early)
        r->early();
    must(chdir(r->cwd ? r->cwd : "/work") == 0);
    if (r->uid) {
        must(syscall(SYS_setgroups, 0, NULL) == 0);
        must(setresgid(r->uid, r->uid, r->uid) == 0 && setresuid(r->uid, r->uid, r->uid) == 0);
        must(prctl(PR_SET_DUMPABLE, 1) == 0); /* as after an execve: its /proc/self is its own */
    }
}

/* All that is written until its end. */
static void read_all(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

_unused_ static int run_in(pid_t pid, struct run *r, const char *const *argv)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    int fd[2], status = -1;
    pid_t child;

    must(pipe2(fd, O_CLOEXEC) == 0);
    child = fork();
    must(child >= 0);
    if (child == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        must(dup2(fd[1], 1) == 1 && dup2(fd[1], 2) == 2);
        join_as(pid, r);
        if (r->before)
            r->before();
        (void)execve(r->path ? r->path : argv[0], (char **)(uintptr_t)argv,
                (char **)(uintptr_t)(r->env ? r->env : env));
        _exit(100 + (errno == EPERM));
    }
    close(fd[1]);
    read_all(fd[0], r->out, sizeof(r->out));
    close(fd[0]);
    must(waitpid(child, &status, 0) == child);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return r->code;
}

#define RUN(box, r, ...) run_in((box)->pid, (r), (const char *const[]){__VA_ARGS__, NULL})

/* A pair with those images, attached by wish. */
_unused_ static void start_chroot(
        struct agent *a, struct box *provider, struct box *consumer, const struct wish *wish)
{
    must(realpath("build/execwrap", execwrap_path) != NULL);
    box_start(provider, &(const struct box_spec){.name = "provider", .image = image_with_tools});
    must(agent_expose(a, provider->pid, "rootfs") == 0);
    box_start(consumer, &(const struct box_spec){
                                .name = "consumer", .image = image_of_consumer, .mounts = read_only_root});
    if (wish && agent_attach(a, consumer->pid, "rootfs", wish) != 0) {
        tap_ok(false, "attached: %s", a->text);
        _exit(1);
    }
}

_unused_ static int chroot_main(const struct scene *scenes, size_t n)
{
    if (access(BUSYBOX, X_OK) < 0 || access("build/execwrap", X_OK) < 0) {
        printf("not ok - " BUSYBOX " (busybox-static) and build/execwrap are needed\n");
        return 1;
    }
    return scenes_main(scenes, n);
}
