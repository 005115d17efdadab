/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach mode Chroot: what a container has after it, what a command of `kubectl exec` meets, what is left
 * when it fails half way, and images that were made to lead the agent astray.
 */
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "test/priv/chroot_run.h"

/* --- the usual -------------------------------------------------------------------------------------------
 */

static void mount_volume(const char *root)
{
    put_dir(at("%s/vol", root));
    put_tmpfs(at("%s/vol", root), "of-the-volume");
    read_only_root(root);
}

static bool has_option(const struct box *b, const char *path, const char *option)
{
    char *table = mounts_of(b->pid), line[1024];
    bool has =
            mount_line(table, path, line, sizeof(line)) && strstr(strstr(line, path) + strlen(path), option);

    free(table);
    return has;
}

static int do_has_capability(const char *path)
{
    char data[64];

    return getxattr(path, "security.capability", data, sizeof(data)) > 0;
}

static void check_tree(const struct box *consumer)
{
    check_in(consumer, "/rootfs/marker", "the preserved root is at /rootfs");
    check_in(consumer, "/rootfs/proc/1/status", "/proc is carried into it");
    check_in(consumer, "/rootfs/dev/shm/shm-of-runtime", "/dev, and what is in it");
    check_in(consumer, "/rootfs/sys/sys-of-runtime", "/sys");
    check_in(consumer, "/rootfs/vol/of-the-volume", "a volume");
    check_in(consumer, "/rootfs/.stoppablecontainer/agent.sock", "the pod's own volume");
    check_out(consumer, "/rootfs/.stoppablecontainer/chroot/execwrap", "but not the tools");
    check_out(consumer, "/marker", "the container's own root is another one");
    check_in(consumer, "/usr/bin/id", "a command of the preserved root has a link");
    check_in(consumer, "/bin/id", "in each directory of the PATH");
    check_in(consumer, "/usr/local/sbin/id", "and in those that were missing");
    check_out(consumer, "/usr/bin/only-here", "the own root's commands are hidden");
    check_out(consumer, "/usr/bin/data", "what cannot be executed has no link");
    tap_ok(box_call(consumer, do_write, "/usr/bin/new") == -EROFS, "the links are read-only");
    tap_ok(box_call(consumer, do_write, CAPABLE) == -EROFS, "and so are the tools");
    tap_ok(box_call(consumer, do_write, "/new") == -EROFS, "and the container's own root");
    tap_ok(has_option(consumer, SC_CHROOT_DIR, "nodev") && has_option(consumer, "/usr/bin", "nodev"),
            "nodev");
    tap_ok(!has_option(consumer, "/", "shared:"), "the own root is private");
}

static void play_usual(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000};
    char *before = mounts_of(getpid()), *after;

    must(realpath("build/execwrap", execwrap_path) != NULL);
    box_start(&provider, &(const struct box_spec){.name = "provider", .image = image_with_tools});
    must(box_call(&provider, do_write, "/marker") == 0 && agent_expose(a, provider.pid, "rootfs") == 0);
    box_start(&consumer,
            &(const struct box_spec){.name = "consumer", .image = image_of_consumer, .mounts = mount_volume});
    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(strcmp(r.out, "own") == 0, "before the attach an exec is in the container's own root (%s)", r.out);

    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0, "attached (%s)", a->text);
    tap_ok(!a->already && !a->commands_cut && a->n_asides == 0, "for the first time");
    check_tree(&consumer);
    tap_ok(box_call(&consumer, do_has_capability, CAPABLE) == 1, "execwrap has its capability");
    tap_ok(!has_option(&consumer, "/usr/bin", "nosuid"), "which counts there");

    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(r.code == 0 && strcmp(r.out, "preserved") == 0, "an exec is in the preserved root (%s)", r.out);
    r.path = "/bin/cat";
    RUN(&consumer, &r, "cat", "/where");
    tap_ok(r.code == 0 && strcmp(r.out, "preserved") == 0, "by a bare name too (%s)", r.out);
    r.path = NULL;

    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0 && a->already, "asked again: it has it");
    must(box_call(&consumer, do_write, "/rootfs/written") == 0);
    check_in(&provider, "/written", "what is written in /rootfs is in the provider's root");
    end_pair(a, &provider, &consumer);
    after = mounts_of(getpid());
    tap_ok(strcmp(before, after) == 0, "the machine's mounts are as before");
    free(before);
    free(after);
}

