/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent keeps no namespace of a container open: who closes the last fd of one unmounts what is mounted there, a claim's file system
 * among them, which the kubelet believes to be unmounted.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

/* How many fds of the agent are that container's mount namespace. */
static int held_of(const struct node *n, enum node_pod pod)
{
    const char *dir = strdup(at("/proc/%d/fd", (int)n->agent));
    DIR *d = opendir(dir);
    char ns[64] = "", link[64];
    int held = 0;

    must(d && readlink(at("/proc/%d/ns/mnt", (int)n->boxes[pod].pid), ns, sizeof(ns) - 1) > 0);
    for (const struct dirent *e; (e = readdir(d));) {
        memset(link, 0, sizeof(link));
        held += readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1) > 0 && strcmp(link, ns) == 0;
    }
    (void)closedir(d);
    return held;
}

static bool holds_none(struct node *n, enum node_pod pod, const char *when)
{
    usec_t end = usec_add(clock_monotonic(), NODE_WAIT);
    int held;

    while ((held = held_of(n, pod)) > 0 && clock_monotonic() < end)
        (void)poll(NULL, 0, 10);
    return tap_ok(held == 0, "%s: the agent does not hold its namespace (%d)", when, held);
}

/* Another provider, in another image: it is refused. */
static bool refused(struct node *n)
{
    int r;

    if (!tap_ok(node_through(n, NODE_YIELD) && node_through(n, NODE_NEXT), "another provider"))
        return false;
    n->runtime->changed = true;
    node_before(n, NODE_NEXT_HELLO);
    while ((r = node_ask_step(n, NODE_NEXT_HELLO)) == -EAGAIN)
        (void)poll(NULL, 0, 10);
    return tap_ok(r == -EPERM, "is refused: %s", n->runtime->text) &&
           holds_none(n, NODE_POD_NEXT, "a provider that was refused");
}

static const struct life {
    const char *name;
    bool persistent, chroot;
} lives[] = {{"Provider", false, false}, {"Node", true, false}, {"Chroot", false, true}};

static int play(const void *data)
{
    const struct life *life = data;
    struct node n;
    bool good;

    node_make(&n);
    n.persistent = life->persistent;
    n.chroot = life->chroot;
    printf("# %s\n", life->name);
    good = tap_ok(node_start_agent(&n) == 0 && node_through(&n, NODE_PROVIDER) &&
                           node_through(&n, NODE_HELLO),
                   "a provider") &&
           holds_none(&n, NODE_POD_PROVIDER, "a provider with its root") &&
           tap_ok(node_through(&n, NODE_CONSUMER) && node_through(&n, NODE_ATTACH), "a consumer") &&
           holds_none(&n, NODE_POD_CONSUMER, "a consumer with its root");
    node_kill_agent(&n);
    good = good &&
           tap_ok(node_start_agent(&n) == 0 && node_repeat_step(&n, NODE_HELLO) == 0 &&
                           node_repeat_step(&n, NODE_AGAIN) == 0,
                   "another agent") &&
           holds_none(&n, NODE_POD_PROVIDER, "a provider taken over") &&
           holds_none(&n, NODE_POD_CONSUMER, "a consumer taken over");
    good = good && (!life->persistent || refused(&n));
    return node_end(&n, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    for (size_t i = 0; i < ARRAY_SIZE(lives); i++)
        tap_failures += on_next_machine(play, &lives[i]) != 0;
    return tap_status();
}
