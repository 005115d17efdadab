/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The termination log comes first: where stderr is a pipe that nobody reads any more, writing to it may end
 * us.
 */
#include "execwrap/say.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PART_MAX = 1024, /* bytes; also the longest sentence of the agent: WIRE_TEXT_MAX */
    LINE_MAX_BYTES = 4096, /* what the kubelet takes of a termination message */
};

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

/* Appends a part, cut to its cap and to what the line has room for. Returns the line's new length. */
static size_t append(char *line, size_t len, const char *part)
{
    size_t part_len = strnlen(part, PART_MAX + 1);
    const char *dots = part_len > PART_MAX ? "..." : "";

    for (size_t i = 0; i < part_len && i < PART_MAX && len < LINE_MAX_BYTES - 1; i++) {
        unsigned char c = (unsigned char)part[i];

        line[len++] = c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    for (; *dots != '\0' && len < LINE_MAX_BYTES - 1; dots++)
        line[len++] = *dots;
    return len;
}

void say(const char *log, const char *const *parts)
{
    static char line[LINE_MAX_BYTES];
    size_t len = 0;

    for (; *parts; parts++)
        len = append(line, len, *parts);
    line[len++] = '\n';
    if (log)
        put_log(log, line, len);
    put(STDERR_FILENO, line, len);
}
