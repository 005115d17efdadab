/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller's decisions, played on a table (world.h): the life of a StoppableContainer, its write
 * budget, and what goes wrong on the way.
 */
#include "test/unit/world.h"

#define BOX "{'running':true,'template':{'spec':{'image':'debian:12','command':['sleep','1']}}}"

static void expect_condition(const struct world *w, const char *type, const char *status, const char *words)
{
    cr_assert_str_eq(condition_text(w->sc, type, "status"), status, "%s is %s: %s", type,
            condition_text(w->sc, type, "status"), condition_text(w->sc, type, "message"));
    cr_assert(strstr(condition_text(w->sc, type, "message"), words), "%s: %s", type,
            condition_text(w->sc, type, "message"));
}

Test(plan, create_stop_start_delete_within_the_write_budget)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    cr_assert_eq(w.writes, 9, "create took %d writes: %s", w.writes, w.events);
    cr_assert_str_eq(w.events, "Created ", "its start is told with it");
    cr_assert_str_eq(json_str(w.sc, "status.nodeName"), "node-a");
    cr_assert_str_eq(json_str(w.sc, "status.rootfs.id"), json_str(w.provider, "metadata.uid"));
    expect_condition(&w, "Ready", "True", "node-a");
    expect_condition(&w, "RootfsIntact", "True", "box-provider");
    world_wait(&w, 3600 * USEC_PER_SEC);
    cr_assert_eq(w.writes, 9, "idle is not free");
    cr_assert_str_eq(json_str(w.provider, "spec.containers[0].resources.limits.cpu"), "10m");

    world_spec(&w, "{'running':false}");
    w.writes = 0;
    world_settle(&w);
    cr_assert_str_neq(phase(&w), "Stopped", "stopped while the process still ends");
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Stopped");
    cr_assert_leq(w.writes, 5, "stop took %d writes", w.writes);
    cr_assert_not_null(w.provider);
    cr_assert_eq(json_int_or(w.sc, "status.lastRun.exitCode", -1), 0);

    world_spec(&w, "{'running':true}");
    w.writes = 0;
    w.events[0] = '\0';
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_runs(&w, w.consumer);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Running");
    cr_assert_leq(w.writes, 5, "start took %d writes", w.writes);
    cr_assert_str_eq(w.events, "Started ");
    cr_assert_str_eq(json_str(w.consumer, "spec.containers[0].image"), "docker.io/library/x@sha256:abc");

    delete_object(&w, &w.sc);
    world_settle(&w);
    cr_assert_not_null(json_str(w.consumer, "metadata.deletionTimestamp"));
    cr_assert_null(
            json_str(w.provider, "metadata.deletionTimestamp"), "the provider must outlive the consumer");
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_not_null(w.sci, "released before the provider was gone");
    pod_finishes(&w, &w.provider);
    world_settle(&w);
    cr_assert(!w.sci && !w.sc && !w.reclaim, "something is left");
    cr_assert_eq(w.made[ACT_RECLAIM_CREATE], 0, "a clean end needs no reclaim pod");
    world_free(&w);
}

Test(plan, made_stopped_makes_nothing)
{
    struct world w;

    world_init(&w, "{'running':false,'template':{'spec':{'image':'x'}}}");
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    cr_assert_eq(w.writes, 1);
    cr_assert_null(w.sci);
    delete_object(&w, &w.sc);
    cr_assert_null(w.sc, "no finalizer before the first start");
    world_free(&w);
}

