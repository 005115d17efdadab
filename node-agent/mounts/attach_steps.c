/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, in the consumer's mount namespace; the letters are those of attach.h.
 *
 * The tree that is built:
 *
 *     detached (6.15)               staged
 *     scaffold (tmpfs)              /.stoppablecontainer (the pod's volume)
 *       `- preserved root             `- preserved root
 *            |- /proc (copy)               |- /proc (copy)
 *            `- ...                        `- ...
 *
 * The scaffold is needed because the root's copy was cloned in the agent's namespace: the kernel lets nobody
 * build on such a tree from another namespace (EINVAL), but on a new file system's mount it does, and on what
 * was moved onto that. It is moved onto /.stoppablecontainer when everything is in place, and goes away with
 * the old tree.
 *
 * What can be undone is undone by closing fds (detached) or by detaching the stage (staged); "/" and the
 * stage stay private then, which nothing in a container can see. What a killed worker leaves is one of two
 * things: a tree on the stage, removed here at the next attempt, or, after the pivot, the old root lying on
 * top of the new one: then the next attempt finishes the job.
 */
#include "node-agent/mounts/attach_steps.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/names.h"
#include "node-agent/mounts/carry.h"
#include "node-agent/mounts/safe_path.h"

/* One carried mount: its copy, and the place in the new root that it goes to. */
struct carried {
    const struct mount *mount; /* as the container has it */
    int copy;
    int target;
    struct file_id target_id;
    char *place; /* canonical path of the target */
    bool is_directory;
};

struct state {
    const struct attach_request *req;
    struct worker_child *child;
    int root; /* the new root */
    struct file_id root_id;
    int scaffold; /* -EBADF: staged assembly */
    int process_root; /* of the pinned process */
    struct file_id process_root_id;
    int old; /* the old root */
    struct file_id old_id;
    uint64_t old_mount;
    int stage;
    bool stage_used;
    struct mountinfo *mounts;
    struct carry_list list;
    struct carried *carried; /* list.n of them */
    size_t n_asides;
};

static const struct mount_change make_private = {.spread = MOUNT_SPREAD_PRIVATE};
static const struct mount_change make_tree_private = {.spread = MOUNT_SPREAD_PRIVATE, .recursive = true};

static int identify(int fd, struct file_id *ret)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    *ret = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
    return 0;
}

/* Copies stay open until the child ends, which it does at once. */
static void state_free(struct state *s)
{
    for (size_t i = 0; s->carried && i < s->list.n; i++) {
        (void)close_fd(s->carried[i].copy);
        (void)close_fd(s->carried[i].target);
        free(s->carried[i].place);
    }
    free(s->carried);
    carry_list_free(&s->list);
    (void)mountinfo_free(s->mounts);
    (void)close_fd(s->scaffold);
    (void)close_fd(s->process_root);
    (void)close_fd(s->old);
    (void)close_fd(s->stage);
}

/* --- before the namespace is joined, and joining -------------------------------------------------------- */

static int look_around(struct state *s, struct err *err)
{
    int r;

    r = identify(s->root, &s->root_id);
    if (r < 0)
        return err_set(err, r, "cannot look at the preserved root");
    s->process_root = openat(s->req->process->procfd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s->process_root < 0)
        return err_set(err, errno == ENOENT ? ESRCH : errno, "cannot open the root of process %d",
                (int)s->req->process->pid);
    r = identify(s->process_root, &s->process_root_id);
    if (r < 0)
        return err_set(err, r, "cannot look at the root of process %d", (int)s->req->process->pid);
    if (s->req->caps->detached_assembly) {
        s->scaffold = mount_new_scaffold();
        if (s->scaffold < 0)
            return err_set(err, s->scaffold, "cannot make a mount to build on");
    }
    r = worker_join(s->req->ns->fd, s->req->machine, &s->old, err);
    if (r < 0)
        return r;
    r = identify(s->old, &s->old_id);
    if (r == 0)
        r = mount_identify(s->old, &s->old_mount, NULL);
    if (r < 0)
        return err_set(err, r, "cannot look at the container's root");
    return 0;
}

/* (a) The table as this process has it now: through the machine's /proc, since /proc here is a tenant's. */
static int read_mounts(struct state *s, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_MOUNTINFO);
    int r;

    s->mounts = mountinfo_free(s->mounts);
    r = file_read_at(s->child->self_procfd, "mountinfo", &b, err);
    if (r < 0)
        return r;
    return mountinfo_parse(buf_str(&b), b.len, &s->mounts, err);
}

/* --- what an earlier worker left ------------------------------------------------------------------------ */

/* Detaches the tree whose root is fd, never reaching its peers: what is carried may be shared with the
 * machine, and detaching a shared mount's child detaches the machine's. So it is made private first, through
 * the fd and not through a path, which might lead to another tree by now. */
static int detach_tree(int fd)
{
    int r;

    r = mount_change(fd, &make_tree_private);
    if (r < 0)
        return r;
    if (fchdir(fd) < 0)
        return -errno;
    return mount_detach_cwd();
}

