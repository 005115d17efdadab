/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes out of a text, in place, what json_parse refuses although a correct program may have written it (json_parse_any
 * in json.h): \u0000 becomes \ufffd, and an array or object beyond the depth a 0. The text keeps its length, so that
 * places in messages stay right. A text that is no JSON comes out as another one that is none, or with what was wrong
 * in it gone together with the depth.
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/json/json_internal.h"

/* A string after its opening quote; returns where it ends. */
static size_t soften_string(char *text, size_t len, size_t at)
{
    static const char nul[] = "u0000", instead[] = "ufffd";
    const size_t n = strlen(nul);

    for (; at < len && text[at] != '"'; at++) {
        if (text[at] != '\\' || ++at >= len)
            continue;
        if (len - at >= n && memcmp(text + at, nul, n) == 0)
            memcpy(text + at, instead, n);
    }
    return at;
}

void json_soften(char *text, size_t len)
{
    size_t depth = 0, open = 0;

    for (size_t at = 0; at < len; at++) {
        char c = text[at];

        if (c == '"') {
            at = soften_string(text, len, at + 1);
        } else if (c == '{' || c == '[') {
            if (++depth == LIMIT_JSON_DEPTH + 1)
                open = at;
        } else if ((c == '}' || c == ']') && depth > 0 && depth-- == LIMIT_JSON_DEPTH + 1) {
            memset(text + open, ' ', at + 1 - open);
            text[open] = '0';
        }
    }
}
