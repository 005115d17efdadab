/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a negative errno for the code, a sentence for the person.
 *
 * Every function that can fail returns 0 (or a useful value >= 0) or a negative errno. One whose failure a
 * person will read (a condition, an event, a log line, a gRPC status) also takes `struct err *err` as its
 * last parameter. It is untouched on success. The sentence says what was tried, on what, and where it helps
 * what to do; a caller that knows more wraps it: "outer: inner". err may be NULL where nobody wants the text.
 *
 *     fd = open(path, O_RDONLY | O_CLOEXEC);
 *     if (fd < 0)
 *         return err_set(err, errno, "cannot open %s", path);  // "...: No such file or directory"
 *     r = parse(fd, &x, err);
 *     if (r < 0)
 *         return err_wrap(err, r, "journal %s", path);
 */
#pragma once

#include <stdbool.h>

#include "common/base/cleanup.h"

enum { ERR_TEXT_MAX = 1024 };

struct err {
    int code; /* positive errno, 0 when nothing was set */
    char text[ERR_TEXT_MAX]; /* valid UTF-8 is not guaranteed: cut at the buffer's end with "..." */
};

#define ERR_INIT              \
    {                         \
        .code = 0, .text = "" \
    }

/* Sets code and text, the text followed by ": " and strerror(code). code may be given positive or negative,
 * and must not be 0. Returns -code. */
int err_set(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

/* The same without strerror's words, for failures that are not a system call's (a parser's, a refusal). */
int err_say(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

/* Puts "fmt: " before the text that is there. Returns code as a negative number, for `return err_wrap(err, r,
 * ...)`. */
int err_wrap(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

/* Whether the same may succeed at another time without anybody doing anything about it: somebody else has the fds,
 * the memory or the thing itself, or it was interrupted. Not a disk's errors. code is negative. */
bool err_is_passing(int code);

/* The text, or strerror of the code when there is none, or "no error". Never NULL. */
const char *err_text(const struct err *err);

static inline void err_clear(struct err *err)
{
    if (err) {
        err->code = 0;
        err->text[0] = '\0';
    }
}
