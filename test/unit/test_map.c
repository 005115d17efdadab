/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/map, siphash: owning values, order of insertion, the cap, growth. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/siphash.h"

static int freed;

static void count_free(void *value)
{
    freed += *(int *)value;
}

/* The keys in the map's order, joined. */
static const char *keys(struct map *m)
{
    static char joined[256];

    joined[0] = '\0';
    map_for_each (e, m)
        strncat(joined, e->key, sizeof(joined) - strlen(joined) - 1);
    return joined;
}

Test(map, siphash_gives_the_published_vector)
{
    /* Appendix A of the paper: key 00 01 ... 0f, message 00 01 ... 0e. */
    const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    const char message[15] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};

    cr_assert_eq(siphash(key, message, sizeof(message)), 0xa129ca6149be45e5u);
}

Test(map, put_get_remove)
{
    int a = 1, b = 2;
    _cleanup_map_ struct map *m = map_new(10, NULL);

    cr_assert_null(map_get(m, "a"));
    cr_assert_eq(map_put(m, "a", &a), 0);
    cr_assert_eq(map_put(m, "b", &b), 0);
    cr_assert_eq(map_get(m, "a"), &a);
    cr_assert_eq(map_get(m, "b"), &b);
    cr_assert(map_has(m, "a"));
    cr_assert_not(map_has(m, "ab"));
    cr_assert_not(map_has(m, ""));
    cr_assert_eq(map_size(m), 2);
    map_remove(m, "a");
    map_remove(m, "a");
    cr_assert_not(map_has(m, "a"));
    cr_assert_eq(map_get(m, "b"), &b);
    cr_assert_eq(map_size(m), 1);
}

Test(map, values_are_freed_once)
{
    struct map *m = map_new(10, count_free);
    int one = 1, ten = 10, hundred = 100, thousand = 1000;

    freed = 0;
    cr_assert_eq(map_put(m, "x", &one), 0);
    cr_assert_eq(map_put(m, "x", &ten), 0);
    cr_assert_eq(freed, 1, "the value that was replaced");
    cr_assert_eq(map_put(m, "x", &ten), 0);
    cr_assert_eq(freed, 1, "the same value put again is not freed");
    cr_assert_eq(map_put(m, "y", &hundred), 0);
    cr_assert_eq(map_put(m, "z", &thousand), 0);
    cr_assert_eq(map_steal(m, "y"), &hundred);
    cr_assert_null(map_steal(m, "y"));
    cr_assert_eq(freed, 1, "a stolen value is the thief's");
    map_remove(m, "x");
    cr_assert_eq(freed, 11);
    cr_assert_null(map_free(m));
    cr_assert_eq(freed, 1011);
    cr_assert_null(map_free(NULL));
}

Test(map, the_cap_holds_and_the_value_stays_the_callers)
{
    int one = 1, ten = 10;
    _cleanup_map_ struct map *m = map_new(2, count_free);

    freed = 0;
    cr_assert_eq(map_put(m, "a", &one), 0);
    cr_assert_eq(map_put(m, "b", &one), 0);
    cr_assert_eq(map_put(m, "c", &ten), -E2BIG);
    cr_assert_eq(freed, 0);
    cr_assert_eq(map_size(m), 2);
    cr_assert_eq(map_put(m, "b", &ten), 0, "replacing needs no room");
    map_remove(m, "a");
    cr_assert_eq(map_put(m, "c", &ten), 0);
}

Test(map, order_is_that_of_insertion)
{
    _cleanup_map_ struct map *m = map_new(100, NULL);
    static const char *const names[] = {"q", "w", "e", "r", "t", "y"};

    cr_assert_str_eq(keys(m), "");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        cr_assert_eq(map_put(m, names[i], NULL), 0);
    cr_assert_str_eq(keys(m), "qwerty");
    cr_assert_eq(map_put(m, "w", NULL), 0);
    cr_assert_str_eq(keys(m), "qwerty", "replacing keeps the place");
    map_remove(m, "q");
    cr_assert_eq(map_put(m, "q", NULL), 0);
    cr_assert_str_eq(keys(m), "wertyq");
    cr_assert(map_has(m, "q"), "a NULL value is a value");
}

Test(map, the_current_entry_may_be_removed_while_walking)
{
    _cleanup_map_ struct map *m = map_new(100, NULL);
    char key[2] = "a";
    int seen = 0;

    for (; key[0] <= 'z'; key[0]++)
        cr_assert_eq(map_put(m, key, NULL), 0);
    map_for_each (e, m) {
        seen++;
        if (e->key[0] % 2)
            map_remove(m, e->key); /* its own copy of the key */
    }
    cr_assert_eq(seen, 26);
    cr_assert_str_eq(keys(m), "bdfhjlnprtvxz");
}

Test(map, many_entries)
{
    enum { MANY = 5000 };
    _cleanup_map_ struct map *m = map_new(MANY, NULL);
    static int values[MANY];
    char key[32];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(key, sizeof(key), "namespace/name-%d", i);
        cr_assert_eq(map_put(m, key, &values[i]), 0);
    }
    for (int i = 0; i < MANY; i += 2) {
        (void)snprintf(key, sizeof(key), "namespace/name-%d", i);
        map_remove(m, key);
    }
    cr_assert_eq(map_size(m), MANY / 2);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(key, sizeof(key), "namespace/name-%d", i);
        cr_assert_eq(map_get(m, key), i % 2 ? &values[i] : NULL);
    }
}

Test(map, keys_are_copied)
{
    _cleanup_map_ struct map *m = map_new(10, NULL);
    char key[] = "key";
    int v = 1;

    cr_assert_eq(map_put(m, key, &v), 0);
    key[0] = 'x';
    cr_assert_eq(map_get(m, "key"), &v);
    cr_assert_null(map_get(m, key));
}
