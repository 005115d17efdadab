/* SPDX-License-Identifier: Apache-2.0 */
/* See quantity.h. */
#include "controller/quantity.h"

#include <errno.h>
#include <string.h>

#include "common/base/num.h"

enum { FRACTION_DIGITS_MAX = 9 };

/* The factor that the suffix stands for; 0 when it is none. */
static uint64_t factor_of(const char *suffix)
{
    static const char letters[] = "kMGTPE", binary[] = "KMGTPE";
    bool two = suffix[0] && suffix[1] == 'i' && !suffix[2];
    const char *at = strchr(two ? binary : letters, suffix[0]);
    uint64_t factor = 1;

    if (!suffix[0])
        return 1;
    if (!at || (!two && suffix[1]))
        return 0;
    for (const char *p = two ? binary : letters; p <= at; p++)
        factor *= two ? 1024 : 1000;
    return factor;
}

/* Rounded up. The parts are multiplied apart, since factor * value may not fit: value < scale <= 10^9. */
static uint64_t fraction_of(uint64_t factor, uint64_t value, uint64_t scale)
{
    uint64_t rest = (factor % scale) * value;

    return factor / scale * value + rest / scale + (rest % scale ? 1 : 0);
}

int quantity_parse(const char *text, uint64_t *ret)
{
    size_t whole_len = strspn(text, "0123456789");
    const char *end = text + whole_len;
    uint64_t whole, fraction = 0, scale = 1, factor, part;
    int r;

    r = num_parse_u64_n(text, whole_len, 0, INT64_MAX, &whole);
    if (r < 0)
        return r;
    if (*end == '.') {
        size_t len = strspn(++end, "0123456789");

        if (len > FRACTION_DIGITS_MAX || num_parse_u64_n(end, len, 0, INT64_MAX, &fraction) < 0)
            return -EINVAL;
        for (size_t i = 0; i < len; i++)
            scale *= 10;
        end += len;
    }
    factor = factor_of(end);
    if (factor == 0)
        return -EINVAL;
    part = fraction_of(factor, fraction, scale);
    if (whole > (INT64_MAX - part) / factor)
        return -ERANGE;
    *ret = whole * factor + part;
    return 0;
}

int quantity_bytes(const struct json *object, const char *path, uint64_t *ret)
{
    const char *text = json_str(object, path);
    int64_t number = json_int_or(object, path, -1);

    if (text)
        return quantity_parse(text, ret);
    if (!json_at(object, path))
        return -ENOENT;
    if (number < 0)
        return -EINVAL;
    *ret = (uint64_t)number;
    return 0;
}
