/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash map from strings to pointers. Keys are copied; values belong to the caller unless a free function is
 * given. The hash is keyed at random per process (SipHash), since keys come from users. Iteration order is
 * the insertion order, so that what the program does with its objects is repeatable.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"

struct map;

struct map_entry {
    struct list order; /* internal */
    struct map_entry *chain; /* internal */
    uint64_t hash; /* internal */
    void *value;
    char key[];
};

/* max: the most entries it ever holds. free_value may be NULL. NULL when out of memory. */
struct map *map_new(size_t max, void (*free_value)(void *));
struct map *map_free(struct map *m); /* frees all; returns NULL; accepts NULL */
DEFINE_CLEANUP_FUNC(struct map *, map_free);
#define _cleanup_map_ _cleanup_(map_freep)

/* Adds or replaces (the old value is freed). -ENOMEM; -E2BIG when full. On failure the value stays the
 * caller's. */
int map_put(struct map *m, const char *key, void *value) _must_check_;
void *map_get(const struct map *m, const char *key); /* NULL when absent */
bool map_has(const struct map *m, const char *key);
void map_remove(struct map *m, const char *key); /* frees the value; absent: nothing */
void *map_steal(struct map *m, const char *key); /* removes without freeing, returns the value or NULL */
size_t map_size(const struct map *m);
struct list *map_order(struct map *m); /* for map_for_each only */

/* The body may remove the current entry, and nothing else. */
#define map_for_each(e, m)                                               \
    for (struct map_entry *e = (struct map_entry *)map_order(m)->next,   \
                          *e##_next = (struct map_entry *)e->order.next; \
            (struct list *)e != map_order(m); e = e##_next, e##_next = (struct map_entry *)e->order.next)
