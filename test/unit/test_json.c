/* SPDX-License-Identifier: Apache-2.0 */
/* common/json: what is refused, that nothing changes on the way through, look-ups with paths, building. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/json/json.h"
#include "test/unit/json_nested.h"
#include "test/unit/json_text.h"

static const char *written(const struct json *node)
{
    static char text[4096];
    struct buf b = BUF_INIT(sizeof(text) - 1);

    cr_assert_eq(json_write(node, &b), 0);
    (void)snprintf(text, sizeof(text), "%s", buf_str(&b));
    buf_free(&b);
    return text;
}

static const char *canonical(const char *source)
{
    static char text[4096];
    struct buf b = BUF_INIT(sizeof(text) - 1);
    _cleanup_json_ struct json *root = parsed(source);

    cr_assert_eq(json_write_canonical(root, &b), 0);
    (void)snprintf(text, sizeof(text), "%s", buf_str(&b));
    buf_free(&b);
    return text;
}

/* --- parsing and writing back --- */

static const char *const unchanged[] = {
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "\"\"",
        "{\"b\":[1,{\"a\":null}],\"a\":\"x\"}",
        "0",
        "-1",
        "2147483648",
        "-2147483649",
        "999999999999999",
        "1000000000000000",
        "1760000000000000",
        "9007199254740993", /* 2^53 + 1: no double */
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "123456789012345678901234567890",
        "-0",
        "1.0",
        "0.1",
        "1.10",
        "1e3",
        "1E+3",
        "2.5e-7",
        "1e-999",
        "{\"a\":[9007199254740993,1,1.50,2,{\"x\":9007199254740995}],\"b\":9007199254740997}",
        "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\"",
        "\"\x7f \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xe2\x80\xa8\"",
        "{\"\":1,\" \":2,\"a.b/c\":3}",
};

Test(json, what_is_read_is_written_back_byte_for_byte)
{
    for (size_t i = 0; i < ARRAY_SIZE(unchanged); i++) {
        _cleanup_json_ struct json *root = parsed(unchanged[i]);
        _cleanup_json_ struct json *copy = json_copy(root);

        cr_assert_str_eq(written(root), unchanged[i]);
        cr_assert_str_eq(written(copy), unchanged[i], "the copy");
    }
}

Test(json, other_spellings_of_the_same)
{
    _cleanup_json_ struct json *root =
            parsed(" \t\r\n{ \"\\u0061\" : [ 1 , 2 ] , \"s\" : \"\\/\\u00e9\\ud83d\\ude00\" } \n");

    cr_assert_str_eq(written(root), "{\"a\":[1,2],\"s\":\"/\xc3\xa9\xf0\x9f\x98\x80\"}");
}

static const struct {
    const char *text;
    int offset; /* told in the error; -1: none */
} refused[] = {
        {"", 0},
        {"   ", 3},
        {"nul", 0},
        {"nulll", 4},
        {"True", 0},
        {"{} {}", 3},
        {"[1,2", 4},
        {"[1 2]", 3},
        {"[1,]", 3},
        {"[,1]", 1},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{a:1}", 1},
        {"{'a':1}", 1},
        {"[1]]", 3},
        {"\"abc", 4},
        {"\"a\nb\"", 2},
        {"\"a\tb\"", 2},
        {"\"\\x\"", 2},
        {"\"\\u12g4\"", 5},
        {"\"\\u0000\"", 7},
        {"\"\\ud800\"", 7},
        {"\"\\ud800\\u0041\"", 13},
        {"\"\\udc00\"", 7},
        {"\"\xff\"", 1},
        {"\"\xc0\xaf\"", 1},
        {"\"\xed\xa0\x80\"", 1},
        {"\xef\xbb\xbf{}", 0}, /* a byte order mark */
        {"01", 1},
        {"-", 1},
        {"-a", 1},
        {"+1", 0},
        {".5", 0},
        {"1.", 2},
        {"1.e3", 2},
        {"1e", 2},
        {"1e+", 3},
        {"1e99999", 7},
        {"1e999", 0}, /* infinite */
        {"0x10", 1},
        {"NaN", 0},
        {"Infinity", 0},
        {"// x\n1", 0},
        {"1 /* x */", 2},
        {"{\"a\":1,\"a\":2}", -1},
        {"{\"a\":1,\"\\u0061\":2}", -1}, /* the same key in another spelling */
        {"{\"x\":[{\"a\":1,\"b\":1,\"a\":1}]}", -1},
        {"{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,\"j\":0,\"c\":0}", -1},
};

