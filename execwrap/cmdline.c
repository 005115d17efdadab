/* SPDX-License-Identifier: Apache-2.0 */
#include "execwrap/cmdline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "execwrap/say.h"

static const char usage[] = "usage: execwrap run [--chroot] [--image-entrypoint] [--termination-log PATH] -- "
                            "[ARG...] | execwrap exec [--chroot] -- ARG... | execwrap ready";
static const char no_command[] = "no command specified: neither the pod nor the image gives one";

const char *cmdline_parse(int argc, char **argv, struct cmdline *ret)
{
    int i = 2;

    *ret = (struct cmdline){.kind = WIRE_RUN, .log = SAY_TERMINATION_LOG};
    if (argc == 2 && strcmp(argv[1], "ready") == 0) {
        *ret = (struct cmdline){.kind = WIRE_EXEC, .only_wait = true};
        return NULL;
    }
    if (argc < 3)
        return usage;
    if (strcmp(argv[1], "exec") == 0) {
        ret->kind = WIRE_EXEC;
        ret->log = NULL;
    } else if (strcmp(argv[1], "run") != 0) {
        return usage;
    }
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--chroot") == 0)
            ret->chroot = true;
        else if (ret->kind == WIRE_EXEC)
            return usage;
        else if (strcmp(argv[i], "--image-entrypoint") == 0)
            ret->image_entrypoint = true;
        else if (strcmp(argv[i], "--termination-log") == 0 && i + 1 < argc)
            ret->log = argv[++i];
        else
            return usage;
    }
    if (i == argc)
        return usage;
    ret->args = argv + i + 1;
    ret->count = (size_t)(argc - i - 1);
    if (ret->count == 0 && !ret->image_entrypoint)
        return no_command;
    return NULL;
}

char **cmdline_command(const struct cmdline *o, const struct wire_reply *attached, const char **ret_why)
{
    size_t from_image = attached->entrypoint.count + attached->cmd.count;
    const char **list;
    void *room;

    *ret_why = no_command;
    if (!o->image_entrypoint)
        return o->args;
    if (from_image + o->count == 0)
        return NULL;
    room = malloc((from_image + o->count + 1) * sizeof *list);
    if (!room) {
        *ret_why = strerror(ENOMEM);
        return NULL;
    }
    list = room;
    wire_strings_list(&attached->entrypoint, list);
    wire_strings_list(&attached->cmd, list + attached->entrypoint.count);
    memcpy(list + from_image, o->args, (o->count + 1) * sizeof *list);
    return room; /* execve wants it without the const, and changes nothing */
}
