/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One boot of a machine whose power is cut, for test/vm/power_cut. The disk holds the state's and the kubelet's directories; the
 * real agent serves an instance of persistence Node (priv/node.h) on it. Usage: power FILESYSTEM PREVIOUS NEXT
 *
 *   1. what the boot before left, after the cut that followed its step PREVIOUS ("nothing": the disk is new): journal and record
 *      are whole, the agent takes them up, the kubelet unmounts the volumes of before and starts both pods again, and the
 *      workload finds what it had written to disk
 *   2. all is reclaimed, and a new life goes to the step NEXT, after whose answer "cut after NEXT" is printed: the line at which
 *      tools/vm cuts the power. "end": the boot is the last, and ends by itself
 */
#include "node-agent/journal.h"
#include "node-agent/keptroot.h"
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

#define DISK BOX_BASE "/disk"
#define ROOT_DIR NODE_STATE "/instances/" NODE_INSTANCE "/main"
#define TEXT "written and synced"

static const char *device, *filesystem;
static bool fresh;

static void put_disk(void)
{
    static const char *const dirs[] = {"state", "kubelet"};

    put_dir(DISK);
    must(!fresh ||
            system(at("%s %s >/dev/null",
                    strcmp(filesystem, "xfs") == 0 ? "mkfs.xfs -f -q" : "mkfs.ext4 -q -F -O project,quota",
                    device)) == 0);
    must(system(at("mount -t %s -o prjquota %s " DISK, filesystem, device)) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        const char *from = strdup(at(DISK "/%s", dirs[i])), *to = strdup(at(BOX_BASE "/%s", dirs[i]));

        put_dir(from);
        put_dir(to);
        must(mount(from, to, NULL, MS_BIND, NULL) == 0);
    }
}

/* --- in the consumer ------------------------------------------------------------------------------------- */

static int write_text(const char *path, bool sync)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    _cleanup_close_ int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || dir < 0 || file_write_all(fd, TEXT, strlen(TEXT)) < 0)
        return -errno;
    return sync && (fsync(fd) < 0 || fsync(dir) < 0) ? -errno : 0;
}

static int do_write_synced(const char *path)
{
    return write_text(path, true);
}

static int do_write_only(const char *path)
{
    return write_text(path, false);
}

/* 1 when the file has its text, 0 when not. */
static int do_has_text(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[sizeof(TEXT)];

    return fd >= 0 && read(fd, text, sizeof(text)) == (ssize_t)strlen(TEXT) &&
           memcmp(text, TEXT, strlen(TEXT)) == 0;
}

/* --- what the boot before left --------------------------------------------------------------------------- */

static void count_volume(struct volume *v, void *data)
{
    ++*(int *)data;
    (void)volume_free(v);
}

static void tell_bad(const char *file, const struct err *err, void *data _unused_)
{
    tap_ok(false, "the journal's %s: %s", file, err_text(err));
}

static void look_at_disk(int step)
{
    static const int volumes[NODE_STEPS] = {[NODE_PROVIDER] = 1,
            [NODE_HELLO] = 1,
            [NODE_CONSUMER] = 2,
            [NODE_ATTACH] = 2,
            [NODE_LEAVE_CONSUMER] = 1};
    bool rooted = step >= NODE_HELLO && step <= NODE_LEAVE_PROVIDER;
    int dir = open(NODE_STATE "/volumes", O_PATH | O_DIRECTORY | O_CLOEXEC), n = 0, r;
    struct keptroot k = {.has_record = false};
    struct err err = ERR_INIT;

    must(dir >= 0);
    r = journal_load(dir, count_volume, tell_bad, &n, &err);
    tap_ok(r == 0 && n >= volumes[step],
            "the journal is whole: %d volumes, at least %d of them answered for (%s)", n, volumes[step],
            err_text(&err));
    (void)close(dir);
    dir = open(ROOT_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0)
        must(keptroot_look(dir, &k, &err) == 0);
    if (rooted)
        tap_ok(k.has_record && k.has_upper && !k.damage[0] && k.record.project > 0 &&
                        k.record.size_limit == 8 * MIB,
                "the root's record and directory are whole (%s)", k.damage);
    if (step == NODE_RECLAIM)
        tap_ok(!k.has_record, "the root that was reclaimed is gone");
    (void)close_fd(dir);
}

