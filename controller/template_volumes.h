/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the volumes of a template may not do, each refusal a sentence: be or hide the volume that attaches the
 * preserved root, take the root's place, or put a block device where a preserved root does not show it. PURE.
 * Part of template_check.c; nothing else calls it.
 *
 * What no pod can do (a volume at /proc, two at one place) is left to the API server and the runtime, whose
 * words are shown in Ready.
 */
#pragma once

#include "controller/template.h"

int template_check_volumes(const struct template *t, struct err *err) _must_check_;

/* A mount path as the kubelet and the runtime read it when there are no links: absolute, without ".", ".."
 * and doubled slashes. The caller frees it; NULL when out of memory. */
char *template_clean_path(const char *path) _must_check_;
