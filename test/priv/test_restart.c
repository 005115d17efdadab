/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent makes of a journal that is not as it left it: a volume whose directory it cannot look at keeps
 * its root; a file that an agent before it set aside is used again.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

#define ROOT NODE_STATE "/" SC_INSTANCES_DIR "/" NODE_INSTANCE "/main/" SC_ROOTFS_DIR
#define VOLUMES NODE_STATE "/" SC_VOLUMES_DIR

/* A provider with its root, and no agent. */
static bool provided(struct node *n)
{
    bool good;

    node_make(n);
    good = tap_ok(node_start_agent(n) == 0 && node_through(n, NODE_PROVIDER) && node_through(n, NODE_HELLO),
            "the provider's root is exposed");
    node_kill_agent(n);
    return good;
}

static bool goes_on(struct node *n)
{
    return tap_ok(node_repeat_step(n, NODE_HELLO) == 0, "the provider is served") &&
           tap_ok(node_through(n, NODE_CONSUMER) && node_through(n, NODE_ATTACH) &&
                           box_call(&n->boxes[NODE_POD_CONSUMER], do_exists, "/preserved") == 1,
                   "a consumer has its root") &&
           tap_ok(node_through(n, NODE_LEAVE_CONSUMER) && node_through(n, NODE_LEAVE_PROVIDER) &&
                           access(ROOT, F_OK) < 0,
                   "nothing is left of it");
}

static int end(struct node *n, bool good)
{
    if (!good)
        node_print_log();
    node_kill_agent(n);
    return tap_status();
}

/* It is the root of a pod that runs. */
static int hidden(const void *data _unused_)
{
    struct node n;
    bool good = provided(&n);
    const char *target = strdup(node_target(NODE_POD_PROVIDER));

    must(!good || mount("over", target, "tmpfs", 0, NULL) == 0);
    good = good && tap_ok(node_start_agent(&n) == 0, "an agent that cannot look at the volume starts") &&
           tap_ok(access(ROOT "/preserved", F_OK) == 0, "and leaves the root where it is");
    if (good) {
        node_kill_agent(&n);
        must(umount2(target, 0) == 0);
        good = tap_ok(node_start_agent(&n) == 0, "the next one can") && goes_on(&n);
    }
    return end(&n, good);
}

/* As an agent does that knows no such version. */
static int set_aside(const void *data _unused_)
{
    struct node n;
    bool good = provided(&n);

    must(!good || system("mkdir -p " VOLUMES "/bad && mv " VOLUMES "/*.json " VOLUMES "/bad") == 0);
    good = good && tap_ok(node_start_agent(&n) == 0, "an agent that can read what was set aside") &&
           goes_on(&n);
    return end(&n, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(hidden, NULL) != 0;
    tap_failures += on_next_machine(set_aside, NULL) != 0;
    return tap_status();
}
