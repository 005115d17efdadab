/* SPDX-License-Identifier: Apache-2.0 */
/* common/base/file: caps, atomic replacement, nothing followed and nothing left behind. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "common/base/file.h"

static char dir[] = "/tmp/sc-test-file-XXXXXX";
static int dirfd_;

static void enter(void)
{
    cr_assert_not_null(mkdtemp(dir));
    dirfd_ = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dirfd_, 0);
}

static void leave(void)
{
    DIR *d = opendir(dir);

    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        (void)unlinkat(dirfd_, e->d_name, 0);
    (void)closedir(d);
    cr_assert_eq(rmdir(dir), 0);
}

TestSuite(file, .init = enter, .fini = leave);

static void put(const char *name, const char *text)
{
    int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert_geq(fd, 0);
    cr_assert_eq(file_write_all(fd, text, strlen(text)), 0);
    (void)close(fd);
}

static const char *get(const char *name)
{
    static char text[256];
    struct buf b = BUF_INIT(sizeof(text) - 1);

    cr_assert_eq(file_read_at(dirfd_, name, &b, NULL), 0);
    (void)snprintf(text, sizeof(text), "%s", buf_str(&b));
    buf_free(&b);
    return text;
}

static int count_entries(void)
{
    DIR *d = opendir(dir);
    int n = 0;

    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(d);
    return n;
}

Test(file, a_file_of_exactly_the_cap_is_read)
{
    struct buf b = BUF_INIT(5);
    struct err err = ERR_INIT;

    put("f", "12345");
    cr_assert_eq(file_read_at(dirfd_, "f", &b, &err), 0);
    cr_assert_str_eq(buf_str(&b), "12345");
    buf_free(&b);
}

Test(file, a_larger_one_is_refused)
{
    struct buf b = BUF_INIT(4);
    struct err err = ERR_INIT;

    put("f", "12345");
    cr_assert_eq(file_read_at(dirfd_, "f", &b, &err), -E2BIG);
    cr_assert_not_null(strstr(err.text, "f: "), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "4 bytes"), "%s", err.text);
    buf_free(&b);
}

Test(file, an_empty_file_is_an_empty_string)
{
    struct buf b = BUF_INIT(4);

    put("f", "");
    cr_assert_eq(file_read_at(dirfd_, "f", &b, NULL), 0);
    cr_assert_eq(b.len, 0);
    cr_assert_str_eq(buf_str(&b), "");
    buf_free(&b);
}

Test(file, reading_appends)
{
    struct buf b = BUF_INIT(10);

    put("f", "two");
    buf_puts(&b, "one ");
    cr_assert_eq(file_read_at(dirfd_, "f", &b, NULL), 0);
    cr_assert_str_eq(buf_str(&b), "one two");
    buf_free(&b);
}

Test(file, a_missing_one_is_named)
{
    struct buf b = BUF_INIT(4);
    struct err err = ERR_INIT;

    cr_assert_eq(file_read_at(dirfd_, "gone", &b, &err), -ENOENT);
    cr_assert_str_eq(err.text, "cannot open gone: No such file or directory");
}

Test(file, larger_than_one_read_and_of_unknown_size)
{
    enum { SIZE = 100000 };
    struct buf b = BUF_INIT(SIZE);
    char *text = calloc(1, SIZE + 1);

    memset(text, 'a', SIZE);
    put("f", text);
    cr_assert_eq(file_read_at(dirfd_, "f", &b, NULL), 0);
    cr_assert_eq(b.len, SIZE);
    cr_assert_str_eq(b.data, text);
    free(text);
    buf_free(&b);
    buf_init(&b, SIZE);
    cr_assert_eq(file_read_at(AT_FDCWD, "/proc/self/status", &b, NULL), 0); /* its st_size is 0 */
    cr_assert_not_null(strstr(buf_str(&b), "Pid:"));
    buf_free(&b);
}

static void ignore(int signo)
{
    (void)signo;
}

