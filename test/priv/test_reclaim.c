/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The removal of roots of every making: nothing of it stays, nothing beside it goes.
 */
#include <dirent.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "node-agent/mounts/project_quota.h"
#include "node-agent/mounts/reclaim.h"
#include "test/priv/scene.h"

#define STATE BOX_BASE "/state"
#define TREE STATE "/uid.1"

enum { DEEP = 20000, WIDE = 20000, SLICED = 1000 };

static unsigned long renames;

/* In the place of libc's. */
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    renames++;
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

static usec_t in(usec_t time)
{
    return usec_add(clock_monotonic(), time);
}

static int reclaim(struct agent *a, struct err *err)
{
    *err = (struct err)ERR_INIT;
    return reclaim_tree(a->state, "uid.1", in(60 * USEC_PER_SEC), err);
}

static void gone(struct agent *a, const char *what)
{
    struct err err;
    int r = reclaim(a, &err);

    tap_ok(r == 0 && access(TREE, F_OK) < 0, "%s: gone (%s)", what, err_text(&err));
}

static void put_socket(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    close(fd);
}

static void play_kinds(struct agent *a)
{
    static const char *const names[] = {"1", "2", "7", "\n", "\\", "\xff\xfe", " ", "-rf", "...", "*"};

    put_dir(TREE);
    put_dir(BOX_BASE "/precious");
    put_file(BOX_BASE "/precious/file", "text");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) { /* numbers are what directories are renamed to */
        put_dir(at(TREE "/%s", names[i]));
        put_dir(at(TREE "/%s/1", names[i]));
        put_dir(at(TREE "/%s/1/2", names[i]));
        put_file(at(TREE "/%s/1/2/f", names[i]), "x");
        put_file(at(TREE "/%s/file", names[i]), "x");
    }
    must(symlink(BOX_BASE "/precious", TREE "/link") == 0);
    must(symlink(BOX_BASE "/precious", TREE "/1/link") == 0);
    must(symlink(TREE "/1", TREE "/1/loop") == 0);
    must(mkfifo(TREE "/1/fifo", 0600) == 0 && mkfifo(TREE "/fifo", 0600) == 0);
    must(mknod(TREE "/1/whiteout", S_IFCHR | 0600, makedev(0, 0)) == 0);
    must(mknod(TREE "/1/disk", S_IFBLK | 0600, makedev(7, 0)) == 0);
    put_socket(TREE "/1/socket");
    must(mkdir(TREE "/closed", 0) == 0 && mkdir(TREE "/closed/in", 0) == 0);
    gone(a, "files of every kind");
    tap_ok(access(BOX_BASE "/precious/file", F_OK) == 0, "what links led to is there");
    tap_ok(reclaim_tree(a->state, "uid.1", in(USEC_PER_SEC), NULL) == 0, "what is not there is gone");
}

static void play_deep(struct agent *a)
{
    put_dir(TREE);
    put_dir(TREE "/upper");
    put_chain(TREE "/upper", DEEP);
    gone(a, "20,000 directories, one in the other");
}

static void play_wide(struct agent *a)
{
    put_dir(TREE);
    for (int i = 0; i < WIDE; i++) {
        put_dir(at(TREE "/%d", i));
        put_dir(at(TREE "/%d/sub", i));
        put_file(at(TREE "/%d/sub/file", i), "");
    }
    gone(a, "20,000 directories side by side");
}

/* The time is over again and again: each try leaves less, and none anything half done. */
static void play_slices(struct agent *a)
{
    struct err err = ERR_INIT;
    int r, slices = 0;

    put_dir(TREE);
    for (int i = 0; i < 200; i++) {
        put_dir(at(TREE "/%d", i));
        put_chain(at(TREE "/%d", i), 20);
    }
    while ((r = reclaim_tree(a->state, "uid.1", clock_monotonic(), &err)) == -EAGAIN)
        slices++;
    tap_ok(r == 0 && slices > 100 && access(TREE, F_OK) < 0, "it ends, in %d slices (%s)", slices,
            err_text(&err));
}

/* Each directory that is not empty is moved once, however often the time is over. */
static void play_wide_slices(struct agent *a)
{
    struct err err = ERR_INIT;
    int r;

    put_dir(TREE);
    put_dir(TREE "/upper");
    for (int i = 0; i < SLICED; i++) {
        put_dir(at(TREE "/upper/%d", i));
        put_dir(at(TREE "/upper/%d/sub", i));
        put_file(at(TREE "/upper/%d/sub/file", i), "");
    }
    renames = 0;
    while ((r = reclaim_tree(a->state, "uid.1", clock_monotonic(), &err)) == -EAGAIN)
        ;
    tap_ok(r == 0 && access(TREE, F_OK) < 0 && renames <= 2 * SLICED + 1,
            "%d directories with one in each take %lu renames (%s)", SLICED, renames, err_text(&err));
}

