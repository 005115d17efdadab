/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says of a root of persistence Node, and when: that its sizeLimit is only watched, and what it is found to
 * take, or cannot be held any more; who holds it; that a container of another image may not be put on it.
 */
#include "node-agent/record.h"
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

#define DIR NODE_STATE "/" SC_INSTANCES_DIR "/" NODE_INSTANCE "/main"
#define UPPER DIR "/" SC_UPPER_DIR

#define PATIENCE (90 * USEC_PER_SEC)

enum { FILE_BYTES = 300000, TOO_DEEP = LIMIT_USAGE_DEPTH + 1, MANY = 40000 };

static struct node node;

static bool begins(const char *words)
{
    return strncmp(node.runtime->text, words, strlen(words)) == 0;
}

static bool through(enum node_step step)
{
    bool good = node_through(&node, step);

    if (good)
        node_after(&node, step);
    return tap_ok(good, "%s", node_step_names[step]);
}

static bool started(void)
{
    node_make(&node);
    node.persistent = true;
    return tap_ok(node_start_agent(&node) == 0, "an agent");
}

static int end(bool good)
{
    if (!good)
        node_print_log();
    node_kill_agent(&node);
    return tap_status();
}

/* --- a sizeLimit that is watched ------------------------------------------------------------------------- */

static int do_fill(const char *path)
{
    static const char bytes[FILE_BYTES];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write(fd, bytes, sizeof(bytes)) == FILE_BYTES;

    (void)close(fd);
    return good ? 0 : -EIO;
}

static int do_deepen(const char *path)
{
    put_chain(path, TOO_DEEP);
    return 0;
}

/* The worker that counts reads the root's top directory, and nobody else does here. When that began, or 0. */
static usec_t next_count(int inotify)
{
    struct pollfd p = {.fd = inotify, .events = POLLIN};
    struct inotify_event e;

    return poll(&p, 1, (int)(NODE_WAIT / USEC_PER_MSEC)) == 1 && read(inotify, &e, sizeof(e)) == sizeof(e)
                   ? clock_monotonic()
                   : 0;
}

static bool last_words(enum node_pod provider, const char *reason)
{
    /* The next count comes nine times as long as the last one took after that: where all is slow, much later. */
    usec_t end = usec_add(clock_monotonic(), PATIENCE);
    int r;

    do
        r = box_call(&node.boxes[provider], node_do_last_words, "");
    while (r == -EAGAIN && clock_monotonic() < end);
    return tap_ok(r == -EPERM && begins(reason), "its provider's last words: %s (%d)", node.runtime->text, r);
}

/* At most one in a second, which is the interval. A timer is never early. */
static bool counts_now_and_then(int inotify)
{
    usec_t first = next_count(inotify), last = 0;

    for (int i = 0; i < 2 && (i == 0 || last); i++)
        last = next_count(inotify);
    return tap_ok(first && last && last - first >= 19 * USEC_PER_SEC / 10,
            "it is counted once in an interval: %llu us", (unsigned long long)(last - first));
}

/* Another provider, whose volume says what was told. */
static bool next_provider(enum node_step leave, enum node_step publish, const char *use)
{
    node.use = use;
    return through(leave) && through(publish) && through(publish + 1);
}

static bool refused_once(void)
{
    node_before(&node, NODE_HELLO);
    while (node_ask_step(&node, NODE_HELLO) == -EAGAIN)
        (void)poll(NULL, 0, 10);
    return tap_ok(begins(SC_REASON_LIMIT_WATCHED ": "), "it is told at first: %s", node.runtime->text);
}

