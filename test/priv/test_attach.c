/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach: what a container has after it, what the machine has after the container, and that it can be done
 * again. Every scene that can is played twice, with the tree put together detached and on the stage.
 */
#include <sys/statvfs.h>

#include "test/priv/pair.h"

static const char *const own_mounts[] = {"/etc/hosts", "/.stoppablecontainer", "/vol", "/data/kept", "/bidi"};
static const struct wish usual = {
        .workdir = "/work/dir", .own_mounts = own_mounts, .n_own_mounts = ARRAY_SIZE(own_mounts)};

/* --- what is carried ------------------------------------------------------------------------------------ */

static void mount_volumes(const char *root)
{
    /* A volume in a volume; a stack of two; a tmpfs below /run that the image reaches as /var/run. */
    put_dir(at("%s/vol", root));
    put_tmpfs(at("%s/vol", root), "outer");
    put_dir(at("%s/vol/in", root));
    put_tmpfs(at("%s/vol/in", root), "inner");
    put_dir(at("%s/stack", root));
    put_tmpfs(at("%s/stack", root), "below");
    put_tmpfs(at("%s/stack", root), "above");
    put_dir(at("%s/run/secrets", root));
    put_tmpfs(at("%s/run/secrets", root), "token");
    put_dir(at("%s/new", root));
    put_dir(at("%s/new/deep", root));
    put_dir(at("%s/new/deep/dir", root));
    put_tmpfs(at("%s/new/deep/dir", root), "deep");
    put_file(at("%s/new/file", root), "");
    must(mount(BOX_BASE "/hosts", at("%s/new/file", root), NULL, MS_BIND, NULL) == 0);
}

static int do_size(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? -errno : (int)st.st_size;
}

static void carry(struct agent *a)
{
    struct box provider, consumer;
    char *before, *after, *table, line[1024];
    int mounts;

    before = mounts_of(getpid());
    start_pair(a, &provider, &consumer, mount_volumes);
    mounts = box_call(&consumer, do_count_mounts, "");
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "attached (%s)", a->text);
    tap_ok(!a->already && a->n_asides == 0, "for the first time, with nothing in the way");

    check_in(&consumer, "/marker", "the running process is in the preserved root");
    check_in(&consumer, "/proc/1/status", "/proc is carried");
    check_in(&consumer, "/dev/dev-of-runtime", "/dev is carried");
    check_in(&consumer, "/dev/shm/shm-of-runtime", "and what is mounted in it");
    check_in(&consumer, "/sys/sys-of-runtime", "/sys is carried");
    tap_ok(box_call(&consumer, do_size, "/etc/hosts") == (int)strlen("of the pod"),
            "/etc/hosts is the pod's");
    check_in(&consumer, "/.stoppablecontainer/agent.sock", "the pod's own volume is carried");
    check_in(&consumer, "/vol/outer", "a volume is carried");
    check_in(&consumer, "/vol/in/inner", "and a volume in it");
    check_in(&consumer, "/stack/above", "of a stack the topmost is carried");
    check_in(&consumer, "/var/run/secrets/token", "a link in the root leads to a carried mount");
    check_in(&consumer, "/new/deep/dir/deep", "a missing directory was made for its mount");
    tap_ok(box_call(&consumer, do_size, "/new/file") == (int)strlen("of the pod"), "and a missing file");
    tap_ok(box_call(&consumer, do_is_dir, "/work/dir") == 1, "the working directory was made");
    must(box_call(&consumer, do_umount, "/stack") == 0);
    check_out(&consumer, "/stack/below", "of a stack nothing but the topmost is carried");
    tap_ok(box_call(&consumer, do_count_mounts, "") == mounts - 2,
            "no mount more than before, and the stack's");
    table = mounts_of(consumer.pid);
    tap_ok(mount_line(table, "/", line, sizeof(line)) && !strstr(line, "shared:") && !strstr(line, "master:"),
            "the new root is private");
    free(table);

    must(box_call(&consumer, do_write, "/written") == 0);
    check_in(&provider, "/written", "what the consumer writes is in the provider's root");
    end_pair(a, &provider, &consumer);
    after = mounts_of(getpid());
    tap_ok(strcmp(before, after) == 0, "the machine's mounts are as before");
    free(before);
    free(after);
    forget_pair();
}

