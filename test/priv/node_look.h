/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a node (node.h): by `sc-node-agent check`, and by eyes that know nothing of it.
 */
#pragma once

#include <dirent.h>
#include <ftw.h>

#include "test/priv/node.h"

/* `sc-node-agent check`: its exit status. */
_unused_ static int node_check(char *text, size_t size)
{
    FILE *f = popen(at("%s check --kubelet-dir=" NODE_KUBELET " --state-dir=" NODE_STATE
                       " --runtime-endpoint=" NODE_RUN "/r.sock 2>&1",
                            node_program()),
            "re");
    size_t n;
    int status;

    must(f);
    n = fread(text, 1, size - 1, f);
    text[n] = '\0';
    status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Lines, to be sorted. */
static struct {
    char *lines[1024];
    size_t n;
} node_seen;

static void node_see(const char *line)
{
    must(node_seen.n < ARRAY_SIZE(node_seen.lines));
    node_seen.lines[node_seen.n++] = strdup(line);
}

/* The name of a root's mark is another each time. */
static int node_see_file(
        const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_)
{
    static const char marks[] = "/mount/" SC_MARKS_NAME "/";
    const char *mark = strstr(path, marks);

    node_see(mark ? at("%.*s%sNAME", (int)(mark - path), path, marks) : path);
    return 0;
}

/* The numbers of processes are others each time. */
static void node_see_mounts(void)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[4096], *save, *path;

    must(f);
    while (fgets(line, sizeof(line), f)) {
        path = strtok_r(line, " ", &save);
        for (int i = 0; i < 4 && path; i++)
            path = strtok_r(NULL, " ", &save);
        must(path);
        node_see(strncmp(path, "/proc/", 6) == 0 && strstr(path, "/cgroup") ? "/proc/N/cgroup" : path);
    }
    (void)fclose(f);
}

static void node_see_processes(void)
{
    DIR *d = opendir("/proc");

    must(d);
    for (struct dirent *e; (e = readdir(d));) {
        struct buf b = BUF_INIT(KIB);

        if (e->d_name[0] >= '0' && e->d_name[0] <= '9' &&
                file_read_at(AT_FDCWD, at("/proc/%s/comm", e->d_name), &b, NULL) == 0)
            node_see(buf_str(&b));
        buf_free(&b);
    }
    (void)closedir(d);
}

static int node_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What an independent look sees, as text: mount points, what is below the agent's and the kubelet's
 * directories, processes. */
_unused_ static char *node_look(void)
{
    struct buf b = BUF_INIT(8 * MIB);

    node_see_mounts();
    must(nftw(NODE_STATE, node_see_file, 32, FTW_PHYS) == 0);
    must(nftw(NODE_KUBELET "/pods", node_see_file, 32, FTW_PHYS) == 0);
    node_see_processes();
    qsort(node_seen.lines, node_seen.n, sizeof(node_seen.lines[0]), node_order);
    for (size_t i = 0; i < node_seen.n; i++) {
        must(buf_puts(&b, node_seen.lines[i]) == 0 && buf_putc(&b, '\n') == 0);
        free(node_seen.lines[i]);
    }
    node_seen.n = 0;
    return buf_take(&b, NULL);
}

_unused_ static int node_count_fds(pid_t pid)
{
    DIR *d = opendir(at("/proc/%d/fd", (int)pid));
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        (void)closedir(d);
    return n;
}
