/* SPDX-License-Identifier: Apache-2.0 */

/*
 * node_init: process 1 of a test node's pid namespace.
 *
 * Everything of a node that loses its parent (a container's shim when containerd is restarted, a container's
 * processes when their shim dies, our own daemons) becomes a child of this process, which collects it when it
 * ends. When this process ends, the kernel kills the whole namespace: that is how a node is switched off.
 *
 * It starts nothing itself and ends on SIGTERM only (process 1 has no default signal actions).
 */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return 1;
    for (;;) {
        int sig = sigwaitinfo(&set, NULL);

        if (sig == SIGTERM)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}
