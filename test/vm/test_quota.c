/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cap on a root's size, on ext4 and XFS of the test's own, in a virtual machine whose kernel has project quota: what is
 * refused, to whom, and what is not. Each scene is played on both.
 */
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>

#include "node-agent/caps.h"
#include "node-agent/mounts/project_quota.h"
#include "node-agent/mounts/reclaim.h"
#include "test/priv/kept.h"

#define IMAGE BOX_BASE "/image"

enum { ROOTS_ONE_AFTER_ANOTHER = 200 };

static const struct disk {
    const char *name, *make, *limited, *counted;
} disks[] = {
        {"ext4", "mkfs.ext4 -q -F -O project,quota", "prjquota", "noquota"},
        {"xfs", "mkfs.xfs -q -f", "prjquota", "pqnoenforce"},
};

/* In the place of the scene's state directory. */
static void mount_disk(struct agent *a, const char *options)
{
    must(system(at("mount -o loop,%s " IMAGE " " STATE, options)) == 0);
    must(mount(NULL, STATE, NULL, MS_SHARED, NULL) == 0);
    a->state = open(STATE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(a->state >= 0);
}

static void unmount_disk(struct agent *a)
{
    a->state = close_fd(a->state);
    must(umount(STATE) == 0);
}

static void put_disk(struct agent *a, const struct disk *d, const char *options)
{
    a->state = close_fd(a->state);
    must(system(at("rm -f " IMAGE " && truncate -s 320M " IMAGE " && %s " IMAGE, d->make)) == 0);
    mount_disk(a, options);
}

static int open_new(const char *path)
{
    int fd;

    put_dir(path);
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(fd >= 0);
    return fd;
}

/* Bytes that can be written to the end of that file, at most `most`. */
static size_t fill(const char *path, size_t most)
{
    static char block[64 * 1024];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_t total = 0;
    ssize_t n = 0;

    if (fd < 0) {
        must(errno == EDQUOT || errno == ENOSPC);
        return 0;
    }
    while (total < most && (n = write(fd, block, sizeof(block))) > 0)
        total += (size_t)n;
    if (n >= 0 && fsync(fd) < 0)
        n = -1;
    must(n >= 0 || errno == EDQUOT || errno == ENOSPC);
    close(fd);
    return total;
}

static bool is_about(size_t got, size_t mib)
{
    return got > (mib - 1) * MIB && got <= mib * MIB;
}

/* Somebody's directory, in the project that a root of that directory would get. */
static void take_project(const char *path, int upper)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct fsxattr attr;
    struct stat st;

    must(fd >= 0 && fstat(upper, &st) == 0 && ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0);
    attr.fsx_projid = 1u << 30 | (uint32_t)st.st_ino;
    must(ioctl(fd, FS_IOC_FSSETXATTR, &attr) == 0);
    close(fd);
}

