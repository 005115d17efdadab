/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistence Node, played on a table (world.h): the root outlives its provider, a provider is made again, what is
 * wrong with it is told, and only a root that is really gone is a loss.
 */
#include "test/unit/world_node.h"

Test(plan_persistence, the_agent_is_told)
{
    struct world w;

    world_init(&w, SPEC(",'sizeLimit':'1.5Gi'"));
    world_settle(&w);
    cr_assert_str_eq(json_str(w.sci, "spec.persistence"), "Node");
    cr_assert_str_eq(json_str(w.sci, "spec.sizeLimit"), "1610612736");
    pod_placed(&w, w.consumer, "node-a");
    world_turn(&w);
    cr_assert_str_eq(json_str_or(w.sci, "status.nodeName", ""), "node-a",
            "the node is written before anything is there");
    cr_assert_null(w.provider);
    world_settle(&w);
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_PERSISTENCE), "Node");
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_ROOT), "new");
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_SIZE_LIMIT), "1610612736");
    cr_assert_str_eq(attribute(w.consumer, SC_ATTR_PERSISTENCE), "Node");
    cr_assert_str_eq(attribute(w.consumer, SC_ATTR_ROOT), "");
    provider_runs(&w);
    expect_condition(&w, "RootfsIntact", "", "");
    consumer_runs(&w);
    expect_condition(&w, "RootfsIntact", "True", "Kept");
    cr_assert_str_eq(json_str(w.sci, "status.images[0]"), "docker.io/library/x@sha256:abc");
    cr_assert_str_eq(w.events, "Created ");

    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_ROOT), "kept", "a root must be there");
    cr_assert_str_eq(json_str(w.provider, "spec.containers[0].image"), "docker.io/library/x@sha256:abc");
    cr_assert_str_eq(json_str(w.provider, "spec.containers[0].imagePullPolicy"), "IfNotPresent");
    delete_object(&w, &w.sc);
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_not_null(w.reclaim, "what lies on the node goes with a reclaim pod only");
    cr_assert_str_eq(attribute(w.reclaim, SC_ATTR_PERSISTENCE), "Node");
    cr_assert_str_eq(json_str(w.reclaim, "spec.nodeName"), "node-a");
    cr_assert_not_null(w.sci);
    pod_ends(&w, w.reclaim, 0);
    world_settle(&w);
    cr_assert(!w.sc && !w.sci && !w.provider && !w.consumer && !w.reclaim, "something is left");
    world_free(&w);
}

Test(plan_persistence, clean_end_is_reclaimed_all_the_same)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    delete_object(&w, &w.sc);
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    world_settle(&w);
    cr_assert_not_null(w.reclaim, "the root is still on its node");
    cr_assert_not_null(w.sci);
    pod_ends(&w, w.reclaim, 0);
    world_settle(&w);
    cr_assert(!w.sc && !w.sci && !w.reclaim);
    world_free(&w);
}

Test(plan_persistence, persistence_provider_says_nothing_new)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x'}}}");
    world_run(&w);
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_PERSISTENCE), "");
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_ROOT), "");
    cr_assert_str_eq(attribute(w.consumer, SC_ATTR_PERSISTENCE), "");
    cr_assert_null(json_at(w.sci, "status.images"));
    world_free(&w);
}

