/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree below the root mount is walked through ids alone; paths are compared only where two names for one
 * place are meant (a mount point with a rule's path, a mount with what is stacked on it) or where one place
 * is inside another. The walk recurses only into mounts that are not carried, and a table of ids that went
 * round in a circle ends it at LIMIT_MOUNTS entries.
 *
 * "Inside another" is found by sorting: in an order where "/" comes before every other byte, what is below a
 * path follows it directly. Comparing all with all took a second for the most mounts there may be.
 */
#include "node-agent/mounts/carry.h"

#include <string.h>

#include "common/base/limits.h"

/* inner is below outer (not equal). Both canonical. */
static bool path_is_below(const char *outer, const char *inner)
{
    size_t n = strlen(outer);

    if (strcmp(outer, "/") == 0)
        return strcmp(inner, "/") != 0;
    return strncmp(outer, inner, n) == 0 && inner[n] == '/';
}

static bool path_is_listed(const char *path, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(path, list[i]) == 0)
            return true;
    return false;
}

static bool is_always_carried(const char *path)
{
    static const char *const places[] = {"/proc", "/dev", "/sys"};

    return path_is_listed(path, places, ARRAY_SIZE(places));
}

static bool is_anonymous_volume(const char *path, const struct carry_rules *rules)
{
    return !is_always_carried(path) && path_is_listed(path, rules->image_volumes, rules->n_image_volumes) &&
           !path_is_listed(path, rules->own_mounts, rules->n_own_mounts);
}

bool carry_is_runtime_file(
        const char *path, const char *const *files, size_t n_files, const struct carry_rules *rules)
{
    return path_is_listed(path, files, n_files) &&
           !path_is_listed(path, rules->own_mounts, rules->n_own_mounts);
}

/* strcmp, with "/" before every other byte. */
static int compare_paths(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    if (*a == *b)
        return 0;
    if (*a == '/' && *b)
        return -1;
    if (*b == '/' && *a)
        return 1;
    return (unsigned char)*a - (unsigned char)*b;
}

/* A heap sort, because this runs in a worker, in a tenant's namespace: glibc's qsort asks the machine for its
 * memory first, and before 2.36 it opened /proc/meminfo for that. */
static void sink(const void **a, size_t at, size_t n, int (*compare)(const void *, const void *))
{
    for (;;) {
        size_t child = 2 * at + 1;
        const void *moved = a[at];

        if (child >= n)
            return;
        if (child + 1 < n && compare(a[child], a[child + 1]) < 0)
            child++;
        if (compare(moved, a[child]) >= 0)
            return;
        a[at] = a[child];
        a[child] = moved;
        at = child;
    }
}

static void sort(const void **a, size_t n, int (*compare)(const void *, const void *))
{
    for (size_t i = n / 2; i-- > 0;)
        sink(a, i, n, compare);
    for (size_t end = n; end-- > 1;) {
        const void *largest = a[0];

        a[0] = a[end];
        a[end] = largest;
        sink(a, 0, end, compare);
    }
}

static int compare_mounts(const void *a, const void *b)
{
    const struct mount *x = a, *y = b;

    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    return compare_paths(x->path, y->path);
}

/* Of mounts on one mount: a place below another's is hidden by it, whatever was mounted first. Two side by
 * side at one place are none that the kernel makes. */
enum lie { LIE_OPEN, LIE_HIDDEN, LIE_TWIN };

static int find_hidden(const struct mountinfo *mi, enum lie *lies, struct err *err)
{
    _cleanup_free_ const void **sorted = calloc(mi->n + 1, sizeof(*sorted));
    const struct mount *open = NULL;
    size_t n = 0;

    if (!sorted)
        return err_set(err, ENOMEM, "cannot list mounts");
    /* The root of a whole namespace is listed as its own parent, and lies beside nobody. */
    for (size_t i = 0; i < mi->n; i++)
        if (mi->mounts[i].id != mi->mounts[i].parent)
            sorted[n++] = &mi->mounts[i];
    sort(sorted, n, compare_mounts);
    for (size_t i = 0; i < n; i++) {
        const struct mount *m = sorted[i];

        if (!open || open->parent != m->parent ||
                (!path_is_below(open->path, m->path) && strcmp(open->path, m->path) != 0))
            open = m;
        else
            lies[m - mi->mounts] = path_is_below(open->path, m->path) ? LIE_HIDDEN : LIE_TWIN;
    }
    return 0;
}

/* Is m carried, itself or with one that it lies in? */
static bool is_carried(const struct mountinfo *mi, const struct mount *m, const bool *carried)
{
    for (size_t i = 0; m && i <= mi->n; i++) {
        if (carried[m - mi->mounts])
            return true;
        m = mountinfo_by_id(mi, m->parent);
    }
    return false;
}

