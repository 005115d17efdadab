/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer that knows its largest size from birth.
 *
 * The content is always followed by a NUL that len does not count, so text can be read as a C string. An
 * append that would pass the cap fails with -E2BIG and leaves the content as it was; -ENOMEM likewise.
 * Several appends may be made and only the last one checked: the first failure sticks (buf_error) and later
 * appends do nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/cleanup.h"

struct buf {
    char *data; /* NULL until the first append */
    size_t len; /* bytes of content */
    size_t alloc;
    size_t max; /* content never grows beyond this */
    int error; /* 0, or the negative errno of the first append that failed */
};

#define BUF_INIT(cap)                                                \
    {                                                                \
        .data = NULL, .len = 0, .alloc = 0, .max = (cap), .error = 0 \
    }
#define _cleanup_buf_ _cleanup_(buf_free)

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b); /* releases the memory; the buffer is empty and usable again */
void buf_reset(struct buf *b); /* forgets content and error, keeps the memory */

int buf_append(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *text);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

/* Drops the first n bytes (all of them when n > len), moving the rest to the front. */
void buf_consume(struct buf *b, size_t n);

/* The content as a string; "" when empty. Valid until the next change. */
const char *buf_str(const struct buf *b);

/* Hands the NUL-terminated content to the caller (free it) and leaves the buffer empty. NULL after an error
 * or when out of memory. ret_len may be NULL. */
char *buf_take(struct buf *b, size_t *ret_len) _must_check_;

static inline int buf_error(const struct buf *b)
{
    return b->error;
}
