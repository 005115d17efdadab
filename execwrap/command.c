/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executing is the test: a look before it would be about another moment, and execve's own errors say more.
 */
#include "execwrap/command.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum verdict {
    ABSENT, /* nothing there that could be a command */
    UNFIT, /* there, and not executable for us; another directory may have a better one */
    FINAL, /* this is the one, and it failed */
};

struct attempt {
    enum verdict verdict;
    struct command_failure failure;
};

static struct attempt failed(enum verdict verdict, int status, const char *why)
{
    return (struct attempt){.verdict = verdict, .failure = {.status = status, .why = why}};
}

static struct attempt try(const char *path, char *const *argv)
{
    struct stat st;
    bool there;
    int error;

    (void)execve(path, argv, environ);
    error = errno;
    there = stat(path, &st) == 0;
    switch (error) {
    case ENOENT:
        if (there)
            return failed(UNFIT, COMMAND_NOT_FOUND,
                    "its interpreter (after #!, or the dynamic loader) does not exist");
        return failed(ABSENT, COMMAND_NOT_FOUND, strerror(error));
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
        return failed(ABSENT, COMMAND_NOT_FOUND, strerror(error));
    case EACCES:
        if (there && S_ISDIR(st.st_mode))
            return failed(ABSENT, COMMAND_NOT_EXECUTABLE, strerror(EISDIR));
        return failed(there ? UNFIT : ABSENT, COMMAND_NOT_EXECUTABLE, strerror(error));
    default:
        return failed(FINAL, COMMAND_NOT_EXECUTABLE, strerror(error));
    }
}

static struct command_failure search(const char *name, const char *dirs, char *const *argv)
{
    struct command_failure best = {.status = COMMAND_NOT_FOUND, .why = "not found in PATH"};
    size_t name_len = strlen(name);
    static char path[PATH_MAX];
    size_t len;

    for (;; dirs += len + 1) {
        len = strcspn(dirs, ":");
        if (dirs[0] == '/' && len + 1 + name_len < sizeof path) {
            struct attempt a;

            memcpy(path, dirs, len);
            path[len] = '/';
            memcpy(path + len + 1, name, name_len + 1);
            a = try(path, argv);
            if (a.verdict == FINAL)
                return a.failure;
            if (a.verdict == UNFIT)
                best = a.failure;
        }
        if (dirs[len] == '\0')
            return best;
    }
}

struct command_failure command_exec(char *const *argv)
{
    const char *dirs = getenv("PATH");

    if (strchr(argv[0], '/'))
        return try(argv[0], argv).failure;
    if (!dirs || dirs[0] == '\0')
        return (struct command_failure){COMMAND_NOT_FOUND, "not found: PATH is empty"};
    if (argv[0][0] == '\0')
        return (struct command_failure){COMMAND_NOT_FOUND, "not found: the name is empty"};
    return search(argv[0], dirs, argv);
}
