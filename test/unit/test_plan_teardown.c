/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's decisions at the end of an instance: in which order, and who says that its node is clean. */
#include "test/unit/world.h"

#define BOX "{'running':true,'template':{'spec':{'image':'debian:12','command':['sleep','1']}}}"

/* A write that fails is tried again later. What comes after it in the order of the end must not come before it. */
Test(plan_teardown, the_instance_goes_before_its_stoppablecontainer_when_its_release_fails)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    delete_object(&w, &w.sc);
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    w.refuse = ACT_SCI_RELEASE;
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_not_null(w.sci);
    cr_assert_not_null(w.sc, "gone while its instance is there");
    w.refuse = ACT_KINDS;
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert(!w.sci && !w.sc, "something is left");
    world_free(&w);
}

Test(plan_teardown, forced_deletion_is_not_stopped_before_the_grace_period_and_is_reclaimed)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    world_spec(&w, "{'running':false}");
    pod_gone(&w, &w.consumer, true);
    world_wait(&w, 20 * USEC_PER_SEC);
    cr_assert_str_neq(phase(&w), "Stopped");
    world_wait(&w, 20 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    world_restart(&w);
    delete_object(&w, &w.sc);
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    world_settle(&w);
    cr_assert_not_null(w.reclaim, "what went unseen must be asked for, also after a restart");
    cr_assert_str_eq(json_str(w.reclaim, "spec.nodeName"), "node-a");
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_not_null(w.sci);
    pod_ends(&w, w.reclaim, 0);
    world_settle(&w);
    cr_assert(!w.reclaim && !w.sci && !w.sc);
    world_free(&w);
}

Test(plan_teardown, node_that_is_gone_needs_no_reclaim)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.node = NODE_GONE;
    delete_object(&w, &w.sc);
    world_settle(&w);
    pod_gone(&w, &w.consumer, true);
    world_settle(&w);
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    cr_assert(!w.sci && !w.sc);
    cr_assert_eq(w.made[ACT_RECLAIM_CREATE], 0);
    world_free(&w);
}

/* The pods end as they are deleted, and the node is clean. */
static void play_end(struct world *w)
{
    world_settle(w);
    if (w->consumer)
        pod_finishes(w, &w->consumer);
    world_settle(w);
    if (w->provider && json_str(w->provider, "metadata.deletionTimestamp"))
        pod_finishes(w, &w->provider);
    world_settle(w);
    if (w->reclaim)
        pod_ends(w, w->reclaim, 0);
    world_settle(w);
}

static int times(const char *events, const char *reason)
{
    int n = 0;

    for (const char *at = events; (at = strstr(at, reason)); at += strlen(reason))
        n++;
    return n;
}

/* Who deletes the instance throws the root away. That is told. */
Test(plan_teardown, an_instance_deleted_by_hand_is_told)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.events[0] = '\0';
    delete_object(&w, &w.sci);
    json_append_str(json_at(w.sci, "metadata.finalizers"), "example.com/mine"); /* it stays for a while */
    play_end(&w);
    touch(&w, w.sci);
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_eq(times(w.events, "InstanceDeleted "), 1, "told: %s", w.events);
    json_remove(json_field(w.sci, "metadata"), "finalizers");
    release_object(&w.sci);
    world_settle(&w);
    cr_assert_not_null(w.sc);
    cr_assert_not_null(w.sci, "a fresh one is made");
    cr_assert_eq(times(w.events, "InstanceDeleted "), 1, "told: %s", w.events);
    world_free(&w);
}

/* The store hears of the release later than we do. */
Test(plan_teardown, an_instance_that_is_still_seen_is_told_of_once)
{
    struct json *seen;
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    delete_object(&w, &w.sci);
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    seen = json_copy(w.sci);
    w.events[0] = '\0';
    pod_finishes(&w, &w.provider);
    world_turn(&w);
    cr_assert_null(w.sci);
    w.sci = seen;
    strcpy(w.memory.write_sent[ACT_SCI_RELEASE], json_str(seen, "metadata.uid"));
    world_settle(&w);
    cr_assert_eq(w.made[ACT_SCI_RELEASE], 1);
    cr_assert_eq(times(w.events, "InstanceDeleted "), 1, "told: %s", w.events);
    world_free(&w);
}

static void by_reset(struct world *w)
{
    world_spec(w, "{'rootfs':{'resetToken':'again'}}");
}

static void by_deletion(struct world *w)
{
    delete_object(w, &w->sc);
}

static void by_deletion_of_both(struct world *w)
{
    delete_object(w, &w->sci);
    delete_object(w, &w->sc);
}

static void by_namespace(struct world *w)
{
    w->namespace = NAMESPACE_TERMINATING;
    w->memory.namespace = NAMESPACE_TERMINATING;
    w->memory.namespace_at = w->now;
    delete_object(w, &w->sci);
}

static void by_loss(struct world *w)
{
    pod_ends(w, w->provider, 137);
    world_settle(w);
    pod_finishes(w, &w->consumer);
    world_settle(w);
    delete_object(w, &w->sci);
}

