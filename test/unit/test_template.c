/* SPDX-License-Identifier: Apache-2.0 */
/* controller/template: two forms, one pod spec; what is refused; the hash. */
#include "test/unit/world.h"

static const struct template_rules rules = {.runtime_classes = "plain,other"};

static int parse(const char *spec, struct template *t, struct err *err)
{
    /* Kept for the test's process: the template borrows from it. */
    struct json *sc = lit("{'metadata':{'name':'box'}}");

    json_set(sc, "spec", lit(spec));
    memset(t, 0, sizeof(*t));
    return template_parse(sc, &rules, t, err);
}

Test(template, short_form_becomes_one_container_named_main)
{
    struct template t;
    struct err err = ERR_INIT;

    cr_assert_eq(
            parse("{'template':{'metadata':{'labels':{'a':'b'}},'spec':{'image':'x','args':['1'],'ports':[],"
                  "'restartPolicy':'Never','nodeSelector':{'k':'v'},'resources':{'limits':{'cpu':1}},"
                  "'securityContext':{'runAsUser':5,'fsGroup':6},'terminationGracePeriodSeconds':3},"
                  "'volumes':[{'name':'v','emptyDir':{}}]}}",
                    &t, &err),
            0, "%s", err_text(&err));
    cr_assert_eq(json_len(template_containers(&t)), 1);
    cr_assert_str_eq(json_str(t.spec, "containers[0].name"), "main");
    cr_assert_str_eq(json_str(t.spec, "containers[0].args[0]"), "1");
    cr_assert_eq(json_int_or(t.spec, "containers[0].resources.limits.cpu", 0), 1);
    cr_assert_eq(json_int_or(t.spec, "containers[0].securityContext.runAsUser", 0), 5);
    cr_assert_null(json_at(t.spec, "containers[0].securityContext.fsGroup"));
    cr_assert_eq(json_int_or(t.spec, "securityContext.fsGroup", 0), 6);
    cr_assert_str_eq(json_str(t.spec, "restartPolicy"), "Never");
    cr_assert_str_eq(json_str(t.spec, "nodeSelector.k"), "v");
    cr_assert_str_eq(json_str(t.spec, "volumes[0].name"), "v");
    cr_assert_null(json_at(t.spec, "image"));
    cr_assert_eq(template_grace(&t), 3);
    template_free(&t);
}

Test(template, restart_rules_of_the_short_form_have_the_policy_beside_them)
{
    static const struct {
        const char *spec, *pods, *containers;
    } rows[] = {
            {"{'template':{'spec':{'image':'x','restartPolicy':'Never'}}}", "Never", ""},
            {"{'template':{'spec':{'image':'x','restartPolicy':'Never','restartPolicyRules':[]}}}", "Never",
                    "Never"},
            {"{'template':{'spec':{'image':'x','restartPolicyRules':[]}}}", "", "Always"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct json *sc = lit("{'metadata':{'name':'box'}}");
        struct template t = {0};
        struct err err = ERR_INIT;

        json_set(sc, "spec", lit(rows[i].spec));
        cr_assert_eq(template_parse(sc, &rules, &t, &err), 0);
        cr_expect_str_eq(json_str_or(t.spec, "restartPolicy", ""), rows[i].pods);
        cr_expect_str_eq(json_str_or(t.spec, "containers[0].restartPolicy", ""), rows[i].containers);
        template_free(&t);
        json_free(sc);
    }
}

Test(template, full_form_is_kept)
{
    struct template t;
    struct err err = ERR_INIT;

    cr_assert_eq(
            parse("{'template':{'spec':{'nodeName':'n','containers':[{'name':'a','image':'x'},{'name':'b',"
                  "'image':'y','securityContext':{'readOnlyRootFilesystem':true}}]}}}",
                    &t, &err),
            0);
    _cleanup_buf_ struct buf all = BUF_INIT(100), read_only = BUF_INIT(100);

    template_container_names(&t, false, &all);
    template_container_names(&t, true, &read_only);
    cr_assert_str_eq(buf_str(&all), "a,b");
    cr_assert_str_eq(buf_str(&read_only), "b");
    cr_assert_str_eq(t.node_name, "n");
    cr_assert_null(json_at(t.spec, "nodeName"), "the scheduler must still check resources");
    template_free(&t);
}

struct refusal {
    const char *spec;
    const char *words;
};

static void check_refused(const struct refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct template t;
        struct err err = ERR_INIT;

        cr_assert_eq(parse(cases[i].spec, &t, &err), -EINVAL, "%s was taken", cases[i].spec);
        cr_assert(strstr(err_text(&err), cases[i].words), "%s: %s", cases[i].spec, err_text(&err));
        cr_assert_null(t.spec);
        cr_assert_neq(t.hash[0], '\0', "a refused template still has its hash");
    }
}

