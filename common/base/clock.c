/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time (clock.h): the clocks, and RFC 3339 as the Kubernetes API writes and reads it. What the API never
 * sends is refused: instants before 1970, leap seconds, lower-case letters.
 */
#include "common/base/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "common/base/num.h"

static usec_t clock_read(clockid_t id)
{
    struct timespec ts;

    /* Fails only for a clock that the kernel does not have; it has had these for longer than what we need otherwise. */
    if (clock_gettime(id, &ts) < 0)
        abort();
    return (usec_t)ts.tv_sec * USEC_PER_SEC + (usec_t)ts.tv_nsec / 1000;
}

usec_t clock_monotonic(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

usec_t clock_realtime(void)
{
    return clock_read(CLOCK_REALTIME);
}

usec_t clock_boottime(void)
{
    return clock_read(CLOCK_BOOTTIME);
}

usec_t usec_add(usec_t a, usec_t b)
{
    return b > USEC_INFINITY - a ? USEC_INFINITY : a + b;
}

/* "2026-01-02T03:04:05", without fraction and zone. Returns its length. */
static size_t format_seconds(usec_t realtime, char ret[CLOCK_TEXT_MAX])
{
    time_t seconds = (time_t)(realtime / USEC_PER_SEC);
    struct tm tm = {0};

    (void)gmtime_r(&seconds, &tm); /* 64 bits of microseconds end long before tm_year does */
    return strftime(ret, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
}

void clock_format_time(usec_t realtime, char ret[CLOCK_TEXT_MAX])
{
    size_t len = format_seconds(realtime, ret);

    (void)snprintf(ret + len, CLOCK_TEXT_MAX - len, "Z");
}

void clock_format_micro_time(usec_t realtime, char ret[CLOCK_TEXT_MAX])
{
    size_t len = format_seconds(realtime, ret);

    (void)snprintf(ret + len, CLOCK_TEXT_MAX - len, ".%06uZ", (unsigned int)(realtime % USEC_PER_SEC));
}

/* Reads `digits` digits and, when `after` is not NUL, that character. */
static bool take_number(const char **text, size_t digits, char after, unsigned int max, int *ret)
{
    uint64_t value;

    if (strnlen(*text, digits) < digits || num_parse_u64_n(*text, digits, 0, max, &value) < 0)
        return false;
    *text += digits;
    if (after) {
        if (**text != after)
            return false;
        (*text)++;
    }
    *ret = (int)value;
    return true;
}

/* ".000006" or nothing; digits beyond the sixth are dropped. */
static bool take_fraction(const char **text, usec_t *ret)
{
    usec_t value = 0, unit = USEC_PER_SEC / 10;
    const char *p = *text;

    *ret = 0;
    if (*p != '.')
        return true;
    for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
        value += unit * (usec_t)(*p - '0');
    if (p == *text + 1)
        return false;
    *text = p;
    *ret = value;
    return true;
}

/* "Z", "+01:00" or "-01:00", and the end of the text. Seconds east of Greenwich. */
static bool take_zone(const char *text, int64_t *ret)
{
    int hours, minutes;
    bool west = *text == '-';

    if (strcmp(text, "Z") == 0) {
        *ret = 0;
        return true;
    }
    if (*text != '+' && *text != '-')
        return false;
    text++;
    if (!take_number(&text, 2, ':', 23, &hours) || !take_number(&text, 2, '\0', 59, &minutes) || *text)
        return false;
    *ret = (hours * 60 + minutes) * 60;
    if (west)
        *ret = -*ret;
    return true;
}

int clock_parse_time(const char *text, usec_t *ret_realtime)
{
    struct tm tm = {0};
    int day;
    int64_t zone, seconds;
    usec_t fraction;

    if (!take_number(&text, 4, '-', 9999, &tm.tm_year) || !take_number(&text, 2, '-', 12, &tm.tm_mon) ||
            !take_number(&text, 2, 'T', 31, &tm.tm_mday) || !take_number(&text, 2, ':', 23, &tm.tm_hour) ||
            !take_number(&text, 2, ':', 59, &tm.tm_min) || !take_number(&text, 2, '\0', 59, &tm.tm_sec) ||
            !take_fraction(&text, &fraction) || !take_zone(text, &zone))
        return -EINVAL;
    if (tm.tm_mon == 0 || tm.tm_mday == 0)
        return -EINVAL;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    day = tm.tm_mday;
    seconds = (int64_t)timegm(&tm);
    if (tm.tm_mday != day) /* timegm made a later day of it: the month has no such day */
        return -EINVAL;
    seconds -= zone;
    if (seconds < 0)
        return -EINVAL;
    *ret_realtime = (usec_t)seconds * USEC_PER_SEC + fraction;
    return 0;
}
