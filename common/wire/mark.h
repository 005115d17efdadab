/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach mode Pivot: how a process that is executed in a container finds out, without the agent, that it is in
 * the preserved root already.
 *
 * The agent makes a directory in the consumer's volume, SC_MARKS_NAME/NAME, empty and of mode 0555, before it
 * attaches a root: NAME is the id of the machine's boot, and device and inode of the root's "/". A process whose
 * own "/" has them, in that boot, is in that root: execwrap does not ask then.
 *
 *   - Another root cannot have them meanwhile. The kernel gives a device number to one super block at a time, and
 *     an inode number to one file of it; that of the preserved root lives as long as it is mounted on the node,
 *     which it is as long as the volume is there (persistence Node), or until it is lost (Provider): then the
 *     agent removes the mark. So the container's own root, which every container has at its start, is never
 *     taken for it, also where a snapshotter has both on one device. A mark need not know of containers, and
 *     one that starts again has to ask, since it is in its own root.
 *   - After a reboot numbers are given out anew, and the volume of a pod may still be there: the boot's id.
 *   - Another pod has another volume, and no container can write to its own. Its author can have the kubelet make
 *     directories there, by a subPath; they have another mode, and who forged a mark had but their own probes run
 *     in their image's own root, which is read-only.
 *
 * The name is all: nothing of a mark is read, none is ever half there, and an agent of any version removes a
 * volume with directories in it, where it refuses to with files that it does not know.
 */
#pragma once

#include <stdint.h>

enum {
    WIRE_BOOT_ID = 36, /* characters that the name begins with */
    WIRE_MARK_MAX = WIRE_BOOT_ID + 2 * (1 + 16) + 1, /* bytes, with the NUL */
    WIRE_MARK_MODE = 0555,
};

/* dev, ino: as stat(2) has them. 0 or a negative errno. */
int wire_mark_name(uint64_t dev, uint64_t ino, char ret[WIRE_MARK_MAX]);
