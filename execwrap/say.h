/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one line that a program of this room prints, when it fails. No stdio: it would be larger than the
 * programs.
 */
#pragma once

#define SAY_TERMINATION_LOG "/dev/termination-log" /* Kubernetes' default terminationMessagePath */

/* Writes the parts (ended by NULL) as one line to the file `log` and to stderr. Control characters are
 * replaced, a part is cut at 1 KiB, so that a long name does not hide the reason behind it, and the whole at
 * what the kubelet takes of a termination message. log may be NULL; one that is missing, or is not a plain
 * file, is passed over: it is never created, and a FIFO there cannot block us. */
void say(const char *log, const char *const *parts);

#define SAY(log, ...) say((log), (const char *const[]){__VA_ARGS__, NULL})
