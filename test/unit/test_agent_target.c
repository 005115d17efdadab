/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/target: the directory of a volume, in a kubelet's directory of our own; and what must not be
 * followed or touched in it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/wire/mark.h"
#include "node-agent/target.h"

#define POD_UID "01234567-89ab-cdef-0123-456789abcdef"
/* As long as a volume's name may be: the socket's path is far beyond what a sockaddr_un holds. */
#define NAME "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PARENT "pods/" POD_UID "/volumes/kubernetes.io~csi/" NAME
#define PROGRAM "not a program, but whole"

static char base[] = "/tmp/sc-target-XXXXXX";
static char program[64];
static struct target_sources src;

/* Runs a script in the kubelet's directory; $D is the one above the target. */
static void shell(const char *script)
{
    char cmd[512];

    (void)snprintf(cmd, sizeof(cmd), "cd %s && D=" PARENT " && %s", base, script);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

static void begin(void)
{
    cr_assert_not_null(mkdtemp(base));
    shell("mkdir -p $D");
    shell("printf '" PROGRAM "' > program");
    (void)snprintf(program, sizeof(program), "%s/program", base);
    src.kubelet_fd = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    src.pause_path = src.execwrap_path = program;
    cr_assert_geq(src.kubelet_fd, 0);
}

static void end(void)
{
    shell("rm -rf ../$(basename $PWD)");
}

TestSuite(agent_target, .init = begin, .fini = end);

static struct volume *volume(enum volume_role role)
{
    struct volume *v = volume_new(0);

    cr_assert_not_null(v);
    v->role = role;
    cr_assert_eq(volume_dir(POD_UID, NAME, v->dir), 0);
    return v;
}

static int look(const char *name, struct stat *st)
{
    char path[512];

    (void)snprintf(path, sizeof(path), PARENT "/%s", name);
    return fstatat(src.kubelet_fd, path, st, AT_SYMLINK_NOFOLLOW);
}

/* Connects as the pod does, through the directory. */
static int dial(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int dir = openat(src.kubelet_fd, PARENT "/mount", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r;

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/agent.sock", dir);
    r = connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
    close(fd);
    close(dir);
    return r;
}

static void check_place(bool chroot, const char *place, const char *other)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_CONSUMER);
    _cleanup_close_ int fd = -EBADF, again = -EBADF;
    struct err err = ERR_INIT;
    struct stat st;

    v->chroot = chroot;
    (void)umask(077);
    cr_assert_eq(target_publish(&src, v, &fd, &err), 0, "%s", err_text(&err));
    cr_assert_eq(look(place, &st), 0);
    cr_assert(S_ISDIR(st.st_mode));
    cr_assert_eq(st.st_mode & 07777, 0555);
    cr_assert_lt(look(other, &st), 0);
    cr_assert(target_is_complete(&src, v));
    shell(chroot ? "rmdir $D/mount/chroot" : "rmdir $D/mount/old-root");
    cr_assert_not(target_is_complete(&src, v));
    cr_assert_eq(target_publish(&src, v, &again, &err), 0, "%s", err_text(&err));
    cr_assert(target_is_complete(&src, v));
    cr_assert_eq(target_remove(&src, v->dir, &err), 0, "%s", err_text(&err));
    cr_assert_eq(target_exists(&src, v->dir), 0);
}

Test(agent_target, made_and_removed)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_PROVIDER);
    _cleanup_close_ int fd = -EBADF;
    struct err err = ERR_INIT;
    struct stat st;

    (void)umask(077);
    cr_assert_eq(target_exists(&src, v->dir), 0);
    cr_assert_not(target_is_complete(&src, v));
    cr_assert_eq(target_publish(&src, v, &fd, &err), 0, "%s", err_text(&err));
    cr_assert(target_is_complete(&src, v));
    cr_assert_eq(target_exists(&src, v->dir), 1);
    cr_assert_eq(look("mount", &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0755, "every uid must pass");
    cr_assert_eq(look("mount/pause", &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0555);
    cr_assert_eq(st.st_size, strlen(PROGRAM));
    cr_assert_eq(look("mount/agent.sock", &st), 0);
    cr_assert_eq(st.st_mode & 0666, 0666, "every uid must be able to connect");
    cr_assert_lt(look("mount/execwrap", &st), 0);
    cr_assert_eq(dial(), 0);
    cr_assert_eq(target_remove(&src, v->dir, &err), 0, "%s", err_text(&err));
    cr_assert_lt(look("mount", &st), 0);
    cr_assert_eq(look("", &st), 0, "the parent is the kubelet's");
    cr_assert_eq(target_remove(&src, v->dir, &err), 0, "again");
}

/* A place for a mount of the container's own; whatever is mounted there is the container's affair. */
Test(agent_target, an_attach_has_a_place)
{
    check_place(true, "mount/chroot", "mount/old-root");
    check_place(false, "mount/old-root", "mount/chroot");
}

/* A second time: a new socket in the place of the old, and the program, which may be running, untouched. */
Test(agent_target, again)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_CONSUMER);
    _cleanup_close_ int first = -EBADF;
    _cleanup_close_ int second = -EBADF;
    struct stat before, after;

    cr_assert_eq(target_publish(&src, v, &first, NULL), 0);
    cr_assert_eq(look("mount/execwrap", &before), 0);
    first = close_fd(first);
    cr_assert_eq(dial(), -ECONNREFUSED);
    cr_assert_eq(target_publish(&src, v, &second, NULL), 0);
    cr_assert_eq(look("mount/execwrap", &after), 0);
    cr_assert_eq(before.st_ino, after.st_ino);
    cr_assert_eq(dial(), 0);
}

