/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, Chroot: the preserved root into the container's own, and what leads there.
 *
 *     /                          the container's own root, read-only: nothing of the user's runs on it
 *     |- /rootfs                 the preserved root
 *     |    |- /proc (copy)       and whatever else is carried, as in Pivot
 *     |    `- ...
 *     |- /.stoppablecontainer/chroot    the tools (chroot_tools.h), their execwrap
 *     |- /usr/bin                the tools' directory of links
 *     `- ...                     the same over the other directories of the PATH
 *
 *   c. places made in the container's own root, through a writable copy of its mount: /rootfs, and the PATH's
 *      directories that are missing. Links for the preserved root's commands (attach_commands.c)
 *
 *   d. "/" and the pod's volume made private, they alone: what is mounted here is not to be seen elsewhere
 *
 *   e. the root moved to /rootfs, and the copies into it
 *
 *   f. the tools to their place; the links over the PATH's directories
 *
 *   g. the mark, which is the root's mount id, and then, in one step, the tools read-only: execwrap enters by
 *      no other. So an attempt is complete or, whatever is there, not begun, and the next one removes that
 *
 * A directory of the PATH that is a volume, or in one, is left as it is: what is mounted there might be seen
 * by others. /rootfs must be free: an image's VOLUME or a pod's volume there is refused. The image is a
 * tenant's, so all places are found as in a preserved root; a link or a file at /rootfs is renamed aside, in
 * a root that goes away with its container.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/names.h"
#include "node-agent/mounts/attach_state.h"
#include "node-agent/mounts/chroot_tools.h"
#include "node-agent/mounts/safe_path.h"

static const struct mount_change make_private = {.spread = MOUNT_SPREAD_PRIVATE};
static const struct mount_change make_read_only = {.set = MOUNT_RDONLY};

/* --- what is there already ------------------------------------------------------------------------------ */

static bool is_ours(const struct mount *m)
{
    return strcmp(m->fs_type, "tmpfs") == 0 && strcmp(m->source, CHROOT_TOOLS_SOURCE) == 0;
}

static bool is_read_only(const struct mount *m)
{
    return strncmp(m->options, "ro", 2) == 0 && (m->options[2] == ',' || m->options[2] == '\0');
}

/* What is mounted on the own root at /rootfs is the preserved root. Only where the table has something there:
 * its file system is asked. */
static int open_placed(const struct attach_state *s, int *ret_fd)
{
    _cleanup_close_ int fd = safe_open_mounted(s->old, SC_CHROOT_ROOT, O_DIRECTORY);
    struct file_id id;
    int r = fd < 0 ? fd : attach_identify(fd, &id);

    if (r < 0)
        return r;
    if (!file_id_equal(&id, &s->root_id))
        return -EEXIST;
    *ret_fd = take_fd(&fd);
    return 0;
}

static bool something_is_placed(const struct attach_state *s)
{
    for (size_t i = 0; i < s->mounts->n; i++)
        if (s->mounts->mounts[i].parent == s->old_mount &&
                strcmp(s->mounts->mounts[i].path, SC_CHROOT_ROOT) == 0)
            return true;
    return false;
}

/* Not done for want of an fd would take a root away from those who work on it. */
int attach_chroot_is_done(const struct attach_state *s, struct err *err)
{
    _cleanup_close_ int placed = -EBADF;
    int r;

    for (size_t i = 0; i < s->mounts->n; i++) {
        const struct mount *m = &s->mounts->mounts[i];

        if (!is_ours(m) || !is_read_only(m) || strcmp(m->path, SC_CHROOT_DIR) != 0)
            continue;
        r = something_is_placed(s) ? open_placed(s, &placed) : -ENOENT;
        if (r == -EEXIST || safe_is_absent(r))
            return 0;
        return r < 0 ? err_set(err, r, "cannot look at " SC_CHROOT_ROOT) : 1;
    }
    return 0;
}

