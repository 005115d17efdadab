/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller's decisions about a node that falls silent, comes back, or never does.
 */
#include "test/unit/world.h"

#define BOX "{'running':true,'template':{'spec':{'image':'debian:12','command':['sleep','1']}}}"

static void expect_ready(const struct world *w, const char *status, const char *reason)
{
    cr_assert_str_eq(condition_text(w->sc, "Ready", "status"), status);
    cr_assert_str_eq(condition_text(w->sc, "Ready", "reason"), reason);
}

/* The Ready condition of a pod, the last one in pod_runs(), as somebody writes it. */
static void pod_readiness(struct world *w, struct json *pod, const char *condition)
{
    json_set(json_field(pod, "status"), "conditions", json_new_array());
    json_append(json_at(pod, "status.conditions"), lit(condition));
    touch(w, pod);
}

Test(plan_node, a_silent_node_under_a_running_pod_is_told_and_nothing_else_is_done)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.writes = 0;
    w.node = NODE_NOT_READY;
    pod_readiness(&w, w.consumer, "{'type':'Ready','status':'False'}");
    world_wait(&w, 3600 * USEC_PER_SEC);
    expect_ready(&w, "False", "NodeNotResponding");
    cr_assert_str_eq(phase(&w), "Running", "it may well run");
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 1);
    cr_assert_leq(w.writes, 3, "%d writes about one fact", w.writes);
    w.node = NODE_READY;
    pod_readiness(&w, w.consumer, "{'type':'Ready','status':'True'}");
    world_settle(&w);
    expect_ready(&w, "True", "Running");
    world_free(&w);
}

Test(plan_node, a_pod_that_the_kubelet_calls_unready_asks_no_node)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.asked_node = false;
    w.node = NODE_NOT_READY;
    pod_readiness(&w, w.consumer,
            "{'type':'Ready','status':'False','reason':'ContainersNotReady','message':'probe'}");
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_not(w.asked_node);
    expect_ready(&w, "False", "ContainersNotReady");
    world_free(&w);
}

Test(plan_node, an_evicted_pod_on_a_silent_node_keeps_the_next_one_away)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.node = NODE_NOT_READY;
    delete_pod(&w, &w.consumer);
    world_wait(&w, 10 * USEC_PER_SEC);
    expect_ready(&w, "False", "Restarting");
    world_wait(&w, 3600 * USEC_PER_SEC);
    expect_ready(&w, "False", "NodeNotResponding");
    cr_assert_str_eq(phase(&w), "Stopping");
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 1, "a second consumer while the first may run");
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 2);
    cr_assert_not_null(w.provider, "the root is kept");
    world_free(&w);
}

Test(plan_node, stop_on_a_silent_node_is_not_stopped_until_the_node_is_back_or_given_up)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.node = NODE_NOT_READY;
    world_spec(&w, "{'running':false}");
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopping");
    expect_ready(&w, "False", "NodeNotResponding");
    pod_gone(&w, &w.consumer, true);
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopping", "forced away: its processes may go on");
    expect_ready(&w, "False", "NodeNotResponding");
    w.node = NODE_GONE;
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_free(&w);
}

/* Its provider could not be made, so the instance knows no node yet. */
Test(plan_node, stop_of_a_consumer_that_was_forced_away_before_it_had_a_provider)
{
    struct world w;

    world_init(&w, BOX);
    w.refuse = ACT_PROVIDER_CREATE;
    w.refusal = "quota";
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    cr_assert_null(w.provider);
    world_spec(&w, "{'running':false}");
    pod_gone(&w, &w.consumer, true);
    w.node = NODE_NOT_READY;
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopping");
    expect_ready(&w, "False", "NodeNotResponding");
    cr_assert(strstr(condition_text(w.sc, "Ready", "message"), "node node-a"));
    w.node = NODE_READY;
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_free(&w);
}

/* Of any size: Kubernetes takes a negative one for 1 s, and one of centuries as it is. */
Test(plan_node, stop_of_a_vanished_pod_with_an_odd_grace_period)
{
    static const struct {
        const char *seconds;
        bool stopped;
    } cases[] = {{"-1", true}, {"-9223372036854775808", true}, {"0", true}, {"9223372036854775807", false},
            {"18446744073710", false} /* 2^64 microseconds and some */};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        char spec[256];

        snprintf(spec, sizeof(spec),
                "{'running':true,'template':{'spec':{'image':'x','terminationGracePeriodSeconds':%s}}}",
                cases[i].seconds);
        world_init(&w, spec);
        world_run(&w);
        pod_gone(&w, &w.consumer, true);
        world_spec(&w, "{'running':false}");
        world_wait(&w, 20 * USEC_PER_SEC);
        cr_assert_str_eq(phase(&w), cases[i].stopped ? "Stopped" : "Stopping", "%s", cases[i].seconds);
        cr_assert_gt(
                json_int_or(w.provider, "spec.terminationGracePeriodSeconds", 0), 0, "%s", cases[i].seconds);
        world_free(&w);
    }
}

Test(plan_node, a_pod_held_by_a_finalizer_is_not_put_down_to_its_node)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    world_spec(&w, "{'running':false}");
    world_settle(&w);
    json_set(json_field(w.consumer, "metadata"), "finalizers", lit("['example.com/mine']"));
    touch(&w, w.consumer);
    world_wait(&w, 600 * USEC_PER_SEC);
    expect_ready(&w, "False", "NodeNotResponding"); /* it has not ended yet, and that is its node's */
    pod_ends(&w, w.consumer, 0);
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopping");
    expect_ready(&w, "False", "HeldByFinalizer");
    cr_assert(strstr(condition_text(w.sc, "Ready", "message"), "example.com/mine"));
    json_remove(json_field(w.consumer, "metadata"), "finalizers");
    touch(&w, w.consumer);
    world_wait(&w, 600 * USEC_PER_SEC);
    expect_ready(&w, "False", "NodeNotResponding"); /* now it is for the kubelet to let it go */
    pod_gone(&w, &w.consumer, true);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_free(&w);
}

Test(plan_node, a_reclaim_pod_on_a_node_that_is_given_up_holds_nothing)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.node = NODE_NOT_READY;
    delete_object(&w, &w.sc);
    world_settle(&w);
    pod_gone(&w, &w.consumer, true);
    world_settle(&w);
    pod_gone(&w, &w.provider, true);
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_not_null(w.reclaim);
    cr_assert_not_null(w.sc, "nobody knows that the node is clean");
    expect_ready(&w, "False", "NodeNotResponding");
    w.node = NODE_GONE;
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert(!w.sci && w.reclaim && json_str(w.reclaim, "metadata.deletionTimestamp"));
    pod_gone(&w, &w.reclaim, true); /* the pod garbage collector's, which heeds the taint too */
    world_settle(&w);
    cr_assert_null(w.sc);
    world_free(&w);
}
