/* SPDX-License-Identifier: Apache-2.0 */
/* execwrap: for how long it waits for the root. */
#include "execwrap/wrap.h"
#include "test/unit/fake_agent.h"

TestSuite(execwrap_patience, .init = fake_begin, .fini = fake_end, .timeout = 120);

struct setup {
    const char *const *args; /* behind "execwrap", ended by NULL */
};

static int start(void *data)
{
    const struct setup *s = data;
    static char *argv[8];
    int argc = 0;

    argv[argc++] = strdup("execwrap");
    for (size_t i = 0; s->args[i]; i++)
        argv[argc++] = strdup(s->args[i]);
    return wrap(argc, argv, fake_path("agent.sock"), 1);
}

static pid_t start_run(const char *const *args)
{
    struct setup s = {.args = args};

    return fake_start(start, &s);
}

static void attach(int fd)
{
    static const struct wire_attached nothing;
    uint8_t buf[64];

    fake_bytes(fd, buf, (size_t)wire_encode_attached(buf, sizeof buf, &nothing));
}

/* The kubelet waits for a hook without a bound, and ends nothing in the pod before. The first process has time. */
Test(execwrap_patience, hooks_do_not_wait_for_ever)
{
    static const char *const ready[] = {"ready", NULL};
    static const char *const hook[] = {"exec", "--", "/bin/true", NULL};
    static const char *const first[] = {"run", "--", "/bin/true", NULL};
    static const char *const *const cases[] = {ready, hook, first};
    int fds[ARRAY_SIZE(cases)];
    pid_t pids[ARRAY_SIZE(cases)];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        pids[i] = start_run(cases[i]);
        fds[i] = fake_accept();
        (void)fake_request(fds[i]);
        fake_text(fds[i], WIRE_WAIT, false, "for the root");
    }
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(fake_wait(pids[i]), 128);
    cr_assert_not_null(
            strstr(fake_content("err"), "execwrap: the root was waited for too long: for the root\n"));
    cr_assert_eq(waitpid(pids[2], NULL, WNOHANG), 0, "the first process gave up");
    attach(fds[2]);
    cr_assert_eq(fake_wait(pids[2]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        close(fds[i]);
}

/* A command that got its root in time has all its time. */
Test(execwrap_patience, patience_ends_with_the_wait)
{
    static const char *const args[] = {"exec", "--", "/bin/sleep", "1.5", NULL};
    pid_t pid = start_run(args);
    int fd = fake_accept();

    (void)fake_request(fd);
    attach(fd);
    cr_assert_eq(fake_wait(pid), 0);
    close(fd);
}
