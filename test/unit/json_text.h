/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from a test's own text. */
#pragma once

#include <criterion/criterion.h>
#include <string.h>

#include "common/json/json.h"

static inline struct json *parsed(const char *text)
{
    struct json *root = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(json_parse(text, strlen(text), &root, &err), 0, "%s in %s", err_text(&err), text);
    return root;
}
