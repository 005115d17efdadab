/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans a text by the grammar of RFC 8259 before cJSON sees it, and stricter than cJSON: no control
 * characters in strings, no half surrogate pairs, no \u0000 (it would cut a C string), valid UTF-8, no
 * numbers like 01 or 1., a depth and a number of values that are capped. It allocates only the list of
 * numbers that have to keep their text. Recursion is bounded by the depth.
 *
 * Not seen here: duplicate keys, which can be spelt differently; they are compared decoded, in the tree.
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/base/utf8.h"
#include "common/json/json_internal.h"

enum { PLACES_FIRST = 64, EXPONENT_DIGITS = 4 };

struct scan {
    const char *text;
    size_t len;
    size_t pos;
    size_t depth;
    size_t values;
    size_t numbers;
    struct json_number_places *places;
    struct err *err;
};

static int scan_value(struct scan *s);

static int refuse(const struct scan *s, const char *what)
{
    return err_say(s->err, EBADMSG, "not acceptable JSON at byte %zu: %s", s->pos, what);
}

/* The character at the position, '\0' at the end (a NUL in the text is refused wherever it stands). */
static char peek(const struct scan *s)
{
    return s->pos < s->len ? s->text[s->pos] : '\0';
}

static bool take(struct scan *s, char c)
{
    if (s->pos >= s->len || s->text[s->pos] != c)
        return false;
    s->pos++;
    return true;
}

static void skip_space(struct scan *s)
{
    while (s->pos < s->len && memchr(" \t\r\n", s->text[s->pos], 4))
        s->pos++;
}

static size_t skip_digits(struct scan *s)
{
    size_t start = s->pos;

    while (peek(s) >= '0' && peek(s) <= '9')
        s->pos++;
    return s->pos - start;
}

/* Four hex digits at the position. */
static bool take_hex4(struct scan *s, uint32_t *ret)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++, s->pos++) {
        char c = peek(s);

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            value = value << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    *ret = value;
    return true;
}

/* What follows "\u". */
static int scan_unicode_escape(struct scan *s)
{
    uint32_t c, low;

    if (!take_hex4(s, &c))
        return refuse(s, "\\u needs four hex digits");
    if (c == 0)
        return refuse(s, "\\u0000 is not allowed");
    if (c >= 0xdc00 && c <= 0xdfff)
        return refuse(s, "the second half of a surrogate pair alone");
    if (c < 0xd800 || c > 0xdbff)
        return 0;
    if (!take(s, '\\') || !take(s, 'u') || !take_hex4(s, &low) || low < 0xdc00 || low > 0xdfff)
        return refuse(s, "the first half of a surrogate pair alone");
    return 0;
}

static int scan_escape(struct scan *s)
{
    if (take(s, 'u'))
        return scan_unicode_escape(s);
    if (s->pos >= s->len || !memchr("\"\\/bfnrt", s->text[s->pos], 8))
        return refuse(s, "unknown escape");
    s->pos++;
    return 0;
}

/* A string after its opening quote. */
static int scan_string(struct scan *s)
{
    while (s->pos < s->len) {
        unsigned char c = (unsigned char)s->text[s->pos];
        size_t n;
        int r;

        if (c < 0x20)
            return refuse(s, "a control character in a string");
        if (c == '"') {
            s->pos++;
            return 0;
        }
        n = utf8_next(s->text + s->pos, s->len - s->pos, NULL);
        if (n == 0)
            return refuse(s, "not UTF-8");
        s->pos += n;
        if (c == '\\') {
            r = scan_escape(s);
            if (r < 0)
                return r;
        }
    }
    return refuse(s, "a string without end");
}

/* Notes the number from start to the position when it has to keep its text. */
static int note_number(struct scan *s, size_t start)
{
    struct json_number_places *p = s->places;
    size_t ordinal = s->numbers++, len = s->pos - start;

    if (json_number_is_small(s->text + start, len))
        return 0;
    if (p->n == p->alloc) {
        size_t n = p->alloc ? p->alloc * 2 : PLACES_FIRST;
        struct json_number_place *items = reallocarray(p->items, n, sizeof(*items));

        if (!items)
            return err_set(s->err, ENOMEM, "cannot parse JSON");
        p->items = items;
        p->alloc = n;
    }
    p->items[p->n++] = (struct json_number_place){.ordinal = ordinal, .offset = start, .len = len};
    return 0;
}

static int scan_number(struct scan *s)
{
    size_t start = s->pos, n;

    (void)take(s, '-');
    if (!take(s, '0') && skip_digits(s) == 0)
        return refuse(s, "a number needs digits");
    if (take(s, '.') && skip_digits(s) == 0)
        return refuse(s, "digits must follow the point");
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            (void)take(s, '-');
        n = skip_digits(s);
        if (n == 0 || n > EXPONENT_DIGITS)
            return refuse(s, "not an exponent that numbers have");
    }
    if (s->pos - start > LIMIT_JSON_NUMBER)
        return refuse(s, "a number of too many digits");
    return note_number(s, start);
}

static int scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);

    if (s->len - s->pos < n || memcmp(s->text + s->pos, word, n) != 0)
        return refuse(s, "not a value");
    s->pos += n;
    return 0;
}

/* The name of a field and its colon. */
static int scan_name(struct scan *s)
{
    int r;

    skip_space(s);
    if (!take(s, '"'))
        return refuse(s, "the name of a field must come here");
    r = scan_string(s);
    if (r < 0)
        return r;
    skip_space(s);
    if (!take(s, ':'))
        return refuse(s, "a colon must come here");
    return 0;
}

/* An array or object after its opening bracket. */
static int scan_members(struct scan *s, bool object)
{
    char end = object ? '}' : ']';
    int r;

    if (++s->depth > LIMIT_JSON_DEPTH)
        return refuse(s, "nested too deep");
    skip_space(s);
    if (take(s, end)) {
        s->depth--;
        return 0;
    }
    do {
        r = object ? scan_name(s) : 0;
        if (r == 0)
            r = scan_value(s);
        if (r < 0)
            return r;
        skip_space(s);
    } while (take(s, ','));
    if (!take(s, end))
        return refuse(s, object ? "a comma or } must come here" : "a comma or ] must come here");
    s->depth--;
    return 0;
}

static int scan_value(struct scan *s)
{
    if (++s->values > LIMIT_JSON_NODES)
        return err_say(s->err, E2BIG, "JSON of more than %d values", LIMIT_JSON_NODES);
    skip_space(s);
    if (take(s, '{'))
        return scan_members(s, true);
    if (take(s, '['))
        return scan_members(s, false);
    if (take(s, '"'))
        return scan_string(s);
    switch (peek(s)) {
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return scan_number(s);
    }
}

int json_scan(const char *text, size_t len, struct json_number_places *places, struct err *err)
{
    struct scan s = {.text = text, .len = len, .places = places, .err = err};
    int r = scan_value(&s);

    if (r < 0)
        return r;
    skip_space(&s);
    if (s.pos < s.len)
        return refuse(&s, "more after the end of the document");
    return 0;
}
