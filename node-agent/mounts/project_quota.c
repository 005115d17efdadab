/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See project_quota.h. The kernel's own headers are used: <sys/quota.h> knows no project quota in glibc 2.36.
 */
#include "node-agent/mounts/project_quota.h"

#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node-agent/mounts/safe_path.h"

/* Ids of ours have this bit: people give their projects small numbers. */
#define PROJECT_BASE ((uint32_t)1 << 30)
enum { PROJECT_TRIES = 64 };

/* what: unsigned, since QCMD shifts its highest bit out. */
static int quota(int dir, unsigned what, uint32_t project, void *block)
{
    _cleanup_close_ int fd = safe_open_to_read(dir);

    if (fd < 0)
        return fd;
    return syscall(SYS_quotactl_fd, fd, QCMD(what, PRJQUOTA), project, block) < 0 ? -errno : 0;
}

static int unsupported(int code, struct err *err)
{
    return err_set(err, code == -EPERM || code == -EIO ? code : EOPNOTSUPP,
            "a sizeLimit needs project quota on the file system of the node's state directory, which has "
            "none "
            "(ext4 made or tuned with -O project,quota and mounted with prjquota, or XFS mounted with "
            "prjquota; "
            "Linux 5.14 or newer with CONFIG_QFMT_V2 or CONFIG_XFS_QUOTA)");
}

/* Counted only, as ext4 does without the mount option, is not limited: nothing would be refused, ever. */
static int check_enforced(int dir)
{
    struct fs_quota_statv state = {.qs_version = FS_QSTATV_VERSION1};
    int r = quota(dir, Q_XGETQSTATV, 0, &state);

    if (r < 0)
        return r;
    return state.qs_flags & FS_QUOTA_PDQ_ENFD ? 0 : -ESRCH;
}

/* Nobody's: without usage. A root's own two directories count as two, and its work directory is out of its
 * workload's reach. A limit alone is what a root left that is gone, and file systems give inodes out again, so
 * the number too. */
static int is_free(int dir, uint32_t project)
{
    struct if_dqblk block = {.dqb_valid = 0};
    int r = quota(dir, Q_GETQUOTA, project, &block);

    if (r == -ENOENT) /* XFS knows only projects that were used */
        return 1;
    if (r < 0)
        return r;
    return block.dqb_curspace == 0 && block.dqb_curinodes == 0;
}

static int set_project(int dir, uint32_t project)
{
    _cleanup_close_ int fd = safe_open_to_read(dir);
    struct fsxattr attr;

    if (fd < 0)
        return fd;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0)
        return -errno;
    attr.fsx_projid = project;
    attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    return ioctl(fd, FS_IOC_FSSETXATTR, &attr) < 0 ? -errno : 0;
}

int project_quota_assign(int upper, int work, uint32_t *ret_project, struct err *err)
{
    struct stat st;
    uint32_t first;
    int r = check_enforced(upper);

    if (r < 0)
        return unsupported(r, err);
    if (fstat(upper, &st) < 0)
        return err_set(err, errno, "cannot look at the root's upper directory");
    /* Its inode is nobody else's on this file system; where it does not fit into the bits, the search goes
     * on. */
    first = (uint32_t)st.st_ino % PROJECT_BASE;
    for (uint32_t i = 0; i < PROJECT_TRIES && r == 0; i++) {
        *ret_project = PROJECT_BASE | ((first + i) % PROJECT_BASE);
        r = is_free(upper, *ret_project);
    }
    if (r == 0)
        return err_say(err, EUSERS, "no project id is free on the file system of the state directory");
    if (r > 0)
        r = set_project(upper, *ret_project);
    if (r == 0)
        r = set_project(work, *ret_project);
    return r < 0 ? unsupported(r, err) : 0;
}

int project_quota_limit(int dir, uint32_t project, uint64_t bytes, struct err *err)
{
    struct if_dqblk block = {
            .dqb_bhardlimit = (bytes + QIF_DQBLKSIZE - 1) / QIF_DQBLKSIZE,
            .dqb_valid = QIF_BLIMITS,
    };
    int r = bytes > 0 ? check_enforced(dir) : 0;

    if (r == 0)
        r = quota(dir, Q_SETQUOTA, project, &block);
    if (bytes == 0 && (r == -ESRCH || r == -ENOSYS))
        return 0; /* nothing is limited there, as asked */
    return r < 0 ? unsupported(r, err) : 0;
}
