/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/mounts/project_quota: which number a root gets, on a file system that is played here: few kernels have
 * project quota (priv/test_reclaim.c: quota, where this one has).
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "node-agent/mounts/project_quota.h"

/* What the file system knows: of each project, as many as the test has. */
enum { PROJECTS_MAX = 512 };
static struct project {
    uint32_t id;
    uint64_t inodes, limit;
} projects[PROJECTS_MAX];

static struct project *project(uint32_t id)
{
    struct project *p = projects;

    while (p->id && p->id != id)
        p++;
    cr_assert_lt(p - projects, PROJECTS_MAX - 1);
    p->id = id;
    return p;
}

static long play_quota(unsigned what, uint32_t id, void *block)
{
    struct if_dqblk *b = block;

    if (what == QCMD((unsigned)Q_XGETQSTATV, PRJQUOTA)) {
        ((struct fs_quota_statv *)block)->qs_flags = FS_QUOTA_PDQ_ENFD;
    } else if (what == QCMD((unsigned)Q_GETQUOTA, PRJQUOTA)) {
        b->dqb_curinodes = project(id)->inodes;
        b->dqb_bhardlimit = project(id)->limit;
    } else {
        project(id)->limit = b->dqb_bhardlimit;
    }
    return 0;
}

/* In the place of libc's. */
long syscall(long number, ...)
{
    long (*real)(long, ...);
    long a[6];
    va_list ap;

    va_start(ap, number);
    for (size_t i = 0; i < ARRAY_SIZE(a); i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_quotactl_fd)
        return play_quota((unsigned)a[1], (uint32_t)a[2], (void *)a[3]);
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int ioctl(int fd, unsigned long request, ...)
{
    int (*real)(int, unsigned long, void *);
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (request == FS_IOC_FSGETXATTR) {
        memset(arg, 0, sizeof(struct fsxattr));
        return 0;
    }
    if (request == FS_IOC_FSSETXATTR) {
        project(((struct fsxattr *)arg)->fsx_projid)->inodes++;
        return 0;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, arg);
}

static int open_root(void)
{
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    return fd;
}

/* More roots come and go than numbers are tried: file systems give a removed directory's inode out again, and what
 * a root that is gone leaves is its limit. */
Test(project_quota, one_after_the_other)
{
    _cleanup_close_ int dir = open_root();

    for (int i = 0; i < 200; i++) {
        struct err err = ERR_INIT;
        uint32_t id = 0;

        cr_assert_eq(project_quota_assign(dir, dir, &id, &err), 0, "root %d: %s", i, err_text(&err));
        cr_assert_eq(project_quota_limit(dir, id, 4096, &err), 0, "%s", err_text(&err));
        cr_assert_eq(project(id)->limit, 4);
        project(id)->inodes = 0;
    }
}

/* Those that are there have a number each, and there is an end to the search. */
Test(project_quota, beside_each_other)
{
    _cleanup_close_ int dir = open_root();
    struct err err = ERR_INIT;
    uint32_t id = 0, last = 0;
    int r = 0, n;

    for (n = 0; n < 200; n++) {
        r = project_quota_assign(dir, dir, &id, &err);
        if (r < 0)
            break;
        cr_assert_neq(id, last);
        cr_assert_eq(project(id)->inodes, 2, "project %u is two roots'", id);
        last = id;
    }
    cr_expect_eq(r, -EUSERS, "%s", err_text(&err));
    cr_expect_gt(n, 10);
}
