/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistence Node, played on a table: a node that is gone, or has no room for what needs the root it keeps.
 */
#include "test/unit/world_node.h"

static void lose_node(struct world *w)
{
    w->node = NODE_GONE;
    if (w->consumer)
        pod_gone(w, &w->consumer, true);
    if (w->provider)
        pod_gone(w, &w->provider, true);
    world_settle(w);
    cr_assert_not_null(w->provider);
    unplaced(w, w->provider);
    if (w->consumer)
        unplaced(w, w->consumer);
}

Test(plan_persistence_gone, node_that_is_gone_is_waited_for)
{
    struct world w;
    int made;

    world_init(&w, BOX);
    world_run(&w);
    lose_node(&w);
    expect_condition(&w, "Ready", "False", "NodeGone");
    expect_condition(&w, "Scheduled", "False", "NodeGone");
    expect_condition(&w, "RootfsIntact", "Unknown", "NodeGone");
    cr_assert_str_eq(phase(&w), "Pending");
    made = w.made[ACT_PROVIDER_CREATE];
    w.writes = 0;
    world_restart(&w);
    world_wait(&w, 24 * 3600 * USEC_PER_SEC);
    cr_assert_eq(w.writes, 0, "%d writes in a day of waiting", w.writes);
    cr_assert_eq(w.made[ACT_PROVIDER_CREATE], made);
    w.node = NODE_READY;
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_ROOT), "kept");
    provider_runs(&w);
    consumer_runs(&w);
    expect_condition(&w, "RootfsIntact", "True", "Kept");
    cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
    world_free(&w);
}

Test(plan_persistence_gone, node_that_is_gone_while_stopped)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    lose_node(&w);
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    expect_condition(&w, "Ready", "False", "NodeGone");
    w.events[0] = '\0';
    world_spec(&w, "{'rootfs':{'resetToken':'give up'}}");
    world_settle(&w);
    cr_assert(strstr(w.events, "RootfsReset"), "%s", w.events);
    cr_assert_eq(w.made[ACT_RECLAIM_CREATE], 0, "there is no node to ask");
    cr_assert_null(w.sci);
    world_free(&w);
}

Test(plan_persistence_gone, node_that_is_gone_is_given_up_by_recreate)
{
    struct world w;
    char old[64];

    world_init(&w, SPEC(",'onLoss':'Recreate'"));
    world_run(&w);
    strcpy(old, json_str(w.sci, "metadata.uid"));
    w.events[0] = '\0';
    lose_node(&w);
    world_wait(&w, 50 * USEC_PER_SEC);
    expect_condition(&w, "RootfsIntact", "Unknown", "NodeGone");
    cr_assert(!strstr(w.events, "RootfsLost"), "given up at once: %s", w.events);
    cr_assert_leq(w.requeue_at, w.now + 30 * USEC_PER_SEC, "nobody looks at it in time");
    world_wait(&w, 30 * USEC_PER_SEC);
    cr_assert(strstr(w.events, "RootfsLost"), "%s", w.events);
    cr_assert_not_null(w.sci);
    cr_assert_str_neq(json_str(w.sci, "metadata.uid"), old);
    cr_assert_eq(w.made[ACT_RECLAIM_CREATE], 0);
    cr_assert_null(json_at(w.sci, "status.nodeName"), "it starts elsewhere");
    w.node = NODE_READY;
    world_run(&w);
    w.events[0] = '\0';
    lose_node(&w);
    world_wait(&w, 30 * USEC_PER_SEC);
    cr_assert(!strstr(w.events, "RootfsLost"), "its minute was another root's: %s", w.events);
    world_free(&w);
}

/* Tainted, with its Node object there: the provider tolerates that and stays, the consumer goes and cannot come back. */
static void put_out_of_service(struct world *w)
{
    w->node = NODE_GONE;
    pod_gone(w, &w->consumer, true);
    world_settle(w);
    unplaced(w, w->consumer);
    cr_assert_not_null(w->provider);
}

Test(plan_persistence_gone, node_out_of_service_is_waited_for)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    put_out_of_service(&w);
    expect_condition(&w, "Ready", "False", "NodeGone");
    expect_condition(&w, "Scheduled", "False", "NodeGone");
    expect_condition(&w, "RootfsIntact", "Unknown", "NodeGone");
    w.writes = 0;
    world_restart(&w);
    world_wait(&w, 24 * 3600 * USEC_PER_SEC);
    cr_assert_eq(w.writes, 0, "%d writes in a day of waiting", w.writes);
    w.node = NODE_READY;
    pod_ends(&w, w.provider, 137);
    world_settle(&w);
    provider_runs(&w);
    consumer_runs(&w);
    expect_condition(&w, "RootfsIntact", "True", "Kept");
    cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
    world_free(&w);
}

