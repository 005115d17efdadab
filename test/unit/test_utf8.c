/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/utf8: the edges of RFC 3629. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/utf8.h"

static const struct {
    const char *text;
    size_t len;
    uint32_t c;
} good[] = {
        {"\x7f", 1, 0x7f},
        {"\xc2\x80", 2, 0x80},
        {"\xdf\xbf", 2, 0x7ff},
        {"\xe0\xa0\x80", 3, 0x800},
        {"\xed\x9f\xbf", 3, 0xd7ff},
        {"\xee\x80\x80", 3, 0xe000},
        {"\xef\xbf\xbf", 3, 0xffff},
        {"\xf0\x90\x80\x80", 4, 0x10000},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
};

static const char *const bad[] = {
        "\x80", "\xbf", /* a continuation alone */
        "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80", "\xed\xbf\xbf", /* surrogates */
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", /* beyond U+10FFFF */
        "\xc2", "\xe2\x82", "\xf0\x9f\x98", "\xc2\x41", "\xe2\x82\x41", /* cut short */
};

Test(utf8, valid_characters)
{
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint32_t c = 0;

        cr_assert_eq(utf8_next(good[i].text, strlen(good[i].text), &c), good[i].len, "case %zu", i);
        cr_assert_eq(c, good[i].c);
        cr_assert_eq(utf8_next(good[i].text, good[i].len - 1, NULL), 0, "case %zu cut short", i);
        cr_assert(utf8_valid(good[i].text, good[i].len));
    }
}

Test(utf8, invalid_ones)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint32_t c = 77;

        cr_assert_eq(utf8_next(bad[i], strlen(bad[i]), &c), 0, "case %zu", i);
        cr_assert_eq(c, 77);
        cr_assert_not(utf8_valid(bad[i], strlen(bad[i])));
    }
    cr_assert_not(utf8_valid("abc\xff", 4));
    cr_assert(utf8_valid("", 0));
    cr_assert(utf8_valid("a\0b", 3));
}