Test(plan, waiting_is_told_only_when_it_lasts)
{
    struct world w;

    world_init(&w, BOX);
    world_wait(&w, 1 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "");
    world_wait(&w, 2 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Pending");
    w.writes = 0;
    world_wait(&w, 3600 * USEC_PER_SEC);
    cr_assert_leq(w.writes, 1, "stuck: %d writes", w.writes); /* the SCI's phase, once */
    world_free(&w);
}

/* A controller that is killed before every single write comes to the same end. */
Test(plan, restart_before_every_write)
{
    struct world w;

    world_init(&w, BOX);
    for (int i = 0; i < 200 && strcmp(phase(&w), "Running") != 0; i++) {
        world_restart(&w);
        if (!world_turn(&w) && w.requeue_at != USEC_INFINITY)
            w.now = w.requeue_at;
        if (w.consumer && !json_str(w.consumer, "spec.nodeName"))
            pod_placed(&w, w.consumer, "node-a");
        else if (w.provider && !json_str(w.provider, "spec.nodeName"))
            pod_placed(&w, w.provider, "node-a");
        else if (w.provider && strcmp(json_str(w.provider, "status.phase"), "Running") != 0)
            pod_runs(&w, w.provider);
        else if (w.consumer && json_at(w.sci, "status.rootfs.id") &&
                 strcmp(json_str(w.consumer, "status.phase"), "Running") != 0)
            pod_runs(&w, w.consumer);
    }
    cr_assert_str_eq(phase(&w), "Running");
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 1);
    cr_assert_eq(w.made[ACT_PROVIDER_CREATE], 1);

    delete_object(&w, &w.sc);
    for (int i = 0; i < 200 && w.sc; i++) {
        if (!w.asked_node) /* the answer would be forgotten */
            world_restart(&w);
        w.asked_node = false;
        if (!world_turn(&w) && w.consumer)
            pod_finishes(&w, &w.consumer);
        else if (!w.consumer && w.provider && json_str(w.provider, "metadata.deletionTimestamp"))
            pod_finishes(&w, &w.provider);
        else if (w.reclaim && strcmp(json_str(w.reclaim, "status.phase"), "Pending") == 0)
            pod_ends(&w, w.reclaim, 0);
    }
    cr_assert(!w.sc && !w.sci && !w.consumer && !w.provider, "the end was not reached");
    world_free(&w);
}

/* A start that takes its time: the root is told of when it is there, the start when it has happened. */
Test(plan, slow_start_tells_of_root_and_start_apart)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_str_eq(w.events, "", "nothing is there yet");
    pod_runs(&w, w.provider);
    world_wait(&w, 4 * USEC_PER_SEC);
    cr_assert_str_eq(w.events, "Created ");
    pod_runs(&w, w.consumer);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_str_eq(w.events, "Created Started ");
    world_free(&w);
}

Test(plan, loss_holds_until_reset)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.events[0] = '\0';
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    cr_assert(w.asked_namespace, "a loss was judged without a look at the namespace");
    expect_condition(&w, "RootfsIntact", "False", "gone");
    cr_assert_str_eq(phase(&w), "Stopping");
    cr_assert_str_eq(w.events, "RootfsLost ");
    pod_finishes(&w, &w.consumer);
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Failed");
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 1, "started on an empty root");
    cr_assert_eq(w.made[ACT_PROVIDER_CREATE], 1);
    world_restart(&w);
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Failed");

    world_spec(&w, "{'rootfs':{'resetToken':'again'}}");
    world_settle(&w);
    cr_assert_not_null(w.reclaim, "the provider's end was not clean: its node must be asked");
    pod_ends(&w, w.reclaim, 0);
    w.events[0] = '\0';
    world_run(&w);
    expect_condition(&w, "RootfsIntact", "True", "box-provider");
    cr_assert_str_eq(json_str(w.sc, "status.resetToken"), "again");
    cr_assert_str_eq(w.events, "Created ", "a fresh root is told of");
    world_free(&w);
}

Test(plan, loss_with_recreate_is_told_and_made_anew)
{
    struct world w;
    char old[64];

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x'}},'rootfs':{'onLoss':'Recreate'}}");
    world_run(&w);
    strcpy(old, json_str(w.sci, "metadata.uid"));
    pod_ends(&w, w.provider, 137);
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert(strstr(w.events, "RootfsLost"), "%s", w.events);
    if (w.reclaim)
        pod_ends(&w, w.reclaim, 0);
    world_wait(&w, 5 * USEC_PER_SEC);
    cr_assert_not_null(w.sci);
    cr_assert_str_neq(json_str(w.sci, "metadata.uid"), old, "the new root must have a new key");
    world_run(&w);
    world_free(&w);
}

Test(plan, provider_being_deleted_stops_the_workload_first)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    delete_pod(&w, &w.provider);
    world_settle(&w);
    cr_assert_not_null(json_str(w.consumer, "metadata.deletionTimestamp"));
    expect_condition(&w, "RootfsIntact", "False", "being deleted");
    world_free(&w);
}

