/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a template may not ask for, each refusal a sentence that says what is wrong and what to do. PURE.
 * Part of template.c; nothing else calls it.
 */
#pragma once

#include "controller/template.h"

/* Which of the two forms, and not both: what the CRD's rules say too, for objects that were stored before
 * them. */
int template_check_form(const struct json *sc, struct err *err) _must_check_;

/* t->spec in full form. */
int template_check(const struct json *sc, const struct template *t, const struct template_rules *rules,
        struct err *err) _must_check_;
