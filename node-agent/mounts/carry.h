/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which mounts of a container go with it into its preserved root. Pure.
 *
 * Top-level mounts are those directly on the root mount, known by mount id and parent id, never by path
 * prefix; of a stack the topmost alone. Each is carried with everything mounted below it. Not carried are
 * the anonymous mounts that a runtime makes for an image's VOLUMEs, since the preserved root holds that data:
 * mounts at a path of the image's `Volumes` that is not among the container's own mounts in CRI. Such a mount
 * is transparent: what is mounted in it counts as top-level. /proc, /dev and /sys are always carried.
 *
 * A mount hidden below another one (its path leads through a mount it does not belong to) is not seen in the
 * container either and is left out. An unbindable mount anywhere in what is carried is refused by name: the
 * kernel would leave it out of the copy without a word, and a Secret must never be silently missing.
 */
#pragma once

#include <stdbool.h>

#include "node-agent/mounts/mountinfo.h"

/* Both lists hold canonical absolute paths (safe_canonical within the container's root). */
struct carry_rules {
    const char *const *own_mounts; /* the container's mounts as CRI's ContainerStatus lists them */
    size_t n_own_mounts;
    const char *const *image_volumes; /* the image config's Volumes */
    size_t n_image_volumes;
};

/* Both containerd and CRI-O make these of their own for each container, and read-only if, and only if, its
 * root is. That of a consumer always is, for a reason of ours: where the template did not ask for it, their
 * copies are to be writable, as in a plain pod. */
#define CARRY_RUNTIME_FILES                 \
    {                                       \
        "/etc/hostname", "/etc/resolv.conf" \
    }

/* Whether the mount at path is one of `files` (canonical), made by the runtime and not by the kubelet, which
 * lists what a pod asks for. */
bool carry_is_runtime_file(
        const char *path, const char *const *files, size_t n_files, const struct carry_rules *rules);

struct carry_list {
    size_t n;
    const struct mount **mounts; /* borrowed from the table */
};

/* root_id: the mount that is "/" there. */
int carry_select(const struct mountinfo *mi, uint64_t root_id, const struct carry_rules *rules,
        struct carry_list *ret, struct err *err);
void carry_list_free(struct carry_list *list);

/* Whether a path is below, or is, one of the carried mounts' paths. */
bool carry_covers(const struct carry_list *list, const char *path);

/* Two carried mounts whose places in the new root were apart in the container must not come to lie one in the
 * other (a link in the root can do that): the outer would hide the inner. `places` are the canonical paths
 * found for list->mounts, in the same order. -EEXIST, naming both. */
int carry_check_places(const struct carry_list *list, const char *const *places, struct err *err);
