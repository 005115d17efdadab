/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container whose postStart hook is a process is given its root when that has come: by the real agent and the shipped
 * execwrap. Who forks in the container all the time until then, as a runtime does on its way to a hook, is in the root
 * afterwards with all its children, which an attach at any moment of that would have left behind. And the ends of the
 * waiting: no hook comes, the agent is another one, the root was given before, the attach mode moves nobody.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

#define EXECWRAP SC_MOUNT_DIR "/" SC_EXECWRAP_FILE
#define NO_HOOK_AFTER 60000 /* ms; more than an agent waits, by far */
#define ALONE 1500 /* ms; less than it waits, and more than it needs to answer, by far */

/* --- in the consumer's box ------------------------------------------------------------------------------- */

static int run_fd = -1; /* of the container's first process */

/* As execwrap run: 0 when it is told to wait. */
static int do_ask(const char *text _unused_)
{
    int r, tries = 50;

    run_fd = close_fd(run_fd);
    do
        r = node_ask(WIRE_ATTACH, WIRE_WAIT, &run_fd);
    while (r == -EAGAIN && --tries > 0 && poll(NULL, 0, 10) == 0); /* a refusal that passes */
    return r;
}

/* Waits on: 0 when it has its root. Text: for how many ms at most. */
static int do_wait(const char *text)
{
    static uint8_t buffer[WIRE_REPLY_MAX];
    struct pollfd p = {.fd = run_fd, .events = POLLIN};
    struct wire_reader reader;
    enum wire_type said = 0;
    int r = poll(&p, 1, atoi(text)) == 1 ? 0 : -ETIMEDOUT;

    wire_reader_init(&reader, buffer, sizeof(buffer));
    while (r == 0 && said != WIRE_ATTACHED)
        r = node_next_reply(run_fd, &reader, &said);
    return r;
}

static int ask(const struct node *n)
{
    return box_call(&n->boxes[NODE_POD_CONSUMER], do_ask, "");
}

static int wait_on(const struct node *n, int ms)
{
    return box_call(&n->boxes[NODE_POD_CONSUMER], do_wait, at("%d", ms));
}

/* --- what a runtime executes in it ----------------------------------------------------------------------- */

static void join(const struct node *n)
{
    int fd = open(at("/proc/%d/ns/mnt", (int)n->boxes[NODE_POD_CONSUMER].pid), O_RDONLY | O_CLOEXEC);

    must(fd >= 0 && setns(fd, CLONE_NEWNS) == 0);
}

static pid_t start_hook(const struct node *n)
{
    static const char *const argv[] = {EXECWRAP, "ready", NULL};
    int go[2];
    pid_t pid;
    char c;

    must(pipe2(go, O_CLOEXEC) == 0);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && read(go[0], &c, 1) == 1);
        join(n);
        (void)execv(argv[0], (char **)(uintptr_t)argv);
        _exit(99);
    }
    must(mount(NODE_RUN "/cgroup-consumer", at("/proc/%d/cgroup", (int)pid), NULL, MS_BIND, NULL) == 0);
    must(write(go[1], "g", 1) == 1 && close(go[0]) == 0 && close(go[1]) == 0);
    return pid;
}

/* Whether the hook ends within so many ms. */
static bool hook_ends(pid_t pid, int ms)
{
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int r = poll(&p, 1, ms);

    must(p.fd >= 0 && r >= 0 && close(p.fd) == 0);
    return r == 1;
}

