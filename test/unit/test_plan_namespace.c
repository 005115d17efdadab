/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's decisions in a namespace that terminates, and in one that came back. */
#include "test/unit/world.h"

#define BOX "{'running':true,'template':{'spec':{'image':'debian:12','command':['sleep','1']}}}"

Test(plan_namespace, terminating_namespace_reports_no_loss_and_makes_nothing)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.namespace = NAMESPACE_TERMINATING;
    w.writes = 0;
    delete_pod(&w, &w.provider);
    delete_pod(&w, &w.consumer);
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    pod_finishes(&w, &w.provider);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_eq(w.writes, 0, "%d writes: %s", w.writes, w.events);
    delete_object(&w, &w.sc);
    delete_object(&w, &w.sci);
    world_settle(&w);
    cr_assert(!w.sc && !w.sci);
    world_free(&w);
}

/* A namespace was finalized while its API was not served, and made again under its name: the SC is still there. */
Test(plan_namespace, namespace_that_came_back_is_noticed_within_a_minute)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    w.namespace = NAMESPACE_TERMINATING;
    pod_gone(&w, &w.consumer, false);
    pod_gone(&w, &w.provider, false);
    world_wait(&w, 300 * USEC_PER_SEC);
    cr_assert_eq(w.made[ACT_CONSUMER_CREATE], 1);
    w.asked_namespace = false;
    w.namespace = NAMESPACE_ACTIVE;
    world_wait(&w, 61 * USEC_PER_SEC);
    cr_assert(w.asked_namespace);
    cr_assert_str_eq(condition_text(w.sc, "RootfsIntact", "status"), "False");
    world_free(&w);
}

/* --cascade=orphan, or the reference edited away: what is not ours any more is left alone, and holds nothing. */
Test(plan_namespace, deletion_of_one_whose_instance_was_taken_from_it)
{
    struct world w;

    world_init(&w, BOX);
    world_run(&w);
    json_remove(json_field(w.sci, "metadata"), "ownerReferences");
    touch(&w, w.sci);
    world_settle(&w);
    cr_assert_str_eq(condition_text(w.sc, "Ready", "reason"), "NameConflict");
    delete_object(&w, &w.sc);
    world_wait(&w, 60 * USEC_PER_SEC);
    cr_assert_null(w.sc, "its deletion hangs");
    cr_assert(w.sci && w.consumer && w.provider);
    world_free(&w);
}
