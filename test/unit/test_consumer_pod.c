/* SPDX-License-Identifier: Apache-2.0 */
/* controller/consumer_pod: the user's template with only the changes that the preserved root needs. */
#include "controller/consumer_pod.h"
#include "controller/reclaim_pod.h"
#include "test/unit/world.h"

static struct json *build(const char *spec, const char *node, const char *provider_status)
{
    struct json *sc = lit("{'metadata':{'name':'box','namespace':'ns','generation':4}}");
    struct json *sci =
            lit("{'metadata':{'name':'box','namespace':'ns','uid':'u1'},'spec':{'containers':['main'],"
                "'images':['first:1']}}");
    struct json *provider = provider_status ? lit("{}") : NULL;
    const struct template_rules rules = {.runtime_classes = ""};
    struct template t = {0};
    struct err err = ERR_INIT;
    struct json *pod = NULL;
    struct pod_request q = {.sc = sc, .sci = sci, .template = &t, .node = node, .provider = provider};

    json_set(sc, "spec", lit(spec));
    if (provider)
        json_set(provider, "status", lit(provider_status));
    cr_assert_eq(template_parse(sc, &rules, &t, &err), 0, "%s", err_text(&err));
    cr_assert_eq(consumer_pod_build(&q, &pod), 0);
    return pod;
}

static void expect_words(const struct json *list, const char *const *words)
{
    size_t i = 0;

    for (; words[i]; i++)
        cr_assert_str_eq(
                json_string(json_index(list, i)) ? json_string(json_index(list, i)) : "(end)", words[i]);
    cr_assert_eq(json_len(list), i);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define EXECWRAP "/.stoppablecontainer/execwrap"

Test(consumer_pod, commands)
{
    static const char with[] = "{'template':{'spec':{'image':'x','command':['sh','-c'],'args':['a b']}}}";
    static const char without[] =
            "{'template':{'spec':{'image':'x','args':['a'],'terminationMessagePath':'/log'}}}";
    struct json *pod = build(with, NULL, NULL);

    expect_words(json_at(pod, "spec.containers[0].command"), WORDS(EXECWRAP, "run", "--", "sh", "-c"));
    expect_words(json_at(pod, "spec.containers[0].args"), WORDS("a b"));
    json_free(pod);
    pod = build(without, NULL, NULL);
    expect_words(json_at(pod, "spec.containers[0].command"),
            WORDS(EXECWRAP, "run", "--termination-log", "/log", "--image-entrypoint", "--"));
    expect_words(json_at(pod, "spec.containers[0].args"), WORDS("a"));
    json_free(pod);
}

Test(consumer_pod, termination_log_is_absolute_and_not_expanded)
{
    struct json *pod = build("{'template':{'spec':{'image':'x','command':['c'],"
                             "'terminationMessagePath':'tmp/$(A)$x'}}}",
            NULL, NULL);

    expect_words(json_at(pod, "spec.containers[0].command"),
            WORDS(EXECWRAP, "run", "--termination-log", "/tmp/$$(A)$$x", "--", "c"));
    json_free(pod);
}

static const char *post_start(const struct json *pod)
{
    return json_str(json_at(pod, "spec.volumes[0].csi.volumeAttributes"), SC_ATTR_POST_START);
}

Test(consumer_pod, probes_and_hooks)
{
    struct json *pod =
            build("{'template':{'spec':{'image':'x','livenessProbe':{'exec':{'command':['l']}},"
                  "'readinessProbe':{'httpGet':{'port':1}},'startupProbe':{'exec':{'command':['s','t']}},"
                  "'lifecycle':{'preStop':{'exec':{'command':['p']}},'postStart':{'httpGet':{'port':1}}}}}}",
                    NULL, NULL);
    const struct json *c = json_at(pod, "spec.containers[0]");

    expect_words(json_at(c, "livenessProbe.exec.command"), WORDS(EXECWRAP, "exec", "--", "l"));
    expect_words(json_at(c, "startupProbe.exec.command"), WORDS(EXECWRAP, "exec", "--", "s", "t"));
    expect_words(json_at(c, "lifecycle.preStop.exec.command"), WORDS(EXECWRAP, "exec", "--", "p"));
    cr_assert_null(json_at(c, "readinessProbe.exec"));
    cr_assert_null(json_at(c, "lifecycle.postStart.exec"));
    cr_assert_null(post_start(pod), "the agent is not to wait for a hook that is no process");
    json_free(pod);
    pod = build("{'template':{'spec':{'image':'x'}}}", NULL, NULL);
    expect_words(
            json_at(pod, "spec.containers[0].lifecycle.postStart.exec.command"), WORDS(EXECWRAP, "ready"));
    json_free(pod);
}

Test(consumer_pod, names_the_containers_with_a_hook_that_is_a_process)
{
    struct json *pod =
            build("{'template':{'spec':{'containers':[{'name':'own','image':'x','lifecycle':{"
                  "'postStart':{'exec':{'command':['s']}}}},{'name':'asked','image':'x','lifecycle':{"
                  "'postStart':{'sleep':{'seconds':1}}}},{'name':'none','image':'x'}]}}}",
                    NULL, NULL);

    cr_assert_str_eq(post_start(pod), "own,none");
    json_free(pod);
}

Test(consumer_pod, says_which_spec_it_was_made_for)
{
    static const struct {
        const char *pod;
        int64_t want;
    } cases[] = {
            {"{}", 0},
            {"{'metadata':{'annotations':{'" SC_ANNOTATION_GENERATION "':'7'}}}", 7},
            {"{'metadata':{'annotations':{'" SC_ANNOTATION_GENERATION "':'-7'}}}", 0},
            {"{'metadata':{'annotations':{'" SC_ANNOTATION_GENERATION "':7}}}", 0},
    };
    struct json *pod = build("{'template':{'metadata':{'annotations':{'" SC_ANNOTATION_GENERATION
                             "':'999'}},'spec':{'image':'x'}}}",
            NULL, NULL);

    cr_assert_eq(pod_made_for(pod), 4, "a template cannot change it");
    json_free(pod);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        pod = lit(cases[i].pod);
        cr_assert_eq(pod_made_for(pod), cases[i].want, "%s", cases[i].pod);
        json_free(pod);
    }
}

