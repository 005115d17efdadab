/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest known state of each object (store.h).
 *
 * An object is one incarnation (uid) of a name. The cases of a put, by what is there under its name:
 *   nothing               added, unless its uid has been deleted since that version
 *   the same uid          modified, when the version is higher
 *   another uid           the one with the higher version is the living one: an older put is dropped, by a
 *                         newer one the old incarnation is deleted first
 */
#include "common/kube/store.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/map.h"

/* Longer than any request's deadline, so that no answer can be older. */
#define TOMBSTONE_AGE ((usec_t)600 * USEC_PER_SEC)

enum { KEY_MAX = LIMIT_NAMESPACE + 1 + LIMIT_NAME + 1, VERSION_TEXT = 24 };

struct entry {
    struct json *object;
    uint64_t generation; /* of the list that mentioned it last */
};

struct tombstone {
    usec_t since;
    char version[]; /* of the deletion, or a later one */
};

struct kube_store {
    struct kube_store_config config;
    struct map *objects; /* "namespace/name" or "name" -> struct entry */
    struct map *tombstones; /* uid -> struct tombstone, oldest first */
    char unburied[VERSION_TEXT]; /* of the last deletion for which there was no memory; "" after a list */
    uint64_t generation;
    bool synced;
};

struct identity {
    char key[KEY_MAX];
    const char *uid;
    const char *version;
};

int kube_version_compare(const char *a, const char *b)
{
    size_t la = a ? strlen(a) : 0, lb = b ? strlen(b) : 0;

    if (la != lb)
        return la < lb ? -1 : 1;
    return la == 0 ? 0 : strcmp(a, b);
}

static int build_key(const char *namespace, const char *name, char ret[KEY_MAX])
{
    int n = namespace ? snprintf(ret, KEY_MAX, "%s/%s", namespace, name) : snprintf(ret, KEY_MAX, "%s", name);

    return n < KEY_MAX ? 0 : -EBADMSG;
}

static int identify(const struct json *object, struct identity *ret, struct err *err)
{
    const struct json *metadata = json_field(object, "metadata");
    const char *name = json_str(metadata, "name");

    ret->uid = json_str(metadata, "uid");
    ret->version = json_str(metadata, "resourceVersion");
    if (!name || !*name)
        return err_say(err, EBADMSG, "an object without metadata.name");
    if (!ret->uid || !*ret->uid)
        return err_say(err, EBADMSG, "object %s has no metadata.uid", name);
    if (!ret->version || !*ret->version || strspn(ret->version, "0123456789") != strlen(ret->version))
        return err_say(err, EBADMSG, "object %s has no numeric metadata.resourceVersion", name);
    if (build_key(json_str(metadata, "namespace"), name, ret->key) < 0)
        return err_say(err, EBADMSG, "an object whose name is longer than %d bytes", KEY_MAX);
    return 0;
}

static void entry_free(void *value)
{
    struct entry *entry = value;

    (void)json_free(entry->object);
    free(entry);
}

int kube_store_new(const struct kube_store_config *config, struct kube_store **ret)
{
    _cleanup_kube_store_ struct kube_store *store = calloc(1, sizeof(*store));

    if (!store)
        return -ENOMEM;
    store->config = *config;
    store->objects = map_new(LIMIT_STORE_OBJECTS, entry_free);
    store->tombstones = map_new(LIMIT_TOMBSTONES, free);
    if (!store->objects || !store->tombstones)
        return -ENOMEM;
    *ret = take_ptr(store);
    return 0;
}

struct kube_store *kube_store_free(struct kube_store *store)
{
    if (!store)
        return NULL;
    (void)map_free(store->objects);
    (void)map_free(store->tombstones);
    free(store);
    return NULL;
}

static void report(
        struct kube_store *store, enum kube_change change, const struct json *old, const struct json *new)
{
    if (store->config.changed)
        store->config.changed(change, old, new, store->config.changed_user);
}

/* Drops what is too old, and the oldest when there is no room. */
static void trim_tombstones(struct kube_store *store, usec_t now)
{
    map_for_each (e, store->tombstones) {
        const struct tombstone *t = e->value;

        if (map_size(store->tombstones) < LIMIT_TOMBSTONES && now < usec_add(t->since, TOMBSTONE_AGE))
            return;
        map_remove(store->tombstones, e->key);
    }
}

/* Nothing of that uid up to that version lives. One that is later is no late answer: a watch with a selector tells an
 * object that is selected no more as deleted, and it may be selected again. */
static bool is_buried(const struct kube_store *store, const char *uid, const char *version)
{
    const struct tombstone *t = map_get(store->tombstones, uid);

    return t && kube_version_compare(version, t->version) <= 0;
}

