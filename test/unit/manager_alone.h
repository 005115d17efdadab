/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manager that leads, without an API server: what its stores hold is put there by hand, and nothing is answered.
 */
#pragma once

#include <criterion/criterion.h>

#include "controller/manager_internal.h"

static inline struct manager *manager_alone(
        struct loop *loop, const struct plan_config *config, struct kube_client **ret_client)
{
    struct kube_config *where = calloc(1, sizeof(*where));
    struct manager *m = NULL;
    struct err err = ERR_INIT;

    cr_assert_not_null(where);
    where->server = strdup("http://127.0.0.1:9");
    where->namespace = strdup("system");
    cr_assert_eq(kube_client_new(loop, where, "test", ret_client, &err), 0, "%s", err_text(&err));
    cr_assert_eq(manager_new(*ret_client, config, &m, &err), 0, "%s", err_text(&err));
    for (int i = 0; i < WATCHES; i++) {
        kube_store_replace_begin(m->stores[i]);
        kube_store_replace_end(m->stores[i], "1");
    }
    manager_lead(m);
    return m;
}
