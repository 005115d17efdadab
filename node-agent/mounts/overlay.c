/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See overlay.h.
 */
#include "node-agent/mounts/overlay.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/limits.h"
#include "node-agent/mounts/expose.h"
#include "node-agent/mounts/holder.h"
#include "node-agent/mounts/safe_path.h"

/* Reading layers' directories and emptying the work directory takes the disk's time. */
#define MOUNT_DEADLINE (15 * USEC_PER_SEC)

/* --- look ------------------------------------------------------------------------------------------------
 */

struct look {
    overlay_look_fn done;
    void *data;
};

static int note_root(struct worker_child *child, int root, struct err *err)
{
    _cleanup_mountinfo_ struct mountinfo *mi = NULL;
    const struct mount *m;
    uint64_t id;
    int r = mount_identify(root, &id, NULL);

    if (r < 0)
        return err_set(err, r, "cannot tell the mount of the container's root");
    r = worker_read_mounts(child, &mi, err);
    if (r < 0)
        return r;
    m = mountinfo_by_id(mi, id);
    if (!m)
        return err_say(err, EINVAL, "the container's root is not in its table of mounts");
    if (strcmp(m->fs_type, "overlay") != 0)
        return err_say(err, EINVAL,
                "the runtime's root of this container is a file system of type %.40s, not an overlay",
                m->fs_type);
    if (strcmp(m->root, "/") != 0)
        return err_say(err, EINVAL, "the container's root is only a part of an overlay");
    if (strlen(m->super_options) + 1 > child->notes.max)
        return err_say(err, E2BIG, "the overlay's options are longer than %zu bytes", LIMIT_WORKER_NOTES);
    worker_note(child, m->super_options);
    return 0;
}

static int look_in_child(struct worker_child *child, void *data, struct err *err)
{
    const struct overlay_look_request *req = data;
    int fd, r = worker_join(req->ns->fd, req->machine, NULL, err);

    if (r < 0)
        return r;
    fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno, "cannot open the container's root");
    child->fds[child->n_fds++] = fd;
    return note_root(child, fd, err);
}

static void on_looked(struct worker_result *res, void *data)
{
    _cleanup_free_ struct look *look = data;
    _cleanup_overlay_layers_ struct overlay_layers layers = {.n = 0};
    struct err err = ERR_INIT;
    int nothing = -EBADF, r = res->code;

    if (r >= 0 && (res->n_fds != 1 || res->notes_len == 0))
        r = err_say(&err, EBADMSG, "the worker sent no root");
    else if (r >= 0)
        r = overlay_layers_parse(res->notes, &layers, &err);
    else
        (void)err_say(&err, -r, "%s", res->text);
    look->done(r, r < 0 ? err_text(&err) : "", &layers, r < 0 ? &nothing : &res->fds[0], look->data);
}

int overlay_look_start(struct workers *ws, const struct overlay_look_request *req, overlay_look_fn done,
        void *data, struct err *err)
{
    _cleanup_free_ struct look *look = malloc(sizeof(*look));
    const int keep[] = {req->ns->fd};
    struct overlay_look_request copy = *req;
    const struct worker_job job = {
            .what = "look at the layers",
            .pod = req->pod,
            .target = req->target,
            .run = look_in_child,
            .run_data = &copy,
            .keep = keep,
            .n_keep = ARRAY_SIZE(keep),
            .done = on_looked,
            .done_data = look,
    };
    int r;

    if (!look)
        return err_set(err, ENOMEM, "cannot look at a root");
    *look = (struct look){.done = done, .data = data};
    r = worker_start(ws, &job, err);
    if (r < 0)
        return r;
    (void)take_ptr(look);
    return 0;
}

/* --- mount -----------------------------------------------------------------------------------------------
 */

/* What the child works with; the fds of it that it returns are closed with it. */
struct mounting {
    const struct overlay_mount_request *req;
    struct file_id upper, work; /* as the agent sees them */
    int root; /* the machine's "/" */
    int runtime; /* its runtime's directory, or -EBADF */
    int place; /* dir, through the machine */
    int fds[LIMIT_LAYERS];
};

static int identify(int dir, const char *name, struct file_id *ret, int *ret_fd, struct err *err)
{
    _cleanup_close_ int fd = safe_open_child(dir, name, O_DIRECTORY);
    struct stat st;

    if (fd < 0)
        return err_set(err, fd, "cannot open the directory %s of the root", name);
    if (fstat(fd, &st) < 0)
        return err_set(err, errno, "cannot look at the directory %s of the root", name);
    *ret = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
    if (ret_fd)
        *ret_fd = take_fd(&fd);
    return 0;
}

