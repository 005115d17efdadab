/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the trash is removed whether anybody asks or not: also after a failure that passes, of which who waits is
 * told; and by a few workers at once, however much there is.
 */
#include "test/priv/node_look.h"
#include "test/priv/tap.h"
#include "test/priv/trace.h"

#define TRASH NODE_STATE "/" SC_TRASH_DIR

enum { ROOTS = 12, FILES = 5000, AT_ONCE = 4 };

static struct node node;

static int end(bool good)
{
    if (!good)
        node_print_log();
    node_kill_agent(&node);
    return tap_status();
}

static void put_trash(unsigned number, int files)
{
    const char *upper = strdup(at(TRASH "/1f0f0f0f-1111-4222-8333-%012u.1/upper", number));

    must(system(at("mkdir -p %s", upper)) == 0);
    for (int i = 0; i < files; i++)
        must(mknod(at("%s/%d", upper, i), S_IFREG | 0600, 0) == 0);
}

static bool is_empty(void)
{
    return rmdir(TRASH) == 0 || errno == ENOENT;
}

/* inotify: of the trash. */
static bool becomes_empty(int inotify)
{
    usec_t give_up = usec_add(clock_monotonic(), NODE_WAIT);
    struct pollfd p = {.fd = inotify, .events = POLLIN};
    char events[4096];

    while (!is_empty() && clock_monotonic() < give_up)
        if (poll(&p, 1, (int)(NODE_WAIT / USEC_PER_MSEC)) == 1)
            must(read(inotify, events, sizeof(events)) > 0);
    return is_empty();
}

static int watch_trash(void)
{
    int inotify = inotify_init1(IN_CLOEXEC);

    must(inotify >= 0 && inotify_add_watch(inotify, TRASH, IN_DELETE) >= 0);
    return inotify;
}

/* --- a failure that passes ------------------------------------------------------------------------------- */

static const struct harm {
    const char *name;
    struct trace trace;
} harms[] = {
        {"its worker is killed", {.act = TRACE_KILL_WORKER}},
        {"no worker can be started", {.act = TRACE_FAIL, .only = SYS_socketpair}},
};

/* What `ask` does in a process of its own, and the agent that is forked for it, while the harm is done. */
static int harmed(const struct harm *h, int (*ask)(struct node *n, int inotify))
{
    struct trace t = h->trace;
    int inotify = watch_trash();
    int r = trace_run(&t, &node, trace_ask(&t, &node, ask, inotify));

    must(t.done);
    (void)close(inotify);
    return r;
}

static int ask_nothing(struct node *n _unused_, int inotify)
{
    return node_wait_start(&node) < 0 || !becomes_empty(inotify);
}

static int nobody_asks(const void *data)
{
    const struct harm *h = data;

    node_make(&node);
    put_trash(1, 10);
    return end(tap_ok(
            harmed(h, ask_nothing) == 0, "%s at the agent's start: it is removed all the same", h->name));
}

enum { NOT_TOLD = 2 };

static int ask_for_reclaim(struct node *n _unused_, int inotify)
{
    if (node_publish(&node, NODE_POD_RECLAIM) == 0 || !strstr(node.runtime->text, "worker"))
        return NOT_TOLD;
    return !becomes_empty(inotify);
}

static int reclaim_is_told(const void *data)
{
    const struct harm *h = data;
    bool good;
    int r;

    node_make(&node);
    node.persistent = true;
    good = tap_ok(node_start_agent(&node) == 0 && node_through(&node, NODE_PROVIDER) &&
                          node_through(&node, NODE_HELLO) && node_through(&node, NODE_YIELD),
            "a root that rests");
    if (!good)
        return end(false);
    node_before(&node, NODE_RECLAIM);
    r = harmed(h, ask_for_reclaim);
    good = tap_ok(r != NOT_TOLD, "%s: who reclaims is told: %s", h->name, node.runtime->text) &&
           tap_ok(r == 0, "and it is removed although nobody asks again") &&
           tap_ok(system("test $(grep -c 'not all of it is removed' " NODE_LOG ") = 1") == 0,
                   "the log says it once");
    return end(good);
}

/* --- many at once ---------------------------------------------------------------------------------------- */

static void large_disks(void)
{
    put_dir(NODE_STATE);
    put_dir(NODE_KUBELET);
    must(mount("state", NODE_STATE, "tmpfs", 0, NULL) == 0 &&
            mount("kubelet", NODE_KUBELET, "tmpfs", 0, NULL) == 0);
}

static unsigned count_workers(void)
{
    _cleanup_buf_ struct buf b = BUF_INIT(KIB);
    unsigned n = 0;

    must(file_read_at(
                 AT_FDCWD, at("/proc/%d/task/%d/children", (int)node.agent, (int)node.agent), &b, NULL) == 0);
    for (const char *p = buf_str(&b); *p; p++)
        n += *p == ' ';
    return n;
}

static int many(const void *data _unused_)
{
    usec_t give_up = usec_add(clock_monotonic(), 2 * NODE_WAIT);
    unsigned most = 0;

    node_make_on(&node, large_disks);
    for (unsigned i = 0; i < ROOTS; i++)
        put_trash(i, FILES);
    node.agent = node_fork_agent(&node, -1);
    while (!is_empty() && clock_monotonic() < give_up) {
        unsigned n = count_workers();

        most = n > most ? n : most;
    }
    return end(tap_ok(is_empty(), "%d roots are removed", ROOTS) &&
               tap_ok(most >= 1 && most <= AT_ONCE, "by no more than %d workers at once: %u", AT_ONCE, most));
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(nobody_asks, &harms[0]) != 0;
    for (size_t i = 0; i < ARRAY_SIZE(harms) - !TRACE_CAN_FAIL; i++)
        tap_failures += on_next_machine(reclaim_is_told, &harms[i]) != 0;
    tap_failures += on_next_machine(many, NULL) != 0;
    return tap_status();
}
