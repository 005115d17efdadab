/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's own memory of what is to be looked at: a change that could not be noted is not forgotten.
 */
#include "common/base/limits.h"
#include "test/unit/alloc.h"
#include "test/unit/manager_alone.h"

/* One of which nothing is to be written: it goes, and holds nothing. */
static struct json *object(void)
{
    static const char text[] =
            "{\"metadata\":{\"name\":\"box\",\"namespace\":\"ns\",\"uid\":\"u\",\"resourceVersion\":\"2\","
            "\"deletionTimestamp\":\"2027-01-15T08:16:40Z\"},\"spec\":{\"template\":{\"spec\":{\"image\":"
            "\"x\"}}}}";
    struct json *root = NULL;

    cr_assert_eq(json_parse(text, strlen(text), &root, NULL), 0);
    return root;
}

static void run_change(void *user _unused_, struct alloc_outcome *ret)
{
    static const struct plan_config config = {.namespace = "system", .host = "test"};
    struct json *sc = object();
    struct kube_client *client = NULL;
    struct loop *loop = NULL;
    struct manager *m;
    usec_t end;

    cr_assert_eq(loop_new(&loop, NULL), 0);
    m = manager_alone(loop, &config, &client);
    alloc_begin();
    ret->r = kube_store_put(m->stores[WATCH_SC], sc, NULL);
    alloc_end();
    if (m->look_again_at) { /* the time passes */
        m->look_again_at = 1;
        (void)loop_timer_set(m->timer, 0);
    }
    end = clock_monotonic() + (ret->r == 1 ? 10 * USEC_PER_SEC : 0);
    while (m->stats.plans == 0 && clock_monotonic() < end)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    ret->text = ret->r == 1 ? strdup(m->stats.plans ? "looked at" : "forgotten") : NULL;
    manager_free(m);
    kube_client_free(client);
    loop_free(loop);
}

Test(alloc_manager, a_change_that_cannot_be_noted_is_not_forgotten)
{
    alloc_torture(&(struct alloc_case){.name = "change", .run = run_change, .may_pass = true});
}
