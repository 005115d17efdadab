/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256, and the only door to libcrypto.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum { SHA256_SIZE = 32 };

/* Once, before anything is hashed. libcrypto sets up for the process what it has when that is first used; where there was
 * no memory for it then, each later hash fails, or ends in a crash. -ENOMEM: not to go on. */
int sha256_set_up(struct err *err) _must_check_;

/* -ENOMEM. */
int sha256(const void *data, size_t len, uint8_t ret[SHA256_SIZE]) _must_check_;

/* The first n bytes as 2 n lower-case digits, and a NUL. */
void sha256_hex(const uint8_t digest[SHA256_SIZE], size_t n, char *ret);
