/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See probe.h.
 */
#include "node-agent/probe.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "common/base/loop.h"
#include "common/names.h"
#include "common/rpc/client.h"

#define PROBE_TIMEOUT (4 * USEC_PER_SEC)

struct probe {
    struct loop *loop;
    bool alive;
    int code;
    struct err *err;
};

/* ProbeResponse{ready: BoolValue}: field 1, a message whose field 1 is the bool; absent means ready. */
static int read_ready(struct pb_slice message, bool *ret_ready)
{
    struct pb_slice value = {0};
    struct pb_reader reader;
    struct pb_field f;
    bool ready = false; /* a BoolValue without a value */
    int r;

    pb_reader_init(&reader, message.data, message.len);
    while ((r = pb_next(&reader, &f)) > 0)
        if (f.number == 1 && (r = pb_get_message(&f, &value)) < 0)
            return r;
    if (r < 0)
        return r;
    pb_reader_init(&reader, value.data, value.len);
    while ((r = pb_next(&reader, &f)) > 0)
        if (f.number == 1 && (r = pb_get_bool(&f, &ready)) < 0)
            return r;
    if (r == 0)
        *ret_ready = ready || !value.data;
    return r;
}

static void on_answer(struct rpc_unary *unary, const struct rpc_result *result, void *user)
{
    struct probe *p = user;
    bool ready = false;

    (void)unary;
    loop_stop(p->loop, 0);
    if (result->status != GRPC_OK)
        p->code = err_say(p->err, EIO, "the agent does not answer: %s", result->text);
    else if (read_ready(result->message, &ready) < 0)
        p->code = err_say(p->err, EBADMSG, "the agent's answer makes no sense");
    else if (!ready && !p->alive)
        p->code =
                err_say(p->err, EAGAIN, "the agent is not ready: the kubelet has not registered the driver");
}

int probe_run(const char *kubelet_dir, bool alive, struct err *err)
{
    _cleanup_loop_ struct loop *loop = NULL;
    _cleanup_rpc_client_ struct rpc_client *client = NULL;
    struct probe probe = {.alive = alive, .err = err};
    const struct rpc_unary_spec call = {
            .method = "/csi.v1.Identity/Probe",
            .timeout = PROBE_TIMEOUT,
            .fn = on_answer,
            .user = &probe,
    };
    char socket_path[PATH_MAX];
    int r = loop_new(&loop, err);

    (void)snprintf(socket_path, sizeof(socket_path), "%s/plugins/" SC_CSI_DRIVER "/csi.sock", kubelet_dir);
    if (r == 0)
        r = rpc_client_new(loop, socket_path, &client, err);
    if (r == 0)
        r = rpc_unary_start(client, &call, NULL, err);
    if (r < 0)
        return r;
    probe.loop = loop;
    r = loop_run(loop);
    return r < 0 ? err_set(err, r, "the event loop failed") : probe.code;
}
