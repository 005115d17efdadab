/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kubelet that unmounts the volume of a consumer whose container still runs, as one does that starts again
 * after the pod was deleted by force: the volume stays until the container has ended, also with an agent that
 * knows of it from its journal only, so that no other pod gets the root meanwhile. So too when the agent ended
 * at any system call of the attach after which the container is on the root, and when its worker did.
 */
#include "test/priv/tap.h"
#include "test/priv/torture.h"

static bool is_kept(struct node *n)
{
    int r = node_ask_step(n, NODE_LEAVE_CONSUMER);

    return r < 0 && strstr(n->runtime->text, "container main has not ended");
}

static bool attached(struct node *n)
{
    node_make(n);
    return tap_ok(node_start_agent(n) == 0 && node_through(n, NODE_PROVIDER) && node_through(n, NODE_HELLO) &&
                          node_through(n, NODE_CONSUMER) && node_through(n, NODE_ATTACH),
            "the consumer's container has its root");
}

static bool next_agent(struct node *n)
{
    return tap_ok(node_start_agent(n) == 0, "another agent");
}

static bool goes(struct node *n)
{
    return tap_ok(node_through(n, NODE_LEAVE_CONSUMER), "the volume goes when the container has ended") &&
           tap_ok(node_through(n, NODE_LEAVE_PROVIDER), "as the provider's does then");
}

static int while_it_runs(const void *data _unused_)
{
    struct node n;
    bool good = attached(&n) && tap_ok(is_kept(&n), "its volume stays while it runs: %s", n.runtime->text);

    if (good)
        node_kill_agent(&n);
    good = good && next_agent(&n) &&
           tap_ok(is_kept(&n), "it stays with the next agent too: %s", n.runtime->text) && goes(&n);
    return node_end(&n, good);
}

static int ended_unseen(const void *data _unused_)
{
    struct node n;
    bool good = attached(&n);

    if (good) {
        node_kill_agent(&n);
        node_end_box(&n, NODE_POD_CONSUMER);
    }
    return node_end(&n, good && next_agent(&n) && goes(&n));
}

enum { LEAVE_LIVES = 100 }; /* more than there are calls after the root was swapped */

static bool is_on_root(struct node *n)
{
    return box_call(&n->boxes[NODE_POD_CONSUMER], do_exists, "/preserved") == 1;
}

/* An attach that is cut off at its nth call counted from 0; *ret_on_root: the container is on the root all the
 * same. Then its volume must stay; and a second container of the pod has the root when that has ended. */
static bool cut_off(struct node *n, const struct torture_kind *kind, unsigned long nth,
        unsigned long *ret_calls, bool *ret_on_root)
{
    struct torture_life l = {.n = n, .kind = kind, .step = NODE_ATTACH};
    bool good;

    l.trace = (struct trace){.act = kind->act, .at = nth};
    good = node_start_agent(n) == 0 && node_through(n, NODE_PROVIDER) && node_through(n, NODE_HELLO) &&
           node_through(n, NODE_CONSUMER);
    node_before(n, NODE_ATTACH);
    if (good)
        (void)torture_harm(&l, NODE_ATTACH);
    *ret_calls = l.trace.count;
    *ret_on_root = good && is_on_root(n);
    if (good && n->agent == 0)
        good = node_start_agent(n) == 0;
    if (good && *ret_on_root)
        good = is_kept(n);
    if (!good || !node_through(n, NODE_LEAVE_CONSUMER))
        return false;
    node_after(n, NODE_LEAVE_CONSUMER);
    good = node_through(n, NODE_LEAVE_PROVIDER);
    node_after(n, NODE_LEAVE_PROVIDER);
    node_kill_agent(n);
    return good;
}

/* From the last call backwards, as long as the container is on the root. */
static int while_it_attaches(const void *data)
{
    const struct torture_kind *kind = data;
    struct node n;
    unsigned long calls, ignored, lives = 0;
    bool on_root = false, good;

    node_make(&n);
    good = cut_off(&n, kind, ULONG_MAX, &calls, &on_root) && on_root;
    for (; good && on_root && lives < calls && lives < LEAVE_LIVES; lives++)
        good = cut_off(&n, kind, calls - 1 - lives, &ignored, &on_root);
    (void)tap_ok(good && !on_root && lives > 1,
            "%s at any of the last %lu of %lu calls of the attach, the volume of a container on the root "
            "stays",
            kind->name, lives, calls);
    return node_end(&n, good);
}

static const struct torture_kind kinds[] = {
        {.name = "the agent killed", .act = TRACE_KILL_ALL},
        {.name = "the worker killed", .act = TRACE_KILL_WORKER},
};

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(while_it_runs, NULL) != 0;
    tap_failures += on_next_machine(ended_unseen, NULL) != 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        tap_failures += on_next_machine(while_it_attaches, &kinds[i]) != 0;
    return tap_status();
}
