/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes and hooks while there is no agent, by the shipped execwrap with the real agent's marks: in a container
 * that has its root they run; in one that has not, also when its pod's volume has the mark of an earlier
 * container, they wait for the agent. And while there is an agent, what they ask depends on no image.
 */
#include "common/wire/mark.h"
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

#define ROOT NODE_STATE "/" SC_INSTANCES_DIR "/" NODE_INSTANCE "/main/" SC_ROOTFS_DIR
#define EXECWRAP SC_MOUNT_DIR "/" SC_EXECWRAP_FILE
#define BUSYBOX "/usr/bin/busybox"

enum {
    HOOK_WAITS = 1000,
    HOOK_RUNS = 20000
}; /* ms: a probe's default, where nothing can be waited for; and all it needs */

static const struct life {
    const char *name;
    bool persistent, chroot;
} lives[] = {{"Pivot", false, false}, {"Chroot", false, true}, {"Pivot, persistence Node", true, false},
        {"Chroot, persistence Node", true, true}};

/* A program that the preserved root alone has. */
static void put_program(void)
{
    _cleanup_close_ int in = open(BUSYBOX, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = open(ROOT "/bin/true", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

    must(in >= 0 && out >= 0 && file_copy_fd(in, out, NULL) == 0 && fchmod(out, 0755) == 0);
}

/* --- in the consumer's box ------------------------------------------------------------------------------- */

/* A hook: its exit code, or -EAGAIN where it still waits after so many ms; then it is ended. Text: "MS", or "MS
 * --chroot". */
static int do_hook(const char *text)
{
    static const char *const plain[] = {EXECWRAP, "exec", "--", "/bin/true", NULL};
    static const char *const chrooted[] = {EXECWRAP, "exec", "--chroot", "--", "/bin/true", NULL};
    const char *const *argv = strstr(text, "--chroot") ? chrooted : plain;
    long left = strtol(text, NULL, 10);
    int status = -1;
    pid_t pid = fork();

    must(pid >= 0);
    if (pid == 0) {
        (void)execv(argv[0], (char **)(uintptr_t)argv);
        _exit(99);
    }
    for (; left > 0; left -= 5) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        (void)poll(NULL, 0, 5);
    }
    (void)kill(pid, SIGKILL);
    must(waitpid(pid, &status, 0) == pid);
    return -EAGAIN;
}

/* Its "/" has a mark in the volume. */
static int do_is_marked(const char *text _unused_)
{
    char name[WIRE_MARK_MAX];
    struct stat st;

    must(stat("/", &st) == 0 && wire_mark_name(st.st_dev, st.st_ino, name) == 0);
    return lstat(at(SC_MOUNT_DIR "/" SC_MARKS_NAME "/%s", name), &st) == 0 &&
           st.st_mode == (S_IFDIR | WIRE_MARK_MODE);
}

/* --- the lives ------------------------------------------------------------------------------------------- */

static int hook(const struct node *n, int ms)
{
    return box_call(&n->boxes[NODE_POD_CONSUMER], do_hook, at("%d%s", ms, n->chroot ? " --chroot" : ""));
}

static bool is_marked(const struct node *n)
{
    return n->chroot || box_call(&n->boxes[NODE_POD_CONSUMER], do_is_marked, "") == 1;
}

static bool has_no_marks(void)
{
    return system(at("test -z \"$(ls -A %s/" SC_MARKS_NAME " 2>&-)\"", node_target(NODE_POD_CONSUMER))) == 0;
}

/* A container that has started, and was not given its root. */
static bool fresh(struct node *n, const char *what)
{
    int code;

    node_kill_agent(n);
    node_before(n, NODE_ATTACH);
    code = hook(n, HOOK_WAITS);
    return tap_ok(code == -EAGAIN, "%s: it waits (%d)", what, code);
}

static bool attached(struct node *n, const char *what)
{
    int code;
    bool good = tap_ok(node_start_agent(n) == 0 && node_repeat_step(n, NODE_HELLO) == 0 &&
                               node_repeat_step(n, NODE_ATTACH) == 0 && is_marked(n),
            "%s: it has its root, with a mark", what);

    node_kill_agent(n);
    if (!good)
        return false;
    code = hook(n, HOOK_RUNS);
    return tap_ok(code == 0, "%s: it runs without an agent (%d)", what, code);
}

static bool ends(struct node *n)
{
    bool good = tap_ok(node_start_agent(n) == 0 && node_repeat_step(n, NODE_HELLO) == 0, "another agent");

    if (good && !n->persistent)
        good = tap_ok(node_repeat_step(n, NODE_ATTACH) == 0 && node_through(n, NODE_LOSE) && has_no_marks(),
                "of a root that is lost no mark is left");
    return good && tap_ok(node_through(n, NODE_LEAVE_CONSUMER) && node_through(n, NODE_LEAVE_PROVIDER) &&
                                   access(node_target(NODE_POD_CONSUMER), F_OK) < 0,
                           "nothing is left in the end");
}

static int play(const void *data)
{
    const struct life *life = data;
    struct node n;
    bool good;

    node_make(&n);
    n.persistent = life->persistent;
    n.chroot = life->chroot;
    good = tap_ok(node_start_agent(&n) == 0 && node_through(&n, NODE_PROVIDER) &&
                          node_through(&n, NODE_HELLO) && node_through(&n, NODE_CONSUMER),
            "%s: a root for a consumer", life->name);
    if (good)
        put_program();
    good = good && fresh(&n, "a hook in a new container") && attached(&n, "a hook in the same container");
    if (good)
        node_end_box(&n, NODE_POD_CONSUMER);
    good = good && fresh(&n, "a hook in the container that was started again") &&
           attached(&n, "a hook in that container") && ends(&n);
    return node_end(&n, good);
}

/* In persistence Node the provider may be gone, and the consumer's own image is the one that would be asked for. */
static int without_images(const void *data _unused_)
{
    struct node n;
    bool good;

    node_make(&n);
    n.persistent = true;
    good = tap_ok(node_start_agent(&n) == 0 && node_through(&n, NODE_PROVIDER) &&
                          node_through(&n, NODE_HELLO) && node_through(&n, NODE_CONSUMER) &&
                          node_through(&n, NODE_ATTACH) && node_through(&n, NODE_YIELD),
            "a consumer is on its root, without a provider");
    n.runtime->imageless = true;
    good = good &&
           tap_ok(node_ask_step(&n, NODE_AGAIN) == 0,
                   "what is executed in it is answered though the runtime has no image: %s", n.runtime->text);
    return node_end(&n, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    for (size_t i = 0; i < ARRAY_SIZE(lives); i++)
        tap_failures += on_next_machine(play, &lives[i]) != 0;
    tap_failures += on_next_machine(without_images, NULL) != 0;
    return tap_status();
}
