/* SPDX-License-Identifier: Apache-2.0 */
#include "execwrap/wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/names.h"
#include "common/wire/mark.h"
#include "execwrap/cmdline.h"
#include "execwrap/command.h"
#include "execwrap/enter.h"
#include "execwrap/link.h"
#include "execwrap/say.h"

struct wrapper {
    struct cmdline cmdline;
    char workdir[PATH_MAX]; /* as noted at the start; "" where it was out of reach already */
    char waits_for[WIRE_TEXT_MAX + 1]; /* what the agent said last, "" at first */
    struct signals signals;
    struct link link;
};

/* Says why, and is the exit code. */
#define NOT_STARTED(w, ...) (SAY((w)->cmdline.log, "execwrap: ", __VA_ARGS__), WRAP_NOT_STARTED)

/* Calls that need no permission, and every kernel has. */
static const char *seccomp_hint(int error)
{
    return error == EPERM || error == ENOSYS ? " (does the container's seccomp profile forbid the call?)"
                                             : "";
}

static int stopped(const struct wrapper *w, int signo)
{
    const char digits[] = {(char)('0' + signo / 10), (char)('0' + signo % 10), '\0'};

    SAY(w->cmdline.log, "execwrap: stopped by signal ", signo < 10 ? digits + 1 : digits,
            " before the command was started", w->waits_for[0] != '\0' ? ", while waiting: " : "",
            w->waits_for);
    return 128 + signo;
}

/* Where the process is pivoted between its start and this look (a hook that races with the attach), its root
 * is new and its working directory is not: getcwd(2) then says "(unreachable)", libraries make an error of
 * it. */
static void note_workdir(struct wrapper *w)
{
    if (!getcwd(w->workdir, sizeof w->workdir) || w->workdir[0] != '/')
        w->workdir[0] = '\0';
}