Test(consumer_pod, volume_root_and_init_containers)
{
    struct json *pod = build(
            "{'template':{'metadata':{'labels':{'app':'a','" SC_LABEL_ROLE "':'provider'},'annotations':"
            "{'n':'1'}},'spec':{'initContainers':[{'name':'i','image':'y','command':['init']}],"
            "'containers':[{'name':'a','image':'x'},{'name':'b','image':'x','securityContext':{"
            "'readOnlyRootFilesystem':true,'privileged':true}}]}}}",
            NULL, NULL);
    const struct json *attributes = json_at(pod, "spec.volumes[0].csi.volumeAttributes");

    cr_assert_str_eq(json_str(attributes, "role"), "consumer");
    cr_assert_str_eq(json_str(attributes, "containers"), "a,b");
    cr_assert_str_eq(json_str(attributes, "readOnlyRoots"), "b");
    cr_assert_str_eq(json_str(attributes, "attach"), "Pivot");
    cr_assert_str_eq(json_str(attributes, SC_ATTR_POST_START), "a,b");
    for (size_t i = 0; i < 2; i++) {
        const struct json *c = json_index(json_at(pod, "spec.containers"), i);

        cr_assert(json_bool_or(c, "securityContext.readOnlyRootFilesystem", false));
        cr_assert_str_eq(json_str(c, "volumeMounts[0].name"), SC_VOLUME_NAME);
    }
    cr_assert(json_bool_or(pod, "spec.containers[1].securityContext.privileged", false));
    expect_words(json_at(pod, "spec.initContainers[0].command"), WORDS("init"));
    cr_assert_null(json_at(pod, "spec.initContainers[0].volumeMounts"));
    cr_assert_str_eq(json_str(pod, "metadata.labels.app"), "a");
    cr_assert_str_eq(json_string(json_field(json_at(pod, "metadata.labels"), SC_LABEL_ROLE)), "consumer",
            "a template cannot change our labels");
    cr_assert_str_eq(json_str(pod, "metadata.annotations.n"), "1");
    json_free(pod);
}

#define PIN                                                                                           \
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]." \
    "matchFields"                                                                                     \
    "[0].values[0]"

