/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we know of one resource: the newest state of each object that was seen, by any way.
 *
 * Objects come from a reflector (list and watch) and from the answers of our own writes (kube_store_put), in
 * any order. An object replaces the one of its name only when its resourceVersion is higher, so the answer of
 * a write can be put in at once and the watch event of an earlier change that comes late does not take it
 * back. The uid of a deleted object is remembered for some minutes with the version of its end, so that a late
 * answer cannot bring it back to life.
 *
 * Resource versions are compared as numbers: the API server promises that since Kubernetes 1.35 (KEP-5504)
 * and has given etcd revisions ever since before.
 *
 * metadata.managedFields is always dropped; a hook may drop more. No I/O, no clock but for the tombstones.
 */
#pragma once

#include "common/base/err.h"
#include "common/json/json.h"

struct kube_store;

enum kube_change { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED };

/* Called after the change was made. old: the state before (NULL for KUBE_ADDED), valid during the call only.
 * new: the state now (for KUBE_DELETED: NULL), valid until the next change of that object. The handler may
 * read the store; it must not put or delete. It should only note the key: what to do is decided later, from
 * the store. */
typedef void (*kube_change_fn)(
        enum kube_change change, const struct json *old, const struct json *new, void *user);

struct kube_store_config {
    kube_change_fn changed; /* may be NULL */
    void *changed_user;
    void (*slim)(struct json *object, void *user); /* may be NULL: drops what nobody reads, before storing */
    void *slim_user;
};

int kube_store_new(const struct kube_store_config *config, struct kube_store **ret) _must_check_;
struct kube_store *kube_store_free(struct kube_store *store); /* accepts NULL, returns NULL */
DEFINE_CLEANUP_FUNC(struct kube_store *, kube_store_free);
#define _cleanup_kube_store_ _cleanup_(kube_store_freep)

/* Takes the object in every case. Returns 1 when the store changed, 0 when the object is not newer than what
 * is known or than its deletion, -EBADMSG when it has no name, uid or resourceVersion, -E2BIG when the store is
 * full, -ENOMEM. */
int kube_store_put(struct kube_store *store, struct json *object, struct err *err);

/* The object is gone (its last state is given, and stays the caller's). Returns 1 when it was known, else 0;
 * an object of the same name with another, newer uid stays. */
int kube_store_delete(struct kube_store *store, const struct json *last);

/* namespace NULL for cluster-scoped resources. NULL when not known. Valid until the next change of it. */
const struct json *kube_store_get(const struct kube_store *store, const char *namespace, const char *name);

/* Calls fn for each object, in the order in which they came, until it returns something other than 0, and
 * returns that. fn must not change the store. */
int kube_store_each(
        const struct kube_store *store, int (*fn)(const struct json *object, void *user), void *user);
size_t kube_store_size(const struct kube_store *store);

/* For a list: begin, put all that is listed, end. Whatever was not put since `begin` and is not newer than
 * the list is then deleted. A second `begin` starts over. The store is synced after the first `end`. */
void kube_store_replace_begin(struct kube_store *store);
void kube_store_replace_end(struct kube_store *store, const char *list_version);
bool kube_store_synced(const struct kube_store *store);

/* < 0, 0, > 0 as a is older than, the same as or newer than b. Unsigned decimal numbers of any length,
 * without leading zeros; NULL is older than all. */
int kube_version_compare(const char *a, const char *b);