/* The pivot was made, and the old root still lies over the new one: lookups of "/" by setns end at the top,
 * the container's processes are at the bottom. By mount ids, so that nobody's chroot is taken for it. */
static int finish_pivot(struct state *s, struct err *err)
{
    const struct mount *top;
    uint64_t below;
    int r;

    r = mount_identify(s->process_root, &below, NULL);
    if (r < 0)
        return err_set(err, r, "cannot look at the root of process %d", (int)s->req->process->pid);
    top = mountinfo_by_id(s->mounts, s->old_mount);
    if (!top || top->parent != below)
        return err_say(err, EBUSY, "process %d has the preserved root, its container has not",
                (int)s->req->process->pid);
    r = detach_tree(s->old);
    if (r < 0)
        return err_set(err, r, "cannot detach the old root that an earlier attempt left");
    return 0;
}

/* The pod's volume, directly on the root mount: the lowest of what is at the stage. */
static const struct mount *find_stage(const struct state *s)
{
    for (size_t i = 0; i < s->mounts->n; i++) {
        const struct mount *m = &s->mounts->mounts[i];

        if (m->parent == s->old_mount && strcmp(m->path, SC_MOUNT_DIR) == 0)
            return m;
    }
    return NULL;
}

static int open_stage(struct state *s, uint64_t *ret_id, struct err *err)
{
    int r;

    s->stage = close_fd(s->stage);
    s->stage = safe_open_mounted(s->old, SC_MOUNT_DIR, O_DIRECTORY);
    if (s->stage < 0)
        return err_set(err, s->stage, "cannot open " SC_MOUNT_DIR);
    r = mount_identify(s->stage, ret_id, NULL);
    if (r < 0)
        return err_set(err, r, "cannot look at " SC_MOUNT_DIR);
    return 0;
}

static int clear_stage(struct state *s, struct err *err)
{
    const struct mount *volume = find_stage(s);
    uint64_t wanted, there;
    int r;

    if (!volume)
        return err_say(err, ENOENT, "the pod's volume is not mounted at " SC_MOUNT_DIR);
    wanted = volume->id;
    for (int i = 0; i < LIMIT_MOUNT_STACK; i++) {
        r = open_stage(s, &there, err);
        if (r < 0)
            return r;
        if (there == wanted)
            return i == 0 ? 0 : read_mounts(s, err);
        r = detach_tree(s->stage);
        if (r < 0)
            return err_set(err, r, "cannot remove what an earlier attempt left on " SC_MOUNT_DIR);
    }
    return err_say(err, EBUSY, "more than %d mounts lie on " SC_MOUNT_DIR, LIMIT_MOUNT_STACK);
}

/* --- a, b: what is carried ------------------------------------------------------------------------------ */

/* CRI's paths as the runtime resolved them: without the links of the image. */
static int canonical_paths(
        const struct state *s, const char *const *paths, size_t n, char ***ret, struct err *err)
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

static int select_mounts(struct state *s, struct err *err)
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
        s->carried[i] = (struct carried){.mount = s->list.mounts[i], .copy = -EBADF, .target = -EBADF};
    return 0;
}

/* Whether it is a directory is asked by O_DIRECTORY, which the VFS answers: the file system, a tenant's, is
 * asked nothing. */
static int copy_mount(const struct state *s, struct carried *c, struct err *err)
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
    return 0;
}

/* --- c: the places in the new root ---------------------------------------------------------------------- */

static void note_aside(const char *path, const char *aside, void *data)
{
    struct state *s = data;

    if (s->n_asides++ < LIMIT_ASIDES) {
        worker_note(s->child, path);
        worker_note(s->child, aside);
    }
}

static bool is_system_place(const char *path)
{
    return strcmp(path, "/proc") == 0 || strcmp(path, "/dev") == 0 || strcmp(path, "/sys") == 0;
}

static int find_place(struct state *s, struct carried *c, struct err *err)
{
    _cleanup_buf_ struct buf place = BUF_INIT(LIMIT_PATH_TEXT);
    const struct safe_ensure how = {
            .type = c->is_directory ? SAFE_DIRECTORY : SAFE_FILE,
            .no_links = is_system_place(c->mount->path),
            .aside = note_aside,
            .data = s,
    };
    int r;

    r = safe_ensure_at(s->root, c->mount->path, &how, &place, &c->target, err);
    if (r == 0 && (r = identify(c->target, &c->target_id)) < 0)
        r = err_set(err, r, "cannot look at %s", c->mount->path);
    if (r < 0)
        return err_wrap(err, r, "a place for the mount at %s", c->mount->path);
    c->place = buf_take(&place, NULL);
    if (!c->place)
        return err_set(err, ENOMEM, "cannot list mounts");
    return 0;
}

/* No two in one place: by inode, which sees hard links too, and by path, which sees one inside the other. */
static int check_places(const struct state *s, struct err *err)
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

