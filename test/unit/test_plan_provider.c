/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's part of a start, played on a table (world.h): its size, and where it fits.
 */
#include "controller/affinity.h"
#include "controller/apply.h"
#include "test/unit/world.h"

#define BOX "{'running':true,'template':{'spec':{'image':'debian:12','command':['sleep','1']}}}"

static void unplaced(struct world *w, struct json *pod)
{
    pod_status(w, pod,
            "{'conditions':[{'type':'PodScheduled','status':'False','reason':'Unschedulable',"
            "'message':'0/1 nodes are available'}]}");
}

static const char *provider_cpu(const struct world *w)
{
    return json_str_or(w->provider, "spec.containers[0].resources.requests.cpu", "");
}

Test(plan_provider, provider_begins_larger_and_ends_small)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    cr_assert_str_eq(provider_cpu(&w), "300m");
    pod_placed(&w, w.provider, "node-a");
    world_settle(&w);
    cr_assert_str_eq(provider_cpu(&w), "300m", "throttled while its container is being made");
    pod_runs(&w, w.provider);
    world_settle(&w);
    cr_assert_str_eq(provider_cpu(&w), "10m");
    cr_assert_str_eq(json_str(w.provider, "spec.containers[0].resources.limits.memory"), "16Mi");
    world_free(&w);
}

Test(plan_provider, provider_that_does_not_fit_is_made_small_first)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    unplaced(&w, w.provider);
    world_settle(&w);
    cr_assert_str_eq(provider_cpu(&w), "10m");
    cr_assert_eq(json_len(json_at(w.sci, "status.excludedNodes")), 0);
    world_free(&w);
}

Test(plan_provider, provider_that_was_refused_is_asked_for_small)
{
    struct world w;

    world_init(&w, BOX);
    w.refuse = ACT_PROVIDER_CREATE;
    w.refusal = "exceeded quota: limits.cpu";
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    w.refuse = ACT_KINDS;
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_str_eq(provider_cpu(&w), "10m");
    world_free(&w);
}

Test(plan_provider, a_refused_resize_does_not_keep_it_from_running)
{
    struct world w;

    world_init(&w, BOX);
    w.refuse = ACT_PROVIDER_RESIZE;
    w.refusal = "the server could not find the requested resource";
    world_run(&w);
    cr_assert_str_eq(condition_text(w.sc, "Ready", "status"), "True");
    cr_assert_str_eq(provider_cpu(&w), "300m");
    world_free(&w);
}

Test(plan_provider, provider_that_does_not_fit_moves_on_at_most_five_times)
{
    struct world w;
    char node[32];

    world_init(&w, BOX);
    world_settle(&w);
    for (int i = 0; i < 7; i++) {
        snprintf(node, sizeof(node), "node-%d", i);
        if (!w.consumer || json_str(w.consumer, "spec.nodeName"))
            break;
        pod_placed(&w, w.consumer, node);
        world_settle(&w);
        cr_assert_not_null(w.provider);
        unplaced(&w, w.provider);
        world_wait(&w, 29 * USEC_PER_SEC);
        cr_assert_not_null(w.provider, "gave up before 30 s");
        world_wait(&w, 2 * USEC_PER_SEC);
        if (json_str(w.consumer, "metadata.deletionTimestamp")) {
            pod_finishes(&w, &w.consumer);
            world_settle(&w);
        }
    }
    cr_assert_eq(json_len(json_at(w.sci, "status.excludedNodes")), 5);
    cr_assert(strstr(condition_text(w.sc, "Scheduled", "message"), "five others"));
    cr_assert(!strstr(w.events, "RootfsLost"), "%s", w.events);
    pod_placed(&w, w.provider, node);
    pod_runs(&w, w.provider);
    pod_runs(&w, w.consumer);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Running");
    world_free(&w);
}

/* One node, on which only the last pod slot was free when the consumer came. */
Test(plan_provider, the_only_node_is_tried_again_and_waited_for)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    unplaced(&w, w.provider);
    world_wait(&w, 31 * USEC_PER_SEC);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    unplaced(&w, w.consumer);
    world_wait(&w, 20 * USEC_PER_SEC);
    cr_assert(strstr(condition_text(w.sc, "Scheduled", "message"), "did not fit (node-a)"), "%s",
            condition_text(w.sc, "Scheduled", "message"));
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 2);
    world_wait(&w, 15 * USEC_PER_SEC);
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 3, "the only node is never tried again");
    cr_assert_eq(json_len(json_at(w.sci, "status.excludedNodes")), 0);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    unplaced(&w, w.provider);
    w.writes = 0;
    world_wait(&w, 3600 * USEC_PER_SEC);
    cr_assert_leq(w.writes, 2, "%d writes in an hour", w.writes);
    cr_assert_not_null(w.provider);
    cr_assert(strstr(condition_text(w.sc, "Scheduled", "message"), "nor did it on the others"));
    pod_placed(&w, w.provider, "node-a");
    pod_runs(&w, w.provider);
    pod_runs(&w, w.consumer);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Running");
    world_free(&w);
}

