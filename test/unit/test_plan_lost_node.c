/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistence Provider, played on a table: the provider stays, as it tolerates every taint, and the consumer waits for
 * its node.
 */
#include "test/unit/world_node.h"

#define PROVIDER(on_loss) \
    "{'running':true,'template':{'spec':{'image':'debian:12'}},'rootfs':{'onLoss':'" on_loss "'}}"

/* The consumer is evicted and waits for its node again, of which the API server says this. */
static void wait_for_node(struct world *w, const char *spec, enum node_state node)
{
    world_init(w, spec);
    world_run(w);
    w->node = node;
    pod_gone(w, &w->consumer, true);
    world_wait(w, 60 * USEC_PER_SEC);
    cr_assert_not_null(w->consumer);
    unplaced(w, w->consumer);
}

Test(plan_lost_node, root_on_a_node_that_is_gone_is_lost_after_a_minute)
{
    struct world w;

    wait_for_node(&w, PROVIDER("Hold"), NODE_GONE);
    expect_condition(&w, "RootfsIntact", "True", "Intact");
    world_wait(&w, 70 * USEC_PER_SEC);
    expect_condition(&w, "RootfsIntact", "False", "NodeGone");
    cr_assert(strstr(w.events, "RootfsLost"), "%s", w.events);
    if (w.consumer)
        pod_gone(&w, &w.consumer, false);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Failed");
    cr_assert_eq(w.made[ACT_SCI_CREATE], 1, "made anew without being asked");
    world_free(&w);
}

Test(plan_lost_node, recreate_makes_another)
{
    struct world w;

    wait_for_node(&w, PROVIDER("Recreate"), NODE_GONE);
    world_wait(&w, 70 * USEC_PER_SEC);
    if (w.consumer)
        pod_gone(&w, &w.consumer, false);
    world_settle(&w);
    pod_gone(&w, &w.provider, true);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_eq(w.made[ACT_SCI_CREATE], 2);
    world_run(&w);
    expect_condition(&w, "RootfsIntact", "True", "Intact");
    world_free(&w);
}

Test(plan_lost_node, node_of_a_moment_or_without_room_loses_nothing)
{
    static const enum node_state states[] = {NODE_READY, NODE_NOT_READY};
    struct world w;

    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        wait_for_node(&w, PROVIDER("Recreate"), states[i]);
        world_wait(&w, 3600 * USEC_PER_SEC);
        expect_condition(&w, "RootfsIntact", "True", "Intact");
        cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
        world_free(&w);
    }
    wait_for_node(&w, PROVIDER("Recreate"), NODE_GONE);
    world_wait(&w, 40 * USEC_PER_SEC);
    w.node = NODE_READY;
    world_wait(&w, 15 * USEC_PER_SEC);
    consumer_runs(&w);
    world_wait(&w, 3600 * USEC_PER_SEC);
    expect_condition(&w, "RootfsIntact", "True", "Intact");
    cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
    world_free(&w);
}

/* The scheduler's words for a taint name none, and the provider tolerates each: nothing but our own look tells. */
Test(plan_lost_node, a_taint_that_no_event_tells_of_is_noticed)
{
    static const enum node_state before[] = {NODE_READY, NODE_NOT_READY};
    static const char *const specs[] = {PROVIDER("Hold"), SPEC("")};
    struct world w;

    for (size_t i = 0; i < ARRAY_SIZE(before) * ARRAY_SIZE(specs); i++) {
        usec_t end;

        wait_for_node(&w, specs[i / 2], before[i % 2]);
        w.node = NODE_GONE;
        end = w.now + 900 * USEC_PER_SEC;
        while (w.requeue_at <= end) { /* the controller's own timers alone */
            w.now = w.requeue_at > w.now ? w.requeue_at : w.now;
            world_settle(&w);
        }
        cr_assert_str_eq(condition_text(w.sc, "RootfsIntact", "reason"), "NodeGone", "%zu: %s", i,
                condition_text(w.sc, "RootfsIntact", "message"));
        world_free(&w);
    }
}
