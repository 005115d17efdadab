/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a tree to text (json_write, json_write_canonical), and equality. Our own writer, because cJSON's
 * rounds numbers and knows no cap.
 */
#include <string.h>

#include "common/base/utf8.h"
#include "common/json/json_internal.h"

static int write_node(const cJSON *node, bool canonical, struct buf *b);

static int compare_keys(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;

    return strcmp((*x)->string, (*y)->string);
}

int json_sorted_fields(const cJSON *object, const cJSON ***ret_fields, size_t *ret_n)
{
    const cJSON **fields;
    size_t n = 0;

    for (const cJSON *child = object->child; child; child = child->next)
        n++;
    fields = calloc(n + 1, sizeof(*fields));
    if (!fields)
        return -ENOMEM;
    n = 0;
    for (const cJSON *child = object->child; child; child = child->next)
        fields[n++] = child;
    qsort(fields, n, sizeof(*fields), compare_keys);
    *ret_fields = fields;
    *ret_n = n;
    return 0;
}

/* The character after the backslash, or NUL when there is no short escape. */
static char short_escape(char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t", escaped[] = "\"\\bfnrt";
    const char *p = c ? strchr(plain, c) : NULL;

    return p ? escaped[p - plain] : '\0';
}

static void write_escaped(char c, struct buf *b)
{
    char letter = short_escape(c);

    if (letter) {
        (void)buf_putc(b, '\\');
        (void)buf_putc(b, letter);
    } else {
        (void)buf_printf(b, "\\u%04x", (unsigned int)(unsigned char)c);
    }
}

static int write_string(const char *text, struct buf *b)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t len = strlen(text), start = 0, i = 0;

    (void)buf_putc(b, '"');
    while (i < len) {
        size_t n = utf8_next(text + i, len - i, NULL);

        if (n > 0 && (unsigned char)text[i] >= 0x20 && text[i] != '"' && text[i] != '\\') {
            i += n;
            continue;
        }
        (void)buf_append(b, text + start, i - start);
        if (n > 0)
            write_escaped(text[i], b);
        else
            (void)buf_puts(b, replacement);
        start = ++i;
    }
    (void)buf_append(b, text + start, i - start);
    return buf_putc(b, '"');
}

static int write_field(const cJSON *field, bool canonical, struct buf *b)
{
    (void)write_string(field->string, b);
    (void)buf_putc(b, ':');
    return write_node(field, canonical, b);
}

static int write_sorted_object(const cJSON *object, struct buf *b)
{
    _cleanup_free_ const cJSON **fields = NULL;
    size_t n;
    int r = json_sorted_fields(object, &fields, &n);

    if (r < 0)
        return r;
    (void)buf_putc(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            (void)buf_putc(b, ',');
        r = write_field(fields[i], true, b);
        if (r < 0)
            return r;
    }
    return buf_putc(b, '}');
}

static int write_members(const cJSON *node, bool canonical, struct buf *b)
{
    bool object = cJSON_IsObject(node);
    int r;

    (void)buf_putc(b, object ? '{' : '[');
    for (const cJSON *child = node->child; child; child = child->next) {
        if (child != node->child)
            (void)buf_putc(b, ',');
        r = object ? write_field(child, canonical, b) : write_node(child, canonical, b);
        if (r < 0)
            return r;
    }
    return buf_putc(b, object ? '}' : ']');
}

static int write_node(const cJSON *node, bool canonical, struct buf *b)
{
    if (cJSON_IsObject(node) && canonical)
        return write_sorted_object(node, b);
    if (cJSON_IsObject(node) || cJSON_IsArray(node))
        return write_members(node, canonical, b);
    if (cJSON_IsString(node))
        return write_string(node->valuestring, b);
    if (cJSON_IsNumber(node))
        return canonical ? json_number_write_canonical(node, b) : json_number_write(node, b);
    if (cJSON_IsBool(node))
        return buf_puts(b, cJSON_IsTrue(node) ? "true" : "false");
    return buf_puts(b, "null");
}

int json_write(const struct json *node, struct buf *b)
{
    return write_node(to_cjson(node), false, b);
}

int json_write_canonical(const struct json *node, struct buf *b)
{
    return write_node(to_cjson(node), true, b);
}
