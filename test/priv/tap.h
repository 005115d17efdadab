/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output of the tests that need root: one line a check, "ok - name", "not ok - name" or
 * "skip - name: reason". With SC_TEST_MUST_RUN=1 a skip is a failure. Line-buffered writes of one line each,
 * so forked children may use it too; who counts is the process, and a child hands its failures on by exiting
 * with tap_status().
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

static int tap_failures;

_printf_(2, 3) _unused_ static bool tap_ok(bool good, const char *fmt, ...)
{
    va_list ap;
    char name[512];

    va_start(ap, fmt);
    (void)vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    printf("%s - %s\n", good ? "ok" : "not ok", name);
    fflush(stdout);
    tap_failures += !good;
    return good;
}

_unused_ static void tap_skip(const char *name, const char *reason)
{
    const char *must = getenv("SC_TEST_MUST_RUN");

    printf("%s - %s: %s\n", must && strcmp(must, "1") == 0 ? "not ok" : "skip", name, reason);
    fflush(stdout);
    tap_failures += must && strcmp(must, "1") == 0;
}

/* For main's return, or a child's _exit. */
_unused_ static int tap_status(void)
{
    return tap_failures ? 1 : 0;
}