Test(template, refusals)
{
    static const struct refusal cases[] = {
            {"{'template':{'spec':{}}}", "either containers"},
            {"{'template':{'spec':{'image':'x','containers':[]}}}", "not both"},
            {"{'template':{'spec':{'containers':[{'name':'a','image':'x'}]},'volumes':[]}}", "short form"},
            {"{'template':{'spec':{'containers':[]}}}", "between 1 and"},
            {"{'template':{'spec':{'containers':[{'name':'a'}]}}}", "a name and an image"},
            {"{'template':{'spec':{'containers':[{'name':'a','image':'x'},{'name':'a','image':'x'}]}}}",
                    "two containers"},
            {"{'template':{'spec':{'image':'x','hostUsers':false}}}", "hostUsers"},
            {"{'template':{'spec':{'image':'x','os':{'name':'windows'}}}}", "Linux only"},
            {"{'template':{'spec':{'image':'x','nodeSelector':{'kubernetes.io/os':'windows'}}}}", "windows"},
            {"{'template':{'spec':{'image':'x','runtimeClassName':'gvisor'}}}", "RuntimeClass gvisor"},
            {"{'attach':'Chroot','template':{'spec':{'image':'x','securityContext':{'capabilities':{'drop':['"
             "ALL']}}}}}",
                    "attach: Pivot"},
            {"{'attach':'Chroot','template':{'spec':{'image':'x','securityContext':{'runAsUser':1,"
             "'allowPrivilegeEscalation':false}}}}",
                    "attach: Pivot"},
            {"{'rootfs':{'persistence':'Else'},'template':{'spec':{'image':'x'}}}",
                    "neither Provider nor Node"},
            {"{'rootfs':{'sizeLimit':'1Gi'},'template':{'spec':{'image':'x'}}}", "persistence: Node"},
            {"{'rootfs':{'persistence':'Node','sizeLimit':'1Mb'},'template':{'spec':{'image':'x'}}}",
                    "such as 10Gi"},
            {"{'rootfs':{'persistence':'Node','sizeLimit':1048575},'template':{'spec':{'image':'x'}}}",
                    "at least 1Mi"},
            {"{'provider':{'nodeSelector':{'z':'1'}},'template':{'spec':{'image':'x','nodeSelector':{'z':'2'}"
             "}}}",
                    "one node"},
    };

    check_refused(cases, ARRAY_SIZE(cases));
}

