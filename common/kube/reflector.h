/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a store equal to the server's state: list, then watch from there, for ever.
 *
 *   list       fails: again after a back-off of 0.8 s to 30 s, or after Retry-After where that is longer; to
 *              5 s only where no API server was reached (no answer, or a 502, 503 or 504 without Retry-After),
 *              or a watch was cut: that costs nobody anything, and it goes on at once when the server is back
 *   watch      ends in order: again at once from the last version seen, when it lived at least 5 s, else
 *              after the back-off
 *              410, or a line that cannot be read: list again
 *   outage     before the watch goes on, the server is asked for its version: one that knows less than it did would
 *              take the watch and be silent (kube_client_on_went_back)
 *
 * The back-off starts over once a watch has lived for 2 minutes. The first list is a consistent read like all
 * others (no resourceVersion=0): a server's old cache could make a restarted controller believe that a pod is
 * gone.
 */
#pragma once

#include "common/kube/client.h"
#include "common/kube/store.h"

struct kube_reflector;

struct kube_reflector_config {
    struct kube_client *client;
    struct kube_store *store; /* must outlive the reflector */
    const struct kube_resource *resource;
    const char *namespace; /* NULL: all */
    const char *label_selector; /* NULL: none */
    const char *field_selector;
    /* After the first complete list, once, when the store's handler has been called for all of it. May be
     * NULL. */
    void (*synced)(void *user);
    /* A list or watch failed and will be tried again; `again_in` is when. For the log. May be NULL. */
    void (*failed)(const struct kube_result *result, usec_t again_in, void *user);
    /* The server answers again after it could not be reached (kube_unreached). May be NULL. */
    void (*recovered)(void *user);
    void *user;
};

int kube_reflector_new(const struct kube_reflector_config *config, struct kube_reflector **ret,
        struct err *err) _must_check_;
/* From any callback. Accepts NULL; returns NULL. */
struct kube_reflector *kube_reflector_free(struct kube_reflector *r);
DEFINE_CLEANUP_FUNC(struct kube_reflector *, kube_reflector_free);

/* Tries again now where it waits to: the server is known to be back. */
void kube_reflector_hurry(struct kube_reflector *r);

/* The version up to which the store is current; NULL before the first list. */
const char *kube_reflector_version(const struct kube_reflector *r);
