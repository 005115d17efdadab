/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a preserved root in persistence Node: STATE/instances/<uid>/<container>/root.json, replaced
 * atomically. It is there before the root is first mounted, so a root that anything was ever written to has
 * one; it makes the root a kept one, and says what it was made of:
 *
 *   - whose it is: a pod of another namespace that names the instance's uid never gets it
 *   - over which image, by the chain id of its layers (OCI image specification): files of an upper mean
 *     nothing over another
 *   - with which options it is mounted, every time
 *
 * A file that cannot be read back is no reason to start anew: the root stays unused until a person has looked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"

enum {
    RECORD_CHAIN_LEN = 71, /* "sha256:" and 64 hex digits */
    RECORD_OPTIONS_MAX = 160,
};

struct record {
    char ns[LIMIT_NAMESPACE + 1]; /* of the instance */
    char chain[RECORD_CHAIN_LEN + 1];
    char options[RECORD_OPTIONS_MAX];
    uint32_t project; /* of its quota; 0: it has none, and can get none any more */
    uint64_t size_limit; /* bytes; 0: none */
};

/* Whether it is sha256:<64 hex>. Accepts NULL. */
bool record_is_chain(const char *text);

/* The file's text. PURE. */
int record_encode(const struct record *rec, struct buf *b, struct err *err);

/* The reverse, strict; -EBADMSG with a sentence. PURE. */
int record_decode(const char *text, size_t len, struct record *ret, struct err *err);

/* dir: the container's directory. On disk (fsync) when it returns. */
int record_write(int dir, const struct record *rec, struct err *err);

/* -ENOENT: there is none. -EBADMSG: there is one, and it cannot be used. */
int record_read(int dir, struct record *ret, struct err *err);
