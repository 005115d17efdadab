/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An argv of a fuzzer's bytes: what NULs separate, after a program's name.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARGUMENTS_MAX = 64 };

struct arguments {
    int n;
    char *v[ARGUMENTS_MAX + 1];
};

static char *arguments_copy(const char *text, size_t len)
{
    char *copy = malloc(len + 1);

    if (!copy)
        abort();
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

static void arguments_split(struct arguments *a, const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;

    memset(a, 0, sizeof(*a));
    a->v[a->n++] = arguments_copy("program", 7);
    while (at < end && a->n < ARGUMENTS_MAX) {
        const char *nul = memchr(at, '\0', (size_t)(end - at));
        size_t len = (size_t)((nul ? nul : end) - at);

        a->v[a->n++] = arguments_copy(at, len);
        at += len + 1;
    }
}

static void arguments_free(struct arguments *a)
{
    for (int i = 0; i < a->n; i++)
        free(a->v[i]);
}
