/* SPDX-License-Identifier: Apache-2.0 */
/* A machine for a test program to play on: a pid namespace, whose process 1 stands for the machine's, and its mounts. */
#pragma once

#include "test/priv/box.h"
#include "test/priv/tap.h"

/* Runs play(data) as process 1 there. Returns what it returned, for main; skips without root. */
_unused_ static int on_own_machine(int (*play)(const void *), const void *data)
{
    int status = -1;
    pid_t init;

    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    must(unshare(CLONE_NEWNS | CLONE_NEWPID) == 0);
    init = fork();
    must(init >= 0);
    if (init == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        _exit(play(data));
    }
    must(waitpid(init, &status, 0) == init);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The same in a child, for a program that plays on several: a process makes one machine. Returns what waitpid(2)
 * says of the child. */
_unused_ static int on_next_machine(int (*play)(const void *), const void *data)
{
    int status = -1;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0)
        _exit(on_own_machine(play, data));
    must(waitpid(pid, &status, 0) == pid);
    return status;
}
