/* SPDX-License-Identifier: Apache-2.0 */
/* controller/workqueue: once, never beside itself, later. */
#include <criterion/criterion.h>

#include "controller/workqueue.h"

Test(workqueue, a_key_added_twice_is_taken_once)
{
    struct workqueue *q = workqueue_new();

    workqueue_add(q, "a");
    workqueue_add(q, "b");
    workqueue_add(q, "a");
    cr_assert_eq(workqueue_length(q), 2);
    cr_assert_str_eq(workqueue_take(q, 0), "a");
    cr_assert_str_eq(workqueue_take(q, 0), "b");
    cr_assert_null(workqueue_take(q, 0));
    workqueue_free(q);
}

Test(workqueue, added_while_processed_is_taken_after_done)
{
    struct workqueue *q = workqueue_new();

    workqueue_add(q, "a");
    workqueue_take(q, 0);
    workqueue_add(q, "a");
    cr_assert_null(workqueue_take(q, 0), "taken beside itself");
    cr_assert_eq(workqueue_next_at(q), USEC_INFINITY, "a timer for what cannot be taken would fire for ever");
    workqueue_done(q, "a");
    cr_assert_eq(workqueue_next_at(q), 0);
    cr_assert_str_eq(workqueue_take(q, 0), "a");
    workqueue_done(q, "a");
    cr_assert_null(workqueue_take(q, 0));
    cr_assert_eq(workqueue_length(q), 0);
    workqueue_free(q);
}

Test(workqueue, later_is_later_and_the_earliest_time_counts)
{
    struct workqueue *q = workqueue_new();

    workqueue_add_at(q, "a", 100);
    workqueue_add_at(q, "a", 50);
    workqueue_add_at(q, "a", 200);
    workqueue_add_at(q, "b", 70);
    cr_assert_eq(workqueue_next_at(q), 50);
    cr_assert_null(workqueue_take(q, 49));
    cr_assert_str_eq(workqueue_take(q, 60), "a");
    cr_assert_null(workqueue_take(q, 60));
    cr_assert_eq(workqueue_next_at(q), 70);
    workqueue_free(q);
}

Test(workqueue, now_cancels_later)
{
    struct workqueue *q = workqueue_new();

    workqueue_add_at(q, "a", 100);
    workqueue_add(q, "a");
    cr_assert_eq(workqueue_length(q), 1);
    cr_assert_str_eq(workqueue_take(q, 0), "a");
    workqueue_done(q, "a");
    cr_assert_null(workqueue_take(q, 1000), "it was taken already");
    workqueue_free(q);
}

Test(workqueue, later_while_processed_waits_for_done_and_its_time)
{
    struct workqueue *q = workqueue_new();

    workqueue_add(q, "a");
    workqueue_take(q, 0);
    workqueue_add_at(q, "a", 10);
    cr_assert_null(workqueue_take(q, 20));
    workqueue_done(q, "a");
    cr_assert_eq(workqueue_next_at(q), 10);
    cr_assert_str_eq(workqueue_take(q, 20), "a");
    workqueue_free(q);
}

/* Also where what is added in between is never all taken. */
Test(workqueue, what_is_due_has_its_turn_in_a_line_that_never_ends)
{
    struct workqueue *q = workqueue_new();

    workqueue_add_at(q, "later", 10);
    workqueue_add_at(q, "much later", 100);
    workqueue_add(q, "a");
    workqueue_add(q, "b");
    workqueue_due(q, 20);
    workqueue_add(q, "c");
    cr_assert_str_eq(workqueue_take(q, 20), "a");
    cr_assert_str_eq(workqueue_take(q, 20), "b");
    cr_assert_str_eq(workqueue_take(q, 20), "later");
    cr_assert_str_eq(workqueue_take(q, 20), "c");
    cr_assert_null(workqueue_take(q, 20));
    cr_assert_eq(workqueue_next_at(q), 100);
    workqueue_free(q);
}
