/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits of the template, played on a table (world.h): while it runs, while it starts, while it is stopped.
 */
#include "test/unit/world.h"

#define BOX "{'running':true,'template':{'spec':{'image':'debian:12','command':['sleep','1']}}}"
#define PAIR                                                                                                 \
    "{'running':true,'template':{'spec':{'containers':[{'name':'a','image':'debian:12'},{'name':'b','image'" \
    ":"                                                                                                      \
    "'debian:12'}]}}}"

static void expect_condition(const struct world *w, const char *type, const char *status, const char *words)
{
    cr_assert_str_eq(condition_text(w->sc, type, "status"), status, "%s is %s (%s)", type,
            condition_text(w->sc, type, "status"), condition_text(w->sc, type, "message"));
    cr_assert(strstr(condition_text(w->sc, type, "message"), words), "%s: %s", type,
            condition_text(w->sc, type, "message"));
}

static void stop(struct world *w)
{
    world_spec(w, "{'running':false}");
    world_settle(w);
    if (w->consumer)
        pod_finishes(w, &w->consumer);
    world_settle(w);
    cr_assert_str_eq(phase(w), "Stopped");
}

static void start(struct world *w)
{
    world_spec(w, "{'running':true}");
    world_settle(w);
    cr_assert_not_null(w->consumer, "%s", condition_text(w->sc, "Ready", "message"));
    pod_placed(w, w->consumer, "node-a");
    pod_runs(w, w->consumer);
    world_settle(w);
    cr_assert_str_eq(phase(w), "Running");
}

static int count_events(const struct world *w, const char *reason)
{
    int n = 0;

    for (const char *p = w->events; (p = strstr(p, reason)); p += strlen(reason))
        n++;
    return n;
}

Test(plan_edit, running_pod_stays_until_the_next_start)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    world_spec(&w, "{'template':{'spec':{'command':['sleep','2']}}}");
    world_wait(&w, 600 * USEC_PER_SEC);
    expect_condition(&w, "RestartRequired", "True", "next start");
    cr_assert_eq(w.made[ACT_CONSUMER_DELETE], 0);
    stop(&w);
    expect_condition(&w, "RestartRequired", "False", "");
    start(&w);
    cr_assert(strstr(json_str(w.consumer, "spec.containers[0].command[3]"), "sleep"));
    cr_assert_str_eq(json_str(w.consumer, "spec.containers[0].command[4]"), "2");
    expect_condition(&w, "RestartRequired", "False", "");
    world_free(&w);
}

Test(plan_edit, image_stays_and_that_is_said_until_the_edit_is_taken_back)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    expect_condition(&w, "Honored", "True", "");
    world_spec(&w, "{'template':{'spec':{'image':'debian:13'}}}");
    world_settle(&w);
    expect_condition(&w, "RestartRequired", "True", "");
    expect_condition(&w, "Honored", "False", "main (debian:12)");
    expect_condition(&w, "Honored", "False", "resetToken");
    cr_assert_str_eq(condition_text(w.sc, "Honored", "reason"), "ImageKept");
    cr_assert_eq(count_events(&w, "ImageKept"), 1, "%s", w.events);
    stop(&w);
    expect_condition(&w, "Honored", "False", "main (debian:12)");
    start(&w);
    cr_assert(strstr(json_str(w.consumer, "spec.containers[0].image"), "@sha256:abc"),
            "not the provider's image");
    expect_condition(&w, "Honored", "False", "main (debian:12)");
    expect_condition(&w, "RestartRequired", "False", "");
    stop(&w);
    world_spec(&w, "{'template':{'spec':{'image':'debian:12'}}}");
    world_wait(&w, 10 * USEC_PER_SEC);
    expect_condition(&w, "Honored", "Unknown", "");
    start(&w);
    expect_condition(&w, "Honored", "True", "");
    cr_assert_eq(count_events(&w, "ImageKept"), 1, "%s", w.events);
    world_free(&w);
}

Test(plan_edit, reset_gives_a_root_of_the_new_image)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    world_spec(&w, "{'rootfs':{'resetToken':'new'},'template':{'spec':{'image':'debian:13'}}}");
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    world_run(&w);
    cr_assert_str_eq(json_str(w.provider, "spec.containers[0].image"), "debian:13");
    expect_condition(&w, "Honored", "True", "");
    world_free(&w);
}