Test(json, what_is_refused_and_where)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct json *root = (struct json *)&root;
        struct err err = ERR_INIT;
        char where[32];

        cr_assert_eq(json_parse(refused[i].text, strlen(refused[i].text), &root, &err), -EBADMSG, "\"%s\"",
                refused[i].text);
        cr_assert_eq(root, (struct json *)&root, "written only on success");
        (void)snprintf(where, sizeof(where), "at byte %d:", refused[i].offset);
        cr_assert_not_null(strstr(err.text, refused[i].offset < 0 ? "twice" : where), "\"%s\": %s",
                refused[i].text, err.text);
    }
}

Test(json, a_nul_byte_is_refused_wherever_it_stands)
{
    static const char text[] = "{\"a\":\"b\"}";
    char changed[sizeof(text) + 1];
    struct json *root = NULL;

    for (size_t at = 0; at <= sizeof(text) - 1; at++) {
        memcpy(changed, text, at);
        changed[at] = '\0';
        memcpy(changed + at + 1, text + at, sizeof(text) - 1 - at);
        cr_assert_eq(json_parse(changed, sizeof(text), &root, NULL), -EBADMSG, "at %zu", at);
    }
}

Test(json, every_beginning_of_a_document_is_refused_and_read_no_further)
{
    static const char text[] = "{\"a\":[1.5,true,\"\\u00e9\\ud83d\\ude00\xc3\xa9\",{\"b\":null}]}";

    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *exact = malloc(len + 1); /* so that a sanitizer sees a read beyond the end */
        struct json *root = NULL;

        memcpy(exact, text, len);
        exact = realloc(exact, len ? len : 1);
        cr_assert_eq(json_parse(exact, len, &root, NULL), -EBADMSG, "the first %zu bytes", len);
        free(exact);
    }
}

Test(json, depth_is_capped)
{
    static const char *const brackets[][2] = {{"[", "]"}, {"{\"a\":", "}"}};
    struct json *root = NULL;
    struct err err = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(brackets); i++) {
        const char *text;

        root = json_free(parsed(nested(LIMIT_JSON_DEPTH, brackets[i][0], brackets[i][1])));
        text = nested(LIMIT_JSON_DEPTH + 1, brackets[i][0], brackets[i][1]);
        cr_assert_eq(json_parse(text, strlen(text), &root, &err), -EBADMSG);
        cr_assert_not_null(strstr(err.text, "deep"), "%s", err.text);
    }
    root = json_free(parsed("[[[1]],[[2]],{\"a\":[3]},[]]"));
    root = json_free(
            parsed("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                   "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                   "[],[],[],[],[],[],[],[],[],[],[],[],[],{},{},{},{}]")); /* beside is not within */
}

Test(json, long_numbers_are_capped)
{
    char text[LIMIT_JSON_NUMBER + 2];
    struct json *root = NULL;

    memset(text, '1', sizeof(text));
    cr_assert_eq(json_parse(text, LIMIT_JSON_NUMBER + 1, &root, NULL), -EBADMSG);
    cr_assert_eq(json_parse(text, LIMIT_JSON_NUMBER, &root, NULL), 0);
    root = json_free(root);
    cr_assert_null(root);
}

Test(json, writing_obeys_the_cap)
{
    _cleanup_json_ struct json *root = parsed("{\"a\":[1,2,3]}");
    struct buf b = BUF_INIT(12);

    cr_assert_eq(json_write(root, &b), -E2BIG);
    buf_free(&b);
    buf_init(&b, 13);
    cr_assert_eq(json_write(root, &b), 0);
    buf_free(&b);
}

