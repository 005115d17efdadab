/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start and end of the agent (agent.h). In this order, and each failure ends the start with a sentence:
 *
 *   1. the directories: the kubelet's; the state directory, locked, and a shared mount, since the roots
 *      mounted in it must be seen by other mount namespaces of the node
 *   2. the machine: its namespaces and root, which are never given away; the kernel's calls; whether
 *      programs can be run from the kubelet's directory. A node that is not fit is no failure: the agent
 *      says why, stays, and does not register the driver, so that pods wait with the kubelet's event
 *   3. what an earlier agent left (recover.c)
 *   4. the CSI socket, then the registration: the kubelet calls as soon as it sees that
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/hash/sha256.h"
#include "common/names.h"
#include "node-agent/agent.h"
#include "node-agent/mounts/mountinfo.h"

#define CSI_SOCKET_FORMAT "%s/plugins/" SC_CSI_DRIVER "/csi.sock"
#define REGISTRY_FORMAT "%s/plugins_registry"

/* Longer than any waiting call needs to be told, and well below the pod's grace period. */
#define STOP_DEADLINE (3 * USEC_PER_SEC)

static int open_dir(const char *path, struct err *err)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? err_set(err, errno, "cannot open the directory %s", path) : fd;
}

static int open_subdir(int dir, const char *name, struct err *err)
{
    int fd;

    if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the directory %s in the state directory", name);
    fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_set(err, errno, "cannot open the directory %s in the state directory", name) : fd;
}

/* Not O_PATH: it is locked, for as long as the process lives. */
static int open_state(const char *path, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the state directory %s", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno, "cannot open the state directory %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, errno, "another agent serves this node (%s is locked)", path);
    return take_fd(&fd);
}

static int check_shared(int state_fd, const char *path, struct err *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_MOUNTINFO);
    _cleanup_mountinfo_ struct mountinfo *mi = NULL;
    const struct mount *m;
    uint64_t id;
    bool is_root;
    int r = mount_identify(state_fd, &id, &is_root);

    if (r < 0)
        return err_set(err, r, "cannot tell the mount of %s", path);
    r = file_read_at(AT_FDCWD, "/proc/self/mountinfo", &text, err);
    if (r == 0)
        r = mountinfo_parse(buf_str(&text), text.len, &mi, err);
    if (r < 0)
        return r;
    m = mountinfo_by_id(mi, id);
    if (!m || !m->shared)
        return err_say(err, EINVAL,
                "%s is not on a shared mount: roots exposed there would not be seen on the node; in a pod "
                "its volume "
                "needs mountPropagation: Bidirectional",
                path);
    return 0;
}

static int open_directories(struct agent *a, struct err *err)
{
    const char *state = a->options->state_dir;
    int r;

    a->target.kubelet_fd = open_dir(a->options->kubelet_dir, err);
    if (a->target.kubelet_fd < 0)
        return a->target.kubelet_fd;
    a->state_fd = open_state(state, err);
    if (a->state_fd < 0)
        return a->state_fd;
    r = check_shared(a->state_fd, state, err);
    if (r < 0)
        return r;
    a->volumes_fd = open_subdir(a->state_fd, SC_VOLUMES_DIR, err);
    if (a->volumes_fd < 0)
        return a->volumes_fd;
    a->instances_fd = open_subdir(a->state_fd, SC_INSTANCES_DIR, err);
    if (a->instances_fd < 0)
        return a->instances_fd;
    a->trash_fd = open_subdir(a->state_fd, SC_TRASH_DIR, err);
    return a->trash_fd < 0 ? a->trash_fd : 0;
}

/* Containers run pause and execwrap from their volumes, which lie there; a bind mount of them is noexec too.
 */
static int check_exec(const struct agent *a, struct err *err)
{
    struct statvfs fs;

    if (fstatvfs(a->target.kubelet_fd, &fs) < 0)
        return err_set(err, errno, "cannot look at the file system of %s", a->options->kubelet_dir);
    if (!(fs.f_flag & ST_NOEXEC))
        return 0;
    return err_say(err, ENOSYS,
            "%s is mounted noexec, and no container could run its first program from the volume there: mount "
            "it with "
            "exec",
            a->options->kubelet_dir);
}

static int look_at_machine(struct agent *a, struct err *err)
{
    int r = machine_read(&a->machine, err);

    a->machine_ns = r < 0 ? r : open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (r == 0 && a->machine_ns < 0)
        r = err_set(err, errno, "cannot open the machine's mount namespace");
    if (r == 0)
        r = mount_caps_probe(&a->mount_caps, err);
    if (r == 0)
        r = check_exec(a, err);
    a->fit = r == 0;
    if (r == -ENOSYS) {
        log_error(
                "%s; this node cannot run StoppableContainers, the driver is not registered", err_text(err));
        a->unfit = *err;
        err_clear(err);
        return 0;
    }
    return r;
}

static void on_registered(bool registered, const char *text, void *user)
{
    struct agent *a = user;

    a->registered = registered;
    if (registered)
        log_info("registered with the kubelet as " SC_CSI_DRIVER);
    else
        log_error("the kubelet refused to register the driver: %s", text);
}

