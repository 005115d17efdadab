/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sizeLimit that the node's file system cannot hold, played on a table (world.h): what the agent sees comes as
 * a provider's last words, is told by a condition, and goes back with the next provider.
 */
#include "test/unit/world_node.h"

#define LIMITED SPEC(",'sizeLimit':'1Gi'")
#define WATCHED "SizeLimitWatched: nothing holds it"
#define EXCEEDED "SizeLimitExceeded: 2 GiB of 1 GiB"

/* Up to a consumer that runs on a watched root. */
static void run_watched(struct world *w)
{
    world_init(w, LIMITED);
    world_settle(w);
    pod_placed(w, w->consumer, "node-a");
    world_settle(w);
    cr_assert_str_eq(attribute(w->provider, SC_ATTR_USE), "", "nothing is told yet");
    pod_placed(w, w->provider, "node-a");
    pod_runs(w, w->provider);
    world_settle(w);
    provider_refused(w, WATCHED);
    world_wait(w, 3 * USEC_PER_SEC);
    cr_assert_str_eq(attribute(w->provider, SC_ATTR_USE), SC_USE_WITHIN);
    cr_assert_str_eq(attribute(w->provider, SC_ATTR_ROOT), SC_ROOT_NEW);
    provider_runs(w);
    consumer_runs(w);
}

/* The provider brings news while the consumer runs, which never notices. */
static void news(struct world *w, const char *words, const char *status, const char *reason, const char *use)
{
    char old[64];

    strcpy(old, json_str(w->provider, "metadata.uid"));
    w->events[0] = '\0';
    provider_refused(w, words);
    world_wait(w, 2 * USEC_PER_SEC);
    expect_condition(w, SC_COND_WITHIN_LIMIT, status, reason);
    cr_assert_str_eq(condition_text(w->sci, SC_COND_WITHIN_LIMIT, "status"), status);
    cr_assert_eq(strncmp(w->events, reason, strlen(reason)), 0, "%s", w->events);
    cr_assert_eq(w->events[strlen(reason) + 1], '\0', "told twice: %s", w->events);
    cr_assert_not_null(w->provider);
    cr_assert_str_neq(json_str(w->provider, "metadata.uid"), old, "%s: it is not made again", words);
    cr_assert_str_eq(attribute(w->provider, SC_ATTR_USE), use);
    provider_runs(w);
    world_wait(w, 3600 * USEC_PER_SEC);
    expect_condition(w, SC_COND_WITHIN_LIMIT, status, reason);
    cr_assert_str_eq(phase(w), "Running");
    expect_condition(w, "Ready", "True", "Running");
    expect_condition(w, "RootfsIntact", "True", "Kept");
    cr_assert_eq(w->made[ACT_CONSUMER_CREATE], 1);
    cr_assert_eq(w->made[ACT_CONSUMER_DELETE], 0);
}

Test(plan_limit, watched_from_the_start)
{
    struct world w;

    run_watched(&w);
    expect_condition(&w, SC_COND_WITHIN_LIMIT, "True", "SizeLimitWatched");
    cr_assert_str_eq(condition_text(w.sc, SC_COND_WITHIN_LIMIT, "message"), "nothing holds it");
    expect_condition(&w, "RootfsIntact", "True", "Kept");
    cr_assert(strstr(w.events, "SizeLimitWatched ") && strstr(w.events, "Created "), "%s", w.events);
    cr_assert(!strstr(w.events, "RootfsLost") && !strstr(w.events, "ProviderEnded"), "%s", w.events);
    world_free(&w);
}

Test(plan_limit, passed_and_kept_again)
{
    struct world w;

    run_watched(&w);
    news(&w, EXCEEDED, "False", "SizeLimitExceeded", SC_USE_EXCEEDED);
    news(&w, "SizeUnknown: too deep", "Unknown", "SizeUnknown", SC_USE_UNKNOWN);
    news(&w, WATCHED, "True", "SizeLimitWatched", SC_USE_WITHIN);
    world_free(&w);
}

/* It is told also while nothing runs, and keeps no start. */
Test(plan_limit, passed_while_stopped)
{
    struct world w;

    run_watched(&w);
    stop(&w);
    provider_refused(&w, EXCEEDED);
    world_wait(&w, 2 * USEC_PER_SEC);
    expect_condition(&w, SC_COND_WITHIN_LIMIT, "False", "SizeLimitExceeded");
    cr_assert_str_eq(phase(&w), "Stopped");
    world_spec(&w, "{'running':true}");
    world_settle(&w);
    provider_runs(&w);
    consumer_runs(&w);
    expect_condition(&w, SC_COND_WITHIN_LIMIT, "False", "SizeLimitExceeded");
    world_free(&w);
}

/* The bearer stays until its news are written, whatever happens to us. */
Test(plan_limit, news_outlive_us)
{
    for (int step = 0; step < 6; step++) {
        struct world w;

        run_watched(&w);
        pod_ends(&w, w.provider, 1);
        json_for_each (status, json_at(w.provider, "status.containerStatuses"))
            json_set_str(json_at(status, "state.terminated"), "message", EXCEEDED);
        touch(&w, w.provider);
        for (int i = 0; i < step; i++)
            world_turn(&w);
        world_restart(&w);
        world_wait(&w, 2 * USEC_PER_SEC);
        cr_assert_str_eq(attribute(w.provider, SC_ATTR_USE), SC_USE_EXCEEDED, "step %d", step);
        expect_condition(&w, SC_COND_WITHIN_LIMIT, "False", "SizeLimitExceeded");
        world_free(&w);
    }
}

Test(plan_limit, refused_writes_keep_the_bearer)
{
    struct world w;

    run_watched(&w);
    w.refuse = ACT_SCI_STATUS;
    w.refusal = "not now";
    provider_refused(&w, EXCEEDED);
    world_wait(&w, 10 * USEC_PER_SEC);
    cr_assert_str_eq(json_str(w.provider, "status.phase"), "Failed", "gone with its news");
    w.refuse = ACT_KINDS;
    world_wait(&w, 120 * USEC_PER_SEC);
    cr_assert_str_eq(attribute(w.provider, SC_ATTR_USE), SC_USE_EXCEEDED);
    world_free(&w);
}

Test(plan_limit, goes_with_its_root)
{
    struct world w;

    run_watched(&w);
    stop(&w);
    world_spec(&w, "{'rootfs':{'resetToken':'again','sizeLimit':null}}");
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    world_settle(&w);
    pod_ends(&w, w.reclaim, 0);
    world_wait(&w, 5 * USEC_PER_SEC);
    expect_condition(&w, SC_COND_WITHIN_LIMIT, "", "");
    world_free(&w);
}