static void play_root(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 0};
    struct wish wish = by_root;

    wish.read_only = true;
    start_chroot(a, &provider, &consumer, &wish);
    tap_ok(box_call(&consumer, do_has_capability, CAPABLE) == 0, "root's copy has no capability");
    tap_ok(has_option(&consumer, "/usr/bin", "nosuid") && has_option(&consumer, SC_CHROOT_DIR, "nosuid"),
            "and could not have one");
    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(r.code == 0 && strcmp(r.out, "preserved") == 0, "root enters by its own (%s)", r.out);
    RUN(&consumer, &r, "/bin/grep", "CapEff", "/proc/self/status");
    tap_ok(r.code == 127, "a path is that of the preserved root, which has no /bin/grep (%d)", r.code);
    RUN(&consumer, &r, "/usr/bin/grep", "CapEff", "/proc/self/status");
    tap_ok(!strstr(r.out, "0000000000000000"), "and keeps its capabilities: %s", r.out);
    tap_ok(box_call(&consumer, do_write, "/rootfs/x") == -EROFS, "a read-only root is read-only");
    r.uid = 1000;
    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(r.code == 128 && strstr(r.out, "attach: Pivot"), "another user is told why not: %s", r.out);
    end_pair(a, &provider, &consumer);
}

/* --- PATH ------------------------------------------------------------------------------------------------
 */

static void mount_on_path(const char *root)
{
    put_dir(at("%s/opt", root));
    put_tmpfs(at("%s/opt", root), "mark");
    put_dir(at("%s/opt/bin", root));
    put_file(at("%s/opt/bin/tool", root), "");
    put_dir(at("%s/srv", root));
    put_dir(at("%s/srv/bin", root));
    put_file(at("%s/srv/bin/hidden", root), "");
    must(symlink("/proc", at("%s/to-proc", root)) == 0 && symlink("/", at("%s/to-root", root)) == 0);
    must(symlink("round", at("%s/round", root)) == 0 && symlink("/srv/bin", at("%s/to-srv", root)) == 0);
    read_only_root(root);
}

static void play_path(struct agent *a)
{
    const struct attach_chroot how = {.execwrap = execwrap_path,
            .search = "/opt/bin:/srv/bin/:/to-proc:/to-root:/round:/to-srv::relative:/:/.stoppablecontainer",
            .capability = true};
    const struct wish wish = {.chroot = &how};
    struct box provider, consumer;
    int before;

    must(realpath("build/execwrap", execwrap_path) != NULL);
    box_start(&provider, &(const struct box_spec){.name = "provider", .image = image_with_tools});
    must(box_call(&provider, do_mkdir, "/srv") == 0 && box_call(&provider, do_mkdir, "/srv/bin") == 0);
    must(box_call(&provider, do_symlink, "/nowhere /srv/bin/from-srv") == 0);
    must(agent_expose(a, provider.pid, "rootfs") == 0);
    box_start(&consumer, &(const struct box_spec){.name = "consumer", .mounts = mount_on_path});
    before = box_call(&consumer, do_count_mounts, "");
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &wish) == 0, "attached (%s)", a->text);
    check_in(&consumer, "/opt/bin/tool", "a directory of the PATH on a volume is left alone");
    check_in(&consumer, "/srv/bin/id", "another one has the links");
    check_in(&consumer, "/usr/bin/from-srv", "of every directory's commands");
    check_out(&consumer, "/srv/bin/hidden", "in place of its own");
    check_in(&consumer, "/proc/1/status", "a link to /proc covers nothing");
    check_in(&consumer, "/.stoppablecontainer/agent.sock", "nor does our own volume");
    check_in(&consumer, "/rootfs/where", "nor the root");
    /* proc, dev, shm, sys, volume, hosts and /opt twice, the root, the tools, and seven covers */
    tap_ok(box_call(&consumer, do_count_mounts, "") == 2 * before - 1 + 1 + 1 + 7, "no mount more (%d, %d)",
            before, box_call(&consumer, do_count_mounts, ""));
    end_pair(a, &provider, &consumer);
}

/* --- half done -------------------------------------------------------------------------------------------
 */

static int do_reopen_tools(const char *path)
{
    return mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL) < 0 ? -errno : 0;
}

static void play_left_over(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000};
    int mounts;

    start_chroot(a, &provider, &consumer, &by_user);
    mounts = box_call(&consumer, do_count_mounts, "");
    /* As a worker leaves it that is killed before its last step. */
    must(box_call(&consumer, do_reopen_tools, SC_CHROOT_DIR) == 0);
    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(r.code == 128 && strstr(r.out, "not attached"), "nobody enters before it is complete: %s", r.out);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0 && !a->already, "attached anew (%s)",
            a->text);
    tap_ok(box_call(&consumer, do_count_mounts, "") == mounts, "and nothing is left of the first");
    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(r.code == 0 && strcmp(r.out, "preserved") == 0, "an exec works (%s)", r.out);
    /* And one that got less far. */
    must(box_call(&consumer, do_umount, SC_CHROOT_DIR) == 0 && box_call(&consumer, do_umount, "/bin") == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0 && !a->already, "and anew (%s)", a->text);
    tap_ok(box_call(&consumer, do_count_mounts, "") == mounts, "with the same mounts");
    end_pair(a, &provider, &consumer);
}

