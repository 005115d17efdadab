/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller's decisions (world.h) about consumers with init containers and hooks.
 */
#include "test/unit/world.h"

#define WITH_INIT                                                                                            \
    "{'running':true,'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'main','image':'x'}]" \
    ","                                                                                                      \
    "'initContainers':[{'name':'prepare','image':'y'}]}}}"

static void init_status(struct world *w, const char *state)
{
    struct json *statuses = lit(state);

    json_set(json_field(w->consumer, "status"), "initContainerStatuses", statuses);
    touch(w, w->consumer);
}

Test(plan_init, a_failed_init_container_is_named)
{
    static const struct {
        const char *main; /* containerStatuses */
        const char *ready;
        int code;
    } cases[] = {
            {"[{'name':'main','state':{'waiting':{'reason':'PodInitializing'}}}]",
                    "container prepare ended with exit code 5", 5},
            {"[{'name':'main','state':{'terminated':{'exitCode':7,'startedAt':'2026-01-01T00:00:00Z'}}}]",
                    "container main ended with exit code 7", 7},
            {"[{'name':'main','state':{'terminated':{'exitCode':0,'startedAt':'2026-01-01T00:00:00Z'}}}]",
                    "container main ended with exit code 0", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;

        world_init(&w, WITH_INIT);
        world_run(&w);
        init_status(&w, "[{'name':'prepare','state':{'terminated':{'exitCode':5,'startedAt':'2026-01-01T00:"
                        "00:00Z'}}}]");
        json_set(json_field(w.consumer, "status"), "containerStatuses", lit(cases[i].main));
        pod_status(&w, w.consumer, cases[i].code ? "{'phase':'Failed'}" : "{'phase':'Succeeded'}");
        world_settle(&w);
        cr_assert_str_eq(phase(&w), cases[i].code ? "Failed" : "Succeeded");
        cr_assert(strstr(condition_text(w.sc, "Ready", "message"), cases[i].ready), "%s",
                condition_text(w.sc, "Ready", "message"));
        cr_assert_eq(json_int_or(w.sc, "status.lastRun.exitCode", -1), cases[i].code);
        world_free(&w);
    }
}

Test(plan_init, a_long_init_container_is_let_be)
{
    struct world w;

    world_init(&w, WITH_INIT);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    world_wait(&w, 120 * USEC_PER_SEC);
    pod_runs(&w, w.provider);
    world_wait(&w, 2 * USEC_PER_SEC);
    init_status(&w, "[{'name':'prepare','state':{'running':{}}}]");
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_eq(w.made[ACT_CONSUMER_DELETE], 0, "a pod whose init container runs waits for nothing");
    world_free(&w);
}

Test(plan_init, a_failed_hook_is_no_start)
{
    struct world w;

    world_init(&w, WITH_INIT);
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    pod_placed(&w, w.provider, "node-a");
    pod_runs(&w, w.provider);
    world_settle(&w);
    pod_status(&w, w.consumer,
            "{'phase':'Running','containerStatuses':[{'name':'main','state':{'waiting':{'reason':"
            "'PostStartHookError','message':'no luck'}},'lastState':{'terminated':{'exitCode':137}}}]}");
    world_settle(&w);
    cr_assert(strstr(w.events, "PostStartHookError "), "%s", w.events);
    cr_assert_null(strstr(w.events, "Started "), "%s", w.events);
    cr_assert(strstr(condition_text(w.sc, "Ready", "message"), "no luck"));
    world_free(&w);
}
