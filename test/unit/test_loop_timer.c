/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/base/loop: timers. Order, moving and removing, also from the callback of another that is due in the
 * same turn.
 */
#include "test/unit/loop_actors.h"

TestSuite(loop_timer, .init = setup, .fini = teardown);

Test(loop_timer, timers_fire_by_instant_then_by_order_of_arming)
{
    usec_t now = clock_monotonic();
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'}, d = {.letter = 'd'};

    add_timer(&a, now - 1000);
    add_timer(&b, now - 3000);
    add_timer(&c, now - 1000);
    add_timer(&d, now - 2000);
    cr_assert_eq(loop_turn(loop, 0), 4);
    cr_assert_str_eq(record, "bdac");
    cr_assert_eq(loop_turn(loop, 0), 0, "each fires once");
}

Test(loop_timer, a_timer_fires_at_its_time_and_not_before)
{
    struct actor a = {.letter = 'a'};
    usec_t at = clock_monotonic() + 20 * USEC_PER_MSEC;
    int calls = 0;

    add_timer(&a, at);
    cr_assert_eq(loop_turn(loop, 0), 0);
    while (calls == 0) {
        calls = loop_turn(loop, 10 * USEC_PER_SEC);
        cr_assert_geq(calls, 0);
    }
    cr_assert_geq(clock_monotonic(), at);
    cr_assert_lt(clock_monotonic(), at + 5 * USEC_PER_SEC);
}

Test(loop_timer, a_new_instant_replaces_the_old_one)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};
    usec_t far_away = clock_monotonic() + 3600 * USEC_PER_SEC;

    add_timer(&a, 1);
    cr_assert_eq(loop_timer_set(a.src, far_away), 0); /* later */
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_eq(loop_timer_set(a.src, 1), 0); /* earlier, after the timerfd was set to the later one */
    cr_assert_eq(loop_turn(loop, 60 * USEC_PER_SEC), 1);
    cr_assert_lt(clock_monotonic(), far_away - 3550 * USEC_PER_SEC, "the timer ended the wait");
    add_timer(&b, 1);
    cr_assert_eq(loop_timer_set(b.src, USEC_INFINITY), 0); /* never */
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_str_eq(record, "a");
}

Test(loop_timer, a_timer_moved_by_one_that_fires_in_the_same_turn)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};

    a.arms = &b;
    a.arm_at = clock_monotonic() + 3600 * USEC_PER_SEC;
    add_timer(&a, 1);
    add_timer(&b, 2);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "a", "b was due too, but had been moved");
    a.arm_at = 1;
    cr_assert_eq(loop_timer_set(a.src, 1), 0);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "aa", "moved into the past: in the next turn");
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "aab");
}

Test(loop_timer, a_timer_that_arms_itself_for_now_does_not_keep_the_turn)
{
    struct actor a = {.letter = 'a', .arms = &a, .arm_at = 1};

    add_timer(&a, 1);
    for (int turn = 1; turn <= 3; turn++)
        cr_assert_eq(loop_turn(loop, USEC_PER_SEC), 1, "turn %d", turn);
    cr_assert_str_eq(record, "aaa");
}

Test(loop_timer, a_due_timer_removed_by_another)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};

    a.removes = &b;
    add_timer(&a, 1);
    add_timer(&b, 2);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_str_eq(record, "a");
}

Test(loop_timer, many_timers_in_any_order)
{
    enum { MANY = 60 };
    static struct actor actors[MANY];

    for (int i = 0; i < MANY; i++) {
        int at = i * 37 % MANY; /* every instant once */

        actors[i].letter = (char)('0' + at);
        add_timer(&actors[i], (usec_t)at + 1);
    }
    for (int i = 0; i < MANY; i += 3)
        actors[i].src = loop_remove(actors[i].src);
    for (int i = 1; i < MANY; i += 3)
        cr_assert_eq(loop_timer_set(actors[i].src, (usec_t)(actors[i].letter - '0') + 1), 0);
    cr_assert_eq(loop_turn(loop, 0), MANY - MANY / 3);
    cr_assert_eq(strlen(record), MANY - MANY / 3);
    for (size_t i = 1; record[i]; i++)
        cr_assert_lt(record[i - 1], record[i]);
}

Test(loop_timer, a_removed_timer_is_replaced_in_the_heap_by_an_earlier_one)
{
    static const int at[] = {1, 'k', 2, 'l', 'm', 4, 3}; /* a heap; the last is earlier than l's parent */
    struct actor actors[ARRAY_SIZE(at)] = {0};

    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        actors[i].letter = (char)(at[i] < 10 ? '0' + at[i] : at[i]);
        add_timer(&actors[i], (usec_t)at[i]);
    }
    loop_remove(actors[3].src);
    cr_assert_eq(loop_turn(loop, 0), 6);
    cr_assert_str_eq(record, "1234km");
}

Test(loop_timer, instants_beyond_the_kernels_time)
{
    struct actor a = {.letter = 'a'};

    add_timer(&a, USEC_INFINITY - 1);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_eq(loop_timer_in(a.src, USEC_INFINITY), 0);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_eq(loop_timer_in(a.src, 0), 0);
    cr_assert_eq(loop_turn(loop, USEC_PER_SEC), 1);
}

Test(loop_timer, an_idle_loop_sleeps)
{
    struct actor a = {.letter = 'a'};
    usec_t before = clock_monotonic();

    add_timer(&a, before + 3600 * USEC_PER_SEC);
    cr_assert_eq(loop_turn(loop, 50 * USEC_PER_MSEC), 0);
    cr_assert_geq(clock_monotonic() - before, 50 * USEC_PER_MSEC, "the turn was one wait, of the whole time");
}