static bool through(struct node *n, enum node_step step)
{
    bool good;

    node_before(n, step);
    good = node_repeat_step(n, step) == 0;
    node_after(n, step);
    return tap_ok(good, "%s (%s)", node_step_names[step], n->runtime->text);
}

/* The runtime knows no container of before; pods of before are unmounted if the kubelet's directories of theirs are there. */
static bool leave_before(struct node *n, enum node_step step)
{
    return access(node_target(node_pod_of(step)), F_OK) < 0 ||
           tap_ok(node_repeat_step(n, step) == 0, "after the cut, %s (%s)", node_step_names[step],
                   n->runtime->text);
}

static bool start_pods(struct node *n)
{
    return through(n, NODE_PROVIDER) && through(n, NODE_HELLO) && through(n, NODE_CONSUMER) &&
           through(n, NODE_ATTACH);
}

static bool clear(struct node *n)
{
    char text[4096];

    if (!through(n, NODE_LEAVE_CONSUMER) || !through(n, NODE_LEAVE_PROVIDER) || !through(n, NODE_RECLAIM) ||
            !through(n, NODE_LEAVE_RECLAIM))
        return false;
    return tap_ok(
            access(NODE_STATE "/instances/" NODE_INSTANCE, F_OK) < 0 && node_check(text, sizeof(text)) == 0,
            "nothing is left: %s", text);
}

static bool take_up(struct node *n, int step)
{
    const struct box *consumer = &n->boxes[NODE_POD_CONSUMER];
    bool wrote = step == NODE_ATTACH || step == NODE_LEAVE_CONSUMER || step == NODE_LEAVE_PROVIDER;

    n->used = step >= NODE_HELLO && step <= NODE_LEAVE_PROVIDER;
    if (!leave_before(n, NODE_LEAVE_CONSUMER) || !leave_before(n, NODE_LEAVE_PROVIDER) ||
            !leave_before(n, NODE_LEAVE_RECLAIM))
        return false;
    must(system("rm -rf " NODE_KUBELET "/pods/*") == 0);
    if (!start_pods(n))
        return false;
    if (wrote) {
        tap_ok(box_call(consumer, do_has_text, "/synced") == 1, "the workload finds what it had synced");
        printf("# what it had not synced is %s\n",
                box_call(consumer, do_has_text, "/only") == 1 ? "there" : "gone");
    } else {
        tap_ok(box_call(consumer, do_exists, "/synced") == 0, "the root is as new");
    }
    return clear(n);
}

/* --- the next life --------------------------------------------------------------------------------------- */

static bool live_to(struct node *n, int last)
{
    n->used = false;
    for (enum node_step s = NODE_PROVIDER; s <= (enum node_step)last; s++) {
        if (node_step_is(s, NODE_STEPS_NODE | NODE_STEPS_ASKED_FOR))
            continue;
        if (!through(n, s))
            return false;
        if (s == NODE_ATTACH)
            must(box_call(&n->boxes[NODE_POD_CONSUMER], do_write_only, "/only") == 0 &&
                    box_call(&n->boxes[NODE_POD_CONSUMER], do_write_synced, "/synced") == 0);
    }
    return true;
}

static int step_of(const char *name)
{
    for (int i = 0; i < NODE_STEPS; i++)
        if (strcmp(name, node_step_names[i]) == 0)
            return i;
    return -1;
}

static int boot(const void *data)
{
    const char *const *words = data;
    int previous = step_of(words[0]), next = step_of(words[1]);
    struct node n;
    bool good;

    fresh = previous < 0;
    node_make_on(&n, put_disk);
    n.persistent = true;
    n.size_limit = "8388608";
    if (!fresh)
        look_at_disk(previous);
    good = tap_ok(node_start_agent(&n) == 0, "the agent starts") && (fresh || take_up(&n, previous)) &&
           (next < 0 || live_to(&n, next));
    if (!good)
        node_print_log();
    if (good && next >= 0) {
        printf("cut after %s\n", words[1]);
        fflush(stdout);
        (void)pause();
    }
    node_kill_agent(&n);
    return tap_status();
}

int main(int argc, char **argv)
{
    must(argc == 4);
    device = "/dev/vda";
    filesystem = argv[1];
    return on_own_machine(boot, &argv[2]);
}
