/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list with a head. An initialised node that is in no list points to itself, so
 * list_remove may be called twice.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/cleanup.h"

struct list {
    struct list *next;
    struct list *prev;
};

#define LIST_INIT(name)                  \
    {                                    \
        .next = &(name), .prev = &(name) \
    }

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)

/* The body may remove the current node (next is read ahead), and nothing else. */
#define list_for_each(it, head)                                               \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
            it = it##_next, it##_next = it->next)