/* Its exit code. */
static int end_hook(pid_t pid)
{
    int status = -1;

    must(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int hook(const struct node *n)
{
    return end_hook(start_hook(n));
}

enum { FORKERS = 6, FORKS = 150, TURNS = 4 };

/* So much to copy for a fork that an attach can come in its midst. */
static char ballast[32 * MIB];

struct forkers {
    pid_t pids[FORKERS];
    int stop[2], stopped[2], look[2];
};

static pid_t fork_looker(const int look[2])
{
    pid_t pid = fork();
    char c;

    must(pid >= 0);
    if (pid > 0)
        return pid;
    must(close(look[1]) == 0 && read(look[0], &c, 1) == 0);
    _exit(access("/preserved", F_OK) == 0 && access(SC_MOUNT_DIR "/" SC_SOCKET_FILE, F_OK) == 0 ? 0 : 1);
}

/* Forks until told to stop; its exit code is how many of its children do not see the root in the end. */
_Noreturn static void forker(const struct node *n, struct forkers *f)
{
    struct pollfd stop = {.fd = f->stop[0], .events = POLLIN};
    int lost = 0, status;
    pid_t children[FORKS];
    size_t k = 0;

    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && close(f->stop[1]) == 0);
    join(n);
    for (int told = 0; told == 0; told = poll(&stop, 1, k < FORKS ? 0 : -1))
        if (k < FORKS)
            children[k++] = fork_looker(f->look);
    must(close(f->look[1]) == 0 && write(f->stopped[1], "s", 1) == 1);
    for (size_t i = 0; i < k; i++) {
        must(waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status));
        lost += WEXITSTATUS(status) != 0;
    }
    _exit(lost);
}

static void start_forkers(const struct node *n, struct forkers *f)
{
    must(pipe2(f->stop, O_CLOEXEC) == 0 && pipe2(f->stopped, O_CLOEXEC) == 0 &&
            pipe2(f->look, O_CLOEXEC) == 0);
    fflush(stdout);
    for (size_t i = 0; i < FORKERS; i++) {
        f->pids[i] = fork();
        must(f->pids[i] >= 0);
        if (f->pids[i] == 0)
            forker(n, f);
    }
}

/* When it returns they fork no more. */
static void stop_forkers(struct forkers *f)
{
    char c;

    must(close(f->stop[0]) == 0 && close(f->stop[1]) == 0);
    for (size_t i = 0; i < FORKERS; i++)
        must(read(f->stopped[0], &c, 1) == 1);
}

/* How many of their children do not see the root. */
static int end_forkers(struct forkers *f)
{
    int lost = 0, status;

    must(close(f->look[1]) == 0 && close(f->look[0]) == 0);
    for (size_t i = 0; i < FORKERS; i++) {
        must(waitpid(f->pids[i], &status, 0) == f->pids[i] && WIFEXITED(status));
        lost += WEXITSTATUS(status);
    }
    must(close(f->stopped[0]) == 0 && close(f->stopped[1]) == 0);
    return lost;
}

/* --- the scenes ------------------------------------------------------------------------------------------ */

/* A provider's root, and a consumer's container that has started. */
static bool begin(struct node *n, bool chroot)
{
    bool good;

    node_make(n);
    n->chroot = chroot;
    n->post_start = true;
    good = tap_ok(node_start_agent(n) == 0 && node_through(n, NODE_PROVIDER) && node_through(n, NODE_HELLO) &&
                          node_through(n, NODE_CONSUMER),
            "a root for a consumer");
    node_before(n, NODE_ATTACH);
    return good;
}

/* Another pod, whose container has started. */
static bool next_consumer(struct node *n)
{
    bool good = node_through(n, NODE_LEAVE_CONSUMER);

    node_after(n, NODE_LEAVE_CONSUMER);
    good = good && node_through(n, NODE_CONSUMER);
    node_before(n, NODE_ATTACH);
    return good;
}

static int among_forkers(const void *data _unused_)
{
    struct node n;
    int waited = 0, hooked = 0, lost = 0;
    bool good;

    memset(ballast, 1, sizeof(ballast));
    good = begin(&n, false);
    for (int turn = 0; good && turn < TURNS; turn++) {
        struct forkers f;
        int asked;

        start_forkers(&n, &f);
        asked = ask(&n);
        stop_forkers(&f);
        waited += asked == 0;
        hooked += hook(&n) == 0;
        good = asked != 0 || wait_on(&n, 15000) == 0;
        lost += end_forkers(&f);
        good = good && next_consumer(&n);
    }
    good = tap_ok(good && waited == TURNS, "a container waits for its hook (%d of %d did)", waited, TURNS) &&
           good;
    good = tap_ok(hooked == TURNS, "the hook finds what it is to be (%d of %d did)", hooked, TURNS) && good;
    good = tap_ok(lost == 0, "who is forked on the way to a hook is in the root (%d were not)", lost) && good;
    return node_end(&n, good);
}

