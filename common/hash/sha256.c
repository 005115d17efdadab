/* SPDX-License-Identifier: Apache-2.0 */
/* See sha256.h. */
#include "common/hash/sha256.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

_Static_assert(SHA256_SIZE == SHA256_DIGEST_LENGTH, "FIPS 180-4");

int sha256_set_up(struct err *err)
{
    uint8_t digest[SHA256_SIZE];

    if (!OSSL_LIB_CTX_get0_global_default() || sha256("", 0, digest) < 0)
        return err_set(err, ENOMEM, "cannot set up libcrypto");
    return 0;
}

int sha256(const void *data, size_t len, uint8_t ret[SHA256_SIZE])
{
    return SHA256(data, len, ret) ? 0 : -ENOMEM;
}

void sha256_hex(const uint8_t digest[SHA256_SIZE], size_t n, char *ret)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *ret++ = digits[digest[i] >> 4];
        *ret++ = digits[digest[i] & 15];
    }
    *ret = '\0';
}
