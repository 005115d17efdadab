/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree below the root mount is walked through ids alone; paths are compared only where two names for one
 * place are meant (a mount point with a rule's path, a mount with what is stacked on it) or where one place
 * is inside another. The walk recurses only into mounts that are not carried, and a table of ids that went
 * round in a circle ends it at LIMIT_MOUNTS entries.
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

/* On the same mount. The root of a whole namespace is listed as its own parent, and is nobody's sibling. */
static bool are_siblings(const struct mount *a, const struct mount *b)
{
    return a != b && a->parent == b->parent && a->id != a->parent && b->id != b->parent;
}

/* A sibling's mount point is on the way to this one's: what was mounted first is hidden now. */
static bool is_hidden(const struct mountinfo *mi, const struct mount *m)
{
    for (size_t i = 0; i < mi->n; i++) {
        const struct mount *s = &mi->mounts[i];

        if (are_siblings(s, m) && path_is_below(s->path, m->path))
            return true;
    }
    return false;
}

static bool has_twin(const struct mountinfo *mi, const struct mount *m)
{
    for (size_t i = 0; i < mi->n; i++) {
        const struct mount *s = &mi->mounts[i];

        if (are_siblings(s, m) && strcmp(s->path, m->path) == 0)
            return true;
    }
    return false;
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
    struct carry_list *list;
    const struct mount **transparent; /* mounts whose children are still to be looked at */
    size_t n_transparent;
};

static int select_one(struct selection *s, const struct mount *m, struct err *err)
{
    const struct mount *top;

    if (is_hidden(s->mi, m))
        return 0;
    if (has_twin(s->mi, m))
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
    if (!transparent || !list.mounts)
        return err_set(err, ENOMEM, "cannot list mounts");
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

int carry_check_places(const struct carry_list *list, const char *const *places, struct err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        for (size_t j = 0; j < list->n; j++) {
            if (i == j || (!path_is_below(places[i], places[j]) && strcmp(places[i], places[j]) != 0))
                continue;
            return err_say(err, EEXIST,
                    "a link in the preserved root leads %s into the place of %s, which would hide it",
                    list->mounts[j]->path, list->mounts[i]->path);
        }
    }
    return 0;
}
