/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thin, and silent: each function is one system call with the flags that are right for us. glibc 2.36 has
 * wrappers for the mount API, but <sys/mount.h> and <linux/mount.h> cannot be included together there, so the
 * numbers are called directly.
 */
#include "node-agent/mounts/mount_api.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* umount2(2); <sys/mount.h> has them, see above. */
#define UMOUNT_DETACH 0x00000002
#define UMOUNT_NO_FOLLOW 0x00000008
/* mount(2)'s propagation flags, which mount_setattr takes as they are. */
#define SPREAD_PRIVATE ((uint64_t)1 << 18)
#define SPREAD_SHARED ((uint64_t)1 << 20)
#define OVERLAY "overlay"
#define OVERLAY_SOURCE "stoppablecontainer" /* in mountinfo */

enum { MOUNT_PATH_MAX = 320 };

static uint64_t flags_to_attr(unsigned flags)
{
    uint64_t attr = 0;

    if (flags & MOUNT_NOSUID)
        attr |= MOUNT_ATTR_NOSUID;
    if (flags & MOUNT_NODEV)
        attr |= MOUNT_ATTR_NODEV;
    if (flags & MOUNT_NOEXEC)
        attr |= MOUNT_ATTR_NOEXEC;
    if (flags & MOUNT_NOSYMFOLLOW)
        attr |= MOUNT_ATTR_NOSYMFOLLOW;
    if (flags & MOUNT_RDONLY)
        attr |= MOUNT_ATTR_RDONLY;
    return attr;
}

static int set_attr(int fd, unsigned at_flags, const struct mount_attr *attr)
{
    if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | at_flags, attr, sizeof(*attr)) < 0)
        return -errno;
    return 0;
}

int mount_change(int fd, const struct mount_change *change)
{
    struct mount_attr attr = {
            .attr_set = flags_to_attr(change->set), .attr_clr = flags_to_attr(change->clear)};

    if (change->spread == MOUNT_SPREAD_PRIVATE)
        attr.propagation = SPREAD_PRIVATE;
    else if (change->spread == MOUNT_SPREAD_SHARED)
        attr.propagation = SPREAD_SHARED;
    return set_attr(fd, change->recursive ? AT_RECURSIVE : 0, &attr);
}

int mount_clone(int fd, bool recursive)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    long tree = syscall(SYS_open_tree, fd, "", flags);

    return tree < 0 ? -errno : (int)tree;
}

int mount_clone_root(void)
{
    long tree = syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    return tree < 0 ? -errno : (int)tree;
}

/* A tmpfs with root's directory 0755. Numbers as text: fsconfig takes nothing else. */
static int new_tmpfs(const char *source, size_t bytes, size_t files, unsigned attr)
{
    _cleanup_close_ int fs = -EBADF;
    char bytes_text[24], files_text[24];
    long tree;

    (void)snprintf(bytes_text, sizeof(bytes_text), "%zu", bytes);
    (void)snprintf(files_text, sizeof(files_text), "%zu", files);
    fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
            syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nr_inodes", files_text, 0) < 0 ||
            syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", bytes_text, 0) < 0 ||
            syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
            syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    tree = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr);
    return tree < 0 ? -errno : (int)tree;
}

