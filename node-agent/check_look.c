/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See check_look.h. Directories are walked one name at a time from fds that cross no mount (safe_path.h).
 */
#include "node-agent/check_look.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "common/base/file.h"
#include "common/base/num.h"
#include "common/json/json.h"
#include "common/names.h"
#include "node-agent/journal.h"
#include "node-agent/mounts/mountinfo.h"
#include "node-agent/mounts/safe_path.h"
#include "node-agent/mounts/worker.h"
#include "node-agent/mounts/worker_harden.h"
#include "node-agent/target.h"

#define VOL_DATA "vol_data.json"
#define VOL_DATA_MAX (64 * KIB)
#define PROC_STAT_MAX (4 * KIB)
#define KUBELET_CSI "/volumes/kubernetes.io~csi/"
#define AGENT_COMM "sc-node-agent"
/* A worker in a container is killed at its deadline and counts as stuck a second later. */
#define WORKER_OVERDUE ((WORKER_DEADLINE + WORKER_ABANDON) / USEC_PER_SEC + 2)

struct look {
    struct check_facts *f;
    int state_fd;
    int kubelet_fd;
    size_t entries;
};

/* What a walk is at: the directory of the entry, and the names on the way there. */
struct place {
    int dir;
    const char *outer;
    const char *inner;
};

typedef int (*entry_fn)(struct look *l, const struct place *at, const struct dirent *e, struct err *err);

static void closedirp(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

/* Calls fn with each entry of at->dir, but "." and "..". */
static int each_entry(struct look *l, const struct place *at, entry_fn fn, struct err *err)
{
    int fd = safe_open_to_read(at->dir), r = 0;
    _cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d) {
        r = err_set(err, fd < 0 ? fd : errno, "cannot list a directory");
        (void)close_fd(fd);
        return r == -ENOENT ? 0 : r;
    }
    while (r == 0) {
        struct dirent *e;

        r = dir_next(d, &e);
        if (r <= 0)
            return r < 0 ? err_set(err, r, "cannot list a directory") : 0;
        r = 0;
        if (++l->entries > LIMIT_CHECK_ENTRIES)
            return err_say(err, E2BIG, "more than %d files to look at", LIMIT_CHECK_ENTRIES);
        r = fn(l, at, e, err);
    }
    return r;
}

/* The same in the directory `name` of dir; absent, or in the meantime, or no directory: nothing. */
static int each_below(struct look *l, const struct place *at, const char *name, entry_fn fn, struct err *err)
{
    _cleanup_close_ int fd = safe_open_child(at->dir, name, O_DIRECTORY);
    const struct place below = {.dir = fd, .outer = at->outer, .inner = at->inner};

    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd < 0)
        return err_set(err, fd, "cannot open the directory %s", name);
    return each_entry(l, &below, fn, err);
}

static int add_row(struct buf *b, const void *row, size_t size, struct err *err)
{
    int r = buf_append(b, row, size);

    return r < 0 ? err_set(err, r, "cannot remember what is there") : 0;
}

static int stray(struct look *l, enum check_code code, const char *path, const char *text, struct err *err)
{
    struct check_stray row = {.code = code};

    (void)snprintf(row.path, sizeof(row.path), "%.400s/%.600s", l->f->state_dir, path);
    (void)snprintf(row.text, sizeof(row.text), "%.*s", CHECK_TEXT_MAX - 1, text);
    return add_row(&l->f->strays, &row, sizeof(row), err);
}

/* --- journal --------------------------------------------------------------------------------------------- */

/* Whether the agent listens. Never blocks: a full queue is somebody's who listens. */
static enum check_socket try_socket(int dir)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/" SC_SOCKET_FILE, dir);
    if (fd < 0)
        return CHECK_SOCKET_UNKNOWN;
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN)
        return CHECK_SOCKET_SERVED;
    return errno == ECONNREFUSED ? CHECK_SOCKET_DEAD : CHECK_SOCKET_UNKNOWN;
}

static int look_at_target(const struct look *l, struct check_volume *cv, struct err *err)
{
    const struct target_sources src = {.kubelet_fd = l->kubelet_fd};
    _cleanup_close_ int dir = target_open(&src, cv->volume->dir);

    if (dir < 0 && dir != -EXDEV && dir != -ENOENT && dir != -ENOTDIR && dir != -ELOOP)
        return err_set(err, dir, "cannot look at %s", cv->volume->dir);
    cv->target = dir >= 0 ? CHECK_PRESENT : dir == -EXDEV ? CHECK_MOUNTED_ON : CHECK_ABSENT;
    if (dir < 0)
        return 0;
    cv->complete = target_is_complete(&src, cv->volume);
    if (cv->complete && cv->volume->role != VOLUME_RECLAIM)
        cv->socket = try_socket(dir);
    return 0;
}