/* As the agent, who sets the limits, and whose credentials overlays write with: without CAP_SYS_RESOURCE. */
static void limits(struct agent *a, const struct disk *d)
{
    struct err err = ERR_INIT;
    uint32_t one, two, taken;
    int upper, work, upper2, work2, r;
    size_t got;

    put_disk(a, d, d->limited);
    upper = open_new(STATE "/u1"), work = open_new(STATE "/w1");
    upper2 = open_new(STATE "/u2"), work2 = open_new(STATE "/w2");
    r = project_quota_assign(upper, work, &one, &err);
    tap_ok(r == 0, "%s: a project is given (%s)", d->name, err_text(&err));
    r = project_quota_assign(upper2, work2, &two, &err);
    tap_ok(r == 0 && one != two, "%s: another one to another root (%s)", d->name, err_text(&err));
    put_dir(STATE "/taken");
    take_project(STATE "/taken", upper2);
    r = project_quota_assign(upper2, work2, &taken, &err);
    tap_ok(r == 0 && taken == two + 1, "%s: and the next where somebody has it (%s)", d->name,
            err_text(&err));
    two = taken;
    must(project_quota_limit(upper, one, 4 * MIB, &err) == 0);
    must(project_quota_limit(upper2, two, 8 * MIB, &err) == 0);
    put_dir(STATE "/u1/sub");
    got = fill(STATE "/u1/sub/fill", SIZE_MAX);
    tap_ok(is_about(got, 4), "%s: one is full at its limit: %zu", d->name, got);
    got = fill(STATE "/w1/fill", SIZE_MAX);
    tap_ok(got <= 64 * 1024, "%s: and so is its work directory: %zu", d->name, got);
    got = fill(STATE "/u2/fill", SIZE_MAX);
    tap_ok(is_about(got, 8), "%s: the other at its own: %zu", d->name, got);
    got = fill(STATE "/outside", 16 * MIB);
    tap_ok(got == 16 * MIB, "%s: beside them nothing is: %zu", d->name, got);
    must(project_quota_limit(upper, one, 0, &err) == 0);
    got = fill(STATE "/u1/fill", 16 * MIB);
    tap_ok(got == 16 * MIB, "%s: nor without a limit: %zu", d->name, got);
    close(upper), close(work), close(upper2), close(work2);
    unmount_disk(a);
}

static void play_limits(struct agent *a)
{
    struct err err = ERR_INIT;

    must(caps_drop(&err) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(disks); i++)
        limits(a, &disks[i]);
}

/* More roots come and go than numbers are tried: file systems give a removed directory's inode out again. */
static void again(struct agent *a, const struct disk *d)
{
    struct err err = ERR_INIT;
    uint32_t project = 0, last;
    int r = 0, i;
    size_t got = 0, repeated = 0;

    put_disk(a, d, d->limited);
    for (i = 0; r == 0 && i < ROOTS_ONE_AFTER_ANOTHER; i++) {
        int upper = open_new(STATE "/u"), work = open_new(STATE "/w");

        last = project;
        r = project_quota_assign(upper, work, &project, &err);
        repeated += project == last;
        if (r == 0)
            r = project_quota_limit(upper, project, 4 * MIB, &err);
        if (r == 0 && i + 1 == ROOTS_ONE_AFTER_ANOTHER)
            got = fill(STATE "/u/fill", SIZE_MAX);
        close(upper), close(work);
        must(system("rm -rf " STATE "/u " STATE "/w") == 0);
    }
    tap_ok(r == 0 && is_about(got, 4),
            "%s: %d roots, %zu with the number of the one before, the last full at %zu (%s)", d->name, i,
            repeated, got, err_text(&err));
    unmount_disk(a);
}

static void play_again(struct agent *a)
{
    struct err err = ERR_INIT;

    must(caps_drop(&err) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(disks); i++)
        again(a, &disks[i]);
}

/* Where nothing would be refused, ever, the limit is refused. */
static void unenforced(struct agent *a, const struct disk *d, const char *options, const char *what)
{
    struct err err = ERR_INIT;
    uint32_t project;
    int upper, work, r;

    put_disk(a, d, options);
    upper = open_new(STATE "/u"), work = open_new(STATE "/w");
    r = project_quota_assign(upper, work, &project, &err);
    tap_ok(r == -EOPNOTSUPP && strstr(err_text(&err), "prjquota"), "%s: one that %s: %s", d->name, what,
            err_text(&err));
    close(upper), close(work);
    unmount_disk(a);
}

static void play_unenforced(struct agent *a)
{
    for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
        unenforced(a, &disks[i], disks[i].counted, "only counts");
        unenforced(a, &disks[i], "usrquota", "has quotas of users");
    }
}

static const struct box_spec provider_spec = {.name = "provider"};

