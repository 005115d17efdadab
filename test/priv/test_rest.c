/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root of persistence Node goes to rest, and whoever takes its mount away is held there, as by a kernel that writes out a slow
 * disk: the agent answers all the same; the volume stays published and nothing new of the instance is until that is
 * done; then the root can be had at once. A reclaim pod's volume is not held up by it. And where there is no worker for it, the agent does it itself.
 */
#include "test/priv/node_look.h"
#include "test/priv/tap.h"
#include "test/priv/torture_kept.h"
#include "test/priv/trace.h"

static bool through(struct node *n, enum node_step step)
{
    bool good = node_through(n, step);

    if (good)
        node_after(n, step);
    return tap_ok(good, "%s %s", node_step_names[step], good ? "" : n->runtime->text);
}

static bool provided(struct node *n)
{
    node_make(n);
    n->persistent = true;
    return tap_ok(node_start_agent(n) == 0, "an agent") && through(n, NODE_PROVIDER) &&
           through(n, NODE_HELLO);
}

static int ask_step(struct node *n, int step)
{
    return node_ask_step(n, step) < 0;
}

/* The agent, asked for what takes the mount away; who does is held. Returns who asks. */
static pid_t held(struct trace *t, struct node *n, int (*ask)(struct node *n, int step), enum node_step step)
{
    pid_t asker;

    *t = (struct trace){.act = TRACE_HOLD, .only = SYS_umount2};
    asker = trace_ask(t, n, ask, (int)step);
    (void)trace_run(t, n, asker);
    return asker;
}

static bool served_meanwhile(struct trace *t, struct node *n)
{
    return tap_ok(t->held > 0 && kept_mounts() == 0, "the root's mount is away, and that is not done") &&
           tap_ok(node_settle(n) == 0, "the agent answers meanwhile");
}

static bool ends(pid_t asker)
{
    int status;

    return waitpid(asker, &status, 0) == asker && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Another provider's volume: 0 when it waits for that. */
static int ask_next(struct node *n)
{
    return node_ask_step(n, NODE_NEXT) < 0 && strstr(n->runtime->text, "being unmounted") ? 0 : -EIO;
}

static int ask_start_and_next(struct node *n, int step _unused_)
{
    return node_wait_start(n) < 0 || ask_next(n) < 0;
}

/* The first ask is enough: nobody holds it any more. */
static bool is_had_at_once(struct node *n)
{
    node_before(n, NODE_NEXT_HELLO);
    return tap_ok(node_ask_step(n, NODE_NEXT_HELLO) == 0 && kept_mounts() == 1,
            "its root is mounted again: %s", n->runtime->text);
}

/* The last volume goes. `others`: whether another provider is asked for meanwhile. */
static int goes(struct node *n, bool ready, enum node_step step, bool others)
{
    struct trace t;
    bool good;
    pid_t asker;

    if (!ready)
        return node_end(n, false);
    node_before(n, step);
    asker = held(&t, n, ask_step, step);
    good = served_meanwhile(&t, n);
    if (good && others) {
        node_before(n, NODE_NEXT);
        good = tap_ok(ask_next(n) == 0, "another provider waits for it: %s", n->runtime->text);
    }
    good = good &&
           tap_ok(waitpid(asker, NULL, WNOHANG) == 0, "the volume's end is not told before it is done");
    trace_release(&t);
    good = tap_ok(ends(asker), "then it is") && good;
    node_after(n, step);
    return node_end(n, good && through(n, NODE_NEXT) && is_had_at_once(n));
}

static int with_its_provider(const void *data _unused_)
{
    struct node n;
    bool ready = provided(&n);

    return goes(&n, ready, NODE_YIELD, false);
}

static int with_its_consumer(const void *data _unused_)
{
    struct node n;
    bool ready =
            provided(&n) && through(&n, NODE_CONSUMER) && through(&n, NODE_ATTACH) && through(&n, NODE_YIELD);

    return goes(&n, ready, NODE_LEAVE_CONSUMER, true);
}

/* Of a volume whose directory and journal entry are gone. */
static int at_the_start(const void *data _unused_)
{
    struct node n;
    struct trace t;
    bool good = provided(&n);
    pid_t asker;

    if (!good)
        return node_end(&n, false);
    node_kill_agent(&n);
    node_end_box(&n, NODE_POD_PROVIDER);
    must(system("rm " NODE_STATE "/" SC_VOLUMES_DIR "/*.json && rm -r " NODE_KUBELET "/pods/*") == 0);
    must(kept_mounts() == 1);
    node_before(&n, NODE_NEXT);
    asker = held(&t, &n, ask_start_and_next, NODE_NEXT);
    good = tap_ok(ends(asker), "the agent starts, and another provider waits: %s", n.runtime->text) &&
           served_meanwhile(&t, &n);
    trace_release(&t);
    return node_end(&n, good && through(&n, NODE_NEXT) && is_had_at_once(&n));
}

static int without_a_worker(const void *data _unused_)
{
    struct node n;
    struct trace t = {.act = TRACE_FAIL, .only = SYS_socketpair};
    bool good = provided(&n);
    int r;

    if (!good)
        return node_end(&n, false);
    node_before(&n, NODE_YIELD);
    r = trace_run(&t, &n, trace_ask(&t, &n, ask_step, NODE_YIELD));
    return node_end(&n, tap_ok(t.done && r == 0 && kept_mounts() == 0,
                                "without a worker it rests all the same: %s", n.runtime->text));
}

/* A reclaim pod's volume is on no root: it goes whatever becomes of another's. */
static int beside_a_reclaim(const void *data _unused_)
{
    struct node n;
    struct trace t;
    bool good;
    pid_t asker;

    node_make(&n);
    n.persistent = true;
    good = tap_ok(node_start_agent(&n) == 0, "an agent") && through(&n, NODE_RECLAIM) &&
           through(&n, NODE_PROVIDER) && through(&n, NODE_HELLO);
    if (!good)
        return node_end(&n, false);
    node_before(&n, NODE_YIELD);
    asker = held(&t, &n, ask_step, NODE_YIELD);
    good = served_meanwhile(&t, &n) && through(&n, NODE_LEAVE_RECLAIM);
    trace_release(&t);
    return node_end(&n, tap_ok(ends(asker), "and the provider's volume goes") && good);
}

int main(void)
{
    static int (*const plays[])(const void *) = {
            with_its_provider, with_its_consumer, at_the_start, beside_a_reclaim, without_a_worker};

    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    for (size_t i = 0; i < ARRAY_SIZE(plays) - !TRACE_CAN_FAIL; i++)
        tap_failures += on_next_machine(plays[i], NULL) != 0;
    return tap_status();
}
