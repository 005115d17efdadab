/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach to what somebody prepared: things in the way, links that lead elsewhere, mounts that cannot be
 * carried. Either it ends well, or it fails and nothing has changed.
 */
#include <sys/resource.h>

#include "common/base/limits.h"
#include "test/priv/pair.h"

static const struct wish usual = {.workdir = "/"};

static void mount_volume(const char *root)
{
    put_dir(at("%s/vol", root));
    put_tmpfs(at("%s/vol", root), "of-volume");
    put_dir(at("%s/new", root));
    put_dir(at("%s/new/dir", root));
    put_tmpfs(at("%s/new/dir", root), "of-new");
    put_file(at("%s/new/file", root), "");
    must(mount(BOX_BASE "/hosts", at("%s/new/file", root), NULL, MS_BIND, NULL) == 0);
}

static void image_bare(const char *root)
{
    must(rmdir(at("%s/data", root)) == 0);
}

/* As start_pair, but the provider's root is prepared before the consumer comes. */
static void start_provider(struct agent *a, struct box *provider)
{
    box_start(provider, &(const struct box_spec){.name = "provider", .image = image_bare});
    must(box_call(provider, do_write, "/marker") == 0);
    must(agent_expose(a, provider->pid, "rootfs") == 0);
}

static void start_consumer(struct box *consumer, void (*mounts)(const char *root))
{
    box_start(consumer, &(const struct box_spec){.name = "consumer", .mounts = mounts});
}

/* The consumer's mount table, but for propagation, which the attach takes from "/" and the stage. */
static char *table_without_propagation(pid_t pid)
{
    char *table = mounts_of(pid), *from = table, *to = table;

    while (*from) {
        if (strncmp(from, "shared:", 7) == 0 || strncmp(from, "master:", 7) == 0)
            from += strcspn(from, " ") + 1;
        else
            *to++ = *from++;
    }
    *to = '\0';
    return table;
}

/* --- in the way ----------------------------------------------------------------------------------------- */

struct obstacle {
    const char *what;
    const char *away; /* removed in the preserved root first; NULL */
    box_fn make;
    const char *text;
    const char *path; /* what should be moved aside */
};

static bool moved_aside(const struct agent *a, const char *path)
{
    for (size_t i = 0; i < a->n_asides && i < ARRAY_SIZE(a->asides); i++)
        if (strcmp(a->asides[i][0], path) == 0)
            return strcmp(a->asides[i][1], at("%s.sc-aside-1", path)) == 0;
    return false;
}

/* Roots of boxes have a mount at /proc: what the root itself has there is seen by its exposed copy. */
static const char *in_root(const char *path)
{
    return at(BOX_BASE "/state/root-of-provider%s", path);
}

static void play_obstacle(struct agent *a, const struct obstacle *o)
{
    struct box provider, consumer;
    const char *place;
    char text[300];
    int exposed, copy;
    struct mount_change none = {.spread = MOUNT_SPREAD_PRIVATE,
            .clear = MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC | MOUNT_NOSYMFOLLOW};

    start_provider(a, &provider);
    must(expose_open(a->state, "rootfs", &exposed, NULL) == 0);
    copy = mount_clone(exposed, false);
    must(copy >= 0 && mount_change(copy, &none) == 0);
    put_dir(BOX_BASE "/state/root-of-provider");
    must(mount_move(copy, open(BOX_BASE "/state/root-of-provider", O_PATH | O_CLOEXEC)) == 0);
    close(copy);
    close(exposed);
    if (o->away)
        must(remove(in_root(o->away)) == 0);
    place = strrchr(o->text, ' ') ? strrchr(o->text, ' ') + 1 : o->text;
    (void)snprintf(text, sizeof(text), "%.*s%s", (int)(place - o->text), o->text, in_root(place));
    must(o->make(text) == 0);

    start_consumer(&consumer, mount_volume);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "%s: attached (%s)", o->what, a->text);
    tap_ok(moved_aside(a, o->path), "%s: it was moved aside, and that is told", o->what);
    tap_ok(access(in_root(at("%s.sc-aside-1", o->path)), F_OK) == 0 ||
                    readlink(in_root(at("%s.sc-aside-1", o->path)), text, sizeof(text)) > 0,
            "%s: and is there", o->what);
    check_in(&consumer, "/proc/1/status", "the container has its /proc");
    check_in(&consumer, "/dev/shm/shm-of-runtime", "and its /dev");
    check_in(&consumer, "/vol/of-volume", "and its volume");
    check_in(&consumer, "/new/dir/of-new", "and the other");
    must(expose_remove(a->state, "root-of-provider", NULL) == 0);
    end_pair(a, &provider, &consumer);
    forget_pair();
}

