/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See keptroot.h.
 */
#include "node-agent/keptroot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "node-agent/mounts/mount_api.h"
#include "node-agent/mounts/project_quota.h"
#include "node-agent/mounts/safe_path.h"

/* An xattr and a list of them are at most this long (XATTR_SIZE_MAX, XATTR_LIST_MAX). */
enum { XATTR_BYTES = 64 * 1024 };

int keptroot_look(int dir, struct keptroot *ret, struct err *err)
{
    struct keptroot k = {.has_record = false};
    struct err why = ERR_INIT;
    struct stat st;
    int r = record_read(dir, &k.record, &why);

    if (r < 0 && r != -ENOENT && r != -EBADMSG)
        return err_set(err, r, "cannot read " SC_RECORD_FILE);
    k.has_record = r != -ENOENT;
    if (r == -EBADMSG)
        (void)snprintf(k.damage, sizeof(k.damage), "%.*s", (int)sizeof(k.damage) - 1, err_text(&why));
    if (fstatat(dir, SC_UPPER_DIR, &st, AT_SYMLINK_NOFOLLOW) == 0)
        k.has_upper = S_ISDIR(st.st_mode);
    else if (errno != ENOENT)
        return err_set(err, errno, "cannot look at the directory " SC_UPPER_DIR);
    *ret = k;
    return 0;
}

static struct decision refuse(const char *fmt, ...) _printf_(1, 2);

static struct decision refuse(const char *fmt, ...)
{
    struct decision d = {.verdict = VERDICT_NEVER};
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(d.text, sizeof(d.text), fmt, ap);
    va_end(ap);
    return d;
}

static struct decision image_changed(const struct record *rec, const char *container, const char *chain)
{
    return refuse(SC_REASON_IMAGE_CHANGED
            ": the root of container %s was made over the image with the layers %s, and the image is now one "
            "with the layers %s; bring the former image back, or start with a fresh root by a new resetToken",
            container, rec->chain, chain[0] ? chain : "that the runtime does not tell");
}

static struct decision decide_on_record(
        const struct keptroot *k, const struct volume *provider, const char *container, const char *chain)
{
    const struct record *rec = &k->record;

    if (strcmp(rec->ns, provider->instance_namespace) != 0)
        return refuse(SC_REASON_ROOT_UNUSABLE
                ": the root of container %s under this instance's uid belongs to another namespace",
                container);
    if (!k->has_upper)
        return refuse(SC_REASON_ROOT_MISSING
                ": the files of the root of container %s are gone from this node (its record is there)",
                container);
    if (strcmp(rec->chain, chain) != 0)
        return image_changed(rec, container, chain);
    if (strcmp(rec->options, MOUNT_OVERLAY_OPTIONS) != 0)
        return refuse(SC_REASON_ROOT_UNUSABLE
                ": the root of container %s was made with overlay options that this agent does not use (%s)",
                container, rec->options);
    if (provider->size_limit > 0 && rec->project == 0 && provider->use == USE_NONE)
        return refuse(SC_REASON_LIMIT_WATCHED
                ": the root of container %s was made without a quota, so its sizeLimit is only watched",
                container);
    return (struct decision){.verdict = VERDICT_DONE};
}

struct decision keptroot_decide(
        const struct keptroot *k, const struct volume *provider, const char *container, const char *chain)
{
    if (k->damage[0])
        return refuse(SC_REASON_ROOT_UNUSABLE ": the root of container %s is left alone, since its record "
                                              "cannot be read: %s",
                container, k->damage);
    if (!record_is_chain(chain))
        return refuse(SC_REASON_ROOT_UNUSABLE
                ": the runtime does not say what layers the image of container %s has",
                container);
    if (k->has_record)
        return decide_on_record(k, provider, container, chain);
    if (provider->kept)
        return refuse(SC_REASON_ROOT_MISSING ": there is no root of container %s on this node%s", container,
                k->has_upper ? " (files without a record are)" : "");
    /* With a root of this namespace beside them, neither could be reclaimed. */
    if (k->foreign)
        return refuse(SC_REASON_ROOT_UNUSABLE
                ": what is kept under this instance's uid belongs to another namespace, and there is no root "
                "for container %s in it",
                container);
    return (struct decision){.verdict = VERDICT_DO};
}

int keptroot_check_image(int dir, const char *container, const char *chain, struct err *err)
{
    struct record rec;
    int r = record_read(dir, &rec, err);

    if (r < 0)
        return err_wrap(err, r, "cannot tell what image the root of container %s was made over", container);
    return strcmp(rec.chain, chain) == 0
                   ? 0
                   : err_say(err, ENOTRECOVERABLE, "%s", image_changed(&rec, container, chain).text);
}

/* --- making ----------------------------------------------------------------------------------------------
 */

/* A file system that takes no upper directory would make the mount fail, or worse, lose attributes of what is
 * deleted; said here in words. */