/* The kubelet has ended just before it. */
static int no_hook(const void *data _unused_)
{
    struct node n;
    bool good = begin(&n, false);

    good = good && tap_ok(ask(&n) == 0, "a container without a hook waits") &&
           tap_ok(wait_on(&n, NO_HOOK_AFTER) == 0 && system("grep -q 'has not come in time' " NODE_LOG) == 0,
                   "and has its root in the end, with a warning");
    return node_end(&n, good);
}

static int kubelet_again(const void *data _unused_)
{
    struct node n;
    bool good = begin(&n, false);

    good = good && tap_ok(ask(&n) == 0, "a container waits") &&
           tap_ok(node_publish(&n, NODE_POD_CONSUMER) == 0 && wait_on(&n, 10000) == 0,
                   "a kubelet that was started again sends no hook: it has its root");
    return node_end(&n, good);
}

static bool another_agent(struct node *n)
{
    node_kill_agent(n);
    return tap_ok(node_start_agent(n) == 0 && node_repeat_step(n, NODE_HELLO) == 0, "another agent");
}

static int another(const void *data _unused_)
{
    struct node n;
    bool good = begin(&n, false);

    good = good && tap_ok(ask(&n) == 0, "a container waits") && another_agent(&n) &&
           tap_ok(ask(&n) == 0, "it waits with the next agent") &&
           tap_ok(hook(&n) == 0 && wait_on(&n, 15000) == 0, "and has its root when the hook has come");
    good = good && another_agent(&n) &&
           tap_ok(node_ask_step(&n, NODE_ATTACH) == 0, "what has its root waits for no hook: %s",
                   n.runtime->text);
    return node_end(&n, good);
}

/* As after an agent's end, where both come again in any order. */
static int hook_first(const void *data _unused_)
{
    struct node n;
    bool good = begin(&n, false);
    pid_t pid = good ? start_hook(&n) : 0;

    good = good && tap_ok(!hook_ends(pid, ALONE), "a hook that comes first waits for the first process") &&
           tap_ok(node_ask_step(&n, NODE_ATTACH) == 0, "which has its root: %s", n.runtime->text) &&
           tap_ok(end_hook(pid) == 0, "and so has the hook");
    if (!good)
        return node_end(&n, good);
    pid = another_agent(&n) ? start_hook(&n) : 0;
    good = tap_ok(hook_ends(pid, ALONE) && end_hook(pid) == 0,
            "what is executed after the attach waits for nobody");
    return node_end(&n, good);
}

/* Its first process was told by an agent before. */
static int hook_alone(const void *data _unused_)
{
    struct node n;
    bool good = begin(&n, false);

    good = good &&
           tap_ok(hook(&n) == 0 && system("grep -q 'has not come in time' " NODE_LOG) == 0,
                   "a hook alone goes on in the end") &&
           tap_ok(node_ask_step(&n, NODE_ATTACH) == 0, "and so does the first process: %s", n.runtime->text);
    return node_end(&n, good);
}

static int chrooted(const void *data _unused_)
{
    struct node n;
    bool good = begin(&n, true);

    good = good && tap_ok(node_ask_step(&n, NODE_ATTACH) == 0,
                           "in attach mode Chroot nothing is waited for: %s", n.runtime->text);
    return node_end(&n, good);
}

/* Waits for most of its time: beside the others. */
static pid_t play_beside(int (*play)(const void *))
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0)
        exit(on_next_machine(play, NULL) != 0);
    return pid;
}

int main(void)
{
    static int (*const plays[])(const void *) = {among_forkers, kubelet_again, another, hook_first, chrooted};
    pid_t beside[2];
    int status;

    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    beside[0] = play_beside(no_hook);
    beside[1] = play_beside(hook_alone);
    for (size_t i = 0; i < ARRAY_SIZE(plays); i++)
        tap_failures += on_next_machine(plays[i], NULL) != 0;
    for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
        must(waitpid(beside[i], &status, 0) == beside[i]);
        tap_failures += status != 0;
    }
    return tap_status();
}