static void play_carry(struct agent *a)
{
    both_ways(a, carry);
}

/* --- links that the root keeps, or has no more ---------------------------------------------------------- */

static void mount_behind_link(const char *root)
{
    static const char *const names[] = {"pods", "plain", "runtimes"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        put_dir(at("%s/run/%s", root, names[i]));
        put_tmpfs(at("%s/run/%s", root, names[i]), names[i]);
    }
}

/* In the image /var/run is a link to /run; in the preserved root it was made a directory. */
static void play_own_links(struct agent *a)
{
    static const char *const own[] = {"/.stoppablecontainer", "/data/../run/plain", "/var/run/pods/"};
    const struct wish wish = {.workdir = "/run/pods", .own_mounts = own, .n_own_mounts = ARRAY_SIZE(own)};
    struct box provider, consumer;

    box_start(&provider, &(const struct box_spec){.name = "provider"});
    must(box_call(&provider, do_remove, "/var/run") == 0);
    must(box_call(&provider, do_mkdir, "/var/run") == 0);
    must(box_call(&provider, do_remove, "/data") == 0);
    must(agent_expose(a, provider.pid, "rootfs") == 0);
    box_start(&consumer, &(const struct box_spec){.name = "consumer", .mounts = mount_behind_link});
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &wish) == 0, "attached (%s)", a->text);
    check_in(&consumer, "/var/run/pods/pods", "a volume is where the pod says, by the links of the root");
    check_out(&consumer, "/run/pods/pods", "and not where the links of the image led to");
    check_in(&consumer, "/run/plain/plain", "what is written with .. is where the runtime put it");
    check_out(&consumer, "/data", "and leaves no trace");
    check_in(&consumer, "/run/runtimes/runtimes", "so is what the pod does not know of");
    tap_ok(box_call(&consumer, do_is_dir, "/run/pods") == 1,
            "a working directory that was in a volume, and is no more, was made");
    end_pair(a, &provider, &consumer);
}

/* --- image VOLUMEs -------------------------------------------------------------------------------------- */

static void mount_image_volumes(const char *root)
{
    put_tmpfs(at("%s/data", root), "anonymous");
    put_dir(at("%s/data/kept", root));
    put_tmpfs(at("%s/data/kept", root), "kubelets");
    put_dir(at("%s/run/cache", root));
    put_tmpfs(at("%s/run/cache", root), "anonymous");
    put_dir(at("%s/vol", root));
    put_tmpfs(at("%s/vol", root), "kubelets");
}

static void play_image_volumes(struct agent *a)
{
    static const char *const volumes[] = {"/data/", "/vol", "/proc", "/var/run/cache"};
    struct wish wish = usual;
    struct box provider, consumer;

    wish.image_volumes = volumes;
    wish.n_image_volumes = ARRAY_SIZE(volumes);
    box_start(&provider, &(const struct box_spec){.name = "provider"});
    must(box_call(&provider, do_write, "/data/preserved") == 0);
    must(agent_expose(a, provider.pid, "rootfs") == 0);
    box_start(&consumer, &(const struct box_spec){.name = "consumer", .mounts = mount_image_volumes});
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &wish) == 0, "attached (%s)", a->text);
    check_in(&consumer, "/data/preserved", "an image VOLUME shows what the root preserves");
    check_out(&consumer, "/data/anonymous", "and not the runtime's anonymous mount");
    check_in(&consumer, "/data/kept/kubelets", "a volume of the pod within it is carried");
    check_in(&consumer, "/vol/kubelets", "a VOLUME that the pod mounts over is carried");
    check_in(&consumer, "/proc/1/status", "/proc is carried whatever the image says");
    check_out(&consumer, "/run/cache/anonymous", "a VOLUME behind a link of the image is known");
    end_pair(a, &provider, &consumer);
}

/* --- propagation ---------------------------------------------------------------------------------------- */

static int do_mount_tmpfs(const char *path)
{
    return mount("t", path, "tmpfs", 0, NULL) < 0 ? -errno : 0;
}

