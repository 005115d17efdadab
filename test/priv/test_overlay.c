/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roots of persistence Node: read from a provider, mounted, mounted again after everything, and never twice; by
 * fds, and by mount(2) as on kernels before 6.15. The scene's namespace plays the machine's.
 */
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "node-agent/rootdir.h"
#include "test/priv/kept.h"

static const struct box_spec provider_spec = {.name = "provider"};

static void check_mount(void)
{
    static const char *const never[] = {
            "volatile", "userxattr", "metacopy=on", "index=on", "redirect_dir=on"};
    char *table = mounts_of(getpid()), line[4096];
    struct statvfs vfs;

    must(statvfs(ROOT, &vfs) == 0);
    tap_ok((vfs.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC)) == (ST_NOSUID | ST_NODEV | ST_NOEXEC),
            "it is nosuid, nodev, noexec");
    must(mount_line(table, ROOT, line, sizeof(line)));
    tap_ok(strstr(line, "shared:") && strstr(line, "redirect_dir=nofollow"),
            "shared, its options as they are to be");
    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        tap_ok(!strstr(line, never[i]), "without %s", never[i]);
    free(table);
}

static void live(struct agent *a)
{
    struct box provider;
    struct kept n;
    char *before = mounts_of(getpid()), *after;

    kept_start(&n, a, &provider, &provider_spec, 0);
    must(box_call(&provider, do_write, "/of-provider") == 0);
    tap_ok(kept_mount(&n, NULL) == 0, "it is mounted (%s)", a->text);
    check_mount();
    tap_ok(access(ROOT "/etc/hosts", F_OK) == 0, "the image's files are there");
    tap_ok(access(ROOT "/of-provider", F_OK) < 0, "what the provider's own root got is not");
    put_file(ROOT "/kept", "kept");
    must(unlink(ROOT "/etc/hosts") == 0);
    tap_ok(access(STATE "/" PLACE "/upper/kept", F_OK) == 0, "what is written is in upper");
    tap_ok(kept_mount(&n, NULL) == -OVERLAY_HELD, "a second mount is refused while there is one: %s",
            a->text);

    box_end(&provider);
    tap_ok(access(ROOT "/kept", F_OK) == 0, "the provider's end takes nothing");
    must(expose_remove(n.dir, "rootfs", NULL) == 0);
    after = mounts_of(getpid());
    tap_ok(strcmp(before, after) == 0, "the node's mounts are as before");
    tap_ok(kept_mount(&n, NULL) == 0, "it is mounted again (%s)", a->text);
    tap_ok(access(ROOT "/kept", F_OK) == 0 && access(ROOT "/etc/hosts", F_OK) < 0, "as it was left");
    kept_end(&n);
    free(before);
    free(after);
}

static void play_by_fds(struct agent *a)
{
    if (a->caps.layer_fds)
        live(a);
    else
        tap_skip("by fds", "the kernel takes no layers as fds");
}

static void play_by_paths(struct agent *a)
{
    a->caps.layer_fds = false;
    live(a);
}

/* A process that has the root mounted elsewhere, in a namespace of its own, as a container that runs on it has. What is
 * mounted at its place alone goes everywhere when the place is removed. */
static pid_t keep_root(void)
{
    int ready[2];
    char byte;
    pid_t pid;

    must(pipe2(ready, O_CLOEXEC) == 0);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        must(mount(ROOT, "/tmp", NULL, MS_BIND, NULL) == 0);
        must(write(ready[1], "x", 1) == 1);
        for (;;)
            (void)pause();
    }
    must(read(ready[0], &byte, 1) == 1);
    close(ready[0]), close(ready[1]);
    return pid;
}

static void check_named_holder(struct kept *n)
{
    pid_t pid = keep_root();
    char name[32];

    (void)snprintf(name, sizeof(name), "process %d of", (int)pid);
    must(expose_remove(n->dir, "rootfs", NULL) == 0);
    tap_ok(kept_mount(n, NULL) == -OVERLAY_HELD, "a namespace that kept it refuses a mount: %s",
            n->agent->text);
    tap_ok(strstr(n->agent->text, name), "its process is named: %s", name);
    must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    tap_ok(kept_mount(n, NULL) == 0, "and no more when it has ended (%s)", n->agent->text);
}

