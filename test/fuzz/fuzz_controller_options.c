/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the controller's command line: the arguments are what NULs separate.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controller/options.h"
#include "test/fuzz/arguments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arguments args;
    struct options o;
    struct err err = ERR_INIT;

    arguments_split(&args, data, size);
    if ((options_parse(args.n, args.v, &o, &err) < 0) != (err.code != 0))
        abort();
    arguments_free(&args);
    return 0;
}
