/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No room, no inodes, or no writing at all, in the state directory or in the kubelet's, around each step of an
 * instance's life: it may fail, in words; the journal stays whole, and when there is room again what is asked
 * again comes true with the same agent, and the node is at the end as after a life without harm.
 */
#include <time.h>

#include "test/priv/torture.h"

static void fill(const char *dir)
{
    static const char zeros[64 * 1024];
    int fd = open(at("%s/.fill", dir), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    must(fd >= 0);
    for (size_t n = sizeof(zeros); n > 0;)
        if (write(fd, zeros, n) < 0) {
            must(errno == ENOSPC);
            n /= 2;
        }
    (void)close(fd);
}

static void use_up_inodes(const char *dir)
{
    int fd = 0;

    for (int i = 0; fd >= 0; i++) {
        fd = open(at("%s/.fill%d", dir, i), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        must(fd >= 0 || errno == ENOSPC);
        (void)close_fd(fd);
    }
}

static void empty(const char *dir)
{
    must(system(at("rm -f %s/.fill*", dir)) == 0);
}

/* Not read-only while anyone has a file open for writing, as the agent has when it still works on what came
 * before; the kernel has no event for the end of that. */
static void remount(const char *dir, unsigned long flags)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    int r = -1;

    for (int tries = 0; r < 0 && tries < 1000; tries++) {
        r = mount(NULL, dir, NULL, MS_REMOUNT | flags, NULL);
        must(r == 0 || errno == EBUSY);
        if (r < 0)
            (void)nanosleep(&pause, NULL);
    }
    must(r == 0);
}

static void fill_state(void)
{
    fill(NODE_STATE);
}

static void fill_kubelet(void)
{
    fill(NODE_KUBELET);
}

static void use_up_state(void)
{
    use_up_inodes(NODE_STATE);
}

static void use_up_kubelet(void)
{
    use_up_inodes(NODE_KUBELET);
}

static void empty_state(void)
{
    empty(NODE_STATE);
}

static void empty_kubelet(void)
{
    empty(NODE_KUBELET);
}

static void lock_state(void)
{
    remount(NODE_STATE, MS_RDONLY);
}

static void lock_kubelet(void)
{
    remount(NODE_KUBELET, MS_RDONLY);
}

static void unlock_state(void)
{
    remount(NODE_STATE, 0);
}

static void unlock_kubelet(void)
{
    remount(NODE_KUBELET, 0);
}

#define ALL ((1u << NODE_STEPS) - 1)

static const struct torture_kind kinds[] = {
        {.name = "state-full", .steps = ALL, .make = fill_state, .undo = empty_state},
        {.name = "state-without-inodes", .steps = ALL, .make = use_up_state, .undo = empty_state},
        {.name = "state-read-only", .steps = ALL, .make = lock_state, .undo = unlock_state},
        {.name = "kubelet-full", .steps = ALL, .make = fill_kubelet, .undo = empty_kubelet},
        {.name = "kubelet-without-inodes", .steps = ALL, .make = use_up_kubelet, .undo = empty_kubelet},
        {.name = "kubelet-read-only", .steps = ALL, .make = lock_kubelet, .undo = unlock_kubelet},
};

int main(void)
{
    return torture_main(kinds, ARRAY_SIZE(kinds), 1);
}
