/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider with an exposed root and a consumer, and what is asked of them.
 */
#pragma once

#include "test/priv/scene.h"

_unused_ static void start_pair(
        struct agent *a, struct box *provider, struct box *consumer, void (*mounts)(const char *root))
{
    box_start(provider, &(const struct box_spec){.name = "provider"});
    must(box_call(provider, do_write, "/marker") == 0);
    must(agent_expose(a, provider->pid, "rootfs") == 0);
    box_start(consumer, &(const struct box_spec){.name = "consumer", .mounts = mounts});
}

_unused_ static void end_pair(struct agent *a, struct box *provider, struct box *consumer)
{
    box_end(consumer);
    must(expose_remove(a->state, "rootfs", NULL) == 0);
    box_end(provider);
}

_unused_ static void check_in(const struct box *b, const char *path, const char *what)
{
    tap_ok(box_call(b, do_exists, path) == 1, "%s", what);
}

_unused_ static void check_out(const struct box *b, const char *path, const char *what)
{
    tap_ok(box_call(b, do_exists, path) == 0, "%s", what);
}

/* Twice, by the two ways of assembly. */
_unused_ static void both_ways(struct agent *a, void (*play)(struct agent *a))
{
    if (a->caps.detached_assembly)
        play(a);
    else
        tap_skip("detached assembly", "the kernel cannot (6.15)");
    a->caps.detached_assembly = false;
    printf("# the same, staged\n");
    play(a);
}

/* So that another pair may be made under the same names. */
_unused_ static void forget_pair(void)
{
    must(system("rm -rf " BOX_BASE "/provider " BOX_BASE "/consumer") == 0);
}

/* What a runtime does for an exec: join by the first process, then look. */
_unused_ static bool exec_sees(pid_t pid, const char *path)
{
    int fd, status = -1;
    pid_t child;

    child = fork();
    must(child >= 0);
    if (child == 0) {
        fd = open(at("/proc/%d/ns/mnt", (int)pid), O_RDONLY | O_CLOEXEC);
        must(fd >= 0 && setns(fd, CLONE_NEWNS) == 0);
        _exit(access(path, F_OK) == 0 ? 0 : 1);
    }
    must(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A volume with a mount in it that belongs to the machine, shared both ways. */
_unused_ static void make_bidirectional(void)
{
    put_dir(BOX_BASE "/bidi");
    put_tmpfs(BOX_BASE "/bidi", "machines");
    must(mount(NULL, BOX_BASE "/bidi", NULL, MS_SHARED, NULL) == 0);
    put_dir(BOX_BASE "/bidi/in");
    put_dir(BOX_BASE "/bidi/there");
    put_tmpfs(BOX_BASE "/bidi/in", "machines");
}

_unused_ static void mount_bidirectional(const char *root)
{
    put_dir(at("%s/bidi", root));
    must(mount(BOX_BASE "/bidi", at("%s/bidi", root), NULL, MS_BIND | MS_REC, NULL) == 0);
}
