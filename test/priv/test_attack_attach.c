/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Races against attach: hostile processes change the preserved root and the consumer's namespace while roots
 * are attached again and again. However it ends, what the consumer has mounted then is what it had before,
 * and its preserved root, and nothing else: no mount of the machine, none of another's. And the machine has
 * the mounts and the files that it had. Ends of every kind are fine, but not the worker's own death.
 */
#include "test/priv/attack.h"
#include "test/priv/chroot_run.h"

enum { ROUND = 50 }; /* attaches to one provider */

static const struct wish by_pivot = {.workdir = "/home/../home/d"};
static const struct wish by_chroot = {.workdir = "/home/../home/d", .chroot = &for_user};

/* What is carried to, and what is on the way there. */
static const char *const root_names[] = {"proc", "dev", "sys", ".stoppablecontainer", "etc", "etc/hosts",
        "vol", "new", "new/dir", "new/file", "bidi", "home", "home/d", "usr", "usr/bin", "usr/bin/sh", "bin"};

static void mount_volumes(const char *root)
{
    static const char *const dirs[] = {"vol", "new", "new/dir"};

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        put_dir(at("%s/%s", root, dirs[i]));
    put_tmpfs(at("%s/vol", root), "of-volume");
    put_tmpfs(at("%s/new/dir", root), "of-new");
    put_file(at("%s/new/file", root), "");
    must(mount(BOX_BASE "/hosts", at("%s/new/file", root), NULL, MS_BIND, NULL) == 0);
    mount_bidirectional(root);
}

/* Without rest an attacker breaks every attach at its first steps, with much rest it meets few: some of each.
 */
static const uint32_t pauses[] = {0, 50, 200, 1000};

/* In the provider: without its mounts, whose places the kernel would guard, and with directories of its own
 * layer, which an overlay lets it rename. Then two that attack the root until the box ends. */
static int do_attack_root(const char *seed)
{
    static const char *const mounts[] = {
            "/etc/hosts", "/dev/shm", "/proc", "/dev", "/sys", "/.stoppablecontainer", NULL};
    int root = open("/", O_PATH | O_CLOEXEC);

    for (size_t i = 0; mounts[i]; i++)
        must(umount2(mounts[i], MNT_DETACH) == 0);
    for (size_t i = 2; mounts[i]; i++)
        must((rmdir(mounts[i]) == 0 || errno == ENOTEMPTY) &&
                (mkdir(mounts[i], 0755) == 0 || errno == EEXIST));
    attack_prepare(root);
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();

        must(pid >= 0);
        if (pid == 0)
            attack_for_ever(root, root_names, ARRAY_SIZE(root_names), (uint32_t)(atoi(seed) + i),
                    pauses[(uint32_t)atoi(seed) / ROUND % ARRAY_SIZE(pauses)]);
    }
    close(root);
    return 0;
}

/* In the consumer: mounts come and go, on what is carried and beside it. */
static void churn_mounts(void)
{
    static const char *const places[] = {"/tmp/a", "/tmp/b", "/vol", "/new/dir", "/dev/shm"};
    const char *place = places[attack_random(ARRAY_SIZE(places))];

    (void)mkdir(place, 0755);
    switch (attack_random(4)) {
    case 0:
        (void)mount("own", place, "tmpfs", 0, "size=1m");
        break;
    case 1:
        (void)mount(place, place, NULL, MS_BIND | MS_REC, NULL);
        break;
    default:
        /* Only what lies on top of the runtime's; and never whole trees, for with one that is shared go the
         * machine's own mounts, attack or not. */
        if (access(at("%s/of-volume", place), F_OK) < 0 && access(at("%s/of-new", place), F_OK) < 0 &&
                access(at("%s/shm-of-runtime", place), F_OK) < 0)
            (void)umount(place);
        break;
    }
}

static int do_attack_namespace(const char *seed)
{
    pid_t pid = fork();

    must(pid >= 0);
    if (pid > 0)
        return 0;
    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    attack_state = (uint32_t)atoi(seed) | 1;
    for (;;) {
        churn_mounts();
        attack_pause(3000);
    }
}

/* --- who has what --------------------------------------------------------------------------------------- */

enum { SOURCES_MAX = 64 };

/* The file systems of a mount table, each as "major:minor path-in-it". */
struct sources {
    char text[SOURCES_MAX][64];
    size_t n;
};

static bool has_source(const struct sources *s, const char *text)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->text[i], text) == 0)
            return true;
    return false;
}

/* Mounts named "own" are the attackers', those of Chroot are new. */
static void read_sources(pid_t pid, struct sources *ret)
{
    char *table = mounts_of(pid);
    char *rest = table, *line;

    ret->n = 0;
    while ((line = strsep(&rest, "\n"))) {
        char dev[32], path[32];

        if (strstr(line, " tmpfs own ") || strstr(line, " tmpfs stoppablecontainer-chroot ") ||
                sscanf(line, "%*u %*u %31s %31s", dev, path) != 2 || has_source(ret, at("%s %s", dev, path)))
            continue;
        must(ret->n < SOURCES_MAX);
        (void)snprintf(ret->text[ret->n++], sizeof(ret->text[0]), "%s %s", dev, path);
    }
    free(table);
}

/* What is in `now` and neither in `before` nor the preserved root. Directories of tmpfs that attackers bound
 * onto themselves are of a file system that was there. */
static bool is_foreign(const struct sources *before, const char *text, const char *root)
{
    char all[64];

    if (has_source(before, text) || strcmp(text, root) == 0)
        return false;
    (void)snprintf(all, sizeof(all), "%.*s /", (int)strcspn(text, " "), text);
    return !has_source(before, all) && strcmp(all, root) != 0;
}

struct tally {
    int tries, attached, foreign, died;
    char what[64];
};