Test(json, text_that_is_no_utf8_is_repaired_when_written)
{
    _cleanup_json_ struct json *node = json_new_string("a\xff"
                                                       "b\xe2\x82"
                                                       "c\x01");
    _cleanup_json_ struct json *back = NULL;

    cr_assert_str_eq(written(node), "\"a\xef\xbf\xbd"
                                    "b\xef\xbf\xbd\xef\xbf\xbd"
                                    "c\\u0001\"");
    back = parsed(written(node));
    cr_assert(json_is_string(back));
}

/* --- canonical form and equality --- */

Test(json, canonical_sorts_keys_at_every_level)
{
    cr_assert_str_eq(canonical("{\"b\":1,\"a\":{\"y\":[{\"q\":1,\"p\":2}],\"x\":null},\"\":0,\"ab\":0}"),
            "{\"\":0,\"a\":{\"x\":null,\"y\":[{\"p\":2,\"q\":1}]},\"ab\":0,\"b\":1}");
    cr_assert_str_eq(canonical("[3,1,2]"), "[3,1,2]", "an array's order is its content");
}

Test(json, canonical_numbers_have_one_form)
{
    cr_assert_str_eq(canonical("[100,1e2,1.00e+2,100.0,1000E-1,0.1e3]"), "[100,100,100,100,100,100]");
    cr_assert_str_eq(canonical("[0.5,5e-1,0.50,-0.5]"), "[5e-1,5e-1,5e-1,-5e-1]");
    cr_assert_str_eq(canonical("[0,-0,0.0,0e5]"), "[0,0,0,0]");
    cr_assert_str_eq(canonical("[9007199254740993,9007199254740992]"), "[9007199254740993,9007199254740992]");
    cr_assert_str_eq(canonical("[1e30,1000000000000000000000000000000]"), "[1e30,1e30]");
}

static void expect_equal(const char *a, const char *b, bool equal)
{
    _cleanup_json_ struct json *x = parsed(a), *y = parsed(b);

    cr_assert_eq(json_equal(x, y), equal, "%s and %s", a, b);
    cr_assert_eq(json_equal(y, x), equal, "%s and %s", b, a);
}

Test(json, equality)
{
    expect_equal("{\"a\":1,\"b\":[true,null]}", "{\"b\":[true,null],\"a\":1}", true);
    expect_equal("{\"a\":{\"x\":1,\"y\":2}}", "{\"a\":{\"y\":2,\"x\":1}}", true);
    expect_equal("[1,2]", "[2,1]", false);
    expect_equal("[1]", "[1,1]", false);
    expect_equal("[]", "{}", false);
    expect_equal("{\"a\":1}", "{}", false);
    expect_equal("{\"a\":1}", "{\"b\":1}", false);
    expect_equal("{\"a\":1}", "{\"A\":1}", false);
    expect_equal("{\"a\":null}", "{}", false);
    expect_equal("1", "\"1\"", false);
    expect_equal("true", "false", false);
    expect_equal("true", "1", false);
    expect_equal("null", "false", false);
    expect_equal("1", "1.0", true);
    expect_equal("1", "2", false);
    expect_equal("1e3", "1000", true);
    expect_equal("0", "-0", true);
    expect_equal("1", "-1", false);
    expect_equal("9007199254740993", "9007199254740992", false);
    expect_equal("9007199254740993", "9007199254740993.0", true);
    expect_equal("\"a\"", "\"a\"", true);
    expect_equal("\"a\"", "\"ab\"", false);
    cr_assert(json_equal(NULL, NULL));
    {
        _cleanup_json_ struct json *null = parsed("null");

        cr_assert_not(json_equal(NULL, null), "absent is not null");
        cr_assert_not(json_equal(null, NULL));
    }
}

/* --- look-ups --- */

static const char pod[] =
        "{\"metadata\":{\"name\":\"p\",\"labels\":{\"a.b/c\":\"v\",\"n\":\"m\"},\"generation\":7},"
        "\"spec\":{\"containers\":[{\"name\":\"c0\"},{\"name\":\"c1\",\"args\":[\"x\",\"y\"]}],"
        "\"big\":9007199254740993,\"half\":0.5,\"whole\":2.0,\"yes\":true,\"nothing\":null},"
        "\"matrix\":[[1,2],[3]]}";