static int watched(const void *data _unused_)
{
    int inotify = inotify_init1(IN_CLOEXEC);
    bool good;

    node_make(&node);
    node.persistent = true;
    node.size_limit = "65536";
    node.option = "--limit-interval=1";
    good = tap_ok(node_start_agent(&node) == 0, "an agent") && through(NODE_PROVIDER) && refused_once() &&
           next_provider(NODE_YIELD, NODE_PROVIDER, SC_USE_WITHIN) && through(NODE_CONSUMER) &&
           through(NODE_ATTACH);
    must(inotify >= 0 && (!good || inotify_add_watch(inotify, UPPER, IN_OPEN | IN_ONLYDIR) >= 0));
    good = good && counts_now_and_then(inotify) &&
           tap_ok(box_call(&node.boxes[NODE_POD_CONSUMER], do_fill, "/file") == 0,
                   "the workload takes more") &&
           last_words(NODE_POD_PROVIDER, SC_REASON_LIMIT_EXCEEDED ": ") &&
           next_provider(NODE_YIELD, NODE_NEXT, SC_USE_EXCEEDED) &&
           tap_ok(box_call(&node.boxes[NODE_POD_CONSUMER], do_remove, "/file") == 0, "it takes less") &&
           last_words(NODE_POD_NEXT, SC_REASON_LIMIT_WATCHED ": ") && through(NODE_LEAVE_NEXT);
    node.use = SC_USE_WITHIN;
    good = good && through(NODE_BACK) && through(NODE_BACK_HELLO) &&
           tap_ok(box_call(&node.boxes[NODE_POD_CONSUMER], do_deepen, "/data") == 0,
                   "it makes what is too deep") &&
           last_words(NODE_POD_PROVIDER, SC_REASON_USE_UNKNOWN ": ");
    return end(good);
}

/* Many small files, so that counting takes a while. */
static int do_crowd(const char *dir)
{
    must(mkdir(dir, 0755) == 0);
    for (int i = 0; i < MANY; i++)
        must(mknod(at("%s/%d", dir, i), S_IFREG | 0600, 0) == 0);
    return 0;
}

static void large_disks(void)
{
    put_dir(NODE_STATE);
    put_dir(NODE_KUBELET);
    must(mount("state", NODE_STATE, "tmpfs", 0, NULL) == 0 &&
            mount("kubelet", NODE_KUBELET, "tmpfs", 0, NULL) == 0);
}

/* What is written while a count is under way, by a workload that then goes, is counted the next time. */
static int gone_while_counted(const void *data _unused_)
{
    int inotify = inotify_init1(IN_CLOEXEC);
    bool good;

    node_make_on(&node, large_disks);
    node.persistent = true;
    node.size_limit = "65536";
    node.option = "--limit-interval=1";
    good = tap_ok(node_start_agent(&node) == 0, "an agent") && through(NODE_PROVIDER) && refused_once() &&
           next_provider(NODE_YIELD, NODE_PROVIDER, SC_USE_WITHIN) && through(NODE_CONSUMER) &&
           through(NODE_ATTACH);
    must(!good || box_call(&node.boxes[NODE_POD_CONSUMER], do_crowd, "/crowd") == 0);
    must(inotify >= 0 && (!good || inotify_add_watch(inotify, UPPER, IN_OPEN | IN_ONLYDIR) >= 0));
    good = good && tap_ok(next_count(inotify) > 0, "a count begins") &&
           tap_ok(box_call(&node.boxes[NODE_POD_CONSUMER], do_fill, "/file") == 0,
                   "the workload takes more") &&
           through(NODE_LEAVE_CONSUMER) && last_words(NODE_POD_PROVIDER, SC_REASON_LIMIT_EXCEEDED ": ");
    return end(good);
}

/* --- a root that is held --------------------------------------------------------------------------------- */