/* Where the root goes for what was told or asked for in another way, nothing is told of a hand. */
Test(plan_teardown, an_instance_that_was_not_deleted_by_hand_is_not_told)
{
    static const struct {
        void (*end)(struct world *w);
        const char *told;
    } cases[] = {{by_reset, "RootfsReset "}, {by_deletion, ""}, {by_deletion_of_both, ""}, {by_namespace, ""},
            {by_loss, "RootfsLost "}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;

        world_init(&w, BOX);
        world_run(&w);
        w.events[0] = '\0';
        cases[i].end(&w);
        play_end(&w);
        cr_assert_geq(w.made[ACT_SCI_RELEASE], 1, "case %zu: it is still there", i);
        cr_assert(strstr(w.events, cases[i].told), "case %zu: %s", i, w.events);
        cr_assert_eq(times(w.events, "InstanceDeleted "), 0, "case %zu: %s", i, w.events);
        world_free(&w);
    }
}

/* Nothing has run on it yet: nothing is lost. */
Test(plan_teardown, an_unused_instance_deleted_by_hand_is_not_told)
{
    struct world w;

    world_init(&w, BOX);
    world_settle(&w);
    cr_assert_not_null(w.sci);
    delete_object(&w, &w.sci);
    world_settle(&w);
    cr_assert_geq(w.made[ACT_SCI_RELEASE], 1);
    cr_assert_eq(times(w.events, "InstanceDeleted "), 0, "%s", w.events);
    world_free(&w);
}

/* The agent could not do it yet: its pod is asked for again, as often as that takes, and each goes. */
Test(plan_teardown, a_reclaim_pod_that_failed_goes_as_the_one_that_did_not)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    delete_object(&w, &w.sc);
    world_settle(&w);
    pod_gone(&w, &w.consumer, true);
    world_settle(&w);
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    for (int i = 0; i < 3; i++) {
        cr_assert_not_null(w.reclaim, "try %d", i);
        pod_placed(&w, w.reclaim, "node-a");
        pod_ends(&w, w.reclaim, 1);
        world_settle(&w);
        cr_assert_eq(w.made[ACT_RECLAIM_CREATE], i + 1, "try %d: another at once", i);
        world_wait(&w, 600 * USEC_PER_SEC);
        cr_assert_eq(w.made[ACT_RECLAIM_CREATE], i + 2, "try %d: another is not made", i);
        cr_assert_eq(w.made[ACT_RECLAIM_DELETE], i + 1, "try %d: it does not go", i);
    }
    pod_ends(&w, w.reclaim, 0);
    world_settle(&w);
    cr_assert(!w.reclaim && !w.sci && !w.sc, "something is left");
    world_free(&w);
}

/* Deleted, its pods gone unseen, and the node is asked by a pod that has just been given to it. */
static void ask_node(struct world *w)
{
    world_init(w, BOX);
    world_run(w);
    delete_object(w, &w->sc);
    world_settle(w);
    pod_gone(w, &w->consumer, true);
    world_settle(w);
    pod_gone(w, &w->provider, true);
    world_settle(w);
    cr_assert_not_null(w->reclaim);
    pod_placed(w, w->reclaim, "node-a");
}

static void reclaim_waits(struct world *w, const char *reason)
{
    struct json *status = lit("{'name':'reclaim','state':{'waiting':{}}}");

    json_set_str(json_at(status, "state.waiting"), "reason", reason);
    json_set(json_field(w->reclaim, "status"), "containerStatuses", json_new_array());
    json_append(json_at(w->reclaim, "status.containerStatuses"), status);
    pod_status(w, w->reclaim, "{'phase':'Pending'}");
    world_settle(w);
}

/* The kubelet looks for the image after the agent has answered, which is all that is wanted of the pod. */
Test(plan_teardown, a_reclaim_pod_whose_image_cannot_be_had_has_its_answer)
{
    static const char *const reasons[] = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull",
            "InvalidImageName", "CreateContainerConfigError", "RunContainerError"};

    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        struct world w;

        ask_node(&w);
        reclaim_waits(&w, reasons[i]);
        cr_assert(!w.sci && json_str(w.reclaim, "metadata.deletionTimestamp"), "%s holds the deletion up",
                reasons[i]);
        cr_assert_not_null(w.sc, "gone while a pod for it is there");
        pod_gone(&w, &w.reclaim, true);
        world_settle(&w);
        cr_assert_null(w.sc, "%s: it does not go", reasons[i]);
        cr_assert_eq(w.made[ACT_RECLAIM_CREATE], 1);
        world_free(&w);
    }
}

/* What a pod waits for before its volumes are mounted, and what we do not know, is no answer. */
Test(plan_teardown, a_reclaim_pod_that_is_only_beginning_has_no_answer)
{
    static const char *const reasons[] = {"ContainerCreating", "PodInitializing", "", "SomethingNew"};

    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        struct world w;

        ask_node(&w);
        reclaim_waits(&w, reasons[i]);
        world_wait(&w, 600 * USEC_PER_SEC);
        cr_assert(w.sc && w.sci && w.reclaim, "'%s' was taken for an answer", reasons[i]);
        cr_assert_str_eq(condition_text(w.sc, "Ready", "reason"), "WaitingForNode");
        world_free(&w);
    }
}