Test(json, paths)
{
    _cleanup_json_ struct json *root = parsed(pod);

    cr_assert_str_eq(json_str(root, "metadata.name"), "p");
    cr_assert_str_eq(json_str(root, "spec.containers[1].name"), "c1");
    cr_assert_str_eq(json_str(root, "spec.containers[1].args[1]"), "y");
    cr_assert_eq(json_int_or(root, "matrix[1][0]", -1), 3);
    cr_assert_eq(json_at(root, ""), root);
    cr_assert_null(json_at(root, "spec.containers[2]"));
    cr_assert_null(json_at(root, "spec.containers[-1]"));
    cr_assert_null(json_at(root, "spec.containers[]"));
    cr_assert_null(json_at(root, "spec.containers[0"));
    cr_assert_null(json_at(root, "spec.containers[99999999999999999999999]"));
    cr_assert_null(json_at(root, "spec.containers.name"));
    cr_assert_null(json_at(root, "spec[0]"));
    cr_assert_null(json_at(root, "metadata.nam"));
    cr_assert_null(json_at(root, "metadata.names"));
    cr_assert_null(json_at(root, "Metadata.name"), "names are case-sensitive");
    cr_assert_null(json_at(root, "metadata.name.x"));
    cr_assert_null(json_at(NULL, "a"));
    cr_assert_null(json_at(root, "metadata.labels.a.b/c"));
    cr_assert_str_eq(json_string(json_field(json_at(root, "metadata.labels"), "a.b/c")), "v");
    cr_assert_null(json_field(NULL, "a"));
    cr_assert_null(json_field(json_at(root, "matrix"), "a"));
}

Test(json, typed_look_ups_and_their_fallbacks)
{
    _cleanup_json_ struct json *root = parsed(pod);

    cr_assert_null(json_str(root, "metadata.generation"));
    cr_assert_str_eq(json_str_or(root, "metadata.uid", "none"), "none");
    cr_assert_str_eq(json_str_or(root, "metadata.name", "none"), "p");
    cr_assert_eq(json_int_or(root, "metadata.generation", -1), 7);
    cr_assert_eq(json_int_or(root, "spec.big", -1), 9007199254740993);
    cr_assert_eq(json_int_or(root, "spec.half", -1), -1);
    cr_assert_eq(json_int_or(root, "spec.whole", -1), -1, "2.0 is not written as an integer");
    cr_assert_eq(json_int_or(root, "metadata.name", -1), -1);
    cr_assert_eq(json_int_or(root, "spec.nothing", -1), -1);
    cr_assert(json_bool_or(root, "spec.yes", false));
    cr_assert(json_bool_or(root, "spec.no", true));
    cr_assert_not(json_bool_or(root, "spec.big", false), "no number is a bool");
    cr_assert(json_is_null(json_at(root, "spec.nothing")));
    cr_assert(json_is_object(root));
    cr_assert(json_is_array(json_at(root, "matrix")));
    cr_assert(json_is_string(json_at(root, "metadata.name")));
    cr_assert_not(json_is_null(NULL));
    cr_assert_not(json_is_object(NULL));
    cr_assert_not(json_is_array(NULL));
    cr_assert_not(json_is_string(NULL));
}

Test(json, integers_at_the_edges)
{
    _cleanup_json_ struct json *root =
            parsed("[9223372036854775807,-9223372036854775808,9223372036854775808,-9223372036854775809]");

    cr_assert_eq(json_int_or(root, "[0]", 5), INT64_MAX);
    cr_assert_eq(json_int_or(root, "[1]", 5), INT64_MIN);
    cr_assert_eq(json_int_or(root, "[2]", 5), 5);
    cr_assert_eq(json_int_or(root, "[3]", 5), 5);
}

