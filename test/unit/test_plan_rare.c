/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rare turns of events, played on a table: each of them once led to a word that was not true, a run too many, or a start
 * that never came.
 */
#include "common/base/limits.h"
#include "controller/affinity.h"
#include "test/unit/world_node.h"

#define PROVIDER "{'running':true,'template':{'spec':{'image':'x'}}}"
#define ONCE "{'running':true,'template':{'spec':{'image':'x','restartPolicy':'Never'}}}"

static bool pod_says(const struct json *pod, const char *word)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_API_OBJECT);

    cr_assert_not_null(pod);
    cr_assert_eq(json_write(json_field(pod, "spec"), &b), 0);
    return strstr(buf_str(&b), word) != NULL;
}

static void pod_condition(struct world *w, struct json *pod, const char *condition)
{
    json_append(json_at(pod, "status.conditions"), lit(condition));
    touch(w, pod);
}

static void set_ready(struct world *w, bool ready)
{
    json_set(json_field(w->consumer, "status"), "conditions", json_new_array());
    pod_condition(w, w->consumer, "{'type':'PodScheduled','status':'True'}");
    pod_condition(w, w->consumer,
            ready ? "{'type':'Ready','status':'True'}"
                  : "{'type':'Ready','status':'False','reason':'ContainersNotReady','message':'m'}");
}

/* Its consumer has a place, and its provider was made. */
static void first_start(struct world *w, const char *spec)
{
    world_init(w, spec);
    world_settle(w);
    pod_placed(w, w->consumer, "node-a");
    world_settle(w);
}

/* The node is drained, or the node controller comes, when it is over. */
Test(plan_rare, run_that_has_ended_is_not_repeated_for_an_eviction)
{
    struct world w;

    world_init(&w, ONCE);
    world_run(&w);
    pod_ends(&w, w.consumer, 0);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Succeeded");
    pod_condition(&w, w.consumer, "{'type':'DisruptionTarget','status':'True'}");
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Succeeded");
    if (w.consumer)
        pod_gone(&w, &w.consumer, true);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Succeeded");
    cr_assert_null(w.consumer, "it runs again");
    world_free(&w);
}

Test(plan_rare, run_that_is_evicted_is_repeated)
{
    struct world w;

    world_init(&w, ONCE);
    world_run(&w);
    pod_condition(&w, w.consumer, "{'type':'DisruptionTarget','status':'True'}");
    pod_ends(&w, w.consumer, 137);
    world_settle(&w);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_not_null(w.consumer);
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 2);
    world_free(&w);
}

Test(plan_rare, run_that_meets_its_deadline_says_so)
{
    struct world w;

    world_init(&w, ONCE);
    world_run(&w);
    pod_ends(&w, w.consumer, 0);
    pod_status(&w, w.consumer, "{'phase':'Failed','reason':'DeadlineExceeded','message':'too long'}");
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Failed");
    cr_assert_str_eq(
            condition_text(w.sc, "Ready", "message"), "the run was ended: DeadlineExceeded: too long");
    pod_gone(&w, &w.consumer, true);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_null(w.consumer);
    world_free(&w);
}

/* Before anything has run there: both pods go, or the provider waits for a place beside a consumer that goes. */
Test(plan_rare, first_start_is_not_tied_to_a_node_that_is_gone)
{
    for (int provider_placed = 0; provider_placed < 2; provider_placed++) {
        struct world w;

        first_start(&w, PROVIDER);
        cr_assert(pod_says(w.provider, "node-a"));
        if (provider_placed)
            pod_placed(&w, w.provider, "node-a");
        world_settle(&w);
        pod_gone(&w, &w.consumer, true);
        if (provider_placed)
            pod_gone(&w, &w.provider, true);
        world_wait(&w, 10 * USEC_PER_SEC);
        cr_assert(!pod_says(w.consumer, "node-a"), "%d: it can start on that node only", provider_placed);
        cr_assert_null(w.provider, "%d: the provider still waits for that node", provider_placed);
        world_free(&w);
    }
}

