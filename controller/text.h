/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in fixed buffers that ends between two characters where it has to be cut: a condition with half a
 * character in it would be refused by the API server.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "common/base/cleanup.h"

void text_copy(char *to, size_t size, const char *from);
void text_format_args(char *to, size_t size, const char *fmt, va_list args) _printf_(3, 0);
