/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of the event loop: a binary heap ordered by (instant, order of arming), and one timerfd that is set
 * to the earliest of them. The timerfd is never read: setting it anew makes it unreadable again
 * (timerfd_settime resets the count of expirations), and it is set anew after every expiration, since the
 * instant it was armed for is then no longer the earliest.
 */
#include <stdint.h>
#include <sys/timerfd.h>

#include "common/base/loop_internal.h"

static bool earlier(const struct loop_source *a, const struct loop_source *b)
{
    return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

static void heap_place(struct loop *loop, size_t i, struct loop_source *src)
{
    loop->heap[i] = src;
    src->heap_index = i;
}

static void heap_up(struct loop *loop, size_t i, struct loop_source *src)
{
    while (i > 0 && earlier(src, loop->heap[(i - 1) / 2])) {
        heap_place(loop, i, loop->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(loop, i, src);
}

static void heap_down(struct loop *loop, size_t i, struct loop_source *src)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= loop->heap_len)
            break;
        if (child + 1 < loop->heap_len && earlier(loop->heap[child + 1], loop->heap[child]))
            child++;
        if (!earlier(loop->heap[child], src))
            break;
        heap_place(loop, i, loop->heap[child]);
        i = child;
    }
    heap_place(loop, i, src);
}

static void heap_remove(struct loop *loop, struct loop_source *src)
{
    size_t i = src->heap_index;
    struct loop_source *last = loop->heap[--loop->heap_len];

    src->heap_index = HEAP_NONE;
    if (last == src)
        return;
    if (i > 0 && earlier(last, loop->heap[(i - 1) / 2]))
        heap_up(loop, i, last);
    else
        heap_down(loop, i, last);
}

int loop_add_timer(
        struct loop *loop, const char *name, loop_timer_fn fn, void *data, struct loop_source **ret_src)
{
    struct loop_source *src;

    if (loop->n_timers == loop->heap_alloc) {
        size_t n = loop->heap_alloc ? loop->heap_alloc * 2 : 16;
        struct loop_source **heap = reallocarray(loop->heap, n, sizeof(struct loop_source *));

        if (!heap)
            return -ENOMEM;
        loop->heap = heap;
        loop->heap_alloc = n;
    }
    src = loop_source_new(loop, SOURCE_TIMER, name, data);
    if (!src)
        return -ENOMEM;
    loop->n_timers++;
    src->fn.timer = fn;
    if (ret_src)
        *ret_src = src;
    return 0;
}

void loop_timer_detach(struct loop_source *src)
{
    list_remove(&src->queue);
    if (src->heap_index != HEAP_NONE)
        heap_remove(src->loop, src);
    src->at = USEC_INFINITY;
}

void loop_timer_forget(struct loop_source *src)
{
    loop_timer_detach(src);
    src->loop->n_timers--;
}

int loop_timer_set(struct loop_source *src, usec_t at_monotonic)
{
    struct loop *loop = src->loop;

    if (src->kind != SOURCE_TIMER || src->removed)
        return -EINVAL;
    loop_timer_detach(src);
    if (at_monotonic == USEC_INFINITY)
        return 0;
    src->at = at_monotonic;
    src->sequence = ++loop->sequence;
    heap_up(loop, loop->heap_len++, src);
    return 0;
}

int loop_timer_in(struct loop_source *src, usec_t delay)
{
    return loop_timer_set(src, usec_add(clock_monotonic(), delay));
}

int loop_timer_arm_fd(struct loop *loop)
{
    usec_t at = loop->heap_len > 0 ? loop->heap[0]->at : USEC_INFINITY;
    struct itimerspec spec = {0};

    if (at == loop->armed_at)
        return 0;
    if (at != USEC_INFINITY) {
        usec_t set = at > 0 ? at : 1; /* an instant of 0 would disarm; the kernel caps the far end */

        spec.it_value.tv_sec = (time_t)(set / USEC_PER_SEC);
        spec.it_value.tv_nsec = (long)(set % USEC_PER_SEC) * 1000;
    }
    if (timerfd_settime(loop->timerfd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
        return -errno;
    loop->armed_at = at;
    return 0;
}

void loop_timer_collect(struct loop *loop, usec_t now)
{
    while (loop->heap_len > 0 && loop->heap[0]->at <= now) {
        struct loop_source *src = loop->heap[0];

        heap_remove(loop, src);
        list_append(&loop->due, &src->queue);
    }
}
