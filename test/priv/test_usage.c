/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/mounts/usage: what a root takes of the disk, whatever a tenant has made of it.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/limits.h"
#include "node-agent/mounts/usage.h"
#include "test/priv/scene.h"

#define STATE BOX_BASE "/state"
#define TREE STATE "/upper"

enum { MIB_BYTES = 1024 * 1024, WIDE = 20000 };

static void fill(const char *path, size_t bytes)
{
    must(system(at("head -c %zu /dev/zero > '%s'", bytes, path)) == 0);
}

static uint64_t of_du(const char *path)
{
    FILE *f = popen(at("du -sx -B1 %s", path), "re");
    unsigned long long bytes;

    must(f && fscanf(f, "%llu", &bytes) == 1 && pclose(f) == 0);
    return bytes;
}

static int counted(uint64_t *ret, struct err *err)
{
    int dir = open(TREE, O_PATH | O_DIRECTORY | O_CLOEXEC), r;

    must(dir >= 0);
    *ret = 0;
    *err = (struct err)ERR_INIT;
    r = usage_count(dir, ret, err);
    close(dir);
    return r;
}

static void same_as_du(const char *what)
{
    struct err err;
    uint64_t bytes, du = of_du(TREE);
    int r = counted(&bytes, &err);

    /* Each link's share is rounded up. */
    tap_ok(r == 0 && bytes >= du && bytes < du + 64, "%s: %llu, du says %llu (%s)", what,
            (unsigned long long)bytes, (unsigned long long)du, err_text(&err));
}

/* Of another file system: "mnt/large". */
static void without_a_mounted_file(void)
{
    struct err err;
    uint64_t before, bytes;
    int r = counted(&before, &err);

    must(r == 0 && mount(TREE "/mnt/large", TREE "/sub/other", NULL, MS_BIND, NULL) == 0);
    r = counted(&bytes, &err);
    tap_ok(r == 0 && bytes <= before, "nor a file that is: %llu, %llu before", (unsigned long long)bytes,
            (unsigned long long)before);
    must(umount(TREE "/sub/other") == 0);
}

static void play_kinds(struct agent *a)
{
    (void)a;
    put_dir(TREE);
    same_as_du("nothing");
    put_dir(TREE "/sub");
    put_dir(TREE "/sub/sub");
    fill(TREE "/sub/sub/file", 3 * MIB_BYTES);
    fill(TREE "/sub/other", 5000);
    same_as_du("files");
    must(truncate(TREE "/sub/other", (off_t)1 << 40) == 0);
    same_as_du("a file of a terabyte with holes");
    must(symlink("/", TREE "/link") == 0 && symlink("sub", TREE "/to-dir") == 0);
    must(mkfifo(TREE "/fifo", 0600) == 0);
    for (int i = 0; i < 6; i++) /* seven in all, which do not divide it evenly */
        must(link(TREE "/sub/sub/file", at(TREE "/sub/link%d", i)) == 0);
    same_as_du("links and a fifo");
    put_dir(TREE "/mnt");
    put_tmpfs(TREE "/mnt", "precious");
    fill(TREE "/mnt/large", 300000);
    same_as_du("without what is mounted in it");
    without_a_mounted_file();
    must(umount(TREE "/mnt") == 0);
}

static void play_wide(struct agent *a)
{
    (void)a;
    put_dir(TREE);
    for (int i = 0; i < WIDE; i++) {
        put_dir(at(TREE "/%d", i));
        put_file(at(TREE "/%d/file", i), "x");
    }
    same_as_du("20,000 directories side by side");
}

static void play_deep(struct agent *a)
{
    struct err err;
    uint64_t bytes;
    int r;

    (void)a;
    put_dir(TREE);
    put_chain(TREE, LIMIT_USAGE_DEPTH - 1);
    same_as_du("as deep as it may be");
    must(system("rm -r " TREE) == 0);
    put_dir(TREE);
    put_chain(TREE, 20000);
    r = counted(&bytes, &err);
    tap_ok(r == -E2BIG && strstr(err_text(&err), "below each other"), "deeper: %s", err_text(&err));
}

/* Directories are moved about and become links while it is counted. */
_Noreturn static void mix(void)
{
    for (unsigned i = 0;; i++) {
        (void)rename(at(TREE "/%u", i % 7), at(TREE "/%u/x", (i + 3) % 7));
        (void)rename(at(TREE "/%u/x", i % 7), at(TREE "/y%u", i % 5));
        if (symlink(BOX_BASE "/large", at(TREE "/%u", i % 7)) == 0)
            (void)unlink(at(TREE "/%u", i % 7));
        (void)mkdir(at(TREE "/%u", i % 7), 0700);
        (void)rmdir(at(TREE "/y%u", i % 5));
        if (getppid() == 1)
            _exit(0);
    }
}

static void play_mixer(struct agent *a)
{
    struct err err;
    uint64_t bytes, most = 0;
    int r = 0;
    pid_t pid;

    (void)a;
    put_dir(BOX_BASE "/large");
    fill(BOX_BASE "/large/file", 16 * MIB_BYTES);
    put_dir(TREE);
    pid = fork();
    must(pid >= 0);
    if (pid == 0)
        mix();
    for (int i = 0; i < 20000 && (r == 0 || r == -E2BIG); i++) {
        r = counted(&bytes, &err);
        most = r == 0 && bytes > most ? bytes : most;
    }
    must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    tap_ok((r == 0 || r == -E2BIG) && most < MIB_BYTES, "it is never led out of it: at most %llu (%s)",
            (unsigned long long)most, err_text(&err));
}

static void on_counted(int code, const char *text, uint64_t bytes, void *data)
{
    struct agent *a = data;

    agent_keep(a, code, text);
    (void)snprintf(a->asides[0][0], sizeof(a->asides[0][0]), "%llu", (unsigned long long)bytes);
}

/* The worker itself: what its list of calls leaves it is enough. */
static void play_worker(struct agent *a)
{
    struct usage_request req = {.pod = "pod", .target = "uid/main use", .dir = -EBADF};
    struct err err = ERR_INIT;
    char du[32];

    put_dir(TREE);
    put_dir(TREE "/sub");
    fill(TREE "/sub/file", 3 * MIB_BYTES);
    req.dir = open(TREE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(req.dir >= 0 && usage_start(a->workers, &req, on_counted, a, &err) == 0);
    agent_wait(a);
    (void)snprintf(du, sizeof(du), "%llu", (unsigned long long)of_du(TREE));
    tap_ok(a->code == 0 && strcmp(a->asides[0][0], du) == 0, "a worker does it: %s, du says %s (%s)",
            a->asides[0][0], du, a->text);
    put_chain(TREE, LIMIT_USAGE_DEPTH + 1);
    a->answered = false;
    while (usage_start(a->workers, &req, on_counted, a, &err) == -EBUSY)
        (void)loop_turn(a->loop, USEC_PER_SEC);
    agent_wait(a);
    tap_ok(a->code == -E2BIG && strstr(a->text, "below each other"), "and says what it cannot: %s", a->text);
    close(req.dir);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"kinds", play_kinds},
            {"wide", play_wide},
            {"deep", play_deep},
            {"mixer", play_mixer},
            {"worker", play_worker},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
