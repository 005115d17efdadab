/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the event loop share: loop.c (turns and the life of a source), loop_timer.c (the heap and
 * the timerfd), loop_source.c (io, signal, pidfd, defer). Nobody else includes this.
 */
#pragma once

#include "common/base/list.h"
#include "common/base/loop.h"

enum source_kind { SOURCE_IO, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_PIDFD, SOURCE_DEFER };

enum { NO_SLOT = -1, SOURCE_NAME_MAX = 32 };

struct loop_source {
    struct list link; /* in loop->sources, or loop->removed */
    struct list queue; /* in loop->due, loop->deferred or loop->ready, else in none */
    struct loop *loop;
    enum source_kind kind;
    bool removed; /* waits for the end of the dispatch to be freed; never called again */
    bool floating; /* nobody holds it: a defer is removed once it has run */
    union {
        loop_io_fn io;
        loop_timer_fn timer;
        loop_signal_fn signal;
        loop_pidfd_fn pidfd;
        loop_defer_fn defer;
    } fn;
    void *data;

    int fd; /* io, pidfd: the caller's; signal: ours; else -EBADF */
    uint32_t events;
    int slot; /* in loop->slots while epoll watches fd, else NO_SLOT */
    int signo;
    char name[SOURCE_NAME_MAX]; /* for the log; cut to fit */

    usec_t at; /* timer: when armed */
    uint64_t sequence; /* timer: order of arming, so that equal instants fire in that order */
    size_t heap_index; /* timer: place in the heap, HEAP_NONE when not in it */
};

#define HEAP_NONE SIZE_MAX

/* epoll carries slot and generation, never a pointer: an event of a registration that outlived its source (a
 * forked child can hold the file open) finds another generation and is dropped. */
struct slot {
    struct loop_source *src; /* NULL: free */
    uint32_t generation;
};

struct loop {
    int epfd;
    int timerfd;
    bool stopped;
    int code;
    void (*first_look)(void *data);
    void *first_look_data;
    unsigned int depth; /* of turns under way; removed sources are freed when it is 0 */

    struct list sources;
    struct list removed;
    struct list due; /* timers whose instant has come, in order, not called yet */
    struct list deferred; /* defers for the next turn */
    struct list ready; /* defers of this turn */

    struct slot *slots;
    size_t n_slots;

    struct loop_source **heap; /* armed timers; room for every timer source, so that arming cannot fail */
    size_t heap_len;
    size_t heap_alloc;
    size_t n_timers;
    uint64_t sequence;
    usec_t armed_at; /* what the timerfd is set to */
};

/* A source in loop->sources, of no effect yet. NULL: no memory. */
struct loop_source *loop_source_new(struct loop *loop, enum source_kind kind, const char *name, void *data);

/* Starts and stops watching src->fd for src->events. */
int loop_watch(struct loop_source *src);
void loop_unwatch(struct loop_source *src);

/* Calls a source back for the epoll events of its fd. Returns the number of callbacks made (0 or 1). */
int loop_source_dispatch(struct loop_source *src, uint32_t events);

/* loop_timer.c */
void loop_timer_detach(struct loop_source *src); /* disarms */
void loop_timer_forget(struct loop_source *src); /* disarms, and gives its room in the heap back */
int loop_timer_arm_fd(struct loop *loop); /* sets the timerfd to the earliest instant when that has changed */
void loop_timer_collect(struct loop *loop, usec_t now); /* moves what is due from the heap to loop->due */