/* One directory and no content, ever. */
int mount_new_scaffold(void)
{
    return new_tmpfs("none", 4096, 2, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int mount_new_tmpfs(const char *source, size_t bytes, size_t files)
{
    return new_tmpfs(source, bytes, files, MOUNT_ATTR_NODEV);
}

/* --- overlays --------------------------------------------------------------------------------------------
 */

/* What the kernel has to say about a file system being made: lines "e text", "w text", "i text". */
static void read_log(int fs, struct buf *why)
{
    char line[256];
    ssize_t n;

    while ((n = read(fs, line, sizeof(line))) > 0) {
        const char *text = n > 2 && line[1] == ' ' ? line + 2 : line;

        if (why->len > 0)
            (void)buf_puts(why, "; ");
        (void)buf_append(why, text, (size_t)(line + n - text));
    }
}

static int set_text(int fs, const char *key, const char *value)
{
    return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static int set_fd(int fs, const char *key, int fd)
{
    return syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, key, NULL, fd) < 0 ? -errno : 0;
}

/* "a=b,c=d" */
static int set_options(int fs, const char *options)
{
    char copy[sizeof(MOUNT_OVERLAY_OPTIONS)], *rest = copy, *option;
    int r = 0;

    (void)snprintf(copy, sizeof(copy), "%s", options);
    while (r == 0 && (option = strsep(&rest, ","))) {
        char *value = strchr(option, '=');

        if (!value)
            return -EINVAL;
        *value++ = '\0';
        r = set_text(fs, option, value);
    }
    return r;
}

static int overlay_by_fds(const struct mount_overlay *o, const char *options, struct buf *why)
{
    _cleanup_close_ int fs = (int)syscall(SYS_fsopen, OVERLAY, FSOPEN_CLOEXEC);
    int r = fs < 0 ? -errno : 0;
    long tree;

    if (r == 0)
        r = set_text(fs, "source", OVERLAY_SOURCE);
    for (size_t i = 0; r == 0 && i < o->n_layers; i++)
        r = set_fd(fs, "lowerdir+", o->layers[i]);
    if (r == 0)
        r = set_fd(fs, "upperdir", o->upper);
    if (r == 0)
        r = set_fd(fs, "workdir", o->work);
    if (r == 0)
        r = set_options(fs, options);
    if (r == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        r = -errno;
    if (r < 0 && fs >= 0 && why)
        read_log(fs, why);
    if (r < 0)
        return r;
    tree = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
    return tree < 0 ? -errno : (int)tree;
}

static void stage_path(const struct mount_stage *stage, char ret[MOUNT_PATH_MAX])
{
    (void)snprintf(ret, MOUNT_PATH_MAX, "/proc/self/fd/%d/%s", stage->dir, stage->name);
}

/* mount(2) takes one page of options: about 200 layers by fd. */
static int overlay_by_paths(
        const struct mount_overlay *o, const char *options, const struct mount_stage *stage)
{
    _cleanup_buf_ struct buf text = BUF_INIT(4095);
    char target[MOUNT_PATH_MAX];

    (void)buf_puts(&text, "lowerdir=");
    for (size_t i = 0; i < o->n_layers; i++)
        (void)buf_printf(&text, "%s/proc/self/fd/%d", i > 0 ? ":" : "", o->layers[i]);
    if (o->upper_path)
        (void)buf_printf(&text, ",upperdir=%s", o->upper_path);
    else
        (void)buf_printf(&text, ",upperdir=/proc/self/fd/%d", o->upper);
    (void)buf_printf(&text, ",workdir=/proc/self/fd/%d,%s", o->work, options);
    if (buf_error(&text))
        return buf_error(&text);
    stage_path(stage, target);
    return syscall(SYS_mount, OVERLAY_SOURCE, target, OVERLAY, 0UL, buf_str(&text)) < 0 ? -errno : 0;
}

int mount_new_overlay(const struct mount_overlay *o, const struct mount_stage *stage, struct buf *why)
{
    char path[MOUNT_PATH_MAX];
    long tree;
    int r;

    if (!stage)
        return overlay_by_fds(o, MOUNT_OVERLAY_OPTIONS, why);
    r = overlay_by_paths(o, MOUNT_OVERLAY_OPTIONS, stage);
    if (r < 0)
        return r;
    stage_path(stage, path);
    tree = syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return tree < 0 ? -errno : (int)tree;
}

/* Under index=on the kernel refuses an upper that is in use with EBUSY, and looks at that before it looks at
 * the work directory: which is the upper itself here, so an upper that is free is refused too (EINVAL), and
 * nothing is mounted or written in either case. */
int mount_overlay_in_use(int upper, const struct mount_stage *stage)
{
    const struct mount_overlay o = {.layers = &upper, .n_layers = 1, .upper = upper, .work = upper};
    int r = stage ? overlay_by_paths(&o, "index=on", stage) : overlay_by_fds(&o, "index=on", NULL);

    if (r >= 0) {
        if (!stage)
            (void)close_fd(r);
        return -EIO;
    }
    return r == -EBUSY ? 1 : r == -EINVAL ? 0 : r;
}

/* Whether an overlay takes a layer as an fd: nothing is created. */
static bool takes_layer_fds(int dir)
{
    _cleanup_close_ int fs = (int)syscall(SYS_fsopen, OVERLAY, FSOPEN_CLOEXEC);

    return fs >= 0 && set_fd(fs, "lowerdir+", dir) == 0;
}

int mount_move(int tree, int target)
{
    if (syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return -errno;
    return 0;
}

int mount_pivot(const char *put_old)
{
    return syscall(SYS_pivot_root, ".", put_old) < 0 ? -errno : 0;
}

int mount_detach_cwd(void)
{
    return syscall(SYS_umount2, ".", UMOUNT_DETACH) < 0 ? -errno : 0;
}

int mount_detach_at(int dirfd, const char *name)
{
    char path[320];
    int n;

    n = snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
    if (n < 0 || (size_t)n >= sizeof(path) || strchr(name, '/'))
        return -EINVAL;
    return syscall(SYS_umount2, path, UMOUNT_DETACH | UMOUNT_NO_FOLLOW) < 0 ? -errno : 0;
}

int mount_identify(int fd, uint64_t *ret_id, bool *ret_is_root)
{
    /* The empty mask: the mount's id and attribute are filled in by the VFS whatever is asked for, a file
     * system is then free to answer nothing, and FUSE answers so even to those it would refuse. */
    struct statx sx;

    memset(&sx, 0, sizeof(sx));
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) < 0)
        return -errno;
    if (!(sx.stx_mask & STATX_MNT_ID))
        return -ENOSYS;
    if (ret_id)
        *ret_id = sx.stx_mnt_id;
    if (ret_is_root)
        *ret_is_root = (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    return 0;
}

/* Every call that works on later than Linux 4.x and that some part of the agent cannot do without, asked with
 * arguments that are wrong in every kernel (no such fd, NULL), so that nothing is done: a kernel that has the
 * call answers anything but ENOSYS. A seccomp filter may hide each of them by itself. */
static int check_calls(struct err *err)
{
    static const struct {
        long number;
        const char *name;
    } calls[] = {
            {SYS_openat2, "openat2"},
            {SYS_open_tree, "open_tree"},
            {SYS_move_mount, "move_mount"},
            {SYS_mount_setattr, "mount_setattr"},
            {SYS_fsopen, "fsopen"},
            {SYS_fsconfig, "fsconfig"},
            {SYS_fsmount, "fsmount"},
            {SYS_pidfd_open, "pidfd_open"},
            {SYS_pidfd_send_signal, "pidfd_send_signal"},
            {SYS_close_range, "close_range"},
            {SYS_statx, "statx"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (syscall(calls[i].number, -1L, NULL, NULL, NULL, NULL) < 0 && errno == ENOSYS)
            return err_say(err, ENOSYS,
                    "this kernel has no %s, or a seccomp filter hides it: Linux 5.12 or newer is needed",
                    calls[i].name);
    return 0;
}

int mount_caps_probe(struct mount_caps *ret, struct err *err)
{
    _cleanup_close_ int lower = -EBADF, upper = -EBADF, top = -EBADF;
    struct mount_attr nosymfollow = {.attr_set = MOUNT_ATTR_NOSYMFOLLOW};
    struct mount_caps caps = {.nosymfollow = false};
    _cleanup_close_ int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r;

    r = check_calls(err);
    if (r < 0)
        return r;
    lower = mount_new_scaffold();
    upper = mount_new_scaffold();
    top = mount_new_scaffold();
    if (lower < 0 || upper < 0 || top < 0)
        return err_set(err, lower < 0 ? lower : upper < 0 ? upper : top, "cannot make a detached mount");
    caps.layer_fds = dir >= 0 && takes_layer_fds(dir);
    caps.nosymfollow = set_attr(top, 0, &nosymfollow) == 0;
    /* Two levels, as attach builds them. */
    caps.detached_assembly = mount_move(upper, lower) == 0 && mount_move(top, upper) == 0;
    *ret = caps;
    return 0;
}
