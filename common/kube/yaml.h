/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only door to libyaml: one YAML document as a JSON tree.
 */
#pragma once

#include <stddef.h>

#include "common/base/err.h"
#include "common/json/json.h"

/* Plain `true` and `false` become booleans, plain `null`, `~` and nothing at all become null, every other
 * scalar is a string, also one that looks like a number. Refused: anchors and aliases (a small file could
 * grow without bound), tags, keys that are no scalars, duplicate keys, NUL bytes, a second document, depth
 * over LIMIT_JSON_DEPTH. -EBADMSG with line and column in the text. The caller caps the length. */
int yaml_to_json(const char *text, size_t len, struct json **ret, struct err *err) _must_check_;