Test(template, refused_volumes)
{
    static const struct refusal cases[] = {
            {"{'template':{'spec':{'image':'x'},'volumes':[{'name':'stoppablecontainer'}]}}", "rename it"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'/.stoppablecontainer/x'}]}}}",
                    "choose another path"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'/.stoppablecontainer'}]}}}",
                    "choose another path"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'//a/.././.stoppablecontainer/"
             "'}]}}}",
                    "is ours"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'.stoppablecontainer/x'}]}}}",
                    "is ours"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'../.stoppablecontainer'}]}}}",
                    "is ours"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'/'}]}}}",
                    "the root is what is preserved"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'/x/..'}]}}}",
                    "the root is what"},
            {"{'template':{'spec':{'image':'x','volumeMounts':[{'name':'stoppablecontainer','mountPath':'/"
             "x'}]}}}",
                    "container main mounts the volume stoppablecontainer"},
            {"{'template':{'spec':{'containers':[{'name':'a','image':'x'}],'initContainers':[{'name':'i','"
             "volumeMounts':[{"
             "'name':'stoppablecontainer','mountPath':'/x'}]}]}}}",
                    "container i mounts the volume stoppablecontainer"},
            {"{'template':{'spec':{'image':'x','volumeDevices':[{'name':'v','devicePath':'/data/disk'}]}}}",
                    "in /dev only"},
            {"{'template':{'spec':{'image':'x','volumeDevices':[{'name':'v','devicePath':'/dev/../disk'}]}}}",
                    "in /dev only"},
    };

    check_refused(cases, ARRAY_SIZE(cases));
}

Test(template, allowed)
{
    static const char *const cases[] = {
            "{'template':{'spec':{'image':'x','runtimeClassName':'plain'}}}",
            "{'template':{'spec':{'image':'x','os':{'name':'linux'},'hostUsers':true}}}",
            "{'attach':'Chroot','template':{'spec':{'image':'x','securityContext':{'runAsUser':1}}}}",
            "{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'/.stoppablecontainers'}]}}}",
            "{'template':{'spec':{'image':'x','volumeMounts':[{'mountPath':'/.stoppablecontainer/../x'}]}}}",
            "{'template':{'spec':{'image':'x','volumeDevices':[{'devicePath':'/dev/xvda'},{'devicePath':'//"
            "dev/./y'}]}}}",
            "{'template':{'spec':{'containers':[{'name':'a','image':'x'}],'initContainers':[{'name':'i','"
            "volumeMounts':[{"
            "'mountPath':'/.stoppablecontainer'}],'volumeDevices':[{'devicePath':'/x'}]}]}}}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct template t;
        struct err err = ERR_INIT;

        cr_assert_eq(parse(cases[i], &t, &err), 0, "%s: %s", cases[i], err_text(&err));
        template_free(&t);
    }
}

/* One container with that securityContext, in a pod with the other one. "": taken. */
static void chroot_case(const char *pod, const char *container, const char *words)
{
    struct template t;
    struct err err = ERR_INIT;
    char spec[1024];
    int r;

    (void)snprintf(spec, sizeof(spec),
            "{'attach':'Chroot','template':{'spec':{'securityContext':{%s},'containers':[{'name':'other','"
            "image':'x'},"
            "{'name':'c','image':'x','securityContext':{%s}}]}}}",
            pod, container);
    r = parse(spec, &t, &err);
    cr_assert_eq(r, words[0] ? -EINVAL : 0, "%s: %d %s", spec, r, err_text(&err));
    if (words[0])
        cr_assert(strstr(err_text(&err), words) && strstr(err_text(&err), "attach: Pivot"), "%s: %s", spec,
                err_text(&err));
    else
        template_free(&t);
}

