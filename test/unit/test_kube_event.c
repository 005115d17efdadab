/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as the API server takes them, whatever the object is called and however long the text.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "common/base/limits.h"
#include "common/base/utf8.h"
#include "common/kube/event.h"
#include "test/unit/json_text.h"

static struct kube_event about(const struct json *object)
{
    return (struct kube_event){.about = object,
            .reason = "Stopped",
            .message = "it stopped",
            .component = "sc-controller",
            .host = "pod-1",
            .now = 1767323045 * USEC_PER_SEC};
}

Test(kube_event, all_fields)
{
    _cleanup_json_ struct json *object =
            parsed("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\","
                   "\"namespace\":\"ns\",\"uid\":\"u\",\"resourceVersion\":\"7\"}}");
    struct kube_event spec = about(object);
    _cleanup_json_ struct json *event = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    const char *name;

    spec.warning = true;
    event = kube_event_new(&spec);
    name = json_str(event, "metadata.name");
    cr_assert_eq(strncmp(name, "p.", 2), 0);
    cr_assert_eq(strlen(name), 2 + 16);
    json_remove(json_field(event, "metadata"), "name");
    cr_assert_eq(json_write_canonical(event, &b), 0);
    cr_assert_str_eq(buf_str(&b),
            "{\"apiVersion\":\"v1\",\"count\":1,\"firstTimestamp\":\"2026-01-02T03:04:05Z\","
            "\"involvedObject\":{"
            "\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"ns\",\"resourceVersion\":"
            "\"7\","
            "\"uid\":\"u\"},\"kind\":\"Event\",\"lastTimestamp\":\"2026-01-02T03:04:05Z\",\"message\":\"it "
            "stopped\","
            "\"metadata\":{\"namespace\":\"ns\"},\"reason\":\"Stopped\",\"reportingComponent\":\"sc-"
            "controller\","
            "\"reportingInstance\":\"pod-1\",\"source\":{\"component\":\"sc-controller\",\"host\":\"pod-1\"},"
            "\"type\":\"Warning\"}");
}

Test(kube_event, object_of_a_list_and_cluster_scoped)
{
    _cleanup_json_ struct json *object = parsed("{\"metadata\":{\"name\":\"node\"}}");
    struct kube_event spec = about(object);

    cr_assert_null(kube_event_new(&spec), "no kind");
    spec.kind = "Node";
    spec.api_version = "v1";
    _cleanup_json_ struct json *event = kube_event_new(&spec);
    cr_assert_str_eq(json_str(event, "metadata.namespace"), "default");
    cr_assert_str_eq(json_str(event, "involvedObject.kind"), "Node");
    cr_assert_str_eq(json_str(event, "type"), "Normal");
    cr_assert_null(json_str(event, "involvedObject.namespace"));
    _cleanup_json_ struct json *nameless = parsed("{\"kind\":\"Pod\",\"metadata\":{}}");
    struct kube_event bad = about(nameless);
    cr_assert_null(kube_event_new(&bad));
}

Test(kube_event, long_names_and_texts)
{
    char text[600], name[254], message[4000];

    memset(name, 'n', 253);
    name[253] = '\0';
    name[235] = '.';
    name[234] = '-';
    snprintf(text, sizeof(text), "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"}}", name);
    _cleanup_json_ struct json *object = parsed(text);
    struct kube_event spec = about(object);
    for (size_t i = 0; i + 3 < sizeof(message); i += 3)
        memcpy(message + i, "\xe2\x82\xac", 4);
    spec.message = message;
    _cleanup_json_ struct json *event = kube_event_new(&spec);
    cr_assert_eq(strlen(json_str(event, "metadata.name")), 234 + 17);
    cr_assert_eq(strncmp(json_str(event, "metadata.name") + 233, "n.", 2), 0);
    const char *cut = json_str(event, "message");
    cr_assert_eq(strlen(cut), 1023);
    cr_assert(utf8_valid(cut, strlen(cut)));
}
