/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list, read page by page (limit/continue).
 *
 * Every item is given to `item` and can be taken by nobody: it dies with its page. When the server forgets
 * the snapshot in the middle (410 on a continue token), `restart` says that all items so far are void and the
 * list begins again, at most LIMIT_LIST_RESTARTS times.
 */
#pragma once

#include "common/kube/client.h"

struct kube_list;

struct kube_list_spec {
    const struct kube_resource *resource;
    const char *namespace; /* NULL: all */
    const char *label_selector; /* NULL: none */
    const char *field_selector; /* NULL: none */
    bool from_cache; /* resourceVersion=0: any state the server has at hand; else the newest, a quorum read */
    bool version_only; /* no item is given, and one asked for */
    unsigned page_size; /* 0: 500 */

    void (*item)(const struct json *item, void *user);
    void (*restart)(void *user);
    /* resource_version: where a watch of this list starts; NULL when result->code < 0. result->object is NULL
     * always. */
    void (*done)(const struct kube_result *result, const char *resource_version, void *user);
    void *user;
};

/* Items of a list carry neither apiVersion nor kind (the List has them). Cancel as for a call. */
int kube_list_start(struct kube_client *client, const struct kube_list_spec *spec, struct kube_list **ret,
        struct err *err) _must_check_;
struct kube_list *kube_list_cancel(struct kube_list *list);