/* Another mount namespace, with a root that is mounted now; at another place, since the first goes with its directory. */
static pid_t hold(void)
{
    int ready[2];
    pid_t pid;
    char c;

    must(pipe2(ready, O_CLOEXEC) == 0);
    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && unshare(CLONE_NEWNS) == 0 &&
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                mount(DIR "/" SC_ROOTFS_DIR, NODE_RUN, NULL, MS_BIND, NULL) == 0 &&
                write(ready[1], "r", 1) == 1);
        for (;;)
            (void)pause();
    }
    must(read(ready[0], &c, 1) == 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

static int held(const void *data _unused_)
{
    bool good = started() && through(NODE_PROVIDER) && through(NODE_HELLO);
    pid_t holder = hold();
    int first, r;

    good = good && through(NODE_YIELD) && through(NODE_BACK);
    if (!good)
        return end(false);
    node_before(&node, NODE_BACK_HELLO);
    first = r = node_ask_step(&node, NODE_BACK_HELLO);
    good = tap_ok(first == -EAGAIN && strstr(node.runtime->text, "still held"), "at first it waits: %s",
            node.runtime->text);
    for (usec_t give_up = clock_monotonic() + NODE_WAIT; r == -EAGAIN && clock_monotonic() < give_up;) {
        (void)poll(NULL, 0, 50);
        r = node_ask_step(&node, NODE_BACK_HELLO);
    }
    good = tap_ok(r == -EPERM && begins(SC_REASON_ROOT_HELD ": "), "then it is told: %s (%d)",
                   node.runtime->text, r) &&
           tap_ok(strstr(node.runtime->text, at("process %d ", (int)holder)), "with who holds it, %d",
                   (int)holder) &&
           good;
    must(kill(holder, SIGKILL) == 0 && waitpid(holder, NULL, 0) == holder);
    good = good && through(NODE_LEAVE_BACK) && through(NODE_BACK) && through(NODE_BACK_HELLO);
    return end(good);
}

/* --- a container of another image ------------------------------------------------------------------------ */

/* In its pod, without a provider. */
static int restart_container(void)
{
    int r;

    node_end_box(&node, NODE_POD_CONSUMER);
    node_start_box(&node, NODE_POD_CONSUMER);
    while ((r = node_ask_step(&node, NODE_ATTACH)) == -EAGAIN)
        (void)poll(NULL, 0, 10);
    return r;
}

static int other_image(const void *data _unused_)
{
    bool good = started() && through(NODE_PROVIDER) && through(NODE_HELLO) && through(NODE_CONSUMER) &&
                through(NODE_ATTACH) && through(NODE_YIELD);
    int r;

    node.runtime->changed = true;
    r = good ? restart_container() : 0;
    good = good && tap_ok(r == -EPERM && begins("ImageChanged: "), "one of another image is refused: %s (%d)",
                           node.runtime->text, r);
    node_kill_agent(&node); /* which has asked for the image of this container */
    node.runtime->changed = false;
    good = good && tap_ok(node_start_agent(&node) == 0, "another agent") &&
           tap_ok(restart_container() == 0 &&
                           box_call(&node.boxes[NODE_POD_CONSUMER], do_exists, "/preserved") == 1,
                   "one of the same image has the root");
    return end(good);
}

/* --- a limit that the file system holds no more ---------------------------------------------------------- */

/* As if the root had been made with a quota. */
static void put_quota(void)
{
    int dir = open(DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct err err = ERR_INIT;
    struct record rec;

    must(dir >= 0 && record_read(dir, &rec, &err) == 0);
    rec.project = 1u << 30 | 5;
    rec.size_limit = 65536;
    must(record_write(dir, &rec, &err) == 0);
    close(dir);
}

static int quota_turned_off(const void *data _unused_)
{
    bool good = started() && through(NODE_PROVIDER) && through(NODE_HELLO) && through(NODE_CONSUMER) &&
                through(NODE_ATTACH) && through(NODE_YIELD);
    int r;

    if (!good)
        return end(false);
    put_quota();
    node.size_limit = "65536";
    good = through(NODE_NEXT);
    node_before(&node, NODE_NEXT_HELLO);
    while ((r = node_ask_step(&node, NODE_NEXT_HELLO)) == -EAGAIN && !strstr(node.runtime->text, "quota"))
        (void)poll(NULL, 0, 10);
    good = tap_ok(r == -EPERM && begins(SC_REASON_ROOT_UNUSABLE ": ") &&
                           strstr(node.runtime->text, "prjquota"),
                   "the next provider of a root that is exposed is told: %s (%d)", node.runtime->text, r) &&
           good;
    return end(good);
}

int main(void)
{
    static int (*const plays[])(const void *) = {
            watched, gone_while_counted, held, other_image, quota_turned_off};

    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    for (size_t i = 0; i < ARRAY_SIZE(plays); i++)
        tap_failures += on_next_machine(plays[i], NULL) != 0;
    return tap_status();
}
