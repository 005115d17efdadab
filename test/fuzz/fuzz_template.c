/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the reading of a StoppableContainer: the input is its spec, or the whole object. What is accepted
 * has containers and a hash, and reads the same a second time.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controller/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const struct json *sc)
{
    const struct template_rules rules = {.runtime_classes = "plain,other"};
    _cleanup_template_ struct template t = {.spec = NULL}, again = {.spec = NULL};
    struct err err = ERR_INIT;
    int r = template_parse(sc, &rules, &t, &err);

    if ((r < 0) != (err.code != 0))
        abort();
    if (r < 0)
        return;
    if (strlen(t.hash) != TEMPLATE_HASH_MAX - 1 || !json_is_array(template_containers(&t)))
        abort();
    if (template_parse(sc, &rules, &again, NULL) < 0 || strcmp(t.hash, again.hash) != 0 ||
            !json_equal(t.spec, again.spec))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ struct json *root = NULL;

    if (json_parse((const char *)data, size, &root, NULL) == 0)
        run(root);
    return 0;
}