/* Every way in which a provider goes, with its consumer running: nothing is lost, and it never notices. */
Test(plan_persistence, provider_is_made_again_and_the_consumer_left_alone)
{
    struct world w;
    char root[64];

    world_init(&w, BOX);
    world_run(&w);
    strcpy(root, json_str(w.sc, "status.rootfs.id"));
    w.events[0] = '\0';
    for (int way = 0; way < 6; way++) {
        char old[64];

        strcpy(old, json_str(w.provider, "metadata.uid"));
        if (way == 0) {
            pod_ends(&w, w.provider, 137);
        } else if (way == 1) {
            pod_status(&w, w.provider,
                    "{'phase':'Failed','reason':'Evicted','message':'the node was low on disk'}");
        } else if (way == 2) {
            pod_gone(&w, &w.provider, true);
        } else if (way == 3) {
            pod_gone(&w, &w.provider, false);
            world_restart(&w);
        } else {
            delete_pod(&w, &w.provider);
            world_settle(&w);
            cr_assert_null(json_str(w.consumer, "metadata.deletionTimestamp"));
            if (way == 5)
                world_restart(&w);
            pod_finishes(&w, &w.provider);
        }
        world_wait(&w, 2 * USEC_PER_SEC);
        cr_assert_not_null(w.provider, "way %d: no other provider", way);
        cr_assert_str_neq(json_str(w.provider, "metadata.uid"), old, "way %d", way);
        provider_runs(&w);
        cr_assert_eq(w.made[ACT_CONSUMER_DELETE] + w.made[ACT_CONSUMER_CREATE], 1,
                "way %d: the consumer noticed", way);
        cr_assert_str_eq(phase(&w), "Running");
        expect_condition(&w, "RootfsIntact", "True", "Kept");
        expect_condition(&w, "Ready", "True", "Running");
        cr_assert_str_eq(json_str(w.sc, "status.rootfs.id"), root, "the root is the same one");
        world_wait(&w, 3600 * USEC_PER_SEC);
    }
    cr_assert_str_eq(w.events, "", "nothing a person would want to see");
    cr_assert_eq(w.made[ACT_SCI_DELETE], 0);
    world_free(&w);
}

Test(plan_persistence, provider_is_made_again_while_stopped_and_for_a_start)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    cr_assert_str_eq(phase(&w), "Stopped");
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    cr_assert_not_null(w.provider, "nothing pins the image of a root that is kept");
    cr_assert_eq(json_len(json_at(w.provider, "spec.tolerations")), 1);
    cr_assert_str_eq(phase(&w), "Stopped");
    pod_gone(&w, &w.provider, true);
    world_spec(&w, "{'running':true}");
    world_wait(&w, 3 * USEC_PER_SEC);
    cr_assert_not_null(w.provider);
    cr_assert_not_null(w.consumer, "it is placed while the provider comes");
    cr_assert_str_eq(json_str(w.consumer, "spec.containers[0].image"), "docker.io/library/x@sha256:abc");
    provider_runs(&w);
    consumer_runs(&w);
    cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
    world_free(&w);
}

Test(plan_persistence, provider_that_never_stays_is_made_with_a_growing_distance)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    pod_ends(&w, w.provider, 137);
    for (int i = 0; i < 3600; i++) {
        if (w.provider && strcmp(json_str(w.provider, "status.phase"), "Pending") == 0) {
            pod_placed(&w, w.provider, "node-a");
            pod_runs(&w, w.provider);
            pod_ends(&w, w.provider, 137);
        }
        world_wait(&w, USEC_PER_SEC);
    }
    cr_assert_leq(w.made[ACT_PROVIDER_CREATE], 25, "%d in an hour", w.made[ACT_PROVIDER_CREATE]);
    cr_assert_geq(w.made[ACT_PROVIDER_CREATE], 15, "%d in an hour", w.made[ACT_PROVIDER_CREATE]);
    cr_assert_str_eq(phase(&w), "Running");
    world_free(&w);
}

static void check_missing(const char *spec, bool recreate)
{
    struct world w;
    char old[64];

    world_init(&w, spec);
    world_run(&w);
    strcpy(old, json_str(w.sci, "metadata.uid"));
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    w.events[0] = '\0';
    provider_refused(&w, "RootMissing: instances/u/main has no record");
    cr_assert(w.asked_namespace, "a loss was judged without a look at the namespace");
    cr_assert_str_eq(phase(&w), "Stopping");
    expect_condition(&w, "RootfsIntact", "False", "RootMissing");
    cr_assert(strstr(condition_text(w.sc, "RootfsIntact", "message"), "no record"));
    cr_assert_str_eq(w.events, "RootfsLost ");
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    if (!recreate) {
        world_restart(&w);
        world_wait(&w, 3600 * USEC_PER_SEC);
        cr_assert_str_eq(phase(&w), "Failed");
        cr_assert_eq(w.made[ACT_PROVIDER_CREATE], 2, "started on an empty root");
        world_spec(&w, "{'rootfs':{'resetToken':'again'}}");
        world_settle(&w);
    }
    cr_assert_not_null(w.reclaim, "what is left on the node goes first");
    pod_ends(&w, w.reclaim, 0);
    world_wait(&w, 5 * USEC_PER_SEC);
    cr_assert_str_neq(json_str(w.sci, "metadata.uid"), old);
    world_run(&w);
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_ROOT), "new");
    expect_condition(&w, "RootfsIntact", "True", "Kept");
    world_free(&w);
}