/* What a crash or a pod's owner with power over the node may leave there. */
Test(agent_target, what_is_missing_or_wrong_is_made_again)
{
    static const char *const wrongs[] = {
            "rm $D/mount/execwrap",
            "truncate -s 0 $D/mount/execwrap",
            "chmod 4777 $D/mount/execwrap",
            "rm -f $D/mount/execwrap && ln -s /etc/passwd $D/mount/execwrap",
            "rm $D/mount/agent.sock",
            "rm $D/mount/agent.sock && ln -s /run/containerd/containerd.sock $D/mount/agent.sock",
            "touch $D/mount/.execwrap.tmp",
            "rm -r $D/mount",
    };

    for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
        _cleanup_volume_ struct volume *v = volume(VOLUME_CONSUMER);
        _cleanup_close_ int first = -EBADF;
        _cleanup_close_ int second = -EBADF;
        struct stat st;

        cr_assert_eq(target_publish(&src, v, &first, NULL), 0);
        shell(wrongs[i]);
        cr_assert_eq(target_publish(&src, v, &second, NULL), 0, "%s", wrongs[i]);
        cr_assert(target_is_complete(&src, v), "%s", wrongs[i]);
        cr_assert_eq(look("mount/execwrap", &st), 0);
        cr_assert(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0555 && st.st_size == (off_t)strlen(PROGRAM),
                "%s", wrongs[i]);
        cr_assert_eq(target_remove(&src, v->dir, NULL), 0);
    }
    shell("test -s /etc/passwd");
}

Test(agent_target, links_on_the_way_are_not_followed)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_PROVIDER);
    struct err err = ERR_INIT;
    int fd = -EBADF;

    shell("mkdir elsewhere && ln -s ../../../../../elsewhere $D/mount");
    cr_assert_lt(target_publish(&src, v, &fd, &err), 0);
    cr_assert_lt(target_exists(&src, v->dir), 0);
    cr_assert_lt(target_remove(&src, v->dir, &err), 0);
    shell("test -z \"$(ls -A elsewhere)\"");
    shell("rm $D/mount");
    shell("mv pods real && ln -s real pods");
    cr_assert_lt(target_publish(&src, v, &fd, &err), 0);
    cr_assert_eq(fd, -EBADF);
}

/* Somebody else's file: nothing of it is removed, and the sentence says where. */
Test(agent_target, foreign_files_stay)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_PROVIDER);
    _cleanup_close_ int fd = -EBADF;
    struct err err = ERR_INIT;
    struct stat st;

    cr_assert_eq(target_publish(&src, v, &fd, NULL), 0);
    shell("mkdir $D/mount/precious && touch $D/mount/precious/data");
    cr_assert_eq(target_remove(&src, v->dir, &err), -ENOTEMPTY);
    cr_assert_not_null(strstr(err_text(&err), v->dir));
    cr_assert_eq(look("mount/precious/data", &st), 0);
}

/* What the kubelet makes of a pod's subPaths, as deep and as long as a pod may write them; also in the place
 * of a file that is ours for a moment. */
Test(agent_target, directories_of_subpaths_go)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_PROVIDER);
    _cleanup_close_ int fd = -EBADF;
    struct err err = ERR_INIT;
    struct stat st;
    int dir, r, calls = 0;

    cr_assert_eq(target_publish(&src, v, &fd, NULL), 0);
    shell("mkdir -p $D/mount/a/b/c $D/mount/a/d $D/mount/.agent.sock.tmp/x $D/mount/.flat.0/.flat.1");
    dir = openat(src.kubelet_fd, PARENT "/mount", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 4000; i++) {
        int below;

        cr_assert_eq(mkdirat(dir, "a", 0750) == 0 || errno == EEXIST, true);
        below = openat(dir, "a", O_PATH | O_DIRECTORY | O_CLOEXEC);
        cr_assert_geq(below, 0);
        close(dir);
        dir = below;
    }
    close(dir);
    do
        r = target_remove(&src, v->dir, &err);
    while (r > 0 && ++calls < 100);
    cr_assert_eq(r, 0, "%s", err_text(&err));
    cr_assert_gt(calls, 1, "so many directories are not taken away in one go");
    cr_assert_lt(look("mount", &st), 0);
}

