/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one line that a program of this room prints, when it fails. No stdio: it would be larger than the
 * programs.
 */
#pragma once

#define SAY_TERMINATION_LOG "/dev/termination-log" /* Kubernetes' default terminationMessagePath */

/* Writes the parts (ended by NULL) as one line to the file `log` and to stderr, control characters replaced
 * and the whole cut at what the kubelet reads of a termination message. log may be NULL; one that is missing,
 * or is not a plain file, is passed over: it is never created, and a FIFO there cannot block us. */
void say(const char *log, const char *const *parts);

#define SAY(log, ...) say((log), (const char *const[]){__VA_ARGS__, NULL})