Test(plan_provider, another_scheduler_is_named_while_it_is_waited_for)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'debian:12','schedulerName':'mine'}}}");
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_str_eq(condition_text(w.sc, "Scheduled", "status"), "Unknown");
    cr_assert(strstr(condition_text(w.sc, "Scheduled", "message"), "scheduler mine"));
    world_free(&w);
}

Test(plan_provider, a_server_without_resize_is_asked_once)
{
    const struct kube_result missing = {.code = -ENOENT, .reason = "NotFound", .message = "not found"};

    cr_assert_eq(apply_outcome(ACT_PROVIDER_RESIZE, &missing), APPLY_DONE);
    cr_assert_eq(apply_outcome(ACT_CONSUMER_DELETE, &missing), APPLY_DONE);
    cr_assert_eq(apply_outcome(ACT_SC_STATUS, &missing), APPLY_CONFLICT);
}

Test(plan_provider, a_node_without_resize_is_asked_once)
{
    const struct kube_result never = {.code = -EINVAL,
            .reason = "Invalid",
            .message = "spec: Forbidden: Pod running on node without support for resize"};
    const struct kube_result refused = {.code = -EINVAL, .reason = "Invalid", .message = "spec: Forbidden"};

    cr_assert_eq(apply_outcome(ACT_PROVIDER_RESIZE, &never), APPLY_DONE);
    cr_assert_eq(apply_outcome(ACT_PROVIDER_RESIZE, &refused), APPLY_REFUSED);
    cr_assert_eq(apply_outcome(ACT_CONSUMER_CREATE, &never), APPLY_REFUSED);
}

/* A namespace whose quota admits no pod of our class, or a cluster without it: rather a provider of the template's own. */
Test(plan_provider, refused_priority_class_is_left_out)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x','priorityClassName':'mine'}}}");
    w.config.provider_priority_class = "ours";
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    w.refuse = ACT_PROVIDER_CREATE;
    w.refusal = "exceeded quota: pods=0";
    world_settle(&w);
    w.refuse = ACT_KINDS;
    world_wait(&w, 3 * USEC_PER_SEC);
    cr_assert_str_eq(
            json_str_or(w.provider, "spec.priorityClassName", ""), "ours", "given up for another reason");
    pod_gone(&w, &w.provider, true);
    w.refuse = ACT_PROVIDER_CREATE;
    w.refusal = "no PriorityClass with name ours was found";
    world_settle(&w);
    w.refuse = ACT_KINDS;
    world_wait(&w, 3 * USEC_PER_SEC);
    cr_assert_str_eq(json_str_or(w.provider, "spec.priorityClassName", ""), "mine");
    world_free(&w);
}

/* The provider is made, and nothing about it is written yet. */
static void make_provider(struct world *w)
{
    world_init(w, BOX);
    world_settle(w);
    pod_placed(w, w->consumer, "node-a");
    for (int i = 0; !w->provider && i < 10; i++)
        world_turn(w);
    cr_assert_not_null(w->provider);
    cr_assert_null(json_str(w->sci, "status.rootfs.id"));
}

static void expect_pinned(struct world *w)
{
    cr_assert_str_eq(json_str_or(w->sci, "status.rootfs.id", ""), json_str(w->provider, "metadata.uid"));
    cr_assert_not_null(w->consumer);
    cr_assert_not_null(affinity_pinned_node(w->consumer), "it may be placed where its root is not");
    cr_assert_str_eq(affinity_pinned_node(w->consumer), "node-a");
}

Test(plan_provider, a_start_that_is_cut_short_leaves_a_root_that_is_found_again)
{
    struct world w;

    make_provider(&w);
    world_spec(&w, "{'running':false}");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    pod_runs(&w, w.provider);
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    expect_pinned(&w);
    world_free(&w);
}

/* The first consumer goes before the root is written down, which fails for a while. */
Test(plan_provider, no_consumer_is_made_before_it_is_written_where_its_root_is)
{
    struct world w;

    make_provider(&w);
    w.refuse = ACT_SCI_STATUS;
    w.refusal = "etcdserver: request timed out";
    pod_placed(&w, w.provider, "node-a");
    pod_runs(&w, w.provider);
    pod_gone(&w, &w.consumer, true);
    world_wait(&w, 30 * USEC_PER_SEC);
    cr_assert(!w.consumer || affinity_pinned_node(w.consumer), "it may be placed where its root is not");
    w.refuse = ACT_KINDS;
    world_wait(&w, 76 * USEC_PER_SEC);
    expect_pinned(&w);
    world_free(&w);
}

/* As an earlier version left it. */
Test(plan_provider, consumer_on_another_node_than_its_root_is_made_again)
{
    struct world w;

    make_provider(&w);
    pod_placed(&w, w.provider, "node-a");
    pod_runs(&w, w.provider);
    pod_placed(&w, w.consumer, "node-b");
    world_settle(&w);
    cr_assert(!w.consumer || json_str(w.consumer, "metadata.deletionTimestamp"), "it waits for ever");
    if (w.consumer)
        pod_finishes(&w, &w.consumer);
    world_settle(&w);
    expect_pinned(&w);
    world_free(&w);
}
