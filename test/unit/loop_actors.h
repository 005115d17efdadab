/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actors of the event loop's tests: sources whose callbacks leave a letter in a record, in the order in
 * which they come, and change the loop under its own feet.
 */
#pragma once

#include <criterion/criterion.h>
#include <string.h>

#include "common/base/loop.h"

static struct loop *loop;
static char record[64];

/* One source under test: what its callback notes, and what it does to others. */
struct actor {
    char letter;
    struct loop_source *src;
    struct actor *removes;
    struct actor *arms; /* a timer, set to `arm_at` */
    usec_t arm_at;
    uint32_t events; /* last seen */
    int code, status; /* last seen */
    int fds[2];
};

static void setup(void)
{
    struct err err = ERR_INIT;

    cr_assert_eq(loop_new(&loop, &err), 0, "%s", err.text);
    record[0] = '\0';
}

static void teardown(void)
{
    loop = loop_free(loop);
    cr_assert_null(loop);
}

static void act(struct actor *a)
{
    size_t len = strlen(record);

    cr_assert_lt(len, sizeof(record) - 1);
    record[len] = a->letter;
    record[len + 1] = '\0';
    if (a->removes)
        a->removes->src = loop_remove(a->removes->src);
    if (a->arms)
        cr_assert_eq(loop_timer_set(a->arms->src, a->arm_at), 0);
}

static void on_timer(struct loop_source *src, usec_t now, void *data)
{
    cr_assert_eq(src, ((struct actor *)data)->src);
    cr_assert_leq(now, clock_monotonic());
    act(data);
}

static void add_timer(struct actor *a, usec_t at)
{
    cr_assert_eq(loop_add_timer(loop, "timer", on_timer, a, &a->src), 0);
    cr_assert_eq(loop_timer_set(a->src, at), 0);
}
