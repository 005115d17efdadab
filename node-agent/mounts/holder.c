/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See holder.h. Processes come and go meanwhile: one that is gone is passed over.
 */
#include "node-agent/mounts/holder.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/num.h"

enum { NS_TEXT = 32 /* "mnt:[4026531841]" */ };

struct search {
    int proc;
    const char *option; /* "upperdir=..." */
    size_t n_seen;
    char (*seen)[NS_TEXT]; /* mount namespaces, the caller's own first */
    size_t left; /* bytes that may still be read */
};

/* True when this namespace was not looked at yet. */
static bool is_new(struct search *s, const char *pid)
{
    char path[300], ns[NS_TEXT];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "%s/ns/mnt", pid);
    n = readlinkat(s->proc, path, ns, sizeof(ns) - 1);
    if (n <= 0)
        return false;
    ns[n] = '\0';
    for (size_t i = 0; i < s->n_seen; i++)
        if (strcmp(s->seen[i], ns) == 0)
            return false;
    if (s->n_seen == LIMIT_HOLDER_NAMESPACES)
        return false;
    memcpy(s->seen[s->n_seen++], ns, (size_t)n + 1);
    return true;
}

/* The option as a whole: what follows the path is the next one, or the line's end. */
static bool has_option(const char *table, const char *option)
{
    size_t len = strlen(option);

    for (const char *at = strstr(table, option); at; at = strstr(at + len, option))
        if (at[len] == ',' || at[len] == '\n' || at[len] == '\0')
            return true;
    return false;
}

static bool has_it(struct search *s, const char *pid)
{
    _cleanup_buf_ struct buf b = BUF_INIT(s->left < LIMIT_MOUNTINFO ? s->left : LIMIT_MOUNTINFO);
    char path[300];
    int r;

    (void)snprintf(path, sizeof(path), "%s/mountinfo", pid);
    r = file_read_at(s->proc, path, &b, NULL);
    s->left -= b.len < s->left ? b.len : s->left;
    return r == 0 && has_option(buf_str(&b), s->option);
}

/* "pod" and a uid, with dashes or, as systemd's cgroups have it, underscores. */
static bool take_pod(const char *text, char ret[LIMIT_UID + 1])
{
    for (int i = 0; i < LIMIT_UID; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' && text[i] != '_' : !isxdigit((unsigned char)text[i]))
            return false;
        ret[i] = dash ? '-' : text[i];
    }
    ret[LIMIT_UID] = '\0';
    return true;
}

static void find_pod(const struct search *s, const char *pid, char ret[LIMIT_UID + 1])
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_CGROUP_FILE);
    char path[300];

    ret[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/cgroup", pid);
    if (file_read_at(s->proc, path, &b, NULL) < 0)
        return;
    for (const char *at = strstr(buf_str(&b), "pod"); at; at = strstr(at + 3, "pod"))
        if (take_pod(at + 3, ret))
            return;
    ret[0] = '\0';
}

static int search(struct search *s, DIR *d, struct holder *ret)
{
    uint64_t pid;

    (void)is_new(s, "self");
    for (struct dirent *e; s->left > 0 && (e = readdir(d));) {
        if (num_parse_u64(e->d_name, 1, INT32_MAX, &pid) < 0 || !is_new(s, e->d_name) ||
                !has_it(s, e->d_name))
            continue;
        ret->pid = (pid_t)pid;
        find_pod(s, e->d_name, ret->pod_uid);
        return 1;
    }
    return 0;
}

int holder_find(int proc, const char *upper, struct holder *ret)
{
    _cleanup_buf_ struct buf option = BUF_INIT(LIMIT_PATH_TEXT);
    _cleanup_free_ char(*seen)[NS_TEXT] = calloc(LIMIT_HOLDER_NAMESPACES, NS_TEXT);
    struct search s = {.proc = proc, .seen = seen, .left = LIMIT_HOLDER_TEXT};
    int fd, r = buf_printf(&option, "upperdir=%s", upper);
    DIR *d;

    if (r < 0 || !seen)
        return seen ? r : -ENOMEM;
    s.option = buf_str(&option);
    fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        r = -errno;
        (void)close_fd(fd);
        return r;
    }
    r = search(&s, d, ret);
    (void)closedir(d);
    return r;
}