/* The agent's mark in the volume says that "/" is a preserved root. */
static bool is_marked(int volume)
{
    char path[sizeof SC_MARKS_NAME + WIRE_MARK_MAX] = SC_MARKS_NAME "/";
    struct stat root, mark;

    if (stat("/", &root) < 0 || wire_mark_name(root.st_dev, root.st_ino, path + sizeof SC_MARKS_NAME) < 0)
        return false;
    return fstatat(volume, path, &mark, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(mark.st_mode) &&
           (mark.st_mode & 07777) == WIRE_MARK_MODE;
}

/* There is nothing to ask: the agent may be away, and probes and hooks go on. Of a process that a pivot met on
 * its way here only the agent knows the working directory. */
static bool has_root(const struct wrapper *w)
{
    if (w->cmdline.kind != WIRE_EXEC || w->workdir[0] == '\0')
        return false;
    return w->cmdline.chroot ? enter_is_ready() : is_marked(w->link.directory);
}

/* Only what is worth a word when the wait ends without an answer. */
static void note_wait(struct wrapper *w, const char *text)
{
    memcpy(w->waits_for, text, strlen(text) + 1); /* at most WIRE_TEXT_MAX: wire_decode_reply */
}

enum { GO_ON = -1 };

/* GO_ON; 0 when the agent has answered ATTACHED; otherwise the exit code. */
static int on_reply(struct wrapper *w, const struct wire_reply *p)
{
    switch (p->type) {
    case WIRE_ATTACHED:
        return 0;
    case WIRE_WAIT:
        note_wait(w, p->text);
        link_settled(&w->link);
        return GO_ON;
    case WIRE_REFUSED:
        if (!p->retryable)
            return NOT_STARTED(w, "the node agent refused to attach the root: ", p->text);
        note_wait(w, p->text);
        link_drop(&w->link);
        return GO_ON;
    case WIRE_HELLO:
    case WIRE_ATTACH:
    case WIRE_STOPPING:
    case WIRE_HELD:
    case WIRE_RELEASE:
        break;
    }
    return NOT_STARTED(w, "the node agent answered something else than was asked");
}

/* 0 when the agent has answered ATTACHED; otherwise the exit code. */
static int wait_for_attach(struct wrapper *w, struct wire_reply *ret_attached)
{
    const struct wire_request ask = {.type = WIRE_ATTACH,
            .kind = w->cmdline.kind,
            .want_entrypoint = w->cmdline.image_entrypoint,
            .have_args = w->cmdline.image_entrypoint && w->cmdline.count > 0};
    struct link_news news;
    int rc = GO_ON;

    while (rc == GO_ON) {
        switch (link_wait(&w->link, &w->signals, &news)) {
        case LINK_UP:
            link_send(&w->link, &ask);
            break;
        case LINK_REPLY:
            rc = on_reply(w, &news.reply);
            break;
        case LINK_SIGNAL:
            if (news.number == SIGALRM && w->cmdline.kind == WIRE_EXEC)
                return NOT_STARTED(w, "the root was waited for too long: ",
                        w->waits_for[0] != '\0' ? w->waits_for : "no node agent answers");
            return stopped(w, news.number);
        case LINK_BROKEN:
            return NOT_STARTED(w, "the node agent's answer cannot be understood: ", strerror(news.number));
        case LINK_DENIED:
            return NOT_STARTED(w, "cannot ", news.what, " the node agent at ", w->link.path, ": ",
                    strerror(news.number), seccomp_hint(news.number));
        }
    }
    if (rc == 0)
        *ret_attached = news.reply;
    return rc;
}

/* In the new root. Returns only on failure. */
static int become(struct wrapper *w, const struct wire_reply *attached)
{
    const char *workdir = attached->workdir[0] != '\0' ? attached->workdir : w->workdir;
    struct command_failure failure;
    const char *why;
    char **argv;
    int signo;

    if (workdir[0] == '\0')
        return NOT_STARTED(w, "the working directory is not known");
    if (!w->cmdline.chroot && chdir(workdir) < 0)
        return NOT_STARTED(w, "cannot change to the working directory ", workdir, ": ", strerror(errno));
    argv = cmdline_command(&w->cmdline, attached, &why);
    if (!argv)
        return NOT_STARTED(w, why);
    if (w->cmdline.chroot)
        argv = enter_command(argv, workdir, w->cmdline.log);
    if (!argv)
        return NOT_STARTED(w, strerror(ENOMEM));
    signo = signals_next(&w->signals);
    if (signo)
        return stopped(w, signo);
    signals_release(&w->signals);
    failure = command_exec(argv);
    if (w->cmdline.chroot)
        return NOT_STARTED(w, "cannot enter the preserved root by ", argv[0], ": ", failure.why, enter_hint);
    SAY(w->cmdline.log, "execwrap: cannot execute \"", argv[0], "\": ", failure.why);
    return failure.status;
}

/* As wait_for_attach, with an end to it. */
static int ask(struct wrapper *w, unsigned patience, struct wire_reply *ret_attached)
{
    int rc;

    if (w->cmdline.kind == WIRE_EXEC)
        (void)alarm(patience);
    rc = wait_for_attach(w, ret_attached);
    if (w->cmdline.kind == WIRE_EXEC)
        (void)alarm(0); /* an exec would hand it on */
    link_close(&w->link);
    return rc;
}

int wrap(int argc, char **argv, const char *socket_path, unsigned patience)
{
    static uint8_t buf[WIRE_REPLY_MAX];
    static struct wrapper w;
    struct wire_reply attached = {.type = WIRE_ATTACHED, .text = "", .workdir = ""};
    const char *wrong = cmdline_parse(argc, argv, &w.cmdline);
    int rc;

    if (wrong)
        return NOT_STARTED(&w, wrong);
    note_workdir(&w);
    if (chdir("/") < 0)
        return NOT_STARTED(&w, "cannot change to /: ", strerror(errno));
    rc = signals_catch(&w.signals, false);
    if (rc < 0)
        return NOT_STARTED(&w, "cannot catch signals: ", strerror(-rc), seccomp_hint(-rc));
    link_init(&w.link, socket_path, buf, sizeof buf);
    rc = has_root(&w) ? 0 : ask(&w, patience, &attached);
    return rc || w.cmdline.only_wait ? rc : become(&w, &attached);
}
