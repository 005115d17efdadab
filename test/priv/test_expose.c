/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expose: how the copy of a provider's root looks on the node, that it goes away again, and above all that
 * nobody gets the machine's root, or a root that is not his, exposed.
 */
#include <sys/statvfs.h>

#include "test/priv/scene.h"

static const struct box_spec provider_spec = {.name = "provider"};

static void check_flags(const char *path)
{
    struct statvfs vfs;

    must(statvfs(path, &vfs) == 0);
    tap_ok(vfs.f_flag & ST_NOSUID, "%s is nosuid", path);
    tap_ok(vfs.f_flag & ST_NODEV, "%s is nodev", path);
    tap_ok(vfs.f_flag & ST_NOEXEC, "%s is noexec", path);
}

static void play_life(struct agent *a)
{
    struct box provider;
    char *before, *table, *after, line[1024];
    int fd;

    box_start(&provider, &provider_spec);
    must(box_call(&provider, do_write, "/marker") == 0);
    must(box_call(&provider, do_symlink, "/etc/hosts /link") == 0);
    before = mounts_of(getpid());

    tap_ok(expose_is_exposed(a->state, "rootfs") == 0, "nothing is exposed at first");
    tap_ok(agent_expose(a, provider.pid, "rootfs") == 0, "the root is exposed (%s)", a->text);
    tap_ok(expose_is_exposed(a->state, "rootfs") == 1, "and known to be");
    tap_ok(access(BOX_BASE "/state/rootfs/marker", F_OK) == 0, "the provider's file is there");
    tap_ok(access(BOX_BASE "/state/rootfs/proc/1", F_OK) < 0,
            "that mount alone, without what is mounted in it");
    must(box_call(&provider, do_write, "/later") == 0);
    tap_ok(access(BOX_BASE "/state/rootfs/later", F_OK) == 0, "what the provider writes later is seen");
    check_flags(BOX_BASE "/state/rootfs");
    fd = open(BOX_BASE "/state/rootfs/link", O_RDONLY | O_CLOEXEC);
    tap_ok(fd < 0 && errno == ELOOP, "links in it are not followed");
    table = mounts_of(getpid());
    tap_ok(mount_line(table, BOX_BASE "/state/rootfs", line, sizeof(line)) && strstr(line, "shared:"),
            "it is shared");

    tap_ok(agent_expose(a, provider.pid, "rootfs") == -EEXIST, "a second time is refused: %s", a->text);
    tap_ok(expose_remove(a->state, "rootfs", NULL) == 0, "it is removed");
    tap_ok(access(BOX_BASE "/state/rootfs", F_OK) < 0 && errno == ENOENT, "with its directory");
    tap_ok(expose_remove(a->state, "rootfs", NULL) == 0, "removing what is not there is success");
    after = mounts_of(getpid());
    tap_ok(strcmp(before, after) == 0, "the node's mounts are as before");
    box_end(&provider);
    free(before);
    free(table);
    free(after);
}

/* Other mount namespaces of the node see it come and go. */
static void play_shared(struct agent *a)
{
    struct box provider;
    int pair[2];
    pid_t other;
    char c = 0;

    box_start(&provider, &provider_spec);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    other = fork();
    must(other >= 0);
    if (other == 0) {
        close(pair[0]);
        must(unshare(CLONE_NEWNS) == 0 && send(pair[1], &c, 1, 0) == 1);
        while (recv(pair[1], &c, 1, 0) == 1) {
            c = access(BOX_BASE "/state/rootfs/bin", F_OK) == 0;
            must(send(pair[1], &c, 1, 0) == 1);
        }
        _exit(0);
    }
    close(pair[1]);
    must(recv(pair[0], &c, 1, 0) == 1);
    must(agent_expose(a, provider.pid, "rootfs") == 0);
    must(send(pair[0], &c, 1, 0) == 1 && recv(pair[0], &c, 1, 0) == 1);
    tap_ok(c == 1, "another mount namespace of the node sees the exposed root");
    must(expose_remove(a->state, "rootfs", NULL) == 0);
    must(send(pair[0], &c, 1, 0) == 1 && recv(pair[0], &c, 1, 0) == 1);
    tap_ok(c == 0, "and sees it go");
    close(pair[0]);
    must(waitpid(other, NULL, 0) == other);
    box_end(&provider);
}

static void check_nothing(struct agent *a, const char *what)
{
    tap_ok(a->code < 0, "%s is refused: %s", what, a->text);
    tap_ok(expose_is_exposed(a->state, "rootfs") == 0, "%s: nothing is exposed", what);
}

