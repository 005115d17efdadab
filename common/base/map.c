/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash map (map.h): separate chaining, a power of two of buckets, as many buckets as entries at most; a
 * list through all entries keeps their order. The key of the hash is drawn once per process.
 */
#include "common/base/map.h"

#include <stdint.h>
#include <string.h>

#include "common/base/random.h"
#include "common/base/siphash.h"

enum { FIRST_BUCKETS = 16 };

struct map {
    size_t max;
    void (*free_value)(void *);
    size_t size;
    size_t n_buckets; /* a power of two */
    struct map_entry **buckets;
    struct list order;
};

static uint64_t hash_key(const char *key)
{
    static uint64_t secret[2];

    if (secret[0] == 0) {
        secret[1] = random_u64();
        secret[0] = random_u64() | 1;
    }
    return siphash(secret, key, strlen(key));
}

struct map *map_new(size_t max, void (*free_value)(void *))
{
    struct map *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->buckets = calloc(FIRST_BUCKETS, sizeof(struct map_entry *));
    if (!m->buckets) {
        free(m);
        return NULL;
    }
    m->n_buckets = FIRST_BUCKETS;
    m->max = max;
    m->free_value = free_value;
    list_init(&m->order);
    return m;
}

static void entry_free(struct map *m, struct map_entry *e)
{
    if (m->free_value)
        m->free_value(e->value);
    free(e);
}

struct map *map_free(struct map *m)
{
    int saved = errno;

    if (!m)
        return NULL;
    list_for_each (node, &m->order)
        entry_free(m, list_entry(node, struct map_entry, order));
    free(m->buckets);
    free(m);
    errno = saved;
    return NULL;
}

/* The link that points to the entry of that key, or to the NULL where it would go. */
static struct map_entry **find_link(const struct map *m, const char *key, uint64_t hash)
{
    struct map_entry **link = &m->buckets[hash & (m->n_buckets - 1)];

    while (*link && ((*link)->hash != hash || strcmp((*link)->key, key) != 0))
        link = &(*link)->chain;
    return link;
}

static int grow(struct map *m)
{
    size_t n = m->n_buckets * 2;
    struct map_entry **buckets = calloc(n, sizeof(struct map_entry *));

    if (!buckets)
        return -ENOMEM;
    list_for_each (node, &m->order) {
        struct map_entry *e = list_entry(node, struct map_entry, order);
        struct map_entry **link = &buckets[e->hash & (n - 1)];

        e->chain = *link;
        *link = e;
    }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
    return 0;
}

static void replace_value(struct map *m, struct map_entry *e, void *value)
{
    void *old = e->value;

    e->value = value;
    if (m->free_value && old != value)
        m->free_value(old);
}

int map_put(struct map *m, const char *key, void *value)
{
    uint64_t hash = hash_key(key);
    size_t len = strlen(key) + 1;
    struct map_entry *e = *find_link(m, key, hash), **link;

    if (e) {
        replace_value(m, e, value);
        return 0;
    }
    if (m->size >= m->max)
        return -E2BIG;
    if (m->size >= m->n_buckets && grow(m) < 0)
        return -ENOMEM;
    e = malloc(sizeof(*e) + len);
    if (!e)
        return -ENOMEM;
    memcpy(e->key, key, len);
    e->hash = hash;
    e->value = value;
    link = &m->buckets[hash & (m->n_buckets - 1)];
    e->chain = *link;
    *link = e;
    list_append(&m->order, &e->order);
    m->size++;
    return 0;
}

void *map_get(const struct map *m, const char *key)
{
    const struct map_entry *e = *find_link(m, key, hash_key(key));

    return e ? e->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
    return *find_link(m, key, hash_key(key)) != NULL;
}

/* Takes the entry out of the map. NULL when absent. */
static struct map_entry *detach(struct map *m, const char *key)
{
    struct map_entry **link = find_link(m, key, hash_key(key)), *e = *link;

    if (!e)
        return NULL;
    *link = e->chain;
    list_remove(&e->order);
    m->size--;
    return e;
}

void map_remove(struct map *m, const char *key)
{
    struct map_entry *e = detach(m, key);

    if (e)
        entry_free(m, e);
}

void *map_steal(struct map *m, const char *key)
{
    struct map_entry *e = detach(m, key);
    void *value;

    if (!e)
        return NULL;
    value = e->value;
    free(e);
    return value;
}

size_t map_size(const struct map *m)
{
    return m->size;
}

struct list *map_order(struct map *m)
{
    return &m->order;
}
