/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what counts as newer, incarnations, tombstones, and what its handler is told.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "common/base/limits.h"
#include "common/kube/store.h"

static char told[4096]; /* "A name@version;" for each change */

static void changed(enum kube_change change, const struct json *old, const struct json *new, void *user)
{
    const struct json *object = new ? new : old;

    (void)user;
    cr_assert_eq(change == KUBE_ADDED, old == NULL);
    cr_assert_eq(change == KUBE_DELETED, new == NULL);
    size_t len = strlen(told);
    snprintf(told + len, sizeof(told) - len, "%c %s/%s@%s;", "AMD"[change], json_str(object, "metadata.name"),
            json_str(object, "metadata.uid"), json_str(object, "metadata.resourceVersion"));
}

static void slim(struct json *object, void *user)
{
    (void)user;
    json_remove(object, "heavy");
}

static struct kube_store *store;

static void setup(void)
{
    const struct kube_store_config config = {.changed = changed, .slim = slim};

    cr_assert_eq(kube_store_new(&config, &store), 0);
    told[0] = '\0';
}

static void teardown(void)
{
    store = kube_store_free(store);
}

TestSuite(kube_store, .init = setup, .fini = teardown);

static struct json *object(const char *name, const char *uid, const char *version)
{
    struct json *root;
    char text[1024];
    int n = snprintf(text, sizeof(text),
            "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\",\"uid\":\"%s\",\"resourceVersion\":\"%s\","
            "\"managedFields\":[1,2]},\"heavy\":\"x\",\"data\":1}",
            name, uid, version);

    cr_assert_eq(json_parse(text, (size_t)n, &root, NULL), 0);
    return root;
}

static int put(const char *name, const char *uid, const char *version)
{
    return kube_store_put(store, object(name, uid, version), NULL);
}

static int del(const char *name, const char *uid, const char *version)
{
    _cleanup_json_ struct json *last = object(name, uid, version);

    return kube_store_delete(store, last);
}

static const char *version_of(const char *name)
{
    const struct json *found = kube_store_get(store, "ns", name);

    return found ? json_str(found, "metadata.resourceVersion") : "none";
}

Test(kube_store, versions)
{
    cr_assert_eq(kube_version_compare("9", "9"), 0);
    cr_assert_lt(kube_version_compare("9", "10"), 0);
    cr_assert_gt(kube_version_compare("100", "99"), 0);
    cr_assert_gt(kube_version_compare("123456789012345678901234567890", "99999999999999999999"), 0);
    cr_assert_lt(kube_version_compare(NULL, "1"), 0);
    cr_assert_gt(kube_version_compare("1", NULL), 0);
    cr_assert_eq(kube_version_compare(NULL, NULL), 0);
}

Test(kube_store, add_modify_delete)
{
    cr_assert_eq(put("a", "u1", "9"), 1);
    cr_assert_eq(put("a", "u1", "10"), 1);
    cr_assert_str_eq(version_of("a"), "10");
    cr_assert_eq(del("a", "u1", "11"), 1);
    cr_assert_null(kube_store_get(store, "ns", "a"));
    cr_assert_str_eq(told, "A a/u1@9;M a/u1@10;D a/u1@10;");
    cr_assert_eq(kube_store_size(store), 0);
}

Test(kube_store, old_and_equal_versions_change_nothing)
{
    cr_assert_eq(put("a", "u1", "100"), 1);
    told[0] = '\0';
    cr_assert_eq(put("a", "u1", "100"), 0);
    cr_assert_eq(put("a", "u1", "99"), 0);
    cr_assert_str_eq(told, "");
    cr_assert_str_eq(version_of("a"), "100");
}

Test(kube_store, the_dead_stay_dead)
{
    cr_assert_eq(put("a", "u1", "5"), 1);
    cr_assert_eq(del("a", "u1", "6"), 1);
    cr_assert_eq(put("a", "u1", "6"), 0, "a late answer brought it back");
    cr_assert_eq(del("b", "u2", "8"), 0, "never known");
    cr_assert_eq(put("b", "u2", "8"), 0, "deleted before it was seen");
    cr_assert_eq(put("a", "u3", "9"), 1, "a new one of the name is another object");
}

/* A watch with a label selector tells of an object that lost the label as deleted. */
Test(kube_store, what_was_only_not_selected_comes_back)
{
    cr_assert_eq(put("a", "u1", "5"), 1);
    cr_assert_eq(del("a", "u1", "6"), 1);
    told[0] = '\0';
    cr_assert_eq(put("a", "u1", "9"), 1, "its label was put back");
    cr_assert_str_eq(told, "A a/u1@9;");
    cr_assert_eq(del("a", "u1", "10"), 1);
    cr_assert_eq(put("a", "u1", "9"), 0, "the later end counts");
    cr_assert_eq(put("a", "u1", "11"), 1);
}

