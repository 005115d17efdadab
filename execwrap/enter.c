/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reviewed as what it is, a program that gives a privilege: read enter.h first, and keep its order.
 */
#include "execwrap/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/names.h"
#include "execwrap/command.h"
#include "execwrap/say.h"
#include "execwrap/wrap.h"

#define OWN_NAME SC_MOUNT_DIR "/" SC_EXECWRAP_FILE
#define ENTER_NAME SC_CHROOT_DIR "/" SC_EXECWRAP_FILE
#define MARK SC_CHROOT_DIR "/" SC_CHROOT_MARK
#define TMPFS 0x01021994 /* statfs(2) */

const char enter_hint[] = "; attach: Chroot needs the capability SYS_CHROOT and, for a user other than root, "
                          "privilege escalation; "
                          "attach: Pivot needs neither";

enum { ENTER_WORKDIR = 1, ENTER_LOG, ENTER_ARGV };

/* --- 1: fds --------------------------------------------------------------------------------------------- */

static bool settle_fds(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    return syscall(SYS_close_range, 3U, ~0U, 0U) == 0;
}

/* --- 2: the root, and that it is the one ---------------------------------------------------------------- */

/* The part of statx(2)'s answer that is read here; the C library of this program is older than the call's
 * field. */
struct statx_answer {
    uint32_t mask;
    uint32_t block_size;
    uint64_t attributes;
    uint32_t skipped[32];
    uint64_t mount_id;
    uint64_t rest[13];
};
_Static_assert(
        sizeof(struct statx_answer) == 256 && offsetof(struct statx_answer, mount_id) == 144, "statx(2)");

#define STATX_WANT_MOUNT_ID 0x1000U
#define STATX_IS_MOUNT_ROOT 0x2000U

/* False: it is not, or (with *ret_why) that cannot be asked. */
static bool is_mount(int fd, uint64_t id, const char **ret_why)
{
    struct statx_answer a = {0};

    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_WANT_MOUNT_ID, &a) < 0) {
        *ret_why = "it cannot be looked at: is the system call statx forbidden?";
        return false;
    }
    return (a.mask & STATX_WANT_MOUNT_ID) && (a.attributes & STATX_IS_MOUNT_ROOT) && a.mount_id == id;
}

static bool is_trusted(int fd)
{
    struct statfs fs;
    struct stat st;

    if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
        return false;
    return fs.f_type == TMPFS && (fs.f_flags & ST_RDONLY) && S_ISREG(st.st_mode) && st.st_uid == 0;
}

