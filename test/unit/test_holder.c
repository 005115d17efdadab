/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/mounts/holder: who has an overlay mounted, in a /proc made of files.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node-agent/mounts/holder.h"

#define UPPER "/state/instances/u/main/upper"
#define UID "12345678-9abc-def0-1234-56789abcdef0"

static char top[] = "/tmp/test-holder-XXXXXX";

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

/* A process with this mount namespace, table of mounts (NULL: gone meanwhile) and cgroups. */
static void process(const char *pid, const char *ns, const char *mounts, const char *cgroup)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", top, pid);
    cr_assert_eq(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/%s/ns", top, pid);
    cr_assert_eq(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/%s/ns/mnt", top, pid);
    cr_assert_eq(symlink(ns, path), 0);
    (void)snprintf(path, sizeof(path), "%s/%s/mountinfo", top, pid);
    if (mounts)
        write_file(path, mounts);
    (void)snprintf(path, sizeof(path), "%s/%s/cgroup", top, pid);
    write_file(path, cgroup);
}

static int find(struct holder *ret)
{
    int proc = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC), r;

    cr_assert_geq(proc, 0);
    r = holder_find(proc, UPPER, ret);
    close(proc);
    return r;
}

#define LINE(options) "36 35 0:40 / /x rw - overlay overlay rw,lowerdir=/a," options "\n"

static void begin(void)
{
    cr_assert_not_null(mkdtemp(top));
    process("self", "mnt:[1]", LINE("upperdir=" UPPER), "");
    process("1", "mnt:[1]", LINE("upperdir=" UPPER), ""); /* the caller's own namespace */
    process("7", "mnt:[2]", LINE("upperdir=" UPPER "2,workdir=/w"), "");
    process("8", "mnt:[3]", NULL, "");
    process("net", "mnt:[4]", LINE("upperdir=" UPPER), ""); /* no process */
}

static void end(void)
{
    char command[64];

    (void)snprintf(command, sizeof(command), "rm -r %s", top);
    cr_assert_eq(system(command), 0);
}

Test(holder, nobody, .init = begin, .fini = end)
{
    struct holder h;

    cr_expect_eq(find(&h), 0);
}

Test(holder, a_pod, .init = begin, .fini = end)
{
    static const char *const cgroups[] = {
            "0::/kubepods/burstable/pod" UID "/0123\n",
            "0::/kubepods.slice/kubepods-pod12345678_9abc_def0_1234_56789abcdef0.slice/x.scope\n",
            "4:podium:/pod1/pod" UID "\n",
    };
    struct holder h;

    for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++) {
        char command[80];

        process("9", "mnt:[5]", LINE("xino=off") LINE("upperdir=" UPPER ",workdir=/w"), cgroups[i]);
        cr_expect_eq(find(&h), 1);
        cr_expect_eq(h.pid, 9);
        cr_expect_str_eq(h.pod_uid, UID, "%zu", i);
        (void)snprintf(command, sizeof(command), "rm -r %s/9", top);
        cr_assert_eq(system(command), 0);
    }
}

Test(holder, no_pod, .init = begin, .fini = end)
{
    struct holder h;

    process("9", "mnt:[5]", LINE("upperdir=" UPPER), "0::/kubepods/pod12345678-9abc-def0-1234-<b>\n");
    cr_expect_eq(find(&h), 1);
    cr_expect_str_eq(h.pod_uid, "");
}