static void play_mounts(struct agent *a)
{
    struct err err;
    int r;

    put_dir(TREE);
    put_dir(TREE "/upper");
    put_dir(TREE "/upper/in");
    put_dir(TREE "/upper/in/mnt");
    put_tmpfs(TREE "/upper/in/mnt", "precious");
    r = reclaim(a, &err);
    tap_ok(r == -EBUSY && strstr(err_text(&err), "mounted"), "a mount stops it, with a word: %s",
            err_text(&err));
    tap_ok(system("find " TREE " -name precious | grep -q .") == 0, "and nothing in it is touched");
    must(system("umount $(find " TREE " -name mnt)") == 0);
    gone(a, "without it");

    put_dir(TREE);
    put_file(TREE "/file", "x");
    must(mount(BOX_BASE "/hosts", TREE "/file", NULL, MS_BIND, NULL) == 0);
    r = reclaim(a, &err);
    tap_ok(r == -EBUSY && access(BOX_BASE "/hosts", F_OK) == 0, "so does one on a file: %s", err_text(&err));
    must(umount(TREE "/file") == 0);
    gone(a, "without that too");

    put_dir(TREE);
    put_dir(TREE "/mnt");
    put_tmpfs(TREE "/mnt", "precious");
    r = reclaim(a, &err);
    tap_ok(r == -EBUSY && access(TREE "/mnt/precious", F_OK) == 0, "one at the top is not entered: %s",
            err_text(&err));
    must(umount(TREE "/mnt") == 0);
    gone(a, "nor that");

    put_dir(TREE);
    put_tmpfs(TREE, "precious");
    r = reclaim(a, &err);
    tap_ok(r == -EBUSY && access(TREE "/precious", F_OK) == 0, "and one on the whole: %s", err_text(&err));
    must(umount(TREE) == 0);
    gone(a, "in the end");
}

/* Somebody who still has the root moves things about while it is removed. */
_Noreturn static void mix(void)
{
    for (unsigned i = 0;; i++) {
        (void)rename(at(TREE "/upper/%u", i % 7), at(TREE "/upper/%u/x", (i + 3) % 7));
        (void)rename(at(TREE "/upper/%u/x", i % 7), at(TREE "/upper/y%u", i % 5));
        (void)mkdir(at(TREE "/upper/%u", i % 7), 0700);
        if (symlink(BOX_BASE "/precious", at(TREE "/upper/%u/l", i % 7)) == 0)
            continue;
        if (getppid() == 1)
            _exit(0);
    }
}

static void play_mixer(struct agent *a)
{
    struct err err;
    pid_t pid;
    int r;

    put_dir(BOX_BASE "/precious");
    put_file(BOX_BASE "/precious/file", "text");
    for (int i = 0; i < 20; i++) {
        put_dir(TREE);
        put_dir(TREE "/upper");
        put_chain(TREE "/upper", 50);
        pid = fork();
        must(pid >= 0);
        if (pid == 0)
            mix();
        r = reclaim_tree(a->state, "uid.1", in(USEC_PER_SEC), &err);
        must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
        must(r == 0 || r == -EAGAIN || r == -EIO);
        must(reclaim(a, &err) == 0);
    }
    tap_ok(access(TREE, F_OK) < 0 && access(BOX_BASE "/precious/file", F_OK) == 0,
            "nothing stays, nothing else goes");
}

static void on_reclaimed(int code, const char *text, void *data)
{
    agent_keep(data, code, text);
}

/* The worker itself: what its list of calls leaves it is enough. */
static void play_worker(struct agent *a)
{
    const struct reclaim_request req = {.target = "uid.1", .dir = a->state, .name = "uid.1"};
    struct err err = ERR_INIT;

    put_dir(TREE);
    put_dir(TREE "/upper");
    put_chain(TREE "/upper", 100);
    a->answered = false;
    must(reclaim_start(a->workers, &req, on_reclaimed, a, &err) == 0);
    agent_wait(a);
    tap_ok(a->code == 0 && access(TREE, F_OK) < 0, "a worker does it (%s)", a->text);
}

/* --- on a disk --------------------------------------------------------------------------------------------- */

/* On a loop device, which goes with its last mount. False, with a skip said, without loop devices. */
static bool put_disk(const char *name, const char *size, const char *make)
{
    put_dir(BOX_BASE "/disk");
    must(system(at("truncate -s %s " BOX_BASE "/image && %s " BOX_BASE "/image", size, make)) == 0);
    if (system("mount -o loop " BOX_BASE "/image " BOX_BASE "/disk 2>/dev/null") == 0)
        return true;
    tap_skip(name, "no loop device");
    return false;
}