static void play_obstacles(struct agent *a)
{
    static const struct obstacle obstacles[] = {
            {"/proc is a link", "/proc", do_symlink, "/tmp /proc", "/proc"},
            {"/proc is a dangling link", "/proc", do_symlink, "/nowhere /proc", "/proc"},
            {"/proc is a file", "/proc", do_write, "/proc", "/proc"},
            {"/proc is a fifo", "/proc", do_mkfifo, "/proc", "/proc"},
            {"/dev is a link to /", "/dev", do_symlink, "/ /dev", "/dev"},
            {"/sys is a link to itself", "/sys", do_symlink, "/sys /sys", "/sys"},
            {"a file where a directory must be", NULL, do_write, "/vol", "/vol"},
            {"a fifo on the way", NULL, do_mkfifo, "/new", "/new"},
            {"a directory where a file must be", "/etc/hosts", do_mkdir, "/etc/hosts", "/etc/hosts"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(obstacles); i++)
        play_obstacle(a, &obstacles[i]);
}

/* --- links ---------------------------------------------------------------------------------------------- */

/* Links that try to lead out end within the root; nothing outside is touched. */
static void play_escapes(struct agent *a)
{
    static const char *const links[] = {"/outside /vol", "../../../../outside /vol",
            "/etc/../../outside /vol", "/etc/./..//outside/ /vol"};

    put_dir("/mnt/outside");
    put_file("/mnt/outside/mine", "");
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        struct box provider, consumer;
        char *before, *after;

        before = mounts_of(getpid());
        start_provider(a, &provider);
        must(box_call(&provider, do_symlink, links[i]) == 0);
        start_consumer(&consumer, mount_volume);
        tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "%s: attached (%s)", links[i], a->text);
        check_in(&consumer, "/vol/of-volume", "the volume is where the link leads");
        check_in(&consumer, "/outside/of-volume", "within the root");
        end_pair(a, &provider, &consumer);
        after = mounts_of(getpid());
        tap_ok(strcmp(before, after) == 0 && access("/outside", F_OK) < 0, "the machine is as before");
        free(before);
        free(after);
        forget_pair();
    }
}

struct refusal {
    const char *what;
    const char *links[3];
    const char *hard_link; /* of /etc/hosts */
    const char *says;
};

static void play_refusal(struct agent *a, const struct refusal *r)
{
    struct box provider, consumer;
    char *before, *after;

    start_provider(a, &provider);
    for (size_t i = 0; i < ARRAY_SIZE(r->links) && r->links[i]; i++)
        must(box_call(&provider, do_symlink, r->links[i]) == 0);
    if (r->hard_link) {
        must(box_call(&provider, do_mkdir, "/new") == 0);
        must(box_call(&provider, do_umount, "/etc/hosts") == 0);
        must(box_call(&provider, do_remove, "/etc/hosts") == 0 &&
                box_call(&provider, do_write, "/etc/hosts") == 0);
        must(link(BOX_BASE "/state/rootfs/etc/hosts", at(BOX_BASE "/state/rootfs%s", r->hard_link)) == 0);
    }
    start_consumer(&consumer, mount_volume);
    before = mounts_of(consumer.pid);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) < 0 && strstr(a->text, r->says),
            "%s is refused: %s", r->what, a->text);
    after = mounts_of(consumer.pid);
    tap_ok(strcmp(before, after) == 0, "%s: the container's mounts are as before", r->what);
    check_out(&consumer, "/marker", "and it is in its own root");
    free(before);
    free(after);
    end_pair(a, &provider, &consumer);
    forget_pair();
}

