/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes execwrap's command line, which the pod's author writes, together with an agent's answer: the
 * arguments are what NULs separate, the image's ENTRYPOINT and CMD are made of the same ones.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "execwrap/cmdline.h"
#include "test/fuzz/arguments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t frame[WIRE_REPLY_MAX];
    struct arguments args;
    struct cmdline o;
    size_t half;
    int len;

    arguments_split(&args, data, size);
    half = (size_t)args.n / 2;
    const struct wire_attached attached = {.workdir = "/",
            .entrypoint = (const char *const *)args.v,
            .entrypoint_count = half,
            .cmd = (const char *const *)args.v + half,
            .cmd_count = (size_t)args.n - half};
    len = wire_encode_attached(frame, sizeof(frame), &attached);
    if (!cmdline_parse(args.n, args.v, &o) && len > 0) {
        const struct wire_frame f = {.version = WIRE_VERSION,
                .type = WIRE_ATTACHED,
                .data = frame + WIRE_HEADER,
                .len = (size_t)len - WIRE_HEADER};
        struct wire_reply reply;
        const char *why = NULL;
        char **command;

        if (wire_decode_reply(&f, &reply) < 0)
            abort();
        command = cmdline_command(&o, &reply, &why);
        if (command ? !command[0] : !why)
            abort();
        if (command != o.args)
            free(command);
    }
    arguments_free(&args);
    return 0;
}