Test(plan_persistence_gone, node_out_of_service_is_given_up_by_recreate)
{
    struct world w;

    world_init(&w, SPEC(",'onLoss':'Recreate'"));
    world_run(&w);
    w.events[0] = '\0';
    put_out_of_service(&w);
    world_wait(&w, 50 * USEC_PER_SEC);
    expect_condition(&w, "RootfsIntact", "Unknown", "NodeGone");
    cr_assert(!strstr(w.events, "RootfsLost"), "given up at once: %s", w.events);
    world_wait(&w, 30 * USEC_PER_SEC);
    cr_assert(strstr(w.events, "RootfsLost"), "%s", w.events);
    pod_gone(&w, &w.provider, true); /* by the pod garbage collector */
    world_settle(&w);
    cr_assert_eq(w.made[ACT_RECLAIM_CREATE], 0, "there is no node to ask");
    cr_assert_eq(w.made[ACT_SCI_CREATE], 2);
    cr_assert_null(json_at(w.sci, "status.nodeName"), "it starts elsewhere");
    world_free(&w);
}

/* The node comes or goes, and the scheduler says so; an answer about it counts for 10 s. */
static void node_becomes(struct world *w, enum node_state state)
{
    w->now += 11 * USEC_PER_SEC;
    w->node = state;
    unplaced(w, w->provider);
}

/* Its provider waits already, for another reason and for long, when the node goes: the minute is the node's. */
Test(plan_persistence_gone, node_that_goes_for_a_moment_is_not_given_up)
{
    struct world w;

    world_init(&w, SPEC(",'onLoss':'Recreate'"));
    world_run(&w);
    stop(&w);
    pod_gone(&w, &w.provider, true); /* a drain: the node is cordoned */
    world_settle(&w);
    unplaced(&w, w.provider);
    world_wait(&w, 3600 * USEC_PER_SEC);
    w.events[0] = '\0';
    for (int i = 0; i < 3; i++) {
        node_becomes(&w, NODE_GONE); /* registered anew */
        world_wait(&w, 30 * USEC_PER_SEC);
        node_becomes(&w, NODE_READY);
    }
    cr_assert(!strstr(w.events, "RootfsLost"), "%s", w.events);
    cr_assert(!strstr(w.events, "Created"), "it is the old root: %s", w.events);
    cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
    node_becomes(&w, NODE_GONE);
    world_wait(&w, 80 * USEC_PER_SEC);
    cr_assert(strstr(w.events, "RootfsLost"), "%s", w.events);
    world_free(&w);
}

Test(plan_persistence_gone, node_without_room_is_told_in_the_schedulers_words)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    unplaced(&w, w.provider);
    cr_assert_str_eq(phase(&w), "Stopped");
    expect_condition(&w, "Ready", "False", "Stopped");
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    expect_condition(&w, "Ready", "False", "Unschedulable");
    cr_assert(strstr(condition_text(w.sc, "Ready", "message"), "box-provider"));
    world_wait(&w, 3600 * USEC_PER_SEC);
    cr_assert_null(json_at(w.sci, "status.excludedNodes"), "there is no other node for this root");
    cr_assert_str_eq(json_str(w.sci, "status.nodeName"), "node-a");
    provider_runs(&w);
    consumer_runs(&w);
    world_free(&w);
}

/* The provider is well: nothing but the scheduler's words is told. */
Test(plan_persistence_gone, node_without_room_for_the_workload)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    w.events[0] = '\0';
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    unplaced(&w, w.consumer);
    expect_condition(&w, "Ready", "False", "Unschedulable");
    cr_assert(strstr(condition_text(w.sc, "Ready", "message"), "0/1 nodes"));
    cr_assert(!strstr(w.events, "ProviderEnded"), "%s", w.events);
    consumer_runs(&w);
    world_free(&w);
}

static void evicted(struct world *w)
{
    pod_gone(w, &w->consumer, true);
    world_wait(w, 20 * USEC_PER_SEC);
    cr_assert_not_null(w->consumer);
}

/* Nobody asks while all is well: what was answered before says nothing of the time since. */
Test(plan_persistence_gone, the_minute_begins_anew_each_time)
{
    static const usec_t between[] = {45 * USEC_PER_SEC, 30 * 86400 * USEC_PER_SEC};
    struct world w;

    for (size_t i = 0; i < ARRAY_SIZE(between); i++) {
        world_init(&w, SPEC(",'onLoss':'Recreate'"));
        world_run(&w);
        for (int flap = 0; flap < 2; flap++) {
            evicted(&w);
            w.node = NODE_GONE;
            unplaced(&w, w.consumer);
            world_wait(&w, 30 * USEC_PER_SEC);
            cr_assert(!strstr(w.events, "RootfsLost"), "given up after a moment: %s", w.events);
            w.node = NODE_READY;
            consumer_runs(&w);
            w.now += between[i];
            world_settle(&w);
        }
        cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
        world_free(&w);
    }
}
