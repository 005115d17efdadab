/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods of another namespace that name an instance's uid: they keep no root from being reclaimed, and get none.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

#define KEPT NODE_STATE "/" SC_INSTANCES_DIR "/" NODE_INSTANCE "/main/" SC_RECORD_FILE

#define UPPER NODE_STATE "/" SC_INSTANCES_DIR "/" NODE_INSTANCE "/main/" SC_UPPER_DIR
#define TRASH NODE_STATE "/" SC_TRASH_DIR

/* The first provider's pod, of another namespace. */
static void make_foreign(struct node_pod_facts *f, char volume[80])
{
    static const char uid[] = "0f0f0f0f-1111-4222-8333-44444444444f";

    *f = node_pods[NODE_POD_PROVIDER];
    f->ns = "other";
    f->uid = uid;
    node_volume_id(uid, volume);
    f->volume = volume;
}

static int publish_foreign(struct node *n, const struct node_pod_facts *f)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB);

    must(system(at("mkdir -p $(dirname %s)", node_target_of(f->uid))) == 0);
    node_put_publish(n, NODE_POD_PROVIDER, f, &b);
    return node_csi(n, NODE_PUBLISH, &b);
}

/* A kept root at rest, and the foreign pod's volume. */
static bool begin(struct node *n, struct node_pod_facts *foreign, char volume[80])
{
    node_make(n);
    n->persistent = true;
    make_foreign(foreign, volume);
    return tap_ok(node_start_agent(n) == 0 && node_through(n, NODE_PROVIDER) && node_through(n, NODE_HELLO),
                   "a kept root") &&
           tap_ok(publish_foreign(n, foreign) != 0, "a pod of another namespace waits: %s",
                   n->runtime->text) &&
           tap_ok(node_through(n, NODE_LEAVE_PROVIDER) && access(KEPT, F_OK) == 0, "the root rests") &&
           tap_ok(publish_foreign(n, foreign) == 0, "the other pod has its volume: %s", n->runtime->text);
}

static int reclaimed_beside_it(const void *data _unused_)
{
    struct node_pod_facts foreign;
    char volume[80];
    struct node n;
    bool good = begin(&n, &foreign, volume);

    good = good &&
           tap_ok(node_through(&n, NODE_RECLAIM) && access(KEPT, F_OK) < 0,
                   "a reclaim removes the root all the same: %s", n.runtime->text) &&
           tap_ok(access(node_target_of(foreign.uid), F_OK) == 0, "and leaves the other pod's volume");
    return node_end(&n, good);
}

/* The trash cannot be emptied: something is mounted in it. */
static int reclaimed_in_two_calls(const void *data _unused_)
{
    struct node_pod_facts foreign;
    char volume[80];
    struct node n;
    bool good = begin(&n, &foreign, volume);

    if (good) {
        put_dir(UPPER "/in-the-way");
        must(mount("way", UPPER "/in-the-way", "tmpfs", 0, NULL) == 0);
        node_before(&n, NODE_RECLAIM);
    }
    for (int i = 0; i < 3 && good; i++)
        good = tap_ok(node_ask_step(&n, NODE_RECLAIM) < 0 && system("ls -d " TRASH "/* >/dev/null") == 0,
                "a reclaim that cannot remove it says so, also when it is called again: %s", n.runtime->text);
    if (good)
        must(system("umount $(find " TRASH " -name in-the-way)") == 0);
    good = good &&
           tap_ok(node_repeat_step(&n, NODE_RECLAIM) == 0 && system("ls -d " TRASH "/* 2>/dev/null") != 0,
                   "and is done when that is gone: %s", n.runtime->text);
    return node_end(&n, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(reclaimed_beside_it, NULL) != 0;
    tap_failures += on_next_machine(reclaimed_in_two_calls, NULL) != 0;
    return tap_status();
}