static int refuse_unbindable(const struct mountinfo *mi, const struct carry_list *list, struct err *err)
{
    _cleanup_free_ bool *carried = calloc(mi->n + 1, sizeof(*carried));

    if (!carried)
        return err_set(err, ENOMEM, "cannot list mounts");
    for (size_t i = 0; i < list->n; i++)
        carried[list->mounts[i] - mi->mounts] = true;
    for (size_t i = 0; i < mi->n; i++) {
        const struct mount *m = &mi->mounts[i];

        if (m->unbindable && is_carried(mi, m, carried))
            return err_say(err, EINVAL, "the mount at %s is unbindable and cannot be carried", m->path);
    }
    return 0;
}

struct selection {
    const struct mountinfo *mi;
    const struct carry_rules *rules;
    const enum lie *lies; /* of each mount of the table */
    struct carry_list *list;
    const struct mount **transparent; /* mounts whose children are still to be looked at */
    size_t n_transparent;
};

static int select_one(struct selection *s, const struct mount *m, struct err *err)
{
    const struct mount *top;

    if (s->lies[m - s->mi->mounts] == LIE_HIDDEN)
        return 0;
    if (s->lies[m - s->mi->mounts] == LIE_TWIN)
        return err_say(err, EBADMSG, "two mounts lie side by side at %s", m->path);
    top = mountinfo_topmost(s->mi, m);
    if (s->list->n + s->n_transparent > s->mi->n)
        return err_say(err, EBADMSG, "the mounts are no tree");
    if (is_anonymous_volume(top->path, s->rules))
        s->transparent[s->n_transparent++] = top;
    else
        s->list->mounts[s->list->n++] = top;
    return 0;
}

static int select_children(struct selection *s, const struct mount *parent, struct err *err)
{
    for (size_t i = 0; i < s->mi->n; i++) {
        const struct mount *m = &s->mi->mounts[i];
        int r;

        if (m->parent != parent->id || m == parent)
            continue;
        r = select_one(s, m, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int carry_select(const struct mountinfo *mi, uint64_t root_id, const struct carry_rules *rules,
        struct carry_list *ret, struct err *err)
{
    _cleanup_free_ const struct mount **transparent = NULL;
    _cleanup_free_ enum lie *lies = calloc(mi->n + 1, sizeof(*lies));
    _cleanup_(carry_list_free) struct carry_list list = {.n = 0};
    struct selection s = {.mi = mi, .rules = rules, .list = &list};
    const struct mount *root = mountinfo_by_id(mi, root_id);
    int r;

    if (!root || strcmp(root->path, "/") != 0)
        return err_say(err, EBADMSG, "the container's root is not among its mounts");
    if (mountinfo_topmost(mi, root) != root)
        return err_say(err, EBUSY, "something is mounted over the container's root");

    transparent = calloc(mi->n + 2, sizeof(struct mount *));
    list.mounts = calloc(mi->n + 1, sizeof(struct mount *));
    if (!transparent || !list.mounts || !lies)
        return err_set(err, ENOMEM, "cannot list mounts");
    r = find_hidden(mi, lies, err);
    if (r < 0)
        return r;
    s.lies = lies;
    s.transparent = transparent;
    s.transparent[s.n_transparent++] = root;
    for (size_t i = 0; i < s.n_transparent; i++) {
        r = select_children(&s, s.transparent[i], err);
        if (r < 0)
            return r;
    }
    r = refuse_unbindable(mi, &list, err);
    if (r < 0)
        return r;
    *ret = (struct carry_list){.n = list.n, .mounts = take_ptr(list.mounts)};
    return 0;
}

void carry_list_free(struct carry_list *list)
{
    free(list->mounts);
    *list = (struct carry_list){.n = 0, .mounts = NULL};
}

bool carry_covers(const struct carry_list *list, const char *path)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->mounts[i]->path, path) == 0 || path_is_below(list->mounts[i]->path, path))
            return true;
    return false;
}

struct placed {
    const char *place;
    const char *path;
};

static int compare_placed(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    return compare_paths(x->place, y->place);
}

int carry_check_places(const struct carry_list *list, const char *const *places, struct err *err)
{
    _cleanup_free_ struct placed *all = calloc(list->n + 1, sizeof(*all));
    _cleanup_free_ const void **sorted = calloc(list->n + 1, sizeof(*sorted));

    if (!all || !sorted)
        return err_set(err, ENOMEM, "cannot list mounts");
    for (size_t i = 0; i < list->n; i++) {
        all[i] = (struct placed){.place = places[i], .path = list->mounts[i]->path};
        sorted[i] = &all[i];
    }
    sort(sorted, list->n, compare_placed);
    for (size_t i = 0; i + 1 < list->n; i++) {
        const struct placed *outer = sorted[i], *inner = sorted[i + 1];

        if (!path_is_below(outer->place, inner->place) && strcmp(outer->place, inner->place) != 0)
            continue;
        return err_say(err, EEXIST,
                "a link in the preserved root leads %s into the place of %s, which would hide it",
                inner->path, outer->path);
    }
    return 0;
}
