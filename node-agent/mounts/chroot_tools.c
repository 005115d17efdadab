/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See chroot_tools.h.
 */
#include "node-agent/mounts/chroot_tools.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/names.h"

/* execwrap, bin, root, the file system's own directory, and some air; a hard link counts as a file on tmpfs.
 */
#define FILES ((size_t)LIMIT_COMMANDS + 16)
#define AIR (64 * KIB)

/* The extended attribute of revision 2 (capabilities(7)): one that every user namespace below the machine's
 * takes for its own too, and there it is worth no more than that namespace. */
static int set_capability(int fd)
{
    struct vfs_cap_data data = {.magic_etc = htole32(VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE)};

    data.data[CAP_TO_INDEX(CAP_SYS_CHROOT)].permitted = htole32(CAP_TO_MASK(CAP_SYS_CHROOT));
    return fsetxattr(fd, "security.capability", &data, XATTR_CAPS_SZ_2, 0) < 0 ? -errno : 0;
}

static int put_execwrap(int tools, int from, bool capability, struct err *err)
{
    _cleanup_close_ int out = openat(tools, SC_EXECWRAP_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
    int r;

    if (out < 0)
        return err_set(err, errno, "cannot create " SC_EXECWRAP_FILE);
    r = file_copy_fd(from, out, err);
    if (r < 0)
        return r;
    if (fchmod(out, 0555) < 0)
        return err_set(err, errno, "cannot set the mode of " SC_EXECWRAP_FILE);
    r = capability ? set_capability(out) : 0; /* after the last write, which would take it away */
    if (r < 0)
        return err_set(err, r, "cannot give " SC_EXECWRAP_FILE " the file capability cap_sys_chroot");
    return 0;
}

int chroot_tools_make(const struct attach_chroot *how, int *ret, struct err *err)
{
    const struct mount_change no_capability = {.set = MOUNT_NOSUID};
    _cleanup_close_ int tools = -EBADF, from = -EBADF;
    struct stat st;
    int r;

    from = open(how->execwrap, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &st) < 0)
        return err_set(err, errno, "cannot open %s", how->execwrap);
    tools = mount_new_tmpfs(CHROOT_TOOLS_SOURCE, (size_t)st.st_size + AIR, FILES);
    if (tools < 0)
        return err_set(err, tools, "cannot make a tmpfs for the container's " SC_EXECWRAP_FILE);
    r = put_execwrap(tools, from, how->capability, err);
    if (r < 0)
        return err_wrap(err, r, "the container's tmpfs");
    if (mkdirat(tools, SC_CHROOT_COMMANDS, 0700) < 0 || fchmodat(tools, SC_CHROOT_COMMANDS, 0755, 0) < 0)
        return err_set(err, errno, "cannot make a directory in the container's tmpfs");
    r = how->capability ? 0 : mount_change(tools, &no_capability);
    if (r < 0)
        return err_set(err, r, "cannot protect the container's tmpfs");
    *ret = take_fd(&tools);
    return 0;
}
