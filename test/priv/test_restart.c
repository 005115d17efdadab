/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent makes of a journal that is not as it left it: a volume whose directory it cannot look at keeps
 * its root; a file that an agent before it set aside is used again. And of a volume that it cannot look at for want of
 * fds, say: it does not start, since another start can.
 */
#include "test/priv/node_look.h"
#include "test/priv/tap.h"
#include "test/priv/trace.h"

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
    return node_end(&n, good);
}

/* As an agent does that knows no such version. */
static int set_aside(const void *data _unused_)
{
    struct node n;
    bool good = provided(&n);

    must(!good || system("mkdir -p " VOLUMES "/bad && mv " VOLUMES "/*.json " VOLUMES "/bad") == 0);
    good = good && tap_ok(node_start_agent(&n) == 0, "an agent that can read what was set aside") &&
           goes_on(&n);
    return node_end(&n, good);
}

/* --- a want that passes ---------------------------------------------------------------------------------- */

static const struct want {
    const char *of; /* what is looked at */
    const char *path; /* a part of its path that nothing has that is opened before */
    bool persistent;
} wants[] = {
        {"the directory of a provider's volume", "/volumes/kubernetes.io~csi/", false},
        {"the root of a consumer's volume", NODE_INSTANCE, true},
};

static int starts(struct node *n, int what _unused_)
{
    return node_wait_start(n) < 0;
}

/* A start in which the agent cannot look: 0, or what is not so. */
static const char *start_in_want(struct node *n, const struct want *w, unsigned variant)
{
    struct trace t = {.act = TRACE_FAIL, .variant = variant, .only = SYS_openat2, .path = w->path};
    int r;

    must(truncate(NODE_LOG, 0) == 0);
    r = trace_run(&t, n, trace_ask(&t, n, starts, 0));
    if (!t.done)
        return "it does not look";
    if (r == 0 || n->agent != 0 || !WIFEXITED(t.ended) || WEXITSTATUS(t.ended) == 0)
        return "the agent starts";
    if (system(at("grep -q 'its volume cannot be served: cannot look at .*: %s' " NODE_LOG,
                strerror(t.error))) != 0)
        return "it does not say why";
    return access(ROOT "/preserved", F_OK) < 0 ? "the root is gone" : NULL;
}

/* A consumer on its root in persistence Node, without a provider, and no agent. */
static bool consumed(struct node *n)
{
    bool good;

    node_make(n);
    n->persistent = true;
    good = tap_ok(node_start_agent(n) == 0 && node_through(n, NODE_PROVIDER) && node_through(n, NODE_HELLO) &&
                          node_through(n, NODE_CONSUMER) && node_through(n, NODE_ATTACH) &&
                          node_through(n, NODE_YIELD),
            "a consumer is on its root");
    node_kill_agent(n);
    return good;
}

static int in_want(const void *data)
{
    const struct want *w = data;
    struct node n;
    bool good = w->persistent ? consumed(&n) : provided(&n);

    for (unsigned variant = 0; good && variant < 4; variant++) {
        const char *why = start_in_want(&n, w, variant);

        good = tap_ok(!why, "an agent that cannot look at %s does not start: %s, %s", w->of,
                       strerror(trace_error_of(SYS_openat2, variant)), why ? why : "and says so") &&
               tap_ok(node_start_agent(&n) == 0 &&
                               node_repeat_step(&n, w->persistent ? NODE_ATTACH : NODE_HELLO) == 0,
                       "the next one serves it");
        node_kill_agent(&n);
    }
    if (good && !w->persistent)
        good = tap_ok(node_start_agent(&n) == 0, "an agent") && goes_on(&n);
    return node_end(&n, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(hidden, NULL) != 0;
    tap_failures += on_next_machine(set_aside, NULL) != 0;
    for (size_t i = 0; i < ARRAY_SIZE(wants) && TRACE_CAN_FAIL; i++)
        tap_failures += on_next_machine(in_want, &wants[i]) != 0;
    return tap_status();
}