Test(json, needed_things_are_named_when_they_are_not_there)
{
    _cleanup_json_ struct json *root = parsed(pod);
    const char *text = "before";
    struct json *node = NULL;
    struct err err = ERR_INIT;
    int64_t value = 77;

    cr_assert_eq(json_need_str(root, "metadata.name", &text, &err), 0);
    cr_assert_str_eq(text, "p");
    cr_assert_eq(err.code, 0, "untouched on success");
    cr_assert_eq(json_need_str(root, "metadata.uid", &text, &err), -ENOENT);
    cr_assert_str_eq(err.text, "metadata.uid is missing");
    cr_assert_eq(json_need_str(root, "metadata.generation", &text, &err), -EINVAL);
    cr_assert_str_eq(err.text, "metadata.generation is not a string");
    cr_assert_str_eq(text, "p");
    cr_assert_eq(json_need_int(root, "metadata.generation", 7, 7, &value, &err), 0);
    cr_assert_eq(value, 7);
    cr_assert_eq(json_need_int(root, "metadata.generation", 8, 9, &value, &err), -ERANGE);
    cr_assert_str_eq(err.text, "metadata.generation is 7, outside 8 to 9");
    cr_assert_eq(json_need_int(root, "metadata.generation", 5, 6, &value, &err), -ERANGE);
    cr_assert_eq(json_need_int(root, "spec.half", 0, 9, &value, &err), -EINVAL);
    cr_assert_eq(json_need_int(root, "spec.none", 0, 9, &value, &err), -ENOENT);
    cr_assert_eq(value, 7);
    cr_assert_eq(json_need_object(root, "spec", &node, &err), 0);
    cr_assert_eq(node, json_field(root, "spec"));
    cr_assert_eq(json_need_object(root, "matrix", &node, &err), -EINVAL);
    cr_assert_eq(json_need_object(root, "none", &node, &err), -ENOENT);
    cr_assert_eq(json_need_array(root, "matrix", &node, &err), 0);
    cr_assert_eq(json_need_array(root, "spec", &node, &err), -EINVAL);
    cr_assert_eq(json_need_array(root, "none", &node, &err), -ENOENT);
    cr_assert_eq(node, json_field(root, "matrix"));
}

Test(json, walking)
{
    _cleanup_json_ struct json *root = parsed(pod);
    const struct json *labels = json_at(root, "metadata.labels"), *rows = json_at(root, "matrix");
    struct buf seen = BUF_INIT(64);

    json_for_each (label, labels)
        buf_printf(&seen, "%s=%s ", json_key(label), json_string(label));
    cr_assert_str_eq(buf_str(&seen), "a.b/c=v n=m ");
    buf_free(&seen);
    cr_assert_eq(json_len(labels), 2);
    cr_assert_eq(json_len(rows), 2);
    cr_assert_eq(json_len(json_at(root, "metadata.name")), 0);
    cr_assert_eq(json_len(NULL), 0);
    cr_assert_eq(json_index(rows, 1), json_at(root, "matrix[1]"));
    cr_assert_null(json_index(rows, 2));
    cr_assert_null(json_index(labels, 0), "an object has no index");
    cr_assert_null(json_key(json_index(rows, 0)));
    cr_assert_null(json_key(root));
    cr_assert_null(json_key(NULL));
    json_for_each (none, NULL)
        cr_assert_fail("%s", json_key(none));
}

/* --- building --- */

Test(json, build_and_replace)
{
    _cleanup_json_ struct json *root = json_new_object();
    struct json *list = json_new_array();

    cr_assert_eq(json_set_str(root, "name", "n"), 0);
    cr_assert_eq(json_set_str(root, "absent", NULL), 0);
    cr_assert_eq(json_set_int(root, "n", 5), 0);
    cr_assert_eq(json_set(root, "list", list), 0);
    cr_assert_eq(json_append_str(list, "a"), 0);
    cr_assert_eq(json_append(list, json_new_null()), 0);
    cr_assert_eq(json_append(list, json_new_int(INT64_MIN)), 0);
    cr_assert_eq(json_set_bool(root, "b", true), 0);
    cr_assert_str_eq(
            written(root), "{\"name\":\"n\",\"n\":5,\"list\":[\"a\",null,-9223372036854775808],\"b\":true}");
    cr_assert_eq(json_set_str(root, "n", "now text"), 0);
    cr_assert_eq(json_set(root, "name", json_copy(list)), 0);
    cr_assert_str_eq(json_key(json_field(root, "name")), "name");
    json_remove(root, "list");
    json_remove(root, "list");
    json_remove_index(json_field(root, "name"), 1);
    json_remove_index(json_field(root, "name"), 7);
    cr_assert_str_eq(written(root), "{\"name\":[\"a\",-9223372036854775808],\"n\":\"now text\",\"b\":true}");
}

