/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instance's life on a node (node.h), as the kubelet and the pods live it. Each step is one thing that the
 * agent is asked for; it may be repeated until it succeeds, as those who ask repeat it. What is on the node
 * outside of the agent (pods' directories, boxes as containers) is prepared before the step by node_before,
 * and cleared by node_after. In order:
 *
 *   both persistences   START PROVIDER HELLO CONSUMER ATTACH
 *   Provider            (LOSE) LEAVE_CONSUMER LEAVE_PROVIDER
 *   Node                YIELD (the provider goes, the consumer runs on) NEXT NEXT_HELLO (another takes its
 *                       place) LEAVE_CONSUMER LEAVE_NEXT (the root rests) BACK BACK_HELLO (it is mounted
 *                       again) LEAVE_BACK
 *   both                RECLAIM LEAVE_RECLAIM
 *
 * And where asked for: AGAIN, the attached container asks once more; RESTART, the agent is started with all of it
 * there; RESTED, with a root that rests.
 */
#pragma once

#include "test/priv/node.h"

enum node_step {
    NODE_START,
    NODE_PROVIDER,
    NODE_HELLO,
    NODE_CONSUMER,
    NODE_ATTACH,
    NODE_AGAIN,
    NODE_RESTART,
    NODE_LOSE,
    NODE_YIELD,
    NODE_NEXT,
    NODE_NEXT_HELLO,
    NODE_LEAVE_CONSUMER,
    NODE_LEAVE_PROVIDER,
    NODE_LEAVE_NEXT,
    NODE_RESTED,
    NODE_BACK,
    NODE_BACK_HELLO,
    NODE_LEAVE_BACK,
    NODE_RECLAIM,
    NODE_LEAVE_RECLAIM,
    NODE_STEPS
};

enum {
    NODE_STEPS_PROVIDER = 1u << NODE_LOSE | 1u << NODE_LEAVE_PROVIDER, /* of persistence Provider alone */
    NODE_STEPS_NODE = 1u << NODE_YIELD | 1u << NODE_NEXT | 1u << NODE_NEXT_HELLO | 1u << NODE_LEAVE_NEXT |
                      1u << NODE_RESTED | 1u << NODE_BACK | 1u << NODE_BACK_HELLO | 1u << NODE_LEAVE_BACK,
    NODE_STEPS_ASKED_FOR = 1u << NODE_AGAIN | 1u << NODE_RESTART | 1u << NODE_LOSE | 1u << NODE_RESTED,
    NODE_STEPS_START = 1u << NODE_START | 1u << NODE_RESTART | 1u << NODE_RESTED, /* of the agent */
    NODE_STEPS_PUBLISH = 1u << NODE_PROVIDER | 1u << NODE_CONSUMER | 1u << NODE_NEXT | 1u << NODE_BACK |
                         1u << NODE_RECLAIM,
    NODE_STEPS_HELLO = 1u << NODE_HELLO | 1u << NODE_NEXT_HELLO | 1u << NODE_BACK_HELLO,
    NODE_STEPS_CONTAINER = NODE_STEPS_HELLO | 1u << NODE_ATTACH, /* one starts, and asks */
    NODE_STEPS_BOX = NODE_STEPS_CONTAINER | 1u << NODE_AGAIN | 1u << NODE_RESTART, /* a container asks */
    NODE_STEPS_LEAVE = 1u << NODE_YIELD | 1u << NODE_LEAVE_CONSUMER | 1u << NODE_LEAVE_PROVIDER |
                       1u << NODE_LEAVE_NEXT | 1u << NODE_LEAVE_BACK | 1u << NODE_LEAVE_RECLAIM,
};

static const char *const node_step_names[NODE_STEPS] = {"start", "publish-provider", "expose",
        "publish-consumer", "attach", "attach-again", "start-again", "lose", "unpublish-first",
        "publish-next", "expose-next", "unpublish-consumer", "unpublish-provider", "unpublish-next",
        "start-with-rest", "publish-again", "mount-again", "unpublish-again", "reclaim", "unpublish-reclaim"};

_unused_ static bool node_step_is(enum node_step step, unsigned steps)
{
    return (steps & 1u << step) != 0;
}

static enum node_pod node_pod_of(enum node_step step)
{
    switch (step) {
    case NODE_CONSUMER:
    case NODE_ATTACH:
    case NODE_AGAIN:
    case NODE_RESTART:
    case NODE_LEAVE_CONSUMER:
        return NODE_POD_CONSUMER;
    case NODE_RECLAIM:
    case NODE_LEAVE_RECLAIM:
        return NODE_POD_RECLAIM;
    case NODE_NEXT:
    case NODE_NEXT_HELLO:
    case NODE_LEAVE_NEXT:
        return NODE_POD_NEXT;
    case NODE_START:
    case NODE_PROVIDER:
    case NODE_HELLO:
    case NODE_LOSE:
    case NODE_YIELD:
    case NODE_LEAVE_PROVIDER:
    case NODE_RESTED:
    case NODE_BACK:
    case NODE_BACK_HELLO:
    case NODE_LEAVE_BACK:
    case NODE_STEPS:
        break;
    }
    return NODE_POD_PROVIDER;
}

_unused_ static int node_start_agent(struct node *n)
{
    n->agent = node_fork_agent(n, -1);
    return node_wait_start(n);
}

/* Children that have ended, the agent's orphans among them, which are ours in this pid namespace. */
_unused_ static void node_reap(struct node *n)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
        node_ended(n, pid);
}