/* The one who still has the old root: a process with a file of it open, then a namespace with a copy of it. */
static void check_holders(struct agent *a)
{
    struct box provider, tenant;
    struct kept n;
    int held;

    kept_start(&n, a, &provider, &provider_spec, 0);
    must(kept_mount(&n, NULL) == 0);
    put_file(ROOT "/file", "text");
    held = open(ROOT "/file", O_RDONLY | O_CLOEXEC);
    must(held >= 0 && expose_remove(n.dir, "rootfs", NULL) == 0);
    tap_ok(kept_mount(&n, NULL) == -OVERLAY_HELD && strstr(a->text, "still held"),
            "an open file of it refuses a mount: %s", a->text);
    close(held);
    tap_ok(kept_mount(&n, NULL) == 0, "and no more when it is closed (%s)", a->text);
    check_named_holder(&n);

    box_start(&tenant, &(const struct box_spec){
                               .name = "tenant"}); /* its namespace is cut from ours, and lets go at once */
    must(expose_remove(n.dir, "rootfs", NULL) == 0);
    tap_ok(kept_mount(&n, NULL) == 0, "a container that was made meanwhile does not hold it (%s)", a->text);
    box_end(&tenant);
    box_end(&provider);
    kept_end(&n);
}

static void play_holders(struct agent *a)
{
    check_holders(a);
}

static void play_holders_by_paths(struct agent *a)
{
    a->caps.layer_fds = false;
    check_holders(a);
}

static int wait_for_end(struct worker_child *child _unused_, void *data, struct err *err _unused_)
{
    char c;

    return read(*(int *)data, &c, 1) == 0 ? 0 : -EIO;
}

static void on_ended(struct worker_result *res, void *data)
{
    agent_keep(data, res->code, res->text);
}

/* That no worker can be had says nothing of the root. */
static void play_no_worker(struct agent *a)
{
    struct worker_job job = {.place = WORKER_ON_NODE,
            .what = "wait",
            .pod = "provider",
            .target = PLACE,
            .run = wait_for_end,
            .n_keep = 1,
            .done = on_ended,
            .done_data = a};
    struct err err = ERR_INIT;
    struct box provider;
    struct kept n;
    int ends[2], r;

    kept_start(&n, a, &provider, &provider_spec, 0);
    must(pipe2(ends, O_CLOEXEC) == 0);
    job.keep = job.run_data = &ends[0];
    must(worker_start(a->workers, &job, &err) == 0);
    r = kept_mount(&n, NULL);
    tap_ok(r < 0 && r != -OVERLAY_HELD && err_is_passing(r), "it is not held, and it passes: %s", a->text);
    a->answered = false;
    close(ends[1]);
    agent_wait(a);
    tap_ok(a->code == 0 && kept_mount(&n, NULL) == 0, "then it is mounted (%s)", a->text);
    close(ends[0]);
    box_end(&provider);
    kept_end(&n);
}

/* Where layers may lie, and upper. */
static void play_places(struct agent *a)
{
    struct box provider;
    struct kept n;
    struct kept_twist outside = {.runtime_root = BOX_BASE "/other"};
    struct kept_twist known = {.runtime_root = BOX_BASE "/provider"};
    struct kept_twist prefix = {.runtime_root = BOX_BASE "/provider/low"};
    struct kept_twist linked = {.layer = strdup(BOX_BASE "/link/lower")};
    struct kept_twist inner = {
            .runtime_root = BOX_BASE "/provider", .layer = strdup(BOX_BASE "/provider/l/1")};
    struct kept_twist outer = {
            .runtime_root = BOX_BASE "/provider", .layer = strdup(BOX_BASE "/provider/l/2")};
    struct kept_twist file = {.layer = strdup(BOX_BASE "/hosts")};
    struct kept_twist elsewhere = {.state_dir = BOX_BASE "/fake"};

    kept_start(&n, a, &provider, &provider_spec, 0);
    put_dir(BOX_BASE "/other");
    put_dir(BOX_BASE "/provider/l");
    put_dir(BOX_BASE "/provider/low");
    must(symlink(BOX_BASE "/provider", BOX_BASE "/link") == 0);
    must(symlink("../lower", BOX_BASE "/provider/l/1") == 0);
    must(symlink("../../other", BOX_BASE "/provider/l/2") == 0);
    put_dir(BOX_BASE "/fake");
    put_dir(BOX_BASE "/fake/instances");
    put_dir(BOX_BASE "/fake/instances/uid");
    put_dir(BOX_BASE "/fake/" PLACE);
    put_dir(BOX_BASE "/fake/" PLACE "/upper");
    put_dir(BOX_BASE "/fake/" PLACE "/work");

    tap_ok(kept_mount(&n, &outside) == -EINVAL, "a layer that is not the runtime's is refused: %s", a->text);
    tap_ok(kept_mount(&n, &prefix) == -EINVAL, "nor is one whose path only begins so: %s", a->text);
    tap_ok(kept_mount(&n, &linked) == -ELOOP, "a link on the way is not followed: %s", a->text);
    tap_ok(kept_mount(&n, &outer) == -EXDEV, "a link out of the runtime's directory is not followed: %s",
            a->text);
    tap_ok(kept_mount(&n, &file) == -ENOTDIR, "a file is no layer: %s", a->text);
    tap_ok(kept_mount(&n, &elsewhere) == -EINVAL && strstr(a->text, "another directory"),
            "another state directory is noticed: %s", a->text);
    tap_ok(expose_is_exposed(n.dir, "rootfs") == 0, "nothing was mounted in any of them");
    tap_ok(kept_mount(&n, &inner) == 0, "a link within the runtime's directory is (%s)", a->text);
    must(expose_remove(n.dir, "rootfs", NULL) == 0);
    tap_ok(kept_mount(&n, &known) == 0, "and a layer below it (%s)", a->text);
    box_end(&provider);
    kept_end(&n);
}