static void bidirectional(struct agent *a)
{
    struct box provider, consumer;
    char *before, *after, line[1024];

    before = mounts_of(getpid());
    start_pair(a, &provider, &consumer, mount_bidirectional);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "attached (%s)", a->text);
    check_in(&consumer, "/bidi/in/machines", "a mount within a Bidirectional volume is carried");
    tap_ok(access(BOX_BASE "/bidi/in/machines", F_OK) == 0, "and the machine still has it");
    must(box_call(&consumer, do_mount_tmpfs, "/bidi/there") == 0);
    after = mounts_of(getpid());
    tap_ok(mount_line(after, BOX_BASE "/bidi/there", line, sizeof(line)),
            "what the container mounts there afterwards reaches the machine");
    free(after);
    must(box_call(&consumer, do_umount, "/bidi/there") == 0);
    end_pair(a, &provider, &consumer);
    after = mounts_of(getpid());
    tap_ok(strcmp(before, after) == 0, "after the container the machine's mounts are the same");
    free(before);
    free(after);
    forget_pair();
}

static void play_bidirectional(struct agent *a)
{
    make_bidirectional();
    both_ways(a, bidirectional);
}

/* A container of which the runtime made "/" and everything in it shared, as for Bidirectional volumes. */
static int do_share(const char *path)
{
    return mount(NULL, path, NULL, MS_SHARED, NULL) < 0 ? -errno : 0;
}

static void shared_root(struct agent *a)
{
    struct box provider, consumer;

    start_pair(a, &provider, &consumer, mount_bidirectional);
    must(box_call(&consumer, do_share, "/") == 0 &&
            box_call(&consumer, do_share, "/.stoppablecontainer") == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "attached to a shared root (%s)", a->text);
    check_in(&consumer, "/bidi/in/machines", "with its volume");
    end_pair(a, &provider, &consumer);
    forget_pair();
}

static void play_shared_root(struct agent *a)
{
    make_bidirectional();
    both_ways(a, shared_root);
}

/* --- processes ------------------------------------------------------------------------------------------ */

static int child_sock = -EBADF;
static pid_t child_pid;

/* A second process of the container, started before the attach: root and directory are the old root. */
static int do_fork_server(const char *text _unused_)
{
    int pair[2];

    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    child_pid = fork();
    must(child_pid >= 0);
    if (child_pid == 0) {
        close(pair[0]);
        box_serve(pair[1]);
    }
    close(pair[1]);
    child_sock = pair[0];
    return 0;
}

static int do_ask_child(const char *path)
{
    return box_call(&(const struct box){.pid = child_pid, .sock = child_sock}, do_exists, path);
}

static void processes(struct agent *a)
{
    struct box provider, consumer;

    start_pair(a, &provider, &consumer, NULL);
    must(box_call(&consumer, do_fork_server, "") == 0);
    tap_ok(!exec_sees(consumer.pid, "/marker"), "an exec before the attach is in the old root");
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "attached (%s)", a->text);
    tap_ok(box_call(&consumer, do_ask_child, "/marker") == 1, "a child from before it is in the new root");
    tap_ok(box_call(&consumer, do_ask_child, "marker") == 1, "with its directory");
    tap_ok(exec_sees(consumer.pid, "/marker"), "an exec after it is in the new root");
    tap_ok(exec_sees(consumer.pid, "/dev/shm/shm-of-runtime"), "with all its mounts");

    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0 && a->already,
            "a second time: it has it already");
    check_in(&consumer, "/dev/shm/shm-of-runtime", "and nothing has changed");
    end_pair(a, &provider, &consumer);
    forget_pair();
}

static void play_processes(struct agent *a)
{
    both_ways(a, processes);
}

/* --- flags ---------------------------------------------------------------------------------------------- */

static int do_root_flags(const char *text _unused_)
{
    struct statvfs vfs;

    return statvfs("/", &vfs) < 0 ? -errno
                                  : (int)(vfs.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC));
}

