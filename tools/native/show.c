/* SPDX-License-Identifier: Apache-2.0 */

/*
 * show: the only program of the test image sc.test/nonroot:1. It prints how it was started, one fact a line:
 *
 *     argv[0]=show
 *     cwd=/app
 *     PATH=/app/bin
 *     uid=65532 gid=65532
 *
 * and then waits for SIGTERM. Tests compare these lines with what a plain pod of the same image prints.
 */

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char cwd[PATH_MAX];
    const char *path = getenv("PATH");
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < argc; i++)
        printf("argv[%d]=%s\n", i, argv[i]);
    printf("cwd=%s\n", getcwd(cwd, sizeof(cwd)) ? cwd : "(unknown)");
    printf("PATH=%s\n", path ? path : "(unset)");
    printf("uid=%u gid=%u\n", (unsigned)geteuid(), (unsigned)getegid());
    fflush(stdout);
    sigwaitinfo(&set, NULL);
    return 0;
}