/* The provider is seen going, beside a consumer that waits for its node. */
Test(plan_rare, consumer_is_untied_from_a_node_whose_provider_goes)
{
    struct world w;

    first_start(&w, PROVIDER);
    pod_placed(&w, w.provider, "node-a");
    world_settle(&w);
    pod_gone(&w, &w.consumer, true);
    world_wait(&w, 5 * USEC_PER_SEC);
    cr_assert(pod_says(w.consumer, "node-a"));
    unplaced(&w, w.consumer);
    world_settle(&w);
    delete_pod(&w, &w.provider);
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert(!pod_says(w.consumer, "node-a"), "it can start on that node only");
    world_free(&w);
}

/* A first start that got as far as its provider: the consumer has gone since, and waits for the node again. */
static void begin_on_lost_node(struct world *w, const char *spec, bool refused, bool placed)
{
    world_init(w, spec);
    w->refuse = refused ? ACT_PROVIDER_CREATE : ACT_KINDS;
    w->refusal = "exceeded quota";
    world_settle(w);
    pod_placed(w, w->consumer, "node-a");
    world_settle(w);
    cr_assert(refused || w->provider);
    if (placed)
        pod_placed(w, w->provider, "node-a");
    world_settle(w);
    w->refuse = ACT_KINDS;
    w->node = NODE_GONE;
    pod_gone(w, &w->consumer, true);
    world_wait(w, 5 * USEC_PER_SEC);
    if (w->consumer)
        unplaced(w, w->consumer);
}

Test(plan_rare, first_start_gives_a_lost_node_up_after_a_minute)
{
    static const struct {
        const char *spec;
        bool refused, placed;
    } cases[] = {{BOX, true, false}, {BOX, false, false}, {BOX, false, true}, {PROVIDER, false, true}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;

        begin_on_lost_node(&w, cases[i].spec, cases[i].refused, cases[i].placed);
        world_wait(&w, 120 * USEC_PER_SEC);
        if (w.provider && json_str(w.provider, "metadata.deletionTimestamp"))
            pod_finishes(&w, &w.provider);
        world_wait(&w, 120 * USEC_PER_SEC);
        cr_assert_not_null(w.consumer, "%zu", i);
        cr_assert_str_eq(
                affinity_pinned_node(w.consumer) ? affinity_pinned_node(w.consumer) : "", "", "%zu", i);
        cr_assert_null(w.provider, "%zu: the provider stays on that node", i);
        cr_assert_str_neq(
                condition_text(w.sc, "RootfsIntact", "status"), "False", "%zu: a loss of nothing", i);
        pod_placed(&w, w.consumer, "node-b");
        world_settle(&w);
        cr_assert(pod_says(w.provider, "node-b"), "%zu", i);
        world_free(&w);
    }
}

Test(plan_rare, first_start_waits_for_a_node_that_is_there)
{
    struct world w;

    begin_on_lost_node(&w, PROVIDER, false, true);
    w.node = NODE_NOT_READY;
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert(pod_says(w.consumer, "node-a"));
    cr_assert(strstr(condition_text(w.sc, "Ready", "message"), "first start"), "%s",
            condition_text(w.sc, "Ready", "message"));
    world_free(&w);
}

/* It was given up as one without room, and the provider came to run there all the same. */
Test(plan_rare, node_of_the_root_is_not_excluded)
{
    struct world w;

    world_init(&w, PROVIDER);
    world_run(&w);
    json_append_str(json_ensure_array(json_field(w.sci, "status"), "excludedNodes"), "node-a");
    touch(&w, w.sci);
    world_spec(&w, "{'running':false}");
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    cr_assert(pod_says(w.consumer, "node-a") && !pod_says(w.consumer, "NotIn"));
    world_free(&w);
}