static void play_refusals(struct agent *a)
{
    static const struct refusal refusals[] = {
            {"a mount in the place of another", {"/vol /new"}, NULL, "hide"},
            {"a mount hidden by another", {"/new/dir/x /vol"}, NULL, "hide"},
            {"two mounts in one place", {"/.stoppablecontainer /vol"}, NULL, "one place"},
            {"a link into /proc", {"/proc/1/root/outside /vol"}, NULL, "hide"},
            {"a link through /proc/self", {"/proc/self/cwd/../outside /vol"}, NULL, "hide"},
            {"a link that leads to itself", {"/vol /vol"}, NULL, "symbolic links"},
            {"links that go round", {"/b /vol", "/c /b", "/vol /c"}, NULL, "symbolic links"},
            {"two names of one file", {NULL}, "/new/file", "one place"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
        play_refusal(a, &refusals[i]);
}

/* --- failures ------------------------------------------------------------------------------------------- */

static void mount_unbindable(const char *root)
{
    mount_volume(root);
    put_dir(at("%s/vol/secret", root));
    put_tmpfs(at("%s/vol/secret", root), "secret");
    must(mount(NULL, at("%s/vol/secret", root), NULL, MS_UNBINDABLE, NULL) == 0);
}

static int do_make_bindable(const char *path)
{
    return mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

static void unbindable(struct agent *a)
{
    struct box provider, consumer;
    char *before, *after;

    start_provider(a, &provider);
    start_consumer(&consumer, mount_unbindable);
    before = mounts_of(consumer.pid);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) < 0 && strstr(a->text, "/vol/secret"),
            "an unbindable mount is refused by name: %s", a->text);
    after = mounts_of(consumer.pid);
    tap_ok(strcmp(before, after) == 0, "the container's mounts are as before");
    free(before);
    free(after);
    must(box_call(&consumer, do_make_bindable, "/vol/secret") == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0 && !a->already,
            "the next attempt succeeds (%s)", a->text);
    check_in(&consumer, "/vol/secret/secret", "and the mount is there");
    end_pair(a, &provider, &consumer);
    forget_pair();
}

static void play_unbindable(struct agent *a)
{
    both_ways(a, unbindable);
}

/* A container whose root was moved over a shared "/" (a runtime that cannot pivot): pivot_root refuses, as
 * the very last step, when everything is on the stage. */
static void mount_late(const char *root)
{
    mount_volume(root);
    mount_bidirectional(root);
}

static void late_failure(struct agent *a)
{
    struct box provider, consumer;
    char line[1024], *before, *after, *machine_before, *machine_after, *table;

    start_provider(a, &provider);
    box_start(&consumer,
            &(const struct box_spec){.name = "consumer", .mounts = mount_late, .moved_root = true});
    machine_before = mounts_of(getpid());
    before = table_without_propagation(consumer.pid);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) < 0 && strstr(a->text, "pivot"),
            "a failure of the last step: %s", a->text);
    after = table_without_propagation(consumer.pid);
    tap_ok(strcmp(before, after) == 0, "the container's mounts are as before");
    check_in(&consumer, "/.stoppablecontainer/agent.sock", "its volume is not covered");
    table = mounts_of(consumer.pid);
    tap_ok(mount_line(table, "/bidi", line, sizeof(line)) && strstr(line, "shared:"),
            "a Bidirectional volume still is one");
    free(table);
    machine_after = mounts_of(getpid());
    tap_ok(strcmp(machine_before, machine_after) == 0, "the machine's are too");
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) < 0 && strstr(a->text, "pivot"),
            "the next attempt gets as far");
    free(before);
    free(after);
    free(machine_before);
    free(machine_after);
    end_pair(a, &provider, &consumer);
    forget_pair();
}

static void play_late_failure(struct agent *a)
{
    make_bidirectional();
    both_ways(a, late_failure);
}

static void play_no_stage(struct agent *a)
{
    struct box provider, consumer;

    start_provider(a, &provider);
    start_consumer(&consumer, NULL);
    must(box_call(&consumer, do_umount, "/.stoppablecontainer") == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == -ENOENT, "without the pod's volume: %s",
            a->text);
    end_pair(a, &provider, &consumer);
}

static int do_chroot(const char *path)
{
    return chroot(path) < 0 ? -errno : 0;
}

static void play_chroot(struct agent *a)
{
    struct box provider, consumer;

    start_provider(a, &provider);
    start_consumer(&consumer, NULL);
    must(box_call(&consumer, do_chroot, "/tmp") == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == -EPERM, "a process that did a chroot: %s",
            a->text);
    end_pair(a, &provider, &consumer);
}

/* --- many ----------------------------------------------------------------------------------------------- */

static int mount_many(const char *dir, int n)
{
    char path[200];

    for (int i = 0; i < n; i++) {
        (void)snprintf(path, sizeof(path), "%s/%d", dir, i);
        if (mkdir(path, 0755) < 0 || mount(dir, path, NULL, MS_BIND, NULL) < 0)
            return -errno;
    }
    return 0;
}

static int do_mount_many(const char *text)
{
    return mount_many("/tmp", atoi(text));
}

static void play_many(struct agent *a)
{
    struct box provider, consumer;
    struct rlimit files;
    int mounts, room;

    /* As a service has it: an attach of this size needs two fds for each mount. */
    must(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = 1024;
    must(setrlimit(RLIMIT_NOFILE, &files) == 0);

    start_provider(a, &provider);
    start_consumer(&consumer, NULL);
    mounts = box_call(&consumer, do_count_mounts, "");
    room = LIMIT_MOUNTS - mounts;
    must(box_call(&consumer, do_mount_many, at("%d", room + 1)) == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == -E2BIG, "%d mounts are too many: %s",
            LIMIT_MOUNTS + 1, a->text);
    must(box_call(&consumer, do_umount, at("/tmp/%d", room)) == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &usual) == 0, "%d are carried (%s)", LIMIT_MOUNTS,
            a->text);
    tap_ok(box_call(&consumer, do_count_mounts, "") == LIMIT_MOUNTS, "every one of them");
    end_pair(a, &provider, &consumer);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"obstacles", play_obstacles},
            {"escapes", play_escapes},
            {"refusals", play_refusals},
            {"unbindable", play_unbindable},
            {"late-failure", play_late_failure},
            {"no-stage", play_no_stage},
            {"chroot", play_chroot},
            {"many", play_many},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