/* Below the runtime's root, whose own links (CRI-O's) are followed as long as they stay there; where that is
 * not known, without any link. */
static int open_layer(const struct mounting *m, const char *path, struct err *err)
{
    const char *root = m->req->runtime_root;
    size_t len = root ? strlen(root) : 0;
    int fd;

    if (root && (strncmp(path, root, len) != 0 || path[len] != '/'))
        return err_say(err, EINVAL, "layer %.200s is not below %s, the runtime's directory", path, root);
    fd = root ? safe_open_below(m->runtime, path + len + 1, O_DIRECTORY)
              : safe_open_mounted(m->root, path, O_DIRECTORY);
    return fd < 0 ? err_set(err, fd, "cannot open layer %.200s", path) : fd;
}

static int open_layers(struct mounting *m, struct err *err)
{
    const struct overlay_mount_request *req = m->req;

    m->runtime = -EBADF;
    if (req->runtime_root) {
        m->runtime = open(req->runtime_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (m->runtime < 0)
            return err_set(err, errno, "cannot open the runtime's directory %s", req->runtime_root);
    }
    for (size_t i = 0; i < req->layers->n; i++) {
        m->fds[i] = open_layer(m, req->layers->paths[i], err);
        if (m->fds[i] < 0)
            return m->fds[i];
    }
    return 0;
}

/* Upper and work, as the machine's namespace has them: what the agent made, or nothing. */
static int open_own(struct mounting *m, struct mount_overlay *o, struct err *err)
{
    const struct overlay_mount_request *req = m->req;
    _cleanup_close_ int state = open(req->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct file_id upper, work;
    int r;

    if (state < 0)
        return err_set(err, errno, "cannot open %s on the machine", req->state_dir);
    m->place = safe_open_own(state, req->path, O_DIRECTORY);
    if (m->place < 0)
        return err_set(err, m->place, "cannot open %s/%s on the machine", req->state_dir, req->path);
    r = identify(m->place, req->upper, &upper, &o->upper, err);
    if (r == 0)
        r = identify(m->place, req->work, &work, &o->work, err);
    if (r < 0)
        return r;
    if (!file_id_equal(&upper, &m->upper) || !file_id_equal(&work, &m->work))
        return err_say(err, EINVAL,
                "%s is another directory on the machine than in the agent: it must have the same path in "
                "both",
                req->state_dir);
    return 0;
}

/* Where the agent has its root's upper, which no tenant can move; "" when there is no memory. */
static const char *upper_path(const struct mounting *m, struct buf *b)
{
    const struct overlay_mount_request *req = m->req;

    return buf_printf(b, "%s/%s/%s", req->state_dir, req->path, req->upper) < 0 ? "" : buf_str(b);
}

/* "process 7 of pod UID", or what is known of it. */
static void name_holder(const struct mounting *m, char *ret, size_t size)
{
    _cleanup_close_ int proc = safe_open_below(m->root, "proc", O_DIRECTORY);
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_PATH_TEXT);
    const char *upper = upper_path(m, &b);
    struct holder h;

    if (proc < 0 || !upper[0] || holder_find(proc, upper, &h) <= 0)
        (void)snprintf(ret, size,
                "a process on the node (a container that is ending, or a pod that has the node's "
                "directories)");
    else
        (void)snprintf(ret, size, "process %d%s%s of the node, which has it in its table of mounts",
                (int)h.pid, h.pod_uid[0] ? " of pod " : "", h.pod_uid);
}

static int check_free(const struct mounting *m, int upper, const struct mount_stage *stage, struct err *err)
{
    int r = mount_overlay_in_use(upper, stage);
    char who[160];

    if (r < 0)
        return err_set(err, r, "cannot tell whether the root is still in use");
    if (r == 0)
        return 0;
    name_holder(m, who, sizeof(who));
    return err_say(err, OVERLAY_HELD,
            "an earlier mount of this root is still held by %s; a second one would damage it, so it is used "
            "again when that has ended",
            who);
}

static int make(const struct mounting *m, const struct mount_overlay *o, struct err *err)
{
    const struct mount_stage stage = {.dir = m->place, .name = m->req->name};
    const struct mount_stage *by_paths = m->req->caps->layer_fds ? NULL : &stage;
    _cleanup_buf_ struct buf why = BUF_INIT(512);
    int r = 0;

    if (by_paths && mkdirat(stage.dir, stage.name, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the directory %s", stage.name);
    r = check_free(m, o->upper, by_paths, err);
    if (r < 0)
        return r;
    r = mount_new_overlay(o, by_paths, &why);
    if (r == -EBUSY)
        return err_say(err, OVERLAY_HELD, "the kernel says that the root is in use");
    if (r < 0)
        return err_set(err, r, "the kernel refuses the overlay%s%s", why.len > 0 ? ": " : "", buf_str(&why));
    return r;
}

static int mount_in_child(struct worker_child *child, void *data, struct err *err)
{
    struct mounting *m = data;
    struct mount_overlay o = {.layers = m->fds, .n_layers = m->req->layers->n};
    _cleanup_buf_ struct buf upper = BUF_INIT(LIMIT_PATH_TEXT);
    const char *path;
    int r = worker_join_machine(m->req->machine_ns, !m->req->caps->layer_fds, &m->root, err);

    if (r == 0)
        r = open_own(m, &o, err);
    if (r == 0)
        r = open_layers(m, err);
    /* What overlayfs would read as several options or layers stays unnamed. */
    path = upper_path(m, &upper);
    if (path[0] && !strpbrk(path, ",:\\"))
        o.upper_path = path;
    if (r == 0)
        r = make(m, &o, err);
    if (r < 0)
        return r;
    child->fds[child->n_fds++] = r;
    return 0;
}

/* The agent's half; lives from overlay_mount_start to the callback. */
struct overlay {
    int dir;
    int lock;
    char *name;
    struct mount_caps caps;
    overlay_mount_fn done;
    void *data;
};

static void overlay_free(struct overlay *x)
{
    if (!x)
        return;
    (void)close_fd(x->dir);
    (void)close_fd(x->lock);
    free(x->name);
    free(x);
}
DEFINE_CLEANUP_FUNC(struct overlay *, overlay_free);

static void on_mounted(struct worker_result *res, void *data)
{
    _cleanup_(overlay_freep) struct overlay *x = data;
    struct err err = ERR_INIT;
    int r = res->code;

    if (r < 0)
        (void)err_say(&err, -r, "%s", res->text);
    else if (res->n_fds != 1)
        r = err_say(&err, EBADMSG, "the worker sent no mount");
    else
        r = expose_place(x->dir, x->name, &x->caps, res->fds[0], &err);
    x->done(r, r < 0 ? err_text(&err) : "", x->data);
}

/* The lock is the open file's, so the worker holds it too, and alone once the agent is gone. */
static int lock_dir(int dir, struct err *err)
{
    _cleanup_close_ int fd = safe_open_to_read(dir);

    if (fd < 0)
        return err_set(err, fd, "cannot open the directory of the root");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? err_say(err, OVERLAY_HELD, "the root is being mounted already")
                                    : err_set(err, errno, "cannot lock the directory of the root");
    return take_fd(&fd);
}

static int overlay_new(const struct overlay_mount_request *req, overlay_mount_fn done, void *data,
        struct overlay **ret, struct err *err)
{
    _cleanup_(overlay_freep) struct overlay *x = calloc(1, sizeof(*x));

    if (!x)
        return err_set(err, ENOMEM, "cannot mount a root");
    *x = (struct overlay){.dir = -EBADF, .lock = -EBADF, .caps = *req->caps, .done = done, .data = data};
    x->name = strdup(req->name);
    x->dir = fcntl(req->dir, F_DUPFD_CLOEXEC, 3);
    if (!x->name || x->dir < 0)
        return err_set(err, x->name ? errno : ENOMEM, "cannot mount a root");
    x->lock = lock_dir(req->dir, err);
    if (x->lock < 0)
        return x->lock;
    *ret = take_ptr(x);
    return 0;
}

int overlay_mount_start(struct workers *ws, const struct overlay_mount_request *req, overlay_mount_fn done,
        void *data, struct err *err)
{
    _cleanup_(overlay_freep) struct overlay *x = NULL;
    struct mounting m = {.req = req};
    int r = identify(req->dir, req->upper, &m.upper, NULL, err);

    if (r == 0)
        r = identify(req->dir, req->work, &m.work, NULL, err);
    if (r == 0)
        r = overlay_new(req, done, data, &x, err);
    if (r < 0 || !x)
        return r;

    const int keep[] = {req->machine_ns, x->lock};
    const struct worker_job job = {
            .place = WORKER_ON_NODE,
            .what = "mount a root",
            .pod = req->pod,
            .target = req->target,
            .run = mount_in_child,
            .run_data = &m,
            .keep = keep,
            .n_keep = ARRAY_SIZE(keep),
            .done = on_mounted,
            .done_data = x,
            .deadline = MOUNT_DEADLINE,
    };
    r = worker_start(ws, &job, err);
    if (r < 0)
        return r;
    (void)take_ptr(x);
    return 0;
}
