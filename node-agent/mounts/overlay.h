/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistence Node: the preserved root as an overlay of our own, over the layers of a provider's root.
 *
 *   overlay_look     worker in the provider: what its "/" is mounted with (mountinfo), and "/" as an fd
 *   overlay_mount    worker on the node, in the machine's mount namespace, where the runtime's directories
 *                    are: each layer opened by its path, below the runtime's root where that is known; upper
 *                    and work opened by theirs and found to be the very directories that the agent means; no
 *                    other mount uses this upper; the overlay made, detached
 *                    agent: protected and moved onto dir/name (expose_place)
 *
 * The kernel takes layers and upper from mounts of the caller's own namespace only; hence the detour through
 * the machine's, and the state directory must have one path on the node and in the agent.
 *
 * One superblock for each upper: index=off lets the kernel mount a second one without a word, so it is asked
 * before (mount_overlay_in_use), with the container's directory locked, a lock that a worker of an agent that
 * has died still holds. An upper in use is answered with -OVERLAY_HELD: whoever holds it (a process that still
 * has the old root) must go first.
 *
 * Kernels: 6.15 takes the layers as O_PATH fds; before that mount(2) with /proc/self/fd paths in a namespace of the
 * worker's own, but for the upper's path, by which a holder is found in the tables of mounts. Not done: user namespaces, data-only layers, any root that is no overlay.
 */
#pragma once

#include "node-agent/mounts/mount_api.h"
#include "node-agent/mounts/overlay_layers.h"
#include "node-agent/mounts/worker.h"

/* Everything is borrowed and used before overlay_look_start returns. */
struct overlay_look_request {
    const char *pod;
    const char *target; /* container id */
    const struct machine *machine;
    const struct mntns *ns; /* judged by mntns_open */
};

/* code 0: layers (take them by assigning an empty one) and root, "/" of the container opened for reading
 * (take_fd), both released after the call otherwise. Negative: -EINVAL, -E2BIG for a root that cannot be
 * used, with the sentence in text. */
typedef void (*overlay_look_fn)(
        int code, const char *text, struct overlay_layers *layers, int *root, void *data);

/* Like worker_start: when this fails, done is not called. */
int overlay_look_start(struct workers *ws, const struct overlay_look_request *req, overlay_look_fn done,
        void *data, struct err *err);

/* Everything is borrowed and used before overlay_mount_start returns, but `dir`, which is duplicated. */
struct overlay_mount_request {
    const char *pod;
    const char *target; /* of the root, not of a container: the look's worker may not be reaped yet */
    int machine_ns; /* fd of the machine's mount namespace */
    const struct mount_caps *caps;
    const struct overlay_layers *layers;
    const char *runtime_root; /* every layer lies below it; NULL: not known */
    const char *state_dir; /* on the machine */
    const char *path; /* of dir, below state_dir */
    int dir; /* instances/<uid>/<container>: holds upper, work and, in the end, name */
    const char *upper;
    const char *work;
    const char *name;
};

/* An earlier mount of the root is still there, or under way. Not EBUSY, which is said of workers too. */
#define OVERLAY_HELD ETXTBSY

/* code 0: mounted and exposed. -OVERLAY_HELD, -ETIMEDOUT, -ENOMEM: may be otherwise later. */
typedef void (*overlay_mount_fn)(int code, const char *text, void *data);

int overlay_mount_start(struct workers *ws, const struct overlay_mount_request *req, overlay_mount_fn done,
        void *data, struct err *err);
