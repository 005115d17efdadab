/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "common/hash/sha256.h"

/* FIPS 180-4's example of one block. */
Test(sha256, example)
{
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];

    cr_assert_eq(sha256_set_up(NULL), 0);
    cr_assert_eq(sha256("abc", 3, digest), 0);
    sha256_hex(digest, sizeof(digest), hex);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex(digest, 2, hex);
    cr_assert_str_eq(hex, "ba78");
}
