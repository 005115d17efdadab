/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See caps.h.
 */
#include "node-agent/caps.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "common/base/cleanup.h"

static const struct kept_cap {
    cap_value_t cap;
    const char *name;
} kept[] = {
        /* open_tree, move_mount, mount_setattr, umount2, setns into a mount namespace */
        {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
        /* setns into a mount namespace asks for it as well (setns(2)); pivot_root's worker does chroot */
        {CAP_SYS_CHROOT, "CAP_SYS_CHROOT"},
        /* /proc/PID/ns of processes of other uids, and setns by pidfd */
        {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
        /* the kubelet's pod directories and the directories of a root belong to any uid */
        {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
        /* mount points made in a root take the owner of what they are made for */
        {CAP_CHOWN, "CAP_CHOWN"},
        {CAP_FOWNER, "CAP_FOWNER"},
        /* the file capability of a non-root container's execwrap (attach: Chroot) */
        {CAP_SETFCAP, "CAP_SETFCAP"},
        /* what an overlay of persistence Node does for a workload it does with the agent's capabilities, as with
         * the runtime's for a plain container: setgid bits stay, device nodes, immutable files; reclaim clears
         * those flags. Not SYS_RESOURCE: no quota would count */
        {CAP_FSETID, "CAP_FSETID"},
        {CAP_MKNOD, "CAP_MKNOD"},
        {CAP_LINUX_IMMUTABLE, "CAP_LINUX_IMMUTABLE"},
        /* ends the processes that run on a lost root */
        {CAP_KILL, "CAP_KILL"},
};

/* The bounding set and the ambient set: what is gone there cannot come back. Needs CAP_SETPCAP, so it comes
 * before the permitted set shrinks. */
static int drop_bounding(struct err *err)
{
    for (cap_value_t cap = 0; cap_get_bound(cap) >= 0; cap++) {
        bool keep = false;

        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
            keep = keep || kept[i].cap == cap;
        if (!keep && cap_get_bound(cap) == 1 && cap_drop_bound(cap) < 0)
            return err_set(err, errno, "cannot drop capability %d from the bounding set", cap);
    }
    if (cap_reset_ambient() < 0)
        return err_set(err, errno, "cannot empty the ambient capabilities");
    return 0;
}

static int shrink(cap_t now, cap_t wanted, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        cap_flag_value_t has = CAP_CLEAR;

        if (cap_get_flag(now, kept[i].cap, CAP_PERMITTED, &has) < 0 || has != CAP_SET)
            return err_say(err, EPERM,
                    "the process does not have %s: the agent's container must be privileged", kept[i].name);
        if (cap_set_flag(wanted, CAP_PERMITTED, 1, &kept[i].cap, CAP_SET) < 0 ||
                cap_set_flag(wanted, CAP_EFFECTIVE, 1, &kept[i].cap, CAP_SET) < 0)
            return err_set(err, errno, "cannot keep %s", kept[i].name);
    }
    if (cap_set_proc(wanted) < 0)
        return err_set(err, errno, "cannot drop capabilities");
    return 0;
}

int caps_drop(struct err *err)
{
    cap_t now = cap_get_proc();
    cap_t wanted = cap_init();
    int r;

    if (!now || !wanted) {
        r = err_set(err, ENOMEM, "cannot read the capabilities");
    } else {
        r = drop_bounding(err);
        if (r == 0)
            r = shrink(now, wanted, err);
    }
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = err_set(err, errno, "cannot set no_new_privs");
    if (now)
        (void)cap_free(now);
    if (wanted)
        (void)cap_free(wanted);
    return r;
}
