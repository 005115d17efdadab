/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A preserved root put under a running container (Pivot), or into it at /rootfs (Chroot).
 *
 *   agent    a private copy of the exposed root, its protective flags cleared
 *   worker   setns(nsfd), and then (attach_steps.c):
 *     a. the old root as an fd, and the mount table as seen from there; what is carried (carry.h)
 *     b. a copy of each carried mount with all below it; copies keep their propagation
 *     c. every target, and the working directory, resolved and made in the detached new root; then read-only
 *        where asked for
 *     d. the old root and the pod's volume made private, they alone (pivot_root(2) demands it)
 *     e. the copies moved in, from fd to fd; /proc, /dev and /sys looked at once more
 *     f. pivot_root, which puts the old tree into a directory of the pod's volume, not over the new root:
 *        who joins the namespace from then on is in the new one; the old tree made private through the fd
 *        of (a); the old tree detached
 *
 * Chroot has (a) to (c) and (e) in common with this; what is different is in attach_chroot.c.
 *
 * Where the kernel can (6.15) the tree is complete before any of it is visible; before that it is put together
 * in the directory of the pod's volume where the old tree goes. A failure before the pivot leaves the namespace's mounts as they were.
 * A worker that died half way is made good by the next attempt, before and after the pivot.
 *
 * Afterwards every process of the container whose root and working directory were the old root has the new
 * one, and so has everything that the runtime executes in it. A container that has its root already is
 * answered with success.
 */
#pragma once

#include "node-agent/mounts/mntns.h"
#include "node-agent/mounts/mount_api.h"
#include "node-agent/mounts/worker.h"

/* What Chroot needs beside (attach_chroot.c). */
struct attach_chroot {
    const char *execwrap; /* the file that is copied into the container */
    const char *search; /* the container's PATH; NULL or "": unknown. The usual directories count always */
    bool capability; /* its user is not root: the copy has the file capability cap_sys_chroot=ep */
};

/* Everything is borrowed and used before attach_start returns. */
struct attach_request {
    const char *pod; /* uid of the consumer pod */
    const char *target; /* container id */
    const struct machine *machine;
    const struct mount_caps *caps;
    const struct process *process; /* a process of the container whose root is to be changed */
    const struct mntns *ns; /* judged by mntns_open */
    int exposed; /* from expose_open */
    const char *workdir; /* the container's, as CRI gives it; NULL or "": "/" */
    const char *const *own_mounts; /* container paths of the mounts in CRI's ContainerStatus */
    size_t n_own_mounts;
    const char *const *image_volumes; /* the image config's Volumes */
    size_t n_image_volumes;
    bool read_only; /* the template's readOnlyRootFilesystem */
    const struct attach_chroot *chroot; /* NULL: Pivot */
};

/* Something of the preserved root that was in the way of a mount, and where it is now. */
struct attach_aside {
    const char *path;
    const char *moved_to;
};

struct attach_result {
    int code; /* 0: the container has its root */
    const char *text; /* when code < 0: which step failed, on what */
    bool already; /* it had it before */
    bool commands_cut; /* Chroot: the root has more commands than get a link */
    const struct attach_aside *asides; /* each is worth an event, also when code < 0 */
    size_t n_asides;
};

/* Called once; everything in the result is valid during the call. */
typedef void (*attach_done_fn)(const struct attach_result *result, void *data);

/* Like worker_start: when this fails, done is not called. */
int attach_start(struct workers *ws, const struct attach_request *req, attach_done_fn done, void *data,
        struct err *err);
