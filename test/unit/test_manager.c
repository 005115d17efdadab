/* SPDX-License-Identifier: Apache-2.0 */
/*
 * controller/manager: what is kept of what others make, and what is asked before a root is thrown away.
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/names.h"
#include "controller/slim.h"
#include "test/unit/json_text.h"
#include "test/unit/manager_alone.h"

static const struct plan_config config = {.namespace = "system", .host = "test"};

static struct {
    struct loop *loop;
    struct kube_client *client;
    struct manager *m;
    int version;
} it;

static void begin(void)
{
    cr_assert_eq(loop_new(&it.loop, NULL), 0);
    it.m = manager_alone(it.loop, &config, &it.client);
    it.version = 1;
}

static void end(void)
{
    manager_free(it.m);
    kube_client_free(it.client);
    loop_free(it.loop);
}

TestSuite(manager, .init = begin, .fini = end);

_printf_(2, 3) static void put(enum watched what, const char *fmt, ...)
{
    struct json *object;
    char text[1024], version[24];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    object = parsed(text);
    (void)snprintf(version, sizeof(version), "%d", ++it.version);
    cr_assert_eq(json_set_str(json_field(object, "metadata"), "resourceVersion", version), 0);
    cr_assert_eq(kube_store_put(it.m->stores[what], object, NULL), 1);
}

static void put_pod(const char *name)
{
    put(WATCH_POD, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"uid-%s\"},\"spec\":{}}",
            name, name);
}

static void remove_pod(const char *name)
{
    _cleanup_json_ struct json *last = json_copy(kube_store_get(it.m->stores[WATCH_POD], "ns", name));
    char version[24];

    (void)snprintf(version, sizeof(version), "%d", ++it.version);
    cr_assert_eq(json_set_str(json_field(last, "metadata"), "resourceVersion", version), 0);
    cr_assert_eq(kube_store_delete(it.m->stores[WATCH_POD], last), 1);
}

static void turn(void)
{
    for (int i = 0; i < 5; i++)
        (void)loop_turn(it.loop, 0);
}

static void come_and_go(const char *name)
{
    put_pod(name);
    turn();
    remove_pod(name);
    turn();
}

/* One that lives, and others beside it that come and go, of all forms that a name may have. */
Test(manager, names_of_foreign_pods_are_not_kept)
{
    static const char long_name[] = "x123456789x123456789x123456789x123456789x123456789x123";
    char name[128];

    (void)snprintf(name, sizeof(name), "%s-provider", long_name);
    put_pod(name);
    put_pod("a1-provider");
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof(name), "%s-%d", long_name, i);
        come_and_go(name);
        (void)snprintf(name, sizeof(name), "a%d-provider-provider", i);
        come_and_go(name);
        (void)snprintf(name, sizeof(name), "b%d", i);
        come_and_go(name);
    }
    cr_assert_eq(manager_stats(it.m).keys, 0, "%zu names are kept", manager_stats(it.m).keys);
}

static const char *sc_text(const char *token)
{
    static char text[512];

    (void)snprintf(text, sizeof(text),
            "{\"metadata\":{\"name\":\"box\",\"namespace\":\"ns\",\"uid\":\"u\",\"generation\":1,"
            "\"finalizers\":["
            "\"" SC_FINALIZER "\"]},\"spec\":{\"rootfs\":{\"resetToken\":\"%s\"},\"template\":{\"spec\":{"
            "\"image\":\"x\"}}}}",
            token);
    return text;
}

/* No server answers here: nothing is decided. Once it has said the same, the instance is to go. */
Test(manager, a_reset_is_confirmed_first)
{
    usec_t end = usec_add(clock_monotonic(), 10 * USEC_PER_SEC);
    struct key *key;

    put(WATCH_SCI, "{\"metadata\":{\"name\":\"box\",\"namespace\":\"ns\",\"uid\":\"i\",\"ownerReferences\":[{"
                   "\"uid\":"
                   "\"u\",\"controller\":true}]},\"spec\":{\"resetToken\":\"new\"}}");
    put(WATCH_SC, "%s", sc_text("old"));
    turn();
    cr_assert_eq(manager_stats(it.m).plans, 0, "decided by a view that may be behind");
    cr_assert_eq(manager_stats(it.m).failures, 0);
    key = manager_key(it.m, "ns", "box");
    (void)snprintf(key->confirmed, sizeof(key->confirmed), "%d", it.version);
    manager_enqueue(it.m, key);
    while (manager_stats(it.m).failures == 0 && clock_monotonic() < end)
        (void)loop_turn(it.loop, 10 * USEC_PER_MSEC);
    cr_assert_gt(key->memory.retry[ACT_SCI_DELETE].not_before, 0, "the instance is not deleted");
}

static struct json *of_values(const char *text, const char *list, int n)
{
    struct json *object = parsed(text);
    struct json *items = json_ensure_array(json_at(object, list), "args");

    for (int i = 0; i < n; i++)
        cr_assert_eq(json_append_str(items, ""), 0);
    return object;
}

/* What is too large says so, and keeps what decides about a root that is there. */
Test(manager, too_many_values_are_not_kept)
{
    static const char text[] =
            "{\"metadata\":{\"name\":\"b\",\"namespace\":\"ns\",\"uid\":\"u\",\"resourceVersion\":\"9\"},"
            "\"spec\":{"
            "\"running\":true,\"rootfs\":{\"resetToken\":\"t\"},\"template\":{\"spec\":{\"image\":\"x\"}}}}";
    struct template_rules rules = {.runtime_classes = ""};
    struct template t = {.spec = NULL};
    struct err err = ERR_INIT;
    const struct json *kept;

    cr_assert_eq(kube_store_put(it.m->stores[WATCH_SC],
                         of_values(text, "spec.template.spec", LIMIT_SPEC_VALUES - 10), NULL),
            1);
    kept = kube_store_get(it.m->stores[WATCH_SC], "ns", "b");
    cr_assert_not_null(json_at(kept, "spec.template.spec.args"));
    cr_assert_eq(kube_store_put(it.m->stores[WATCH_SC],
                         of_values("{\"metadata\":{\"name\":\"b\",\"namespace\":\"ns\",\"uid\":\"u\","
                                   "\"resourceVersion\":\"10\"},\"spec\":{\"running\":true,\"rootfs\":{"
                                   "\"resetToken\":\"t\"},\"template\":{\"spec\":{\"image\":\"x\"}}}}",
                                 "spec.template.spec", LIMIT_SPEC_VALUES),
                         NULL),
            1);
    kept = kube_store_get(it.m->stores[WATCH_SC], "ns", "b");
    cr_assert_null(json_at(kept, "spec.template"));
    cr_assert(json_bool_or(kept, "spec.running", false));
    cr_assert_str_eq(json_str_or(kept, "spec.rootfs.resetToken", ""), "t");
    cr_assert_eq(template_parse(kept, &rules, &t, &err), -EINVAL);
    cr_assert(strstr(err_text(&err), "more than 16384"), "%s", err_text(&err));
    cr_assert_eq(kube_store_put(it.m->stores[WATCH_POD],
                         of_values("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"p\","
                                   "\"resourceVersion\":\"10\"},\"spec\":{},\"status\":{}}",
                                 "spec", LIMIT_POD_VALUES),
                         NULL),
            1);
    kept = kube_store_get(it.m->stores[WATCH_POD], "ns", "p");
    cr_assert_null(json_field(kept, "spec"));
    cr_assert_str_eq(json_str_or(kept, "metadata.uid", ""), "p");
}
