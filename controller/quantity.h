/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes as people write them in manifests: whole bytes (1073741824, "1073741824") or with the suffix of a
 * Kubernetes quantity ("10Gi", "1.5T"). Not taken: signs, exponents, and fractions of more than nine digits,
 * which no size needs. PURE.
 */
#pragma once

#include <stdint.h>

#include "common/json/json.h"

/* The field at path in bytes, a fraction of one rounded up. -ENOENT when absent, -EINVAL when it is no size,
 * -ERANGE beyond 2^63 - 1; *ret is written only on success. */
int quantity_bytes(const struct json *object, const char *path, uint64_t *ret) _must_check_;
int quantity_parse(const char *text, uint64_t *ret) _must_check_;
