/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See chain.h.
 */
#include "node-agent/runtime/chain.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/hash/sha256.h"

static bool is_digest(const char *text)
{
    return strnlen(text, CHAIN_LEN + 1) == CHAIN_LEN && strncmp(text, "sha256:", 7) == 0 &&
           strspn(text + 7, "0123456789abcdef") == CHAIN_LEN - 7;
}

static int hash(const char *text, size_t len, char ret[CHAIN_LEN + 1])
{
    static const char algorithm[] = "sha256:";
    uint8_t digest[SHA256_SIZE];

    if (sha256(text, len, digest) < 0)
        return -ENOMEM;
    memcpy(ret, algorithm, sizeof(algorithm));
    sha256_hex(digest, sizeof(digest), ret + strlen(algorithm));
    return 0;
}

int chain_add(char chain[CHAIN_LEN + 1], const char *diff_id)
{
    char pair[2 * CHAIN_LEN + 2];
    int n;

    if (!is_digest(diff_id)) {
        chain[0] = '\0';
        return -EBADMSG;
    }
    if (!chain[0]) {
        (void)snprintf(chain, CHAIN_LEN + 1, "%s", diff_id);
        return 0;
    }
    n = snprintf(pair, sizeof(pair), "%s %s", chain, diff_id);
    return hash(pair, (size_t)n, chain);
}