/* Through a root as the agent mounts it, by a process with every capability. */
static void root(struct agent *a, const struct disk *d)
{
    struct record record = {.project = 0};
    struct err err = ERR_INIT;
    struct box provider;
    struct statvfs vfs;
    struct kept n;
    size_t got;

    put_disk(a, d, d->limited);
    kept_start(&n, a, &provider, &provider_spec, 8 * MIB);
    must(kept_mount(&n, NULL) == 0 && record_read(n.dir, &record, &err) == 0);
    tap_ok(record.project > 0 && record.size_limit == 8 * MIB, "%s: the record says project and limit",
            d->name);
    must(statvfs(ROOT, &vfs) == 0);
    tap_ok(vfs.f_blocks * vfs.f_frsize == 8 * MIB, "%s: df says the limit: %llu", d->name,
            (unsigned long long)vfs.f_blocks * vfs.f_frsize);
    got = fill(ROOT "/fill", SIZE_MAX);
    tap_ok(is_about(got, 8), "%s: the root is full at its limit: %zu", d->name, got);
    got = fill(ROOT "/etc/hosts", SIZE_MAX);
    tap_ok(got <= 64 * 1024, "%s: so is a file of the image: %zu", d->name, got);
    must(keptroot_limit(n.dir, &record, 12 * MIB, &err) == 0);
    got += fill(ROOT "/more", SIZE_MAX);
    tap_ok(is_about(got, 4), "%s: raised while it is mounted, it is full there: %zu", d->name, got);
    must(unlink(ROOT "/fill") == 0 && rename(ROOT "/more", ROOT "/moved") == 0);
    got = fill(ROOT "/fill", SIZE_MAX);
    tap_ok(is_about(got, 8), "%s: what is removed can be written again: %zu", d->name, got);
    must(unlink(ROOT "/fill") == 0 && keptroot_limit(n.dir, &record, 0, &err) == 0);
    got = fill(ROOT "/fill", 20 * MIB);
    tap_ok(got == 20 * MIB, "%s: without a limit there is none: %zu", d->name, got);
    box_end(&provider);
    kept_end(&n);
    must(system("rm -rf " BOX_BASE "/provider") == 0);
    unmount_disk(a);
}

static void play_root(struct agent *a)
{
    for (size_t i = 0; i < ARRAY_SIZE(disks); i++)
        root(a, &disks[i]);
}

/* The machine starts again, and somebody has changed its /etc/fstab. */
static void remount(struct agent *a, const struct disk *d)
{
    struct record record;
    struct err err = ERR_INIT;
    struct box provider;
    struct kept n;
    size_t got;
    int r;

    put_disk(a, d, d->limited);
    kept_start(&n, a, &provider, &provider_spec, 8 * MIB);
    box_end(&provider); /* it has our open files */
    for (int i = 0; i < 2; i++) {
        n.dir = close_fd(n.dir);
        unmount_disk(a);
        mount_disk(a, i == 0 ? d->counted : d->limited);
        n.dir = open(STATE "/" PLACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
        must(n.dir >= 0 && record_read(n.dir, &record, &err) == 0);
        r = keptroot_limit(n.dir, &record, 8 * MIB, &err);
        if (i == 0)
            tap_ok(r == -EOPNOTSUPP && strstr(err_text(&err), "prjquota"),
                    "%s: a limit that is enforced no more is told: %s", d->name, err_text(&err));
    }
    tap_ok(r == 0 && kept_mount(&n, NULL) == 0, "%s: with it the root is mounted (%s)", d->name, a->text);
    got = fill(ROOT "/fill", SIZE_MAX);
    tap_ok(is_about(got, 8), "%s: and its limit is there: %zu", d->name, got);
    kept_end(&n);
    must(system("rm -rf " BOX_BASE "/provider") == 0);
    unmount_disk(a);
}

static void play_remount(struct agent *a)
{
    for (size_t i = 0; i < ARRAY_SIZE(disks); i++)
        remount(a, &disks[i]);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"limits", play_limits},
            {"again", play_again},
            {"unenforced", play_unenforced},
            {"root", play_root},
            {"remount", play_remount},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