static int bury(struct kube_store *store, const char *uid, const char *version)
{
    size_t len = strlen(version) + 1;
    usec_t now = clock_monotonic();
    struct tombstone *t;

    trim_tombstones(store, now);
    if (is_buried(store, uid, version))
        return 0;
    t = malloc(sizeof(*t) + len);
    if (!t)
        return -ENOMEM;
    t->since = now;
    memcpy(t->version, version, len);
    map_remove(store->tombstones, uid);
    if (map_put(store->tombstones, uid, t) < 0) {
        free(t);
        return -ENOMEM;
    }
    return 0;
}

/* A deletion that the watch told. It tells every change in order, so what is not there by now, and is not newer, is dead:
 * that is remembered where there is no memory for this one. */
static void bury_told(struct kube_store *store, const struct identity *id)
{
    if (bury(store, id->uid, id->version) < 0 && strlen(id->version) < VERSION_TEXT)
        memcpy(store->unburied, id->version, strlen(id->version) + 1);
}

static void drop(struct kube_store *store, const char *key, const char *version)
{
    struct entry *entry = map_steal(store->objects, key);
    const char *uid = json_str(entry->object, "metadata.uid");

    (void)bury(store, uid, version);
    report(store, KUBE_DELETED, entry->object, NULL);
    entry_free(entry);
}

static void slim(struct kube_store *store, struct json *object)
{
    json_remove(json_field(object, "metadata"), "managedFields");
    if (store->config.slim)
        store->config.slim(object, store->config.slim_user);
}

static int add(struct kube_store *store, const char *key, struct json *object, struct err *err)
{
    struct entry *entry = malloc(sizeof(*entry));
    int r;

    if (!entry) {
        (void)json_free(object);
        return err_set(err, ENOMEM, "%s", key);
    }
    *entry = (struct entry){.object = object, .generation = store->generation};
    r = map_put(store->objects, key, entry);
    if (r < 0) {
        entry_free(entry);
        return err_set(err, r, "%s", key);
    }
    report(store, KUBE_ADDED, NULL, object);
    return 1;
}

static int replace(struct kube_store *store, struct entry *entry, struct json *object)
{
    struct json *old = entry->object;

    entry->object = object;
    report(store, KUBE_MODIFIED, old, object);
    (void)json_free(old);
    return 1;
}

int kube_store_put(struct kube_store *store, struct json *object, struct err *err)
{
    struct identity id;
    struct entry *entry;
    bool newer, same;
    int r = identify(object, &id, err);

    if (r < 0 || is_buried(store, id.uid, id.version)) {
        (void)json_free(object);
        return r < 0 ? r : 0;
    }
    entry = map_get(store->objects, id.key);
    newer = entry || kube_version_compare(id.version, store->unburied) > 0;
    same = false;
    if (entry) {
        entry->generation = store->generation;
        newer = kube_version_compare(id.version, json_str(entry->object, "metadata.resourceVersion")) > 0;
        same = strcmp(id.uid, json_str(entry->object, "metadata.uid")) == 0;
    }
    if (!newer) {
        (void)json_free(object);
        return 0;
    }
    slim(store, object);
    if (same)
        return replace(store, entry, object);
    if (entry)
        drop(store, id.key, id.version);
    return add(store, id.key, object, err);
}

int kube_store_delete(struct kube_store *store, const struct json *last)
{
    struct identity id;
    struct entry *entry;

    if (identify(last, &id, NULL) < 0)
        return 0;
    entry = map_get(store->objects, id.key);
    if (entry && strcmp(id.uid, json_str(entry->object, "metadata.uid")) != 0) {
        bury_told(store, &id);
        if (kube_version_compare(id.version, json_str(entry->object, "metadata.resourceVersion")) < 0)
            return 0;
    }
    bury_told(store, &id);
    if (!entry)
        return 0;
    drop(store, id.key, id.version);
    return 1;
}

const struct json *kube_store_get(const struct kube_store *store, const char *namespace, const char *name)
{
    char key[KEY_MAX];
    const struct entry *entry;

    if (build_key(namespace, name, key) < 0)
        return NULL;
    entry = map_get(store->objects, key);
    return entry ? entry->object : NULL;
}

int kube_store_each(
        const struct kube_store *store, int (*fn)(const struct json *object, void *user), void *user)
{
    map_for_each (e, store->objects) {
        const struct entry *entry = e->value;
        int r = fn(entry->object, user);

        if (r != 0)
            return r;
    }
    return 0;
}

size_t kube_store_size(const struct kube_store *store)
{
    return map_size(store->objects);
}

bool kube_store_synced(const struct kube_store *store)
{
    return store->synced;
}

void kube_store_replace_begin(struct kube_store *store)
{
    store->generation++;
    store->unburied[0] = '\0'; /* what a list has is alive */
}

void kube_store_replace_end(struct kube_store *store, const char *list_version)
{
    /* An entry newer than the list came from a write of ours after it. */
    map_for_each (e, store->objects) {
        const struct entry *entry = e->value;

        if (entry->generation != store->generation &&
                kube_version_compare(json_str(entry->object, "metadata.resourceVersion"), list_version) <= 0)
            drop(store, e->key, list_version);
    }
    store->synced = true;
}
