/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach, Chroot: a link for each command of the preserved root.
 *
 * `kubectl exec POD -- CMD` is looked up by the runtime in the container's own root. There it finds a link of
 * this name, which is execwrap, which enters the preserved root and looks the command up once more, by the
 * same words. So the links need not say where a command is, one directory of them serves for all directories
 * of the PATH, and a name too many does no harm: it ends with "not found", as it should.
 *
 * The preserved root is a tenant's, and looked at before anything of the container is mounted in it. A
 * directory is entered by real names only, a link in the place of one is passed over; of the content nothing
 * is opened. What counts as a command: an executable file, or a link, which may lead to one. What cannot be
 * looked at for want of fds, memory or a good disk fails the attach: it would be without these commands.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/names.h"
#include "node-agent/mounts/attach_state.h"
#include "node-agent/mounts/safe_path.h"

/* Not in the order in which a shell looks: what is there first gets its links, where there are too many. */
static const char usual_dirs[] = "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin:/usr/local/sbin";

bool path_dirs_next(struct path_dirs *p, char ret[PATH_MAX])
{
    if (!p->at) {
        p->at = usual_dirs;
        p->usual = true;
    }
    while (p->n < LIMIT_PATH_DIRS) {
        size_t len = strcspn(p->at, ":");
        const char *dir = p->at;

        if (!*dir && p->usual) {
            p->usual = false;
            p->at = p->search ? p->search : "";
            continue;
        }
        if (!*dir)
            return false;
        p->at += len + (p->at[len] == ':');
        if (dir[0] != '/' || len >= PATH_MAX)
            continue;
        memcpy(ret, dir, len);
        ret[len] = '\0';
        p->n++;
        return true;
    }
    return false;
}

/* An fd, or a negative errno where there is no real directory of that name. */
static int open_real(int root, const char *path)
{
    _cleanup_close_ int dir = safe_open_own(root, "/", O_DIRECTORY);
    char name[NAME_MAX + 1];

    while (dir >= 0 && *path) {
        size_t len = strcspn(path, "/");
        int next;

        if (len > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, len);
        name[len] = '\0';
        path += len + (path[len] == '/');
        if (len == 0 || strcmp(name, ".") == 0)
            continue;
        next = safe_open_child(dir, name, O_DIRECTORY);
        (void)close_fd(dir);
        dir = next;
    }
    return take_fd(&dir);
}

/* 1, 0, or a negative errno. */
static int is_command(int dir, const struct dirent *e)
{
    struct stat st;

    /* A file system is read here that answers what its owner wants. */
    if (strchr(e->d_name, '/'))
        return 0;
    if (e->d_type == DT_LNK)
        return 1;
    if (e->d_type != DT_REG && e->d_type != DT_UNKNOWN)
        return 0;
    if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return safe_is_absent(-errno) ? 0 : -errno;
    return S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && (st.st_mode & 0111));
}

struct linking {
    int tools;
    int commands;
    size_t entries;
    size_t links;
    size_t bytes; /* of their names */
    bool cut;
};

/* 0 to go on. */
static int link_one(struct linking *l, int dir, const struct dirent *e)
{
    int r;

    if (l->entries++ >= LIMIT_COMMAND_ENTRIES || l->links >= LIMIT_COMMANDS ||
            l->bytes >= LIMIT_COMMAND_NAMES) {
        l->cut = true;
        return 1;
    }
    r = is_command(dir, e);
    if (r <= 0)
        return r;
    if (linkat(l->tools, SC_EXECWRAP_FILE, l->commands, e->d_name, 0) < 0)
        return errno == EEXIST ? 0 : -errno;
    l->links++;
    l->bytes += strlen(e->d_name);
    return 0;
}

/* Takes the fd. One that was removed meanwhile has as many commands as were seen. */
static int link_all(struct linking *l, int fd)
{
    DIR *dir = fdopendir(fd);
    struct dirent *e;
    int r = 0;

    if (!dir) {
        r = -errno;
        (void)close_fd(fd);
        return r;
    }
    while (r == 0 && (r = dir_next(dir, &e)) > 0)
        r = link_one(l, fd, e);
    (void)closedir(dir);
    return r < 0 ? r : 0;
}

int attach_link_commands(struct attach_state *s, struct err *err)
{
    struct path_dirs dirs = {.search = s->req->chroot->search};
    struct linking l = {.tools = s->chroot.tools, .commands = s->chroot.commands};
    char path[PATH_MAX];

    while (!l.cut && path_dirs_next(&dirs, path)) {
        _cleanup_close_ int dir = open_real(s->root, path);
        int fd = dir < 0 ? dir : safe_open_to_read(dir);
        int r = safe_is_absent(fd) ? 0 : fd < 0 ? fd : link_all(&l, fd);

        if (r < 0)
            return err_set(err, r, "cannot make links for the commands in %s of the preserved root", path);
    }
    s->chroot.cut = l.cut;
    return 0;
}