/* Writes a pattern under a hail of signals, which cut writes short. Single-threaded, so that they meet the
 * writer. */
static void write_under_signals(int fd, const char *pattern, size_t len)
{
    const struct sigaction sa = {.sa_handler = ignore};
    const struct itimerval often = {.it_interval.tv_usec = 100, .it_value.tv_usec = 100};

    (void)sigaction(SIGALRM, &sa, NULL);
    (void)setitimer(ITIMER_REAL, &often, NULL);
    _exit(file_write_all(fd, pattern, len) == 0 ? 0 : 1);
}

Test(file, write_all_goes_on_after_short_and_interrupted_writes)
{
    enum { SIZE = 1 << 22 }; /* much more than a pipe holds */
    struct buf got = BUF_INIT(SIZE);
    char *pattern = malloc(SIZE);
    int fds[2], status;
    pid_t writer;

    for (size_t i = 0; i < SIZE; i++)
        pattern[i] = (char)(i % 251);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    writer = fork();
    if (writer == 0)
        write_under_signals(fds[1], pattern, SIZE);
    (void)close(fds[1]);
    cr_assert_eq(file_read_fd(fds[0], &got, NULL), 0);
    cr_assert_eq(waitpid(writer, &status, 0), writer);
    cr_assert_eq(status, 0);
    cr_assert_eq(got.len, SIZE);
    cr_assert_eq(memcmp(got.data, pattern, SIZE), 0);
    (void)close(fds[0]);
    buf_free(&got);
    free(pattern);
}

Test(file, write_all_does_not_take_a_part_for_the_whole)
{
    const struct rlimit limit = {.rlim_cur = 10, .rlim_max = 10};
    int fd = openat(dirfd_, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(file_write_all(fd, "0123456789 and more", 19), -EFBIG);
    (void)close(fd);
}

Test(file, write_all_tells_the_failure)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    cr_assert_eq(file_write_all(fd, "x", 1), -ENOSPC);
    (void)close(fd);
}

Test(file, replace_creates_and_replaces)
{
    struct err err = ERR_INIT;

    cr_assert_eq(file_replace_at(dirfd_, "f", "one", 3, 0600, &err), 0, "%s", err.text);
    cr_assert_str_eq(get("f"), "one");
    cr_assert_eq(file_replace_at(dirfd_, "f", "2", 1, 0600, &err), 0, "%s", err.text);
    cr_assert_str_eq(get("f"), "2");
    cr_assert_eq(count_entries(), 1, "no temporary file is left");
}

