/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others see of an attach while it is under way: processes that join the container's namespace at some moment, as
 * a runtime's exec does, and processes that are in it and look for execwrap, as such an exec does next. None of them
 * may be lost in the old root, and none may miss the pod's volume, not for an instant.
 */
#include <poll.h>
#include <time.h>

#include "test/priv/pair.h"

static const struct wish usual = {.workdir = "/"};

static void next_consumer(struct box *consumer)
{
    box_end(consumer);
    must(system("rm -rf " BOX_BASE "/consumer") == 0);
    box_start(consumer, &(const struct box_spec){.name = "consumer"});
}

/* --- who joins meanwhile -------------------------------------------------------------------------------- */

enum { JOINERS = 24, JOIN_TURNS = 25 };

/* What a runtime's exec does at some moment of the attach; looks around when it is over. */
static pid_t start_joiner(pid_t box, const int go[2], unsigned delay_us)
{
    pid_t child = fork();
    char c;

    must(child >= 0);
    if (child == 0) {
        const struct timespec delay = {.tv_nsec = (long)delay_us * 1000};
        int fd = open(at("/proc/%d/ns/mnt", (int)box), O_RDONLY | O_CLOEXEC);

        must(fd >= 0 && nanosleep(&delay, NULL) == 0 && setns(fd, CLONE_NEWNS) == 0);
        must(close(go[1]) == 0 && read(go[0], &c, 1) == 0);
        _exit(access("/marker", F_OK) == 0 && access("/.stoppablecontainer/agent.sock", F_OK) == 0 ? 0 : 1);
    }
    return child;
}

static int attach_among_joiners(struct agent *a, const struct box *consumer, unsigned turn)
{
    pid_t joiners[JOINERS];
    int go[2], lost = 0, status;

    must(pipe2(go, O_CLOEXEC) == 0);
    for (unsigned i = 0; i < JOINERS; i++)
        joiners[i] = start_joiner(consumer->pid, go, 200 * i + 8 * turn);
    must(agent_attach(a, consumer->pid, "rootfs", &usual) == 0);
    close(go[1]);
    close(go[0]);
    for (unsigned i = 0; i < JOINERS; i++) {
        must(waitpid(joiners[i], &status, 0) == joiners[i]);
        lost += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    return lost;
}

static void play_joined_meanwhile(struct agent *a)
{
    struct box provider, consumer;
    int lost = 0;

    start_pair(a, &provider, &consumer, NULL);
    for (unsigned turn = 0; turn < JOIN_TURNS; turn++) {
        lost += attach_among_joiners(a, &consumer, turn);
        next_consumer(&consumer);
    }
    tap_ok(lost == 0, "who joins a container at any moment of the attach is in its root (%d of %d not)", lost,
            JOINERS * JOIN_TURNS);
    end_pair(a, &provider, &consumer);
}

/* --- who looks meanwhile -------------------------------------------------------------------------------- */

enum { LOOKERS = 2, LOOK_TURNS = 100 };

/* In the container all the time: looks for what the volume has, until told to end. Its status: 0, it was always there;
 * 1, not always. */
static pid_t start_looker(pid_t box, int ready, const int end[2])
{
    struct pollfd told = {.fd = end[0], .events = POLLIN};
    pid_t child = fork();
    bool missed = false;

    must(child >= 0);
    if (child > 0)
        return child;
    must(setns(open(at("/proc/%d/ns/mnt", (int)box), O_RDONLY | O_CLOEXEC), CLONE_NEWNS) == 0);
    must(close(end[1]) == 0 && write(ready, "", 1) == 1);
    do
        for (int i = 0; i < 256; i++)
            missed |= access("/.stoppablecontainer/agent.sock", F_OK) < 0;
    while (poll(&told, 1, 0) == 0);
    _exit(missed);
}

static int attach_among_lookers(struct agent *a, const struct box *consumer)
{
    pid_t lookers[LOOKERS];
    int ready[2], end[2], missed = 0, status;
    char c;

    must(pipe2(ready, O_CLOEXEC) == 0 && pipe2(end, O_CLOEXEC) == 0);
    for (int i = 0; i < LOOKERS; i++)
        lookers[i] = start_looker(consumer->pid, ready[1], end);
    for (int i = 0; i < LOOKERS; i++)
        must(read(ready[0], &c, 1) == 1);
    must(agent_attach(a, consumer->pid, "rootfs", &usual) == 0);
    must(close(end[1]) == 0);
    for (int i = 0; i < LOOKERS; i++) {
        must(waitpid(lookers[i], &status, 0) == lookers[i] && WIFEXITED(status));
        missed += WEXITSTATUS(status) != 0;
    }
    must(close(end[0]) == 0 && close(ready[0]) == 0 && close(ready[1]) == 0);
    return missed;
}

static void looked_for(struct agent *a)
{
    struct box provider, consumer;
    int missed = 0;

    start_pair(a, &provider, &consumer, NULL);
    for (unsigned turn = 0; turn < LOOK_TURNS; turn++) {
        missed += attach_among_lookers(a, &consumer);
        next_consumer(&consumer);
    }
    tap_ok(missed == 0, "the pod's volume is there at every moment of the attach (%d of %d did not find it)",
            missed, LOOKERS * LOOK_TURNS);
    end_pair(a, &provider, &consumer);
    forget_pair();
}

static void play_looked_for(struct agent *a)
{
    both_ways(a, looked_for);
}

int main(void)
{
    static const struct scene scenes[] = {
            {"joined-meanwhile", play_joined_meanwhile},
            {"looked-for", play_looked_for},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
