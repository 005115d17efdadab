/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, a and b: which mounts the container has that are carried, and a copy of each.
 */
#include "node-agent/mounts/attach_state.h"

#include <fcntl.h>
#include <string.h>

#include "common/base/limits.h"
#include "node-agent/mounts/safe_path.h"

static const struct mount_change make_writable = {.clear = MOUNT_RDONLY};

/* CRI's paths as the runtime resolved them: without the links of the image. */
static int canonical_paths(
        const struct attach_state *s, const char *const *paths, size_t n, char ***ret, struct err *err)
{
    char **list = calloc(n + 1, sizeof(*list));
    int r = 0;

    if (!list)
        return err_set(err, ENOMEM, "cannot list paths");
    for (size_t i = 0; r == 0 && i < n; i++) {
        _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_PATH_TEXT), clean = BUF_INIT(LIMIT_PATH_TEXT);

        (void)buf_putc(&path, '/'); /* an image's Volumes may be written without it */
        (void)buf_puts(&path, paths[i]);
        r = safe_canonical(s->old, buf_str(&path), &clean, err);
        if (r == 0)
            list[i] = buf_take(&clean, NULL);
        if (r == 0 && !list[i])
            r = err_set(err, ENOMEM, "cannot list paths");
    }
    *ret = list;
    return r;
}

static void free_paths(char ***list)
{
    for (char **p = *list; p && *p; p++)
        free(*p);
    free(*list);
}

static int mark_writable(struct attach_state *s, const struct carry_rules *rules, struct err *err)
{
    static const char *const files[] = CARRY_RUNTIME_FILES;
    _cleanup_(free_paths) char **paths = NULL;
    int r;

    if (s->req->read_only)
        return 0;
    r = canonical_paths(s, files, ARRAY_SIZE(files), &paths, err);
    for (size_t i = 0; r == 0 && i < s->list.n; i++)
        s->carried[i].writable = carry_is_runtime_file(
                s->carried[i].mount->path, (const char *const *)paths, ARRAY_SIZE(files), rules);
    return r;
}

/* The runtime followed the links of the image to get to a mount's place ("/var/run/x" is at "/run/x"); in the
 * preserved root they may be gone, and the pod's own words lead to where its processes look. Not by "..",
 * which the runtime took out of them first. */
static const char *path_of_pod(const struct attach_state *s, const struct mount *m, char *const *canonical)
{
    for (size_t i = 0; i < s->req->n_own_mounts; i++) {
        const char *path = s->req->own_mounts[i];

        if (strcmp(canonical[i], m->path) == 0 && path[0] == '/' && !strstr(path, "/.."))
            return path;
    }
    return m->path;
}

int attach_select_mounts(struct attach_state *s, struct err *err)
{
    _cleanup_(free_paths) char **own = NULL;
    _cleanup_(free_paths) char **volumes = NULL;
    struct carry_rules rules = {
            .n_own_mounts = s->req->n_own_mounts, .n_image_volumes = s->req->n_image_volumes};
    int r;

    r = canonical_paths(s, s->req->own_mounts, s->req->n_own_mounts, &own, err);
    if (r == 0)
        r = canonical_paths(s, s->req->image_volumes, s->req->n_image_volumes, &volumes, err);
    if (r < 0)
        return r;
    rules.own_mounts = (const char *const *)own;
    rules.image_volumes = (const char *const *)volumes;
    r = carry_select(s->mounts, s->old_mount, &rules, &s->list, err);
    if (r < 0)
        return r;
    s->carried = calloc(s->list.n + 1, sizeof(*s->carried));
    if (!s->carried)
        return err_set(err, ENOMEM, "cannot list mounts");
    for (size_t i = 0; i < s->list.n; i++)
        s->carried[i] = (struct carried){.mount = s->list.mounts[i],
                .path = path_of_pod(s, s->list.mounts[i], own),
                .copy = -EBADF,
                .target = -EBADF};
    return mark_writable(s, &rules, err);
}

/* Whether it is a directory is asked by O_DIRECTORY, which the VFS answers: the file system, a tenant's, is
 * asked nothing. */
int attach_copy_mount(const struct attach_state *s, struct carried *c, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;
    const char *path = c->mount->path;
    uint64_t id;
    int r;

    fd = safe_open_mounted(s->old, path, O_DIRECTORY);
    c->is_directory = fd >= 0;
    if (fd == -ENOTDIR)
        fd = safe_open_mounted(s->old, path, 0);
    if (fd < 0)
        return err_set(err, fd, "cannot open the mount at %s", path);
    r = mount_identify(fd, &id, NULL);
    if (r < 0)
        return err_set(err, r, "cannot look at the mount at %s", path);
    if (id != c->mount->id)
        return err_say(err, EAGAIN, "the mounts at %s changed while they were looked at", path);
    c->copy = mount_clone(fd, true);
    if (c->copy < 0)
        return err_set(err, c->copy, "cannot copy the mount at %s", path);
    r = c->writable ? mount_change(c->copy, &make_writable) : 0;
    if (r < 0)
        return err_set(err, r, "cannot make the copy of the mount at %s writable", path);
    return 0;
}
