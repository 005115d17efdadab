/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container and pod of a process by its cgroup file (container_id.h). The forms of a path's last parts:
 *
 *   containerd, systemd    kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope
 *   containerd, cgroupfs   pod<uid>/<id>
 *   drivers that disagree  kubepods-pod<uid>.slice:cri-containerd:<id>
 *   CRI-O                  .../crio-<id>.scope, .../crio-<id>  (with crun: /container below it)
 *
 * In systemd's names the dashes of the uid are underscores. conmon, CRI-O's monitor, sits in a
 * crio-conmon-<id>.scope: that is no container.
 */
#include "node-agent/runtime/container_id.h"

#include <errno.h>
#include <string.h>

enum { PLAIN_UID_LEN = 32 }; /* static pods: an MD5 without dashes */

/* A piece of the text; not NUL-terminated. */
struct part {
    const char *text;
    size_t len;
};

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool all_hex(struct part p)
{
    for (size_t i = 0; i < p.len; i++) {
        if (!is_hex(p.text[i]))
            return false;
    }
    return true;
}

bool container_id_valid(const char *text)
{
    struct part p = {.text = text, .len = strlen(text)};

    return p.len == LIMIT_CONTAINER_ID && all_hex(p);
}

static bool cut_prefix(struct part *p, const char *prefix)
{
    size_t len = strlen(prefix);

    if (p->len < len || memcmp(p->text, prefix, len) != 0)
        return false;
    p->text += len;
    p->len -= len;
    return true;
}

static bool cut_suffix(struct part *p, const char *suffix)
{
    size_t len = strlen(suffix);

    if (p->len < len || memcmp(p->text + p->len - len, suffix, len) != 0)
        return false;
    p->len -= len;
    return true;
}

/* The id in one path component, if it is a container's. */
static bool find_id(struct part p, char ret[LIMIT_CONTAINER_ID + 1])
{
    static const char *const prefixes[] = {"cri-containerd-", "crio-"};
    const char *colon = memrchr(p.text, ':', p.len);

    if (colon) {
        p.len -= (size_t)(colon + 1 - p.text);
        p.text = colon + 1;
    }
    (void)cut_suffix(&p, ".scope");
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        if (cut_prefix(&p, prefixes[i]))
            break;
    }
    if (p.len != LIMIT_CONTAINER_ID || !all_hex(p))
        return false;
    memcpy(ret, p.text, p.len);
    ret[p.len] = '\0';
    return true;
}

/* 8-4-4-4-12 hex digits with one kind of separator, or 32 without. Dashes are written. */
static bool read_uid(struct part p, char ret[LIMIT_UID + 1])
{
    char uid[LIMIT_UID + 1] = "";

    if (p.len != LIMIT_UID && p.len != PLAIN_UID_LEN)
        return false;
    for (size_t i = 0; i < p.len; i++) {
        bool separator = p.len == LIMIT_UID && (i == 8 || i == 13 || i == 18 || i == 23);

        if (separator ? p.text[i] != p.text[8] || !strchr("-_", p.text[i]) || !p.text[i] : !is_hex(p.text[i]))
            return false;
        uid[i] = separator ? '-' : p.text[i];
    }
    memcpy(ret, uid, sizeof(uid));
    return true;
}

/* The uid in one path component, if it names a pod. */
static bool find_pod(struct part p, char ret[LIMIT_UID + 1])
{
    static const size_t lengths[] = {LIMIT_UID, PLAIN_UID_LEN};
    const char *colon = memchr(p.text, ':', p.len);

    if (colon)
        p.len = (size_t)(colon - p.text);
    (void)cut_suffix(&p, ".slice");
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        struct part before = p, uid;

        if (p.len < lengths[i])
            continue;
        before.len -= lengths[i];
        uid = (struct part){.text = p.text + before.len, .len = lengths[i]};
        /* "pod<uid>" alone, or behind a dash: "kubepods-burstable-pod<uid>" */
        if (cut_suffix(&before, "pod") && (before.len == 0 || before.text[before.len - 1] == '-') &&
                read_uid(uid, ret))
            return true;
    }
    return false;
}

/* Cuts the last component off path. */
static bool last_component(struct part *path, struct part *ret)
{
    const char *slash;

    if (path->len == 0)
        return false;
    slash = memrchr(path->text, '/', path->len);
    ret->text = slash ? slash + 1 : path->text;
    ret->len = path->len - (size_t)(ret->text - path->text);
    path->len = slash ? (size_t)(slash - path->text) : 0;
    return true;
}

/* Fills ret from one line's path; both stay empty when it names no container. */
static void read_path(struct part path, struct container_identity *ret)
{
    struct part component;

    *ret = (struct container_identity){0};
    while (last_component(&path, &component)) {
        if (!ret->id[0]) {
            if (!find_id(component, ret->id))
                continue;
            /* "kubepods-pod<uid>.slice:cri-containerd:<id>" names both. */
            if (!memchr(component.text, ':', component.len))
                continue;
        }
        if (find_pod(component, ret->pod_uid))
            return;
    }
}

/* Two statements about one thing: equal, or one of them silent. */
static bool agree(char *have, const char *found, size_t size)
{
    if (!found[0])
        return true;
    if (!have[0])
        memcpy(have, found, size);
    return strcmp(have, found) == 0;
}

static int read_line(struct part line, struct container_identity *all, struct err *err)
{
    struct container_identity found;
    const char *colon = memchr(line.text, ':', line.len);
    size_t used;

    /* "HIERARCHY:CONTROLLERS:PATH" (cgroups(7)); a path may hold colons itself. */
    if (colon)
        colon = memchr(colon + 1, ':', line.len - (size_t)(colon + 1 - line.text));
    if (!colon || memchr(line.text, '\0', line.len))
        return err_say(err, EBADMSG, "malformed cgroup file");
    used = (size_t)(colon + 1 - line.text);
    read_path((struct part){.text = line.text + used, .len = line.len - used}, &found);
    if (!agree(all->id, found.id, sizeof(found.id)) ||
            !agree(all->pod_uid, found.pod_uid, sizeof(found.pod_uid)))
        return err_say(err, EBADMSG, "the cgroup file names different containers or pods");
    return 0;
}

int container_identity_parse(const char *text, size_t len, struct container_identity *ret, struct err *err)
{
    struct container_identity all = {0};

    while (len > 0) {
        const char *newline = memchr(text, '\n', len);
        struct part line = {.text = text, .len = newline ? (size_t)(newline - text) : len};
        size_t used = line.len + (newline ? 1 : 0);
        int rc = read_line(line, &all, err);

        if (rc < 0)
            return rc;
        text += used;
        len -= used;
    }
    if (!all.id[0])
        return err_say(err, ENOENT, "the process is in no container's cgroup");
    *ret = all;
    return 0;
}
