/* SPDX-License-Identifier: Apache-2.0 */
/* common/json: what json_parse_any takes beyond json_parse, which test_json.c has. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/json/json.h"
#include "test/unit/json_nested.h"

static struct json *parsed_any(const char *text)
{
    struct json *root = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(json_parse_any(text, strlen(text), &root, &err), 0, "%s: %s", text, err.text);
    cr_assert_eq(err.code, 0, "a failure that was mended is told");
    return root;
}

Test(json_any, takes_what_an_api_server_can_be_made_to_say)
{
    static const struct {
        const char *text;
        const char *means;
    } cases[] = {
            {"{\"a\":\"x\\u0000y\",\"b\":1}", "{\"a\":\"x\xef\xbf\xbdy\",\"b\":1}"},
            {"{\"\\u0000\":\"\\\\u0000\\\"\\u0000\"}", "{\"\xef\xbf\xbd\":\"\\\\u0000\\\"\xef\xbf\xbd\"}"},
            {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":1,\"b\":2}"},
            {"{\"\\u0000\":1,\"\\ufffd\":{},\"\xef\xbf\xbd\":[]}", "{\"\xef\xbf\xbd\":1}"},
            {"{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"c\":0,\"i\":0,\"c\":0}",
                    "{\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0}"},
            {"[12345678901234567890,{\"a\":1,\"a\":2.50},1e5]", "[12345678901234567890,{\"a\":1},1e5]"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ struct json *root = parsed_any(cases[i].text), *means = NULL;

        cr_assert_eq(json_parse(cases[i].means, strlen(cases[i].means), &means, NULL), 0);
        cr_assert(json_equal(root, means), "%s", cases[i].text);
    }
}

Test(json_any, drops_what_is_too_deep)
{
    static const char *const brackets[][2] = {{"[", "]"}, {"{\"a\":", "}"}};

    for (size_t i = 0; i < ARRAY_SIZE(brackets); i++) {
        for (size_t depth = LIMIT_JSON_DEPTH - 1; depth < LIMIT_JSON_DEPTH + 20; depth++) {
            _cleanup_free_ char *text = NULL;
            _cleanup_json_ struct json *root = NULL;

            cr_assert_gt(asprintf(&text, "{\"deep\":[%s,\"x\"],\"b\":\"c\"}",
                                 nested(depth, brackets[i][0], brackets[i][1])),
                    0);
            root = parsed_any(text);
            cr_assert_str_eq(json_str(root, "b"), "c");
            cr_assert_str_eq(json_str(root, "deep[1]"), "x");
        }
    }
}

Test(json_any, refuses_all_else)
{
    static const char *const bad[] = {"", "{", "{\"a\":\"\\u000\"}", "\"\\ud800\"", "\"\xff\"", "{\"a\":1}}",
            "[\\u0000]", "01", "\"\\u0000", "[1,,2]", "{\"a\":\"\\"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct json *root = (struct json *)&root;
        struct err err = ERR_INIT;

        cr_assert_eq(json_parse_any(bad[i], strlen(bad[i]), &root, &err), -EBADMSG, "\"%s\"", bad[i]);
        cr_assert_eq(root, (struct json *)&root, "written only on success");
        cr_assert_not_null(strstr(err.text, "not acceptable"), "%s", err.text);
    }
}
