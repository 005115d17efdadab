/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/runtime/chain: the image specification's chain ids, and what is none.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "node-agent/runtime/chain.h"

#define D1 "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
#define D2 "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
#define D1_D2 \
    "sha256:71dec89dc33c1a1cd5f73cd1e0885ec74b73b03fb9d5a98fddb6486563565072" /* sha256 of "D1 D2" */

Test(chain, of_layers)
{
    char chain[CHAIN_LEN + 1] = "";

    cr_assert_eq(chain_add(chain, D1), 0);
    cr_expect_str_eq(chain, D1, "the first layer's is its own");
    cr_assert_eq(chain_add(chain, D2), 0);
    cr_expect_str_eq(chain, D1_D2);
    cr_assert_eq(chain_add(chain, D2), 0);
    cr_expect_str_neq(chain, D1_D2, "a layer twice is another image");
}

Test(chain, what_is_no_digest_makes_none)
{
    static const char *const bad[] = {"", "sha256:", (D1 "0"), "md5:00", (D2 " "),
            "sha256:A3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char chain[CHAIN_LEN + 1] = D2;

        cr_expect_eq(chain_add(chain, bad[i]), -EBADMSG, "%s", bad[i]);
        cr_expect_str_empty(chain);
    }
}
