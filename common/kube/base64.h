/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 (RFC 4648, section 4), as kubeconfig's *-data fields hold it.
 */
#pragma once

#include "common/base/buf.h"

/* Appends the decoded bytes. Line ends are passed over; anything else outside the alphabet, a wrong length or
 * wrong padding is -EINVAL (what was decoded before stays in out). */
int base64_decode(const char *text, struct buf *out) _must_check_;
