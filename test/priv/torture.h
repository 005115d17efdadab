/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instance's life on a node (node_steps.h), in which one step goes wrong at the n-th system call (trace.h);
 * and what must be so afterwards. Each life is played in order, whatever goes wrong in it: of persistence
 * Provider, with attach mode Pivot and with Chroot, and of persistence Node, where the kept root is looked at
 * before and after each repair too (torture_kept.h).
 *
 * A first life without harm says how many system calls a step has, and what the node looks like after each.
 */
#pragma once

#include <limits.h>

#include "test/priv/node_look.h"
#include "test/priv/torture_kept.h"
#include "test/priv/trace.h"

struct torture_kind {
    const char *name;
    enum trace_act act;
    unsigned steps; /* bits of enum node_step */
    /* Instead of a trace: what goes wrong around the step, and is right again afterwards. */
    void (*make)(void);
    void (*undo)(void);
    /* The same, of something that is counted as calls are: what goes wrong at the n-th. Tells whether it came to that. */
    void (*make_at)(unsigned long n);
    bool (*undo_at)(unsigned long *ret_count);
    const char *preload; /* a library for the agent that does so */
};

/* What a life without harm looks like. */
static struct {
    char *after[2][NODE_STEPS]; /* node_look once the step is through; [1]: in a life with a loss */
    char *consumer; /* the mounts of the consumer's namespace, and the commands that it has */
    char *root; /* the files of the provider's root */
    int fds; /* of an agent that was started, and of one that was there all the time, at the end */
    int fds_old;
} torture_good = {.fds = INT_MIN, .fds_old = INT_MIN};

enum { TORTURE_WORKERS = 1u << NODE_HELLO | 1u << NODE_ATTACH | 1u << NODE_RESTART };

/* Whose life it is, and which of its steps are not the same as in another's: those go wrong. */
static const struct torture_mode {
    const char *name;
    bool persistent, chroot;
    unsigned without; /* steps that it has not */
    unsigned steps;
    unsigned workers; /* those in which workers run */
    unsigned thin; /* `make check` takes so many times fewer of its lives */
} torture_modes[] = {
        {.name = "",
                .without = NODE_STEPS_NODE,
                .steps = (1u << NODE_STEPS) - 1,
                .workers = TORTURE_WORKERS,
                .thin = 1},
        {.name = " Node",
                .persistent = true,
                .without = NODE_STEPS_PROVIDER,
                .steps = ((1u << NODE_STEPS) - 1) & ~(1u << NODE_START),
                .workers = TORTURE_WORKERS | 1u << NODE_LEAVE_NEXT | 1u << NODE_BACK_HELLO |
                           1u << NODE_LEAVE_BACK | 1u << NODE_RECLAIM,
                .thin = 5},
        {.name = " Chroot",
                .chroot = true,
                .without = NODE_STEPS_NODE,
                .steps = 1u << NODE_CONSUMER | 1u << NODE_ATTACH | 1u << NODE_AGAIN | 1u << NODE_RESTART |
                         1u << NODE_LOSE | 1u << NODE_LEAVE_CONSUMER,
                .workers = TORTURE_WORKERS,
                .thin = 5},
};

struct torture_life {
    struct node *n;
    const struct torture_kind *kind; /* NULL: nothing goes wrong */
    const struct torture_mode *mode;
    enum node_step step; /* where it does; one of those that are asked for is lived if it is this one */
    struct trace trace;
    bool restarted;
    char why[4096]; /* what is not as it must be; "" */
};

_printf_(2, 3) static void torture_wrong(struct torture_life *l, const char *fmt, ...)
{
    size_t n = strlen(l->why);
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(l->why + n, sizeof(l->why) - n, fmt, ap);
    va_end(ap);
    n = strlen(l->why);
    (void)snprintf(l->why + n, sizeof(l->why) - n, "; ");
}

/* The first line of a that b has not, or of b that a has not. */
static const char *torture_difference(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return at("\"%.60s\" for \"%.60s\"", b, a);
}

static void torture_compare(struct torture_life *l, const char *what, const char *want, char *got)
{
    if (want && strcmp(want, got) != 0)
        torture_wrong(l, "%s: %s", what, torture_difference(want, got));
    free(got);
}

static char *torture_read(const char *command)
{
    struct buf b = BUF_INIT(8 * MIB);
    FILE *f = popen(command, "re");
    char line[4096];

    must(f && buf_puts(&b, "") == 0);
    while (fgets(line, sizeof(line), f))
        must(buf_puts(&b, line) == 0);
    (void)pclose(f);
    return buf_take(&b, NULL);
}

