/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes common/json. What is accepted must come back from its own text as the same document, have the
 * canonical text that its equals have, and be looked up and copied without harm.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

/* Parses text that was written by us, which can only succeed. */
static struct json *again(const struct buf *text)
{
    struct json *root = NULL;

    must(json_parse(buf_str(text), text->len, &root, NULL) == 0);
    return root;
}

static void check_written(const struct json *root)
{
    struct buf text = BUF_INIT(64 * MIB), twice = BUF_INIT(64 * MIB);
    _cleanup_json_ struct json *back = NULL, *copy = json_copy(root);

    must(json_write(root, &text) == 0);
    back = again(&text);
    must(json_equal(root, back) && json_equal(root, copy));
    must(json_write(back, &twice) == 0);
    must(text.len == twice.len && memcmp(buf_str(&text), buf_str(&twice), text.len) == 0);
    buf_free(&text);
    buf_free(&twice);
}

/* Takes all that json_parse takes, as the same, and nothing else that could not be written as it is understood. */
static void check_any(const char *text, size_t size, const struct json *strict)
{
    _cleanup_json_ struct json *any = NULL;

    if (json_parse_any(text, size, &any, NULL) < 0)
        must(!strict && !any);
    else if (strict)
        must(json_equal(any, strict));
    else
        check_written(any);
}

/* The canonical text of an equal tree is the same; and where it can be read back (a long number cannot) it is
 * that tree's. */
static void check_canonical(const struct json *root)
{
    struct buf text = BUF_INIT(64 * MIB), twice = BUF_INIT(64 * MIB);
    _cleanup_json_ struct json *back = NULL, *copy = json_copy(root);

    must(json_write_canonical(root, &text) == 0 && json_write_canonical(copy, &twice) == 0);
    must(strcmp(buf_str(&text), buf_str(&twice)) == 0);
    if (json_parse(buf_str(&text), text.len, &back, NULL) == 0) {
        must(json_equal(root, back));
        buf_reset(&twice);
        must(json_write_canonical(back, &twice) == 0);
        must(strcmp(buf_str(&text), buf_str(&twice)) == 0);
    }
    buf_free(&text);
    buf_free(&twice);
}

static void check_nodes(const struct json *node)
{
    size_t n = 0;

    json_for_each (child, node) {
        const char *key = json_key(child);

        must(json_is_object(node) ? key && json_field(node, key) == child : json_index(node, n) == child);
        (void)json_int_or(child, "", 0);
        check_nodes(child);
        if (++n == 100) /* the look-ups are linear, and so is their use on small objects */
            return;
    }
    must(n == json_len(node));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ struct json *root = NULL;
    struct err err = ERR_INIT;
    char *path = strndup((const char *)data, size);
    int r = json_parse((const char *)data, size, &root, &err);

    must(r == 0 ? root && !err.text[0] : !root && err.text[0]);
    (void)json_at(root, path); /* a path of any bytes */
    free(path);
    check_any((const char *)data, size, root);
    if (!root)
        return 0;
    check_written(root);
    check_canonical(root);
    check_nodes(root);
    return 0;
}
