/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/num: the whole text is the number, or it is refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/num.h"

static const char *const never_numbers[] = {"", " ", " 1", "1 ", "+1", "0x10", "1e3", "1.0", "1_000", "\n1",
        "1\n", "a", "1a", "--1", "-", "\xd9\xa1"};

Test(num, what_is_no_number)
{
    for (size_t i = 0; i < ARRAY_SIZE(never_numbers); i++) {
        uint64_t u = 77;
        int64_t s = 77;

        cr_assert_eq(num_parse_u64(never_numbers[i], 0, UINT64_MAX, &u), -EINVAL, "\"%s\"", never_numbers[i]);
        cr_assert_eq(num_parse_i64(never_numbers[i], INT64_MIN, INT64_MAX, &s), -EINVAL, "\"%s\"",
                never_numbers[i]);
        cr_assert_eq(num_parse_octal(never_numbers[i], UINT64_MAX, &u), -EINVAL, "\"%s\"", never_numbers[i]);
        cr_assert(u == 77 && s == 77, "the result is written only on success");
    }
}

Test(num, u64_takes_no_sign)
{
    uint64_t u;

    cr_assert_eq(num_parse_u64("-1", 0, UINT64_MAX, &u), -EINVAL);
    cr_assert_eq(num_parse_u64("-0", 0, UINT64_MAX, &u), -EINVAL);
}

Test(num, u64_to_the_edges)
{
    uint64_t u = 0;

    cr_assert_eq(num_parse_u64("18446744073709551615", 0, UINT64_MAX, &u), 0);
    cr_assert_eq(u, UINT64_MAX);
    cr_assert_eq(num_parse_u64("18446744073709551616", 0, UINT64_MAX, &u), -ERANGE);
    cr_assert_eq(num_parse_u64("28446744073709551615", 0, UINT64_MAX, &u), -ERANGE);
    cr_assert_eq(num_parse_u64("99999999999999999999999999", 0, UINT64_MAX, &u), -ERANGE);
    cr_assert_eq(num_parse_u64("99999999999999999999999999x", 0, UINT64_MAX, &u), -EINVAL);
    cr_assert_eq(num_parse_u64("0", 0, 0, &u), 0);
    cr_assert_eq(u, 0);
}

Test(num, bounds_are_inclusive)
{
    uint64_t u = 0;
    int64_t s = 0;

    cr_assert_eq(num_parse_u64("5", 5, 6, &u), 0);
    cr_assert_eq(num_parse_u64("6", 5, 6, &u), 0);
    cr_assert_eq(num_parse_u64("4", 5, 6, &u), -ERANGE);
    cr_assert_eq(num_parse_u64("7", 5, 6, &u), -ERANGE);
    cr_assert_eq(u, 6);
    cr_assert_eq(num_parse_i64("-5", -5, 6, &s), 0);
    cr_assert_eq(s, -5);
    cr_assert_eq(num_parse_i64("-6", -5, 6, &s), -ERANGE);
    cr_assert_eq(num_parse_i64("7", -5, 6, &s), -ERANGE);
}

Test(num, i64_to_the_edges)
{
    int64_t s = 0;

    cr_assert_eq(num_parse_i64("9223372036854775807", INT64_MIN, INT64_MAX, &s), 0);
    cr_assert_eq(s, INT64_MAX);
    cr_assert_eq(num_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &s), 0);
    cr_assert_eq(s, INT64_MIN);
    cr_assert_eq(num_parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &s), -ERANGE);
    cr_assert_eq(num_parse_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &s), -ERANGE);
}

Test(num, a_part_of_a_text)
{
    uint64_t u = 0;

    cr_assert_eq(num_parse_u64_n("123abc", 3, 0, 1000, &u), 0);
    cr_assert_eq(u, 123);
    cr_assert_eq(num_parse_u64_n("123abc", 4, 0, 1000, &u), -EINVAL);
    cr_assert_eq(num_parse_u64_n("123", 0, 0, 1000, &u), -EINVAL);
    cr_assert_eq(num_parse_u64_n("1\0002", 3, 0, 1000, &u), -EINVAL);
}

Test(num, octal)
{
    uint64_t u = 0;

    cr_assert_eq(num_parse_octal("0755", 07777, &u), 0);
    cr_assert_eq(u, 0755);
    cr_assert_eq(num_parse_octal("755", 07777, &u), 0);
    cr_assert_eq(u, 0755);
    cr_assert_eq(num_parse_octal("0758", 07777, &u), -EINVAL);
    cr_assert_eq(num_parse_octal("17777", 07777, &u), -ERANGE);
    cr_assert_eq(num_parse_octal("-7", 07777, &u), -EINVAL);
}