static void mount_at_rootfs(const char *root)
{
    put_dir(at("%s/rootfs", root));
    put_tmpfs(at("%s/rootfs", root), "somebody's");
    read_only_root(root);
}

static void play_refused(struct agent *a)
{
    struct box provider, consumer;
    int mounts;

    start_chroot(a, &provider, &consumer, NULL);
    mounts = box_call(&consumer, do_count_mounts, "");
    must(box_call(&consumer, do_remove, SC_CHROOT_DIR) == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == -ENOENT && strstr(a->text, SC_CHROOT_DIR),
            "no place for the tools: %s", a->text);
    tap_ok(box_call(&consumer, do_count_mounts, "") == mounts, "a failure takes back what was mounted");
    must(box_call(&consumer, do_mkdir, SC_CHROOT_DIR) == 0);
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0, "and the next attempt succeeds (%s)",
            a->text);
    box_end(&consumer);
    must(system("rm -rf " BOX_BASE "/consumer") == 0);

    box_start(&consumer, &(const struct box_spec){.name = "consumer", .mounts = mount_at_rootfs});
    mounts = box_call(&consumer, do_count_mounts, "");
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == -EEXIST && strstr(a->text, "/rootfs"),
            "a mount at /rootfs is refused: %s", a->text);
    tap_ok(box_call(&consumer, do_count_mounts, "") == mounts, "and left as it is");
    check_in(&consumer, "/rootfs/somebody's", "with what is in it");
    end_pair(a, &provider, &consumer);
}

/* With n fds, in a process of its own, which cannot raise the limit again. 0, 1: refused, 2: without a word. */
static int attach_with_fds(struct agent *a, const struct box *consumer, unsigned n)
{
    const struct rlimit limit = {.rlim_cur = n, .rlim_max = n};
    int status = -1;
    pid_t child = fork();

    must(child >= 0);
    if (child == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && setrlimit(RLIMIT_NOFILE, &limit) == 0);
        _exit(agent_attach(a, consumer->pid, "rootfs", &by_user) == 0 ? 0 : a->text[0] ? 1 : 2);
    }
    must(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Each try has one fd more than the one before, so that each open of the attach is once the first that fails. */
static void play_few_fds(struct agent *a)
{
    static const char *const dirs[] = {
            "/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"};
    struct box provider, consumer;
    int mounts, r = 1;
    unsigned n, refused = 0, covered = 0;

    start_chroot(a, &provider, &consumer, NULL);
    mounts = box_call(&consumer, do_count_mounts, "");
    for (n = 3; r == 1 && n < 200; n++) {
        r = attach_with_fds(a, &consumer, n);
        refused += r == 1;
        if (r == 1 && box_call(&consumer, do_count_mounts, "") != mounts)
            r = 3;
    }
    tap_ok(r == 0 && refused > 20,
            "refused, in words and with nothing left, until there are enough fds (%d, %u, %u)", r, refused,
            n);
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        covered += box_call(&consumer, do_exists, at("%s/id", dirs[i])) == 1;
    tap_ok(covered == ARRAY_SIZE(dirs), "and then all of the PATH has the links (%u)", covered);
    mounts = box_call(&consumer, do_count_mounts, "");
    for (n = 3; n < 100 && box_call(&consumer, do_count_mounts, "") == mounts; n++)
        (void)attach_with_fds(a, &consumer, n);
    tap_ok(n == 100, "which asking again with too few does not take away (%u)", n);
    end_pair(a, &provider, &consumer);
}

/* --- hostile images --------------------------------------------------------------------------------------
 */

static void image_link_at_rootfs(const char *root)
{
    must(symlink("/etc", at("%s/rootfs", root)) == 0);
}

static void image_file_at_rootfs(const char *root)
{
    put_file(at("%s/rootfs", root), "");
}

static void image_fifo_at_rootfs(const char *root)
{
    must(mkfifo(at("%s/rootfs", root), 0666) == 0);
}

static void play_rootfs_in_image(struct agent *a)
{
    static const struct {
        const char *what;
        void (*image)(const char *root);
    } images[] = {{"a link", image_link_at_rootfs}, {"a file", image_file_at_rootfs},
            {"a fifo", image_fifo_at_rootfs}};
    struct box provider, consumer;

    start_chroot(a, &provider, &consumer, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
        box_end(&consumer);
        must(system("rm -rf " BOX_BASE "/consumer") == 0);
        box_start(&consumer, &(const struct box_spec){
                                     .name = "consumer", .image = images[i].image, .mounts = read_only_root});
        tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0, "%s at /rootfs of the image (%s)",
                images[i].what, a->text);
        check_in(&consumer, "/rootfs/where", "is out of the way");
        check_in(&consumer, "/etc/hosts", "and led nowhere");
    }
    end_pair(a, &provider, &consumer);
}

