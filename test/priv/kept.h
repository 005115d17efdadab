/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root of persistence Node in a scene (scene.h), whose namespace plays the machine's: read from a provider, made, mounted by a
 * worker. It lies in STATE/PLACE.
 */
#pragma once

#include "node-agent/keptroot.h"
#include "node-agent/mounts/overlay.h"
#include "test/priv/scene.h"

#define STATE BOX_BASE "/state"
#define PLACE "instances/uid/main"
#define ROOT STATE "/" PLACE "/rootfs"
#define CHAIN "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* What a mount is to be like, if not as it should. */
struct kept_twist {
    const char *runtime_root, *state_dir;
    char *layer;
};

struct kept {
    struct agent *agent;
    int machine_ns, dir;
    struct overlay_layers layers;
    int root; /* the provider's "/" */
};

static void kept_on_looked(int code, const char *text, struct overlay_layers *layers, int *root, void *data)
{
    struct kept *n = data;

    agent_keep(n->agent, code, text);
    if (code < 0)
        return;
    n->layers = *layers;
    *layers = (struct overlay_layers){.n = 0};
    n->root = take_fd(root);
}

static int kept_look(struct kept *n, pid_t pid)
{
    _cleanup_process_ struct process p = PROCESS_INIT;
    _cleanup_mntns_ struct mntns ns = MNTNS_INIT;
    struct mntns_rules rules = {.expected = NULL};
    struct err err = ERR_INIT;

    must(process_pin(pid, &p, &err) == 0 && mntns_open(&p, &n->agent->machine, &rules, &ns, &err) == 0);
    const struct overlay_look_request req = {
            .pod = "provider", .target = "look", .machine = &n->agent->machine, .ns = &ns};

    n->agent->answered = false;
    must(overlay_look_start(n->agent->workers, &req, kept_on_looked, n, &err) == 0);
    agent_wait(n->agent);
    return n->agent->code;
}

_unused_ static int kept_mount(struct kept *n, const struct kept_twist *t)
{
    struct overlay_layers layers = {.n = 1, .paths = t && t->layer ? (char *[]){t->layer} : NULL};
    const struct overlay_mount_request req = {
            .pod = "provider",
            .target = PLACE,
            .machine_ns = n->machine_ns,
            .caps = &n->agent->caps,
            .layers = t && t->layer ? &layers : &n->layers,
            .runtime_root = t ? t->runtime_root : NULL,
            .state_dir = t && t->state_dir ? t->state_dir : STATE,
            .path = PLACE,
            .dir = n->dir,
            .upper = "upper",
            .work = "work",
            .name = "rootfs",
    };
    struct err err = ERR_INIT;
    int r;

    n->agent->answered = false;
    r = overlay_mount_start(n->agent->workers, &req, agent_on_exposed, n->agent, &err);
    if (r < 0) {
        agent_keep(n->agent, r, err_text(&err));
        return r;
    }
    agent_wait(n->agent);
    return n->agent->code;
}

/* A node with a provider whose root was looked at, and a root of its own made for it; size_limit: in bytes, or 0. */
_unused_ static void kept_start(struct kept *n, struct agent *a, struct box *provider,
        const struct box_spec *spec, uint64_t size_limit)
{
    struct record record = {.ns = "tenant", .chain = CHAIN, .size_limit = size_limit};
    struct err err = ERR_INIT;
    int r;

    *n = (struct kept){.agent = a, .root = -EBADF};
    n->machine_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    put_dir(STATE "/instances");
    put_dir(STATE "/instances/uid");
    put_dir(STATE "/" PLACE);
    n->dir = open(STATE "/" PLACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(n->machine_ns >= 0 && n->dir >= 0);
    box_start(provider, spec);
    tap_ok(kept_look(n, provider->pid) == 0, "the layers are read (%s)", a->text);
    must(n->root >= 0);
    r = keptroot_make(n->dir, n->root, false, &record, &err);
    tap_ok(r == 0, "a root is made (%s)", err_text(&err));
}

_unused_ static void kept_end(struct kept *n)
{
    (void)expose_remove(n->dir, "rootfs", NULL);
    overlay_layers_free(&n->layers);
    (void)close_fd(n->root);
    (void)close_fd(n->dir);
    (void)close_fd(n->machine_ns);
}
