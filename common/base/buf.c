/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growing buffer (buf.h). Memory doubles, so that appending is linear, and is never larger than the cap
 * and its NUL.
 */
#include "common/base/buf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

enum { FIRST_ALLOC = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf)BUF_INIT(max);
}

void buf_free(struct buf *b)
{
    int saved = errno;

    free(b->data);
    buf_init(b, b->max);
    errno = saved;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->error = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* The size to allocate so that `need` bytes (NUL counted) fit. */
static size_t grown_size(const struct buf *b, size_t need)
{
    size_t size = b->alloc ? b->alloc : FIRST_ALLOC;

    while (size < need)
        size = size > SIZE_MAX / 2 ? need : size * 2;
    return size - 1 > b->max ? b->max + 1 : size;
}

/* Makes room for `more` bytes and the NUL. The first failure sticks. */
static int buf_reserve(struct buf *b, size_t more)
{
    size_t need, size;
    char *data;

    if (b->error)
        return b->error;
    if (more > b->max - b->len || b->max == SIZE_MAX)
        return b->error = -E2BIG;
    need = b->len + more + 1;
    if (need <= b->alloc)
        return 0;
    size = grown_size(b, need);
    data = realloc(b->data, size);
    if (!data)
        return b->error = -ENOMEM;
    b->data = data;
    b->alloc = size;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    int r = buf_reserve(b, len);

    if (r < 0)
        return r;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_puts(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

int buf_putc(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    int n, r;

    if (b->error)
        return b->error;
    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    r = n < 0 ? (b->error = -EINVAL) : buf_reserve(b, (size_t)n);
    if (r == 0) {
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return r;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n > b->len)
        n = b->len;
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    char *data = NULL;

    if (buf_append(b, "", 0) == 0) { /* an empty buffer still gives a string */
        if (ret_len)
            *ret_len = b->len;
        data = take_ptr(b->data);
    }
    buf_free(b);
    return data;
}
