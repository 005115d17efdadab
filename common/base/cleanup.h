/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership by attribute.
 *
 * A local that owns something says so where it is declared, and is released on every way out of its scope:
 *
 *     _cleanup_free_ char *name = NULL;
 *     _cleanup_close_ int fd = -EBADF;
 *
 * The only way to hand the thing on is by name: `*ret_name = take_ptr(name)`, `return take_fd(&fd)`.
 * Every release function accepts NULL (or a negative fd) and leaves errno as it was.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_close_ _cleanup_(cleanup_closep)
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)

#define _must_check_ __attribute__((warn_unused_result))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))

/* Defines `void nameP(type *)`, the cleanup twin of `name(type)`, for pointers whose "nothing" is NULL. */
#define DEFINE_CLEANUP_FUNC(type, name) \
    static inline void name##p(type *p) \
    {                                   \
        if (*p)                         \
            name(*p);                   \
    }                                   \
    struct cleanup_semicolon_

/* Hands a pointer over: evaluates to it and leaves NULL behind. */
#define take_ptr(ptr)                  \
    ({                                 \
        __typeof__(ptr) *_pp = &(ptr); \
        __typeof__(ptr) _p = *_pp;     \
        *_pp = NULL;                   \
        _p;                            \
    })

/* Hands an fd over: returns it and leaves -EBADF behind. */
static inline int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -EBADF;
    return taken;
}

/* Closes an fd that may be negative. Returns -EBADF, to be assigned back. errno is kept. */
static inline int close_fd(int fd)
{
    int saved = errno;

    if (fd >= 0)
        (void)close(fd);
    errno = saved;
    return -EBADF;
}

static inline void cleanup_closep(int *fd)
{
    *fd = close_fd(*fd);
}

static inline void cleanup_freep(void *p)
{
    int saved = errno;

    free(*(void **)p);
    errno = saved;
}

static inline void cleanup_fclosep(FILE **f)
{
    int saved = errno;

    if (*f)
        (void)fclose(*f);
    errno = saved;
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