static void protect(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), now;

    must(fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &now) == 0);
    now |= flags;
    must(ioctl(fd, FS_IOC_SETFLAGS, &now) == 0);
    close(fd);
}

static void play_protected(struct agent *a _unused_)
{
    static const char top[] = BOX_BASE "/disk/uid.1";
    struct err err = ERR_INIT;
    int dir, r;

    if (!put_disk("protected", "64M", "mkfs.ext4 -q -F"))
        return;
    put_dir(top);
    for (int i = 0; i < 6; i++) {
        put_dir(at("%s/%d", top, i));
        put_dir(at("%s/%d/sub", top, i));
        put_file(at("%s/%d/sub/file", top, i), "x");
        must(mkfifo(at("%s/%d/fifo", top, i), 0600) == 0);
    }
    protect(at("%s/0/sub/file", top), FS_IMMUTABLE_FL);
    protect(at("%s/1/sub", top), FS_IMMUTABLE_FL);
    protect(at("%s/2", top), FS_IMMUTABLE_FL);
    protect(at("%s/3/sub/file", top), FS_APPEND_FL);
    protect(at("%s/4/sub", top), FS_APPEND_FL);
    protect(at("%s/5/sub/file", top), FS_IMMUTABLE_FL | FS_APPEND_FL);
    protect(at("%s/5/sub", top), FS_IMMUTABLE_FL);
    protect(at("%s/5", top), FS_IMMUTABLE_FL);
    protect(top, FS_IMMUTABLE_FL);
    dir = open(BOX_BASE "/disk", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(dir >= 0);
    r = reclaim_tree(dir, "uid.1", in(20 * USEC_PER_SEC), &err);
    tap_ok(r == 0 && access(top, F_OK) < 0, "immutable and append-only things go (%s)", err_text(&err));
    close(dir);
    must(umount(BOX_BASE "/disk") == 0);
}

static void put_project(const char *path, uint32_t project)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct fsxattr attr;

    must(fd >= 0 && ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0);
    attr.fsx_projid = project;
    attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    must(ioctl(fd, FS_IOC_FSSETXATTR, &attr) == 0);
    close(fd);
}

/* XFS keeps the rule with or without quotas. */
static void play_projects(struct agent *a)
{
    static const char top[] = BOX_BASE "/disk/uid.1";
    struct reclaim_request req = {.target = "uid.1", .name = "uid.1"};
    struct err err = ERR_INIT;

    if (!put_disk("projects", "320M", "mkfs.xfs -q -f"))
        return;
    put_project(BOX_BASE "/disk", 5); /* the administrator's */
    put_dir(top);
    put_dir(at("%s/upper", top));
    put_project(at("%s/upper", top), 7); /* the root's */
    for (int i = 0; i < 6; i++) {
        put_dir(at("%s/upper/%d", top, i));
        put_dir(at("%s/upper/%d/sub", top, i));
        put_file(at("%s/upper/%d/sub/file", top, i), "x");
    }
    put_project(at("%s/upper/3/sub", top), 9); /* its owner's */
    put_project(at("%s/upper/4", top), 9);
    req.dir = open(BOX_BASE "/disk", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(req.dir >= 0 && renameat(req.dir, "uid.1/upper/5", req.dir, "5") < 0 && errno == EXDEV);
    a->answered = false;
    must(reclaim_start(a->workers, &req, on_reclaimed, a, &err) == 0);
    agent_wait(a);
    tap_ok(a->code == 0 && access(top, F_OK) < 0, "a root of other projects than what it lies in goes (%s)",
            a->text);
    close(req.dir);
    must(umount(BOX_BASE "/disk") == 0);
}

/* Where nothing would be refused, ever, the limit is refused. What it does where it can be had: vm/test_quota.c. */
static void play_no_quota(struct agent *a _unused_)
{
    struct err err = ERR_INIT;
    uint32_t project;
    int dir, r;

    put_dir(STATE "/u");
    dir = open(STATE "/u", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(dir >= 0);
    r = project_quota_assign(dir, dir, &project, &err);
    tap_ok(r == -EOPNOTSUPP && strstr(err_text(&err), "prjquota"), "a file system without: %s",
            err_text(&err));
    close(dir);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"kinds", play_kinds},
            {"deep", play_deep},
            {"wide", play_wide},
            {"slices", play_slices},
            {"wide-slices", play_wide_slices},
            {"mounts", play_mounts},
            {"mixer", play_mixer},
            {"worker", play_worker},
            {"protected", play_protected},
            {"projects", play_projects},
            {"no-quota", play_no_quota},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
