/* SPDX-License-Identifier: Apache-2.0 */
/* controller/quantity: sizes as people write them. */
#include "controller/quantity.h"

#include <errno.h>

#include "test/unit/world.h"

Test(quantity, sizes)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
            {"0", 0},
            {"1", 1},
            {"9223372036854775807", INT64_MAX},
            {"1k", 1000},
            {"1Ki", 1024},
            {"10Gi", 10737418240},
            {"1.5Gi", 1610612736},
            {"0.1", 1}, /* rounded up */
            {"0.000000001Ki", 1},
            {"1.5T", 1500000000000},
            {"7Ei", 8070450532247928832},
            {"9E", 9000000000000000000},
            {"0.999999999Ei", 1152921503453925472},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t bytes = 77;

        cr_assert_eq(quantity_parse(cases[i].text, &bytes), 0, "%s", cases[i].text);
        cr_assert_eq(bytes, cases[i].bytes, "%s: %lu", cases[i].text, (unsigned long)bytes);
    }
}

Test(quantity, no_sizes)
{
    static const char *const bad[] = {"", "Gi", ".5Gi", "1.", "1.Gi", "-1", "+1", " 1", "1 ", "1 Gi", "1gi",
            "1Gib", "1K", "1m", "1e9", "1E9", "1.5.5", "1.1234567890Gi", "0x10", "1,5", "ki", "1ii"};
    static const char *const large[] = {
            "9223372036854775808", "8Ei", "10E", "9223372036854775807.1", "99999999999999999999"};
    uint64_t bytes = 77;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        cr_assert_eq(quantity_parse(bad[i], &bytes), -EINVAL, "\"%s\" was taken", bad[i]);
    for (size_t i = 0; i < ARRAY_SIZE(large); i++)
        cr_assert_eq(quantity_parse(large[i], &bytes), -ERANGE, "\"%s\" was taken", large[i]);
    cr_assert_eq(bytes, 77, "the result is written only on success");
}

Test(quantity, fields)
{
    struct json *o = lit("{'a':5,'b':'2Ki','c':-1,'d':1.5,'e':true}");
    uint64_t bytes = 0;

    cr_assert(quantity_bytes(o, "a", &bytes) == 0 && bytes == 5);
    cr_assert(quantity_bytes(o, "b", &bytes) == 0 && bytes == 2048);
    cr_assert_eq(quantity_bytes(o, "c", &bytes), -EINVAL);
    cr_assert_eq(quantity_bytes(o, "d", &bytes), -EINVAL);
    cr_assert_eq(quantity_bytes(o, "e", &bytes), -EINVAL);
    cr_assert_eq(quantity_bytes(o, "f", &bytes), -ENOENT);
    json_free(o);
}