Test(plan_persistence, root_missing_is_a_loss)
{
    check_missing(BOX, false);
    check_missing(SPEC(",'onLoss':'Recreate'"), true);
}

/* While nothing runs, a refusal is the state; it is tried again, and what it said stands until it is disproved. */
Test(plan_persistence, refusal_is_told_and_tried_again)
{
    static const char *const words[] = {"ImageChanged: main was made from sha256:a and would run on sha256:b",
            "RootUnusable: no layers", "SomethingNew: of a later agent"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        struct world w;
        char reason[32] = "";

        memcpy(reason, words[i], strcspn(words[i], ":"));
        world_init(&w, BOX);
        world_run(&w);
        stop(&w);
        pod_gone(&w, &w.provider, true);
        world_spec(&w, "{'running':true}");
        world_settle(&w);
        pod_placed(&w, w.provider, "node-a");
        pod_runs(&w, w.provider);
        w.events[0] = '\0';
        provider_refused(&w, words[i]);
        expect_condition(&w, "Ready", "False", reason);
        expect_condition(&w, "RootfsIntact", "True", reason);
        cr_assert_str_eq(phase(&w), "Failed");
        cr_assert_eq(strcmp(strtok(w.events, " "), reason), 0, "%s", w.events);
        cr_assert_null(strtok(NULL, " "), "told twice");
        w.events[0] = '\0';
        w.writes = 0;
        for (int round = 0; round < 6; round++) {
            if (round % 2)
                world_restart(&w);
            world_wait(&w, (usec_t)(3 << round) * USEC_PER_SEC);
            cr_assert_str_eq(
                    json_str(w.provider, "status.phase"), "Pending", "round %d: not tried again", round);
            cr_assert_str_eq(phase(&w), "Failed", "round %d: forgotten while another starts", round);
            pod_placed(&w, w.provider, "node-a");
            pod_runs(&w, w.provider);
            world_wait(&w, 2 * USEC_PER_SEC);
            cr_assert_str_eq(phase(&w), "Failed", "round %d: believed too early", round);
            provider_refused(&w, words[i]);
        }
        cr_assert_str_eq(w.events, "");
        cr_assert_leq(
                w.writes, 6 * 8, "%d writes", w.writes); /* three for the pods, their names in two statuses */
        world_wait(&w, 400 * USEC_PER_SEC);
        provider_runs(&w);
        world_wait(&w, 6 * USEC_PER_SEC);
        cr_assert_not_null(w.consumer);
        consumer_runs(&w);
        expect_condition(&w, "RootfsIntact", "True", "Kept");
        cr_assert(!strstr(w.events, "RootfsLost") && w.made[ACT_SCI_CREATE] == 1, "%s", w.events);
        world_free(&w);
    }
}

Test(plan_persistence, refusal_beside_a_running_consumer_is_told_for_the_next_start)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    w.events[0] = '\0';
    provider_refused(&w, "ImageChanged: another");
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Running");
    expect_condition(&w, "Ready", "True", "Running");
    expect_condition(&w, "RootfsIntact", "True", "ImageChanged");
    cr_assert_str_eq(w.events, "ImageChanged ");
    stop(&w);
    cr_assert_str_eq(phase(&w), "Failed");
    expect_condition(&w, "Ready", "False", "ImageChanged");
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    cr_assert_null(w.consumer, "placed although its root cannot be had");
    world_wait(&w, 60 * USEC_PER_SEC);
    provider_runs(&w);
    world_wait(&w, 6 * USEC_PER_SEC);
    cr_assert_not_null(w.consumer, "Failed for good");
    consumer_runs(&w);
    world_free(&w);
}

Test(plan_persistence, refusal_at_the_first_start_is_no_loss)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    pod_runs(&w, w.provider);
    world_settle(&w);
    provider_refused(&w, "RootUnusable: the file system takes no upper directory");
    expect_condition(&w, "Ready", "False", "RootUnusable");
    expect_condition(&w, "RootfsIntact", "", "");
    cr_assert_str_eq(phase(&w), "Failed");
    world_wait(&w, 4 * USEC_PER_SEC);
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_ROOT), "new", "there never was a root");
    provider_runs(&w);
    consumer_runs(&w);
    world_free(&w);
}