Test(consumer_pod, later_starts_are_pinned_to_node_and_image)
{
    static const char spec[] =
            "{'provider':{'nodeSelector':{'z':'1'}},'template':{'spec':{'image':'changed:2',"
            "'imagePullPolicy':'Always'}}}";
    struct json *pod = build(spec, NULL, NULL);

    cr_assert_str_eq(json_str(pod, "spec.containers[0].image"), "changed:2");
    cr_assert_str_eq(json_str(pod, "spec.containers[0].imagePullPolicy"), "Always");
    cr_assert_null(json_at(pod, PIN));
    cr_assert_str_eq(json_str(pod, "spec.nodeSelector.z"), "1");
    json_free(pod);
    pod = build(spec, "node-a",
            "{'containerStatuses':[{'name':'main','imageID':'docker-pullable://r/x@sha256:aa'}]}");
    cr_assert_str_eq(json_str(pod, "spec.containers[0].image"), "r/x@sha256:aa");
    cr_assert_str_eq(json_str(pod, "spec.containers[0].imagePullPolicy"), "IfNotPresent");
    cr_assert_str_eq(json_str(pod, PIN), "node-a");
    cr_assert_null(json_at(pod, "spec.nodeName"));
    cr_assert_null(json_at(pod, "spec.nodeSelector"));
    json_free(pod);
    pod = build(spec, "node-a", "{'containerStatuses':[{'name':'main','imageID':'sha256:aa'}]}");
    cr_assert_str_eq(json_str(pod, "spec.containers[0].image"), "first:1", "the root belongs to one image");
    json_free(pod);
}

Test(consumer_pod, ephemeral_storage_request_moves)
{
    struct json *pod = build(
            "{'template':{'spec':{'image':'x','resources':{'requests':{'cpu':1,'ephemeral-storage':'1Gi'}}"
            "}}}",
            NULL, NULL);

    cr_assert_null(json_at(pod, "spec.containers[0].resources.requests.ephemeral-storage"));
    cr_assert_eq(json_int_or(pod, "spec.containers[0].resources.requests.cpu", 0), 1);
    json_free(pod);
    pod = build("{'template':{'spec':{'image':'x','resources':{'limits':{'ephemeral-storage':'2Gi'}}}}}",
            NULL, NULL);
    cr_assert_str_eq(json_str(pod, "spec.containers[0].resources.requests.ephemeral-storage"), "0",
            "the API server would make a request of the limit");
    cr_assert_str_eq(json_str(pod, "spec.containers[0].resources.limits.ephemeral-storage"), "2Gi");
    json_free(pod);
}

Test(consumer_pod, selinux_level_is_the_instances_unless_the_template_says)
{
    struct json *a = build("{'template':{'spec':{'image':'x'}}}", NULL, NULL);
    struct json *b = build("{'template':{'spec':{'image':'y'}}}", NULL, NULL);
    struct json *c =
            build("{'template':{'spec':{'image':'x','securityContext':{'seLinuxOptions':{'level':'s0'}}}}}",
                    NULL, NULL);

    cr_assert_str_eq(json_str(a, "spec.securityContext.seLinuxOptions.level"),
            json_str(b, "spec.securityContext.seLinuxOptions.level"));
    cr_assert_null(json_at(c, "spec.securityContext.seLinuxOptions"));
    json_free(a);
    json_free(b);
    json_free(c);
}

Test(consumer_pod, chroot_asks_for_its_capability)
{
    struct json *pod = build("{'attach':'Chroot','template':{'spec':{'image':'x'}}}", NULL, NULL);

    cr_assert_str_eq(json_str(pod, "spec.containers[0].securityContext.capabilities.add[0]"), "SYS_CHROOT");
    cr_assert_str_eq(json_str(pod, "spec.volumes[0].csi.volumeAttributes.attach"), "Chroot");
    json_free(pod);
}

Test(consumer_pod, chroot_is_said_to_execwrap)
{
    struct json *pod =
            build("{'attach':'Chroot','template':{'spec':{'image':'x','terminationMessagePath':'/log',"
                  "'livenessProbe':{'exec':{'command':['p']}},'lifecycle':{'preStop':{'exec':{'command':['h']"
                  "}}}}}}",
                    NULL, NULL);
    static const struct {
        const char *path, *word;
    } words[] = {
            {"command[1]", "run"},
            {"command[2]", "--chroot"},
            {"command[3]", "--termination-log"},
            {"command[5]", "--image-entrypoint"},
            {"command[6]", "--"},
            {"livenessProbe.exec.command[1]", "exec"},
            {"livenessProbe.exec.command[2]", "--chroot"},
            {"livenessProbe.exec.command[4]", "p"},
            {"lifecycle.preStop.exec.command[2]", "--chroot"},
            {"lifecycle.postStart.exec.command[1]", "ready"},
    };
    const struct json *container = json_at(pod, "spec.containers[0]");

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        cr_assert_str_eq(json_str_or(container, words[i].path, ""), words[i].word, "%s", words[i].path);
    json_free(pod);
}

Test(consumer_pod, pivot_asks_for_nothing)
{
    struct json *pod = build("{'template':{'spec':{'image':'x'}}}", NULL, NULL);

    cr_assert_null(json_at(pod, "spec.containers[0].securityContext.capabilities"));
    cr_assert_str_eq(json_str(pod, "spec.containers[0].command[2]"), "--image-entrypoint");
    json_free(pod);
}