Test(plan_rare, end_of_a_container_that_a_webhook_added_is_no_loss)
{
    struct world w;

    world_init(&w, PROVIDER);
    world_run(&w);
    json_append(json_at(w.provider, "spec.containers"), lit("{'name':'mesh'}"));
    json_append(json_at(w.provider, "status.containerStatuses"),
            lit("{'name':'mesh','state':{'terminated':{'exitCode':1,'reason':'Error'}}}"));
    touch(&w, w.provider);
    world_settle(&w);
    expect_condition(&w, "RootfsIntact", "True", "Intact");
    cr_assert_not_null(w.consumer);
    world_free(&w);
}

Test(plan_rare, container_that_a_webhook_added_is_no_root)
{
    struct world w;

    first_start(&w, PROVIDER);
    pod_placed(&w, w.provider, "node-a");
    json_append(json_at(w.provider, "spec.containers"), lit("{'name':'mesh'}"));
    pod_status(&w, w.provider,
            "{'phase':'Pending','containerStatuses':[{'name':'main','state':{'waiting':{'reason':'"
            "ErrImagePull'}}},"
            "{'name':'mesh','state':{'running':{}}}]}");
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_str_neq(condition_text(w.sc, "RootfsIntact", "status"), "True");
    cr_assert_null(strstr(w.events, "Created"), "%s", w.events);
    world_free(&w);
}

/* The kubelet gives it the time that it was made with. */
Test(plan_rare, pod_that_vanished_has_its_own_grace_period)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x','terminationGracePeriodSeconds':300}}}");
    world_run(&w);
    world_spec(&w, "{'template':{'spec':{'image':'x','terminationGracePeriodSeconds':2}}}");
    world_settle(&w);
    pod_gone(&w, &w.consumer, true);
    world_spec(&w, "{'running':false}");
    world_wait(&w, 290 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopping");
    world_wait(&w, 20 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_free(&w);
}

/* A kubelet that was cut off hears of the deletion when it is back. */
Test(plan_rare, grace_period_begins_when_the_node_is_back)
{
    struct world w;

    world_init(&w, PROVIDER);
    world_run(&w);
    w.node = NODE_NOT_READY;
    pod_gone(&w, &w.consumer, true);
    world_spec(&w, "{'running':false}");
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(condition_text(w.sc, "Ready", "reason"), "NodeNotResponding");
    w.node = NODE_READY;
    w.now = w.requeue_at;
    world_settle(&w);
    world_wait(&w, 25 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopping");
    world_wait(&w, 15 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_free(&w);
}

Test(plan_rare, blips_of_long_ago_hold_no_word_back)
{
    struct world w;

    world_init(&w, PROVIDER);
    world_run(&w);
    for (int i = 0; i < 12; i++) {
        set_ready(&w, false);
        world_wait(&w, 5 * USEC_PER_SEC);
        set_ready(&w, true);
        world_wait(&w, 3600 * USEC_PER_SEC);
    }
    set_ready(&w, false);
    world_wait(&w, 5 * USEC_PER_SEC);
    cr_assert_str_eq(condition_text(w.sc, "Ready", "status"), "False");
    set_ready(&w, true);
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_str_eq(condition_text(w.sc, "Ready", "status"), "True");
    world_free(&w);
}

/* Before Kubernetes 1.27 the phase of a pod that is ended stays Running. */
Test(plan_rare, end_is_seen_by_the_containers_where_the_phase_stays)
{
    struct world w;

    world_init(&w, PROVIDER);
    world_run(&w);
    world_spec(&w, "{'running':false}");
    world_settle(&w);
    pod_ends(&w, w.consumer, 0);
    pod_status(&w, w.consumer, "{'phase':'Running'}");
    world_settle(&w);
    pod_gone(&w, &w.consumer, true);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Stopped");
    cr_assert(!w.memory.unclean, "it is said that the node may not be clean");
    world_free(&w);
}