Test(plan_persistence, image_that_is_gone)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    pod_gone(&w, &w.provider, true);
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    w.writes = 0;
    for (int i = 0; i < 20; i++) {
        pod_status(&w, w.provider,
                i % 2 ? "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'ErrImagePull','"
                        "message':'no'}}}]}"
                      : "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'ImagePullBackOff'"
                        ",'message':'Back-"
                        "off 10s'}}}]}");
        world_wait(&w, 60 * USEC_PER_SEC);
    }
    expect_condition(&w, "Ready", "False", "ImageUnavailable");
    expect_condition(&w, "RootfsIntact", "True", "ImageUnavailable");
    cr_assert(strstr(condition_text(w.sc, "Ready", "message"), "x@sha256:abc"));
    cr_assert_leq(w.writes, 4, "%d writes", w.writes);
    pod_runs(&w, w.provider);
    world_settle(&w);
    consumer_runs(&w);
    expect_condition(&w, "RootfsIntact", "True", "Kept");
    world_free(&w);
}

Test(plan_persistence, edits_of_persistence_are_kept_and_told)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.events[0] = '\0';
    world_spec(&w, "{'rootfs':{'persistence':'Provider'}}");
    world_settle(&w);
    expect_condition(&w, "Honored", "False", "PersistenceKept");
    expect_condition(&w, "RootfsIntact", "True", "Kept");
    expect_condition(&w, "RestartRequired", "False", "UpToDate");
    cr_assert_str_eq(w.events, "PersistenceKept ");
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_PERSISTENCE), "Node");
    provider_runs(&w);
    world_spec(&w, "{'rootfs':{'persistence':'Node','sizeLimit':'2Gi'}}");
    world_wait(&w, 600 * USEC_PER_SEC);
    expect_condition(&w, "Honored", "False", "PersistenceKept");
    cr_assert(strstr(condition_text(w.sc, "Honored", "message"), "sizeLimit stays unset"));
    world_spec(&w, "{'rootfs':{'sizeLimit':null}}");
    world_wait(&w, 600 * USEC_PER_SEC);
    expect_condition(&w, "Honored", "True", "Honored");
    world_spec(&w, "{'rootfs':{'persistence':'Provider','resetToken':'x'}}");
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    world_settle(&w);
    pod_ends(&w, w.reclaim, 0);
    world_run(&w);
    cr_assert_str_eq(json_str(w.sci, "spec.persistence"), "Provider");
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_PERSISTENCE), "");
    world_free(&w);
}

Test(plan_persistence, run_that_ended_stays_ended)
{
    struct world w;

    world_init(&w, "{'running':true,'template':{'spec':{'image':'x','restartPolicy':'Never'}},'rootfs':{'"
                   "persistence':'Node'}}");
    world_run(&w);
    pod_ends(&w, w.consumer, 3);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Failed");
    pod_gone(&w, &w.provider, true);
    pod_gone(&w, &w.consumer, true);
    world_restart(&w);
    world_wait(&w, 3 * USEC_PER_SEC);
    provider_refused(&w, "ImageChanged: another");
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "ContainerFailed");
    cr_assert_null(w.consumer, "a finished run was started again");
    world_free(&w);
}

/* The table of how things can stand when the provider goes and comes, with a controller that is killed before every single
 * write, and again: the same root, the right end. */
