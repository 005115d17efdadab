/* SPDX-License-Identifier: Apache-2.0 */
/* controller/provider_pod: the last pod that a node gives up. */
#include "controller/provider_pod.h"
#include "test/unit/world.h"

static struct json *build_with(const char *spec, const char *consumer_spec, const char *class)
{
    struct json *sc = lit("{'metadata':{'name':'box','namespace':'ns'}}");
    struct json *sci = lit("{'metadata':{'name':'box','namespace':'ns','uid':'u1'}}");
    struct json *consumer = lit("{}");
    const struct template_rules rules = {.runtime_classes = "plain"};
    struct template t = {0};
    struct err err = ERR_INIT;
    struct json *pod = NULL;
    struct pod_request q = {.sc = sc,
            .sci = sci,
            .template = &t,
            .node = "node-a",
            .consumer = consumer,
            .priority_class = class};

    json_set(sc, "spec", lit(spec));
    json_set(consumer, "spec", lit(consumer_spec));
    cr_assert_eq(template_parse(sc, &rules, &t, &err), 0, "%s", err_text(&err));
    cr_assert_eq(provider_pod_build(&q, &pod), 0);
    return pod;
}

static struct json *build(const char *spec, const char *consumer_spec)
{
    return build_with(spec, consumer_spec, NULL);
}

