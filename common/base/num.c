/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict numbers (num.h), digit by digit: the C library's parsers skip space, take signs and prefixes, and
 * follow the locale.
 */
#include "common/base/num.h"

#include <string.h>

static int parse_digits(const char *text, size_t len, unsigned int base, uint64_t *ret)
{
    uint64_t value = 0;
    int overflow = 0;

    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        unsigned int digit = (unsigned int)((unsigned char)text[i] - '0');

        if (digit >= base)
            return -EINVAL;
        overflow |= __builtin_mul_overflow(value, base, &value);
        overflow |= __builtin_add_overflow(value, digit, &value);
    }
    if (overflow)
        return -ERANGE;
    *ret = value;
    return 0;
}

int num_parse_u64_n(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t value;
    int r = parse_digits(text, len, 10, &value);

    if (r < 0)
        return r;
    if (value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

int num_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    return num_parse_u64_n(text, strlen(text), min, max, ret);
}

int num_parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    const uint64_t lowest = (uint64_t)INT64_MAX + 1; /* the size of INT64_MIN */
    int negative = text[0] == '-';
    uint64_t size;
    int64_t value;
    int r;

    r = parse_digits(text + negative, strlen(text + negative), 10, &size);
    if (r < 0)
        return r;
    if (size > (negative ? lowest : (uint64_t)INT64_MAX))
        return -ERANGE;
    if (negative && size == lowest)
        value = INT64_MIN;
    else
        value = negative ? -(int64_t)size : (int64_t)size;
    if (value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

int num_parse_octal(const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t value;
    int r = parse_digits(text, strlen(text), 8, &value);

    if (r < 0)
        return r;
    if (value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}