Test(consumer_pod, dropped_fields_are_found)
{
    struct json *sent =
            lit("{'spec':{'a':1,'empty':{},'containers':[{'name':'x','stopSignal':'TERM'},{'name':'y',"
                "'env':[{'name':'E','value':'v'}]}],'list':['p','q']}}");
    struct json *made =
            lit("{'spec':{'a':2,'containers':[{'name':'sidecar'},{'name':'y','env':[{'name':'E'}]},"
                "{'name':'x'}],'list':['p']}}");
    _cleanup_buf_ struct buf b = BUF_INIT(1024);

    cr_assert_eq(consumer_pod_dropped(sent, sent, &b), 0);
    cr_assert_str_eq(buf_str(&b), "");
    cr_assert_eq(consumer_pod_dropped(sent, made, &b), 0);
    cr_assert_str_eq(
            buf_str(&b), "spec.containers[x].stopSignal, spec.containers[y].env[E].value, spec.list[1]");
    json_free(sent);
    json_free(made);
}

Test(consumer_pod, of_an_older_controller_misses_nothing)
{
    struct json *sent = build("{'template':{'spec':{'image':'x'}}}", NULL, NULL);
    struct json *made = build("{'template':{'spec':{'image':'x'}}}", NULL, NULL);
    _cleanup_buf_ struct buf b = BUF_INIT(1024);

    cr_assert_not_null(post_start(made));
    json_remove(json_at(made, "spec.volumes[0].csi.volumeAttributes"), SC_ATTR_POST_START);
    cr_assert_eq(consumer_pod_dropped(sent, made, &b), 0);
    cr_assert_str_eq(buf_str(&b), "", "its volume has fewer attributes");
    json_free(sent);
    json_free(made);
}

Test(reclaim_pod, names_its_subject_and_its_node)
{
    struct json *sci = lit("{'metadata':{'name':'box','namespace':'ns','uid':'u1'}}");
    struct json *pod = NULL;
    struct reclaim_subject about;

    cr_assert_eq(reclaim_pod_build(sci, "node-a", "system", "sc:1", &pod), 0);
    cr_assert_str_eq(json_str(pod, "metadata.name"), "reclaim-u1");
    cr_assert_str_eq(json_str(pod, "metadata.namespace"), "system");
    cr_assert_null(
            json_at(pod, "metadata.ownerReferences"), "an owner in another namespace would be garbage");
    cr_assert_str_eq(json_str(pod, "spec.nodeName"), "node-a");
    cr_assert_str_eq(json_str(pod, "spec.containers[0].image"), "sc:1");
    about = reclaim_pod_subject(pod);
    cr_assert_str_eq(about.uid, "u1");
    cr_assert_str_eq(about.namespace, "ns");
    cr_assert_str_eq(about.name, "box");
    json_free(pod);
    json_free(sci);
}

Test(consumer_pod, a_storage_request_that_is_read_is_found)
{
    struct json *sc = lit(
            "{'metadata':{'name':'box'},'spec':{'template':{'spec':{"
            "'initContainers':[{'name':'i','image':'x','env':[{'name':'A','valueFrom':{'resourceFieldRef':{"
            "'resource':'requests.ephemeral-storage'}}}]}],"
            "'containers':[{'name':'c','image':'x','env':[{'name':'A','valueFrom':{'resourceFieldRef':{"
            "'resource':'requests.ephemeral-storage'}}},{'name':'B','valueFrom':{'resourceFieldRef':{"
            "'resource':'limits.ephemeral-storage'}}}]}],"
            "'volumes':[{'name':'v','downwardAPI':{'items':[{'path':'p','resourceFieldRef':{"
            "'containerName':'c','resource':'requests.ephemeral-storage'}}]}}]}}}}");
    const struct template_rules rules = {.runtime_classes = ""};
    _cleanup_buf_ struct buf b = BUF_INIT(1024);
    struct template t = {0};
    struct err err = ERR_INIT;

    cr_assert_eq(template_parse(sc, &rules, &t, &err), 0, "%s", err_text(&err));
    cr_assert_eq(consumer_pod_misread(&t, &b), 0);
    cr_assert_str_eq(buf_str(&b), "spec.containers[c].env[A].valueFrom.resourceFieldRef, "
                                  "spec.volumes[v].downwardAPI.items[0].resourceFieldRef");
    template_free(&t);
    json_free(sc);
}
