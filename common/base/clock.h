/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Durations and instants are microseconds in usec_t; deadlines are always on CLOCK_MONOTONIC. Wall time
 * is only for what people and the API read. Pure code takes `now` as a parameter and never asks.
 */
#pragma once

#include <stdint.h>

#include "common/base/cleanup.h"

typedef uint64_t usec_t;

#define USEC_INFINITY UINT64_MAX
#define USEC_PER_MSEC ((usec_t)1000)
#define USEC_PER_SEC ((usec_t)1000000)

usec_t clock_monotonic(void);
usec_t clock_realtime(void);
/* Like clock_monotonic, but goes on while the machine sleeps. No instant of the one is one of the other. */
usec_t clock_boottime(void);

/* a + b, USEC_INFINITY instead of an overflow. */
usec_t usec_add(usec_t a, usec_t b);

/* RFC 3339 as the Kubernetes API writes metav1.Time ("2026-01-02T03:04:05Z", seconds) and metav1.MicroTime
 * ("2026-01-02T03:04:05.000006Z"). */
enum { CLOCK_TEXT_MAX = 40 };
void clock_format_time(usec_t realtime, char ret[CLOCK_TEXT_MAX]);
void clock_format_micro_time(usec_t realtime, char ret[CLOCK_TEXT_MAX]);

/* Parses either form (also with a numeric zone). -EINVAL otherwise. */
int clock_parse_time(const char *text, usec_t *ret_realtime) _must_check_;
