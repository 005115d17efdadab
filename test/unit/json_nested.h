/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of any depth, for the tests of its cap. */
#pragma once

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/limits.h"

/* "1" in that many of open and end. The text stays until the next call. */
static const char *nested(size_t depth, const char *open, const char *end)
{
    static char text[8 * LIMIT_JSON_DEPTH];
    struct buf b = BUF_INIT(sizeof(text) - 1);

    for (size_t i = 0; i < depth; i++)
        buf_puts(&b, open);
    buf_puts(&b, "1");
    for (size_t i = 0; i < depth; i++)
        buf_puts(&b, end);
    (void)snprintf(text, sizeof(text), "%s", buf_str(&b));
    buf_free(&b);
    return text;
}
