/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that fail, or are refused for long, played on a table: what is told meanwhile, and that nothing passes unseen
 * because a status could not be written in time.
 */
#include "test/unit/world_node.h"

#define PROVIDER(rootfs) "{'running':true,'template':{'spec':{'image':'debian:12'}},'rootfs':{" rootfs "}}"

static int count(const struct world *w, const char *event)
{
    int n = 0;

    for (const char *at = w->events; (at = strstr(at, event)); at += strlen(event))
        n++;
    return n;
}

/* The next one of this kind fails, and no other. */
static void fail_once(struct world *w, enum action_kind kind)
{
    int writes = w->writes;

    w->refuse = kind;
    w->refusal = "etcdserver: request timed out";
    for (int i = 0; i < 5 && w->memory.retry[kind].not_before <= w->now; i++)
        world_turn(w);
    cr_assert_gt(w->writes, writes, "no %s was tried", action_name(kind));
    cr_assert_gt(w->memory.retry[kind].not_before, w->now, "no %s was tried", action_name(kind));
    w->refuse = ACT_KINDS;
}

/* The loss is written into the instance, which goes: the StoppableContainer must have been told first. */
Test(plan_unwritten, loss_is_told_before_the_instance_goes)
{
    static const char *const persistence[] = {"", ",'persistence':'Node'"};
    struct world w;
    char spec[256];

    for (size_t i = 0; i < ARRAY_SIZE(persistence); i++) {
        snprintf(spec, sizeof(spec), PROVIDER("'onLoss':'Recreate'%s"), persistence[i]);
        world_init(&w, spec);
        world_run(&w);
        stop(&w);
        w.events[0] = '\0';
        if (i == 0)
            pod_gone(&w, &w.provider, true);
        else
            pod_ends(&w, w.provider, 1);
        json_for_each (status, json_at(w.provider, "status.containerStatuses"))
            json_set_str(json_at(status, "state.terminated"), "message", "RootMissing: it is not there");
        fail_once(&w, ACT_SC_STATUS);
        for (int turn = 0; w.sci && !json_str(w.sci, "metadata.deletionTimestamp") && turn < 200; turn++) {
            w.now += USEC_PER_SEC;
            world_turn(&w);
        }
        cr_assert_eq(count(&w, "RootfsLost"), 1, "it is given up, and the events are: %s", w.events);
        expect_condition(&w, "RootfsIntact", "False", i == 0 ? "ProviderVanished" : "RootMissing");
        cr_assert(!w.sci || json_str(w.sci, "metadata.deletionTimestamp"), "it is not given up");
        world_free(&w);
    }
}

/* Refused for a while, and told so; then it goes on. */
static void refuse(struct world *w, enum action_kind kind)
{
    w->refuse = kind;
    w->refusal = "admission webhook denied the request: not on a Sunday";
    w->events[0] = '\0';
    world_wait(w, 600 * USEC_PER_SEC);
    expect_condition(w, "Ready", "False", "Forbidden");
    cr_assert(strstr(condition_text(w->sc, "Ready", "message"), "not on a Sunday"), "%s",
            condition_text(w->sc, "Ready", "message"));
    cr_assert(strstr(condition_text(w->sc, "Ready", "message"), action_name(kind)), "%s",
            condition_text(w->sc, "Ready", "message"));
    cr_assert_eq(count(w, "Forbidden"), 1, "%s", w->events);
    cr_assert_eq(
            json_int_or(w->sc, "status.observedGeneration", 0), json_int_or(w->sc, "metadata.generation", 0));
    w->refuse = ACT_KINDS;
    world_wait(w, 76 * USEC_PER_SEC);
}

Test(plan_unwritten, refused_end_of_the_consumer)
{
    struct world w;

    world_init(&w, PROVIDER(""));
    world_run(&w);
    world_spec(&w, "{'running':false}");
    refuse(&w, ACT_CONSUMER_DELETE);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Stopped");
    expect_condition(&w, "Ready", "False", "Stopped");
    world_free(&w);
}

Test(plan_unwritten, refused_end_that_is_not_wanted_any_more)
{
    struct world w;

    world_init(&w, PROVIDER(""));
    world_run(&w);
    world_spec(&w, "{'running':false}");
    w.refuse = ACT_CONSUMER_DELETE;
    w.refusal = "no";
    world_wait(&w, 30 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "Forbidden");
    world_spec(&w, "{'running':true}");
    world_wait(&w, 30 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "True", "Running");
    world_free(&w);
}

Test(plan_unwritten, refused_end_of_the_instance)
{
    struct world w;

    world_init(&w, PROVIDER(""));
    world_run(&w);
    world_spec(&w, "{'rootfs':{'resetToken':'again'}}");
    refuse(&w, ACT_SCI_DELETE);
    cr_assert_eq(count(&w, "RootfsReset"), 1, "%s", w.events);
    cr_assert_not_null(json_str(w.sci, "metadata.deletionTimestamp"));
    world_free(&w);
}

/* The watch has not told of the deletion yet. */
Test(plan_unwritten, a_reset_is_told_once)
{
    struct world w;

    world_init(&w, PROVIDER(""));
    world_run(&w);
    w.events[0] = '\0';
    world_spec(&w, "{'rootfs':{'resetToken':'again'}}");
    strcpy(w.memory.write_sent[ACT_SCI_DELETE], json_str(w.sci, "metadata.uid"));
    for (int i = 0; i < 3; i++)
        world_turn(&w);
    cr_assert_str_eq(w.events, "", "told once more");
    world_free(&w);
}

Test(plan_unwritten, a_warning_comes_with_the_status_that_is_written_later)
{
    struct world w;

    world_init(&w, PROVIDER(""));
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    pod_status(&w, w.provider,
            "{'containerStatuses':[{'name':'main','state':{'waiting':{'reason':'ErrImagePull','message':'no'}"
            "}}]"
            "}");
    fail_once(&w, ACT_SC_STATUS);
    cr_assert_eq(count(&w, "ErrImagePull"), 0);
    world_wait(&w, 10 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "ErrImagePull");
    cr_assert_eq(count(&w, "ErrImagePull"), 1, "%s", w.events);
    world_free(&w);
}