Test(file, replace_gives_a_new_file)
{
    struct buf b = BUF_INIT(10);
    int fd;

    put("f", "old");
    fd = openat(dirfd_, "f", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(file_replace_at(dirfd_, "f", "new", 3, 0600, NULL), 0);
    cr_assert_eq(file_read_fd(fd, &b, NULL), 0);
    cr_assert_str_eq(buf_str(&b), "old", "who has the old one open keeps reading the old one");
    cr_assert_str_eq(get("f"), "new");
    buf_free(&b);
    (void)close(fd);
}

Test(file, replace_gives_the_mode_whatever_the_umask)
{
    struct stat st;

    (void)umask(077);
    cr_assert_eq(file_replace_at(dirfd_, "f", "", 0, 0644, NULL), 0);
    cr_assert_eq(fstatat(dirfd_, "f", &st, 0), 0);
    cr_assert_eq(st.st_mode & 07777, 0644);
}

Test(file, replace_follows_no_link_at_either_name)
{
    put("victim", "precious");
    cr_assert_eq(symlinkat("victim", dirfd_, ".f.tmp"), 0);
    cr_assert_eq(symlinkat("victim", dirfd_, "f"), 0);
    cr_assert_eq(file_replace_at(dirfd_, "f", "new", 3, 0600, NULL), 0);
    cr_assert_str_eq(get("victim"), "precious");
    cr_assert_str_eq(get("f"), "new");
    cr_assert_eq(count_entries(), 2);
}

Test(file, replace_takes_one_path_component_only)
{
    static const char *const names[] = {"", ".", "..", "a/b", "/a", "../a", "a/"};
    char long_name[300];
    struct err err = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        cr_assert_eq(file_replace_at(dirfd_, names[i], "x", 1, 0600, &err), -EINVAL, "\"%s\"", names[i]);
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    cr_assert_eq(file_replace_at(dirfd_, long_name, "x", 1, 0600, &err), -ENAMETOOLONG);
    cr_assert_eq(count_entries(), 0);
}

Test(file, a_failed_replacement_leaves_the_old_file_and_nothing_else)
{
    struct err err = ERR_INIT;

    cr_assert_eq(mkdirat(dirfd_, "f", 0700), 0); /* a file cannot be renamed over a directory */
    cr_assert_eq(file_replace_at(dirfd_, "f", "x", 1, 0600, &err), -EISDIR);
    cr_assert_not_null(strstr(err.text, "replacing f"), "%s", err.text);
    cr_assert_eq(count_entries(), 1);
    cr_assert_eq(unlinkat(dirfd_, "f", AT_REMOVEDIR), 0);
}

static void copy(int from, const char *to, struct err *err)
{
    int fd = openat(dirfd_, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert_geq(fd, 0);
    cr_assert_eq(file_copy_fd(from, fd, err), 0, "%s", err_text(err));
    (void)close(fd);
}

Test(file, copy_goes_from_where_the_file_stands)
{
    struct err err = ERR_INIT;
    int from;

    put("f", "skip this, take this");
    from = openat(dirfd_, "f", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(lseek(from, 11, SEEK_SET), 11);
    copy(from, "g", &err);
    cr_assert_str_eq(get("g"), "take this");
    (void)close(from);
}

Test(file, copy_falls_back_where_the_system_call_is_refused)
{
    struct err err = ERR_INIT;
    int fds[2], from;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(file_write_all(fds[1], "from a pipe", 11), 0);
    (void)close(fds[1]);
    copy(fds[0], "g", &err);
    cr_assert_str_eq(get("g"), "from a pipe");
    (void)close(fds[0]);

    from = open("/proc/self/comm", O_RDONLY | O_CLOEXEC); /* another file system, and size 0 */
    copy(from, "h", &err);
    cr_assert_gt(strlen(get("h")), 1);
    (void)close(from);
}

Test(file, copy_tells_the_failure)
{
    struct err err = ERR_INIT;
    int from, to = open("/dev/full", O_WRONLY | O_CLOEXEC);

    put("f", "x");
    from = openat(dirfd_, "f", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(file_copy_fd(from, to, &err), -ENOSPC);
    (void)close(from);
    (void)close(to);
}

Test(file, a_directory_is_read_to_its_end)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    put("a", "");
    put(".b", "");
    cr_assert_eq(dir_next(d, &e), 1);
    cr_assert_eq(dir_next(d, &e), 1);
    cr_expect_eq(dir_next(d, &e), 0, "more than what is in it: %s", e->d_name);
    (void)closedir(d);
}

/* Half of a directory must not look like all of it. */
Test(file, a_directory_that_cannot_be_read_on_has_no_end)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);

    cr_assert(other >= 0 && dup2(other, dirfd(d)) >= 0);
    cr_expect_eq(dir_next(d, &e), -ENOTDIR);
    (void)closedir(d);
    (void)close(other);
}

/* Who removes it has seen to what was in it. */
Test(file, a_directory_that_is_removed_ends)
{
    char gone[] = "/tmp/sc-test-gone-XXXXXX";
    struct dirent *e;
    DIR *d;

    cr_assert_not_null(mkdtemp(gone));
    d = opendir(gone);
    cr_assert(d && rmdir(gone) == 0);
    cr_expect_eq(dir_next(d, &e), 0);
    (void)closedir(d);
}
