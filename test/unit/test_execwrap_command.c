/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execwrap: which command it becomes, where, and how it ends when it cannot.
 */
#include <stdlib.h>

#include "execwrap/cmdline.h"
#include "execwrap/command.h"
#include "execwrap/enter.h"
#include "execwrap/say.h"
#include "execwrap/wrap.h"
#include "test/unit/fake_agent.h"

/* --- the command line, pure
 * ------------------------------------------------------------------------------------- */

static uint8_t reply_buf[WIRE_REPLY_MAX];

static struct wire_reply attached_reply(const struct wire_attached *a)
{
    int len = wire_encode_attached(reply_buf, sizeof reply_buf, a);
    struct wire_frame f = {.version = WIRE_VERSION, .type = WIRE_ATTACHED, .data = reply_buf + WIRE_HEADER};
    struct wire_reply p;

    cr_assert_gt(len, 0, "%d", len);
    f.len = (size_t)len - WIRE_HEADER;
    cr_assert_eq(wire_decode_reply(&f, &p), 0);
    return p;
}

/* Splits a line at blanks into argv, "execwrap" first. Returns argc. */
static int words(const char *line, char **argv)
{
    static char copy[1024];
    int argc = 0;
    char *rest = copy;

    snprintf(copy, sizeof copy, "execwrap %s", line);
    for (char *word; (word = strsep(&rest, " "));) {
        if (word[0] != '\0')
            argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

static size_t count(const char *const *list)
{
    size_t n = 0;

    while (list[n])
        n++;
    return n;
}

Test(cmdline, usage)
{
    static const struct {
        const char *line;
        const char *wrong; /* a piece of the sentence, NULL for right */
    } cases[] = {
            {"run -- a", NULL},
            {"run -- -- a", NULL},
            {"run --image-entrypoint --", NULL},
            {"run --image-entrypoint -- a", NULL},
            {"run --termination-log /x -- a", NULL},
            {"run --termination-log /x --image-entrypoint -- --termination-log", NULL},
            {"run --chroot -- a", NULL},
            {"run --image-entrypoint --chroot --termination-log /x --", NULL},
            {"exec -- a", NULL},
            {"exec --chroot -- a", NULL},
            {"exec --chroot --", "no command specified"},
            {"ready --chroot", "usage: "},
            {"", "usage: "},
            {"run", "usage: "},
            {"--", "usage: "},
            {"help -- a", "usage: "},
            {"run a", "usage: "},
            {"run a -- a", "usage: "},
            {"run --termination-log -- a", "usage: "},
            {"run --termination-log --", "usage: "},
            {"run --no-such-option -- a", "usage: "},
            {"run --", "no command specified"},
            {"exec --", "no command specified"},
            {"exec --image-entrypoint -- a", "usage: "},
            {"exec --termination-log /x -- a", "usage: "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *argv[16];
        int argc = words(cases[i].line, argv);
        struct cmdline o;
        const char *wrong = cmdline_parse(argc, argv, &o);

        if (!cases[i].wrong)
            cr_assert_null(wrong, "\"%s\": %s", cases[i].line, wrong);
        else
            cr_assert(wrong && strstr(wrong, cases[i].wrong) == wrong, "\"%s\": %s", cases[i].line, wrong);
    }
    struct cmdline none;
    cr_assert_not_null(cmdline_parse(0, NULL, &none), "an argv without even a name");
}

Test(cmdline, values)
{
    char *argv[16];
    struct cmdline o;
    int argc = words("run --termination-log /x --image-entrypoint -- a -- b", argv);

    cr_assert_null(cmdline_parse(argc, argv, &o));
    cr_assert_eq(o.kind, WIRE_RUN);
    cr_assert(o.image_entrypoint);
    cr_assert_str_eq(o.log, "/x");
    cr_assert_eq(o.count, 3);
    cr_assert_str_eq(o.args[1], "--");
    argc = words("run -- a", argv);
    cr_assert_null(cmdline_parse(argc, argv, &o));
    cr_assert_str_eq(o.log, SAY_TERMINATION_LOG);
    cr_assert_not(o.image_entrypoint);
    cr_assert_not(o.chroot);
    argc = words("run --chroot -- a --chroot", argv);
    cr_assert_null(cmdline_parse(argc, argv, &o));
    cr_assert(o.chroot);
    cr_assert_eq(o.count, 2);
    argc = words("exec -- a", argv);
    cr_assert_null(cmdline_parse(argc, argv, &o));
    cr_assert_eq(o.kind, WIRE_EXEC);
    cr_assert_null(o.log, "a failing probe must not write over the container's own last words");
}

static bool meant(const char *name)
{
    char copy[128];
    char *argv[] = {copy, NULL};

    snprintf(copy, sizeof copy, "%s", name);
    return enter_is_meant(1, argv);
}

/* What the copy with the capability is called with, and for what other names it does the same. */
Test(enter, command)
{
    static const char *const names[] = {"ls", "/bin/ls", "", "execwrap", "/.stoppablecontainer/other",
            "/.stoppablecontainer/chroot/execwrap", "/.stoppablecontainer/execwrap/"};
    static const char *const argv[] = {"sh", "-c", "", NULL};
    char **c = enter_command((char *const *)(uintptr_t)argv, "/work", NULL);

    cr_assert_not_null(c);
    cr_assert_str_eq(c[0], "/.stoppablecontainer/chroot/execwrap");
    cr_assert_str_eq(c[1], "/work");
    cr_assert_str_eq(c[2], "");
    cr_assert_str_eq(c[3], "sh");
    cr_assert_str_eq(c[5], "");
    cr_assert_null(c[6]);
    free(c);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        cr_assert(meant(names[i]), "%s", names[i]);
    cr_assert(enter_is_meant(0, NULL));
    cr_assert_not(meant("/.stoppablecontainer/execwrap"));
}

Test(cmdline, command_by_the_rules_of_kubernetes)
{
    static const char *const none[] = {NULL};
    static const char *const entry[] = {"/entry", "-e", NULL};
    static const char *const cmd[] = {"cmd", NULL};
    static const struct {
        const char *line; /* of execwrap */
        const char *const *entrypoint, *const *cmd; /* as the agent answers */
        const char *want; /* joined by blanks; NULL: no command */
    } cases[] = {
            {"run -- a b", none, none, "a b"},
            {"run -- a b", entry, cmd, "a b"}, /* the agent answers more than was asked: command wins */
            {"exec -- a", entry, cmd, "a"},
            {"run --image-entrypoint --", entry, cmd, "/entry -e cmd"},
            {"run --image-entrypoint --", entry, none, "/entry -e"},
            {"run --image-entrypoint --", none, cmd, "cmd"},
            {"run --image-entrypoint --", none, none, NULL},
            {"run --image-entrypoint -- a", entry, none, "/entry -e a"},
            {"run --image-entrypoint -- a b", none, none, "a b"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct wire_attached a = {.entrypoint = cases[i].entrypoint,
                .entrypoint_count = count(cases[i].entrypoint),
                .cmd = cases[i].cmd,
                .cmd_count = count(cases[i].cmd)};
        struct wire_reply p = attached_reply(&a);
        const char *why = NULL;
        char *argv[16], **got;
        struct cmdline o;
        char joined[256] = "";

        cr_assert_null(cmdline_parse(words(cases[i].line, argv), argv, &o));
        got = cmdline_command(&o, &p, &why);
        if (!cases[i].want) {
            cr_assert_null(got);
            cr_assert_str_eq(why, "no command specified: neither the pod nor the image gives one");
            continue;
        }
        for (size_t k = 0; got[k]; k++) {
            strcat(joined, k ? " " : "");
            strcat(joined, got[k]);
        }
        cr_assert_str_eq(joined, cases[i].want);
    }
}

/* --- the whole program
 * ------------------------------------------------------------------------------------------- */

TestSuite(command, .init = fake_begin, .fini = fake_end, .timeout = 120);

struct case_ {
    const char *const *args; /* of execwrap */
    const char *path; /* PATH, with a blank for the test's directory; NULL: none */
    const char *cwd; /* in the test's directory; NULL: that itself */
    bool gone; /* remove the working directory before execwrap begins */
    struct wire_attached answer;
};

static int start(void *data)
{
    const struct case_ *c = data;
    size_t n = count(c->args);
    char **argv = calloc(n + 2, sizeof *argv);

    argv[0] = strdup("execwrap");
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = strdup(c->args[i]);
    clearenv();
    if (c->path)
        setenv("PATH", c->path, 1);
    if (chdir(c->cwd ? fake_path(c->cwd) : fake_dir) < 0 || (c->gone && rmdir(fake_path(c->cwd)) < 0))
        return 97;
    return wrap((int)n + 1, argv, fake_path("agent.sock"), 0);
}

/* Runs to the end. With `while_waiting`, that is called before the answer. */
static int run(const struct case_ *c, void (*while_waiting)(void))
{
    struct case_ copy = *c;
    pid_t pid = fake_start(start, &copy);
    int fd = fake_accept(), len, code;

    (void)fake_request(fd);
    if (while_waiting)
        while_waiting();
    len = wire_encode_attached(reply_buf, sizeof reply_buf, &c->answer);
    cr_assert_gt(len, 0);
    fake_bytes(fd, reply_buf, (size_t)len);
    code = fake_wait(pid);
    close(fd);
    return code;
}

static void expect(const char *name, const char *path, int code, const char *text)
{
    const char *const args[] = {"run", "--", name, "x", NULL};
    struct case_ c = {.args = args, .path = path};
    int got = run(&c, NULL);

    cr_assert_eq(got, code, "%s in %s: %d, %s", name, path, got, fake_content("err"));
    if (code < 126) {
        cr_assert_str_eq(fake_content("out"), text);
        cr_assert_str_eq(fake_content("err"), "");
    } else {
        cr_assert_not_null(strstr(fake_content("err"), text), "%s: %s", name, fake_content("err"));
        cr_assert_not_null(
                strstr(fake_content("err"), "execwrap: cannot execute \""), "%s", fake_content("err"));
    }
}

static void make_programs(void)
{
    static const char *const dirs[] = {"good", "plain", "dirs", "dirs/prog", "lost", "text", "sub"};

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        cr_assert_eq(mkdir(fake_path(dirs[i]), 0755), 0);
    fake_file("good/prog", "#!/bin/sh\necho good $0 $1\n", 0755);
    fake_file("plain/prog", "#!/bin/sh\necho plain\n", 0644);
    fake_file("lost/prog", "#!/no/such/interpreter\n", 0755);
    fake_file("text/prog", "echo a shell would run this\n", 0755);
    fake_file("sub/prog", "#!/bin/sh\necho sub\n", 0755);
    cr_assert_eq(symlink("prog", fake_path("text/loop1")), 0);
    cr_assert_eq(symlink("loop", fake_path("text/loop")), 0);
}

Test(command, names_with_a_slash)
{
    char want[256];

    make_programs();
    snprintf(want, sizeof want, "good %s x\n", fake_path("good/prog"));
    expect(fake_path("good/prog"), NULL, 0, want);
    expect("good/prog", NULL, 0, "good good/prog x\n");
    expect("./sub/prog", "", 0, "sub\n");
    expect("/no/such", "/bin", 127, "\"/no/such\": No such file or directory\n");
    expect("no/such", "/bin", 127, "No such file or directory\n");
    expect("good/prog/under", NULL, 127, "Not a directory\n");
    expect("text/loop", NULL, 127, "Too many levels of symbolic links\n");
    expect("plain/prog", NULL, 126, "Permission denied\n");
    expect("dirs/prog", NULL, 126, "Is a directory\n");
    expect("./", NULL, 126, "Is a directory\n");
    expect("lost/prog", NULL, 127, "its interpreter (after #!, or the dynamic loader) does not exist\n");
    expect("text/prog", NULL, 126, "Exec format error\n");
    expect("/dev/null", NULL, 126, "Permission denied\n");
}

/* PATH of directories of the test, given as "good:plain"; "" stands for an empty entry. */
static const char *path_of(const char *names)
{
    static char path[2048];
    char copy[256], *rest = copy;

    path[0] = '\0';
    snprintf(copy, sizeof copy, "%s", names);
    for (char *name; (name = strsep(&rest, ":"));) {
        strcat(path, path[0] != '\0' ? ":" : "");
        strcat(path, name[0] != '\0' && name[0] != '.' && name[0] != '/' ? fake_path(name) : name);
    }
    return path;
}

Test(command, names_in_path)
{
    static char too_long[PATH_MAX + 64];
    char want[256];

    make_programs();
    snprintf(want, sizeof want, "good %s x\n", fake_path("good/prog"));
    expect("prog", path_of("good"), 0, want);
    expect("prog", path_of("/no/such:good:sub"), 0, want);
    expect("prog", path_of("plain:dirs:lost:good"), 0, want);
    expect("prog", path_of("sub:good"), 0, "sub\n");
    expect("prog", path_of("plain:dirs"), 126, "Permission denied\n");
    expect("prog", path_of("lost"), 127, "its interpreter");
    expect("prog", path_of("dirs"), 127, "not found in PATH\n");
    expect("prog", path_of("text:good"), 126, "Exec format error\n");
    expect("no-such-program", path_of("good:sub:/bin"), 127, "\"no-such-program\": not found in PATH\n");
    expect("prog", NULL, 127, "not found: PATH is empty\n");
    expect("prog", "", 127, "not found: PATH is empty\n");
    expect("", "/bin", 127, "not found: the name is empty\n");
    expect("prog", ":", 127, "not found in PATH\n");
    expect("prog", "good:./sub::.", 127, "not found in PATH\n");
    memset(too_long, 'a', sizeof too_long - 1);
    too_long[0] = '/';
    expect("prog", too_long, 127, "not found in PATH\n");
    expect(too_long + 1, "/bin", 127, "not found in PATH\n");
    expect(too_long, "/bin", 127, "File name too long\n");
}

/* A long name must not hide why. */
Test(command, long_lines_are_cut)
{
    static char name[100000];
    const char *const args[] = {"run", "--", name, NULL};
    struct case_ c = {.args = args};

    memset(name, 'n', sizeof name - 1);
    cr_assert_eq(run(&c, NULL), 127);
    const char *err = fake_content("err");
    cr_assert_leq(strlen(err), 1200);
    cr_assert_not_null(strstr(err, "nnn...\": not found: PATH is empty\n"), "%s", err);
}

Test(command, entrypoint_and_cmd_are_executed)
{
    static const char *const args[] = {"run", "--image-entrypoint", "--", NULL};
    static const char *const entry[] = {"printf", "[%s]"};
    static const char *const cmd[] = {"", "a b", "$HOME"};
    struct case_ c = {.args = args,
            .path = "/usr/bin:/bin",
            .answer = {.entrypoint = entry, .entrypoint_count = 2, .cmd = cmd, .cmd_count = 3}};

    cr_assert_eq(run(&c, NULL), 0);
    cr_assert_str_eq(fake_content("out"), "[][a b][$HOME]");
    c.answer = (struct wire_attached){0};
    cr_assert_eq(run(&c, NULL), WRAP_NOT_STARTED);
    cr_assert_not_null(strstr(fake_content("err"), "no command specified"));
}

/* --- working directory
 * ------------------------------------------------------------------------------------------- */

static const char *const pwd[] = {"run", "--", "/bin/pwd", NULL};

static void expect_pwd(const char *dir)
{
    char want[128];

    snprintf(want, sizeof want, "%s\n", dir);
    cr_assert_str_eq(fake_content("out"), want, "%s", fake_content("err"));
}

Test(command, working_directory_is_kept)
{
    struct case_ c = {.args = pwd, .cwd = "here"};

    cr_assert_eq(mkdir(fake_path("here"), 0755), 0);
    cr_assert_eq(run(&c, NULL), 0);
    expect_pwd(fake_path("here"));
}

static void move_here(void)
{
    cr_assert_eq(rename(fake_path("here"), fake_path("there")), 0);
    cr_assert_eq(mkdir(fake_path("here"), 0755), 0);
}

/* It is found again by its path: the one in the new root, not the one that the process once was in. */
Test(command, working_directory_is_found_by_path)
{
    static const char *const args[] = {
            "run", "--", "/bin/sh", "-c", "stat -c %i .; stat -c %i \"$PWD\"; pwd -P", NULL};
    struct case_ c = {.args = args, .cwd = "here", .path = "/usr/bin:/bin"};
    unsigned long first, second;
    char dir[128];

    cr_assert_eq(mkdir(fake_path("here"), 0755), 0);
    cr_assert_eq(run(&c, move_here), 0);
    cr_assert_eq(sscanf(fake_content("out"), "%lu %lu %127s", &first, &second, dir), 3);
    cr_assert_eq(first, second);
    cr_assert_str_eq(dir, fake_path("here"));
}

Test(command, working_directory_of_the_runtime_wins)
{
    struct case_ c = {.args = pwd, .cwd = "here", .answer = {.workdir = "/usr"}};

    cr_assert_eq(mkdir(fake_path("here"), 0755), 0);
    cr_assert_eq(run(&c, NULL), 0);
    expect_pwd("/usr");
    c.gone = true;
    cr_assert_eq(run(&c, NULL), 0, "a process that was pivoted too early knows only this one");
    expect_pwd("/usr");
    cr_assert_eq(mkdir(fake_path("here"), 0755), 0);
    c.answer.workdir = NULL;
    cr_assert_eq(run(&c, NULL), WRAP_NOT_STARTED);
    cr_assert_str_eq(fake_content("err"), "execwrap: the working directory is not known\n");
}

static void remove_here(void)
{
    cr_assert_eq(rmdir(fake_path("here")), 0);
}

Test(command, working_directory_that_is_missing_is_told)
{
    struct case_ c = {.args = pwd, .cwd = "here"};
    char want[256];

    cr_assert_eq(mkdir(fake_path("here"), 0755), 0);
    cr_assert_eq(run(&c, remove_here), WRAP_NOT_STARTED);
    snprintf(want, sizeof want,
            "execwrap: cannot change to the working directory %s: No such file or directory\n",
            fake_path("here"));
    cr_assert_str_eq(fake_content("err"), want);
}

/* --- sizes
 * ---------------------------------------------------------------------------------------------------------
 */

enum { MANY = 10000, LONG = 120 * 1024 };

static const char script[] = "echo $# ${#1} ${#2}";

Test(command, ten_thousand_arguments_of_the_pod)
{
    static const char *args[MANY + 8] = {"run", "--", "/bin/sh", "-c", script, "sh"};
    struct case_ c = {.args = args};

    for (size_t i = 0; i < MANY; i++)
        args[6 + i] = "a";
    cr_assert_eq(run(&c, NULL), 0);
    cr_assert_str_eq(fake_content("out"), "10000 1 1\n");
}

Test(command, ten_thousand_arguments_of_the_image_and_more_of_the_pod)
{
    static const char *const args[] = {"run", "--image-entrypoint", "--", "x", "y", NULL};
    static const char *entry[MANY + 4] = {"/bin/sh", "-c", script, "sh"};
    struct case_ c = {.args = args, .answer = {.entrypoint = entry, .entrypoint_count = MANY + 4}};

    for (size_t i = 0; i < MANY; i++)
        entry[4 + i] = "ab";
    cr_assert_eq(run(&c, NULL), 0);
    cr_assert_str_eq(fake_content("out"), "10002 2 2\n");
}

Test(command, one_long_argument)
{
    static char text[LONG + 1];
    const char *const args[] = {"run", "--", "/bin/sh", "-c", script, "sh", text, NULL};
    const char *const image[] = {"run", "--image-entrypoint", "--", NULL};
    const char *const entry[] = {"/bin/sh", "-c", script, "sh", text};
    struct case_ c = {.args = args};

    memset(text, 'x', LONG);
    cr_assert_eq(run(&c, NULL), 0);
    cr_assert_str_eq(fake_content("out"), "1 122880 0\n");
    c = (struct case_){.args = image, .answer = {.entrypoint = entry, .entrypoint_count = 5}};
    cr_assert_eq(run(&c, NULL), 0);
    cr_assert_str_eq(fake_content("out"), "1 122880 0\n");
}
