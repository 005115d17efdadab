/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was in the way of an attach is told; but not as often as a pod can have it done over again.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

#define ROOT NODE_STATE "/" SC_INSTANCES_DIR "/" NODE_INSTANCE "/main/" SC_ROOTFS_DIR

/* BURST, and one a second: what the agent writes of strangers' making (agent.c). */
enum { OBSTACLES = 3, ATTEMPTS = 30, BURST = 20 };

static struct node node;

static int count_lines(const char *text)
{
    FILE *f = popen(at("grep -c '%s' " NODE_LOG, text), "re");
    int n = -1;

    must(f && fscanf(f, "%d", &n) == 1);
    (void)pclose(f);
    return n;
}

/* In the places of mounts. */
static void put_obstacles(void)
{
    static const char *const places[OBSTACLES] = {"proc", "dev", "sys"};

    for (size_t i = 0; i < OBSTACLES; i++) {
        must(system(at("cd " ROOT " && rm -rf ./%s.* && rmdir %s", places[i], places[i])) == 0);
        must(symlink("elsewhere", at(ROOT "/%s", places[i])) == 0);
    }
}

static void put_circle(void)
{
    must(rename(ROOT "/etc/hosts", ROOT "/etc/good") == 0 && symlink("hosts", ROOT "/etc/hosts") == 0);
}

static int end(bool good)
{
    if (!good)
        node_print_log();
    node_kill_agent(&node);
    return tap_status();
}

static int told(const void *data _unused_)
{
    usec_t begun = clock_monotonic();
    int r = 0, single, summed, seconds;
    bool good;

    node_make(&node);
    good = tap_ok(node_start_agent(&node) == 0 && node_through(&node, NODE_PROVIDER) &&
                          node_through(&node, NODE_HELLO) && node_through(&node, NODE_CONSUMER),
            "a provider's root, and a consumer");
    if (!good)
        return end(false);
    put_circle();
    node_before(&node, NODE_ATTACH);
    for (int i = 0; i < ATTEMPTS && r >= 0; i++) {
        put_obstacles();
        r = node_ask_step(&node, NODE_ATTACH) < 0 ? 0 : -1;
    }
    good = tap_ok(r == 0, "%d attaches fail: %s", ATTEMPTS, node.runtime->text);
    single = count_lines("was in the way of a mount");
    summed = count_lines(at("%d things were in the way of mounts .* first of them /proc", OBSTACLES));
    seconds = (int)((clock_monotonic() - begun) / USEC_PER_SEC);
    good = tap_ok(single == 0 && summed >= 1 && summed <= BURST + seconds + 1,
                   "that is told in one line each, and not each time: %d, %d", summed, single) &&
           good;
    put_obstacles();
    must(unlink(ROOT "/etc/hosts") == 0 && rename(ROOT "/etc/good", ROOT "/etc/hosts") == 0);
    node_kill_agent(&node); /* the next may say so many again */
    must(!good || node_start_agent(&node) == 0);
    good = good && tap_ok(node_repeat_step(&node, NODE_ATTACH) == 0, "without the circle it is attached");
    good = good && tap_ok(count_lines("was in the way of a mount") == OBSTACLES, "each thing is told");
    return end(good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(told, NULL) != 0;
    return tap_status();
}
