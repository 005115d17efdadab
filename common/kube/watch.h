/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One watch: one connection of its own over which the server sends one JSON document a line.
 *
 * It ends by itself after 5 to 10 minutes (timeoutSeconds, at random so that watches do not end together).
 * Bookmarks are asked for. An idle watch costs no system call: whether the peer is still there is asked by
 * the kernel (TCP keepalive, TCP_USER_TIMEOUT).
 */
#pragma once

#include "common/kube/client.h"

struct kube_watch;

enum kube_watch_type {
    KUBE_WATCH_ADDED,
    KUBE_WATCH_MODIFIED,
    KUBE_WATCH_DELETED, /* the object as it was last */
    KUBE_WATCH_BOOKMARK, /* only metadata.resourceVersion is meaningful */
};

struct kube_watch_spec {
    const struct kube_resource *resource;
    const char *namespace; /* NULL: all */
    const char *label_selector;
    const char *field_selector;
    const char *resource_version; /* events after this one */

    void (*opened)(void *user); /* the server has begun to answer. May be NULL */
    /* object is the callback's (json_free it). */
    void (*event)(enum kube_watch_type type, struct json *object, void *user);
    /* The watch ended, and is gone. code 0: in order (the server's time was up, or it went away between two
     * lines). -ESTALE: the version is too old (410, by HTTP status or by an ERROR event): list again.
     * -EBADMSG: a line that cannot be read or is longer than LIMIT_WATCH_LINE: list again. Others: as for a
     * call. */
    void (*done)(const struct kube_result *result, void *user);
    void *user;
};

int kube_watch_start(struct kube_client *client, const struct kube_watch_spec *spec, struct kube_watch **ret,
        struct err *err) _must_check_;

/* From any callback, but not after `done`. Accepts NULL; returns NULL. */
struct kube_watch *kube_watch_cancel(struct kube_watch *watch);
