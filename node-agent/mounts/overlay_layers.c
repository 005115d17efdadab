/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See overlay_layers.h.
 */
#include "node-agent/mounts/overlay_layers.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "node-agent/mounts/mountinfo.h"

void overlay_layers_free(struct overlay_layers *layers)
{
    for (size_t i = 0; i < layers->n; i++)
        free(layers->paths[i]);
    free(layers->paths);
    *layers = (struct overlay_layers){.n = 0};
}

/* Absolute, with no component that is "", "." or "..": it names one place, and is that place's whole name. */
static bool is_plain_path(const char *path)
{
    size_t len;

    if (path[0] != '/' || strlen(path) >= PATH_MAX)
        return false;
    for (const char *s = path + 1;; s += len + 1) {
        len = strcspn(s, "/");
        if (len == 0 || (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        if (!s[len])
            return true;
    }
}

static size_t digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* "12/fs" */
static bool is_snapshot(const char *text)
{
    size_t n = digits(text);

    return n > 0 && n < 20 && strcmp(text + n, "/fs") == 0;
}

/* The length of what comes before "34/fs" in an absolute path that ends so; 0: it does not. */
static size_t snapshots_len(const char *upper)
{
    const char *slash = upper ? strrchr(upper, '/') : NULL;

    while (slash && slash > upper && slash[-1] != '/')
        slash--;
    if (!slash || slash == upper || !is_plain_path(upper) || !is_snapshot(slash))
        return 0;
    return (size_t)(slash - upper);
}

static int add(struct overlay_layers *l, const char *path, const char *upper, struct err *err)
{
    size_t base = path[0] == '/' ? 0 : snapshots_len(upper);
    char *full;

    if (path[0] != '/' && (base == 0 || !is_snapshot(path)))
        return err_say(err, EINVAL,
                "layer \"%.200s\" is not an absolute path, and the runtime's way to shorten it is not known",
                path);
    if (l->n >= LIMIT_LAYERS)
        return err_say(err, E2BIG, "the image has more than %d layers", LIMIT_LAYERS);
    full = malloc(base + strlen(path) + 1);
    if (!full)
        return err_set(err, ENOMEM, "cannot remember a layer");
    if (base > 0)
        memcpy(full, upper, base);
    memcpy(full + base, path, strlen(path) + 1);
    l->paths[l->n++] = full;
    if (!is_plain_path(full))
        return err_say(err, EINVAL, "layer \"%.200s\" is no plain path", full);
    return 0;
}

/* Cuts the next layer out of a lowerdir= list, in place: up to a bare ":". */
static char *next_layer(char **rest)
{
    char *start = *rest, *to = start, *s = start;

    if (!start)
        return NULL;
    for (; *s && *s != ':'; s++) {
        if (*s == '\\' && s[1])
            s++;
        *to++ = *s;
    }
    *rest = *s ? s + 1 : NULL;
    *to = '\0';
    return start;
}

static int add_list(struct overlay_layers *l, char *list, const char *upper, struct err *err)
{
    char *layer;
    int r = 0;

    while (r == 0 && (layer = next_layer(&list)))
        r = layer[0] ? add(l, layer, upper, err)
                     : err_say(err, EINVAL, "the root has data-only layers, which are not supported");
    return r;
}

static const char *value_of(const char *option, const char *name)
{
    size_t len = strlen(name);

    return strncmp(option, name, len) == 0 && option[len] == '=' ? option + len + 1 : NULL;
}

/* One option, already cut off. */
static int take_option(struct overlay_layers *l, char *option, const char *upper, struct err *err)
{
    char *list = (char *)(uintptr_t)value_of(option, "lowerdir");
    const char *one = value_of(option, "lowerdir+");

    if (value_of(option, "datadir+"))
        return err_say(err, EINVAL, "the root has data-only layers, which are not supported");
    if (list && mountinfo_unescape(list))
        return add_list(l, list, upper, err);
    if (list)
        return err_say(err, EINVAL, "the list of layers has a bad escape");
    if (!one)
        return 0;
    if (!mountinfo_unescape(option))
        return err_say(err, EINVAL, "a layer has a bad escape");
    return add(l, one, upper, err);
}

/* A copy of the upper directory's path, by which relative layers are understood; "" where it is not known. NULL: no
 * memory. */
static char *find_upper(const char *options)
{
    const char *at = strstr(options, ",upperdir=");
    char *upper =
            at ? strndup(at + strlen(",upperdir="), strcspn(at + 1, ",") - strlen("upperdir=")) : strdup("");

    if (upper && !mountinfo_unescape(upper))
        upper[0] = '\0';
    return upper;
}

int overlay_layers_parse(const char *super_options, struct overlay_layers *ret, struct err *err)
{
    _cleanup_overlay_layers_ struct overlay_layers l = {.n = 0};
    _cleanup_free_ char *copy = strdup(super_options), *upper = find_upper(super_options);
    char *rest = copy, *option;
    int r = 0;

    l.paths = calloc(LIMIT_LAYERS, sizeof(*l.paths));
    if (!copy || !upper || !l.paths)
        return err_set(err, ENOMEM, "cannot read the layers of a root");
    while (r == 0 && (option = strsep(&rest, ",")))
        r = take_option(&l, option, upper, err);
    if (r == 0 && l.n == 0)
        r = err_say(err, EINVAL, "the root has no layers");
    if (r < 0)
        return r;
    *ret = l;
    l = (struct overlay_layers){.n = 0};
    return 0;
}