static pid_t fork_paused(int unshare_flags)
{
    int pair[2];
    char c = 0;
    pid_t pid;

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        must(unshare_flags == 0 || unshare(unshare_flags) == 0);
        must(write(pair[1], &c, 1) == 1);
        for (;;)
            (void)pause();
    }
    must(read(pair[0], &c, 1) == 1);
    close(pair[0]);
    close(pair[1]);
    return pid;
}

static void end_process(pid_t pid)
{
    must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void play_machine_root(struct agent *a)
{
    pid_t pid;

    (void)agent_expose(a, 1, "rootfs");
    check_nothing(a, "process 1");
    (void)agent_expose(a, getpid(), "rootfs");
    check_nothing(a, "the agent itself");
    tap_ok(strstr(a->text, "the agent's"), "by its namespace, before anything is joined");

    pid = fork_paused(CLONE_NEWNS);
    (void)agent_expose(a, pid, "rootfs");
    check_nothing(a, "an own mount namespace on the machine's root");
    tap_ok(strstr(a->text, "machine's own"), "by the look after setns, the last of the checks");
    end_process(pid);

    pid = fork_paused(CLONE_NEWUSER | CLONE_NEWNS);
    (void)agent_expose(a, pid, "rootfs");
    check_nothing(a, "unshare -Urm");
    end_process(pid);

    (void)agent_expose(a, pid, "rootfs");
    check_nothing(a, "a process that has ended");
    tap_ok(a->code == -ESRCH, "with ESRCH");
}

/* hostUsers: false: a whole container whose namespaces belong to a user namespace. */
static void play_user_namespace(struct agent *a)
{
    struct box provider;

    box_start(&provider, &(const struct box_spec){.name = "provider", .user_ns = true});
    (void)agent_expose(a, provider.pid, "rootfs");
    check_nothing(a, "a container in a user namespace");
    box_end(&provider);
}

/* The provider ends while its root is being copied: what comes back is a root that is being removed. */
static void play_provider_ends(struct agent *a)
{
    _cleanup_process_ struct process p = PROCESS_INIT;
    _cleanup_mntns_ struct mntns ns = MNTNS_INIT;
    const struct mntns_rules any = {.expected = NULL};
    struct err err = ERR_INIT;
    struct box provider;

    box_start(&provider, &provider_spec);
    must(process_pin(provider.pid, &p, &err) == 0 && mntns_open(&p, &a->machine, &any, &ns, &err) == 0);
    const struct expose_request req = {.pod = "provider",
            .target = "t",
            .machine = &a->machine,
            .caps = &a->caps,
            .process = &p,
            .ns = &ns,
            .dir = a->state,
            .name = "rootfs"};
    must(expose_start(a->workers, &req, agent_on_exposed, a, &err) == 0);
    box_end(&provider);
    agent_wait(a);
    check_nothing(a, "a provider that has ended meanwhile");
    tap_ok(a->code == -ESRCH, "with ESRCH");
}

/* Shared it is by itself, and not because of the directory it is attached in. */
static void play_private_directory(struct agent *a)
{
    struct box provider;
    char *table, line[1024];

    must(mount(NULL, BOX_BASE "/state", NULL, MS_PRIVATE, NULL) == 0);
    box_start(&provider, &provider_spec);
    must(agent_expose(a, provider.pid, "rootfs") == 0);
    table = mounts_of(getpid());
    tap_ok(mount_line(table, BOX_BASE "/state/rootfs", line, sizeof(line)) && strstr(line, "shared:"),
            "the exposed root is shared in a private directory too");
    free(table);
    must(expose_remove(a->state, "rootfs", NULL) == 0);
    box_end(&provider);
}

/* mntns_open, rule by rule. */
static void play_rules(struct agent *a)
{
    _cleanup_process_ struct process p = PROCESS_INIT, q = PROCESS_INIT;
    _cleanup_mntns_ struct mntns ns = MNTNS_INIT;
    struct file_id of_p = {.dev = 0}, of_q = {.dev = 0};
    struct err err = ERR_INIT;
    struct box one, two;

    box_start(&one, &(const struct box_spec){.name = "one"});
    box_start(&two, &(const struct box_spec){.name = "two"});
    must(process_pin(one.pid, &p, &err) == 0 && process_pin(two.pid, &q, &err) == 0);
    must(mntns_identify(&p, &of_p, &err) == 0 && mntns_identify(&q, &of_q, &err) == 0);

    tap_ok(mntns_open(&p, &a->machine, &(const struct mntns_rules){.expected = &of_p}, &ns, &err) == 0,
            "the expected namespace is taken");
    tap_ok(file_id_equal(&ns.id, &of_p), "and it is that one");
    mntns_close(&ns);
    tap_ok(mntns_open(&p, &a->machine, &(const struct mntns_rules){.expected = &of_q}, &ns, &err) == -EPERM,
            "another than its container's is refused: %s", err.text);
    tap_ok(mntns_open(&p, &a->machine,
                   &(const struct mntns_rules){
                           .forbidden = (const struct file_id[]){of_q, of_p}, .n_forbidden = 2},
                   &ns, &err) == -EPERM,
            "a forbidden one is refused: %s", err.text);
    tap_ok(ns.fd < 0, "nothing is given out by a refusal");

    box_end(&one);
    tap_ok(!process_alive(&p), "a process that ended is known to have");
    tap_ok(mntns_open(&p, &a->machine, &(const struct mntns_rules){.expected = NULL}, &ns, &err) == -ESRCH,
            "and has no namespace: %s", err.text);
    box_end(&two);
}

/* The process moves to another namespace after it was pinned and judged: what was judged is what is used. */
static int nsfd_to_join = -EBADF;

static int do_setns(const char *text _unused_)
{
    return setns(nsfd_to_join, CLONE_NEWNS) < 0 ? -errno : 0;
}

static void play_moving_target(struct agent *a)
{
    _cleanup_process_ struct process p = PROCESS_INIT;
    _cleanup_mntns_ struct mntns ns = MNTNS_INIT, after = MNTNS_INIT;
    const struct mntns_rules any = {.expected = NULL};
    struct err err = ERR_INIT;
    struct box provider;

    nsfd_to_join = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    must(nsfd_to_join >= 0);
    box_start(&provider, &provider_spec);
    must(box_call(&provider, do_write, "/marker") == 0);
    must(process_pin(provider.pid, &p, &err) == 0 && mntns_open(&p, &a->machine, &any, &ns, &err) == 0);
    must(box_call(&provider, do_setns, "") == 0);
    tap_ok(mntns_open(&p, &a->machine, &any, &after, &err) == -EPERM, "judged anew it is refused: %s",
            err.text);

    const struct expose_request req = {.pod = "provider",
            .target = "t",
            .machine = &a->machine,
            .caps = &a->caps,
            .process = &p,
            .ns = &ns,
            .dir = a->state,
            .name = "rootfs"};
    must(expose_start(a->workers, &req, agent_on_exposed, a, &err) == 0);
    agent_wait(a);
    tap_ok(a->code < 0 || access(BOX_BASE "/state/rootfs/marker", F_OK) == 0,
            "judged before, it is the judged namespace that is used");
    tap_ok(a->code < 0 || access(BOX_BASE "/state/rootfs/work/main", F_OK) < 0, "and not the machine's");
    if (a->code == 0)
        must(expose_remove(a->state, "rootfs", NULL) == 0);
    box_end(&provider);
    close(nsfd_to_join);
}

/* A number that was used again: the pinned directory answers for the old process only. */
static void play_pid_reuse(struct agent *a _unused_)
{
    _cleanup_process_ struct process p = PROCESS_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(65536);
    struct err err = ERR_INIT;
    struct box first;
    FILE *f;
    pid_t again = 0;

    box_start(&first, &(const struct box_spec){.name = "first"});
    must(process_pin(first.pid, &p, &err) == 0);
    must(process_read_file(&p, "cgroup", &b, &err) == 0);
    box_end(&first);
    for (int i = 0; i < 50 && again != p.pid; i++) {
        if (again > 0)
            end_process(again);
        f = fopen("/proc/sys/kernel/ns_last_pid", "we");
        if (!f || fprintf(f, "%d", (int)p.pid - 1) < 0 || fclose(f) != 0)
            break;
        again = fork_paused(0);
    }
    if (again != p.pid) {
        tap_skip("pid reuse", "the number could not be had again");
    } else {
        struct file_id id;

        buf_reset(&b);
        tap_ok(process_read_file(&p, "cgroup", &b, &err) < 0, "its facts are not the new process's");
        tap_ok(mntns_identify(&p, &id, &err) < 0, "nor its namespace: %s", err.text);
        tap_ok(!process_alive(&p), "nor its life");
    }
    if (again > 0)
        end_process(again);
}

/* Who connected a socket. */
static void play_peer(struct agent *a _unused_)
{
    _cleanup_process_ struct process p = PROCESS_INIT;
    struct err err = ERR_INIT;
    int pair[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    tap_ok(process_pin_peer(pair[0], &p, &err) == 0 && p.pid == getpid(), "the peer is pinned (%s)",
            err_text(&err));
    tap_ok(process_alive(&p), "alive");
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"life", play_life},
            {"shared", play_shared},
            {"machine-root", play_machine_root},
            {"user-namespace", play_user_namespace},
            {"provider-ends", play_provider_ends},
            {"private-directory", play_private_directory},
            {"rules", play_rules},
            {"moving-target", play_moving_target},
            {"pid-reuse", play_pid_reuse},
            {"peer", play_peer},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