/* The consumer is on the provider's root, and its namespace holds what it should. */
static void torture_look_inside(struct torture_life *l)
{
    pid_t pid = l->n->boxes[NODE_POD_CONSUMER].pid;
    char *mounts, *files;

    if (box_call(&l->n->boxes[NODE_POD_CONSUMER], do_exists,
                l->mode->chroot ? SC_CHROOT_ROOT "/preserved" : "/preserved") != 1)
        torture_wrong(l, "the consumer is not on the preserved root");
    mounts = torture_read(
            at("cut -d' ' -f5,6 /proc/%d/mountinfo | sort; ls /proc/%d/root/bin", (int)pid, (int)pid));
    files = torture_read(l->mode->persistent ? "find " KEPT_DIR "/upper " KEPT_DIR "/rootfs -xdev | sort"
                                             : "find " BOX_BASE "/provider/upper " BOX_BASE
                                               "/provider/lower | sort");
    if (!torture_good.consumer) {
        torture_good.consumer = mounts;
        torture_good.root = files;
        return;
    }
    torture_compare(l, "the consumer's mounts", torture_good.consumer, mounts);
    torture_compare(l, "the root's files", torture_good.root, files);
}

/* What is asked for on top changes nothing, but for the loss. */
static enum node_step torture_state(enum node_step step)
{
    return step == NODE_AGAIN || step == NODE_RESTART ? NODE_ATTACH
           : step == NODE_RESTED                      ? NODE_LEAVE_NEXT
                                                      : step;
}

/* What failed and is nobody's to ask for again, the agent does again a second later; a worker that was killed ends in its
 * own time. Returns what is to be seen then, which is to be `good` if there is one. */
static char *torture_look_until(struct torture_life *l, enum node_step step, const char *good)
{
    usec_t end = usec_add(clock_monotonic(), l->trace.done ? 5 * USEC_PER_SEC : 0);
    char *look = NULL;
    char text[4096];
    int r;

    for (;;) {
        (void)node_settle(l->n);
        node_reap(l->n);
        r = node_check(text, sizeof(text));
        look = node_look();
        if ((r == 0 && (!good || strcmp(good, look) == 0)) || clock_monotonic() >= end)
            break;
        free(look);
        (void)poll(NULL, 0, 50);
    }
    if (r != 0)
        torture_wrong(l, "check after %s: %s", node_step_names[step], text);
    return look;
}

static void torture_look(struct torture_life *l, enum node_step step)
{
    char **good = &torture_good.after[l->step == NODE_LOSE][torture_state(step)];
    char *look = torture_look_until(l, step, *good);

    if (!*good)
        *good = look;
    else
        torture_compare(l, at("after %s", node_step_names[step]), *good, look);
    if (torture_state(step) == NODE_ATTACH)
        torture_look_inside(l);
}

/* Persistence Node: what must be so of the root at every moment, whatever has just gone wrong. */
static void torture_look_kept(struct torture_life *l, enum node_step step, bool done)
{
    char why[512] = "";

    if (!l->mode->persistent)
        return;
    kept_look(step, done, why, sizeof(why));
    if (why[0])
        torture_wrong(l, "the kept root %s %s: %s", done ? "after" : "before the repair of",
                node_step_names[step], why);
}

/* The workload has left something in its root, which is what is to be kept. */
static void torture_use_root(struct torture_life *l, enum node_step step)
{
    if (l->mode->persistent && step == NODE_ATTACH &&
            box_call(&l->n->boxes[NODE_POD_CONSUMER], kept_do_write, KEPT_FILE) != 0)
        torture_wrong(l, "nothing can be written into the root");
}

/* A provider that is told of a kept root after the reclaim: nothing is made in its place. */
static void torture_ask_for_reclaimed(struct torture_life *l)
{
    struct node *n = l->n;

    node_before(n, NODE_NEXT);
    if (node_repeat_step(n, NODE_NEXT) < 0)
        torture_wrong(l, "no volume after the reclaim: %s", n->runtime->text);
    node_before(n, NODE_NEXT_HELLO);
    if (node_ask_step(n, NODE_NEXT_HELLO) != -EPERM)
        torture_wrong(l, "a kept root is had after its reclaim");
    node_before(n, NODE_LEAVE_NEXT);
    if (node_repeat_step(n, NODE_LEAVE_NEXT) < 0)
        torture_wrong(l, "that volume stays: %s", n->runtime->text);
    node_after(n, NODE_LEAVE_NEXT);
    torture_look_kept(l, NODE_LEAVE_RECLAIM, true);
}

