/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's half of attach: the private copy of the exposed root, the worker, and its news.
 */
#include "node-agent/mounts/attach.h"

#include <string.h>

#include "common/base/limits.h"
#include "node-agent/mounts/attach_steps.h"
#include "node-agent/mounts/chroot_tools.h"

/* One attach under way; lives from attach_start to the callback. */
struct attachment {
    attach_done_fn done;
    void *data;
};

/* Notes are strings in pairs; one without its partner is dropped. */
static size_t read_asides(const struct worker_result *res, struct attach_aside ret[LIMIT_ASIDES])
{
    const char *at = res->notes, *end = res->notes + res->notes_len;
    size_t n = 0;

    while (at < end && n < LIMIT_ASIDES) {
        const char *path = at, *moved_to = at + strlen(at) + 1;

        if (moved_to >= end)
            break;
        ret[n++] = (struct attach_aside){.path = path, .moved_to = moved_to};
        at = moved_to + strlen(moved_to) + 1;
    }
    return n;
}

static void on_attached(struct worker_result *res, void *data)
{
    struct attach_aside asides[LIMIT_ASIDES];
    _cleanup_free_ struct attachment *a = data;
    const struct attach_result result = {
            .code = res->code < 0 ? res->code : 0,
            .text = res->text,
            .already = res->code == ATTACH_ALREADY,
            .commands_cut = res->code == ATTACH_COMMANDS_CUT,
            .asides = asides,
            .n_asides = read_asides(res, asides),
    };

    a->done(&result, a->data);
}

/* The consumer's copy: its own, and without what protects the node from it. */
static int prepare_root(const struct attach_request *req, int *ret, struct err *err)
{
    _cleanup_close_ int root = -EBADF;
    const struct mount_change open_up = {
            .clear = MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC | MOUNT_RDONLY |
                     (req->caps->nosymfollow ? MOUNT_NOSYMFOLLOW : 0),
            .spread = MOUNT_SPREAD_PRIVATE,
    };
    int r;

    root = mount_clone(req->exposed, false);
    if (root < 0)
        return err_set(err, root, "cannot copy the exposed root");
    r = mount_change(root, &open_up);
    if (r < 0)
        return err_set(err, r, "cannot clear the flags of the container's copy of the root");
    *ret = take_fd(&root);
    return 0;
}

int attach_start(struct workers *ws, const struct attach_request *req, attach_done_fn done, void *data,
        struct err *err)
{
    _cleanup_free_ struct attachment *a = NULL;
    _cleanup_close_ int root = -EBADF, tools = -EBADF;
    struct attach_steps steps = {.req = req};
    int r;

    r = prepare_root(req, &root, err);
    if (r == 0 && req->chroot)
        r = chroot_tools_make(req->chroot, &tools, err);
    if (r < 0)
        return r;
    a = malloc(sizeof(*a));
    if (!a)
        return err_set(err, ENOMEM, "cannot attach a root");
    *a = (struct attachment){.done = done, .data = data};
    steps.root = root;
    steps.tools = tools;

    const int keep[] = {req->ns->fd, req->process->procfd, root, tools};
    const struct worker_job job = {
            .what = "attach",
            .pod = req->pod,
            .target = req->target,
            .run = attach_run,
            .run_data = &steps,
            .keep = keep,
            .n_keep = ARRAY_SIZE(keep) - (tools < 0),
            .done = on_attached,
            .done_data = a,
    };
    r = worker_start(ws, &job, err);
    if (r < 0)
        return r;
    (void)take_ptr(a);
    return 0;
}
