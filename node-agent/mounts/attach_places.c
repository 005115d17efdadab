/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, c and e: a place in the new root for each carried mount, and the copies moved there.
 */
#include "node-agent/mounts/attach_state.h"

#include <fcntl.h>
#include <string.h>

#include "common/base/limits.h"
#include "node-agent/mounts/safe_path.h"

static void note_aside(const char *path, const char *aside, void *data)
{
    struct attach_state *s = data;

    if (s->n_asides++ < LIMIT_ASIDES) {
        worker_note(s->child, path);
        worker_note(s->child, aside);
    }
}

static bool is_system_place(const char *path)
{
    return strcmp(path, "/proc") == 0 || strcmp(path, "/dev") == 0 || strcmp(path, "/sys") == 0;
}

static int find_place(struct attach_state *s, struct carried *c, struct err *err)
{
    _cleanup_buf_ struct buf place = BUF_INIT(LIMIT_PATH_TEXT);
    bool system = is_system_place(c->mount->path);
    const char *path = system ? c->mount->path : c->path;
    const struct safe_ensure how = {
            .type = c->is_directory ? SAFE_DIRECTORY : SAFE_FILE,
            .no_links = system,
            .aside = note_aside,
            .data = s,
    };
    int r;

    r = safe_ensure_at(s->root, path, &how, &place, &c->target, err);
    if (r == 0 && (r = attach_identify(c->target, &c->target_id)) < 0)
        r = err_set(err, r, "cannot look at %s", path);
    if (r < 0)
        return err_wrap(err, r, "a place for the mount at %s", path);
    c->place = buf_take(&place, NULL);
    if (!c->place)
        return err_set(err, ENOMEM, "cannot list mounts");
    return 0;
}

/* No two in one place: by inode, which sees hard links too, and by path, which sees one inside the other. */
static int check_places(const struct attach_state *s, struct err *err)
{
    _cleanup_free_ const char **places = calloc(s->list.n + 1, sizeof(*places));

    if (!places)
        return err_set(err, ENOMEM, "cannot list mounts");
    for (size_t i = 0; i < s->list.n; i++) {
        const struct carried *a = &s->carried[i];

        places[i] = a->place;
        for (size_t j = 0; j < i; j++)
            if (file_id_equal(&a->target_id, &s->carried[j].target_id))
                return err_say(err, EEXIST, "the mounts at %s and %s lead to one place in the preserved root",
                        s->carried[j].mount->path, a->mount->path);
    }
    return carry_check_places(&s->list, places, err);
}

static bool is_in_a_place(const struct attach_state *s, const char *path)
{
    for (size_t i = 0; i < s->list.n; i++) {
        size_t len = strlen(s->carried[i].place);

        if (strncmp(path, s->carried[i].place, len) == 0 && (path[len] == '/' || path[len] == '\0'))
            return true;
    }
    return false;
}

/* Within a carried mount, here as in the container, it is there already. */
static int workdir_is_carried(const struct attach_state *s, const char *path, struct err *err)
{
    _cleanup_buf_ struct buf old = BUF_INIT(LIMIT_PATH_TEXT), new = BUF_INIT(LIMIT_PATH_TEXT);
    int r = safe_canonical(s->old, path, &old, err);

    if (r == 0)
        r = safe_canonical(s->root, path, &new, err);
    if (r < 0)
        return r;
    return carry_covers(&s->list, buf_str(&old)) && is_in_a_place(s, buf_str(&new));
}

/* `runc exec` changes to it, and fails where it is missing. */
static int make_workdir(struct attach_state *s, struct err *err)
{
    _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_PATH_TEXT);
    _cleanup_close_ int fd = -EBADF;
    const struct safe_ensure how = {.type = SAFE_DIRECTORY, .aside = note_aside, .data = s};
    int r;

    (void)buf_putc(&path, '/');
    (void)buf_puts(&path, s->req->workdir ? s->req->workdir : "");
    r = workdir_is_carried(s, buf_str(&path), err);
    if (r > 0)
        return 0;
    if (r == 0)
        r = safe_ensure_at(s->root, buf_str(&path), &how, NULL, &fd, err);
    if (r < 0)
        return err_wrap(err, r, "the working directory");
    return 0;
}

int attach_find_places(struct attach_state *s, struct err *err)
{
    const struct mount_change read_only = {.set = MOUNT_RDONLY};
    int r;

    for (size_t i = 0; i < s->list.n; i++) {
        r = find_place(s, &s->carried[i], err);
        if (r < 0)
            return r;
    }
    r = check_places(s, err);
    if (r == 0)
        r = make_workdir(s, err);
    if (r < 0 || !s->req->read_only)
        return r;
    r = mount_change(s->root, &read_only);
    if (r < 0)
        return err_set(err, r, "cannot make the root read-only");
    return 0;
}

/* (e) And a look that they are where a process looks for them: on a name that is no link, the copy itself. */
static int check_system_place(const struct attach_state *s, const struct carried *c, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;
    uint64_t seen, copied;
    int r;

    fd = safe_open_mountpoint(s->root, c->mount->path + 1, O_DIRECTORY);
    if (fd < 0)
        return err_set(err, fd, "cannot open %s of the new root", c->mount->path);
    r = mount_identify(fd, &seen, NULL);
    if (r == 0)
        r = mount_identify(c->copy, &copied, NULL);
    if (r < 0)
        return err_set(err, r, "cannot look at %s of the new root", c->mount->path);
    if (seen != copied)
        return err_say(err, EAGAIN, "%s of the new root is not the container's", c->mount->path);
    return 0;
}

int attach_move_in(struct attach_state *s, struct err *err)
{
    int r;

    for (size_t i = 0; i < s->list.n; i++) {
        r = mount_move(s->carried[i].copy, s->carried[i].target);
        if (r < 0)
            return err_set(
                    err, r, "cannot move the mount at %s into the new root", s->carried[i].mount->path);
    }
    for (size_t i = 0; i < s->list.n; i++) {
        if (!is_system_place(s->carried[i].mount->path))
            continue;
        r = check_system_place(s, &s->carried[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}
