/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors (err.h). Every sentence is made in a local buffer first and copied at the end, because callers quote
 * the text of the same struct err in the arguments.
 */
#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Appends formatted text at *len, never beyond the buffer, and marks a cut with "...". */
static void text_vadd(char text[ERR_TEXT_MAX], size_t *len, const char *fmt, va_list args)
        __attribute__((format(printf, 3, 0)));
static void text_add(char text[ERR_TEXT_MAX], size_t *len, const char *fmt, ...) _printf_(3, 4);

static void text_vadd(char text[ERR_TEXT_MAX], size_t *len, const char *fmt, va_list args)
{
    static const char dots[] = "...";
    size_t room = ERR_TEXT_MAX - *len;
    int n = vsnprintf(text + *len, room, fmt, args);

    if (n < 0) { /* an encoding error: what was there stays */
        text[*len] = '\0';
        return;
    }
    if ((size_t)n < room) {
        *len += (size_t)n;
        return;
    }
    memcpy(text + ERR_TEXT_MAX - sizeof(dots), dots, sizeof(dots));
    *len = ERR_TEXT_MAX - 1;
}

static void text_add(char text[ERR_TEXT_MAX], size_t *len, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    text_vadd(text, len, fmt, args);
    va_end(args);
}

/* strerror without its shared buffer; GNU's strerror_r returns the text. */
static const char *errno_text(int code, char *space, size_t len)
{
    return strerror_r(code, space, len);
}

static int positive(int code)
{
    return code < 0 ? -code : code;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX] = "", space[128];
    size_t len = 0;
    va_list args;

    code = positive(code);
    if (!err)
        return -code;
    va_start(args, fmt);
    text_vadd(text, &len, fmt, args);
    va_end(args);
    text_add(text, &len, ": %s", errno_text(code, space, sizeof(space)));
    err->code = code;
    memcpy(err->text, text, len + 1);
    return -code;
}

int err_say(struct err *err, int code, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX] = "";
    size_t len = 0;
    va_list args;

    code = positive(code);
    if (!err)
        return -code;
    va_start(args, fmt);
    text_vadd(text, &len, fmt, args);
    va_end(args);
    err->code = code;
    memcpy(err->text, text, len + 1);
    return -code;
}

int err_wrap(struct err *err, int code, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX] = "", space[128];
    size_t len = 0;
    va_list args;

    code = positive(code);
    if (!err)
        return -code;
    va_start(args, fmt);
    text_vadd(text, &len, fmt, args);
    va_end(args);
    text_add(text, &len, ": %s", err->text[0] ? err->text : errno_text(code, space, sizeof(space)));
    err->code = code;
    memcpy(err->text, text, len + 1);
    return -code;
}

bool err_is_passing(int code)
{
    static const int passing[] = {
            EAGAIN, EBUSY, ECANCELED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, ESRCH, ETIMEDOUT};

    for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
        if (code == -passing[i])
            return true;
    return false;
}

const char *err_text(const struct err *err)
{
    if (!err || (!err->text[0] && err->code == 0))
        return "no error";
    if (err->text[0])
        return err->text;
    /* strerrordesc_np never needs a buffer, and knows every code that the kernel gives. */
    const char *text = strerrordesc_np(err->code);
    return text ? text : "unknown error";
}
