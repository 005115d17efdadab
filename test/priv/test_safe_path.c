/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safe_path: where a path in a hostile directory leads, what is made on the way, and what is never done.
 */
#include "node-agent/mounts/safe_path.h"
#include "test/priv/scene.h"

static int root_fd = -EBADF;

static const char *in(const char *path)
{
    return at(BOX_BASE "/root%s", path);
}

static void put_root(void)
{
    must(system("rm -rf " BOX_BASE "/root") == 0);
    put_dir(BOX_BASE "/root");
    root_fd = close_fd(root_fd);
    root_fd = open(BOX_BASE "/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(root_fd >= 0);
}

static char told[2][1024];
static int n_told;

static void on_aside(const char *path, const char *aside, void *data _unused_)
{
    n_told++;
    (void)snprintf(told[0], sizeof(told[0]), "%s", path);
    (void)snprintf(told[1], sizeof(told[1]), "%s", aside);
}

static int ensure(const char *path, enum safe_type type, bool no_links, char *canonical, struct err *err)
{
    const struct safe_ensure how = {.type = type, .no_links = no_links, .aside = on_aside};
    _cleanup_buf_ struct buf b = BUF_INIT(8192);
    _cleanup_close_ int fd = -EBADF;
    struct stat st;
    int r;

    n_told = 0;
    r = safe_ensure_at(root_fd, path, &how, &b, &fd, err);
    if (r < 0)
        return r;
    must(fstat(fd, &st) == 0);
    if (S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode) != (type == SAFE_DIRECTORY))
        return -EILSEQ;
    if (canonical)
        (void)snprintf(canonical, 1024, "%s", buf_str(&b));
    return 0;
}

static void check(const char *path, enum safe_type type, const char *leads_to)
{
    char canonical[1024] = "";
    struct err err = ERR_INIT;
    int r = ensure(path, type, false, canonical, &err);

    tap_ok(r == 0 && strcmp(canonical, leads_to) == 0, "%s is %s (%s%s)", path, leads_to, canonical,
            err.text);
}

static void play_walks(struct agent *a _unused_)
{
    struct stat st;

    put_root();
    check("/", SAFE_DIRECTORY, "/");
    check("/a/b", SAFE_DIRECTORY, "/a/b");
    must(stat(in("/a"), &st) == 0);
    tap_ok((st.st_mode & 07777) == 0755 && st.st_uid == 0 && st.st_gid == 0, "made 0755, root's");
    check("/a/b/file", SAFE_FILE, "/a/b/file");
    check("//a/.//b/", SAFE_DIRECTORY, "/a/b");
    check("/a/b/../../c", SAFE_DIRECTORY, "/c");
    check("/../../../d", SAFE_DIRECTORY, "/d");
    must(symlink("/a", in("/absolute")) == 0 && symlink("../../../../..", in("/a/b/up")) == 0);
    check("/absolute/b", SAFE_DIRECTORY, "/a/b");
    check("/a/b/up/e", SAFE_DIRECTORY, "/e");
    must(symlink("nowhere/at/all", in("/a/dangling")) == 0);
    check("/a/dangling", SAFE_FILE, "/a/nowhere/at/all");
    must(symlink("..", in("/a/b/dots")) == 0);
    check("/a/b/dots/b/dots/x", SAFE_DIRECTORY, "/a/x");
    must(mkfifo(in("/fifo"), 0644) == 0);
    check("/fifo", SAFE_FILE, "/fifo");
    tap_ok(n_told == 0, "a fifo will do for a file");
}

static void play_refuses(struct agent *a _unused_)
{
    char path[1024], name[300];
    struct err err = ERR_INIT;

    put_root();
    tap_ok(ensure("relative", SAFE_DIRECTORY, false, NULL, &err) == -EINVAL, "a relative path");
    tap_ok(ensure("/", SAFE_FILE, false, NULL, &err) == -EISDIR, "the root as a file: %s", err.text);
    tap_ok(ensure("/x/..", SAFE_FILE, false, NULL, &err) == -EISDIR, "a parent as a file");
    memset(name, 'n', sizeof(name));
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    tap_ok(ensure(name, SAFE_FILE, false, NULL, &err) == -ENAMETOOLONG, "a name of 298 bytes");
    must(symlink("loop", in("/loop")) == 0);
    tap_ok(ensure("/loop", SAFE_FILE, false, NULL, &err) == -ELOOP, "a link to itself");
    must(symlink("grow/grow", in("/grow")) == 0);
    tap_ok(ensure("/grow", SAFE_DIRECTORY, false, NULL, &err) == -ELOOP, "a link that grows");

    /* Forty links in a row, and one more. */
    for (int i = 1; i <= 41; i++)
        must(symlink(i == 1 ? "end" : at("l%d", i - 1), in(at("/l%d", i))) == 0);
    tap_ok(ensure("/l40", SAFE_DIRECTORY, false, path, &err) == 0 && strcmp(path, "/end") == 0, "40 links");
    tap_ok(ensure("/l41", SAFE_DIRECTORY, false, NULL, &err) == -ELOOP, "41 links");
}