static int start_csi(struct agent *a, struct err *err)
{
    char endpoint[PATH_MAX], registry[PATH_MAX];
    struct csi_node_config node = {
            .socket_path = endpoint,
            .driver_name = SC_CSI_DRIVER,
            .driver_version = AGENT_VERSION,
            .node_id = a->options->node_name,
            .kubelet_dir = a->options->kubelet_dir,
            .ops = &publish_ops,
            .user = a,
    };
    struct csi_registration_config registration = {
            .registry_dir = registry,
            .driver_name = SC_CSI_DRIVER,
            .endpoint = endpoint,
            .on_status = on_registered,
            .user = a,
    };
    int r;

    (void)snprintf(endpoint, sizeof(endpoint), CSI_SOCKET_FORMAT, a->options->kubelet_dir);
    (void)snprintf(registry, sizeof(registry), REGISTRY_FORMAT, a->options->kubelet_dir);
    r = csi_node_service_new(a->loop, &node, &a->csi, err);
    if (r == 0 && a->fit)
        r = csi_registration_new(a->loop, &registration, &a->registration, err);
    return r;
}

static int make_tables(struct agent *a, struct err *err)
{
    a->volumes = map_new(LIMIT_VOLUMES, NULL);
    a->instances = map_new((size_t)LIMIT_VOLUMES + LIMIT_WAITING, free);
    a->tried = map_new(LIMIT_VOLUMES, NULL);
    if (!a->volumes || !a->instances || !a->tried ||
            loop_add_timer(a->loop, "settle", agent_settle, a, &a->settle) < 0 ||
            loop_add_timer(a->loop, "again", agent_again, a, &a->again) < 0)
        return err_set(err, ENOMEM, "cannot start");
    return 0;
}

static void on_stop_timer(struct loop_source *src, usec_t now, void *data)
{
    struct agent *a = data;

    (void)src;
    (void)now;
    log_warn("a call of the kubelet is still under way; it will ask again");
    loop_stop(a->loop, 0);
}

int agent_new(struct loop *loop, const struct options *options, struct agent **ret_agent, struct err *err)
{
    struct agent *a = calloc(1, sizeof(*a));
    int r;

    if (!a)
        return err_set(err, ENOMEM, "cannot start");
    a->loop = loop;
    a->options = options;
    a->state_fd = a->volumes_fd = a->instances_fd = a->trash_fd = -EBADF;
    a->target.kubelet_fd = a->machine_ns = -EBADF;
    a->target.pause_path = options->pause_path;
    a->target.execwrap_path = options->execwrap_path;
    list_init(&a->waiting);
    list_init(&a->dirty);
    list_init(&a->removals);
    r = sha256_set_up(err);
    if (r == 0)
        r = make_tables(a, err);
    if (r == 0)
        r = open_directories(a, err);
    if (r == 0)
        r = look_at_machine(a, err);
    if (r == 0)
        r = workers_new(loop, &a->workers, err);
    if (r == 0)
        r = cri_new(loop, options_runtime(options), &a->cri, err);
    a->runtime_root = options_runtime_root(options);
    if (r == 0)
        r = loop_add_timer(loop, "stop", on_stop_timer, a, &a->stop_timer);
    if (r == 0)
        r = recover_all(a, err);
    if (r == 0)
        r = start_csi(a, err);
    if (r < 0) {
        (void)agent_free(a);
        return r;
    }
    *ret_agent = a;
    return 0;
}

static void on_drained(void *user)
{
    struct agent *a = user;

    loop_stop(a->loop, 0);
}

void agent_stop(struct agent *a)
{
    a->registration = csi_registration_free(a->registration);
    publish_stop(a);
    (void)loop_timer_in(a->stop_timer, STOP_DEADLINE);
    csi_node_service_drain(a->csi, on_drained, a);
}

struct agent *agent_free(struct agent *a)
{
    if (!a)
        return NULL;
    a->registration = csi_registration_free(a->registration);
    a->workers = workers_free(a->workers);
    if (a->tried)
        publish_stop(a);
    if (a->volumes)
        map_for_each (e, a->volumes)
            served_free(e->value);
    a->csi = csi_node_service_free(a->csi);
    a->cri = cri_free(a->cri);
    a->settle = loop_remove(a->settle);
    a->again = loop_remove(a->again);
    a->stop_timer = loop_remove(a->stop_timer);
    a->volumes = map_free(a->volumes);
    a->instances = map_free(a->instances);
    a->tried = map_free(a->tried);
    a->state_fd = close_fd(a->state_fd);
    a->volumes_fd = close_fd(a->volumes_fd);
    a->instances_fd = close_fd(a->instances_fd);
    a->trash_fd = close_fd(a->trash_fd);
    a->machine_ns = close_fd(a->machine_ns);
    a->target.kubelet_fd = close_fd(a->target.kubelet_fd);
    free(a);
    return NULL;
}
