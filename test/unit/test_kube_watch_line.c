/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a watch into lines and events.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "common/base/limits.h"
#include "common/kube/watch_line.h"

static char lines[4096];
static int stop_at; /* the fn returns 42 for that line, counted from 1 */
static int seen;
static size_t longest;

static int take(const char *line, size_t len, void *user)
{
    (void)user;
    longest = len > longest ? len : longest;
    if (len < 100)
        snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%.*s|", (int)len, line);
    return ++seen == stop_at ? 42 : 0;
}

static void reset(void)
{
    lines[0] = '\0';
    seen = stop_at = 0;
    longest = 0;
}

TestSuite(kube_watch_line, .init = reset);

Test(kube_watch_line, any_cut_gives_the_same_lines)
{
    static const char text[] = "one\ntwo\r\n\n\nthree, a longer one\nfour\nrest";

    for (size_t step = 1; step < sizeof(text); step++) {
        struct watch_lines w;

        reset();
        watch_lines_init(&w);
        for (size_t at = 0; at < strlen(text); at += step) {
            size_t n = strlen(text) - at < step ? strlen(text) - at : step;

            cr_assert_eq(watch_lines_feed(&w, text + at, n, take, NULL), 0);
        }
        cr_assert_str_eq(lines, "one|two|three, a longer one|four|");
        cr_assert_not(watch_lines_between(&w));
        cr_assert_eq(watch_lines_feed(&w, "\n", 1, take, NULL), 0);
        cr_assert(watch_lines_between(&w));
        watch_lines_free(&w);
    }
}

Test(kube_watch_line, stops_when_told)
{
    struct watch_lines w;

    watch_lines_init(&w);
    stop_at = 2;
    cr_assert_eq(watch_lines_feed(&w, "a\nb\nc\n", 6, take, NULL), 42);
    cr_assert_str_eq(lines, "a|b|");
    watch_lines_free(&w);
}

static int free_in_line(const char *line, size_t len, void *user)
{
    cr_assert_eq(len, 4);
    watch_lines_free(user);
    cr_assert(memcmp(line, "abcd", 4) == 0);
    free(user);
    return 1;
}

Test(kube_watch_line, may_be_freed_in_the_callback)
{
    struct watch_lines *w = malloc(sizeof(*w));

    watch_lines_init(w);
    cr_assert_eq(watch_lines_feed(w, "ab", 2, free_in_line, w), 0);
    cr_assert_eq(watch_lines_feed(w, "cd\nmore\n", 8, free_in_line, w), 1);
}

Test(kube_watch_line, a_line_has_a_largest_size)
{
    static char block[LIMIT_WATCH_LINE + 2];
    struct watch_lines w;

    memset(block, 'x', sizeof(block));
    watch_lines_init(&w);
    block[LIMIT_WATCH_LINE] = '\n';
    cr_assert_eq(watch_lines_feed(&w, block, LIMIT_WATCH_LINE + 1, take, NULL), 0);
    cr_assert_eq(longest, LIMIT_WATCH_LINE);
    block[LIMIT_WATCH_LINE] = 'x';
    cr_assert_eq(watch_lines_feed(&w, block, LIMIT_WATCH_LINE + 1, take, NULL), -E2BIG);
    buf_reset(&w.partial);
    block[LIMIT_WATCH_LINE + 1] = '\n';
    cr_assert_eq(watch_lines_feed(&w, block, LIMIT_WATCH_LINE + 2, take, NULL), -E2BIG);
    watch_lines_free(&w);
}

Test(kube_watch_line, memory_of_a_large_line_is_given_back)
{
    static char block[1 << 20];
    struct watch_lines w;

    memset(block, 'x', sizeof(block));
    watch_lines_init(&w);
    cr_assert_eq(watch_lines_feed(&w, block, sizeof(block), take, NULL), 0);
    cr_assert_eq(watch_lines_feed(&w, "\n", 1, take, NULL), 0);
    cr_assert_eq(longest, sizeof(block));
    cr_assert_eq(w.partial.alloc, 0);
}

static int parse(const char *line, enum kube_watch_type *type, struct json **object, struct err *err)
{
    return watch_event_parse(line, strlen(line), type, object, err);
}

Test(kube_watch_line, events)
{
    static const struct {
        const char *name;
        int result;
        enum kube_watch_type type;
    } cases[] = {{"ADDED", 0, KUBE_WATCH_ADDED}, {"MODIFIED", 0, KUBE_WATCH_MODIFIED},
            {"DELETED", 0, KUBE_WATCH_DELETED}, {"BOOKMARK", 0, KUBE_WATCH_BOOKMARK},
            {"ERROR", 1, KUBE_WATCH_ADDED}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ struct json *object = NULL;
        enum kube_watch_type type = KUBE_WATCH_ADDED;
        char line[128];

        snprintf(line, sizeof(line), "{\"type\":\"%s\",\"object\":{\"a\":\"b\"}}", cases[i].name);
        cr_assert_eq(parse(line, &type, &object, NULL), cases[i].result);
        cr_assert_eq(type, cases[i].type);
        cr_assert_str_eq(json_str(object, "a"), "b");
    }
}

/* What whoever may write one object can put into it must not end the watch of all. */
Test(kube_watch_line, event_of_an_object_that_is_hard_to_read)
{
    _cleanup_json_ struct json *object = NULL;
    enum kube_watch_type type;

    cr_assert_eq(
            parse("{\"type\":\"ADDED\",\"object\":{\"a\":\"\\u0000\",\"b\":\"c\"}}", &type, &object, NULL),
            0);
    cr_assert_str_eq(json_str(object, "b"), "c");
}

Test(kube_watch_line, not_events)
{
    static const char *const bad[] = {"", "x", "{", "[]", "{}", "{\"type\":\"ADDED\"}", "{\"object\":{}}",
            "{\"type\":\"ADDED\",\"object\":[]}", "{\"type\":1,\"object\":{}}",
            "{\"type\":\"added\",\"object\":{}}", "{\"type\":\"ADDED\",\"object\":{}} {}"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct json *object = NULL;
        enum kube_watch_type type;
        struct err err = ERR_INIT;

        cr_assert_eq(parse(bad[i], &type, &object, &err), -EBADMSG, "%s", bad[i]);
        cr_assert(strstr(err_text(&err), "watch event"), "%s", err_text(&err));
        cr_assert_null(object);
    }
}
