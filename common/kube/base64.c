/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 decoding: four characters give three bytes, '=' fills the last group up.
 */
#include "common/kube/base64.h"

#include <errno.h>
#include <stdbool.h>

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

int base64_decode(const char *text, struct buf *out)
{
    unsigned bits = 0, count = 0, padding = 0;

    for (const char *p = text; *p; p++) {
        int value = value_of(*p);

        if (*p == '\n' || *p == '\r')
            continue;
        if (*p == '=' && count >= 2)
            padding++;
        else if (value < 0 || padding > 0)
            return -EINVAL;
        bits = bits << 6 | (unsigned)(value < 0 ? 0 : value);
        if (++count < 4)
            continue;
        const char bytes[] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        (void)buf_append(out, bytes, 3 - padding);
        bits = count = 0;
    }
    return count == 0 ? buf_error(out) : -EINVAL;
}
