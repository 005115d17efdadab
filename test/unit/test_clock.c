/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/clock: the API's two forms of time, both ways, and what is neither. */
#include <criterion/criterion.h>

#include "common/base/clock.h"

static const struct {
    const char *text;
    usec_t time;
} good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-02T03:04:05Z", 1767323045 * USEC_PER_SEC},
        {"2026-01-02T03:04:05.000006Z", 1767323045 * USEC_PER_SEC + 6},
        {"2026-01-02T03:04:05.5Z", 1767323045 * USEC_PER_SEC + 500000},
        {"2026-01-02T03:04:05.123456789Z", 1767323045 * USEC_PER_SEC + 123456},
        {"2026-01-02T05:04:05+02:00", 1767323045 * USEC_PER_SEC},
        {"2026-01-01T21:34:05-05:30", 1767323045 * USEC_PER_SEC},
        {"2024-02-29T00:00:00Z", 1709164800 * USEC_PER_SEC},
        {"9999-12-31T23:59:59Z", 253402300799 * USEC_PER_SEC},
};

static const char *const bad[] = {
        "",
        "2026",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02t03:04:05z",
        "2026-01-02T03:04:05Zx",
        " 2026-01-02T03:04:05Z",
        "2026-1-2T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-01-00T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-02-29T03:04:05Z", /* no leap year */
        "2026-04-31T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.1",
        "2026-01-02T03:04:05+2:00",
        "2026-01-02T03:04:05+0200",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+02:60",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01", /* before 1970 in UTC */
        "-026-01-02T03:04:05Z",
};

Test(clock, parses_what_the_api_writes)
{
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        usec_t time = 1;

        cr_assert_eq(clock_parse_time(good[i].text, &time), 0, "%s", good[i].text);
        cr_assert_eq(time, good[i].time, "%s: %llu", good[i].text, (unsigned long long)time);
    }
}

Test(clock, refuses_the_rest)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        usec_t time = 77;

        cr_assert_eq(clock_parse_time(bad[i], &time), -EINVAL, "\"%s\"", bad[i]);
        cr_assert_eq(time, 77);
    }
}

Test(clock, formats_both_forms)
{
    char text[CLOCK_TEXT_MAX];

    clock_format_time(1767323045 * USEC_PER_SEC + 999999, text);
    cr_assert_str_eq(text, "2026-01-02T03:04:05Z");
    clock_format_micro_time(1767323045 * USEC_PER_SEC + 6, text);
    cr_assert_str_eq(text, "2026-01-02T03:04:05.000006Z");
    clock_format_micro_time(0, text);
    cr_assert_str_eq(text, "1970-01-01T00:00:00.000000Z");
}

Test(clock, what_is_written_is_read_back)
{
    usec_t now = clock_realtime(), back = 0;
    char text[CLOCK_TEXT_MAX];

    clock_format_micro_time(now, text);
    cr_assert_eq(clock_parse_time(text, &back), 0);
    cr_assert_eq(back, now);
}

Test(clock, addition_saturates)
{
    cr_assert_eq(usec_add(1, 2), 3);
    cr_assert_eq(usec_add(USEC_INFINITY, 0), USEC_INFINITY);
    cr_assert_eq(usec_add(USEC_INFINITY, 1), USEC_INFINITY);
    cr_assert_eq(usec_add(USEC_INFINITY - 1, 1), USEC_INFINITY);
    cr_assert_eq(usec_add(USEC_INFINITY - 1, 5), USEC_INFINITY);
    cr_assert_eq(usec_add(5, USEC_INFINITY - 1), USEC_INFINITY);
}

Test(clock, monotonic_goes_forward)
{
    usec_t before = clock_monotonic();

    cr_assert_gt(before, 0);
    cr_assert_geq(clock_monotonic(), before);
    cr_assert_gt(clock_realtime(), 1700000000 * USEC_PER_SEC);
}
