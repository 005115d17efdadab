/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of an overlay, read from what mountinfo shows of its options. PURE.
 *
 *     rw,lowerdir=/a:/b\:c,upperdir=/u,workdir=/w     mount(2): parted by ":", overlayfs' own escapes "\:" "\\"
 *     rw,lowerdir+=/a,lowerdir+=/b:c,upperdir=/u      fsconfig: one each, verbatim
 *
 * Values are unescaped twice: mountinfo's octal escapes first (which make a comma in a value unambiguous),
 * then overlayfs' backslashes. A path is taken as it is only when it is absolute. Relative ones are what
 * containerd's overlay snapshotter makes of a list that is too long for mount(2), "12/fs" beside its
 * absolute upper directory ".../snapshots/34/fs": these are understood, in exactly that form. All others, and
 * data-only layers, are refused.
 */
#pragma once

#include <stddef.h>

#include "common/base/err.h"

struct overlay_layers {
    size_t n;
    char **paths; /* absolute, from the topmost down */
};

/* -EINVAL or -E2BIG (LIMIT_LAYERS) with a sentence, -ENOMEM. */
int overlay_layers_parse(const char *super_options, struct overlay_layers *ret, struct err *err);
void overlay_layers_free(struct overlay_layers *layers);
#define _cleanup_overlay_layers_ _cleanup_(overlay_layers_free)