static int on_bad(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    char path[NAME_MAX + 32];

    (void)at;
    (void)snprintf(path, sizeof(path), SC_VOLUMES_DIR "/bad/%s", e->d_name);
    return stray(l, CHECK_JOURNAL_SET_ASIDE, path, "a journal file that an agent could not read", err);
}

static int on_journal_file(struct look *l, const struct place *at, const char *name, struct err *err)
{
    struct check_volume row = {.volume = NULL};
    struct err why = ERR_INIT;
    char path[NAME_MAX + 32];
    int r = journal_read(at->dir, name, &row.volume, &why);

    if (r == -ENOENT)
        return 0;
    if (r == -ENOMEM)
        return err_set(err, r, "cannot read the journal");
    if (r < 0) {
        (void)snprintf(path, sizeof(path), SC_VOLUMES_DIR "/%s", name);
        return stray(l, CHECK_JOURNAL_UNREADABLE, path, err_text(&why), err);
    }
    r = look_at_target(l, &row, err);
    if (r == 0)
        r = add_row(&l->f->volumes, &row, sizeof(row), err);
    if (r < 0)
        (void)volume_free(row.volume);
    return r;
}

static int on_journal(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    char path[NAME_MAX + 32];
    struct stat st;

    if (fstatat(at->dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_set(err, errno, "cannot look at %s", e->d_name);
    (void)snprintf(path, sizeof(path), SC_VOLUMES_DIR "/%s", e->d_name);
    if (S_ISDIR(st.st_mode) && strcmp(e->d_name, "bad") == 0)
        return each_below(l, at, e->d_name, on_bad, err);
    if (!S_ISREG(st.st_mode))
        return stray(l, CHECK_UNKNOWN_FILE, path, "no file of the journal", err);
    if (e->d_name[0] == '.')
        return stray(l, CHECK_JOURNAL_TEMPORARY, path, "left of a write to the journal", err);
    return on_journal_file(l, at, e->d_name, err);
}

/* --- roots ----------------------------------------------------------------------------------------------- */

static int on_part(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    struct check_root *rows = check_rows(struct check_root, &l->f->roots);
    struct check_root *row = &rows[check_count(struct check_root, &l->f->roots) - 1];
    char path[3 * NAME_MAX + 32];

    if (strcmp(e->d_name, SC_UPPER_DIR) == 0)
        row->upper = true;
    else if (strcmp(e->d_name, SC_RECORD_FILE) == 0)
        row->record = true;
    else if (strcmp(e->d_name, SC_ROOTFS_DIR) != 0 && strcmp(e->d_name, SC_WORK_DIR) != 0 &&
             e->d_name[0] != '.') {
        (void)snprintf(path, sizeof(path), SC_INSTANCES_DIR "/%s/%s/%s", at->outer, at->inner, e->d_name);
        return stray(l, CHECK_UNKNOWN_FILE, path, "no part of a root", err);
    }
    return 0;
}

static int add_root(struct look *l, const char *uid, const char *container, struct err *err)
{
    struct check_root row = {.upper = false};

    (void)snprintf(row.uid, sizeof(row.uid), "%s", uid);
    (void)snprintf(row.container, sizeof(row.container), "%s", container);
    return add_row(&l->f->roots, &row, sizeof(row), err);
}

static bool is_directory(const struct place *at, const struct dirent *e)
{
    struct stat st;

    if (e->d_type != DT_UNKNOWN)
        return e->d_type == DT_DIR;
    return fstatat(at->dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int on_container(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    const struct place inner = {.dir = at->dir, .outer = at->outer, .inner = e->d_name};
    char path[2 * NAME_MAX + 32];
    int r;

    if (!is_directory(at, e)) {
        if (e->d_name[0] == '.') /* the agent's own lock of the instance */
            return 0;
        (void)snprintf(path, sizeof(path), SC_INSTANCES_DIR "/%s/%s", at->outer, e->d_name);
        return stray(l, CHECK_UNKNOWN_FILE, path, "no directory of a container", err);
    }
    r = add_root(l, at->outer, e->d_name, err);
    return r < 0 ? r : each_below(l, &inner, e->d_name, on_part, err);
}

static int on_instance(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    const struct place outer = {.dir = at->dir, .outer = e->d_name};
    size_t before = l->f->roots.len;
    char path[NAME_MAX + 32];
    int r;

    if (!is_directory(at, e)) {
        (void)snprintf(path, sizeof(path), SC_INSTANCES_DIR "/%s", e->d_name);
        return stray(l, CHECK_UNKNOWN_FILE, path, "no directory of an instance", err);
    }
    r = each_below(l, &outer, e->d_name, on_container, err);
    return r == 0 && l->f->roots.len == before ? add_root(l, e->d_name, "", err) : r;
}

static int on_trash(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    char path[NAME_MAX + 32];

    (void)at;
    (void)snprintf(path, sizeof(path), SC_TRASH_DIR "/%s", e->d_name);
    return stray(l, CHECK_TRASH, path, "what an instance left, not yet removed", err);
}

/* --- the kubelet's volumes ------------------------------------------------------------------------------- */

/* By the file in which the kubelet keeps the driver of a CSI volume; without it by the volume's name. */
static bool is_ours(int dir, const char *name)
{
    _cleanup_buf_ struct buf b = BUF_INIT(VOL_DATA_MAX);
    _cleanup_close_ int fd = openat(dir, VOL_DATA, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    _cleanup_json_ struct json *data = NULL;

    if (fd < 0)
        return strcmp(name, SC_VOLUME_NAME) == 0;
    return file_read_fd(fd, &b, NULL) == 0 && json_parse(buf_str(&b), b.len, &data, NULL) == 0 &&
           strcmp(json_str_or(data, "driverName", ""), SC_CSI_DRIVER) == 0;
}

static int on_csi_volume(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    _cleanup_close_ int dir = safe_open_child(at->dir, e->d_name, O_DIRECTORY);
    _cleanup_close_ int target = dir < 0 ? dir : safe_open_child(dir, "mount", O_DIRECTORY);
    struct check_target row;

    /* A mount of another driver's is met here as -EXDEV, and never entered. */
    if (dir < 0 || (target < 0 && target != -EXDEV) || !is_ours(dir, e->d_name) ||
            volume_dir(at->outer, e->d_name, row.dir) < 0)
        return 0;
    return add_row(&l->f->targets, &row, sizeof(row), err);
}

static int on_pod(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    _cleanup_close_ int pod =
            volume_is_uid(e->d_name) ? safe_open_child(at->dir, e->d_name, O_DIRECTORY) : -ENOENT;
    _cleanup_close_ int volumes = pod < 0 ? pod : safe_open_child(pod, "volumes", O_DIRECTORY);
    const struct place below = {.dir = volumes, .outer = e->d_name};

    if (volumes == -ENOENT || volumes == -ENOTDIR)
        return 0;
    if (volumes < 0)
        return err_set(err, volumes, "cannot open the volumes of pod %s", e->d_name);
    return each_below(l, &below, "kubernetes.io~csi", on_csi_volume, err);
}

static int look_at_pods(struct look *l, struct err *err)
{
    _cleanup_close_ int pods = safe_open_mounted(l->kubelet_fd, "pods", O_DIRECTORY);
    const struct place at = {.dir = pods};

    if (pods == -ENOENT)
        return 0;
    if (pods < 0)
        return err_set(err, pods, "cannot open %s/pods", l->f->kubelet_dir);
    return each_entry(l, &at, on_pod, err);
}

/* --- mounts ---------------------------------------------------------------------------------------------- */

/* The part of path below base, or NULL. */
static const char *below(const char *path, const char *base)
{
    size_t len = strlen(base);

    return strncmp(path, base, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

/* A mount in the volume of one of our targets. */
static bool is_in_target(const struct look *l, const char *path)
{
    const struct check_target *t = check_rows(const struct check_target, &l->f->targets);

    for (size_t i = 0; i < check_count(struct check_target, &l->f->targets); i++)
        if (strcmp(path, t[i].dir) == 0 || below(path, t[i].dir))
            return true;
    return false;
}

static struct check_mount *mount_row(struct look *l, const char *path, bool in_kubelet)
{
    struct buf *b = &l->f->mounts;
    struct check_mount row = {.in_kubelet = in_kubelet};

    for (size_t i = 0; i < check_count(struct check_mount, b); i++)
        if (check_rows(struct check_mount, b)[i].in_kubelet == in_kubelet &&
                strcmp(check_rows(struct check_mount, b)[i].path, path) == 0)
            return &check_rows(struct check_mount, b)[i];
    (void)snprintf(row.path, sizeof(row.path), "%s", path);
    if (buf_append(b, &row, sizeof(row)) < 0)
        return NULL;
    return &check_rows(struct check_mount, b)[check_count(struct check_mount, b) - 1];
}

static int look_at_mounts(struct look *l, const char *file, bool machine, struct err *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_MOUNTINFO);
    _cleanup_mountinfo_ struct mountinfo *mi = NULL;
    int r = file_read_at(AT_FDCWD, file, &text, err);

    if (r == 0)
        r = mountinfo_parse(buf_str(&text), text.len, &mi, err);
    for (size_t i = 0; r == 0 && i < mi->n; i++) {
        const char *path = below(mi->mounts[i].path, l->f->state_dir);
        bool in_kubelet = !path;
        struct check_mount *m;

        if (in_kubelet)
            path = below(mi->mounts[i].path, l->f->kubelet_dir);
        if (!path || (in_kubelet && !is_in_target(l, path)))
            continue;
        m = mount_row(l, path, in_kubelet);
        if (!m)
            return err_set(err, ENOMEM, "cannot remember what is mounted");
        m->machine += machine;
        m->own += !machine;
    }
    return r;
}

/* --- workers --------------------------------------------------------------------------------------------- */

struct proc_stat {
    char comm[32];
    uint64_t parent;
    uint64_t started; /* clock ticks since the boot */
};

/* The nth field (from 1) of the text, as a number. */
static int field(const char *text, int n, uint64_t *ret)
{
    while (--n > 0 && text) {
        text = strchr(text, ' ');
        text = text ? text + 1 : NULL;
    }
    return text ? num_parse_u64_n(text, strcspn(text, " \n"), 0, UINT64_MAX, ret) : -EBADMSG;
}

/* proc_pid_stat(5): "pid (comm) state ppid ...", the 22nd field is the start. */
static int read_stat(const char *pid, struct proc_stat *ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(PROC_STAT_MAX);
    char path[NAME_MAX + 16];
    const char *open, *close;

    (void)snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    if (file_read_at(AT_FDCWD, path, &b, NULL) < 0)
        return -ESRCH;
    open = strchr(buf_str(&b), '(');
    close = strrchr(buf_str(&b), ')');
    if (!open || !close || close < open || (size_t)(close - open) > sizeof(ret->comm) || close[1] != ' ')
        return -EBADMSG;
    (void)snprintf(ret->comm, sizeof(ret->comm), "%.*s", (int)(close - open - 1), open + 1);
    if (field(close + 2, 4 - 2, &ret->parent) < 0 || field(close + 2, 22 - 2, &ret->started) < 0)
        return -EBADMSG;
    return 0;
}

static bool same_pid_namespace(const char *pid)
{
    char path[NAME_MAX + 32];
    struct stat theirs, ours;

    (void)snprintf(path, sizeof(path), "/proc/%s/ns/pid", pid);
    return stat(path, &theirs) == 0 && stat("/proc/self/ns/pid", &ours) == 0 && theirs.st_ino == ours.st_ino;
}

static int on_process(struct look *l, const struct place *at, const struct dirent *e, struct err *err)
{
    struct check_worker row = {.pid = 0};
    struct proc_stat st, parent;
    uint64_t age, ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    struct timespec now = {0};
    bool on_node;
    char ppid[24];
    uint64_t pid;

    (void)at;
    if (num_parse_u64(e->d_name, 1, INT_MAX, &pid) < 0 || read_stat(e->d_name, &st) < 0)
        return 0;
    on_node = strcmp(st.comm, WORKER_NODE_COMM) == 0;
    if ((!on_node && strcmp(st.comm, WORKER_COMM) != 0) || !same_pid_namespace(e->d_name))
        return 0;
    (void)snprintf(ppid, sizeof(ppid), "%" PRIu64, st.parent);
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    age = (uint64_t)now.tv_sec - st.started / ticks;
    row.pid = (int)pid;
    row.orphan = read_stat(ppid, &parent) < 0 || strcmp(parent.comm, AGENT_COMM) != 0;
    row.overdue = !on_node && age > WORKER_OVERDUE;
    return add_row(&l->f->workers, &row, sizeof(row), err);
}

static int look_at_processes(struct look *l, struct err *err)
{
    _cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const struct place at = {.dir = proc};

    if (proc < 0)
        return err_set(err, errno, "cannot open /proc");
    return each_entry(l, &at, on_process, err);
}

static int look_at_state(struct look *l, struct err *err)
{
    const struct place at = {.dir = l->state_fd};
    int r = each_below(l, &at, SC_VOLUMES_DIR, on_journal, err);

    if (r == 0)
        r = each_below(l, &at, SC_INSTANCES_DIR, on_instance, err);
    if (r == 0)
        r = each_below(l, &at, SC_TRASH_DIR, on_trash, err);
    return r < 0 ? err_wrap(err, r, "%s", l->f->state_dir) : 0;
}

int check_look(struct check_facts *f, struct err *err)
{
    _cleanup_close_ int state = open(f->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int kubelet = open(f->kubelet_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct look l = {.f = f, .state_fd = state, .kubelet_fd = kubelet};
    int r;

    if (state < 0 || kubelet < 0)
        return err_set(err, errno, "cannot open %s", state < 0 ? f->state_dir : f->kubelet_dir);
    r = look_at_state(&l, err);
    if (r == 0)
        r = look_at_pods(&l, err);
    if (r == 0)
        r = look_at_mounts(&l, "/proc/1/mountinfo", true, err);
    if (r == 0)
        r = look_at_mounts(&l, "/proc/self/mountinfo", false, err);
    if (r == 0)
        r = look_at_processes(&l, err);
    return r;
}