Test(plan, refusal_is_told_once_and_tried_again_with_back_off)
{
    struct world w;

    world_init(&w, BOX);
    w.refuse = ACT_CONSUMER_CREATE;
    w.refusal = "exceeded quota: pods=0";
    world_wait(&w, 1 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "exceeded quota");
    cr_assert_str_eq(w.events, "Forbidden ");
    w.writes = 0;
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_leq(w.writes, 25, "%d writes in 10 minutes", w.writes);
    cr_assert_geq(w.writes, 8, "%d writes in 10 minutes", w.writes);
    w.refuse = ACT_KINDS;
    world_wait(&w, 76 * USEC_PER_SEC);
    world_run(&w);
    expect_condition(&w, "Ready", "True", "");
    world_free(&w);
}

Test(plan, a_changed_spec_is_tried_at_once)
{
    struct world w;

    world_init(&w, BOX);
    w.refuse = ACT_CONSUMER_CREATE;
    w.refusal = "no";
    world_wait(&w, 300 * USEC_PER_SEC);
    w.refuse = ACT_KINDS;
    world_spec(&w, "{'template':{'spec':{'image':'other:1'}}}");
    world_settle(&w);
    cr_assert_not_null(w.consumer, "waits although the spec changed");
    cr_assert_str_eq(json_str(w.consumer, "spec.containers[0].image"), "other:1");
    cr_assert_str_eq(json_str(w.sci, "spec.images[0]"), "other:1");
    world_free(&w);
}

Test(plan, image_that_cannot_be_pulled_then_another)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    pod_status(&w, w.provider,
            "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'ErrImagePull','message':'not "
            "found'}}}]}");
    world_settle(&w);
    expect_condition(&w, "Ready", "False", "not found");
    w.writes = 0;
    for (int i = 0; i < 20; i++) {
        pod_status(&w, w.provider,
                i % 2 ? "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'ErrImagePull',"
                        "'message':'not found'}}}]}"
                      : "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'ImagePullBackOff'"
                        ","
                        "'message':'Back-off pulling: ErrImagePull: not found'}}}]}");
        world_wait(&w, 60 * USEC_PER_SEC);
    }
    cr_assert_eq(w.writes, 0, "stuck: %d writes", w.writes);
    world_spec(&w, "{'template':{'spec':{'image':'good:1'}}}");
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    pod_finishes(&w, &w.provider);
    world_run(&w);
    cr_assert(!strstr(w.events, "RootfsLost"), "nothing was lost");
    world_free(&w);
}

static void unplaced(struct world *w, struct json *pod)
{
    pod_status(w, pod,
            "{'conditions':[{'type':'PodScheduled','status':'False','reason':'Unschedulable','message':'0/1 "
            "nodes are "
            "available'}]}");
}

Test(plan, unschedulable_consumer_in_the_schedulers_words)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    unplaced(&w, w.consumer);
    world_settle(&w);
    expect_condition(&w, "Scheduled", "False", "0/1 nodes");
    expect_condition(&w, "Ready", "False", "0/1 nodes");
    cr_assert_null(w.provider);
    w.writes = 0;
    world_wait(&w, 3600 * USEC_PER_SEC);
    cr_assert_eq(w.writes, 0);
    world_run(&w);
    expect_condition(&w, "Scheduled", "True", "node-a");
    world_free(&w);
}

Test(plan, rejected_provider_is_made_again)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    world_settle(&w);
    cr_assert_not_null(json_str(w.sci, "status.rootfs.id"));
    pod_status(&w, w.provider, "{'phase':'Failed','reason':'OutOfpods','message':'too many pods'}");
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_eq(w.made[ACT_PROVIDER_CREATE], 2);
    cr_assert(!strstr(w.events, "RootfsLost"), "%s", w.events);
    pod_placed(&w, w.provider, "node-a");
    pod_runs(&w, w.provider);
    pod_runs(&w, w.consumer);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Running");
    world_free(&w);
}

Test(plan, provider_that_vanished_before_it_ran_is_made_again)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    world_settle(&w);
    cr_assert_not_null(json_str(w.sci, "status.rootfs.id"));
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    cr_assert_not_null(w.provider);
    cr_assert_str_eq(json_str(w.sci, "status.rootfs.id"), json_str(w.provider, "metadata.uid"));
    cr_assert(!strstr(w.events, "RootfsLost"), "%s", w.events);
    world_free(&w);
}

Test(plan, deleted_consumer_comes_back)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    delete_pod(&w, &w.consumer);
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 2);
    world_free(&w);
}