/* One directory with more in it than a call takes away. */
Test(agent_target, wide_directories_of_subpaths_go)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_PROVIDER);
    _cleanup_close_ int fd = -EBADF;
    struct err err = ERR_INIT;
    struct stat st;
    int r, calls = 0;

    cr_assert_eq(target_publish(&src, v, &fd, NULL), 0);
    shell("mkdir -p $D/mount/a && cd $D/mount/a && seq 6000 | xargs mkdir");
    do
        r = target_remove(&src, v->dir, &err);
    while (r > 0 && ++calls < 100);
    cr_assert_eq(r, 0, "%s", err_text(&err));
    cr_assert_gt(calls, 1);
    cr_assert_lt(look("mount", &st), 0);
}

static int marks(void)
{
    struct stat st;

    return look("mount/roots", &st) < 0 ? -1 : (int)st.st_nlink - 2;
}

static int open_root(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    return fd;
}

/* The name is that by which a process finds the root that it is in. */
Test(agent_target, roots_are_marked_until_they_are_not)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_CONSUMER);
    _cleanup_close_ int fd = -EBADF, root = open_root("/"), other = open_root("/proc");
    char name[WIRE_MARK_MAX], path[WIRE_MARK_MAX + 16];
    struct err err = ERR_INIT;
    struct stat st;

    cr_assert_eq(target_publish(&src, v, &fd, NULL), 0);
    cr_assert_eq(target_unmark(&src, v->dir, &err), 0, "without any");
    for (int again = 0; again < 2; again++)
        cr_assert_eq(target_mark_root(&src, v->dir, root, &err), 0, "%s", err_text(&err));
    cr_assert_eq(target_mark_root(&src, v->dir, other, &err), 0, "%s", err_text(&err));
    cr_assert_eq(marks(), 2);
    cr_assert_eq(stat("/", &st), 0);
    cr_assert_eq(wire_mark_name(st.st_dev, st.st_ino, name), 0);
    (void)snprintf(path, sizeof(path), "mount/roots/%s", name);
    cr_assert_eq(look(path, &st), 0);
    cr_assert_eq(st.st_mode, S_IFDIR | WIRE_MARK_MODE);
    cr_assert_eq(target_unmark(&src, v->dir, &err), 0, "%s", err_text(&err));
    cr_assert_eq(marks(), 0);
    cr_assert_eq(target_mark_root(&src, v->dir, root, &err), 0);
    cr_assert_eq(target_remove(&src, v->dir, &err), 0, "%s", err_text(&err));
    cr_assert_lt(look("mount", &st), 0);
    cr_assert_eq(target_unmark(&src, v->dir, &err), 0, "without a directory");
    cr_assert_lt(target_mark_root(&src, v->dir, root, &err), 0);
}

/* And directories of a subPath that has the place, which are not ours to judge. */
Test(agent_target, marks_of_an_earlier_boot_go)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_CONSUMER);
    _cleanup_close_ int fd = -EBADF, root = open_root("/");
    struct err err = ERR_INIT;
    struct stat st;

    cr_assert_eq(target_publish(&src, v, &fd, NULL), 0);
    shell("mkdir -p $D/mount/roots/01234567-89ab-cdef-0123-456789abcdef.1.2 $D/mount/roots/a/b");
    cr_assert_eq(target_mark_root(&src, v->dir, root, &err), 0, "%s", err_text(&err));
    cr_assert_eq(marks(), 2);
    cr_assert_eq(look("mount/roots/a/b", &st), 0);
    cr_assert_eq(look("mount/roots", &st), 0);
    cr_assert_eq(st.st_mode, S_IFDIR | 0555);
}

/* An agent that ended between writing a loss down and the rest of it. */
Test(agent_target, a_lost_volume_has_no_marks)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_CONSUMER);
    _cleanup_close_ int fd = -EBADF, again = -EBADF, root = open_root("/");

    cr_assert_eq(target_publish(&src, v, &fd, NULL), 0);
    cr_assert_eq(target_mark_root(&src, v->dir, root, NULL), 0);
    (void)snprintf(v->lost, sizeof(v->lost), "gone");
    cr_assert_eq(target_publish(&src, v, &again, NULL), 0);
    cr_assert_eq(marks(), 0);
}

Test(agent_target, reclaim_is_an_empty_directory)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_RECLAIM);
    int fd = 7;

    cr_assert_eq(target_publish(&src, v, &fd, NULL), 0);
    cr_assert_eq(fd, -EBADF);
    cr_assert(target_is_complete(&src, v));
    shell("test -z \"$(ls -A $D/mount)\"");
    cr_assert_eq(target_remove(&src, v->dir, NULL), 0);
}

Test(agent_target, no_program_no_volume)
{
    _cleanup_volume_ struct volume *v = volume(VOLUME_PROVIDER);
    struct err err = ERR_INIT;
    int fd = -EBADF;

    src.pause_path = "/nonexistent/pause";
    cr_assert_eq(target_publish(&src, v, &fd, &err), -ENOENT);
    cr_assert_not_null(strstr(err_text(&err), "/nonexistent/pause"));
    cr_assert_eq(fd, -EBADF);
    cr_assert_eq(target_remove(&src, v->dir, NULL), 0);
}
