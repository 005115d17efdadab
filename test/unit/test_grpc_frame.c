/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/rpc/grpc: the message prefix, the coding of grpc-message, grpc-timeout, grpc-status.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/utf8.h"
#include "common/rpc/grpc.h"

Test(grpc, writes_the_prefix)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB);
    char big[70000];

    memset(big, 'x', sizeof(big));
    cr_assert_eq(grpc_frame_put(&b, "", 0), 0);
    cr_expect(
            b.len == 5 && memcmp(b.data, "\0\0\0\0\0", 5) == 0, "an empty message still has its five bytes");
    buf_reset(&b);
    cr_assert_eq(grpc_frame_put(&b, big, sizeof(big)), 0);
    cr_expect(b.len == 5 + sizeof(big) && memcmp(b.data, "\0\0\x01\x11\x70x", 6) == 0);
}

Test(grpc, reads_exactly_one_message)
{
    struct pb_slice m = {0};

    cr_assert_eq(grpc_frame_get("\0\0\0\0\2ab", 7, &m), 0);
    cr_expect(pb_slice_equal(m, "ab"));
    cr_assert_eq(grpc_frame_get("\0\0\0\0\0", 5, &m), 0);
    cr_expect(m.len == 0 && m.data);
}

Test(grpc, refuses_what_is_not_one_message)
{
    struct pb_slice m = {0};

    cr_expect_eq(grpc_frame_get(NULL, 0, &m), -EBADMSG);
    cr_expect_eq(grpc_frame_get("\0\0\0\0", 4, &m), -EBADMSG, "cut in the prefix");
    cr_expect_eq(grpc_frame_get("\0\0\0\0\3ab", 7, &m), -EBADMSG, "cut in the message");
    cr_expect_eq(grpc_frame_get("\0\0\0\0\1ab", 7, &m), -EBADMSG, "something after it");
    cr_expect_eq(grpc_frame_get("\0\0\0\0\0\0\0\0\0\0", 10, &m), -EBADMSG, "two messages");
    cr_expect_eq(grpc_frame_get("\0\xff\xff\xff\xff", 5, &m), -EBADMSG, "4 GiB announced");
    cr_expect_eq(grpc_frame_get("\2\0\0\0\0", 5, &m), -EBADMSG, "an unknown flag");
    cr_expect_eq(grpc_frame_get("\1\0\0\0\0", 5, &m), -ENOTSUP, "compressed");
    cr_expect_null(m.data);
}

static void expect_encoded(const char *text, const char *want)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_GRPC_MESSAGE);

    cr_assert_eq(grpc_message_put(&b, text), 0);
    cr_expect_str_eq(buf_str(&b), want);
}

Test(grpc, encodes_messages)
{
    expect_encoded("", "");
    expect_encoded("plain text ~!", "plain text ~!");
    expect_encoded("100%\n", "100%25%0A");
    expect_encoded("\x7f", "%7F");
    expect_encoded("\xe2\x82\xac", "%E2%82%AC");
    expect_encoded("a\xff"
                   "b",
            "a%EF%BF%BDb");
    expect_encoded("\xe2\x82", "%EF%BF%BD%EF%BF%BD");
}

Test(grpc, cuts_long_messages_at_a_character)
{
    _cleanup_buf_ struct buf plain = BUF_INIT(LIMIT_GRPC_MESSAGE), wide = BUF_INIT(LIMIT_GRPC_MESSAGE);
    _cleanup_buf_ struct buf text = BUF_INIT(64 * KIB), back = BUF_INIT(64 * KIB);

    for (int i = 0; i < 10000; i++)
        (void)buf_putc(&text, 'x');
    cr_assert_eq(grpc_message_put(&plain, buf_str(&text)), 0);
    cr_expect_eq(plain.len, (size_t)LIMIT_GRPC_MESSAGE);
    cr_expect_str_eq(plain.data + plain.len - 4, "x...");

    buf_reset(&text);
    for (int i = 0; i < 3000; i++)
        (void)buf_puts(&text, "\xf0\x9f\x90\xb3");
    cr_assert_eq(grpc_message_put(&wide, buf_str(&text)), 0);
    cr_expect(wide.len <= LIMIT_GRPC_MESSAGE);
    cr_assert_eq(grpc_message_get(&back, buf_str(&wide)), 0);
    cr_expect(utf8_valid(back.data, back.len), "not cut inside a character");
}

