/* SPDX-License-Identifier: Apache-2.0 */
/* controller/status, facts, memory: conditions by the API conventions, patches, what a pod object says. */
#include "controller/facts.h"
#include "controller/status.h"
#include "test/unit/world.h"

static int set(struct json *status, const char *value, const char *reason, usec_t at)
{
    return status_set_condition(status,
            &(struct condition){
                    .type = "Ready", .status = value, .reason = reason, .message = reason, .generation = 3},
            at);
}

Test(status, transition_time_changes_with_the_status_only)
{
    struct json *s = lit("{'conditions':[{'type':'Other','status':'True'}]}");
    const struct json *c;
    char first[64];

    cr_assert_eq(set(s, "False", "Starting", WORLD_EPOCH), 0);
    c = status_condition(s, "Ready");
    strcpy(first, json_str(c, "lastTransitionTime"));
    cr_assert_eq(set(s, "False", "Unschedulable", WORLD_EPOCH + 60 * USEC_PER_SEC), 0);
    cr_assert_str_eq(json_str(c, "lastTransitionTime"), first);
    cr_assert_str_eq(json_str(c, "reason"), "Unschedulable");
    cr_assert_eq(json_int_or(c, "observedGeneration", 0), 3);
    cr_assert_eq(set(s, "True", "Running", WORLD_EPOCH + 90 * USEC_PER_SEC), 0);
    cr_assert_str_neq(json_str(c, "lastTransitionTime"), first);
    cr_assert_eq(json_len(json_at(s, "conditions")), 2);
    json_free(s);
}

Test(status, merge_patch)
{
    struct json *from =
            lit("{'phase':'A','same':1,'gone':true,'rootfs':{'id':'x','createdAt':'t'},'list':[1,2]}");
    struct json *to = lit("{'phase':'B','same':1,'rootfs':{'id':'y'},'list':[1],'new':{'a':'b'}}");
    struct json *want =
            lit("{'phase':'B','gone':null,'rootfs':{'id':'y','createdAt':null},'list':[1],'new':{'a':'b'}}");
    struct json *patch = status_merge_patch(from, to), *none = status_merge_patch(to, to);

    cr_assert(json_equal(patch, want));
    cr_assert_eq(json_len(none), 0);
    merge(from, patch);
    cr_assert(json_equal(from, to));
    json_free(from);
    json_free(to);
    json_free(want);
    json_free(patch);
    json_free(none);
}