Test(plan_persistence, restart_before_every_write)
{
    struct world w;
    int rounds = 0;

    world_init(&w, BOX);
    for (int i = 0; i < 400 && rounds < 5; i++) {
        if (!w.asked_node && !w.asked_namespace) /* the answer would be forgotten */
            world_restart(&w);
        w.asked_node = w.asked_namespace = false;
        if (world_turn(&w))
            continue;
        if (w.requeue_at != USEC_INFINITY && w.requeue_at > w.now)
            w.now = w.requeue_at;
        if (w.consumer && !json_str(w.consumer, "spec.nodeName"))
            pod_placed(&w, w.consumer, "node-a");
        else if (w.provider && !json_str(w.provider, "spec.nodeName"))
            pod_placed(&w, w.provider, "node-a");
        else if (w.provider && strcmp(json_str(w.provider, "status.phase"), "Running") != 0)
            pod_runs(&w, w.provider);
        else if (w.consumer && strcmp(json_str(w.consumer, "status.phase"), "Running") != 0)
            pod_runs(&w, w.consumer);
        else if (strcmp(phase(&w), "Running") == 0 && rounds++ % 2)
            pod_gone(&w, &w.provider, false);
        else if (strcmp(phase(&w), "Running") == 0)
            pod_gone(&w, &w.consumer, false);
    }
    cr_assert_eq(rounds, 5, "it came to rest as %s", phase(&w));
    cr_assert_eq(w.made[ACT_SCI_CREATE], 1);
    cr_assert(!strstr(w.events, "RootfsLost"), "%s", w.events);
    delete_object(&w, &w.sc);
    for (int i = 0; i < 200 && w.sc; i++) {
        if (!w.asked_node)
            world_restart(&w);
        w.asked_node = false;
        if (!world_turn(&w) && w.consumer && json_str(w.consumer, "metadata.deletionTimestamp"))
            pod_finishes(&w, &w.consumer);
        else if (!w.consumer && w.provider && json_str(w.provider, "metadata.deletionTimestamp"))
            pod_finishes(&w, &w.provider);
        else if (w.reclaim && strcmp(json_str(w.reclaim, "status.phase"), "Pending") == 0)
            pod_ends(&w, w.reclaim, 0);
    }
    cr_assert(!w.sc && !w.sci && !w.consumer && !w.provider, "the end was not reached");
    cr_assert_eq(w.made[ACT_RECLAIM_CREATE], 1);
    world_free(&w);
}

static void expect_told(const struct world *w, const char *reason, const char *text)
{
    expect_condition(w, "Ready", "False", reason);
    cr_assert_str_eq(condition_text(w->sc, "Ready", "message"), text);
}

/* A start that waits for its provider says what that is doing, and why: not that it has ended when it has not. */
Test(plan_persistence, what_a_start_waits_for_is_true_of_its_provider)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    pod_ends(&w, w.provider, 137);
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_wait(&w, 3 * USEC_PER_SEC);
    cr_assert_not_null(w.provider);
    pod_placed(&w, w.provider, "node-a");
    world_wait(&w, 3 * USEC_PER_SEC);
    expect_told(&w, "ProviderStarting", "pod box-provider is starting on node node-a");
    pod_status(&w, w.provider,
            "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'CreateContainerError',"
            "'message':'no room'}}}]}");
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_told(&w, "CreateContainerError", "pod box-provider, container main: no room");
    pod_status(&w, w.provider, "{'containerStatuses':null}");
    delete_pod(&w, &w.provider);
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_told(
            &w, "ProviderDeleted", "pod box-provider is being deleted, and is made again when it has gone");
    pod_finishes(&w, &w.provider);
    provider_runs(&w);
    w.memory.keep_at = w.now + 3600 * USEC_PER_SEC;
    pod_ends(&w, w.provider, 137);
    json_for_each (status, json_at(w.provider, "status.containerStatuses"))
        json_set_str(json_at(status, "state.terminated"), "reason", "OOMKilled");
    touch(&w, w.provider);
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_told(&w, "ProviderEnded", "pod box-provider has ended and is made again: OOMKilled");
    world_free(&w);
}

/* What the root itself has against a start is told over what its next provider waits for; a stop over both. */
Test(plan_persistence, what_a_provider_waits_for_hides_nothing)
{
    static const char waits[] = "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':"
                                "'CreateContainerError','message':'no room'}}}]}";
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    pod_ends(&w, w.provider, 137);
    world_wait(&w, 3 * USEC_PER_SEC);
    pod_placed(&w, w.provider, "node-a");
    pod_status(&w, w.provider, waits);
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_told(&w, "Stopped", "spec.running is false; the root filesystem is kept");
    provider_refused(&w, "RootUnusable: its record is torn");
    world_wait(&w, 60 * USEC_PER_SEC);
    pod_placed(&w, w.provider, "node-a");
    pod_status(&w, w.provider, waits);
    world_spec(&w, "{'running':true}");
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "RootUnusable");
    world_free(&w);
}