/* Each: the new list of containers, and a word of the answer; NULL: it starts. */
Test(plan_edit, containers_added_removed_renamed_reordered)
{
    static const struct {
        const char *list;
        const char *refusal;
    } edits[] = {
            {"[{'name':'a','image':'debian:12'},{'name':'b','image':'debian:12'},{'name':'c','image':'debian:"
             "12'}]",
                    "containers a, b, c"},
            {"[{'name':'a','image':'debian:12'}]", "containers a, and"},
            {"[{'name':'a','image':'debian:12'},{'name':'c','image':'debian:12'}]", "containers a, c"},
            {"[{'name':'b','image':'debian:12'},{'name':'a','image':'debian:12'}]", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
        struct world w;
        char patch[512];

        world_init(&w, PAIR);
        world_run(&w);
        snprintf(patch, sizeof(patch), "{'template':{'spec':{'containers':%s}}}", edits[i].list);
        world_spec(&w, patch);
        world_settle(&w);
        expect_condition(&w, "RestartRequired", "True", "");
        if (edits[i].refusal)
            expect_condition(&w, "Honored", "False", edits[i].refusal);
        stop(&w);
        if (!edits[i].refusal) {
            start(&w);
            expect_condition(&w, "Honored", "True", "");
            world_free(&w);
            continue;
        }
        world_spec(&w, "{'running':true}");
        world_wait(&w, 10 * USEC_PER_SEC);
        cr_assert_null(w.consumer, "started with other containers than there are roots");
        expect_condition(&w, "Ready", "False", edits[i].refusal);
        expect_condition(&w, "Ready", "False", "kept for a, b");
        expect_condition(&w, "Ready", "False", "resetToken");
        cr_assert(!w.provider || !json_str(w.provider, "metadata.deletionTimestamp"), "the roots must stay");
        world_spec(&w, PAIR);
        start(&w);
        expect_condition(&w, "Honored", "True", "");
        world_free(&w);
    }
}

Test(plan_edit, init_containers_are_free)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    world_spec(&w, "{'template':{'spec':{'initContainers':[{'name':'i','image':'x'}]}}}");
    stop(&w);
    start(&w);
    cr_assert_str_eq(json_str(w.consumer, "spec.initContainers[0].name"), "i");
    expect_condition(&w, "Honored", "True", "");
    world_free(&w);
}

/* The consumer of a second start waits for room; what the edit changes may be the very cause. */
Test(plan_edit, pod_that_has_not_run_is_made_again_at_once)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    pod_status(&w, w.consumer,
            "{'conditions':[{'type':'PodScheduled','status':'False','reason':'Unschedulable',"
            "'message':'0/1 nodes are available'}]}");
    world_settle(&w);
    expect_condition(&w, "Scheduled", "False", "node-a only");
    world_spec(&w, "{'template':{'spec':{'command':['sleep','3']}}}");
    world_settle(&w);
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 3);
    cr_assert_str_eq(json_str(w.consumer, "spec.containers[0].command[4]"), "3");
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);

    /* placed, but no container has run: the same; with an init container that ran, or containers that
     * changed, not */
    world_spec(&w, "{'template':{'spec':{'command':['sleep','4']}}}");
    world_settle(&w);
    cr_assert_not_null(json_str(w.consumer, "metadata.deletionTimestamp"));
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_str_eq(json_str(w.consumer, "spec.containers[0].command[4]"), "4");
    pod_placed(&w, w.consumer, "node-a");
    pod_status(&w, w.consumer, "{'initContainerStatuses':[{'name':'i','state':{'running':{}}}]}");
    world_settle(&w);
    world_spec(&w, "{'template':{'spec':{'command':['sleep','5']}}}");
    world_wait(&w, 5 * USEC_PER_SEC);
    cr_assert_null(
            json_str(w.consumer, "metadata.deletionTimestamp"), "an init container's work was cut short");
    expect_condition(&w, "RestartRequired", "True", "");
    world_free(&w);
}

Test(plan_edit, pod_that_has_not_run_stays_when_the_edit_cannot_be_applied)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    stop(&w);
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    world_spec(&w, "{'template':{'spec':{'name':'other'}}}");
    world_wait(&w, 5 * USEC_PER_SEC);
    cr_assert_not_null(w.consumer);
    cr_assert_eq(w.made[ACT_CONSUMER_DELETE], 1, "deleted for an edit that cannot be applied");
    expect_condition(&w, "Honored", "False", "containers other");
    world_free(&w);
}