/* Detaches a left-over mount of ours, if it is what is seen at its path. */
static int clear_one(const struct attach_state *s, const struct mount *m)
{
    _cleanup_close_ int fd = safe_open_mounted(s->old, m->path, O_DIRECTORY);
    uint64_t id;
    int r = fd < 0 ? fd : mount_identify(fd, &id, NULL);

    if (safe_is_absent(r) || (r == 0 && id != m->id))
        return 0;
    if (r == 0)
        r = attach_detach_tree(fd);
    return r < 0 ? r : 1;
}

/* From the last to the first, so that what lies on top goes first. */
static int clear_tools(const struct attach_state *s, struct err *err)
{
    int n = 0, r;

    for (size_t i = s->mounts->n; i-- > 0;) {
        const struct mount *m = &s->mounts->mounts[i];

        if (!is_ours(m))
            continue;
        r = clear_one(s, m);
        if (r < 0)
            return err_set(err, r, "cannot remove what an earlier attempt left at %s", m->path);
        n += r;
    }
    return n;
}

static int clear_root(const struct attach_state *s, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;
    int r;

    if (!something_is_placed(s))
        return 0;
    r = open_placed(s, &fd);
    if (r == -EEXIST)
        return err_say(err, EEXIST,
                "something is mounted at " SC_CHROOT_ROOT
                " of the container, which attach: Chroot needs for the "
                "preserved root: mount it elsewhere, or use attach: Pivot");
    if (r == 0)
        r = attach_detach_tree(fd);
    if (r < 0)
        return err_set(err, r, "cannot remove what an earlier attempt left at " SC_CHROOT_ROOT);
    return 1;
}

int attach_chroot_clear(struct attach_state *s, struct err *err)
{
    int root, tools = clear_tools(s, err);

    if (tools < 0)
        return tools;
    root = clear_root(s, err);
    if (root < 0)
        return root;
    return root + tools > 0 ? attach_read_mounts(s, err) : 0;
}

/* --- c: places in the container's own root -------------------------------------------------------------- */

static int open_own(struct attach_state *s, struct err *err)
{
    const struct mount_change writable = {.clear = MOUNT_RDONLY};
    int r;

    s->chroot.own = mount_clone(s->old, false);
    if (s->chroot.own < 0)
        return err_set(err, s->chroot.own, "cannot copy the mount of the container's own root");
    r = mount_change(s->chroot.own, &writable);
    if (r < 0)
        return err_set(err, r, "cannot make a copy of the container's own root writable");
    s->chroot.commands = safe_open_child(s->chroot.tools, SC_CHROOT_COMMANDS, O_DIRECTORY);
    if (s->chroot.commands < 0)
        return err_set(err, s->chroot.commands, "cannot open the tools");
    return 0;
}

/* The directory, made where it is missing, as the container has it. -EXDEV: on another mount. */
static int own_directory(const struct attach_state *s, const char *path, bool no_links, struct err *err)
{
    const struct safe_ensure how = {.type = SAFE_DIRECTORY, .no_links = no_links};
    _cleanup_buf_ struct buf canonical = BUF_INIT(LIMIT_PATH_TEXT);
    _cleanup_close_ int fd = -EBADF;
    int r = safe_ensure_at(s->chroot.own, path, &how, &canonical, &fd, err);

    if (r < 0)
        return r;
    if (strcmp(buf_str(&canonical), "/") == 0)
        return -EXDEV;
    r = safe_open_own(s->old, buf_str(&canonical), O_DIRECTORY);
    return r < 0 ? err_set(err, r, "cannot open %s", buf_str(&canonical)) : r;
}

static int find_place(struct attach_state *s, struct err *err)
{
    s->chroot.place = own_directory(s, SC_CHROOT_ROOT, true, err);
    if (s->chroot.place < 0)
        return err_set(err, s->chroot.place, "cannot make " SC_CHROOT_ROOT " in the container's own root");
    return 0;
}

/* --- d to g --------------------------------------------------------------------------------------------- */

static int place_root(struct attach_state *s, struct err *err)
{
    int r = mount_change(s->old, &make_private);

    if (r == 0)
        r = mount_change(s->volume, &make_private);
    if (r < 0)
        return err_set(err, r, "cannot make / and " SC_MOUNT_DIR " private");
    r = mount_move(s->root, s->chroot.place);
    if (r < 0)
        return err_set(err, r, "cannot attach the root to " SC_CHROOT_ROOT);
    s->chroot.placed = true;
    return attach_move_in(s, err);
}

