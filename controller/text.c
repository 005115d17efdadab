/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. */
#include "controller/text.h"

#include <string.h>

#include "common/base/utf8.h"

/* At most three bytes of a character can have been left at the end. */
static void drop_partial(char *text)
{
    size_t len = strlen(text);

    for (int i = 0; i < 3 && len > 0 && !utf8_valid(text, len); i++)
        text[--len] = '\0';
}

void text_copy(char *to, size_t size, const char *from)
{
    if ((size_t)snprintf(to, size, "%s", from) >= size)
        drop_partial(to);
}

void text_format_args(char *to, size_t size, const char *fmt, va_list args)
{
    if (vsnprintf(to, size, fmt, args) >= (int)size)
        drop_partial(to);
}
