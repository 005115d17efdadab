/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes (1 to 4) of the valid character at the start of text, 0 when there is none. ret_char may be NULL. */
size_t utf8_next(const char *text, size_t len, uint32_t *ret_char);

/* Whether all of text is valid. A NUL byte is a valid character here. */
bool utf8_valid(const char *text, size_t len);
