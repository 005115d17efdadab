/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log (log.h). A line is put together on the stack and written by one write(2), so that lines of several
 * processes on one pipe do not mix (PIPE_BUF is 4096). Whatever is not plain printable text is escaped, also
 * what a terminal or a viewer would take for a line end or a control sequence.
 */
#include "common/base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/utf8.h"

enum {
    OBJECT_MAX = 320, /* namespace 63, "/", name 253, and some */
    MESSAGE_MAX = 2048, /* an err's text and its surroundings */
    LINE_MAX_LEN = 4096,
    LINE_RESERVE = 8, /* for `..."` and the newline of a line that was cut */
};

struct line {
    size_t len;
    char text[LINE_MAX_LEN];
};

static enum log_level max_level = LOG_LEVEL_INFO;
static char subject[OBJECT_MAX + 1];

static const char *const level_names[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARN] = "warn",
        [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
    max_level = level;
}

int log_level_from_string(const char *text, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_set_object(const char *object)
{
    (void)snprintf(subject, sizeof(subject), "%s", object ? object : "");
}

/* Adds all of it, or nothing when it does not fit. */
static bool line_add(struct line *line, const char *text, size_t len)
{
    if (len > LINE_MAX_LEN - LINE_RESERVE - line->len)
        return false;
    memcpy(line->text + line->len, text, len);
    line->len += len;
    return true;
}

static void line_puts(struct line *line, const char *text)
{
    (void)line_add(line, text, strlen(text));
}

/* Line and paragraph separators, and the C1 controls, are line ends or escapes to some viewers. */
static bool is_plain(uint32_t c)
{
    return c >= 0x20 && c != '"' && c != '\\' && !(c >= 0x7f && c < 0xa0) && c != 0x2028 && c != 0x2029;
}

/* One character of a quoted value. Returns the bytes consumed, 0 when the line is full. */
static size_t line_escape(struct line *line, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t c = 0;
    size_t n = utf8_next(text, len, &c);
    char out[4] = {'\\', 0};

    if (n > 0 && is_plain(c))
        return line_add(line, text, n) ? n : 0;
    if (*text == '"' || *text == '\\' || *text == '\n' || *text == '\t') {
        out[1] = *text == '\n' ? 'n' : *text == '\t' ? 't' : *text;
        return line_add(line, out, 2) ? 1 : 0;
    }
    out[1] = 'x';
    out[2] = hex[(unsigned char)*text >> 4];
    out[3] = hex[(unsigned char)*text & 0x0f];
    return line_add(line, out, 4) ? 1 : 0;
}

/* The reserve always has room for the end of a quoted value. */
static void line_quote(struct line *line, const char *text)
{
    size_t len = strlen(text), done = 0, n;
    const char *end = "\"";

    if (!line_add(line, "\"", 1))
        return;
    for (; done < len; done += n) {
        n = line_escape(line, text + done, len - done);
        if (n == 0) {
            end = "...\"";
            break;
        }
    }
    memcpy(line->text + line->len, end, strlen(end));
    line->len += strlen(end);
}

static bool needs_quotes(const char *text)
{
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/:";

    return text[0] == '\0' || text[strspn(text, bare)] != '\0';
}

static void line_begin(struct line *line, enum log_level level)
{
    char now[CLOCK_TEXT_MAX];

    line->len = 0;
    clock_format_micro_time(clock_realtime(), now);
    /* "...05.678901Z": milliseconds are enough */
    line_puts(line, "time=");
    (void)line_add(line, now, strlen(now) - 4);
    line_puts(line, "Z level=");
    line_puts(line, level_names[level]);
    if (subject[0]) {
        line_puts(line, " object=");
        if (needs_quotes(subject))
            line_quote(line, subject);
        else
            line_puts(line, subject);
    }
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char message[MESSAGE_MAX] = "";
    int saved = errno, n;
    struct line line;
    va_list args;

    if (level > max_level)
        return;
    va_start(args, fmt);
    n = vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (n >= MESSAGE_MAX)
        memcpy(message + MESSAGE_MAX - 4, "...", 4);
    line_begin(&line, level);
    line_puts(&line, " msg=");
    line_quote(&line, message);
    line.text[line.len++] = '\n';
    (void)file_write_all(STDERR_FILENO, line.text, line.len); /* nobody to tell when it fails */
    errno = saved;
}
