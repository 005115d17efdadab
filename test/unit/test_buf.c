/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/buf: the cap holds to the byte, a failure sticks and loses nothing, the NUL is always there. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/buf.h"

Test(buf, grows_up_to_its_cap_to_the_byte)
{
    struct buf b = BUF_INIT(300);

    for (int i = 0; i < 300; i++)
        cr_assert_eq(buf_putc(&b, 'a'), 0, "byte %d", i);
    cr_assert_eq(b.len, 300);
    cr_assert_eq(buf_putc(&b, 'b'), -E2BIG);
    cr_assert_eq(b.len, 300);
    cr_assert_eq(strlen(buf_str(&b)), 300);
    buf_free(&b);
}

Test(buf, a_failed_append_changes_nothing_and_sticks)
{
    struct buf b = BUF_INIT(5);

    cr_assert_eq(buf_puts(&b, "abc"), 0);
    cr_assert_eq(buf_puts(&b, "def"), -E2BIG);
    cr_assert_str_eq(buf_str(&b), "abc");
    cr_assert_eq(buf_putc(&b, 'd'), -E2BIG, "it would fit, but something before it is missing");
    cr_assert_eq(buf_printf(&b, "%d", 1), -E2BIG);
    cr_assert_str_eq(buf_str(&b), "abc");
    cr_assert_eq(buf_error(&b), -E2BIG);
    buf_reset(&b);
    cr_assert_eq(buf_error(&b), 0);
    cr_assert_eq(buf_puts(&b, "defgh"), 0);
    cr_assert_str_eq(buf_str(&b), "defgh");
    buf_free(&b);
}

Test(buf, printf_obeys_the_cap)
{
    struct buf b = BUF_INIT(10);

    cr_assert_eq(buf_printf(&b, "%s-%d", "ab", 12), 0);
    cr_assert_str_eq(buf_str(&b), "ab-12");
    cr_assert_eq(buf_printf(&b, "%05d", 7), 0);
    cr_assert_str_eq(buf_str(&b), "ab-1200007");
    cr_assert_eq(buf_printf(&b, "%c", 'x'), -E2BIG);
    cr_assert_str_eq(buf_str(&b), "ab-1200007");
    buf_free(&b);
}

Test(buf, bytes_are_bytes)
{
    struct buf b = BUF_INIT(100);

    cr_assert_eq(buf_append(&b, "a\0b", 3), 0);
    cr_assert_eq(b.len, 3);
    cr_assert_eq(memcmp(b.data, "a\0b", 4), 0, "content and the NUL behind it");
    buf_free(&b);
}

Test(buf, an_empty_one_is_an_empty_string)
{
    struct buf b = BUF_INIT(0);
    size_t len = 9;
    char *text;

    cr_assert_str_eq(buf_str(&b), "");
    cr_assert_eq(buf_append(&b, NULL, 0), 0);
    cr_assert_str_eq(buf_str(&b), "");
    cr_assert_eq(buf_putc(&b, 'x'), -E2BIG);
    buf_free(&b);
    text = buf_take(&b, &len);
    cr_assert_str_eq(text, "");
    cr_assert_eq(len, 0);
    free(text);
}

Test(buf, consume_keeps_the_rest)
{
    struct buf b = BUF_INIT(100);

    buf_consume(&b, 3);
    buf_puts(&b, "line one\nline two");
    buf_consume(&b, 9);
    cr_assert_str_eq(buf_str(&b), "line two");
    cr_assert_eq(b.len, 8);
    buf_consume(&b, 0);
    cr_assert_eq(b.len, 8);
    buf_consume(&b, 100);
    cr_assert_eq(b.len, 0);
    cr_assert_str_eq(buf_str(&b), "");
    cr_assert_eq(buf_puts(&b, "again"), 0);
    cr_assert_str_eq(buf_str(&b), "again");
    buf_free(&b);
}

Test(buf, take_hands_over_and_leaves_an_empty_one)
{
    struct buf b = BUF_INIT(100);
    size_t len;
    char *text;

    buf_puts(&b, "mine");
    text = buf_take(&b, &len);
    cr_assert_str_eq(text, "mine");
    cr_assert_eq(len, 4);
    free(text);
    cr_assert_eq(b.len, 0);
    cr_assert_null(b.data);
    cr_assert_eq(buf_puts(&b, "next"), 0, "usable again, with its cap");
    cr_assert_eq(b.max, 100);
    buf_free(&b);
}

Test(buf, take_after_an_error_gives_nothing)
{
    struct buf b = BUF_INIT(3);

    buf_puts(&b, "abc");
    buf_puts(&b, "d");
    cr_assert_null(buf_take(&b, NULL));
    cr_assert_eq(buf_error(&b), 0);
    cr_assert_eq(b.len, 0);
}

Test(buf, free_keeps_errno_and_cap)
{
    struct buf b = BUF_INIT(7);

    buf_puts(&b, "x");
    errno = EXDEV;
    buf_free(&b);
    cr_assert_eq(errno, EXDEV);
    cr_assert_eq(b.max, 7);
    buf_free(&b);
}

Test(buf, memory_is_no_more_than_the_cap_and_its_nul)
{
    struct buf b = BUF_INIT(1000);

    for (int i = 0; i < 1000; i++)
        buf_putc(&b, 'x');
    cr_assert_leq(b.alloc, 1001);
    buf_free(&b);
}
