/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent and its workers end at the n-th system call of each thing that they are asked for, for every n;
 * or a worker alone does. Then the agent is started again, what was asked is asked again as kubelet, pause and
 * execwrap do, and it must come true, with the node and the consumer's namespace as after a life without
 * harm; at the end of the instance's life nothing is left: no mount, directory, socket, process or fd.
 *
 * TORTURE_STEP=1 takes every n, 16 (the default) every 16th, from a place that TORTURE_SEED says; the seed is
 * printed. TORTURE_SECONDS bounds the time of the program.
 */
#include "test/priv/torture.h"

static const struct torture_kind kinds[] = {
        {.name = "killed", .act = TRACE_KILL_ALL, .steps = (1u << NODE_STEPS) - 1},
        {.name = "worker-killed", .act = TRACE_KILL_WORKER, .steps = (1u << NODE_STEPS) - 1},
};

int main(void)
{
    return torture_main(kinds, ARRAY_SIZE(kinds), 16);
}
