/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume in which the kubelet has made very many directories, for a pod whose subPaths are in it: while the agent takes them
 * away it answers everybody else.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

enum { CHAINS = 40, DEPTH = 1000 };

static void put_disks(void)
{
    put_dir(NODE_STATE);
    put_dir(NODE_KUBELET);
    must(mount("state", NODE_STATE, "tmpfs", 0, NODE_DISK) == 0 &&
            mount("kubelet", NODE_KUBELET, "tmpfs", 0, "size=4M,nr_inodes=50000") == 0);
}

static void put_subpaths(void)
{
    const char *target = strdup(node_target(NODE_POD_CONSUMER));

    for (int i = 0; i < CHAINS; i++) {
        const char *top = strdup(at("%s/chain-%d", target, i));
        int dir;

        put_dir(top);
        dir = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (int k = 0; k < DEPTH; k++) {
            int below;

            must(mkdirat(dir, "a", 0750) == 0);
            below = openat(dir, "a", O_PATH | O_DIRECTORY | O_CLOEXEC);
            must(below >= 0);
            (void)close(dir);
            dir = below;
        }
        (void)close(dir);
    }
}

/* In a process of its own: 0 when the volume is gone. */
static pid_t unpublish(struct node *n)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0)
        _exit(node_ask_step(n, NODE_LEAVE_CONSUMER) == 0 ? 0 : 1);
    return pid;
}

static bool begins(void)
{
    const char *file = strdup(at("%s/" SC_EXECWRAP_FILE, node_target(NODE_POD_CONSUMER)));
    usec_t end = usec_add(clock_monotonic(), NODE_WAIT);

    while (access(file, F_OK) == 0 && clock_monotonic() < end)
        (void)poll(NULL, 0, 1);
    return access(file, F_OK) < 0;
}

static int play(const void *data _unused_)
{
    struct node n;
    int status = -1;
    pid_t pid;
    bool good;

    node_make_on(&n, put_disks);
    good = tap_ok(node_start_agent(&n) == 0 && node_through(&n, NODE_PROVIDER) &&
                          node_through(&n, NODE_HELLO) && node_through(&n, NODE_CONSUMER),
            "a consumer's volume");
    if (good) {
        put_subpaths();
        pid = unpublish(&n);
        good = tap_ok(begins() && node_settle(&n) == 0 && access(node_target(NODE_POD_CONSUMER), F_OK) == 0,
                "the agent answers while it takes %d directories away", CHAINS * DEPTH);
        must(waitpid(pid, &status, 0) == pid);
        good = tap_ok(status == 0 && access(node_target(NODE_POD_CONSUMER), F_OK) < 0,
                       "then the volume is gone") &&
               good;
    }
    return node_end(&n, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(play, NULL) != 0;
    return tap_status();
}