static void image_many(const char *root)
{
    int dir;

    image_with_tools(root);
    put_dir(at("%s/bin", root));
    dir = open(at("%s/bin", root), O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(dir >= 0);
    for (int i = 0; i < 100000; i++) {
        int fd = openat(dir, at("c%06d", i), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

        must(fd >= 0);
        close(fd);
    }
    close(dir);
}

static void play_many(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000, .cwd = "/"};
    usec_t start;

    must(realpath("build/execwrap", execwrap_path) != NULL);
    box_start(&provider, &(const struct box_spec){.name = "provider", .image = image_many});
    must(agent_expose(a, provider.pid, "rootfs") == 0);
    box_start(&consumer, &(const struct box_spec){.name = "consumer", .mounts = read_only_root});
    start = clock_monotonic();
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0, "100,000 commands (%s)", a->text);
    printf("# in %llu ms\n", (unsigned long long)(clock_monotonic() - start) / 1000);
    tap_ok(a->commands_cut, "too many are told of");
    RUN(&consumer, &r, "/usr/bin/cat", "/where");
    tap_ok(r.code == 0 && strcmp(r.out, "preserved") == 0, "those of the first directories have links (%s)",
            r.out);
    end_pair(a, &provider, &consumer);
}

static void image_names(const char *root)
{
    char longest[256];

    memset(longest, 'n', 255);
    longest[255] = '\0';
    put_dir(at("%s/usr", root));
    put_dir(at("%s/usr/local", root));
    put_dir(at("%s/secret", root));
    put_program(BUSYBOX, at("%s/secret/not-on-the-path", root), 0755);
    must(symlink("../../secret", at("%s/usr/local/bin", root)) == 0); /* a link instead of a directory */
    put_file(at("%s/usr/sbin", root), ""); /* a file */
    must(mkfifo(at("%s/sbin", root), 0666) == 0); /* a fifo, which must not be waited for */
    image_with_tools(root);
    put_program(BUSYBOX, at("%s/usr/bin/%s", root, longest), 0755);
    put_program(BUSYBOX, at("%s/usr/bin/a b\nc", root), 0755);
    must(symlink("busybox", at("%s/usr/bin/execwrap", root)) == 0);
    must(symlink("/.stoppablecontainer/chroot/execwrap", at("%s/usr/bin/loop", root)) == 0);
    must(mkfifo(at("%s/usr/bin/fifo", root), 0777) == 0);
    put_dir(at("%s/usr/bin/directory", root));
}

static void play_names(struct agent *a)
{
    struct box provider, consumer;
    struct run r = {.uid = 1000};

    must(realpath("build/execwrap", execwrap_path) != NULL);
    box_start(&provider, &(const struct box_spec){.name = "provider", .image = image_names});
    must(agent_expose(a, provider.pid, "rootfs") == 0);
    box_start(&consumer, &(const struct box_spec){
                                 .name = "consumer", .image = image_of_consumer, .mounts = read_only_root});
    tap_ok(agent_attach(a, consumer.pid, "rootfs", &by_user) == 0, "attached (%s)", a->text);
    check_out(&consumer, "/usr/bin/not-on-the-path", "a link instead of a directory is not followed");
    check_out(&consumer, "/usr/bin/fifo", "a fifo is no command");
    check_out(&consumer, "/usr/bin/directory", "nor is a directory");
    check_in(&consumer, "/usr/bin/a b\nc", "any name will do");
    check_in(&consumer, "/usr/bin/execwrap", "even execwrap");
    RUN(&consumer, &r, "/usr/bin/execwrap", "run", "--", "/usr/bin/cat", "/where");
    tap_ok(strstr(r.out, "applet not found"), "which is the root's, not ours: %s", r.out);
    r.path = "/usr/bin/loop";
    RUN(&consumer, &r, "loop");
    tap_ok(r.code == 127, "a link back to the tools leads nowhere: %d, %s", r.code, r.out);
    end_pair(a, &provider, &consumer);
}

static const struct scene scenes[] = {
        {"usual", play_usual},
        {"root", play_root},
        {"path", play_path},
        {"left-over", play_left_over},
        {"refused", play_refused},
        {"few-fds", play_few_fds},
        {"rootfs-in-image", play_rootfs_in_image},
        {"many", play_many},
        {"names", play_names},
};

int main(void)
{
    return chroot_main(scenes, ARRAY_SIZE(scenes));
}