static void play_flags(struct agent *a)
{
    struct wish read_only = usual;
    struct box provider, consumer, second;

    start_pair(a, &provider, &consumer, mount_volumes);
    must(agent_attach(a, consumer.pid, "rootfs", &usual) == 0);
    tap_ok(box_call(&consumer, do_root_flags, "") == 0,
            "the consumer's root has no flag of the exposed copy");
    must(box_call(&consumer, do_symlink, "/marker /link") == 0);
    tap_ok(box_call(&consumer, do_size, "/link") >= 0, "links in it are followed");
    box_end(&consumer);

    read_only.read_only = true;
    box_start(&second, &(const struct box_spec){.name = "second", .mounts = mount_volumes});
    tap_ok(agent_attach(a, second.pid, "rootfs", &read_only) == 0, "attached read-only (%s)", a->text);
    tap_ok(box_call(&second, do_write, "/x") == -EROFS, "its root is read-only");
    tap_ok(box_call(&second, do_write, "/vol/x") == 0, "its volumes are not");
    must(box_call(&provider, do_write, "/y") == 0);
    check_in(&second, "/y", "the provider's own copy is not");
    end_pair(a, &provider, &second);
}

static void put_read_only(const char *path)
{
    put_file(path, "");
    must(mount(BOX_BASE "/hosts", path, NULL, MS_BIND, NULL) == 0);
    must(mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
}

static void image_with_linked_resolv_conf(const char *root)
{
    must(symlink("/run/resolv", at("%s/etc/resolv.conf", root)) == 0);
}

/* As a runtime does where the container's own root is read-only. */
static void mount_runtime_files(const char *root)
{
    put_read_only(at("%s/etc/hostname", root));
    put_read_only(at("%s/run/resolv", root));
    put_read_only(at("%s/etc/config", root));
}

static void play_runtime_files(struct agent *a)
{
    static const char *const own_resolv[] = {"/.stoppablecontainer", "/etc/resolv.conf"};
    struct wish wish = usual;
    struct box provider, consumer;

    for (int turn = 0; turn < 3; turn++) {
        wish.read_only = turn == 1;
        if (turn == 2) {
            wish.own_mounts = own_resolv;
            wish.n_own_mounts = ARRAY_SIZE(own_resolv);
        }
        box_start(&provider,
                &(const struct box_spec){.name = "provider", .image = image_with_linked_resolv_conf});
        must(agent_expose(a, provider.pid, "rootfs") == 0);
        box_start(&consumer, &(const struct box_spec){.name = "consumer",
                                     .image = image_with_linked_resolv_conf,
                                     .mounts = mount_runtime_files});
        tap_ok(agent_attach(a, consumer.pid, "rootfs", &wish) == 0, "attached (%s)", a->text);
        tap_ok(box_call(&consumer, do_write, "/etc/hostname") == (turn == 1 ? -EROFS : 0),
                "the runtime's file is as writable as the template's root");
        tap_ok(box_call(&consumer, do_write, "/etc/resolv.conf") == (turn == 0 ? 0 : -EROFS),
                turn == 2 ? "a volume of the pod in its place stays read-only" : "also behind a link");
        tap_ok(box_call(&consumer, do_write, "/etc/config") == -EROFS, "a read-only volume stays read-only");
        end_pair(a, &provider, &consumer);
        forget_pair();
    }
}

/* --- halves --------------------------------------------------------------------------------------------- */

#define STAGE "/.stoppablecontainer/old-root"

/* What a worker leaves that was killed with its tree on the stage. */
static int do_leave_tree(const char *stage)
{
    if (mount("left", stage, "tmpfs", 0, NULL) < 0 || mkdir(at("%s/bidi", stage), 0755) < 0 ||
            mount("/bidi", at("%s/bidi", stage), NULL, MS_BIND | MS_REC, NULL) < 0)
        return -errno;
    return 0;
}

static void left_on_stage(struct agent *a, const char *stage)
{
    struct box provider, consumer;
    char *before, *after;
    int mounts;

    start_pair(a, &provider, &consumer, mount_bidirectional);
    mounts = box_call(&consumer, do_count_mounts, "");
    before = mounts_of(getpid());
    must(box_call(&consumer, do_leave_tree, stage) == 0);
    must(box_call(&consumer, do_count_mounts, "") == mounts + 3);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "attached over what another left on %s (%s)",
            stage, a->text);
    check_in(&consumer, "/.stoppablecontainer/agent.sock", "with the pod's volume");
    tap_ok(box_call(&consumer, do_count_mounts, "") == mounts, "and nothing of it is left");
    after = mounts_of(getpid());
    tap_ok(strcmp(before, after) == 0, "the machine's shared mounts did not go with it");
    free(before);
    free(after);
    end_pair(a, &provider, &consumer);
    forget_pair();
}