static void play_mounts(struct agent *a _unused_)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8192);
    struct err err = ERR_INIT;
    struct stat st;

    put_root();
    put_dir(in("/m"));
    put_tmpfs(in("/m"), "x");
    must(symlink("/m", in("/link")) == 0);
    tap_ok(ensure("/m/made", SAFE_DIRECTORY, false, NULL, &err) == -EXDEV, "a mount is not entered: %s",
            err.text);
    tap_ok(ensure("/link/made", SAFE_DIRECTORY, false, NULL, &err) == -EXDEV, "nor by a link");
    tap_ok(stat(in("/m/made"), &st) < 0, "nothing is made in it");
    tap_ok(safe_canonical(root_fd, "/link/a/../b/./c", &b, &err) == 0 && strcmp(buf_str(&b), "/m/b/c") == 0,
            "a path into it is text");
    buf_reset(&b);
    tap_ok(safe_canonical(root_fd, "/link/../../x/y/..", &b, &err) == 0 && strcmp(buf_str(&b), "/x") == 0,
            "and out of it again");
    tap_ok(stat(in("/x"), &st) < 0, "asking makes nothing");
    tap_ok(safe_open_child(root_fd, "m", O_DIRECTORY) == -EXDEV, "safe_open_child stops at a mount");
    tap_ok(safe_open_child(root_fd, "link", 0) == -ELOOP, "and at a link");
    tap_ok(safe_open_child(root_fd, "..", 0) == -EXDEV, "and at the parent");
    tap_ok(safe_open_mountpoint(root_fd, "link", 0) == -ELOOP, "safe_open_mountpoint stops at a link");
    tap_ok(safe_open_mounted(root_fd, "/link/x", 0) == -ELOOP, "and so does safe_open_mounted");
    must(umount(in("/m")) == 0);
}

static void play_aside(struct agent *a _unused_)
{
    char name[256], path[1024];
    struct err err = ERR_INIT;
    struct stat st;

    put_root();
    put_file(in("/f"), "old");
    tap_ok(ensure("/f", SAFE_DIRECTORY, false, NULL, &err) == 0 && n_told == 1 &&
                    strcmp(told[0], "/f") == 0 && strcmp(told[1], "/f.sc-aside-1") == 0,
            "a file is moved aside: %s", told[1]);
    must(rmdir(in("/f")) == 0);
    put_file(in("/f"), "new");
    tap_ok(ensure("/f", SAFE_DIRECTORY, false, NULL, &err) == 0 && strcmp(told[1], "/f.sc-aside-2") == 0,
            "nothing that was moved aside is lost to another: %s", told[1]);
    tap_ok(stat(in("/f.sc-aside-1"), &st) == 0 && st.st_size == 3, "the first is there");
    put_dir(in("/d"));
    put_file(in("/d/inside"), "x");
    tap_ok(ensure("/d", SAFE_FILE, false, NULL, &err) == 0 && stat(in("/d.sc-aside-1/inside"), &st) == 0,
            "a directory with what is in it");
    must(symlink("/d", in("/l")) == 0);
    tap_ok(ensure("/l", SAFE_DIRECTORY, true, NULL, &err) == 0 && lstat(in("/l.sc-aside-1"), &st) == 0 &&
                    S_ISLNK(st.st_mode),
            "a link where none may be");

    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    (void)snprintf(path, sizeof(path), "/%s", name);
    put_file(in(path), "x");
    tap_ok(ensure(path, SAFE_DIRECTORY, false, NULL, &err) == 0 && strlen(told[1]) <= 256,
            "a name of 255 bytes is cut for it");

    put_file(in("/many"), "x");
    for (int i = 1; i <= 64; i++)
        put_file(in(at("/many.sc-aside-%d", i)), "x");
    tap_ok(ensure("/many", SAFE_DIRECTORY, false, NULL, &err) == -EEXIST, "64 times: %s", err.text);
    tap_ok(stat(in("/many"), &st) == 0 && S_ISREG(st.st_mode), "and it is left where it is");
}

int main(void)
{
    static const struct scene scenes[] = {
            {"walks", play_walks},
            {"refuses", play_refuses},
            {"mounts", play_mounts},
            {"aside", play_aside},
    };

    return scenes_main(scenes, ARRAY_SIZE(scenes));
}