Test(provider_pod, priority)
{
    static const struct {
        const char *spec, *ours, *want;
    } cases[] = {
            {"{'template':{'spec':{'image':'x'}}}", "ours", "ours"},
            {"{'template':{'spec':{'image':'x','priorityClassName':'high'}}}", "ours", "ours"},
            {"{'template':{'spec':{'image':'x','priorityClassName':'system-node-critical'}}}", "ours",
                    "system-node-critical"},
            {"{'template':{'spec':{'image':'x','priorityClassName':'high'}}}", "", "high"},
            {"{'template':{'spec':{'image':'x'}}}", NULL, ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json *pod = build_with(cases[i].spec, "{}", cases[i].ours);

        cr_assert_str_eq(json_str_or(pod, "spec.priorityClassName", ""), cases[i].want, "case %zu", i);
        json_free(pod);
    }
}

Test(provider_pod, shape)
{
    struct json *pod =
            build("{'template':{'spec':{'image':'x:1','imagePullPolicy':'Always','command':['sleep'],"
                  "'serviceAccountName':'sa','priorityClassName':'high','runtimeClassName':'plain',"
                  "'imagePullSecrets':[{'name':'s'}],'env':[{'name':'A','value':'b'}],'hostNetwork':true,"
                  "'terminationGracePeriodSeconds':7,'nodeSelector':{'k':'v'}}}}",
                    "{}");
    const struct json *spec = json_field(pod, "spec");

    cr_assert_str_eq(json_str(pod, "metadata.name"), "box-provider");
    cr_assert_str_eq(json_str(pod, "metadata.ownerReferences[0].uid"), "u1");
    cr_assert(json_bool_or(pod, "metadata.ownerReferences[0].controller", false));
    cr_assert_eq(json_len(json_at(spec, "containers")), 1);
    cr_assert_str_eq(json_str(spec, "containers[0].image"), "x:1");
    cr_assert_str_eq(json_str(spec, "containers[0].imagePullPolicy"), "Always");
    cr_assert_str_eq(json_str(spec, "containers[0].command[0]"), "/.stoppablecontainer/pause");
    cr_assert_null(json_at(spec, "containers[0].env"));
    cr_assert_null(json_at(spec, "hostNetwork"));
    cr_assert_null(json_at(spec, "nodeSelector"), "a changed node label would fail it at a kubelet restart");
    cr_assert_str_eq(json_str(spec, "restartPolicy"), "Never");
    cr_assert_str_eq(json_str(spec, "serviceAccountName"), "sa");
    cr_assert_str_eq(json_str(spec, "priorityClassName"), "high");
    cr_assert_str_eq(json_str(spec, "runtimeClassName"), "plain");
    cr_assert_str_eq(json_str(spec, "imagePullSecrets[0].name"), "s");
    cr_assert(!json_bool_or(spec, "automountServiceAccountToken", true));
    cr_assert(!json_bool_or(spec, "enableServiceLinks", true));
    cr_assert_eq(json_int_or(spec, "terminationGracePeriodSeconds", 0), 17);
    cr_assert_str_eq(json_str(spec, "volumes[0].csi.driver"), SC_CSI_DRIVER);
    cr_assert(json_bool_or(spec, "volumes[0].csi.readOnly", false));
    cr_assert_str_eq(json_str(spec, "volumes[0].csi.volumeAttributes.role"), "provider");
    cr_assert_str_eq(json_str(spec, "volumes[0].csi.volumeAttributes.instance"), "u1");
    cr_assert_str_eq(json_str(spec, "containers[0].volumeMounts[0].mountPath"), "/.stoppablecontainer");
    cr_assert_str_eq(json_string(json_field(json_at(pod, "metadata.annotations"),
                             "cluster-autoscaler.kubernetes.io/safe-to-evict")),
            "false");
    json_free(pod);
}

Test(provider_pod, guaranteed_with_four_explicit_values)
{
    struct json *pod =
            build("{'provider':{'resources':{'requests':{'cpu':'50m'}}},'template':{'spec':{'image':'x',"
                  "'resources':{'requests':{'cpu':'2','ephemeral-storage':'5Gi'},'limits':{"
                  "'ephemeral-storage':'9Gi'}}}}}",
                    "{}");
    const struct json *r = json_at(pod, "spec.containers[0].resources");

    cr_assert_str_eq(json_str(r, "requests.cpu"), "50m");
    cr_assert_null(
            json_field(json_at(pod, "metadata.annotations"), SC_ANNOTATION_FINAL_CPU), "it stays as asked");
    cr_assert_str_eq(json_str(r, "limits.cpu"), "50m");
    cr_assert_str_eq(json_str(r, "requests.memory"), "16Mi");
    cr_assert_str_eq(json_str(r, "limits.memory"), "16Mi");
    cr_assert_str_eq(json_str(r, "requests.ephemeral-storage"), "5Gi");
    cr_assert_null(json_at(r, "limits.ephemeral-storage"), "passing a limit evicts, and the root is gone");
    json_free(pod);
}

Test(provider_pod, security)
{
    struct json *pod =
            build("{'template':{'spec':{'securityContext':{'runAsNonRoot':true,'runAsUser':1000,'fsGroup':5},"
                  "'containers':[{'name':'a','image':'x','securityContext':{'privileged':true,'runAsUser':7,"
                  "'readOnlyRootFilesystem':true,'capabilities':{'add':['SYS_ADMIN']}}}]}}}",
                    "{}");
    const struct json *c = json_at(pod, "spec.containers[0].securityContext");

    cr_assert_eq(json_int_or(pod, "spec.securityContext.runAsUser", 0), 1000);
    cr_assert(json_bool_or(pod, "spec.securityContext.runAsNonRoot", false));
    cr_assert_str_eq(json_str(pod, "spec.securityContext.seccompProfile.type"), "RuntimeDefault");
    cr_assert_null(json_at(pod, "spec.securityContext.fsGroup"));
    cr_assert_eq(json_int_or(c, "runAsUser", 0), 7);
    cr_assert_null(json_at(c, "privileged"));
    cr_assert_null(json_at(c, "capabilities.add"));
    cr_assert_str_eq(json_str(c, "capabilities.drop[0]"), "ALL");
    cr_assert(!json_bool_or(c, "allowPrivilegeEscalation", true));
    cr_assert(!json_bool_or(c, "readOnlyRootFilesystem", true));
    cr_assert(strncmp(json_str_or(pod, "spec.securityContext.seLinuxOptions.level", ""), "s0:c", 4) == 0);
    json_free(pod);
}

Test(provider_pod, tolerations_for_ever_first_and_none_with_a_time)
{
    struct json *pod =
            build("{'provider':{'tolerations':[{'key':'p','operator':'Exists'}]},'template':{'spec':{"
                  "'image':'x'}}}",
                    "{'tolerations':[{'key':'node.kubernetes.io/"
                    "not-ready','effect':'NoExecute','tolerationSeconds':300},"
                    "{'key':'gpu','operator':'Exists','effect':'NoSchedule'}]}");
    const struct json *list = json_at(pod, "spec.tolerations");

    cr_assert_eq(json_len(list), 3);
    cr_assert_str_eq(json_str(list, "[0].effect"), "NoExecute");
    cr_assert_null(json_at(list, "[0].tolerationSeconds"));
    cr_assert_null(json_at(list, "[0].key"));
    json_for_each (t, list)
        cr_assert_null(json_field(t, "tolerationSeconds"));
    json_free(pod);
}

Test(provider_pod, pinned_to_the_consumers_node)
{
    struct json *pod = build("{'template':{'spec':{'image':'x','affinity':{'podAntiAffinity':{}}}}}", "{}");

    cr_assert_eq(json_len(json_at(pod, "spec.affinity")), 1);
    cr_assert_not_null(strstr(
            json_str_or(json_at(pod, "spec.affinity.nodeAffinity."
                                     "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
                                     "matchFields[0]"),
                    "values[0]", ""),
            "node-a"));
    json_free(pod);
}