Test(json, integers_of_every_size_are_exact)
{
    static const int64_t values[] = {0, 1, -1, INT32_MAX, INT32_MIN, 999999999999999, 1000000000000000,
            -1000000000000000, 9007199254740993, INT64_MAX, INT64_MIN};

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        _cleanup_json_ struct json *node = json_new_int(values[i]);
        char text[32];

        (void)snprintf(text, sizeof(text), "%lld", (long long)values[i]);
        cr_assert_str_eq(written(node), text);
        cr_assert_eq(json_int_or(node, "", 5), values[i]);
    }
}

Test(json, what_cannot_be_added_is_freed_and_told)
{
    _cleanup_json_ struct json *object = json_new_object(), *array = json_new_array();

    cr_assert_eq(json_set(object, "a", NULL), -ENOMEM);
    cr_assert_eq(json_append(array, NULL), -ENOMEM);
    cr_assert_eq(json_set(NULL, "a", json_new_int(1)), -ENOMEM);
    cr_assert_eq(json_append(NULL, json_new_int(1)), -ENOMEM);
    cr_assert_eq(json_set(array, "a", json_new_int(1)), -EINVAL);
    cr_assert_eq(json_append(object, json_new_int(1)), -EINVAL);
    cr_assert_eq(json_len(object), 0);
    cr_assert_eq(json_len(array), 0);
}

Test(json, a_field_set_to_itself_stays)
{
    _cleanup_json_ struct json *root = parsed("{\"a\":[1],\"b\":2}");

    cr_assert_eq(json_set(root, "a", json_field(root, "a")), 0);
    cr_assert_str_eq(written(root), "{\"a\":[1],\"b\":2}");
}

Test(json, ensure_finds_makes_and_replaces)
{
    _cleanup_json_ struct json *root = parsed("{\"o\":{\"x\":1},\"a\":[1],\"s\":\"text\",\"n\":null}");

    cr_assert_eq(json_ensure_object(root, "o"), json_field(root, "o"));
    cr_assert_eq(json_ensure_array(root, "a"), json_field(root, "a"));
    cr_assert_eq(json_set_int(json_ensure_object(root, "s"), "y", 2), 0);
    cr_assert_eq(json_append_str(json_ensure_array(root, "n"), "z"), 0);
    cr_assert_eq(json_len(json_ensure_object(root, "a")), 0);
    cr_assert_not_null(json_ensure_array(root, "new"));
    cr_assert_str_eq(written(root), "{\"o\":{\"x\":1},\"a\":{},\"s\":{\"y\":2},\"n\":[\"z\"],\"new\":[]}");
    cr_assert_null(json_ensure_object(NULL, "x"));
}

Test(json, a_copy_is_of_its_own_and_has_no_name)
{
    _cleanup_json_ struct json *root = parsed("{\"a\":{\"b\":[1]}}");
    _cleanup_json_ struct json *copy = json_copy(json_field(root, "a"));

    cr_assert_null(json_key(copy));
    cr_assert_eq(json_set_int(copy, "b", 2), 0);
    cr_assert_str_eq(written(root), "{\"a\":{\"b\":[1]}}");
    cr_assert_null(json_copy(NULL));
}

Test(json, large_objects_take_no_quadratic_time)
{
    enum { MANY = 100000 };
    struct buf b = BUF_INIT(4 * MIB);
    struct json *root = NULL, *reversed = NULL;

    for (int i = 0; i < MANY; i++)
        buf_printf(&b, "%s\"key-%d\":%d", i ? "," : "{", i, i);
    buf_putc(&b, '}');
    cr_assert_eq(json_parse(b.data, b.len, &root, NULL), 0);
    buf_reset(&b);
    for (int i = MANY - 1; i >= 0; i--)
        buf_printf(&b, "%s\"key-%d\":%d", i < MANY - 1 ? "," : "{", i, i);
    buf_putc(&b, '}');
    cr_assert_eq(json_parse(b.data, b.len, &reversed, NULL), 0);
    cr_assert(json_equal(root, reversed));
    json_free(root);
    json_free(reversed);
    buf_free(&b);
}