/* On the whole volume: where earlier versions had their stage. */
static void play_left_on_stage(struct agent *a)
{
    make_bidirectional();
    left_on_stage(a, STAGE);
    left_on_stage(a, "/.stoppablecontainer");
}

/* What a worker leaves that was killed right after pivot_root. */
static void half_pivot(struct agent *a, pid_t pid)
{
    int ns, root, exposed, status;
    struct mount_change clear = {.clear = MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC | MOUNT_NOSYMFOLLOW,
            .spread = MOUNT_SPREAD_PRIVATE};
    pid_t child;

    ns = open(at("/proc/%d/ns/mnt", (int)pid), O_RDONLY | O_CLOEXEC);
    must(ns >= 0 && expose_open(a->state, "rootfs", &exposed, NULL) == 0);
    root = mount_clone(exposed, false);
    must(root >= 0 && mount_change(root, &clear) == 0);
    child = fork();
    must(child >= 0);
    if (child == 0) {
        int vol, proc, pods;

        must(setns(ns, CLONE_NEWNS) == 0);
        vol = syscall(SYS_open_tree, AT_FDCWD, "/bidi", 1 | O_CLOEXEC | AT_RECURSIVE);
        proc = syscall(SYS_open_tree, AT_FDCWD, "/proc", 1 | O_CLOEXEC);
        must(mount(NULL, "/", NULL, MS_PRIVATE, NULL) == 0);
        must(mount(NULL, "/.stoppablecontainer", NULL, MS_PRIVATE, NULL) == 0);
        pods = syscall(SYS_open_tree, AT_FDCWD, "/.stoppablecontainer", 1 | O_CLOEXEC);
        must(vol >= 0 && proc >= 0 && pods >= 0);
        must(mount_move(root, open(STAGE, O_PATH | O_CLOEXEC)) == 0);
        must(mount_move(proc, open(STAGE "/proc", O_PATH | O_CLOEXEC)) == 0);
        must(mkdir(STAGE "/bidi", 0755) == 0);
        must(mount_move(vol, open(STAGE "/bidi", O_PATH | O_CLOEXEC)) == 0);
        must(mount_move(pods, open(STAGE "/.stoppablecontainer", O_PATH | O_CLOEXEC)) == 0);
        must(fchdir(root) == 0 && mount_pivot("./.stoppablecontainer/old-root") == 0);
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child && status == 0);
    close(ns);
    close(root);
    close(exposed);
}

static void play_half_pivot(struct agent *a)
{
    struct box provider, consumer;
    char *before, *after;

    make_bidirectional();
    start_pair(a, &provider, &consumer, mount_bidirectional);
    before = mounts_of(getpid());
    half_pivot(a, consumer.pid);
    check_in(&consumer, "/.stoppablecontainer/old-root/proc/1", "half way: the old root is in the new one");
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "the next attempt finishes it (%s)",
            a->text);
    tap_ok(exec_sees(consumer.pid, "/marker"), "an exec is in the new root");
    check_in(&consumer, "/marker", "and so is the process");
    check_in(&consumer, "/bidi/in/machines", "with its volumes");
    tap_ok(box_call(&consumer, do_count_mounts, "") == 5, "and the old tree is gone");
    after = mounts_of(getpid());
    tap_ok(strcmp(before, after) == 0, "the machine's shared mounts did not go with it");
    free(before);
    free(after);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0 && a->already,
            "from then on it has it already");
    end_pair(a, &provider, &consumer);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"carry", play_carry},
            {"own-links", play_own_links},
            {"image-volumes", play_image_volumes},
            {"bidirectional", play_bidirectional},
            {"shared-root", play_shared_root},
            {"processes", play_processes},
            {"flags", play_flags},
            {"runtime-files", play_runtime_files},
            {"left-on-stage", play_left_on_stage},
            {"half-pivot", play_half_pivot},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
