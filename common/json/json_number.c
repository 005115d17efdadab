/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that lose nothing on their way through a double (json_internal.h: a number that is not a small
 * integer keeps its text). The API holds int64 fields and objects of other people's making; both go back as
 * they came.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/num.h"
#include "common/json/json_internal.h"

/* Decimal digits that every double holds (DBL_DIG); the integers of that many digits are the small ones. */
enum { SMALL_DIGITS = 15 };
static const int64_t small_end = 1000000000000000;

bool json_number_is_small(const char *text, size_t len)
{
    size_t sign = len > 0 && text[0] == '-';
    size_t digits = len - sign;

    if (digits == 0 || digits > SMALL_DIGITS || (sign && text[1] == '0')) /* -0 is not 0 */
        return false;
    for (size_t i = sign; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return true;
}

int json_number_keep(cJSON *node, const char *text, size_t len)
{
    char *copy;

    if (!isfinite(node->valuedouble))
        return -ERANGE;
    copy = cJSON_malloc(len + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, len);
    copy[len] = '\0';
    node->valuestring = copy;
    return 0;
}

bool json_number_int(const cJSON *node, int64_t *ret)
{
    if (!cJSON_IsNumber(node))
        return false;
    if (node->valuestring)
        return num_parse_i64(node->valuestring, INT64_MIN, INT64_MAX, ret) == 0;
    *ret = (int64_t)node->valuedouble;
    return true;
}

struct json *json_new_int(int64_t value)
{
    cJSON *node = cJSON_CreateNumber((double)value);
    char text[32];
    int n;

    if (!node || (value < small_end && value > -small_end))
        return from_cjson(node);
    n = snprintf(text, sizeof(text), "%" PRId64, value);
    if (json_number_keep(node, text, (size_t)n) < 0) {
        cJSON_Delete(node);
        return NULL;
    }
    return from_cjson(node);
}

int json_number_write(const cJSON *node, struct buf *b)
{
    if (node->valuestring)
        return buf_puts(b, node->valuestring);
    return buf_printf(b, "%" PRId64, (int64_t)node->valuedouble);
}

/* A number as sign, digits and a power of ten: no leading and no trailing zeros; zero has no digits. */
struct decimal {
    bool negative;
    char digits[LIMIT_JSON_NUMBER + 1];
    size_t n;
    int64_t exponent;
};

/* The mantissa's digits; the exponent is the (negative) number of those behind the point. */
static const char *read_mantissa(const char *p, struct decimal *d)
{
    bool fraction = false;

    for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (fraction)
            d->exponent--;
        if (d->n > 0 || *p != '0')
            d->digits[d->n++] = *p;
    }
    return p;
}

/* Text that json_scan has accepted, so it has at most LIMIT_JSON_NUMBER bytes. */
static void read_decimal(const char *text, struct decimal *ret)
{
    struct decimal d = {.negative = text[0] == '-'};
    const char *p = read_mantissa(text + d.negative, &d);
    int64_t exponent = 0;

    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '+';
        if (num_parse_i64(p, INT16_MIN, INT16_MAX, &exponent) < 0)
            exponent = 0; /* the scan allows four digits: it does not come to this */
    }
    d.exponent += exponent;
    while (d.n > 0 && d.digits[d.n - 1] == '0') {
        d.n--;
        d.exponent++;
    }
    *ret = d;
}

int json_number_write_canonical(const cJSON *node, struct buf *b)
{
    enum { PLAIN_ZEROS = 20 }; /* 10000 is written so, not as 1e4 */
    struct decimal d;

    if (!node->valuestring)
        return json_number_write(node, b);
    read_decimal(node->valuestring, &d);
    if (d.n == 0)
        return buf_putc(b, '0');
    if (d.negative)
        (void)buf_putc(b, '-');
    (void)buf_append(b, d.digits, d.n);
    if (d.exponent < 0 || d.exponent > PLAIN_ZEROS)
        return buf_printf(b, "e%" PRId64, d.exponent);
    for (int64_t i = 0; i < d.exponent; i++)
        (void)buf_putc(b, '0');
    return buf_error(b);
}
