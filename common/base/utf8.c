/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 (utf8.h). The sequences are those of RFC 3629 section 4: the lead byte gives the length, and the
 * smallest character of each length shuts out the overlong forms.
 */
#include "common/base/utf8.h"

static size_t lead_length(unsigned char lead, uint32_t *ret_bits, uint32_t *ret_smallest)
{
    if (lead >= 0xf0 && lead <= 0xf4) {
        *ret_bits = lead & 0x07u;
        *ret_smallest = 0x10000;
        return 4;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        *ret_bits = lead & 0x0fu;
        *ret_smallest = 0x800;
        return 3;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        *ret_bits = lead & 0x1fu;
        *ret_smallest = 0x80;
        return 2;
    }
    *ret_bits = lead;
    *ret_smallest = 0;
    return lead < 0x80 ? 1 : 0;
}

size_t utf8_next(const char *text, size_t len, uint32_t *ret_char)
{
    uint32_t c, smallest;
    size_t n;

    if (len == 0)
        return 0;
    n = lead_length((unsigned char)text[0], &c, &smallest);
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        unsigned char more = (unsigned char)text[i];

        if ((more & 0xc0u) != 0x80)
            return 0;
        c = (c << 6) | (more & 0x3fu);
    }
    if (c < smallest || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    if (ret_char)
        *ret_char = c;
    return n;
}

bool utf8_valid(const char *text, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_next(text + i, len - i, NULL);
        if (n == 0)
            return false;
    }
    return true;
}
