/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The termination log comes first: where stderr is a pipe that nobody reads any more, writing to it may end
 * us.
 */
#include "execwrap/say.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 3072 }; /* a termination message has at most 4096 */

static void put(int fd, const char *line, size_t len)
{
    ssize_t n;

    /* Nobody is left to tell of a failure to tell. */
    do
        n = write(fd, line, len);
    while (n > 0 && (line += n, len -= (size_t)n) > 0);
}

static void put_log(const char *path, const char *line, size_t len)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        put(fd, line, len);
    close(fd);
}

void say(const char *log, const char *const *parts)
{
    static char line[LINE_MAX_BYTES];
    size_t len = 0;

    for (; *parts; parts++) {
        for (const char *c = *parts; *c != '\0' && len < sizeof line - 4; c++)
            line[len++] = (unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c;
    }
    if (len == sizeof line - 4) {
        line[len++] = '.';
        line[len++] = '.';
        line[len++] = '.';
    }
    line[len++] = '\n';
    if (log)
        put_log(log, line, len);
    put(STDERR_FILENO, line, len);
}
