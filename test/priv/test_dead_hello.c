/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that says hello and whose container ends, while somebody else has its connection: it holds no root, and the agent
 * does not go round in circles over it.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

/* The hello, without waiting for the answer. */
static void say_hello(const struct node *n)
{
    const struct box_call call = {.fn = node_do_hello};

    must(send(n->boxes[NODE_POD_NEXT].sock, &call, sizeof(call), 0) == (ssize_t)sizeof(call));
}

/* Everything that it has open, its connection to the agent among it: the agent has looked at who it is, and asks the runtime for
 * the image now. */
static void share_connection(const struct node *n)
{
    int pidfd = (int)syscall(SYS_pidfd_open, n->boxes[NODE_POD_NEXT].pid, 0);
    usec_t end = usec_add(clock_monotonic(), NODE_WAIT);

    while (!*(volatile bool *)&n->runtime->asked && clock_monotonic() < end)
        (void)poll(NULL, 0, 5);
    must(pidfd >= 0 && n->runtime->asked);
    for (int fd = 3; fd < 64; fd++)
        (void)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    (void)close(pidfd);
}

static long log_size(void)
{
    struct stat st;

    must(stat(NODE_LOG, &st) == 0);
    return (long)st.st_size;
}

static int dead(const void *data _unused_)
{
    struct node n;
    long before, after;
    bool good;

    node_make(&n);
    n.persistent = true;
    good = tap_ok(node_start_agent(&n) == 0 && node_through(&n, NODE_PROVIDER) &&
                          node_through(&n, NODE_HELLO) && node_through(&n, NODE_CONSUMER) &&
                          node_through(&n, NODE_ATTACH) && node_through(&n, NODE_YIELD) &&
                          node_through(&n, NODE_NEXT),
            "a consumer on its root, and another provider's pod");
    if (!good)
        return node_end(&n, good);
    n.runtime->asked = false;
    n.runtime->slow = true;
    node_before(&n, NODE_NEXT_HELLO);
    say_hello(&n);
    share_connection(&n);
    node_end_box(&n, NODE_POD_NEXT);
    n.runtime->slow = false;
    good = tap_ok(node_settle(&n) == 0, "the agent answers");
    before = log_size();
    for (int i = 0; i < 20 && good; i++)
        good = node_settle(&n) == 0;
    after = log_size();
    good = tap_ok(good && after - before < 2000, "and does nothing for who has ended (%ld bytes of log)",
                   after - before) &&
           good;
    good = good && tap_ok(node_through(&n, NODE_NEXT_HELLO), "the pod's next container holds the root: %s",
                           n.runtime->text);
    return node_end(&n, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(dead, NULL) != 0;
    return tap_status();
}
