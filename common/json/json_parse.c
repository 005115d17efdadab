/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From text to a tree, in three steps: our own scan (json_scan.c) decides what is acceptable; cJSON builds
 * the tree; a walk over the tree, in the order of the text, gives numbers their text back and refuses
 * duplicate keys. json_parse_any tries again with a softened copy (json_soften.c), where the walk drops them.
 */
#include <string.h>

#include "common/json/json_internal.h"

enum { FEW_FIELDS = 8 };

struct walk {
    const char *text;
    const struct json_number_places *places;
    size_t numbers; /* seen so far */
    size_t next; /* of places */
    bool drop; /* the later of two fields of one key, which is else refused */
    struct err *err;
};

static int settle_number(struct walk *w, cJSON *node)
{
    size_t ordinal = w->numbers++;
    const struct json_number_place *place;
    int r;

    if (w->next == w->places->n || w->places->items[w->next].ordinal != ordinal)
        return 0;
    place = &w->places->items[w->next++];
    r = json_number_keep(node, w->text + place->offset, place->len);
    if (r == -ERANGE)
        return err_say(
                w->err, EBADMSG, "not acceptable JSON at byte %zu: a number out of range", place->offset);
    if (r < 0)
        return err_set(w->err, r, "cannot parse JSON");
    return 0;
}

static int on_duplicate(const struct walk *w, cJSON *object, cJSON *later)
{
    if (!w->drop)
        return err_say(w->err, EBADMSG, "not acceptable JSON: the key \"%s\" is there twice in one object",
                later->string);
    cJSON_Delete(cJSON_DetachItemViaPointer(object, later));
    return 0;
}

static int check_few(const struct walk *w, cJSON *object)
{
    for (const cJSON *a = object->child; a; a = a->next) {
        for (cJSON *b = a->next, *next; b; b = next) {
            next = b->next;
            if (strcmp(a->string, b->string) == 0 && on_duplicate(w, object, b) < 0)
                return -EBADMSG;
        }
    }
    return 0;
}

static int check_many(const struct walk *w, cJSON *object)
{
    _cleanup_free_ const cJSON **fields = NULL;
    size_t n, kept = 0;
    int r = json_sorted_fields(object, &fields, &n);

    if (r < 0)
        return err_set(w->err, r, "cannot parse JSON");
    for (size_t i = 1; i < n; i++) {
        if (strcmp(fields[kept]->string, fields[i]->string) != 0)
            kept = i;
        else if (on_duplicate(w, object, (cJSON *)(uintptr_t)fields[i]) < 0)
            return -EBADMSG;
    }
    return 0;
}

static int settle(struct walk *w, cJSON *node)
{
    size_t n = 0;
    int r;

    if (cJSON_IsNumber(node))
        return settle_number(w, node);
    for (cJSON *child = node->child; child; child = child->next, n++) {
        r = settle(w, child);
        if (r < 0)
            return r;
    }
    if (!cJSON_IsObject(node))
        return 0;
    return n <= FEW_FIELDS ? check_few(w, node) : check_many(w, node);
}

static int parse(const char *text, size_t len, bool drop, struct json **ret_root, struct err *err)
{
    struct json_number_places places = {0};
    _cleanup_json_ struct json *root = NULL;
    struct walk walk = {.text = text, .places = &places, .drop = drop, .err = err};
    int r;

    r = json_scan(text, len, &places, err);
    if (r == 0) {
        root = from_cjson(cJSON_ParseWithLengthOpts(text, len, NULL, false));
        /* What passed the scan is what cJSON takes too, so only memory is left to fail. */
        r = root ? settle(&walk, to_cjson_mutable(root)) : err_set(err, ENOMEM, "cannot parse JSON");
    }
    free(places.items);
    if (r < 0)
        return r;
    *ret_root = take_ptr(root);
    return 0;
}

int json_parse(const char *text, size_t len, struct json **ret_root, struct err *err)
{
    return parse(text, len, false, ret_root, err);
}

int json_parse_any(const char *text, size_t len, struct json **ret_root, struct err *err)
{
    _cleanup_free_ char *copy = NULL;
    int r = parse(text, len, false, ret_root, err);

    if (r != -EBADMSG)
        return r;
    err_clear(err);
    copy = malloc(len + 1);
    if (!copy)
        return err_set(err, ENOMEM, "cannot parse JSON");
    memcpy(copy, text, len);
    json_soften(copy, len);
    return parse(copy, len, true, ret_root, err);
}