/* The id in the mark; 0: there is none that counts. */
static uint64_t read_mark(void)
{
    int fd = open(MARK, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    char text[24];
    uint64_t id = 0;
    ssize_t n;

    if (fd < 0)
        return 0;
    n = is_trusted(fd) ? read(fd, text, sizeof text) : -1;
    close(fd);
    if (n < 2 || n == sizeof text || text[n - 1] != '\n')
        return 0;
    for (ssize_t i = 0; i < n - 1; i++) {
        if (text[i] < '0' || text[i] > '9' || id > UINT64_MAX / 10 - 1)
            return 0;
        id = id * 10 + (uint64_t)(text[i] - '0');
    }
    return id;
}

/* An fd, or -1 with *ret_why. */
static int open_root(const char **ret_why)
{
    int fd = open(SC_CHROOT_ROOT, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    uint64_t marked;

    *ret_why = "it is not attached (yet)";
    if (fd < 0)
        return -1;
    marked = read_mark();
    if (marked != 0) {
        *ret_why = "what is at " SC_CHROOT_ROOT " is not what the node agent attached";
        if (is_mount(fd, marked, ret_why))
            return fd;
    }
    close(fd);
    return -1;
}

bool enter_is_ready(void)
{
    const char *why;
    int root = open_root(&why);

    if (root >= 0)
        close(root);
    return root >= 0;
}

/* --- 3 -------------------------------------------------------------------------------------------------- */

static bool go_in(int root, const char **ret_why)
{
    bool in = fchdir(root) == 0 && chroot(".") == 0 && chdir("/") == 0;

    *ret_why = strerror(errno);
    close(root);
    return in;
}

/* --- 4: privileges -------------------------------------------------------------------------------------- */

/* capget(2), capset(2): version 3, the calling thread. */
struct cap_header {
    uint32_t version;
    int pid;
};
struct cap_sets {
    uint32_t effective, permitted, inheritable;
};
#define CAP_VERSION 0x20080522U

static bool drop_ids(void)
{
    uid_t uid = getuid(), r, e, s;
    gid_t gid = getgid(), rg, eg, sg;

    if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return false;
    return getresuid(&r, &e, &s) == 0 && r == uid && e == uid && s == uid && getresgid(&rg, &eg, &sg) == 0 &&
           rg == gid && eg == gid && sg == gid;
}

static bool drop_capabilities(void)
{
    struct cap_header header = {.version = CAP_VERSION};
    struct cap_sets sets[2] = {0}, now[2];

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return false;
    if (syscall(SYS_capset, &header, sets) < 0 || syscall(SYS_capget, &header, now) < 0)
        return false;
    /* The ambient set is never more than the permitted one (capabilities(7)). */
    return memcmp(now, sets, sizeof now) == 0;
}

static void drop_privileges(void)
{
    static const char lost[] = "execwrap: cannot give up its privileges\n";

    if (drop_ids() && (getuid() == 0 || drop_capabilities()))
        return;
    (void)!write(STDERR_FILENO, lost, sizeof lost - 1);
    _exit(WRAP_NOT_STARTED);
}

/* --- 5 -------------------------------------------------------------------------------------------------- */

struct wish {
    const char *workdir;
    const char *log;
    char *const *argv;
};

static bool read_wish(int argc, char **argv, struct wish *ret)
{
    static char cwd[PATH_MAX];

    if (argc > 0 && strcmp(argv[0], ENTER_NAME) == 0) {
        if (argc <= ENTER_ARGV)
            return false;
        *ret = (struct wish){.workdir = argv[ENTER_WORKDIR], .argv = argv + ENTER_ARGV};
        ret->log = argv[ENTER_LOG][0] ? argv[ENTER_LOG] : NULL;
        return true;
    }
    if (argc < 1 || !getcwd(cwd, sizeof cwd))
        cwd[0] = '\0';
    *ret = (struct wish){.workdir = cwd, .argv = argv};
    return argc > 0;
}

static int execute(const struct wish *w)
{
    struct command_failure failure;

    if (w->workdir[0] != '/') {
        SAY(w->log, "execwrap: the working directory is not known");
        return WRAP_NOT_STARTED;
    }
    if (chdir(w->workdir) < 0) {
        SAY(w->log, "execwrap: cannot change to the working directory ", w->workdir, ": ", strerror(errno));
        return WRAP_NOT_STARTED;
    }
    failure = command_exec(w->argv);
    SAY(w->log, "execwrap: cannot execute \"", w->argv[0], "\": ", failure.why);
    return failure.status;
}

int enter(int argc, char **argv)
{
    struct wish w = {.workdir = "", .argv = NULL};
    const char *why = "other files cannot be closed: is the system call close_range forbidden?";
    bool wished = read_wish(argc, argv, &w), in = false;
    int root;

    if (settle_fds()) {
        root = open_root(&why);
        in = root >= 0 && go_in(root, &why);
    }
    drop_privileges();
    if (!wished) {
        SAY(NULL, "execwrap: no command given");
        return WRAP_NOT_STARTED;
    }
    if (!in) {
        SAY(w.log, "execwrap: cannot enter the preserved root: ", why,
                strcmp(why, strerror(EPERM)) == 0 ? enter_hint : "");
        return WRAP_NOT_STARTED;
    }
    return execute(&w);
}

bool enter_is_meant(int argc, char *const *argv)
{
    return getauxval(AT_SECURE) != 0 || argc < 1 || strcmp(argv[0], OWN_NAME) != 0;
}

char **enter_command(char *const *argv, const char *workdir, const char *log)
{
    size_t n = 0;
    const char **list;
    void *room;

    while (argv[n])
        n++;
    room = malloc((ENTER_ARGV + n + 1) * sizeof *list);
    if (!room)
        return NULL;
    list = room;
    list[0] = ENTER_NAME;
    list[ENTER_WORKDIR] = workdir;
    list[ENTER_LOG] = log ? log : "";
    memcpy(list + ENTER_ARGV, argv, (n + 1) * sizeof *list);
    return room; /* execve wants it without the const, and changes nothing */
}
