/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "controller/pod_marks.h"
#include "test/unit/json_text.h"

#define SCI "{\"metadata\":{\"name\":\"box\",\"uid\":\"u-1\"}}"
#define G "stoppablecontainer.xtlsoft.top"
#define LABELS "\"" G "/managed-by\":\"sc-controller\",\"" G "/role\":\"provider\",\"" G "/instance\":\"box\""
#define OWNER "{\"uid\":\"u-1\",\"controller\":true}"
#define VOLUMES(driver, instance, role)                                                       \
    "\"spec\":{\"volumes\":[{\"name\":\"data\",\"csi\":{}},{\"name\":\"stoppablecontainer\"," \
    "\"csi\":{\"driver\":\"" driver "\",\"volumeAttributes\":{\"instance\":\"" instance       \
    "\",\"role\":\"" role "\"}}}]}"
#define OURS VOLUMES(G, "u-1", "provider")

static bool there(const char *labels, const char *owners)
{
    _cleanup_json_ struct json *sci = parsed(SCI);
    _cleanup_json_ struct json *pod = NULL;
    char text[1024];

    snprintf(text, sizeof(text), "{\"metadata\":{\"labels\":{%s},\"ownerReferences\":[%s]}}", labels, owners);
    pod = parsed(text);
    return pod_marks_are_there(pod, sci, "provider");
}

Test(pod_marks, are_three_labels_and_the_owner)
{
    cr_assert(there(LABELS, OWNER));
    cr_assert(there(LABELS ",\"app\":\"x\"", "{\"uid\":\"u-0\"}," OWNER));
    cr_assert_not(there(LABELS, ""));
    cr_assert_not(there(LABELS, "{\"uid\":\"u-1\"}"), "an owner that is no controller");
    cr_assert_not(there(LABELS, "{\"uid\":\"u-2\",\"controller\":true}"));
    cr_assert_not(there("", OWNER));
    cr_assert_not(there("\"" G "/role\":\"provider\",\"" G "/instance\":\"box\"", OWNER));
    cr_assert_not(there("\"" G "/managed-by\":\"sc-controller\",\"" G "/instance\":\"box\"", OWNER));
    cr_assert_not(there("\"" G "/managed-by\":\"sc-controller\",\"" G "/role\":\"provider\"", OWNER));
    cr_assert_not(there(
            "\"" G "/managed-by\":\"me\",\"" G "/role\":\"provider\",\"" G "/instance\":\"box\"", OWNER));
    cr_assert_not(pod_marks_are_there(NULL, NULL, "provider"));
}

static bool fit(const char *rest)
{
    _cleanup_json_ struct json *sci = parsed(SCI);
    _cleanup_json_ struct json *pod = NULL;
    char text[1024];

    snprintf(text, sizeof(text), "{%s}", rest);
    pod = parsed(text);
    return pod_marks_fit(pod, sci, "provider");
}

Test(pod_marks, a_pod_is_known_by_its_volume)
{
    _cleanup_json_ struct json *pod = parsed("{" OURS "}");

    cr_assert(fit(OURS));
    cr_assert_not(fit(VOLUMES(G, "u-1", "consumer")));
    cr_assert_not(fit(VOLUMES(G, "u-2", "provider")));
    cr_assert_not(fit(VOLUMES("other.driver", "u-1", "provider")));
    cr_assert_not(fit("\"metadata\":{\"labels\":{" LABELS "},\"ownerReferences\":[" OWNER "]},\"spec\":{}"));
    cr_assert_not(pod_marks_fit(pod, NULL, "provider"), "without an instance nothing is its pod");
    cr_assert_not(pod_marks_fit(NULL, NULL, "provider"));
}

Test(pod_marks, patch_gives_them_to_this_version_and_keeps_what_is_others)
{
    _cleanup_json_ struct json *sci = parsed(SCI);
    _cleanup_json_ struct json *pod =
            parsed("{\"metadata\":{\"uid\":\"p\",\"resourceVersion\":\"7\",\"labels\":{\"app\":\"x\"},"
                   "\"ownerReferences\":[{\"uid\":\"u-0\",\"name\":\"other\"},{\"uid\":\"u-1\",\"name\":"
                   "\"stale\"}]}," OURS "}");
    _cleanup_json_ struct json *patch = pod_marks_patch(pod, sci, "provider");
    const struct json *owners = json_at(patch, "metadata.ownerReferences");

    cr_assert_str_eq(json_str_or(patch, "metadata.uid", ""), "p");
    cr_assert_str_eq(json_str_or(patch, "metadata.resourceVersion", ""), "7");
    cr_assert_eq(json_len(json_at(patch, "metadata.labels")), 3, "a merge patch leaves other labels alone");
    cr_assert_eq(json_len(owners), 2);
    cr_assert_str_eq(json_str_or(patch, "metadata.ownerReferences[0].name", ""), "other");
    cr_assert_str_eq(json_str_or(patch, "metadata.ownerReferences[1].name", ""), "box");
    cr_assert(pod_marks_are_there(patch, sci, "provider"), "with them it has its marks");
    cr_assert_null(json_field(patch, "spec"));
}
