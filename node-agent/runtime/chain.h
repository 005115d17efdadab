/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity of an image's content: the chain id of its layers, by the OCI image specification. PURE.
 *
 *     chain(1) = diff_id(1)         chain(n) = sha256(chain(n-1) + " " + diff_id(n))
 *
 * Two images with the same chain id have the same files, whatever their names, digests and configs.
 */
#pragma once

#include "common/base/err.h"

enum { CHAIN_LEN = 71 }; /* "sha256:" and 64 hex digits */

/* Adds one layer. chain: "" before the first. -EBADMSG when diff_id is no sha256 digest (the chain is "" then,
 * and no identity), -ENOMEM. */
int chain_add(char chain[CHAIN_LEN + 1], const char *diff_id);