/* `runc exec` changes to it, and fails where it is missing. Within a carried mount it is there already. */
static int make_workdir(struct state *s, struct err *err)
{
    _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_PATH_TEXT), clean = BUF_INIT(LIMIT_PATH_TEXT);
    _cleanup_close_ int fd = -EBADF;
    const struct safe_ensure how = {.type = SAFE_DIRECTORY, .aside = note_aside, .data = s};
    int r;

    (void)buf_putc(&path, '/');
    (void)buf_puts(&path, s->req->workdir ? s->req->workdir : "");
    r = safe_canonical(s->old, buf_str(&path), &clean, err);
    if (r < 0)
        return err_wrap(err, r, "the working directory");
    if (carry_covers(&s->list, buf_str(&clean)))
        return 0;
    r = safe_ensure_at(s->root, buf_str(&path), &how, NULL, &fd, err);
    if (r < 0)
        return err_wrap(err, r, "the working directory");
    return 0;
}

static int find_places(struct state *s, struct err *err)
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

/* --- d, e: assembly ------------------------------------------------------------------------------------- */

/* (d) The two mounts that pivot_root(2) wants private, alone: what is below keeps its propagation. Then the
 * tree becomes visible on the stage. */
static int use_stage(struct state *s, int tree, struct err *err)
{
    int r;

    r = mount_change(s->old, &make_private);
    if (r == 0)
        r = mount_change(s->stage, &make_private);
    if (r < 0)
        return err_set(err, r, "cannot make / and " SC_MOUNT_DIR " private");
    r = mount_move(tree, s->stage);
    if (r < 0)
        return err_set(err, r, "cannot attach the root to " SC_MOUNT_DIR);
    s->stage_used = true;
    return 0;
}

/* (e) And a look that they are where a process looks for them: on a name that is no link, the copy itself. */
static int check_system_place(const struct state *s, const struct carried *c, struct err *err)
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

static int move_in(struct state *s, struct err *err)
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

static int assemble(struct state *s, struct err *err)
{
    int r;

    if (s->scaffold < 0) {
        r = use_stage(s, s->root, err);
        return r < 0 ? r : move_in(s, err);
    }
    r = mount_move(s->root, s->scaffold);
    if (r < 0)
        return err_set(err, r, "cannot begin the new tree");
    r = move_in(s, err);
    return r < 0 ? r : use_stage(s, s->scaffold, err);
}

/* --- f: the pivot --------------------------------------------------------------------------------------- */

static int pivot(struct state *s, struct err *err)
{
    int r;

    if (fchdir(s->root) < 0)
        return err_set(err, errno, "cannot change to the new root");
    r = mount_pivot();
    if (r < 0)
        return err_set(err, r, "cannot pivot to the new root");
    /* Nothing is undone from here on: the tree on the stage is the root now. */
    s->stage_used = false;
    r = detach_tree(s->old);
    if (r < 0)
        return err_set(err, r, "cannot detach the old root");
    return 0;
}

/* A failure before the pivot. Nothing to be done about one here: the next attempt finds the rest. From the
 * top: umount2 goes up to what lies on the scaffold, whatever directory it is called in. */
static void undo(const struct state *s)
{
    if (!s->stage_used)
        return;
    (void)detach_tree(s->root);
    if (s->scaffold >= 0)
        (void)detach_tree(s->scaffold);
}

static int attach_new(struct state *s, struct err *err)
{
    int r;

    r = clear_stage(s, err);
    if (r == 0)
        r = select_mounts(s, err);
    for (size_t i = 0; r == 0 && i < s->list.n; i++)
        r = copy_mount(s, &s->carried[i], err);
    if (r == 0)
        r = find_places(s, err);
    if (r == 0)
        r = assemble(s, err);
    if (r == 0)
        r = pivot(s, err);
    if (r < 0)
        undo(s);
    return r;
}

int attach_run(struct worker_child *child, void *data, struct err *err)
{
    const struct attach_steps *steps = data;
    _cleanup_(state_free) struct state s = {
            .req = steps->req,
            .child = child,
            .root = steps->root,
            .scaffold = -EBADF,
            .process_root = -EBADF,
            .old = -EBADF,
            .stage = -EBADF,
    };
    int r;

    r = look_around(&s, err);
    if (r < 0)
        return r;
    /* Device and inode of the root: the kernel gives a file system its device number, so a tenant could only
     * show the preserved root's by having it, and gets nothing here but "yes". */
    if (file_id_equal(&s.old_id, &s.root_id))
        return ATTACH_ALREADY;
    r = read_mounts(&s, err);
    if (r < 0)
        return r;
    if (file_id_equal(&s.process_root_id, &s.root_id))
        return finish_pivot(&s, err);
    /* pivot_root moves the processes whose root is the old root: one that did a chroot would be told of
     * success and stay where it is, on a tree that is no longer mounted anywhere. */
    if (!file_id_equal(&s.process_root_id, &s.old_id))
        return err_say(
                err, EPERM, "process %d has another root than its container", (int)s.req->process->pid);
    return attach_new(&s, err);
}