static void look(const struct box *consumer, const struct sources *before, const char *root, struct tally *t)
{
    struct sources now;

    read_sources(consumer->pid, &now);
    for (size_t i = 0; i < now.n; i++) {
        if (!is_foreign(before, now.text[i], root))
            continue;
        t->foreign++;
        (void)snprintf(t->what, sizeof(t->what), "%s", now.text[i]);
    }
}

/* One consumer, until it has its root or has been refused often enough. */
static void try_consumer(struct agent *a, const struct wish *wish, const char *root, struct tally *t)
{
    struct box consumer;
    struct sources before;
    int r = -1;

    box_start(&consumer, &(const struct box_spec){.name = "consumer", .mounts = mount_volumes});
    read_sources(consumer.pid, &before);
    must(box_call(&consumer, do_attack_namespace, at("%d", t->tries + 5)) == 0);
    for (int i = 0; i < 8 && r < 0; i++) {
        r = agent_attach(a, consumer.pid, "rootfs", wish);
        t->tries++;
        t->died += r == -EIO || r == -ETIMEDOUT;
        if (r == -EIO || r == -ETIMEDOUT)
            printf("# %s\n", a->text);
        look(&consumer, &before, root, t);
    }
    t->attached += r == 0;
    box_end(&consumer);
    must(system("rm -rf " BOX_BASE "/consumer") == 0);
}

/* The machine has every mount that it had, and no other but the exposed root and what attackers made in the
 * shared volume. */
static bool machine_is_as_before(const char *before)
{
    char *table = mounts_of(getpid()), *rest = table, *line;
    size_t missing = 0, foreign = 0;

    for (const char *s = before; *s; s++)
        missing += *s == '\n';
    while ((line = strsep(&rest, "\n"))) {
        if (line[0] && strstr(before, line))
            missing--;
        else if (line[0] && !strstr(line, " " BOX_BASE "/bidi") &&
                 !strstr(line, " " BOX_BASE "/state/rootfs "))
            foreign++;
    }
    free(table);
    return missing == 0 && foreign == 0;
}

static void races(struct agent *a, const struct wish *wish, int tries, const char *machine)
{
    char root[64];
    struct tally t = {.tries = 0};
    struct box provider;
    struct stat st;
    int names;

    while (t.tries < tries) {
        int until = t.tries + ROUND;

        box_start(&provider, &(const struct box_spec){.name = "provider"});
        must(agent_expose(a, provider.pid, "rootfs") == 0);
        must(stat(BOX_BASE "/state/rootfs", &st) == 0);
        (void)snprintf(root, sizeof(root), "%u:%u /", major(st.st_dev), minor(st.st_dev));
        names = attack_names_in(BOX_BASE "/state");
        must(box_call(&provider, do_attack_root, at("%d", t.tries)) == 0);
        while (t.tries < until && t.tries < tries)
            try_consumer(a, wish, root, &t);
        t.foreign += !machine_is_as_before(machine);
        t.foreign += attack_names_in(ATTACK_OUTSIDE) != 1 || attack_names_in(BOX_BASE "/state") != names;
        box_end(&provider);
        must(expose_remove(a->state, "rootfs", NULL) == 0);
        forget_pair();
    }
    tap_ok(t.foreign == 0, "%d attaches among hostile processes: %d escapes %s", t.tries, t.foreign, t.what);
    tap_ok(t.attached * 20 > t.tries, "%d of them succeeded", t.attached);
    tap_ok(t.died == 0, "no worker died or hung (%d)", t.died);
}

static void play_races(struct agent *a)
{
    int tries = attack_count("ATTACK_ATTACHES", 400);
    char *machine;

    must(realpath("build/execwrap", execwrap_path) != NULL);
    put_dir(ATTACK_OUTSIDE);
    put_tmpfs(ATTACK_OUTSIDE, "mine");
    make_bidirectional();
    machine = mounts_of(getpid());
    if (a->caps.detached_assembly)
        races(a, &by_pivot, tries / 2, machine);
    a->caps.detached_assembly = false;
    printf("# the same, staged\n");
    races(a, &by_pivot, tries / 2, machine);
    printf("# by Chroot\n");
    races(a, &by_chroot, tries / 2, machine);
    free(machine);
}

/* The same eyes on a consumer into which something was let. */
static void play_seen(struct agent *a _unused_)
{
    struct tally t = {.tries = 0};
    struct sources before;
    struct box consumer;
    int tree;

    put_dir(ATTACK_OUTSIDE);
    put_tmpfs(ATTACK_OUTSIDE, "mine");
    make_bidirectional();
    box_start(&consumer, &(const struct box_spec){.name = "consumer", .mounts = mount_volumes});
    read_sources(consumer.pid, &before);
    look(&consumer, &before, "0:0 /", &t);
    tap_ok(t.foreign == 0, "nothing foreign in a consumer");
    tree = open(ATTACK_OUTSIDE, O_PATH | O_CLOEXEC);
    must(tree >= 0);
    tree = mount_clone(tree, false);
    must(tree >= 0);
    if (fork() == 0) {
        int fd = open(at("/proc/%d/ns/mnt", (int)consumer.pid), O_RDONLY | O_CLOEXEC), target;

        must(setns(fd, CLONE_NEWNS) == 0);
        target = open("/tmp", O_PATH | O_CLOEXEC);
        _exit(mount_move(tree, target) == 0 ? 0 : 1);
    }
    must(wait(NULL) > 0);
    look(&consumer, &before, "0:0 /", &t);
    tap_ok(t.foreign == 1, "a mount of the machine is seen in it: %s", t.what);
    box_end(&consumer);
}

int main(void)
{
    static const struct scene scenes[] = {{"races", play_races}, {"seen", play_seen}};

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