Test(plan, a_run_that_ends_is_kept_until_stopped)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x','restartPolicy':'Never'}}}");
    world_run(&w);
    pod_ends(&w, w.consumer, 3);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Failed");
    cr_assert_eq(json_int_or(w.sc, "status.lastRun.exitCode", -1), 3);
    pod_gone(&w, &w.consumer, true);
    world_restart(&w);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_null(w.consumer, "a finished run was started again");
    cr_assert_str_eq(phase(&w), "Failed");
    world_spec(&w, "{'running':false}");
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_spec(&w, "{'running':true}");
    world_wait(&w, 2 * USEC_PER_SEC);
    cr_assert_not_null(w.consumer);
    world_free(&w);
}

Test(plan, evicted_consumer_is_made_again_with_back_off)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x','restartPolicy':'Never'}}}");
    world_run(&w);
    for (int i = 0; i < 5; i++) {
        pod_status(
                &w, w.consumer, "{'phase':'Failed','reason':'Evicted','message':'the node was low on disk'}");
        world_settle(&w);
        cr_assert_null(w.consumer, "made again without any back-off");
        world_wait(&w, (usec_t)(3 << i) * USEC_PER_SEC);
        cr_assert_not_null(w.consumer, "not made again in round %d", i);
        pod_placed(&w, w.consumer, "node-a");
    }
    world_free(&w);
}

Test(plan, consumer_that_waits_out_a_back_off_is_replaced_once)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    world_wait(&w, 120 * USEC_PER_SEC);
    pod_runs(&w, w.provider);
    world_wait(&w, 4 * USEC_PER_SEC);
    cr_assert_null(json_str(w.consumer, "metadata.deletionTimestamp"), "replaced too early");
    world_wait(&w, 2 * USEC_PER_SEC);
    cr_assert_not_null(json_str(w.consumer, "metadata.deletionTimestamp"));
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_eq(w.made[ACT_CONSUMER_DELETE], 1);
    world_free(&w);
}

Test(plan, consumer_whose_hook_may_be_running_is_not_replaced)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'debian:12','lifecycle':"
                   "{'postStart':{'sleep':{'seconds':20}}}}}}");
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    world_wait(&w, 120 * USEC_PER_SEC);
    pod_runs(&w, w.provider);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_null(json_str(w.consumer, "metadata.deletionTimestamp"), "its process may run");
    world_free(&w);
}

Test(plan, foreign_pods_are_told_and_left_alone)
{
    struct world w;

    world_init(&w, BOX);
    w.consumer =
            lit("{'metadata':{'name':'box','namespace':'ns','uid':'other','ownerReferences':[{'kind':'Job',"
                "'name':'j','uid':'j','controller':true}]},'spec':{}}");
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "Job j");
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE] + w.made[ACT_CONSUMER_DELETE], 0);
    w.consumer = json_free(w.consumer);
    world_run(&w);
    world_free(&w);
}

Test(plan, changed_template_asks_for_a_restart)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.writes = 0;
    world_spec(&w, "{'template':{'spec':{'command':['sleep','2']}}}");
    world_settle(&w);
    expect_condition(&w, "RestartRequired", "True", "next start");
    cr_assert_eq(w.writes, 1);
    world_spec(&w, "{'template':{'spec':{'command':['sleep','1']}}}");
    world_wait(&w, 10 * USEC_PER_SEC);
    expect_condition(&w, "RestartRequired", "False", "");
    world_spec(&w, "{'template':{'spec':{'image':'another:1'}}}");
    world_spec(&w, "{'running':false}");
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    pod_runs(&w, w.consumer);
    world_settle(&w);
    expect_condition(&w, "Honored", "False", "main (debian:12)");
    world_free(&w);
}

Test(plan, refused_template)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x','hostUsers':false}}}");
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "hostUsers");
    cr_assert_null(w.sci);
    cr_assert_leq(w.writes, 2);
    world_free(&w);
}

Test(plan, crash_loop_makes_no_stream_of_writes)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.writes = 0;
    for (int i = 0; i < 100; i++) {
        pod_status(&w, w.consumer,
                i % 2 ? "{'containerStatuses':[{'name':'main','state':{'running':{}}}]}"
                      : "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'CrashLoopBackOff'"
                        "}}}]}");
        world_wait(&w, 30 * USEC_PER_SEC);
    }
    cr_assert_leq(w.writes, 25, "%d writes in 50 minutes", w.writes);
    world_free(&w);
}
