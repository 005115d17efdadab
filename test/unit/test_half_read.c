/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory that cannot be read to its end is not one that ends there: whoever reads one fails, and takes nothing away.
 * The kernel's answer is made by a seccomp filter, in a child.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "node-agent/journal.h"
#include "node-agent/mounts/reclaim.h"
#include "node-agent/rootdir.h"
#include "node-agent/target.h"

#define UID "12345678-9abc-def0-1234-56789abcdef0"
#define TARGET "pods/" UID "/volumes/kubernetes.io~csi/name/mount"

static char base[] = "/tmp/sc-half-XXXXXX";
static int top;

static void shell(const char *script)
{
    char cmd[512];

    (void)snprintf(cmd, sizeof(cmd), "cd %s && %s", base, script);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

static void begin(void)
{
    cr_assert_not_null(mkdtemp(base));
    shell("mkdir -p " UID "/main/upper tree/sub trash " TARGET "/sub/sub && touch tree/file");
    top = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(top, 0);
}

static void end(void)
{
    shell("rm -r ../$(basename $PWD)");
    close(top);
}

static void on_volume(struct volume *v, void *user _unused_)
{
    volume_free(v);
}

static void on_bad(const char *file _unused_, const struct err *err _unused_, void *user _unused_)
{
}

static void on_instance(const char *uid _unused_, void *user _unused_)
{
}

static int do_load(void)
{
    return journal_load(top, on_volume, on_bad, NULL, NULL);
}

static int do_list(void)
{
    return rootdir_list(top, on_instance, NULL, NULL);
}

static int do_is_kept(void)
{
    return rootdir_is_kept(top, UID);
}

static int do_is_exposed(void)
{
    return rootdir_is_exposed(top, UID);
}

static int do_has_foreign(void)
{
    return rootdir_has_foreign(top, UID, "ns");
}

static int do_remove(void)
{
    return rootdir_remove(top, UID, NULL);
}

static int do_rest(void)
{
    return rootdir_rest(top, UID, NULL);
}

static int do_trash(void)
{
    return rootdir_trash(top, openat(top, "trash", O_PATH | O_DIRECTORY | O_CLOEXEC), UID, "ns", NULL);
}

static int do_remove_target(void)
{
    const struct target_sources src = {.kubelet_fd = top};

    return target_remove(&src, TARGET, NULL);
}

static int do_reclaim(void)
{
    return reclaim_tree(top, "tree", usec_add(clock_monotonic(), 60 * USEC_PER_SEC), NULL);
}

static void forbid_reading(void)
{
    struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getdents64, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(97);
}

Test(half_read, is_told_and_takes_nothing_away, .init = begin, .fini = end)
{
    static const struct {
        const char *what;
        int (*read)(void);
    } readers[] = {{"the journal", do_load}, {"the instances", do_list}, {"is one kept", do_is_kept},
            {"is one exposed", do_is_exposed}, {"is one another's", do_has_foreign},
            {"an instance goes", do_remove}, {"it rests", do_rest}, {"it goes to the trash", do_trash},
            {"a volume goes", do_remove_target}, {"the trash is emptied", do_reclaim}};

    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        int status;
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0) {
            forbid_reading();
            _exit(-readers[i].read());
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == EIO, "%s: %#x", readers[i].what,
                (unsigned)status);
    }
    shell("test -d " UID "/main/upper -a -d " TARGET "/sub/sub -a -f tree/file");
}
