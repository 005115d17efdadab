/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict numbers: the whole text is the number or it is refused. No leading or trailing space, no sign on
 * unsigned values, no "0x", no overflow. All return 0, -EINVAL (not a number) or -ERANGE (outside min..max),
 * and write the result only on success.
 */
#pragma once

#include <stdint.h>

#include "common/base/cleanup.h"

int num_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret) _must_check_;
int num_parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret) _must_check_;
int num_parse_u64_n(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *ret) _must_check_;
int num_parse_octal(const char *text, uint64_t max, uint64_t *ret) _must_check_;