static int place_tools(struct attach_state *s, struct err *err)
{
    _cleanup_close_ int target = safe_open_child(s->volume, SC_CHROOT_NAME, O_DIRECTORY);
    int r;

    if (target < 0)
        return err_set(err, target, "cannot open " SC_CHROOT_DIR);
    r = mount_move(s->chroot.tools, target);
    if (r < 0)
        return err_set(err, r, "cannot attach the tools to " SC_CHROOT_DIR);
    s->chroot.tooled = true;
    return 0;
}

static bool is_covered(const struct attach_state *s, const struct file_id *id)
{
    for (size_t i = 0; i < s->chroot.n_covers; i++)
        if (file_id_equal(id, &s->chroot.covered[i]))
            return true;
    return false;
}

static int cover(struct attach_state *s, int target, struct err *err)
{
    _cleanup_close_ int links = -EBADF;
    struct file_id id;
    int r = attach_identify(target, &id);

    if (r < 0)
        return err_set(err, r, "cannot look at a directory");
    if (is_covered(s, &id))
        return 0;
    links = mount_clone(s->chroot.commands, false);
    if (links < 0)
        return err_set(err, links, "cannot copy the links");
    r = mount_change(links, &make_read_only);
    if (r == 0)
        r = mount_move(links, target);
    if (r < 0)
        return err_set(err, r, "cannot attach the links");
    s->chroot.covered[s->chroot.n_covers] = id;
    s->chroot.covers[s->chroot.n_covers++] = take_fd(&links);
    return 0;
}

/* A directory that is none of the own root's (on a volume, a link that goes in circles) stays as it is. One that
 * could not be looked for must not: commands would be the own root's for as long as the container runs. */
static int cover_path(struct attach_state *s, struct err *err)
{
    struct path_dirs dirs = {.search = s->req->chroot->search};
    char path[PATH_MAX];

    while (path_dirs_next(&dirs, path)) {
        struct err why = ERR_INIT;
        _cleanup_close_ int target = own_directory(s, path, false, &why);
        int r = target;

        if (safe_is_absent(target))
            continue;
        if (target >= 0)
            r = cover(s, target, &why);
        if (r < 0)
            return err_say(err, r, "cannot lay the links over %s of the PATH: %s", path, err_text(&why));
    }
    return 0;
}

static int commit(struct attach_state *s, struct err *err)
{
    _cleanup_close_ int mark = -EBADF;
    char text[24];
    uint64_t id;
    int r = mount_identify(s->root, &id, NULL);

    if (r < 0)
        return err_set(err, r, "cannot look at " SC_CHROOT_ROOT);
    (void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)id);
    mark = openat(s->chroot.tools, SC_CHROOT_MARK, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (mark < 0)
        return err_set(err, errno, "cannot make the mark");
    r = file_write_all(mark, text, strlen(text));
    mark = close_fd(mark); /* a mount with a file open for writing cannot be made read-only */
    if (r == 0)
        r = mount_change(s->chroot.tools, &make_read_only);
    if (r < 0)
        return err_set(err, r, "cannot complete the tools");
    return 0;
}

static void undo(const struct attach_state *s)
{
    for (size_t i = s->chroot.n_covers; i-- > 0;)
        (void)attach_detach_tree(s->chroot.covers[i]);
    if (s->chroot.tooled)
        (void)attach_detach_tree(s->chroot.tools);
    if (s->chroot.placed)
        (void)attach_detach_tree(s->root);
}

int attach_chroot(struct attach_state *s, struct err *err)
{
    int r = open_own(s, err);

    if (r == 0)
        r = find_place(s, err);
    if (r == 0)
        r = attach_link_commands(s, err);
    if (r == 0)
        r = place_root(s, err);
    if (r == 0)
        r = place_tools(s, err);
    if (r == 0)
        r = cover_path(s, err);
    if (r == 0)
        r = commit(s, err);
    if (r < 0) {
        undo(s);
        return r;
    }
    return s->chroot.cut ? ATTACH_COMMANDS_CUT : ATTACH_DONE;
}
