/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See workqueue.h. An item is in at most one of two lists, `ready` (in the order of addition) or `later`, and
 * exists only while it waits or is processed.
 */
#include "controller/workqueue.h"

#include <errno.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/list.h"
#include "common/base/map.h"

struct item {
    struct list link;
    bool ready; /* in the list `ready`, or to be put there when done */
    bool later; /* in the list `later`, or to be put there when done */
    bool processing;
    usec_t at;
    char key[];
};

struct workqueue {
    struct map *items;
    struct list ready;
    struct list later;
    size_t waiting;
};

struct workqueue *workqueue_new(void)
{
    struct workqueue *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->items = map_new(LIMIT_KEYS, free);
    if (!q->items) {
        free(q);
        return NULL;
    }
    list_init(&q->ready);
    list_init(&q->later);
    return q;
}

struct workqueue *workqueue_free(struct workqueue *q)
{
    if (!q)
        return NULL;
    map_free(q->items);
    free(q);
    return NULL;
}

static int find_or_add(struct workqueue *q, const char *key, struct item **ret)
{
    struct item *item = map_get(q->items, key);
    size_t len = strlen(key) + 1;
    int r;

    if (!item) {
        item = calloc(1, sizeof(*item) + len);
        if (!item)
            return -ENOMEM;
        memcpy(item->key, key, len);
        list_init(&item->link);
        r = map_put(q->items, key, item);
        if (r < 0) {
            free(item);
            return r;
        }
    }
    *ret = item;
    return 0;
}

static void place(struct workqueue *q, struct item *item)
{
    list_remove(&item->link);
    if (item->processing)
        return;
    if (item->ready)
        list_append(&q->ready, &item->link);
    else if (item->later)
        list_append(&q->later, &item->link);
}

int workqueue_add(struct workqueue *q, const char *key)
{
    struct item *item;
    int r = find_or_add(q, key, &item);

    if (r < 0 || item->ready)
        return r;
    q->waiting += !item->later;
    item->ready = true;
    item->later = false;
    place(q, item);
    return 0;
}

int workqueue_add_at(struct workqueue *q, const char *key, usec_t at)
{
    struct item *item;
    int r = find_or_add(q, key, &item);

    if (r < 0 || item->ready || (item->later && item->at <= at))
        return r;
    q->waiting += !item->later;
    item->later = true;
    item->at = at;
    place(q, item);
    return 0;
}

void workqueue_due(struct workqueue *q, usec_t now)
{
    list_for_each (l, &q->later) {
        struct item *item = list_entry(l, struct item, link);

        if (item->at > now)
            continue;
        item->ready = true;
        item->later = false;
        place(q, item);
    }
}

static struct item *first_due(struct workqueue *q, usec_t now)
{
    if (!list_empty(&q->ready))
        return list_entry(q->ready.next, struct item, link);
    list_for_each (l, &q->later) {
        struct item *item = list_entry(l, struct item, link);

        if (item->at <= now)
            return item;
    }
    return NULL;
}

const char *workqueue_take(struct workqueue *q, usec_t now)
{
    struct item *item = first_due(q, now);

    if (!item)
        return NULL;
    list_remove(&item->link);
    item->ready = item->later = false;
    item->processing = true;
    q->waiting--;
    return item->key;
}

void workqueue_done(struct workqueue *q, const char *key)
{
    struct item *item = map_get(q->items, key);

    if (!item)
        return;
    item->processing = false;
    if (item->ready || item->later)
        place(q, item);
    else
        map_remove(q->items, key);
}

usec_t workqueue_next_at(const struct workqueue *q)
{
    usec_t next = USEC_INFINITY;

    if (!list_empty(&q->ready))
        return 0;
    list_for_each (l, &q->later) {
        const struct item *item = list_entry(l, struct item, link);

        if (item->at < next)
            next = item->at;
    }
    return next;
}

size_t workqueue_length(const struct workqueue *q)
{
    return q->waiting;
}