static void shape_root(const char *root)
{
    must(chown(root, 12, 34) == 0 && chmod(root, 01775) == 0);
}

/* As the runtime's own root: what a workload sees at "/" is no other than in a plain container. */
static void dress_root(const char *root)
{
    must(chown(root, 12, 34) == 0 && chmod(root, 01775) == 0);
    must(setxattr(root, "trusted.mark", "x", 1, 0) == 0);
}

static void play_alike(struct agent *a)
{
    const struct box_spec spec = {.name = "provider", .image = shape_root, .mounts = dress_root};
    struct box provider;
    struct kept n;
    struct stat st;
    char value[8];

    kept_start(&n, a, &provider, &spec, 0);
    must(kept_mount(&n, NULL) == 0 && stat(ROOT, &st) == 0);
    tap_ok(st.st_uid == 12 && st.st_gid == 34 && (st.st_mode & 07777) == 01775,
            "owner and mode of \"/\": %u:%u %o", (unsigned)st.st_uid, (unsigned)st.st_gid,
            (unsigned)st.st_mode & 07777);
    tap_ok(getxattr(ROOT, "trusted.mark", value, sizeof(value)) == 1, "and its attributes");
    box_end(&provider);
    kept_end(&n);
}

/* What the workload may do: its own files of every kind come back after a remount. */
static void play_files(struct agent *a)
{
    struct box provider;
    struct kept n;
    struct stat st;

    kept_start(&n, a, &provider, &provider_spec, 0);
    must(kept_mount(&n, NULL) == 0);
    put_dir(ROOT "/dir");
    must(chmod(ROOT "/dir", 02755) == 0);
    must(mknod(ROOT "/fifo", S_IFIFO | 0644, 0) == 0 &&
            mknod(ROOT "/null", S_IFCHR | 0666, makedev(1, 3)) == 0);
    must(rename(ROOT "/data", ROOT "/moved") < 0 && errno == EXDEV); /* as in a plain container */
    must(rmdir(ROOT "/data") == 0);
    put_dir(ROOT "/data");
    must(expose_remove(n.dir, "rootfs", NULL) == 0 && kept_mount(&n, NULL) == 0);
    tap_ok(stat(ROOT "/dir", &st) == 0 && (st.st_mode & 07777) == 02755, "setgid stays");
    tap_ok(stat(ROOT "/null", &st) == 0 && S_ISCHR(st.st_mode), "a device node is there ...");
    tap_ok(open(ROOT "/null", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES, "... and is none on the node");
    tap_ok(stat(ROOT "/fifo", &st) == 0 && S_ISFIFO(st.st_mode), "a fifo");
    box_end(&provider);
    kept_end(&n);
}

static void play_records(struct agent *a)
{
    struct box provider;
    struct kept n;
    struct record record = {.ns = "tenant", .chain = CHAIN};
    struct err err = ERR_INIT;
    struct keptroot k;
    int r;

    kept_start(&n, a, &provider, &provider_spec, 0);
    must(keptroot_look(n.dir, &k, &err) == 0);
    tap_ok(k.has_record && k.has_upper && strcmp(k.record.chain, CHAIN) == 0, "the record is there");
    put_file(STATE "/" PLACE "/upper/precious", "text");
    must(unlink(STATE "/" PLACE "/root.json") == 0);
    r = keptroot_make(n.dir, n.root, false, &record, &err);
    tap_ok(r == -EBADMSG, "files without a record are left: %s", err_text(&err));
    tap_ok(access(STATE "/" PLACE "/upper/precious", F_OK) == 0, "all of them");
    box_end(&provider);
    kept_end(&n);
}

/* The state directory on an overlay. */
static void play_on_overlay(struct agent *a)
{
    struct box provider;
    struct kept n;
    struct record record = {.ns = "tenant", .chain = CHAIN};
    struct err err = ERR_INIT;
    int dir, r;

    kept_start(&n, a, &provider, &provider_spec, 0);
    put_dir(BOX_BASE "/o");
    put_dir(BOX_BASE "/o/l");
    put_dir(BOX_BASE "/o/u");
    put_dir(BOX_BASE "/o/w");
    put_dir(BOX_BASE "/o/m");
    must(mount("o", BOX_BASE "/o/m", "overlay", 0,
                 "lowerdir=" BOX_BASE "/o/l,upperdir=" BOX_BASE "/o/u,workdir=" BOX_BASE "/o/w") == 0);
    dir = open(BOX_BASE "/o/m", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(dir >= 0);
    r = keptroot_make(dir, n.root, false, &record, &err);
    tap_ok(r == -EOPNOTSUPP && strstr(err.text, "lies on an overlay"), "is refused in words: %s",
            err_text(&err));
    close(dir);
    box_end(&provider);
    kept_end(&n);
}

/* What stays and what goes when volumes go, and at a reclaim. */
static void play_trash(struct agent *a)
{
    struct box provider;
    struct kept n;
    struct err err = ERR_INIT;
    char name[ROOTDIR_TRASH_MAX];
    int instances, trash, r;

    kept_start(&n, a, &provider, &provider_spec, 0);
    put_dir(STATE "/instances/uid/refused"); /* of a container that got no root */
    put_dir(STATE "/trash");
    instances = open(STATE "/instances", O_PATH | O_DIRECTORY | O_CLOEXEC);
    trash = open(STATE "/trash", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(instances >= 0 && trash >= 0 && kept_mount(&n, NULL) == 0);
    put_file(ROOT "/kept", "kept");

    tap_ok(rootdir_is_exposed(instances, "uid") == 1 && rootdir_is_exposed(instances, "none") == 0,
            "one that is mounted is known");
    tap_ok(rootdir_remove(instances, "uid", &err) < 0 && access(STATE "/" PLACE "/upper/kept", F_OK) == 0,
            "what removes a provider's leftovers takes no kept root");
    r = rootdir_rest(instances, "uid", &err);
    tap_ok(r == 0 && expose_is_exposed(n.dir, "rootfs") == 0 && rootdir_is_exposed(instances, "uid") == 0 &&
                    access(STATE "/" PLACE "/upper/kept", F_OK) == 0,
            "a root rests: unmounted, and there (%s)", err_text(&err));
    tap_ok(access(STATE "/instances/uid/refused", F_OK) < 0, "an empty directory goes");
    tap_ok(rootdir_is_kept(instances, "uid") == 1 && rootdir_is_kept(instances, "none") == 0,
            "it is known as kept");

    tap_ok(rootdir_has_foreign(instances, "uid", "elsewhere") == 1 &&
                    rootdir_has_foreign(instances, "uid", "tenant") == 0 &&
                    rootdir_has_foreign(instances, "none", "tenant") == 0,
            "whose it is, is known");
    tap_ok(rootdir_trash(instances, trash, "uid", "elsewhere", &err) == 0 &&
                    rootdir_is_kept(instances, "uid") == 1,
            "a reclaim for another namespace takes nothing");
    put_dir(STATE "/trash/uid.1"); /* of an earlier life, being emptied */
    r = rootdir_trash(instances, trash, "uid", "tenant", &err);
    tap_ok(r == 0 && rootdir_is_kept(instances, "uid") == 0 &&
                    access(STATE "/trash/uid.2/main/upper/kept", F_OK) == 0,
            "its own takes all, under a name of its own (%s)", err_text(&err));
    tap_ok(rootdir_trashed(trash, "uid", name, &err) == 1 && strcmp(name, "uid.1") == 0, "which is found");
    tap_ok(rootdir_trash(instances, trash, "uid", "tenant", &err) == 0, "what is not there is in the trash");
    close(instances), close(trash);
    box_end(&provider);
    kept_end(&n);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"by-fds", play_by_fds},
            {"by-paths", play_by_paths},
            {"holders", play_holders},
            {"holders-by-paths", play_holders_by_paths},
            {"no-worker", play_no_worker},
            {"places", play_places},
            {"alike", play_alike},
            {"files", play_files},
            {"records", play_records},
            {"on-overlay", play_on_overlay},
            {"trash", play_trash},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
