/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the agent's command line: the arguments are what NULs separate. What is accepted is complete.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node-agent/options.h"
#include "test/fuzz/arguments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arguments args;
    struct options o;
    struct err err = ERR_INIT;

    arguments_split(&args, data, size);
    if (agent_options_parse(args.n, args.v, &o, &err) < 0) {
        if (err.code == 0)
            abort();
    } else if (o.command == OPTIONS_SERVE &&
               (!o.node_name[0] || o.kubelet_dir[0] != '/' || o.state_dir[0] != '/')) {
        abort();
    }
    arguments_free(&args);
    return 0;
}
