/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals as something to poll for.
 *
 * A pid 1 gets no default actions: a signal that it neither handles nor blocks is dropped by the kernel. And
 * which signal means "stop" is the image's choice (STOPSIGNAL). So every signal that can be caught is blocked
 * and read from a signalfd; a blocked signal is queued even where it is ignored or its default is to do
 * nothing (signal(7), signalfd(2)). Dispositions are never touched, so giving the mask back leaves no trace
 * for the program that is executed next.
 *
 * Left alone: SIGCHLD (unless asked for), SIGCONT and SIGURG, which ask for nothing; and a SIGWINCH from the
 * kernel, which is a terminal that was resized, while one that was sent stops (httpd's images ask for it).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct signals {
    int fd;
    uint64_t before; /* the mask as it was */
};

/* 0 or a negative errno. With `children`, SIGCHLD is among the signals. */
int signals_catch(struct signals *s, bool children);

/* The next signal that came, or 0 when there is none. */
int signals_next(const struct signals *s);

/* Closes the fd and restores the mask. */
void signals_release(struct signals *s);
