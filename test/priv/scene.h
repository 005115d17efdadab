/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scene: a forked process in a private mount namespace that plays the agent on a small node. It has a state
 * directory that is shared as the real one is, a loop, workers, and boxes as provider and consumer. Each
 * scene is built anew, and everything it made goes away with its processes.
 */
#pragma once

#include "common/names.h"
#include "node-agent/mounts/attach.h"
#include "node-agent/mounts/expose.h"
#include "test/priv/machine.h"

struct agent {
    struct loop *loop;
    struct workers *workers;
    struct machine machine;
    struct mount_caps caps;
    int state; /* shared */
    bool answered;
    int code;
    char text[ERR_TEXT_MAX];
    bool already;
    bool commands_cut;
    size_t n_asides;
    char asides[8][2][256];
};

/* What a test says about an attach, beyond the two boxes. */
struct wish {
    const char *workdir;
    const char *const *own_mounts;
    size_t n_own_mounts;
    const char *const *image_volumes;
    size_t n_image_volumes;
    bool read_only;
    const struct attach_chroot *chroot;
};

static void agent_start(struct agent *a)
{
    struct err err = ERR_INIT;

    *a = (struct agent){.state = -EBADF};
    must(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("base", BOX_BASE, "tmpfs", 0, NULL) == 0);
    put_dir(BOX_BASE "/state");
    must(mount("state", BOX_BASE "/state", "tmpfs", 0, NULL) == 0);
    must(mount(NULL, BOX_BASE "/state", NULL, MS_SHARED, NULL) == 0);
    put_file(BOX_BASE "/hosts", "of the pod");
    a->state = open(BOX_BASE "/state", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(a->state >= 0);
    must(loop_new(&a->loop, &err) == 0 && workers_new(a->loop, &a->workers, &err) == 0);
    must(machine_read(&a->machine, &err) == 0 && mount_caps_probe(&a->caps, &err) == 0);
}

_unused_ static void agent_wait(struct agent *a)
{
    usec_t end = usec_add(clock_monotonic(), 20 * USEC_PER_SEC);

    while (!a->answered && clock_monotonic() < end)
        (void)loop_turn(a->loop, USEC_PER_SEC);
    must(a->answered);
}

static void agent_keep(struct agent *a, int code, const char *text)
{
    a->answered = true;
    a->code = code;
    (void)snprintf(a->text, sizeof(a->text), "%s", text);
}

static void agent_on_exposed(int code, const char *text, void *data)
{
    agent_keep(data, code, text);
}

static void agent_on_attached(const struct attach_result *res, void *data)
{
    struct agent *a = data;

    agent_keep(a, res->code, res->text);
    a->already = res->already;
    a->commands_cut = res->commands_cut;
    a->n_asides = res->n_asides;
    for (size_t i = 0; i < res->n_asides && i < ARRAY_SIZE(a->asides); i++) {
        (void)snprintf(a->asides[i][0], sizeof(a->asides[i][0]), "%s", res->asides[i].path);
        (void)snprintf(a->asides[i][1], sizeof(a->asides[i][1]), "%s", res->asides[i].moved_to);
    }
}

/* Pins, judges, exposes at state/NAME. Returns the code; the sentence is in a->text. */
_unused_ static int agent_expose(struct agent *a, pid_t pid, const char *name)
{
    _cleanup_process_ struct process p = PROCESS_INIT;
    _cleanup_mntns_ struct mntns ns = MNTNS_INIT;
    struct mntns_rules rules = {.expected = NULL};
    struct err err = ERR_INIT;
    int r;

    r = process_pin(pid, &p, &err);
    if (r == 0)
        r = mntns_open(&p, &a->machine, &rules, &ns, &err);
    if (r == 0) {
        const struct expose_request req = {.pod = "provider",
                .target = name,
                .machine = &a->machine,
                .caps = &a->caps,
                .process = &p,
                .ns = &ns,
                .dir = a->state,
                .name = name};

        a->answered = false;
        r = expose_start(a->workers, &req, agent_on_exposed, a, &err);
    }
    if (r < 0) {
        agent_keep(a, r, err_text(&err));
        return r;
    }
    agent_wait(a);
    return a->code;
}

_unused_ static int agent_attach_start(
        struct agent *a, pid_t pid, const char *exposed, const struct wish *wish, struct err *err)
{
    _cleanup_process_ struct process p = PROCESS_INIT;
    _cleanup_mntns_ struct mntns ns = MNTNS_INIT;
    _cleanup_close_ int root = -EBADF;
    struct mntns_rules rules = {.expected = NULL};
    int r;

    r = process_pin(pid, &p, err);
    if (r == 0)
        r = mntns_open(&p, &a->machine, &rules, &ns, err);
    if (r == 0)
        r = expose_open(a->state, exposed, &root, err);
    if (r < 0)
        return r;
    const struct attach_request req = {.pod = "consumer",
            .target = at("consumer-%d", (int)pid),
            .machine = &a->machine,
            .caps = &a->caps,
            .process = &p,
            .ns = &ns,
            .exposed = root,
            .workdir = wish->workdir,
            .own_mounts = wish->own_mounts,
            .n_own_mounts = wish->n_own_mounts,
            .image_volumes = wish->image_volumes,
            .n_image_volumes = wish->n_image_volumes,
            .read_only = wish->read_only,
            .chroot = wish->chroot};

    a->answered = false;
    return attach_start(a->workers, &req, agent_on_attached, a, err);
}

/* Returns the code; the rest is in a. */
_unused_ static int agent_attach(struct agent *a, pid_t pid, const char *exposed, const struct wish *wish)
{
    struct err err = ERR_INIT;
    int r;

    r = agent_attach_start(a, pid, exposed, wish, &err);
    if (r < 0) {
        agent_keep(a, r, err_text(&err));
        return r;
    }
    agent_wait(a);
    return a->code;
}

static void agent_end(struct agent *a)
{
    a->workers = workers_free(a->workers);
    a->loop = loop_free(a->loop);
    a->state = close_fd(a->state);
}

/* The mount table of a process as text; free it. */
_unused_ static char *mounts_of(pid_t pid)
{
    struct buf b = BUF_INIT(8 * 1024 * 1024);
    FILE *f = fopen(at("/proc/%d/mountinfo", (int)pid), "re");
    char chunk[4096];
    size_t n;

    must(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        must(buf_append(&b, chunk, n) == 0);
    (void)fclose(f);
    return buf_take(&b, NULL);
}

/* The line of the table that ends at mount point `path`, cut to `size`; false when there is none. The last
 * one, which is the topmost. */
_unused_ static bool mount_line(const char *table, const char *path, char *ret, size_t size)
{
    char wanted[300];
    bool found = false;

    (void)snprintf(wanted, sizeof(wanted), " %s ", path);
    for (const char *line = table; line && *line;) {
        const char *end = strchrnul(line, '\n');
        const char *hit = memmem(line, (size_t)(end - line), wanted, strlen(wanted));

        if (hit) {
            (void)snprintf(ret, size, "%.*s", (int)(end - line), line);
            found = true;
        }
        line = *end ? end + 1 : NULL;
    }
    return found;
}

struct scene {
    const char *name;
    void (*play)(struct agent *a);
};

/* Plays one scene in a process of its own. */
_unused_ static void scene_play(const struct scene *s)
{
    pid_t pid;
    int status = -1;

    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        struct agent a;

        printf("# %s\n", s->name);
        agent_start(&a);
        s->play(&a);
        agent_end(&a);
        fflush(stdout);
        _exit(tap_status());
    }
    must(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status))
        tap_ok(false, "%s: ended by signal %d", s->name, WTERMSIG(status));
    else
        tap_failures += WEXITSTATUS(status) != 0;
}

struct scene_list {
    const struct scene *scenes;
    size_t n;
};

/* SC_TEST_ONLY names the one scene to play, SC_TEST_WITHOUT those that are left out: "deep,wide". */
static bool is_played(const char *name)
{
    const char *only = getenv("SC_TEST_ONLY"), *without = getenv("SC_TEST_WITHOUT");

    return (!only || strcmp(only, name) == 0) && !(without && strstr(at(",%s,", without), at(",%s,", name)));
}

static int play_all(const void *data)
{
    const struct scene_list *list = data;

    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("proc", "/proc", "proc", 0, NULL) == 0);
    for (size_t i = 0; i < list->n; i++)
        if (is_played(list->scenes[i].name))
            scene_play(&list->scenes[i]);
    return tap_status();
}

/* The scenes play on a machine of their own (machine.h). */
_unused_ static int scenes_main(const struct scene *scenes, size_t n)
{
    const struct scene_list list = {.scenes = scenes, .n = n};

    return on_own_machine(play_all, &list);
}
