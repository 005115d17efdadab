/* SPDX-License-Identifier: Apache-2.0 */

/*
 * counter: the only file of the test image sc.test/scratch:1. It adds one to the number in /count, prints
 * "start NUMBER" and waits for SIGTERM. On a preserved root the number grows with every start; on a fresh one
 * it is always 1.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define COUNT_FILE "/count"

static unsigned read_count(void)
{
    char text[16];
    ssize_t n;
    unsigned count = 0;
    int fd = open(COUNT_FILE, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof(text));
    close(fd);
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        count = count * 10 + (unsigned)(text[i] - '0');
    return count;
}

static int write_count(unsigned count)
{
    int fd = open(COUNT_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc = -1;

    if (fd < 0)
        return -1;
    if (dprintf(fd, "%u\n", count) > 0)
        rc = fsync(fd);
    close(fd);
    return rc;
}

int main(void)
{
    sigset_t set;
    unsigned count = read_count() + 1;

    if (write_count(count) != 0) {
        perror("counter: " COUNT_FILE);
        return 1;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    dprintf(STDOUT_FILENO, "start %u\n", count);
    sigwaitinfo(&set, NULL);
    return 0;
}
