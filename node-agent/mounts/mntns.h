/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which mount namespace a process may have us work in.
 *
 * Who connects to a pod's socket is vouched for as a process of that pod, and that says nothing about its
 * mount namespace: a hostPID pod may run in the machine's own, anybody may `unshare -Urm`, and a process can
 * change its namespace between two looks. So the namespace is opened once, as an fd; the fd is judged; and
 * only the fd is used from then on (setns by fd). The rules, all of which must hold:
 *
 *   - it is a mount namespace, owned by the machine's user namespace (NS_GET_USERNS, Linux 4.9);
 *   - it is neither the machine's (that of pid 1) nor the agent's;
 *   - it is the one that the caller expects (that of the container's init process, as the runtime says);
 *   - it is none of those that the caller forbids (the provider's, every other container's);
 *   - the process was still alive after all this was read.
 *
 * The last line of defence is in the worker, after setns: "/" there must not be a root of the machine
 * (machine_owns_root).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/base/err.h"
#include "node-agent/mounts/process.h"

/* A namespace, or a directory, by device and inode. */
struct file_id {
    dev_t dev;
    ino_t ino;
};

static inline bool file_id_equal(const struct file_id *a, const struct file_id *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

/* What must never be given away, read once at start: before anything of a tenant runs in the agent. */
struct machine {
    struct file_id user_ns; /* of pid 1 */
    struct file_id mount_ns; /* of pid 1 */
    struct file_id own_mount_ns;
    struct file_id root; /* root directory of pid 1 */
    struct file_id own_root;
};

/* Fails where the agent does not run in the machine's pid and user namespaces: nothing could be told apart
 * there. */
int machine_read(struct machine *ret, struct err *err);

bool machine_owns_root(const struct machine *m, const struct file_id *root);

struct mntns {
    int fd;
    struct file_id id;
};

#define MNTNS_INIT                                \
    {                                             \
        .fd = -EBADF, .id = {.dev = 0, .ino = 0 } \
    }
#define _cleanup_mntns_ _cleanup_(mntns_close)

struct mntns_rules {
    const struct file_id *expected; /* the namespace of the container's init process; NULL: not checked */
    const struct file_id *forbidden; /* provider's and every other container's */
    size_t n_forbidden;
};

/* Identity of a process's mount namespace, without any judgement: to fill mntns_rules. */
int mntns_identify(const struct process *p, struct file_id *ret, struct err *err);

/* Opens and judges. -EPERM with the reason when a rule does not hold, -ESRCH when the process has ended. */
int mntns_open(const struct process *p, const struct machine *m, const struct mntns_rules *rules,
        struct mntns *ret, struct err *err);

void mntns_close(struct mntns *ns); /* the id stays */
