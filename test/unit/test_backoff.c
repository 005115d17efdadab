/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/backoff: min, doubling, max, a quarter of jitter that does not add up. */
#include <criterion/criterion.h>
#include <stdbool.h>

#include "common/base/backoff.h"

static void expect_about(usec_t got, usec_t plain)
{
    cr_assert(got >= plain && got <= plain + plain / 4, "%llu is not %llu and up to a quarter",
            (unsigned long long)got, (unsigned long long)plain);
}

Test(backoff, doubles_from_min_to_max)
{
    static const usec_t plain[] = {100, 200, 400, 800, 1000, 1000, 1000};
    struct backoff b = BACKOFF_INIT(100, 1000);

    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        expect_about(backoff_next(&b), plain[i]);
}

Test(backoff, reset_starts_again)
{
    struct backoff b = BACKOFF_INIT(100, 1000);

    for (int i = 0; i < 5; i++)
        (void)backoff_next(&b);
    backoff_reset(&b);
    expect_about(backoff_next(&b), 100);
    expect_about(backoff_next(&b), 200);
}

Test(backoff, jitter_is_there)
{
    usec_t first = 0;
    bool differs = false;

    for (int i = 0; i < 50 && !differs; i++) {
        struct backoff b = BACKOFF_INIT(USEC_PER_SEC, USEC_PER_SEC);
        usec_t delay = backoff_next(&b);

        differs = first != 0 && delay != first;
        first = delay;
    }
    cr_assert(differs);
}

Test(backoff, no_overflow_at_the_end_of_time)
{
    struct backoff b = BACKOFF_INIT(USEC_INFINITY / 2, USEC_INFINITY);

    for (int i = 0; i < 5; i++)
        cr_assert_geq(backoff_next(&b), USEC_INFINITY / 2);
}