static void expect_decoded(const char *value, const char *want)
{
    _cleanup_buf_ struct buf b = BUF_INIT(KIB);

    cr_assert_eq(grpc_message_get(&b, value), 0);
    cr_expect_str_eq(buf_str(&b), want);
}

Test(grpc, decodes_messages)
{
    expect_decoded("no such%20thing%2c", "no such thing,");
    expect_decoded("100%", "100%");
    expect_decoded("%4", "%4");
    expect_decoded("%zz%41", "%zzA");
    expect_decoded("a%00b%0Ac", "a b c");
}

Test(grpc, parses_timeouts)
{
    static const struct {
        const char *text;
        usec_t want;
    } good[] = {
            {"119998m", (usec_t)119998 * 1000},
            {"2S", 2 * USEC_PER_SEC},
            {"1M", 60 * USEC_PER_SEC},
            {"99999999H", (usec_t)99999999 * 3600 * USEC_PER_SEC},
            {"15u", 15},
            {"1n", 1},
            {"1001n", 2},
            {"0n", 0},
    };
    static const char *const bad[] = {
            "", "m", "5", "5s", "-5m", " 5m", "5 m", "5m ", "1.5S", "100000000m", "0x5m", "5mm"};
    usec_t t = 0;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        cr_expect_eq(grpc_timeout_parse(good[i].text, &t), 0, "%s", good[i].text);
        cr_expect_eq(t, good[i].want, "%s", good[i].text);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        cr_expect_eq(grpc_timeout_parse(bad[i], &t), -EBADMSG, "'%s'", bad[i]);
}

Test(grpc, formats_timeouts_never_shorter)
{
    static const usec_t cases[] = {0, 1, 99999999, 100000000, 5 * USEC_PER_SEC, 1234567890123, USEC_INFINITY};
    char text[GRPC_TIMEOUT_TEXT];
    usec_t back;

    grpc_timeout_format(5 * USEC_PER_SEC, text);
    cr_expect_str_eq(text, "5000000u");
    for (size_t i = 0; i < ARRAY_SIZE(cases) - 1; i++) {
        grpc_timeout_format(cases[i], text);
        cr_assert_eq(grpc_timeout_parse(text, &back), 0, "%s", text);
        cr_expect(back >= cases[i] && back <= cases[i] + cases[i] / 1000 + 1, "%s", text);
    }
    grpc_timeout_format(USEC_INFINITY, text);
    cr_expect_str_eq(text, "99999999H");
}

Test(grpc, parses_statuses)
{
    enum grpc_status s = GRPC_OK;

    cr_expect(grpc_status_parse("5", &s) == 0 && s == GRPC_NOT_FOUND);
    cr_expect(grpc_status_parse("0", &s) == 0 && s == GRPC_OK);
    cr_expect(grpc_status_parse("17", &s) == 0 && s == GRPC_UNKNOWN, "a code from the future");
    cr_expect_eq(grpc_status_parse("", &s), -EBADMSG);
    cr_expect_eq(grpc_status_parse("OK", &s), -EBADMSG);
    cr_expect_eq(grpc_status_parse("-1", &s), -EBADMSG);
    cr_expect_str_eq(grpc_status_name(GRPC_UNAVAILABLE), "UNAVAILABLE");
    cr_expect_str_eq(grpc_status_name((enum grpc_status)99), "UNKNOWN");
}
