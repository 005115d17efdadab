/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/limits.h"
#include "common/json/json.h"
#include "test/unit/alloc.h"

/* What has to keep its text, keys beyond the few, nesting, escapes. */
static const char document[] = "{\"a\":1,\"b\":[1.50,12345678901234567890,{\"x\":null}],\"c\":\"text\\n\","
                               "\"d\":true,\"e\":{\"f\":{}},"
                               "\"g\":1,\"h\":2,\"i\":3,\"j\":4,\"k\":5,\"l\":\"\\u00fc\"}";
/* json_parse_any alone takes these: a NUL, a key that is there twice. */
static const char odd[] = "{\"a\":\"\\u0000\",\"b\":1,\"b\":2,\"c\":[1e2]}";

static char *written(const struct json *node)
{
    struct buf b = BUF_INIT(MIB);

    cr_assert_eq(json_write_canonical(node, &b), 0);
    return buf_take(&b, NULL);
}

static struct json *parsed(const char *text)
{
    struct json *root = NULL;

    cr_assert_eq(json_parse_any(text, strlen(text), &root, NULL), 0);
    return root;
}

typedef int parse_fn(const char *text, size_t len, struct json **ret_root, struct err *err);

struct parse {
    parse_fn *parse;
    const char *text;
};

static void run_parse(void *user, struct alloc_outcome *ret)
{
    const struct parse *p = user;
    struct json *root = NULL;
    struct err err = ERR_INIT;

    alloc_begin();
    ret->r = p->parse(p->text, strlen(p->text), &root, &err);
    alloc_end();
    cr_assert_eq(ret->r, -err.code, "%d is said as %d: %s", ret->r, err.code, err.text);
    ret->text = root ? written(root) : NULL;
    json_free(root);
}

Test(alloc_json, parse)
{
    struct parse strict = {json_parse, document}, any = {json_parse_any, document},
                 soft = {json_parse_any, odd};

    alloc_torture(&(struct alloc_case){.name = "json_parse", .run = run_parse, .user = &strict});
    alloc_torture(&(struct alloc_case){.name = "json_parse_any", .run = run_parse, .user = &any});
    alloc_torture(&(struct alloc_case){.name = "json_parse_any, softened", .run = run_parse, .user = &soft});
}

typedef int write_fn(const struct json *node, struct buf *b);

static void run_write(void *user, struct alloc_outcome *ret)
{
    write_fn *const *write = user;
    _cleanup_json_ struct json *root = parsed(document);
    struct buf b = BUF_INIT(MIB);

    alloc_begin();
    ret->r = (*write)(root, &b);
    alloc_end();
    ret->text = ret->r == 0 ? buf_take(&b, NULL) : NULL;
    buf_free(&b);
}

Test(alloc_json, write)
{
    write_fn *plain = json_write, *canonical = json_write_canonical;

    alloc_torture(&(struct alloc_case){.name = "json_write", .run = run_write, .user = &plain});
    alloc_torture(&(struct alloc_case){.name = "json_write_canonical", .run = run_write, .user = &canonical});
}

static void run_copy(void *user _unused_, struct alloc_outcome *ret)
{
    _cleanup_json_ struct json *root = parsed(document), *copy = NULL;

    alloc_begin();
    copy = json_copy(root);
    alloc_end();
    ret->r = copy ? 0 : -ENOMEM;
    ret->text = copy ? written(copy) : NULL;
}

Test(alloc_json, copy)
{
    alloc_torture(&(struct alloc_case){.name = "json_copy", .run = run_copy});
}

/* One that fails leaves the tree as it was, and frees what was to be put there. */
typedef int change_fn(struct json *root);

static int set_new(struct json *root)
{
    return json_set_str(root, "new", "value");
}

static int set_old(struct json *root)
{
    return json_set_int(root, "c", 1234567890123456789);
}

static int set_flag(struct json *root)
{
    return json_set_bool(root, "flag", true);
}

static int append(struct json *root)
{
    return json_append_str(json_field(root, "b"), "more");
}

static int append_copy(struct json *root)
{
    return json_append(json_field(root, "b"), json_copy(json_field(root, "e")));
}

static int ensure_object(struct json *root)
{
    return json_ensure_object(root, "a") ? 0 : -ENOMEM; /* another kind is replaced */
}

static int ensure_array(struct json *root)
{
    return json_ensure_array(root, "new") ? 0 : -ENOMEM;
}

static void run_change(void *user, struct alloc_outcome *ret)
{
    change_fn *const *change = user;
    _cleanup_json_ struct json *root = parsed(document), *before = parsed(document);

    alloc_begin();
    ret->r = (*change)(root);
    alloc_end();
    if (ret->r == 0)
        ret->text = written(root);
    else
        cr_assert(json_equal(root, before), "a change that failed has changed something");
    ret->again_r = ret->r == 0 ? 0 : (*change)(root);
    ret->again = written(root);
}

Test(alloc_json, change)
{
    static change_fn *const all[] = {
            set_new, set_old, set_flag, append, append_copy, ensure_object, ensure_array};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        char name[32];
        change_fn *change = all[i];

        snprintf(name, sizeof(name), "change %zu", i);
        alloc_torture(&(struct alloc_case){.name = name, .run = run_change, .user = &change});
    }
}

/* More fields than are looked up one by one. */
#define FIELDS(last)                                                                                    \
    "{'a':0,'b':0,'c':0,'d':0,'e':0,'f':0,'g':0,'h':0,'i':0,'j':0,'k':0,'l':0,'m':0,'n':0,'o':0,'p':0," \
    "'q':0,'r':0,'s':0,'t':0,'u':0,'v':0,'w':0,'x':0,'y':1.50,'z':" last "}"

struct pair {
    const char *a, *b;
};

static struct json *quoted(const char *text)
{
    char copy[512];
    size_t i;

    for (i = 0; text[i]; i++)
        copy[i] = text[i] == '\'' ? '"' : text[i];
    copy[i] = '\0';
    return parsed(copy);
}

/* "Not equal" is what json_equal says when it cannot look. */
static void run_equal(void *user, struct alloc_outcome *ret)
{
    const struct pair *p = user;
    _cleanup_json_ struct json *a = quoted(p->a), *b = quoted(p->b);
    bool equal;

    alloc_begin();
    equal = json_equal(a, b);
    alloc_end();
    ret->r = equal ? 0 : -ENOMEM;
    ret->text = equal ? strdup("equal") : NULL;
}

Test(alloc_json, equal)
{
    struct pair same = {FIELDS("1.0"), FIELDS("1")}, other = {FIELDS("1.5"), FIELDS("2")};

    alloc_torture(&(struct alloc_case){.name = "json_equal", .run = run_equal, .user = &same});
    alloc_torture(&(struct alloc_case){.name = "json_equal, of others", .run = run_equal, .user = &other});
}

Test(alloc_json, equal_of_few_fields_takes_no_memory)
{
    struct pair same = {"{'a':1,'b':{'c':['x',true]},'d':null}", "{'d':null,'b':{'c':['x',true]},'a':1}"};
    struct alloc_outcome o = {0};

    run_equal(&same, &o);
    cr_assert_eq(o.r, 0);
    cr_assert_eq(alloc_now.seen, 0);
    alloc_outcome_free(&o);
}