static void torture_on_alarm(int signo)
{
    (void)signo;
}

enum { REFUSED_FOR_GOOD = 2 };

static int torture_ask(struct node *n, int step)
{
    int r = node_step_is(step, NODE_STEPS_START) ? node_wait_start(n) : 0;

    if (r == 0)
        r = node_ask_step(n, step);
    return r == -EPERM ? REFUSED_FOR_GOOD : r < 0;
}

/* The step, with the agent under ptrace: something goes wrong at its n-th call. 0, 1, or REFUSED_FOR_GOOD. */
static int torture_harm(struct torture_life *l, enum node_step step)
{
    return trace_run(&l->trace, l->n, trace_ask(&l->trace, l->n, torture_ask, (int)step));
}

/* It listens for the kubelet before the last things of its start are done, which may still fail. */
static bool torture_has_started(const struct torture_life *l)
{
    return l->n->agent > 0 && node_settle(l->n) == 0;
}

/* After the harm: the agent is there again, and what was asked comes true. */
static void torture_mend(struct torture_life *l, enum node_step step, int answer)
{
    struct node *n = l->n;

    torture_look_kept(l, step, false);
    if (l->kind->act == TRACE_KILL_ALL || (node_step_is(step, NODE_STEPS_START) && !torture_has_started(l))) {
        node_kill_agent(n);
        if (node_start_agent(n) < 0)
            torture_wrong(l, "the agent does not start again");
        l->restarted = true;
    } else if (n->agent == 0) {
        torture_wrong(l, "the agent has ended");
        (void)node_start_agent(n);
    } else if (answer == 1 && !node_step_is(step, NODE_STEPS_BOX) && !n->runtime->text[0]) {
        torture_wrong(l, "refused without a word");
    }
    /* execwrap and pause would end. */
    if (answer == REFUSED_FOR_GOOD && (l->kind->act != TRACE_FAIL || err_is_passing(-l->trace.error)))
        torture_wrong(l, "refused for good by an error that passes");
    answer = node_repeat_step(n, step);
    if (answer < 0)
        torture_wrong(l, "it does not come true: %d %s", answer, n->runtime->text);
}

/* The step while something is wrong with the node: it may fail, in words; and comes true when all is well. */
static void torture_around(struct torture_life *l, enum node_step step)
{
    struct node *n = l->n;
    int r;

    l->trace.done = true;
    if (l->kind->make_at)
        l->kind->make_at(l->trace.at);
    else
        l->kind->make();
    r = node_step_is(step, NODE_STEPS_START) ? node_start_agent(n) : 0;
    if (r == 0)
        r = node_ask_step(n, step);
    if (l->kind->undo_at)
        l->trace.done = l->kind->undo_at(&l->trace.count);
    else
        l->kind->undo();
    /* execwrap and pause would end. */
    if (r == -EPERM && l->kind->make_at)
        torture_wrong(l, "refused for good by an error that passes");
    torture_look_kept(l, step, false);
    if (node_step_is(step, NODE_STEPS_START) && !torture_has_started(l)) {
        node_kill_agent(n);
        r = node_start_agent(n);
        if (r < 0)
            torture_wrong(l, "the agent does not start again");
    }
    if (r < 0 && (step == NODE_RECLAIM || node_step_is(step, NODE_STEPS_LEAVE)) && !n->runtime->text[0])
        torture_wrong(l, "refused without a word");
    if (waitpid(n->agent, NULL, WNOHANG) != 0)
        torture_wrong(l, "the agent has ended");
    else if (node_repeat_step(n, step) < 0)
        torture_wrong(l, "it does not come true: %s", n->runtime->text);
}

