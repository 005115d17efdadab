/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which container a process is in, by the text of its /proc/PID/cgroup. Pure.
 *
 * Known: cgroup v1 and v2; the kubelet's systemd and cgroupfs drivers; containerd and CRI-O; crun's child
 * cgroup "container" and any deeper one; prefixes before kubepods (a kubelet's --cgroup-root, a node that is
 * itself a container); paths relative to the reader's cgroup namespace ("/../../kubepods/..."), where the
 * pod's part may be missing. Each line is read from its end: the last part that is a container id counts, and
 * the nearest part before it that names a pod.
 *
 * What this is not: proof. A process that may write to the cgroup file system can be anywhere; the caller
 * compares with the pod whose socket the process came through, and with the runtime.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/limits.h"

struct container_identity {
    char id[LIMIT_CONTAINER_ID + 1];
    char pod_uid[LIMIT_UID + 1]; /* "" when the path does not show it */
};

/* -ENOENT: no line holds a container id. -EBADMSG: malformed, or two lines name different containers or pods.
 */
int container_identity_parse(const char *text, size_t len, struct container_identity *ret, struct err *err);

/* Whether text is a container id: 64 lower-case hex digits. */
bool container_id_valid(const char *text);
