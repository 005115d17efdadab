/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of the agent and its workers that can fail does so once, with an error of its kind (trace.h), in
 * each step of an instance's life: no crash, an answer in words, what is asked again comes true, and the node
 * is at the end as after a life without harm. The agent is not started again, but where its start failed.
 *
 * The knobs are those of test_crash.
 */
#include "test/priv/torture.h"

static const struct torture_kind kinds[] = {
        {.name = "failed", .act = TRACE_FAIL, .steps = (1u << NODE_STEPS) - 1},
};

int main(void)
{
    if (!TRACE_CAN_FAIL) {
        tap_skip("all", "knows no way to change a system call on this architecture");
        return tap_status();
    }
    return torture_main(kinds, ARRAY_SIZE(kinds), 16);
}