Test(kube_store, new_incarnation_before_the_old_ones_end)
{
    cr_assert_eq(put("a", "old", "5"), 1);
    cr_assert_eq(put("a", "new", "9"), 1);
    cr_assert_str_eq(told, "A a/old@5;D a/old@5;A a/new@9;");
    told[0] = '\0';
    cr_assert_eq(put("a", "old", "6"), 0);
    cr_assert_eq(del("a", "old", "7"), 0, "the late event must not remove the new one");
    cr_assert_str_eq(version_of("a"), "9");
    cr_assert_str_eq(told, "");
}

Test(kube_store, end_of_an_incarnation_never_seen_ends_the_older_one)
{
    cr_assert_eq(put("a", "old", "5"), 1);
    cr_assert_eq(del("a", "new", "9"), 1);
    cr_assert_null(kube_store_get(store, "ns", "a"));
}

Test(kube_store, tombstones_are_capped)
{
    for (int i = 0; i < (int)LIMIT_TOMBSTONES + 10; i++) {
        char uid[32];

        snprintf(uid, sizeof(uid), "u%d", i);
        cr_assert_eq(put("a", uid, "5"), 1);
        cr_assert_eq(del("a", uid, "6"), 1);
        told[0] = '\0';
    }
    cr_assert_eq(put("a", "u20", "6"), 0);
    cr_assert_eq(put("a", "u4000", "6"), 0);
    cr_assert_eq(put("a", "u0", "6"), 1, "the oldest makes room");
}

Test(kube_store, slimmed)
{
    cr_assert_eq(put("a", "u1", "5"), 1);
    const struct json *found = kube_store_get(store, "ns", "a");
    cr_assert_null(json_at(found, "metadata.managedFields"));
    cr_assert_null(json_at(found, "heavy"));
    cr_assert_eq(json_int_or(found, "data", 0), 1);
}

Test(kube_store, refuses_what_is_no_object)
{
    static const char *const texts[] = {"{}", "[]", "{\"metadata\":{}}",
            "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"}}",
            "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}",
            "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"1a\"}}",
            "{\"metadata\":{\"name\":\"\",\"uid\":\"u\",\"resourceVersion\":\"1\"}}"};
    struct err err = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct json *root;

        cr_assert_eq(json_parse(texts[i], strlen(texts[i]), &root, NULL), 0);
        cr_assert_eq(kube_store_put(store, root, &err), -EBADMSG, "%s", texts[i]);
    }
    char name[400];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(put(name, "u", "1"), -EBADMSG);
    cr_assert_null(kube_store_get(store, "ns", name));
    cr_assert_eq(kube_store_size(store), 0);
}

static int count(const struct json *o, void *user)
{
    size_t *n = user;

    (*n)++;
    return strcmp(json_str(o, "metadata.name"), "b") == 0 ? 7 : 0;
}

Test(kube_store, each_in_order_until_told_to_stop)
{
    size_t n = 0;

    cr_assert_eq(kube_store_each(store, count, &n), 0);
    put("a", "1", "1");
    put("b", "2", "2");
    put("c", "3", "3");
    cr_assert_eq(kube_store_each(store, count, &n), 7);
    cr_assert_eq(n, 2);
}

Test(kube_store, replace)
{
    put("keep", "k", "1");
    put("gone", "g", "2");
    cr_assert_not(kube_store_synced(store));
    kube_store_replace_begin(store);
    put("keep", "k", "1");
    put("new", "n", "5");
    put("mine", "m", "20");
    told[0] = '\0';
    kube_store_replace_end(store, "10");
    cr_assert(kube_store_synced(store));
    cr_assert_str_eq(told, "D gone/g@2;");
    cr_assert_eq(put("gone", "g", "3"), 0, "its uid is remembered");

    /* Made by a write of ours after the server took the list's snapshot. */
    kube_store_replace_begin(store);
    put("keep", "k", "1");
    told[0] = '\0';
    kube_store_replace_end(store, "15");
    cr_assert_str_eq(told, "D new/n@5;");
    cr_assert_str_eq(version_of("mine"), "20");
}

Test(kube_store, replace_that_starts_over)
{
    put("a", "1", "1");
    kube_store_replace_begin(store);
    put("a", "1", "1");
    kube_store_replace_begin(store);
    kube_store_replace_end(store, "10");
    cr_assert_eq(kube_store_size(store), 0);
}

Test(kube_store, cluster_scoped)
{
    struct json *root;
    static const char text[] = "{\"metadata\":{\"name\":\"node\",\"uid\":\"u\",\"resourceVersion\":\"1\"}}";

    cr_assert_eq(json_parse(text, strlen(text), &root, NULL), 0);
    cr_assert_eq(kube_store_put(store, root, NULL), 1);
    cr_assert_not_null(kube_store_get(store, NULL, "node"));
}