_unused_ static void node_kill_agent(struct node *n)
{
    if (n->agent <= 0)
        return;
    (void)kill(n->agent, SIGKILL);
    (void)waitpid(n->agent, NULL, __WALL);
    n->agent = 0;
    node_reap(n);
}

/* The end of a play, with the agent's words where it was not good: what main returns. */
_unused_ static int node_end(struct node *n, bool good)
{
    if (!good)
        node_print_log();
    node_kill_agent(n);
    return tap_status();
}

/* What kubelet and runtime have done before the agent is asked. */
_unused_ static void node_before(struct node *n, enum node_step step)
{
    enum node_pod pod = node_pod_of(step);

    if (step == NODE_START)
        n->used = false;
    if (node_step_is(step, NODE_STEPS_PUBLISH))
        must(system(at("mkdir -p $(dirname %s)", node_target(pod))) == 0);
    if (node_step_is(step, NODE_STEPS_CONTAINER))
        node_start_box(n, pod);
    if (node_step_is(step, NODE_STEPS_START))
        node_kill_agent(n);
    if (node_step_is(step, NODE_STEPS_LEAVE) && pod < NODE_BOXES)
        node_end_box(n, pod);
}

/* ... and do afterwards. The directories above a volume are the kubelet's: it removes each by rmdir. */
_unused_ static void node_after(struct node *n, enum node_step step)
{
    const char *text = node_pods[node_pod_of(step)].uid;

    if (step == NODE_HELLO)
        n->used = true;
    if (node_step_is(step, NODE_STEPS_LEAVE))
        must(system(at("cd " NODE_KUBELET "/pods && rmdir -p %s/volumes/kubernetes.io~csi/" SC_VOLUME_NAME,
                     text)) == 0);
}

/* The provider's first process ends, if it has not yet; the agent must end the consumer's. */
static int node_lose(struct node *n)
{
    pid_t provider = n->boxes[NODE_POD_PROVIDER].pid, consumer = n->boxes[NODE_POD_CONSUMER].pid;
    int pidfd = consumer > 0 ? (int)syscall(SYS_pidfd_open, consumer, 0) : -ESRCH, r;

    if (provider > 0)
        (void)kill(provider, SIGKILL);
    n->runtime->pid[NODE_POD_PROVIDER] = 0;
    r = pidfd < 0 ? 0 : node_wait(n, pidfd, POLLIN);
    (void)close_fd(pidfd);
    return r;
}

/* Asks the agent once; one that starts, when it listens. 0, or a negative errno with n->runtime->text where the
 * agent said something. */
_unused_ static int node_ask_step(struct node *n, enum node_step step)
{
    switch (step) {
    case NODE_START:
    case NODE_RESTED:
        return node_settle(n);
    case NODE_PROVIDER:
    case NODE_CONSUMER:
    case NODE_NEXT:
    case NODE_BACK:
    case NODE_RECLAIM:
        return node_publish(n, node_pod_of(step));
    case NODE_HELLO:
    case NODE_NEXT_HELLO:
    case NODE_BACK_HELLO:
        return box_call(&n->boxes[node_pod_of(step)], node_do_hello, "");
    case NODE_ATTACH:
    case NODE_AGAIN:
    case NODE_RESTART:
        return box_call(&n->boxes[NODE_POD_CONSUMER], node_do_attach, "");
    case NODE_LOSE:
        return node_lose(n);
    case NODE_YIELD:
    case NODE_LEAVE_CONSUMER:
    case NODE_LEAVE_PROVIDER:
    case NODE_LEAVE_NEXT:
    case NODE_LEAVE_BACK:
    case NODE_LEAVE_RECLAIM:
        return node_unpublish(n, node_pod_of(step));
    case NODE_STEPS:
        break;
    }
    return -EINVAL;
}

/* As those do who ask: again and again. */
_unused_ static int node_repeat_step(struct node *n, enum node_step step)
{
    usec_t end = usec_add(clock_monotonic(), NODE_WAIT);
    int r;

    while ((r = node_ask_step(n, step)) < 0 && clock_monotonic() < end)
        (void)poll(NULL, 0, 10); /* the kubelet's and execwrap's back-off */
    return r;
}

/* With what kubelet and runtime do before it. */
_unused_ static bool node_through(struct node *n, enum node_step step)
{
    node_before(n, step);
    return node_repeat_step(n, step) == 0;
}
