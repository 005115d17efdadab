/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/log: one entry is one line, whatever the text; levels; errno kept. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/log.h"

static int log_pipe[2];
static char line[8192];

static void capture(void)
{
    cr_assert_eq(pipe2(log_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    cr_assert_geq(dup2(log_pipe[1], STDERR_FILENO), 0);
}

TestSuite(log, .init = capture);

/* What was logged since the last call, or "". */
static const char *logged(void)
{
    ssize_t n = read(log_pipe[0], line, sizeof(line) - 1);

    line[n > 0 ? n : 0] = '\0';
    return line;
}

/* What was logged, from "level=" on. */
static const char *logged_tail(void)
{
    const char *tail = strstr(logged(), " level=");

    cr_assert_not_null(tail, "no level in \"%s\"", line);
    return tail + 1;
}

Test(log, one_line_with_time_level_and_message)
{
    log_info("stopped after %d s", 3);
    cr_assert_eq(strncmp(logged(), "time=2", 6), 0);
    cr_assert_eq(line[28], 'Z', "milliseconds and Z: %s", line);
    cr_assert_str_eq(line + 29, " level=info msg=\"stopped after 3 s\"\n");
}

Test(log, text_cannot_forge_a_line_or_a_field)
{
    log_warn("a\nlevel=error msg=\"b\" \\ \t\r\x1b[31m\x7f");
    cr_assert_str_eq(
            logged_tail(), "level=warn msg=\"a\\nlevel=error msg=\\\"b\\\" \\\\ \\t\\x0d\\x1b[31m\\x7f\"\n");
}

Test(log, letters_stay_and_bytes_that_are_none_are_escaped)
{
    log_info("h\xc3\xa9llo \xff \xc2\x9b \xe2\x80\xa8|");
    cr_assert_str_eq(logged_tail(), "level=info msg=\"h\xc3\xa9llo \\xff \\xc2\\x9b \\xe2\\x80\\xa8|\"\n");
}

Test(log, levels)
{
    log_debug("unseen");
    cr_assert_str_eq(logged(), "", "the default is info");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("seen");
    cr_assert_str_eq(logged_tail(), "level=debug msg=\"seen\"\n");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("unseen");
    cr_assert_str_eq(logged(), "");
    log_error("seen");
    cr_assert_str_eq(logged_tail(), "level=error msg=\"seen\"\n");
}

Test(log, level_names)
{
    enum log_level level = LOG_LEVEL_WARN;

    cr_assert_eq(log_level_from_string("debug", &level), 0);
    cr_assert_eq(level, LOG_LEVEL_DEBUG);
    cr_assert_eq(log_level_from_string("error", &level), 0);
    cr_assert_eq(level, LOG_LEVEL_ERROR);
    cr_assert_eq(log_level_from_string("ERROR", &level), -EINVAL);
    cr_assert_eq(log_level_from_string("", &level), -EINVAL);
    cr_assert_eq(log_level_from_string("err", &level), -EINVAL);
    cr_assert_eq(level, LOG_LEVEL_ERROR);
}

Test(log, the_object_is_named_until_it_is_not)
{
    char name[] = "ns/name";

    log_set_object(name);
    name[0] = 'x';
    log_info("a");
    cr_assert_str_eq(logged_tail(), "level=info object=ns/name msg=\"a\"\n");
    log_set_object("ns/na\" msg=\"x");
    log_info("a");
    cr_assert_str_eq(logged_tail(), "level=info object=\"ns/na\\\" msg=\\\"x\" msg=\"a\"\n");
    log_set_object(NULL);
    log_info("a");
    cr_assert_str_eq(logged_tail(), "level=info msg=\"a\"\n");
}

Test(log, long_text_is_cut_and_is_still_one_line)
{
    static char text[10000];
    size_t len;

    memset(text, '\x01', sizeof(text) - 1); /* each byte takes four */
    log_set_object(text);
    log_info("%s", text);
    len = strlen(logged());
    cr_assert_leq(len, 4096);
    cr_assert_str_eq(line + len - 5, "...\"\n");
    cr_assert_eq(strchr(line, '\n'), line + len - 1);
    memset(text, 'x', sizeof(text) - 1);
    log_info("%s", text);
    len = strlen(logged());
    cr_assert_str_eq(line + len - 6, "x...\"\n");
}

Test(log, errno_is_kept)
{
    (void)close(STDERR_FILENO);
    errno = EXDEV;
    log_info("nobody hears this");
    cr_assert_eq(errno, EXDEV);
}