static void torture_step(struct torture_life *l, enum node_step step)
{
    struct node *n = l->n;
    int r;

    node_before(n, step);
    l->restarted = l->restarted || node_step_is(step, NODE_STEPS_START & NODE_STEPS_ASKED_FOR);
    if (l->kind && step == l->step && (l->kind->make || l->kind->make_at)) {
        torture_around(l, step);
    } else if (l->kind && step == l->step) {
        r = torture_harm(l, step);
        if (l->trace.done)
            torture_mend(l, step, r);
        else if (r != 0)
            torture_wrong(l, "%s fails: %s", node_step_names[step], n->runtime->text);
    } else {
        r = node_step_is(step, NODE_STEPS_START) ? node_start_agent(n) : 0;
        if (r == 0)
            r = node_repeat_step(n, step);
        if (r < 0)
            torture_wrong(l, "%s fails: %d %s", node_step_names[step], r, n->runtime->text);
    }
    node_after(n, step);
    torture_use_root(l, step);
    torture_look_kept(l, step, true);
    if (l->mode->persistent && step == NODE_LEAVE_RECLAIM)
        torture_ask_for_reclaimed(l);
    if (!l->kind || step == l->step || step == NODE_STEPS - 1)
        torture_look(l, step);
    else if (step == NODE_ATTACH)
        torture_look_inside(l);
}

/* Those of the agent, but for its idle connections to the runtime: libcurl keeps some for the next question. */
static int torture_fds(const struct torture_life *l)
{
    return node_count_fds(l->n->agent) - node_count_fds(l->n->runtime_pid);
}

/* The fds of an agent at the end of a life are as many as they were at the end of the first. A connection that
 * was closed at the other end is noticed a moment later, which nothing tells. */
static void torture_count_fds(struct torture_life *l)
{
    int *good = l->restarted ? &torture_good.fds : &torture_good.fds_old;
    /* A connection that broke when libcurl had no memory it keeps until it looks for one again, a second later. */
    const int broken = l->kind && l->kind->make_at;
    usec_t end = usec_add(clock_monotonic(), 5 * USEC_PER_SEC);
    int fds;

    while ((fds = torture_fds(l)) > *good && *good > INT_MIN && clock_monotonic() < end)
        (void)poll(NULL, 0, 5);
    if (*good == INT_MIN)
        *good = fds;
    if (fds > *good + broken)
        torture_wrong(l, "the agent has %d fds more than it had", fds - *good);
}

static void torture_live(struct torture_life *l)
{
    must(truncate(NODE_LOG, 0) == 0 || errno == ENOENT);
    (void)alarm(90);
    for (enum node_step s = NODE_START; s < NODE_STEPS && !l->why[0]; s++)
        if (!node_step_is(s, l->mode->without) && (s == l->step || !node_step_is(s, NODE_STEPS_ASKED_FOR)))
            torture_step(l, s);
    if (!l->why[0])
        torture_count_fds(l);
    node_kill_agent(l->n);
}

static unsigned long torture_number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text && text[0] ? strtoul(text, NULL, 10) : otherwise;
}

struct torture_run {
    struct node *n;
    const struct torture_kind *kind;
    const struct torture_mode *mode;
    enum node_step step;
    unsigned long asked, every, seed; /* asked: what was asked for by TORTURE_STEP, or 0 */
    usec_t end;
    unsigned long lives, calls; /* how many there were; how many system calls the last one's step had */
    bool good;
};

static void torture_report(struct torture_life *l)
{
    printf("# %s%s of %s, n %lu, system call %ld, errno %d: %s\n", l->kind->name, l->mode->name,
            node_step_names[l->step], l->trace.at, l->trace.number, l->trace.error, l->why);
    node_print_log();
}

/* One life that goes wrong at n. False when it was over before. */
static bool torture_at(struct torture_run *run, unsigned long n)
{
    struct torture_life l = {.n = run->n, .kind = run->kind, .mode = run->mode, .step = run->step};

    l.trace = (struct trace){.act = run->kind->act, .at = n, .variant = (unsigned)(run->seed + n)};
    torture_live(&l);
    run->calls = l.trace.count;
    run->lives += l.trace.done;
    run->good = !l.why[0];
    if (!run->good)
        torture_report(&l);
    return l.trace.done;
}

/* One step, gone wrong at every n; at one at least, however little time is left. */
static void torture_all(struct torture_run *run)
{
    unsigned long n = run->seed % run->every;
    bool more = true;

    for (run->good = true; more && run->good && (run->lives == 0 || clock_monotonic() < run->end);
            n += run->every)
        more = torture_at(run, n) && !run->kind->make;
    /* A short step, and none of its calls hit. It may have fewer the next time: waits are among them. */
    for (n = run->calls > 0 ? run->seed % run->calls + 1 : 0; run->good && run->lives == 0 && n > 0; n /= 2)
        (void)torture_at(run, n - 1);
    tap_ok(run->good && run->lives > 0, "%s%s %s: %lu lives, every %luth system call from %lu%s",
            run->kind->name, run->mode->name, node_step_names[run->step], run->lives, run->every,
            run->seed % run->every, run->good && more ? ", as far as time was" : "");
}

