/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of execwrap, and the command that it stands for. Pure.
 */
#pragma once

#include "common/wire/wire.h"

struct cmdline {
    enum wire_kind kind;
    bool image_entrypoint; /* the pod gives no command */
    bool chroot; /* attach mode Chroot: the command is executed by the agent's copy of this program (enter.h)
                  */
    bool only_wait; /* ready: nothing is executed */
    const char *log; /* termination log; NULL for exec: the log is the first process's */
    char **args; /* what follows "--", ended by NULL; may be empty */
    size_t count;
};

/*
 *     execwrap run [--chroot] [--image-entrypoint] [--termination-log PATH] -- ARGV...
 *     execwrap exec [--chroot] -- ARGV...
 *     execwrap ready
 *
 * NULL, or what is wrong. *ret is complete in both cases: the log is needed to say so.
 */
const char *cmdline_parse(int argc, char **argv, struct cmdline *ret);

/* The command by the rules of Kubernetes (the API's Container.command and .args):
 *
 *     command   args     runs
 *     given     -        command and args            (here: all in o->args, and no image_entrypoint)
 *     -         given    ENTRYPOINT and args
 *     -         -        ENTRYPOINT and CMD
 *
 * NULL when the result is empty, with *ret_why set, or when out of memory. Otherwise an array ended by NULL;
 * its strings are those of o and of the reply, and it is never freed: it is made to be executed. */
char **cmdline_command(const struct cmdline *o, const struct wire_reply *attached, const char **ret_why);
