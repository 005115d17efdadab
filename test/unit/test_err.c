/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/err: codes come back negative, sentences say the cause once, nothing overflows. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/err.h"

Test(err, set_ends_in_the_words_of_errno)
{
    struct err err = ERR_INIT;

    cr_assert_eq(err_set(&err, ENOENT, "cannot open %s", "/x"), -ENOENT);
    cr_assert_eq(err.code, ENOENT);
    cr_assert_str_eq(err.text, "cannot open /x: No such file or directory");
}

Test(err, codes_are_taken_with_either_sign)
{
    struct err err = ERR_INIT;

    cr_assert_eq(err_set(&err, -EPERM, "a"), -EPERM);
    cr_assert_eq(err.code, EPERM);
    cr_assert_eq(err_say(&err, -EINVAL, "b"), -EINVAL);
    cr_assert_eq(err.code, EINVAL);
    cr_assert_str_eq(err.text, "b", "say adds nothing");
    cr_assert_eq(err_wrap(&err, EINVAL, "c"), -EINVAL);
}

Test(err, wrap_puts_the_outer_words_first)
{
    struct err err = ERR_INIT;

    err_say(&err, EBADMSG, "byte 3");
    cr_assert_eq(err_wrap(&err, -EBADMSG, "journal %s", "v1"), -EBADMSG);
    cr_assert_eq(err_wrap(&err, -EIO, "node %d", 7), -EIO);
    cr_assert_str_eq(err.text, "node 7: journal v1: byte 3");
    cr_assert_eq(err.code, EIO);
}

Test(err, wrap_of_nothing_says_the_code)
{
    struct err err = ERR_INIT;

    err_wrap(&err, -ENOMEM, "copying");
    cr_assert_str_eq(err.text, "copying: Cannot allocate memory");
}

Test(err, its_own_text_may_be_quoted)
{
    struct err err = ERR_INIT;

    err_say(&err, EIO, "inner");
    err_say(&err, EIO, "outer (%s) and again (%s)", err_text(&err), err.text);
    cr_assert_str_eq(err.text, "outer (inner) and again (inner)");
}

Test(err, long_text_is_cut_and_marked)
{
    struct err err = ERR_INIT;
    char long_text[2 * ERR_TEXT_MAX];

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    err_set(&err, EIO, "%s", long_text);
    cr_assert_eq(strlen(err.text), ERR_TEXT_MAX - 1);
    cr_assert_str_eq(err.text + ERR_TEXT_MAX - 5, "x...");
    err_wrap(&err, EIO, "outer");
    cr_assert_eq(strncmp(err.text, "outer: xxx", 10), 0);
    cr_assert_eq(strlen(err.text), ERR_TEXT_MAX - 1);
    cr_assert_str_eq(err.text + ERR_TEXT_MAX - 5, "x...");
}

Test(err, text_that_just_fits_is_whole)
{
    struct err err = ERR_INIT;
    char text[ERR_TEXT_MAX];

    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    err_say(&err, EIO, "%s", text);
    cr_assert_str_eq(err.text, text);
}

Test(err, nobody_listening)
{
    cr_assert_eq(err_set(NULL, EIO, "a"), -EIO);
    cr_assert_eq(err_say(NULL, EIO, "a"), -EIO);
    cr_assert_eq(err_wrap(NULL, -EIO, "a"), -EIO);
    err_clear(NULL);
}

Test(err, text_is_never_null)
{
    struct err err = ERR_INIT;

    cr_assert_str_eq(err_text(NULL), "no error");
    cr_assert_str_eq(err_text(&err), "no error");
    err.code = EACCES;
    cr_assert_str_eq(err_text(&err), "Permission denied");
    err.code = 12345;
    cr_assert_str_eq(err_text(&err), "unknown error");
    err_say(&err, EIO, "said");
    cr_assert_str_eq(err_text(&err), "said");
    err_clear(&err);
    cr_assert_str_eq(err_text(&err), "no error");
}

/* What nobody need do anything about; and what somebody must, a disk's errors among it. */
Test(err, passing_is_what_may_be_well_again_by_itself)
{
    static const int passing[] = {
            EAGAIN, EBUSY, ECANCELED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, ESRCH, ETIMEDOUT};
    static const int lasting[] = {
            EACCES, EBADMSG, EEXIST, EINVAL, EIO, ENOENT, ENOSPC, ENOTRECOVERABLE, EPERM, EROFS};

    for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
        cr_expect(err_is_passing(-passing[i]), "%s", strerror(passing[i]));
        cr_expect_not(err_is_passing(-lasting[i]), "%s", strerror(lasting[i]));
    }
    cr_expect_not(err_is_passing(0));
}
