/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sandbox_pause: the only process of a pod sandbox on a test node (image sc.test/pause:1, the runtime's
 * "sandbox image"). It holds the pod's namespaces open until the runtime sends a signal, and collects
 * zombies where a pod shares its process namespace. Not to be mistaken for the product's execwrap/pause,
 * which keeps a preserved root.
 */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return 1;
    for (;;) {
        int sig = sigwaitinfo(&set, NULL);

        if (sig == SIGTERM || sig == SIGINT)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}
