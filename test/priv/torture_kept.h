/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be so of the root of persistence Node in a life (node_steps.h), at every moment and whatever has
 * just gone wrong, by a look that knows nothing of the agent's tables:
 *
 *   - its record is whole, or not there yet; from the first hello to the reclaim it is there and stays the same
 *   - what the workload wrote is there until the reclaim; a provider's root that is mounted shows it
 *   - all mounts of it, in whichever namespace, are of one overlay
 *   - after the reclaim, nothing of it
 */
#pragma once

#include <glob.h>

#include "node-agent/record.h"
#include "test/priv/node_steps.h"

#define KEPT_PLACE SC_INSTANCES_DIR "/" NODE_INSTANCE "/main"
#define KEPT_DIR NODE_STATE "/" KEPT_PLACE
#define KEPT_FILE "/kept-by-the-workload"

/* In the consumer's box. */
_unused_ static int kept_do_write(const char *path)
{
    put_file(path, path);
    return 0;
}

static bool kept_file_is(const char *path)
{
    _cleanup_buf_ struct buf b = BUF_INIT(KIB);

    return file_read_at(AT_FDCWD, path, &b, NULL) == 0 && strcmp(buf_str(&b), KEPT_FILE) == 0;
}

/* 0, or what record_read says. */
static int kept_record(struct record *ret)
{
    _cleanup_close_ int dir = open(KEPT_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return dir < 0 ? -errno : record_read(dir, ret, NULL);
}

/* The overlay's device, as one number: mounts with the upper directory of this instance, seen by a process.
 * False: they are of more than one. */
static bool kept_is_one(const char *mountinfo, unsigned long *device)
{
    FILE *f = fopen(mountinfo, "re");
    char line[8192];
    bool one = true;

    while (f && fgets(line, sizeof(line), f)) {
        unsigned long major, minor;

        if (!strstr(line, " - overlay ") || !strstr(line, KEPT_PLACE "/" SC_UPPER_DIR) ||
                sscanf(line, "%*u %*u %lu:%lu", &major, &minor) != 2)
            continue;
        one = one && (*device == 0 || *device == (major << 20 | minor));
        *device = major << 20 | minor;
    }
    if (f)
        (void)fclose(f);
    return one;
}

/* How many overlays there are of it: 0, 1, or 2 for more. */
static int kept_mounts(void)
{
    unsigned long device = 0;
    bool one = true;
    glob_t found;

    must(glob("/proc/[0-9]*/mountinfo", 0, NULL, &found) == 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        one = kept_is_one(found.gl_pathv[i], &device) && one;
    globfree(&found);
    return !one ? 2 : device != 0;
}

static const char *kept_check_use(enum node_step step, bool done, int mounts)
{
    /* What is begun by the step that has gone wrong may be there or not. */
    enum node_step from = done ? step : step - 1;

    if (from >= NODE_ATTACH && !kept_file_is(KEPT_DIR "/" SC_UPPER_DIR KEPT_FILE))
        return "what the workload wrote is gone";
    if (from >= NODE_ATTACH && mounts > 0 && step < NODE_LEAVE_NEXT &&
            !kept_file_is(KEPT_DIR "/" SC_ROOTFS_DIR KEPT_FILE))
        return "the exposed root is another";
    if (done && node_step_is(step, NODE_STEPS_HELLO) && mounts != 1)
        return "it is not mounted";
    if (done && step == NODE_BACK_HELLO && !kept_file_is(KEPT_DIR "/" SC_ROOTFS_DIR KEPT_FILE))
        return "the root that was mounted again is not what was kept";
    if (done && (step == NODE_LEAVE_NEXT || step == NODE_LEAVE_BACK) && mounts != 0)
        return "it does not rest";
    return NULL;
}

static const char *kept_check_reclaimed(int mounts)
{
    glob_t found;
    int r = glob(NODE_STATE "/" SC_INSTANCES_DIR "/*", 0, NULL, &found);

    globfree(&found);
    if (r == GLOB_NOMATCH) {
        r = glob(NODE_STATE "/" SC_TRASH_DIR "/*", 0, NULL, &found);
        globfree(&found);
    }
    return r != GLOB_NOMATCH || mounts > 0 ? "something is left after the reclaim" : NULL;
}

/* step has gone wrong and was not repaired yet, or is done. In ret_why what is not so. */
_unused_ static void kept_look(enum node_step step, bool done, char *ret_why, size_t size)
{
    static struct record first;
    struct record now = {.ns = ""};
    int r = kept_record(&now), mounts = kept_mounts();
    bool is_there = (done ? step >= NODE_HELLO : step > NODE_HELLO) && step < NODE_RECLAIM;
    const char *why = NULL;

    if (r < 0 && r != -ENOENT)
        why = "its record is torn";
    else if (is_there && r < 0)
        why = "its record is gone";
    else if (is_there && first.ns[0] && memcmp(&first, &now, sizeof(now)) != 0)
        why = "its record is another";
    else if (mounts > 1)
        why = "there are two overlays of it";
    else if (is_there)
        why = kept_check_use(step, done, mounts);
    else if (done && step >= NODE_RECLAIM)
        why = kept_check_reclaimed(mounts);
    if (is_there && r == 0 && !first.ns[0])
        first = now;
    if (why)
        (void)snprintf(ret_why, size, "%s", why);
}
