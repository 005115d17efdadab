/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/list: order, removal while walking, removal twice. */
#include <criterion/criterion.h>

#include "common/base/list.h"

struct item {
    int value;
    struct list link;
};

static int sum_in_order(const struct list *head)
{
    int sum = 0;

    list_for_each (it, head)
        sum = sum * 10 + list_entry(it, struct item, link)->value;
    return sum;
}

Test(list, keeps_the_order)
{
    struct list head = LIST_INIT(head);
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};

    cr_assert(list_empty(&head));
    cr_assert_eq(sum_in_order(&head), 0);
    for (int i = 0; i < 3; i++)
        list_append(&head, &items[i].link);
    cr_assert_not(list_empty(&head));
    cr_assert_eq(sum_in_order(&head), 123);
    list_remove(&items[1].link);
    cr_assert_eq(sum_in_order(&head), 13);
    list_append(&head, &items[1].link);
    cr_assert_eq(sum_in_order(&head), 132);
}

Test(list, the_current_node_may_be_removed)
{
    struct list head = LIST_INIT(head);
    struct item items[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    int seen = 0;

    for (int i = 0; i < 4; i++)
        list_append(&head, &items[i].link);
    list_for_each (it, &head) {
        seen++;
        list_remove(it);
    }
    cr_assert_eq(seen, 4);
    cr_assert(list_empty(&head));
}

Test(list, removal_may_be_repeated)
{
    struct list head = LIST_INIT(head);
    struct item a = {.value = 1}, b = {.value = 2};

    list_append(&head, &a.link);
    list_append(&head, &b.link);
    list_remove(&a.link);
    list_remove(&a.link);
    cr_assert_eq(sum_in_order(&head), 2);
    cr_assert(list_empty(&a.link));
}