Test(facts, of_pods)
{
    static const struct {
        const char *pod;
        bool started, all_running, any_ended, terminal, by_system;
    } cases[] = {
            {"{'status':{'phase':'Pending'}}", false, false, false, false, false},
            {"{'spec':{'containers':[{},{}]},'status':{'containerStatuses':[{'state':{'running':{}}}]}}",
                    true, false, false, false, false},
            {"{'spec':{'containers':[{}]},'status':{'phase':'Running','containerStatuses':[{'state':{'"
             "running':{}}}]}}",
                    true, true, false, false, false},
            {"{'status':{'phase':'Failed','reason':'Evicted'}}", false, false, false, true, true},
            {"{'status':{'phase':'Failed','reason':'DeadlineExceeded'}}", false, false, false, true, false},
            {"{'status':{'phase':'Failed','containerStatuses':[{'state':{'terminated':{'exitCode':1}}}]}}",
                    true, false, true, true, false},
            {"{'status':{'containerStatuses':[{'state':{'terminated':{'reason':'StartError'}}}]}}", false,
                    false, true, false, false},
            {"{'status':{'containerStatuses':[{'state':{'terminated':{'reason':'ContainerStatusUnknown'}}}]}"
             "}",
                    false, false, true, false, false},
            {"{'status':{'containerStatuses':[{'state':{'terminated':{'reason':'ContainerStatusUnknown','"
             "startedAt':"
             "'2026-01-02T03:04:05Z'}}}]}}",
                    true, false, true, false, false},
            {"{'status':{'containerStatuses':[{'state':{'waiting':{}},'lastState':{'terminated':{'exitCode':"
             "0}}}]}}",
                    true, false, true, false, false},
            {"{'status':{'phase':'Failed','conditions':[{'type':'DisruptionTarget','status':'True'}]}}",
                    false, false, false, true, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json *pod = lit(cases[i].pod);
        struct pod_facts f;

        pod_facts_read(pod, &f);
        cr_assert_eq(f.started, cases[i].started, "started: %s", cases[i].pod);
        cr_assert_eq(f.all_running, cases[i].all_running, "all_running: %s", cases[i].pod);
        cr_assert_eq(f.any_ended, cases[i].any_ended, "any_ended: %s", cases[i].pod);
        cr_assert_eq(f.terminal, cases[i].terminal, "terminal: %s", cases[i].pod);
        cr_assert_eq(f.by_system, cases[i].by_system, "by_system: %s", cases[i].pod);
        json_free(pod);
    }
}

Test(facts, the_failed_container_counts)
{
    struct json *pod = lit(
            "{'status':{'phase':'Failed','containerStatuses':[{'name':'a','state':{'terminated':{'exitCode':"
            "0,'startedAt':'2026-01-01T00:00:02Z','finishedAt':'2026-01-01T00:00:09Z'}}},{'name':'b',"
            "'state':{'terminated':{'exitCode':4,'reason':'Error','startedAt':'2026-01-01T00:00:01Z',"
            "'finishedAt':'2026-01-01T00:00:05Z'}}},{'name':'c','state':{'terminated':{'exitCode':5}}}]}}");
    struct pod_facts f;

    pod_facts_read(pod, &f);
    cr_assert_str_eq(f.exit_container, "b");
    cr_assert_eq(f.exit_code, 4);
    cr_assert_eq(f.last_finished_at - f.first_started_at, 8 * USEC_PER_SEC);
    json_free(pod);
}

Test(memory, clean_is_only_what_was_seen_to_end)
{
    static const struct {
        const char *pod;
        bool clean, terminal;
    } cases[] = {
            {"{'metadata':{'uid':'p'}}", true, true},
            {"{'metadata':{'uid':'p'},'spec':{'nodeName':'n'},'status':{'phase':'Running'}}", false, false},
            {"{'metadata':{'uid':'p','deletionTimestamp':'2026-01-01T00:00:00Z'},'spec':{'nodeName':'n'},'"
             "status':{"
             "'phase':'Running'}}",
                    false, false},
            {"{'metadata':{'uid':'p'},'spec':{'nodeName':'n'},'status':{'phase':'Failed'}}", false, true},
            {"{'metadata':{'uid':'p','deletionTimestamp':'2026-01-01T00:00:00Z'},'spec':{'nodeName':'n'},'"
             "status':{"
             "'phase':'Failed'}}",
                    true, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json *pod = lit(cases[i].pod);
        struct key_memory m;

        memory_init(&m);
        memory_set_instance(&m, "i");
        memory_pod_removed(&m, false, pod);
        cr_assert_eq(m.consumer.clean, cases[i].clean, "%s", cases[i].pod);
        cr_assert_eq(m.consumer.terminal, cases[i].terminal, "%s", cases[i].pod);
        cr_assert_eq(m.unclean, !cases[i].clean);
        memory_set_instance(&m, "another");
        cr_assert(!m.unclean && !m.consumer.known, "another instance begins without a past");
        memory_free(&m);
        json_free(pod);
    }
}

Test(memory, back_off_grows_and_ends_with_success)
{
    struct key_memory m;
    usec_t last = 0;

    memory_init(&m);
    for (int i = 0; i < 10; i++) {
        memory_action_failed(
                &m, ACT_CONSUMER_CREATE, &(struct failure){.now = 0, .reason = "Forbidden", .message = "no"});
        cr_assert_geq(m.retry[ACT_CONSUMER_CREATE].not_before, i < 6 ? last : 60 * USEC_PER_SEC);
        last = m.retry[ACT_CONSUMER_CREATE].not_before;
        cr_assert_leq(last, 75 * USEC_PER_SEC);
    }
    memory_action_failed(&m, ACT_CONSUMER_CREATE, &(struct failure){.retry_after = 3600 * USEC_PER_SEC});
    cr_assert_eq(m.retry[ACT_CONSUMER_CREATE].not_before, 3600 * USEC_PER_SEC);
    memory_action_done(&m, ACT_CONSUMER_CREATE);
    cr_assert_eq(m.retry[ACT_CONSUMER_CREATE].not_before, 0);
    cr_assert_null(m.retry[ACT_CONSUMER_CREATE].reason);
    memory_free(&m);
}
