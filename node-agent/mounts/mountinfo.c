/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of mountinfo:
 *
 *     36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
 *     id parent dev root path options [optional...] - type source super-options
 *
 * Fields are parted by exactly one space; the kernel writes space, tab, newline and backslash in names as
 * three octal digits. The source may be empty (a mount made without one). The super options are the rest of
 * the line, since some file systems write them unescaped.
 *
 * The text is copied once, cut and unescaped in place (unescaping only shortens); the strings point into it.
 */
#include "node-agent/mounts/mountinfo.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/base/num.h"

/* Cuts the next field off *rest. NULL when the line is used up. */
static char *next_field(char **rest)
{
    char *field = *rest, *space;

    if (!field)
        return NULL;
    space = strchr(field, ' ');
    if (space)
        *space = '\0';
    *rest = space ? space + 1 : NULL;
    return field;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* \040 and its like. False for an escape that the kernel does not write: a bare or cut backslash, or a byte
 * above 0377, or a NUL. */
bool mountinfo_unescape(char *s)
{
    char *to = s;

    for (; *s; s++, to++) {
        unsigned value;

        if (*s != '\\') {
            *to = *s;
            continue;
        }
        if (!is_octal(s[1]) || !is_octal(s[2]) || !is_octal(s[3]))
            return false;
        value = (unsigned)(s[1] - '0') << 6 | (unsigned)(s[2] - '0') << 3 | (unsigned)(s[3] - '0');
        if (value == 0 || value > 0xff)
            return false;
        *to = (char)value;
        s += 3;
    }
    *to = '\0';
    return true;
}

static bool parse_device(char *field)
{
    char *colon = field ? strchr(field, ':') : NULL;
    uint64_t n;

    if (!colon)
        return false;
    *colon = '\0';
    return num_parse_u64(field, 0, UINT32_MAX, &n) == 0 && num_parse_u64(colon + 1, 0, UINT32_MAX, &n) == 0;
}

/* Reads optional fields up to the lone "-"; unknown ones are skipped, as proc_pid_mountinfo(5) asks. */
static bool parse_optional(char **rest, struct mount *m)
{
    char *field;

    while ((field = next_field(rest))) {
        if (strcmp(field, "-") == 0)
            return true;
        if (strncmp(field, "shared:", 7) == 0)
            m->shared = true;
        else if (strncmp(field, "master:", 7) == 0)
            m->slave = true;
        else if (strcmp(field, "unbindable") == 0)
            m->unbindable = true;
    }
    return false;
}

/* The text of a path must fit what the kernel can be asked with again. */
static bool is_mount_path(const char *path)
{
    return path[0] == '/' && strlen(path) < 4096;
}

/* Fills m from line. Returns NULL, or what is wrong with it. */
static const char *parse_line(char *line, struct mount *m)
{
    char *rest = line, *id, *parent, *device, *root, *path, *options, *type, *source;

    id = next_field(&rest);
    parent = next_field(&rest);
    if (!id || !parent || num_parse_u64(id, 0, INT64_MAX, &m->id) < 0 ||
            num_parse_u64(parent, 0, INT64_MAX, &m->parent) < 0)
        return "bad mount id";
    device = next_field(&rest);
    if (!parse_device(device))
        return "bad device";
    root = next_field(&rest);
    path = next_field(&rest);
    options = next_field(&rest);
    if (!root || !*root || !path || !options || !*options)
        return "too few fields";
    if (!parse_optional(&rest, m))
        return "no separator";
    type = next_field(&rest);
    source = next_field(&rest);
    if (!type || !*type || !source || !rest)
        return "too few fields after the separator";
    if (!mountinfo_unescape(root) || !mountinfo_unescape(path) || !mountinfo_unescape(type) ||
            !mountinfo_unescape(source))
        return "bad escape";
    if (!is_mount_path(path))
        return "bad mount point";
    m->root = root;
    m->path = path;
    m->options = options;
    m->fs_type = type;
    m->source = source;
    m->super_options = rest;
    return NULL;
}

static size_t count_lines(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

static int parse_lines(struct mountinfo *mi, struct err *err)
{
    char *line = mi->text, *end;

    for (size_t i = 0; i < mi->n; i++, line = end + 1) {
        const char *wrong;

        end = strchr(line, '\n');
        if (!end)
            return err_say(err, EBADMSG, "mountinfo line %zu: cut off", i + 1);
        *end = '\0';
        wrong = parse_line(line, &mi->mounts[i]);
        if (wrong)
            return err_say(err, EBADMSG, "mountinfo line %zu: %s", i + 1, wrong);
    }
    return 0;
}

int mountinfo_parse(const char *text, size_t len, struct mountinfo **ret, struct err *err)
{
    _cleanup_mountinfo_ struct mountinfo *mi = NULL;
    size_t n;
    int r;

    if (len > LIMIT_MOUNTINFO)
        return err_say(err, E2BIG, "mountinfo has more than %zu bytes", LIMIT_MOUNTINFO);
    n = count_lines(text, len);
    if (n > LIMIT_MOUNTS)
        return err_say(
                err, E2BIG, "there are %zu mounts, more than the %d that are handled", n, LIMIT_MOUNTS);
    if (len > 0 && (text[len - 1] != '\n' || memchr(text, '\0', len)))
        return err_say(err, EBADMSG, "mountinfo is cut off or not text");

    mi = calloc(1, sizeof(*mi));
    if (!mi)
        return err_set(err, ENOMEM, "cannot read mountinfo");
    mi->n = n;
    mi->text = malloc(len + 1);
    mi->mounts = calloc(n + 1, sizeof(*mi->mounts));
    if (!mi->text || !mi->mounts)
        return err_set(err, ENOMEM, "cannot read mountinfo");
    memcpy(mi->text, text, len);
    mi->text[len] = '\0';
    r = parse_lines(mi, err);
    if (r < 0)
        return r;
    *ret = take_ptr(mi);
    return 0;
}

struct mountinfo *mountinfo_free(struct mountinfo *mi)
{
    if (mi) {
        free(mi->mounts);
        free(mi->text);
        free(mi);
    }
    return NULL;
}

const struct mount *mountinfo_by_id(const struct mountinfo *mi, uint64_t id)
{
    for (size_t i = 0; i < mi->n; i++)
        if (mi->mounts[i].id == id)
            return &mi->mounts[i];
    return NULL;
}

/* What is mounted on the very root of m: a child at m's own path. */
static const struct mount *stacked_on(const struct mountinfo *mi, const struct mount *m)
{
    for (size_t i = 0; i < mi->n; i++) {
        const struct mount *c = &mi->mounts[i];

        if (c != m && c->parent == m->id && strcmp(c->path, m->path) == 0)
            return c;
    }
    return NULL;
}

const struct mount *mountinfo_topmost(const struct mountinfo *mi, const struct mount *m)
{
    const struct mount *next;

    /* A table is a tree; the count guards against one that says otherwise. */
    for (size_t i = 0; i < mi->n; i++) {
        next = stacked_on(mi, m);
        if (!next)
            break;
        m = next;
    }
    return m;
}