/* Lives without harm, for what is right. */
static bool torture_learn(struct node *n, const struct torture_mode *mode, enum node_step step)
{
    const struct torture_life life = {.n = n, .mode = mode, .step = step};
    struct torture_life lives[] = {life, life, life};
    bool good = true;

    lives[2].restarted = true;
    for (size_t i = 0; good && i < ARRAY_SIZE(lives); i++) {
        torture_live(&lives[i]);
        good = !lives[i].why[0];
        if (!good && !tap_ok(false, "a life%s without harm: %s", mode->name, lives[i].why))
            node_print_log();
    }
    return good;
}

/* What is not played at its n-th call has one life a step: there the sample is of steps. */
static bool torture_is_due(const struct torture_run *run, enum node_step s)
{
    return !run->kind->make || run->asked > 0 || (run->seed + s) % run->mode->thin == 0;
}

/* On a machine of its own. Where a life fails, what it left would be found by the next: it is the last. */
static int torture_one(const void *data)
{
    struct torture_run run = *(const struct torture_run *)data;
    const struct sigaction sa = {.sa_handler = torture_on_alarm};
    const struct torture_mode *mode = run.mode;
    const unsigned steps = run.kind->steps & mode->steps & ~mode->without &
                           (run.kind->act == TRACE_KILL_WORKER ? mode->workers : UINT_MAX);
    const unsigned long every = run.every;
    const char *only = getenv("TORTURE_ONLY");
    struct node n;

    run.n = &n;
    run.good = true;
    must(sigaction(SIGALRM, &sa, NULL) == 0);
    node_make(&n);
    n.persistent = mode->persistent;
    n.chroot = mode->chroot;
    n.preload = run.kind->preload;
    if (!torture_learn(&n, mode, NODE_START) ||
            (!node_step_is(NODE_LOSE, mode->without) && !torture_learn(&n, mode, NODE_LOSE)))
        return tap_status();
    for (enum node_step s = NODE_START; s < NODE_STEPS && run.good; s++) {
        run.step = s;
        run.every =
                every * (run.asked == 0 && node_step_is(s, NODE_STEPS_START & NODE_STEPS_ASKED_FOR) ? 5 : 1);
        run.lives = 0;
        if (node_step_is(s, steps) && torture_is_due(&run, s) &&
                (!only || strcmp(only, node_step_names[s]) == 0))
            torture_all(&run);
    }
    return tap_status();
}

static void torture_fork(const struct torture_run *run)
{
    int status = on_next_machine(torture_one, run);

    if (WIFSIGNALED(status))
        (void)tap_ok(false, "%s%s: ended by signal %d", run->kind->name, run->mode->name, WTERMSIG(status));
    else
        tap_failures += WEXITSTATUS(status) != 0;
}

#ifdef __SANITIZE_ADDRESS__
enum { TORTURE_SLOWER = 4 }; /* several times as many system calls */
#else
enum { TORTURE_SLOWER = 1 };
#endif

/* Plays all kinds at all of their steps, at every nth system call. */
_unused_ static int torture_main(const struct torture_kind *kinds, size_t n_kinds, unsigned long every)
{
    struct torture_run run = {.asked = torture_number("TORTURE_STEP", 0),
            .seed = torture_number("TORTURE_SEED", 1),
            .end = usec_add(clock_monotonic(), torture_number("TORTURE_SECONDS", 300) * USEC_PER_SEC)};

    const char *mode = getenv("TORTURE_MODE"); /* Node, Chroot, or "" for the first */

    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    printf("# TORTURE_SEED=%lu TORTURE_STEP=%lu\n", run.seed, run.asked ? run.asked : every * TORTURE_SLOWER);
    for (size_t i = 0; i < n_kinds; i++) {
        run.kind = &kinds[i];
        for (size_t k = 0; k < ARRAY_SIZE(torture_modes); k++) {
            run.mode = &torture_modes[k];
            run.every = run.asked ? run.asked : every * TORTURE_SLOWER * run.mode->thin;
            if (!mode || strcmp(mode, run.mode->name + (run.mode->name[0] == ' ')) == 0)
                torture_fork(&run);
        }
    }
    return tap_status();
}
