/* SPDX-License-Identifier: Apache-2.0 */
/* controller/options and apply: the command line, and what an answer of the server means. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "controller/apply.h"
#include "controller/options.h"

static int parse(struct options *o, struct err *err, char *a, char *b)
{
    char name[] = "sc-controller";
    char *argv[] = {name, a, b, NULL};

    return options_parse(1 + (a != NULL) + (b != NULL), argv, o, err);
}

Test(options, understood)
{
    struct options o;
    struct err err = ERR_INIT;
    char image[] = "--reclaim-image=x:1", port[] = "--health-port=8081", level[] = "--log-level=debug",
         class[] = "--provider-priority-class=last";

    cr_assert_eq(parse(&o, &err, image, port), 0, "%s", err_text(&err));
    cr_assert_str_eq(o.reclaim_image, "x:1");
    cr_assert_eq(o.health_port, 8081);
    cr_assert(!o.leader_elect);
    cr_assert_eq(parse(&o, &err, image, level), 0);
    cr_assert_eq(o.log_level, LOG_LEVEL_DEBUG);
    cr_assert_str_eq(o.provider_priority_class, "");
    cr_assert_eq(parse(&o, &err, image, class), 0);
    cr_assert_str_eq(o.provider_priority_class, "last");
}

Test(options, refused)
{
    char image[] = "--reclaim-image=x:1";
    char *bad[] = {strdup("--health-port=70000"), strdup("--health-port="), strdup("--nonsense"),
            strdup("word"), strdup("--log-level=loud"), strdup("--leader-elect=yes")};
    struct options o;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err err = ERR_INIT;

        cr_assert_eq(parse(&o, &err, image, bad[i]), -EINVAL, "%s was taken", bad[i]);
        cr_assert(strstr(err_text(&err), bad[i]), "%s: %s", bad[i], err_text(&err));
        free(bad[i]);
    }
    cr_assert_eq(parse(&o, NULL, NULL, NULL), -EINVAL, "it cannot run without knowing its own image");
}

Test(options, lease_times)
{
    static const struct {
        const char *a, *b;
        int want;
    } cases[] = {
            {"--lease-duration=60", "--lease-renew-deadline=50", 0},
            {"--lease-renew-deadline=4", "--lease-retry-period=2", 0},
            {"--lease-renew-deadline=14", NULL, 0},
            {"--lease-renew-deadline=15", NULL, -EINVAL},
            {"--lease-duration=10", NULL, -EINVAL},
            {"--lease-retry-period=6", NULL, -EINVAL},
            {"--lease-retry-period=5", NULL, 0},
            {"--lease-renew-deadline=3", NULL, -EINVAL},
            {"--lease-duration=3601", NULL, -EINVAL},
            {"--lease-retry-period=0", NULL, -EINVAL},
            {"--lease-duration=1m", NULL, -EINVAL},
            {"--lease-duration=", NULL, -EINVAL},
    };
    char name[] = "sc-controller", image[] = "--reclaim-image=x:1";
    struct options o;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        char *argv[] = {name, image, (char *)(uintptr_t)cases[i].a, (char *)(uintptr_t)cases[i].b, NULL};

        cr_expect_eq(options_parse(cases[i].b ? 4 : 3, argv, &o, &err), cases[i].want, "%s", cases[i].a);
        cr_expect(cases[i].want == 0 || strstr(err_text(&err), "--lease-"), "%s", err_text(&err));
    }
    cr_assert_eq(parse(&o, NULL, image, NULL), 0);
    cr_assert_eq(o.lease_duration, 15 * USEC_PER_SEC);
    cr_assert_eq(o.lease_renew_deadline, 10 * USEC_PER_SEC);
    cr_assert_eq(o.lease_retry_period, 2 * USEC_PER_SEC);
}

Test(apply, outcomes)
{
    static const struct {
        enum action_kind kind;
        int code;
        const char *message;
        enum apply_outcome want;
    } cases[] = {
            {ACT_CONSUMER_CREATE, 0, "", APPLY_DONE},
            {ACT_CONSUMER_CREATE, -EEXIST, "", APPLY_EXISTS},
            {ACT_CONSUMER_CREATE, -EPERM, "exceeded quota", APPLY_REFUSED},
            {ACT_CONSUMER_CREATE, -EPERM, "... because it is being terminated", APPLY_TERMINATING},
            {ACT_RECLAIM_CREATE, -EPERM, "... because it is being terminated", APPLY_REFUSED},
            {ACT_CONSUMER_CREATE, -EINVAL, "", APPLY_REFUSED},
            {ACT_CONSUMER_CREATE, -EAGAIN, "", APPLY_FAILED},
            {ACT_CONSUMER_CREATE, -ETIMEDOUT, "", APPLY_FAILED},
            {ACT_CONSUMER_DELETE, -ENOENT, "", APPLY_DONE},
            {ACT_CONSUMER_DELETE, -ESTALE, "", APPLY_CONFLICT},
            {ACT_SC_STATUS, -ENOENT, "", APPLY_CONFLICT},
            {ACT_SC_STATUS, -ESTALE, "", APPLY_CONFLICT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct kube_result result = {.code = cases[i].code, .message = cases[i].message, .reason = ""};

        cr_assert_eq(apply_outcome(cases[i].kind, &result), cases[i].want, "case %zu", i);
    }
}

Test(apply, requests)
{
    struct action a = {
            .kind = ACT_PROVIDER_DELETE, .grace_seconds = 1, .namespace = "ns", .name = "n", .uid = "u"};
    struct kube_request r = apply_request(&a);

    cr_assert_eq(r.verb, KUBE_DELETE);
    cr_assert_str_eq(r.uid, "u");
    cr_assert_eq(r.grace_seconds, 1);
    a.kind = ACT_SC_STATUS;
    r = apply_request(&a);
    cr_assert_str_eq(r.subresource, "status");
    cr_assert_eq(r.resource, &kube_stoppablecontainers);
    a.kind = ACT_SCI_CREATE;
    r = apply_request(&a);
    cr_assert_null(r.name);
    cr_assert_null(r.uid);
}