static int check_file_system(int dir, struct err *err)
{
    _cleanup_close_ int fd = safe_open_to_read(dir);
    struct statfs fs;

    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return err_set(err, fd < 0 ? fd : errno, "cannot look at the file system of the state directory");
    if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
        return err_say(err, EOPNOTSUPP,
                "the node's state directory lies on an overlay, which cannot hold roots: mount a file system "
                "of the node's own (ext4, XFS) there");
    if (fsetxattr(fd, "trusted.stoppablecontainer", "y", 1, 0) < 0)
        return err_set(err, errno == EPERM ? EPERM : EOPNOTSUPP,
                "the file system of the node's state directory keeps no trusted extended attributes, which "
                "an overlay needs");
    (void)fremovexattr(fd, "trusted.stoppablecontainer");
    return 0;
}

/* overlayfs' own marks mean something else elsewhere, and a label is given by where a file is. */
static bool is_copied(const char *name)
{
    return strncmp(name, "trusted.overlay.", strlen("trusted.overlay.")) != 0 &&
           strcmp(name, "security.selinux") != 0;
}

static int copy_attributes(int from, int to, char *names, char *value)
{
    ssize_t len = flistxattr(from, names, XATTR_BYTES);

    if (len < 0)
        return errno == EOPNOTSUPP ? 0 : -errno;
    for (const char *name = names; name < names + len; name += strlen(name) + 1) {
        ssize_t n = is_copied(name) ? fgetxattr(from, name, value, XATTR_BYTES) : -1;

        if (n < 0 && is_copied(name) && errno != ENODATA)
            return -errno;
        if (n >= 0 && fsetxattr(to, name, value, (size_t)n, 0) < 0)
            return -errno;
    }
    return 0;
}

/* Owner before mode: chown(2) clears bits. */
static int make_alike(int fd, int like, struct err *err)
{
    _cleanup_free_ char *names = malloc(XATTR_BYTES), *value = malloc(XATTR_BYTES);
    struct stat st;
    int r = names && value ? 0 : -ENOMEM;

    if (r == 0 && (fstat(like, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0 ||
                          fchmod(fd, st.st_mode & 07777) < 0))
        r = -errno;
    if (r == 0)
        r = copy_attributes(like, fd, names, value);
    return r < 0 ? err_set(err, r, "cannot give the root the owner and attributes of the image's") : 0;
}

/* A fresh, empty directory, opened for reading. */
static int make_dir(int dir, const char *name, struct err *err)
{
    _cleanup_close_ int child = -EBADF;
    int fd;

    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_set(err, errno == ENOTEMPTY || errno == EEXIST ? EBADMSG : errno,
                "the directory %s is there without a record and is not empty; it is left for a person", name);
    if (mkdirat(dir, name, 0700) < 0)
        return err_set(err, errno, "cannot make the directory %s", name);
    child = safe_open_child(dir, name, O_DIRECTORY);
    fd = child < 0 ? child : safe_open_to_read(child);
    return fd < 0 ? err_set(err, fd, "cannot open the directory %s", name) : fd;
}

static int set_limit(int upper, int work, bool watched, struct record *record, struct err *err)
{
    int r;

    if (record->size_limit == 0)
        return 0;
    r = project_quota_assign(upper, work, &record->project, err);
    if (r == -EOPNOTSUPP) {
        record->project = 0;
        return watched ? 0 : -ENOSYS;
    }
    return r < 0 ? r : project_quota_limit(upper, record->project, record->size_limit, err);
}

int keptroot_make(int dir, int like, bool watched, struct record *record, struct err *err)
{
    _cleanup_close_ int upper = -EBADF, work = -EBADF;
    int r = check_file_system(dir, err);

    if (r < 0)
        return r;
    work = make_dir(dir, SC_WORK_DIR, err);
    upper = work < 0 ? work : make_dir(dir, SC_UPPER_DIR, err);
    if (upper < 0)
        return take_fd(&upper);
    r = make_alike(upper, like, err);
    if (r == 0)
        r = set_limit(upper, work, watched, record, err);
    if (r == 0 && (fsync(work) < 0 || fsync(upper) < 0))
        r = err_set(err, errno, "cannot write the root's directories to disk");
    (void)snprintf(record->options, sizeof(record->options), "%s", MOUNT_OVERLAY_OPTIONS);
    return r < 0 ? r : record_write(dir, record, err);
}

int keptroot_limit(int dir, struct record *record, uint64_t bytes, struct err *err)
{
    bool same = record->size_limit == bytes;
    int r;

    if (record->project == 0 || (same && bytes == 0))
        return 0;
    /* The same one too: the file system may have been mounted otherwise since. */
    r = project_quota_limit(dir, record->project, bytes, err);
    if (r < 0 || same)
        return r;
    record->size_limit = bytes;
    return record_write(dir, record, err);
}
