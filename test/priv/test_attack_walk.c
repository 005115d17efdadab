/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Races against safe_path: processes that change every name of a root all the time, while paths in it are
 * made and opened. An escape is an fd that is not of the root's own mount, or anything made outside of it or
 * in a mount in it. So that silence means something, the same races are run against two walks that are
 * wrong (one lets the kernel follow links, one crosses mounts), whose escapes must be seen.
 */
#include <linux/openat2.h>

#include "node-agent/mounts/safe_path.h"
#include "test/priv/attack.h"
#include "test/priv/scene.h"

static const char *const names[] = {"a", "a/b", "a/b/c", "a/b/c/dir", "a/b/c/file", "x", "x/y", "x/y/dir"};

struct path {
    const char *path;
    enum safe_type type;
    bool no_links;
};

static const struct path paths[] = {
        {"/a/b/c/dir", SAFE_DIRECTORY, false},
        {"/a/b/c/file", SAFE_FILE, false},
        {"/a/b/../../x/y/dir", SAFE_DIRECTORY, false},
        {"/x/y/../../a/b/../../../../x/made", SAFE_DIRECTORY, false},
        {"/a/b/c/new/new/new", SAFE_FILE, false},
        {"/a/b/c/../c/../c/../../b/c/../c/../../b/c/../../b/../b/made", SAFE_DIRECTORY, false},
        {"/a", SAFE_DIRECTORY, true},
};

typedef int (*walk_fn)(int root, const struct path *p, int *ret_fd);

static int walk_safely(int root, const struct path *p, int *ret_fd)
{
    const struct safe_ensure how = {.type = p->type, .no_links = p->no_links};
    _cleanup_buf_ struct buf canonical = BUF_INIT(8192);

    return safe_ensure_at(root, p->path, &how, &canonical, ret_fd, NULL);
}

/* Wrong: one component at a time, but a link is the kernel's to follow. */
static int walk_following(int root, const struct path *p, int *ret_fd)
{
    char copy[256], *rest = copy, *name;
    int dir = fcntl(root, F_DUPFD_CLOEXEC, 3), fd;

    (void)snprintf(copy, sizeof(copy), "%s", p->path);
    while ((name = strsep(&rest, "/"))) {
        if (!name[0])
            continue;
        (void)mkdirat(dir, name, 0755);
        fd = openat(dir, name, O_PATH | O_CLOEXEC);
        close(dir);
        if (fd < 0)
            return -errno;
        dir = fd;
    }
    *ret_fd = dir;
    return 0;
}

/* Wrong: stays in the root, but not on its mount. */
static int walk_crossing(int root, const struct path *p, int *ret_fd)
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    long fd = syscall(SYS_openat2, root, p->path, &how, sizeof(how));

    if (fd < 0)
        return -errno;
    *ret_fd = (int)fd;
    return 0;
}

struct tally {
    int tries, done, escapes;
};

static bool is_own(int fd, uint64_t root_mount)
{
    uint64_t id = 0;

    return mount_identify(fd, &id, NULL) == 0 && id == root_mount;
}

static void race(int root, uint64_t root_mount, walk_fn walk, struct tally *t)
{
    for (int i = 0; i < 2000; i++) {
        _cleanup_close_ int fd = -EBADF;
        int r = walk(root, &paths[(uint32_t)i % ARRAY_SIZE(paths)], &fd);

        t->tries++;
        t->done += r == 0;
        t->escapes += r == 0 && !is_own(fd, root_mount);
    }
}

/* A fresh root with two attackers. */
static void race_round(walk_fn walk, struct tally *t)
{
    uint64_t root_mount;
    pid_t attackers[2];
    int root;

    put_dir(BOX_BASE "/root");
    must(mount("root", BOX_BASE "/root", "tmpfs", 0, NULL) == 0);
    put_dir(BOX_BASE "/root/m");
    put_tmpfs(BOX_BASE "/root/m", "mine");
    root = open(BOX_BASE "/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(root >= 0 && mount_identify(root, &root_mount, NULL) == 0);
    attack_prepare(root);
    for (size_t i = 0; i < ARRAY_SIZE(attackers); i++) {
        attackers[i] = fork();
        must(attackers[i] >= 0);
        if (attackers[i] == 0) {
            /* For them, in their namespace, it is a directory: what appears in the mount is not theirs. */
            must(unshare(CLONE_NEWNS) == 0 && umount(BOX_BASE "/root/m") == 0);
            attack_for_ever(open(BOX_BASE "/root", O_PATH | O_CLOEXEC), names, ARRAY_SIZE(names),
                    (uint32_t)(t->tries + 77 * (int)i + 1), 0);
        }
    }
    race(root, root_mount, walk, t);
    for (size_t i = 0; i < ARRAY_SIZE(attackers); i++) {
        must(kill(attackers[i], SIGKILL) == 0);
        must(waitpid(attackers[i], NULL, 0) == attackers[i]);
    }
    t->escapes += attack_names_in(BOX_BASE "/root/m") != 1;
    close(root);
    must(umount(BOX_BASE "/root/m") == 0 && umount2(BOX_BASE "/root", MNT_DETACH) == 0);
}

static void put_outside(void)
{
    put_dir(ATTACK_OUTSIDE);
    put_tmpfs(ATTACK_OUTSIDE, "mine");
}

static void play_safe(struct agent *a _unused_)
{
    int tries = attack_count("ATTACK_WALKS", 20000), base;
    struct tally t = {.tries = 0};

    put_outside();
    put_dir(BOX_BASE "/root");
    base = attack_names_in(BOX_BASE);
    while (t.tries < tries)
        race_round(walk_safely, &t);
    tap_ok(t.escapes == 0 && attack_names_in(ATTACK_OUTSIDE) == 1 && attack_names_in(BOX_BASE) == base,
            "%d walks in a root that changes under them: %d escapes", t.tries, t.escapes);
    tap_ok(t.done * 50 > t.tries, "and %d of them came to their end", t.done);
}

/* The same eyes on a walk that is wrong. */
static void play_seen(struct agent *a _unused_)
{
    struct tally following = {.tries = 0}, crossing = {.tries = 0};

    put_outside();
    must(chdir(ATTACK_OUTSIDE) == 0); /* for links through /proc/self/cwd */
    while (following.escapes == 0 && following.tries < 100000)
        race_round(walk_following, &following);
    tap_ok(following.escapes > 0, "a walk that lets the kernel follow links is seen to escape (%d of %d)",
            following.escapes, following.tries);
    while (crossing.escapes == 0 && crossing.tries < 100000)
        race_round(walk_crossing, &crossing);
    tap_ok(crossing.escapes > 0, "a walk that crosses mounts is seen to escape (%d of %d)", crossing.escapes,
            crossing.tries);
}

int main(void)
{
    static const struct scene scenes[] = {{"safe", play_safe}, {"seen", play_seen}};

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