Test(template, chroot_where_it_can_work)
{
    static const char escalation[] = "forbids privilege escalation",
                      dropped[] = "drops the capability SYS_CHROOT";
    static const struct {
        const char *pod, *container, *words;
    } cases[] = {
            {"", "", ""},
            {"", "'runAsUser':1000", ""},
            {"", "'runAsNonRoot':true", ""},
            {"", "'allowPrivilegeEscalation':false", ""}, /* root by all that is known */
            {"", "'runAsUser':0,'allowPrivilegeEscalation':false", ""},
            {"'runAsUser':1000", "'runAsUser':0,'allowPrivilegeEscalation':false", ""},
            {"", "'runAsUser':1000,'allowPrivilegeEscalation':true", ""},
            {"", "'runAsUser':1000,'allowPrivilegeEscalation':false", escalation},
            {"'runAsUser':1000", "'allowPrivilegeEscalation':false", escalation},
            {"'runAsNonRoot':true", "'allowPrivilegeEscalation':false", escalation},
            {"", "'runAsNonRoot':true,'allowPrivilegeEscalation':false", escalation},
            {"'runAsNonRoot':true", "'runAsNonRoot':false,'allowPrivilegeEscalation':false", ""},
            {"", "'capabilities':{'drop':['ALL']}", dropped},
            {"", "'capabilities':{'drop':['all']}", dropped},
            {"", "'capabilities':{'drop':['SYS_CHROOT']}", dropped},
            {"", "'capabilities':{'drop':['CAP_SYS_CHROOT']}", dropped},
            {"", "'capabilities':{'drop':['NET_RAW']}", ""},
            {"", "'capabilities':{'drop':['ALL'],'add':['SYS_CHROOT']}", ""},
            {"", "'capabilities':{'drop':['ALL'],'add':['NET_ADMIN']}", dropped},
            {"", "'capabilities':{'drop':['SYS_CHROOT'],'add':['ALL']}", ""},
            {"", "'runAsUser':1,'capabilities':{'drop':['ALL'],'add':['SYS_CHROOT']}", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        chroot_case(cases[i].pod, cases[i].container, cases[i].words);
}

Test(template, chroot_needs_its_place)
{
    static const struct {
        const char *path;
        bool taken;
    } cases[] = {{"/rootfs", true}, {"/rootfs/data", true}, {"/rootfs2", false}, {"/data/rootfs", false}};

    for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        bool chroot = i % 2, refused = chroot && cases[i / 2].taken;
        struct template t;
        struct err err = ERR_INIT;
        char spec[512];

        (void)snprintf(spec, sizeof(spec),
                "{'attach':'%s','template':{'spec':{'image':'x','volumeMounts':[{'name':'v','mountPath':'%s'}"
                "]}}}",
                chroot ? "Chroot" : "Pivot", cases[i / 2].path);
        cr_assert_eq(parse(spec, &t, &err), refused ? -EINVAL : 0, "%s: %s", spec, err_text(&err));
        if (refused)
            cr_assert(strstr(err_text(&err), "attach: Pivot"), "%s", err_text(&err));
        else
            template_free(&t);
    }
}

Test(template, names_that_cannot_be)
{
    static const char *const names[] = {
            "x-provider", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 55 */};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct json *sc = lit("{'metadata':{},'spec':{'template':{'spec':{'image':'x'}}}}");
        struct template t = {0};

        json_set_str(json_field(sc, "metadata"), "name", names[i]);
        cr_assert_eq(template_parse(sc, &rules, &t, NULL), -EINVAL, "%s", names[i]);
        json_free(sc);
    }
}

Test(template, hash_follows_what_the_pods_are_made_from)
{
    struct template a, b, c, d;

    cr_assert_eq(
            parse("{'running':true,'template':{'spec':{'image':'x','env':[],'args':['1']}}}", &a, NULL), 0);
    cr_assert_eq(
            parse("{'running':false,'rootfs':{'resetToken':'t'},'template':{'spec':{'args':['1'],'env':[],"
                  "'image':'x'}}}",
                    &b, NULL),
            0);
    cr_assert_eq(parse("{'template':{'spec':{'image':'x','args':['2']}}}", &c, NULL), 0);
    cr_assert_eq(
            parse("{'attach':'Chroot','template':{'spec':{'image':'x','env':[],'args':['1']}}}", &d, NULL),
            0);
    cr_assert_str_eq(a.hash, b.hash, "order of fields and what acts elsewhere make no difference");
    cr_assert_str_neq(a.hash, c.hash);
    cr_assert_str_neq(a.hash, d.hash);
}

Test(template, listed_words)
{
    cr_assert(template_listed("a,bc", "bc") && template_listed("a", "a"));
    cr_assert(!template_listed("a,bc", "b") && !template_listed("", "a") && !template_listed("a", ""));
}
