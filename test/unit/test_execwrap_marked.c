/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execwrap in a container that has its root: by the agent's mark (common/wire/mark.h) it knows so without the
 * agent. The root of these tests is the machine's own; what is executed says so.
 */
#include "common/names.h"
#include "common/wire/mark.h"
#include "execwrap/wrap.h"
#include "test/unit/fake_agent.h"

static char name[WIRE_MARK_MAX]; /* of the mark that fits */

static void begin(void)
{
    struct stat st;

    fake_begin();
    cr_assert_eq(stat("/", &st), 0);
    cr_assert_eq(wire_mark_name(st.st_dev, st.st_ino, name), 0);
    cr_assert_eq(mkdir(fake_path(SC_MARKS_NAME), 0755), 0);
}

TestSuite(execwrap_marked, .init = begin, .fini = fake_end, .timeout = 120);

static const char *mark_path(const char *mark)
{
    static char path[sizeof fake_dir + WIRE_MARK_MAX + 16];

    snprintf(path, sizeof path, "%s/" SC_MARKS_NAME "/%s", fake_dir, mark);
    return path;
}

static void put_mark(const char *mark, mode_t mode)
{
    cr_assert_eq(mkdir(mark_path(mark), 0700), 0);
    cr_assert_eq(chmod(mark_path(mark), mode), 0);
}

static int start(void *data)
{
    const char *const *args = data;
    char *argv[8] = {strdup("execwrap")};
    int argc = 1;

    for (; args[argc - 1]; argc++)
        argv[argc] = strdup(args[argc - 1]);
    return chdir("/usr") < 0 ? 97 : wrap(argc, argv, fake_path("agent.sock"), 0);
}

static const char *const hook[] = {"exec", "--", "/bin/pwd", NULL};
static const char *const ready[] = {"ready", NULL};
static const char *const first[] = {"run", "--", "/bin/pwd", NULL};
static const char *const chrooted[] = {"exec", "--chroot", "--", "/bin/pwd", NULL};

static pid_t begin_run(const char *const *args)
{
    return fake_start(start, (void *)(uintptr_t)args);
}

static void expect_asks(const char *const *args)
{
    static const struct wire_attached nothing;
    uint8_t buf[64];
    pid_t pid = begin_run(args);
    int fd = fake_accept();

    cr_assert_eq(fake_request(fd).type, WIRE_ATTACH);
    cr_assert_eq(waitpid(pid, NULL, WNOHANG), 0, "it did not wait");
    fake_bytes(fd, buf, (size_t)wire_encode_attached(buf, sizeof buf, &nothing));
    close(fd);
    (void)fake_wait(pid);
}

Test(execwrap_marked, goes_on_without_an_agent)
{
    fake_unlisten();
    put_mark(name, WIRE_MARK_MODE);
    cr_assert_eq(fake_wait(begin_run(hook)), 0);
    cr_assert_str_eq(fake_content("out"), "/usr\n", "not where the runtime put it");
    cr_assert_str_eq(fake_content("err"), "");
    cr_assert_eq(fake_wait(begin_run(ready)), 0);
    cr_assert_str_eq(fake_content("err"), "");
}

/* An agent that hangs is like none: it is not even connected to. */
Test(execwrap_marked, does_not_ask)
{
    struct pollfd p;

    put_mark(name, WIRE_MARK_MODE);
    cr_assert_eq(fake_wait(begin_run(hook)), 0);
    p = (struct pollfd){.fd = fake_listener, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, 0), 0);
}

Test(execwrap_marked, first_process_asks_all_the_same)
{
    put_mark(name, WIRE_MARK_MODE);
    expect_asks(first);
}

/* There the mark is another, at a place of its own. */
Test(execwrap_marked, chroot_asks_all_the_same)
{
    put_mark(name, WIRE_MARK_MODE);
    expect_asks(chrooted);
}

/* Each changed in one place. */
Test(execwrap_marked, what_does_not_fit_is_no_mark)
{
    char other[WIRE_MARK_MAX], *ino, *end;
    struct stat st;

    cr_assert_eq(stat("/", &st), 0);
    strcpy(other, name);
    other[0] = other[0] == '0' ? '1' : '0'; /* another boot */
    put_mark(other, WIRE_MARK_MODE);
    cr_assert_eq(wire_mark_name(st.st_dev + 1, st.st_ino, other), 0);
    put_mark(other, WIRE_MARK_MODE);
    cr_assert_eq(wire_mark_name(st.st_dev, st.st_ino + 1, other), 0);
    put_mark(other, WIRE_MARK_MODE);
    cr_assert_eq(wire_mark_name(st.st_ino, st.st_dev, other), 0);
    put_mark(other, WIRE_MARK_MODE);
    strcpy(other, name);
    ino = strrchr(other, '.');
    *ino = '\0'; /* cut short, in the middle and at the end */
    put_mark(other, WIRE_MARK_MODE);
    *ino = '.';
    end = other + strlen(other);
    end[-1] = '\0';
    put_mark(other, WIRE_MARK_MODE);
    expect_asks(hook);
}

Test(execwrap_marked, what_is_too_long_is_no_mark)
{
    char other[256];

    memset(other, '0', sizeof other - 1);
    other[sizeof other - 1] = '\0';
    memcpy(other, name, strlen(name));
    cr_assert_eq(mkdirat(AT_FDCWD, fake_path(SC_MARKS_NAME "/x"), 0700), 0);
    cr_assert_eq(renameat2(AT_FDCWD, fake_path(SC_MARKS_NAME "/x"),
                         open(fake_path(SC_MARKS_NAME), O_PATH | O_CLOEXEC), other, 0),
            0);
    expect_asks(hook);
}

/* As a subPath of the pod's author would be made, and what nobody makes. */
Test(execwrap_marked, what_is_of_another_kind_is_no_mark)
{
    put_mark(name, 0755);
    expect_asks(hook);
    cr_assert_eq(rmdir(mark_path(name)), 0);
    put_mark("elsewhere", WIRE_MARK_MODE);
    cr_assert_eq(symlink("elsewhere", mark_path(name)), 0);
    expect_asks(hook);
    cr_assert_eq(unlink(mark_path(name)), 0);
    cr_assert_eq(mknod(mark_path(name), S_IFREG | WIRE_MARK_MODE, 0), 0);
    expect_asks(hook);
    cr_assert_eq(unlink(mark_path(name)), 0);
    cr_assert_eq(rmdir(mark_path("elsewhere")), 0);
    cr_assert_eq(rmdir(fake_path(SC_MARKS_NAME)), 0);
    expect_asks(hook);
}

Test(execwrap_marked, names_are_of_the_boot_the_device_and_the_inode)
{
    char boot[64] = "", want[128], got[WIRE_MARK_MAX];
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    cr_assert(f && fgets(boot, sizeof boot, f));
    fclose(f);
    boot[strcspn(boot, "\n")] = '\0';
    cr_assert_eq(wire_mark_name(0x1f, 0, got), 0);
    snprintf(want, sizeof want, "%s.1f.0", boot);
    cr_assert_str_eq(got, want);
    cr_assert_eq(wire_mark_name(UINT64_MAX, UINT64_MAX, got), 0);
    snprintf(want, sizeof want, "%s.ffffffffffffffff.ffffffffffffffff", boot);
    cr_assert_str_eq(got, want);
    cr_assert_eq(strlen(got) + 1, sizeof got);
}
