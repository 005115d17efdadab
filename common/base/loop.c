/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop (loop.h): turns, and the life of a source.
 *
 * One turn: set the timerfd if the earliest instant has changed, epoll_wait, then the callbacks, in this
 * order: the first look; ready fds as epoll gave them; timers that are due, by instant; defers that were made before this
 * turn. An answer and its deadline that arrive together are so seen in the order that favours the answer.
 * What a callback adds or arms runs in a later turn, so nothing starves the rest.
 *
 * A source removed while callbacks are under way is unlinked from everything at once, and its memory freed at
 * the end of the turn; loop_stop ends the turn after the current callback.
 */
#include <limits.h>
#include <string.h>
#include <sys/timerfd.h>

#include "common/base/log.h"
#include "common/base/loop_internal.h"

enum { BATCH = 64 };

/* The timerfd's place in the slots. */
enum { TIMER_SLOT = 0 };

static uint64_t event_key(const struct loop *loop, size_t slot)
{
    return (uint64_t)loop->slots[slot].generation << 32 | (uint64_t)slot;
}

static int setup(struct loop *loop, struct err *err)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = TIMER_SLOT};

    loop->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epfd < 0)
        return err_set(err, errno, "cannot create an epoll instance");
    loop->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->timerfd < 0)
        return err_set(err, errno, "cannot create a timerfd");
    loop->slots = calloc(1, sizeof(struct slot)); /* the first stays the timerfd's: no source is ever in it */
    if (!loop->slots)
        return err_set(err, ENOMEM, "cannot create an event loop");
    loop->n_slots = 1;
    if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, loop->timerfd, &ev) < 0)
        return err_set(err, errno, "cannot watch the timerfd");
    return 0;
}

int loop_new(struct loop **ret_loop, struct err *err)
{
    _cleanup_loop_ struct loop *loop = calloc(1, sizeof(*loop));
    int r;

    if (!loop)
        return err_set(err, ENOMEM, "cannot create an event loop");
    loop->epfd = -EBADF;
    loop->timerfd = -EBADF;
    loop->armed_at = USEC_INFINITY;
    list_init(&loop->sources);
    list_init(&loop->removed);
    list_init(&loop->due);
    list_init(&loop->deferred);
    list_init(&loop->ready);
    r = setup(loop, err);
    if (r < 0)
        return r;
    *ret_loop = take_ptr(loop);
    return 0;
}

static void free_removed(struct loop *loop)
{
    list_for_each (node, &loop->removed)
        free(list_entry(node, struct loop_source, link));
    list_init(&loop->removed);
}

struct loop *loop_free(struct loop *loop)
{
    int saved = errno;

    if (!loop)
        return NULL;
    while (!list_empty(&loop->sources))
        loop_remove(list_entry(loop->sources.next, struct loop_source, link));
    free_removed(loop);
    (void)close_fd(loop->timerfd);
    (void)close_fd(loop->epfd);
    free(loop->slots);
    free(loop->heap);
    free(loop);
    errno = saved;
    return NULL;
}

struct loop_source *loop_source_new(struct loop *loop, enum source_kind kind, const char *name, void *data)
{
    struct loop_source *src = calloc(1, sizeof(*src));

    if (!src)
        return NULL;
    src->loop = loop;
    (void)snprintf(src->name, sizeof(src->name), "%s", name);
    src->kind = kind;
    src->data = data;
    src->fd = -EBADF;
    src->slot = NO_SLOT;
    src->at = USEC_INFINITY;
    src->heap_index = HEAP_NONE;
    list_init(&src->queue);
    list_append(&loop->sources, &src->link);
    return src;
}

struct loop_source *loop_remove(struct loop_source *src)
{
    int saved = errno;
    struct loop *loop;

    if (!src || src->removed)
        return NULL;
    loop = src->loop;
    src->removed = true;
    loop_unwatch(src);
    if (src->kind == SOURCE_TIMER)
        loop_timer_forget(src);
    if (src->kind == SOURCE_SIGNAL)
        src->fd = close_fd(src->fd);
    list_remove(&src->queue);
    list_remove(&src->link);
    list_append(&loop->removed, &src->link);
    if (loop->depth == 0)
        free_removed(loop);
    errno = saved;
    return NULL;
}

/* A free slot, or -ENOMEM. */
static int find_slot(struct loop *loop)
{
    struct slot *slots;
    size_t n;

    for (size_t i = TIMER_SLOT + 1; i < loop->n_slots; i++) {
        if (!loop->slots[i].src)
            return (int)i;
    }
    n = loop->n_slots * 2;
    if (n > INT_MAX)
        return -ENOMEM;
    slots = reallocarray(loop->slots, n, sizeof(struct slot));
    if (!slots)
        return -ENOMEM;
    memset(slots + loop->n_slots, 0, (n - loop->n_slots) * sizeof(struct slot));
    loop->slots = slots;
    n = loop->n_slots;
    loop->n_slots *= 2;
    return (int)n;
}

