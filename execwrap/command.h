/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executes a command, or says like a shell why not.
 *
 * A name with a slash is executed as it is, relative to the working directory. Any other is looked for in the
 * PATH of the environment, as the container runtimes do: only in its absolute entries, so not in the working
 * directory, and nowhere when there is no PATH. What cannot be executed is passed over, and remembered.
 * Nothing is handed to a shell when it is no program.
 */
#pragma once

enum {
    COMMAND_NOT_EXECUTABLE = 126,
    COMMAND_NOT_FOUND = 127,
};

struct command_failure {
    int status; /* one of the above */
    const char *why;
};

/* Returns only on failure. The environment is passed on as it is. */
struct command_failure command_exec(char *const *argv);
