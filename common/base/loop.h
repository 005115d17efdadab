/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: one thread, epoll, level-triggered. Every source has a name (for the log), a callback and a
 * user pointer. What a program waits for is one of:
 *
 *   io      readiness of an fd that stays the caller's
 *   timer   an instant on CLOCK_MONOTONIC (one timerfd serves all: an idle loop makes no system call)
 *   signal  one signal number, through a signalfd; the loop blocks it in the process's mask
 *   pidfd   end of a process; for a child also its exit status, reaped by the loop by pidfd (waitid P_PIDFD)
 *   defer   once, at the next turn
 *
 * A source may be removed at any time, also from inside its own or another source's callback: it is then
 * never called again, even if its event was already fetched (removal during dispatch is put off until the
 * batch is done). Callbacks return nothing: a callback that cannot go on calls loop_stop with an exit code.
 * No threads.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "common/base/clock.h"
#include "common/base/err.h"

struct loop;
struct loop_source;

typedef void (*loop_io_fn)(struct loop_source *src, int fd, uint32_t events, void *data);
typedef void (*loop_timer_fn)(struct loop_source *src, usec_t now, void *data);
typedef void (*loop_signal_fn)(struct loop_source *src, const struct signalfd_siginfo *info, void *data);
/* status as siginfo gives it: code is CLD_EXITED, CLD_KILLED, CLD_DUMPED, or 0 when the process is no child
 * of ours. */
typedef void (*loop_pidfd_fn)(struct loop_source *src, int code, int status, void *data);
typedef void (*loop_defer_fn)(struct loop_source *src, void *data);

int loop_new(struct loop **ret_loop, struct err *err);
struct loop *loop_free(struct loop *loop); /* removes all sources; returns NULL; accepts NULL */
DEFINE_CLEANUP_FUNC(struct loop *, loop_free);
#define _cleanup_loop_ _cleanup_(loop_freep)

/* Runs until loop_stop. Returns the code given there, or a negative errno when epoll itself fails. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int code);

/* Whether loop_stop was called and loop_run has not returned its code yet. */
bool loop_stopped(const struct loop *loop);

/* One turn, waiting at most `timeout` (0: do not wait). Returns the number of callbacks made, or a negative
 * errno when epoll itself fails. For tests and for the few synchronous waits at start: those end on
 * loop_stopped too, since a stopped loop makes no more turns (0 at once). Callbacks of one turn are made in
 * this order: the first look, ready fds, timers by their instant, defers. */
int loop_turn(struct loop *loop, usec_t timeout);

/* fn is called in each turn before everything else, for what must be known first when the process was stopped
 * or the machine asleep: what came in meanwhile is else seen before the timers that went off meanwhile. It may
 * stop the loop; it costs every turn, so it only compares clocks. One a loop; NULL: none. */
void loop_set_first_look(struct loop *loop, void (*fn)(void *data), void *data);

/* For all loop_add_ functions: 0, or -ENOMEM, or what epoll_ctl(2) says (-EEXIST: this fd has a source
 * already; -EPERM: a regular file, which is always ready). The name is copied. ret_src may be NULL where
 * nobody will remove the source before the loop is freed; a defer is then freed once it has run. */

/* events: EPOLLIN, EPOLLOUT ...; EPOLLERR and EPOLLHUP always come. */
int loop_add_io(struct loop *loop, const char *name, int fd, uint32_t events, loop_io_fn fn, void *data,
        struct loop_source **ret_src);
int loop_io_set_events(struct loop_source *src, uint32_t events);

/* A timer starts disarmed. Setting a new instant replaces the old one; USEC_INFINITY disarms. It fires once.
 */
int loop_add_timer(
        struct loop *loop, const char *name, loop_timer_fn fn, void *data, struct loop_source **ret_src);
int loop_timer_set(struct loop_source *src, usec_t at_monotonic);
int loop_timer_in(struct loop_source *src, usec_t delay);

/* -EEXIST when the loop has a source for this signal. The signal stays blocked when the source is removed:
 * one that comes late must not end the process. A program adds its signals before it starts threads. */
int loop_add_signal(struct loop *loop, const char *name, int signo, loop_signal_fn fn, void *data,
        struct loop_source **ret_src);

/* The pidfd stays the caller's; it must be open until the source is removed. Fires once; the source stays
 * until loop_remove. */
int loop_add_pidfd(struct loop *loop, const char *name, int pidfd, loop_pidfd_fn fn, void *data,
        struct loop_source **ret_src);

int loop_add_defer(
        struct loop *loop, const char *name, loop_defer_fn fn, void *data, struct loop_source **ret_src);

/* Accepts NULL; returns NULL: `src = loop_remove(src)`. Never closes the fd, and comes before its close: the
 * number may soon be another file's. */
struct loop_source *loop_remove(struct loop_source *src);