int loop_watch(struct loop_source *src)
{
    struct loop *loop = src->loop;
    struct epoll_event ev = {.events = src->events};
    int slot = find_slot(loop);

    if (slot < 0)
        return slot;
    ev.data.u64 = event_key(loop, (size_t)slot);
    if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, src->fd, &ev) < 0)
        return -errno;
    loop->slots[slot].src = src;
    src->slot = slot;
    return 0;
}

void loop_unwatch(struct loop_source *src)
{
    struct loop *loop = src->loop;

    if (src->slot == NO_SLOT)
        return;
    if (epoll_ctl(loop->epfd, EPOLL_CTL_DEL, src->fd, NULL) < 0)
        log_debug("loop: %s: fd %d was closed before its source was removed", src->name, src->fd);
    loop->slots[src->slot].src = NULL;
    loop->slots[src->slot].generation++;
    src->slot = NO_SLOT;
}

int loop_io_set_events(struct loop_source *src, uint32_t events)
{
    struct epoll_event ev = {.events = events};

    if (src->kind != SOURCE_IO || src->slot == NO_SLOT)
        return -EINVAL;
    if (src->events == events)
        return 0;
    ev.data.u64 = event_key(src->loop, (size_t)src->slot);
    if (epoll_ctl(src->loop->epfd, EPOLL_CTL_MOD, src->fd, &ev) < 0)
        return -errno;
    src->events = events;
    return 0;
}

static int dispatch_fds(struct loop *loop, const struct epoll_event *events, int n)
{
    int calls = 0;

    for (int i = 0; i < n && !loop->stopped; i++) {
        uint64_t key = events[i].data.u64;
        const struct slot *slot = &loop->slots[(uint32_t)key];

        if (slot->src && slot->generation == (uint32_t)(key >> 32))
            calls += loop_source_dispatch(slot->src, events[i].events);
    }
    return calls;
}

/* The next source of a queue, taken out of it. */
static struct loop_source *next_of(struct list *queue)
{
    struct loop_source *src = list_entry(queue->next, struct loop_source, queue);

    list_remove(&src->queue);
    return src;
}

static int dispatch_timers(struct loop *loop)
{
    usec_t now = clock_monotonic();
    int calls = 0;

    loop_timer_collect(loop, now);
    for (; !list_empty(&loop->due) && !loop->stopped; calls++) {
        struct loop_source *src = next_of(&loop->due);

        src->at = USEC_INFINITY;
        src->fn.timer(src, now, src->data);
    }
    return calls;
}

static int dispatch_defers(struct loop *loop)
{
    int calls = 0;

    for (; !list_empty(&loop->ready) && !loop->stopped; calls++) {
        struct loop_source *src = next_of(&loop->ready);

        src->fn.defer(src, src->data);
        if (src->floating)
            loop_remove(src);
    }
    return calls;
}

/* epoll's timeout in whole milliseconds, rounded up so that it never ends early. */
static int wait_msec(const struct loop *loop, usec_t timeout)
{
    if (!list_empty(&loop->ready) || !list_empty(&loop->due))
        return 0;
    if (timeout == USEC_INFINITY)
        return -1;
    if (timeout / USEC_PER_MSEC >= INT_MAX)
        return INT_MAX;
    return (int)((timeout + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

int loop_turn(struct loop *loop, usec_t timeout)
{
    struct epoll_event events[BATCH];
    int n, calls, r;

    if (loop->stopped)
        return 0;
    r = loop_timer_arm_fd(loop);
    if (r < 0)
        return r;
    while (!list_empty(&loop->deferred))
        list_append(&loop->ready, &next_of(&loop->deferred)->queue);
    n = epoll_wait(loop->epfd, events, BATCH, wait_msec(loop, timeout));
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    loop->depth++;
    if (loop->first_look)
        loop->first_look(loop->first_look_data);
    calls = dispatch_fds(loop, events, n);
    calls += dispatch_timers(loop);
    calls += dispatch_defers(loop);
    loop->depth--;
    if (loop->depth == 0)
        free_removed(loop);
    return calls;
}

void loop_set_first_look(struct loop *loop, void (*fn)(void *data), void *data)
{
    loop->first_look = fn;
    loop->first_look_data = data;
}

void loop_stop(struct loop *loop, int code)
{
    loop->stopped = true;
    loop->code = code;
}

bool loop_stopped(const struct loop *loop)
{
    return loop->stopped;
}

int loop_run(struct loop *loop)
{
    while (!loop->stopped) {
        int r = loop_turn(loop, USEC_INFINITY);

        if (r < 0)
            return r;
    }
    loop->stopped = false; /* it may be run again */
    return loop->code;
}
