/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CSI services (node_service.h): methods, one call per volume, answers.
 *
 * The kubelet makes a new connection for each call and asks NodeGetCapabilities before each publish and once
 * a minute for each volume: the empty answer means no staging, no statistics, no more questions.
 */
#include "node-agent/csi/node_service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/limits.h"
#include "common/base/map.h"
#include "common/names.h"
#include "common/rpc/pb.h"
#include "common/rpc/server.h"
#include "node-agent/csi/request.h"

#define KUBELET_DIR "/var/lib/kubelet"

struct csi_node_service {
    struct loop *loop;
    struct rpc_server *server;
    const struct csi_ops *ops;
    void *user;
    char *driver_name;
    char *driver_version;
    char *node_id;
    char *kubelet_dir;
    struct map *busy; /* volume id -> struct csi_call, all that the core has not answered */
    bool closing; /* being freed: nobody is told anything */
    bool server_drained;
    void (*drained)(void *user);
    void *drained_user;
    struct loop_source *drained_src;
};

struct csi_call {
    struct csi_node_service *service;
    struct rpc_call *rpc; /* NULL: the kubelet has given up */
    struct csi_request *request;
    void *data;
};

/* --- answers
 * ------------------------------------------------------------------------------------------------ */

static void reply(struct rpc_call *rpc, const struct buf *message)
{
    if (buf_error(message) < 0)
        rpc_call_fail(rpc, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
    else
        rpc_call_reply(rpc, message->data, message->len);
}

static void reply_empty(
        struct rpc_call *rpc, _unused_ const uint8_t *msg, _unused_ size_t len, _unused_ void *user)
{
    rpc_call_reply(rpc, NULL, 0);
}

static void get_plugin_info(
        struct rpc_call *rpc, _unused_ const uint8_t *msg, _unused_ size_t len, void *user)
{
    const struct csi_node_service *s = user;
    _cleanup_buf_ struct buf b = BUF_INIT(KIB);

    pb_put_string(&b, 1, s->driver_name);
    pb_put_string(&b, 2, s->driver_version);
    reply(rpc, &b);
}

static void probe(struct rpc_call *rpc, _unused_ const uint8_t *msg, _unused_ size_t len, void *user)
{
    const struct csi_node_service *s = user;
    _cleanup_buf_ struct buf b = BUF_INIT(KIB), value = BUF_INIT(KIB);

    pb_put_bool(&value, 1, !s->ops->ready || s->ops->ready(s->user));
    pb_put_message(&b, 1, &value);
    reply(rpc, &b);
}

/* The topology becomes a label of the node, by the kubelet's hand: consumers require it, so that the
 * scheduler puts none on a node without an agent. */
static void node_get_info(struct rpc_call *rpc, _unused_ const uint8_t *msg, _unused_ size_t len, void *user)
{
    const struct csi_node_service *s = user;
    _cleanup_buf_ struct buf b = BUF_INIT(4 * KIB), topology = BUF_INIT(KIB);

    pb_put_string(&b, 1, s->node_id);
    pb_put_map_entry(&topology, 1, SC_TOPOLOGY_KEY, SC_TOPOLOGY_VALUE);
    pb_put_message(&b, 3, &topology);
    reply(rpc, &b);
}

/* --- calls that the core answers
 * ---------------------------------------------------------------------------- */

static void tell_drained(_unused_ struct loop_source *src, void *data)
{
    struct csi_node_service *s = data;
    void (*fn)(void *) = s->drained;

    s->drained_src = loop_remove(s->drained_src);
    s->drained = NULL;
    if (fn)
        fn(s->drained_user);
}

/* The server may be drained while the core still works on calls that the kubelet gave up. */
static void check_drained(struct csi_node_service *s)
{
    if (s->drained && s->server_drained && map_size(s->busy) == 0 && !s->drained_src)
        (void)loop_add_defer(s->loop, "csi drained", tell_drained, s, &s->drained_src);
}

static void call_free(struct csi_call *call)
{
    map_remove(call->service->busy, call->request->publish.volume_id);
    csi_request_free(call->request);
    free(call);
}

void csi_call_ok(struct csi_call *call)
{
    struct csi_node_service *s = call->service;

    if (call->rpc)
        rpc_call_reply(call->rpc, NULL, 0);
    call_free(call);
    check_drained(s);
}

void csi_call_fail(struct csi_call *call, enum grpc_status status, const char *fmt, ...)
{
    struct csi_node_service *s = call->service;
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (call->rpc)
        rpc_call_fail(call->rpc, status, "%s", text);
    call_free(call);
    check_drained(s);
}

bool csi_call_cancelled(const struct csi_call *call)
{
    return !call->rpc;
}

void csi_call_set_data(struct csi_call *call, void *data)
{
    call->data = data;
}

void *csi_call_data(const struct csi_call *call)
{
    return call->data;
}

static void on_cancel(_unused_ struct rpc_call *rpc, void *user)
{
    struct csi_call *call = user;
    struct csi_node_service *s = call->service;

    call->rpc = NULL;
    if (!s->closing && s->ops->cancelled)
        s->ops->cancelled(call, s->user);
}

static void refuse(struct rpc_call *rpc, int code, const struct err *err)
{
    rpc_call_fail(
            rpc, code == -ENOMEM ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT, "%s", err_text(err));
}

/* Makes the call that the core gets, or answers and returns NULL. Takes the request. */
static struct csi_call *begin(struct csi_node_service *s, struct rpc_call *rpc, struct csi_request *request)
{
    _cleanup_csi_request_ struct csi_request *req = request;
    _cleanup_free_ struct csi_call *call = NULL;

    if (map_has(s->busy, req->publish.volume_id)) {
        rpc_call_fail(rpc, GRPC_ABORTED, "another call for this volume is under way");
        return NULL;
    }
    call = calloc(1, sizeof(*call));
    if (!call || map_put(s->busy, req->publish.volume_id, call) < 0) {
        rpc_call_fail(rpc, GRPC_RESOURCE_EXHAUSTED, "too many calls are under way");
        return NULL;
    }
    req->publish.deadline = rpc_call_deadline(rpc);
    call->service = s;
    call->rpc = rpc;
    call->request = take_ptr(req);
    rpc_call_on_cancel(rpc, on_cancel, call);
    return take_ptr(call);
}

static void node_publish(struct rpc_call *rpc, const uint8_t *msg, size_t len, void *user)
{
    struct csi_node_service *s = user;
    struct csi_request *request;
    struct err err = ERR_INIT;
    struct csi_call *call;
    int rc = csi_request_publish(s->kubelet_dir, msg, len, &request, &err);

    if (rc < 0) {
        refuse(rpc, rc, &err);
        return;
    }
    call = begin(s, rpc, request);
    if (call)
        s->ops->publish(&call->request->publish, call, s->user);
}

static void node_unpublish(struct rpc_call *rpc, const uint8_t *msg, size_t len, void *user)
{
    struct csi_node_service *s = user;
    struct csi_unpublish_request req;
    struct csi_request *request;
    struct err err = ERR_INIT;
    struct csi_call *call;
    int rc = csi_request_unpublish(s->kubelet_dir, msg, len, &request, &err);

    if (rc < 0) {
        refuse(rpc, rc, &err);
        return;
    }
    call = begin(s, rpc, request);
    if (!call)
        return;
    req = (struct csi_unpublish_request){.volume_id = request->publish.volume_id,
            .target_path = request->publish.target_path,
            .volume_name = request->publish.volume_name,
            .pod_uid = request->publish.pod_uid,
            .deadline = request->publish.deadline};
    s->ops->unpublish(&req, call, s->user);
}

/* --- life
 * --------------------------------------------------------------------------------------------------- */

static int add_methods(struct csi_node_service *s)
{
    static const struct {
        const char *path;
        rpc_handler_fn fn;
    } methods[] = {
            {"/csi.v1.Identity/GetPluginInfo", get_plugin_info},
            {"/csi.v1.Identity/GetPluginCapabilities", reply_empty},
            {"/csi.v1.Identity/Probe", probe},
            {"/csi.v1.Node/NodeGetInfo", node_get_info},
            {"/csi.v1.Node/NodeGetCapabilities", reply_empty},
            {"/csi.v1.Node/NodePublishVolume", node_publish},
            {"/csi.v1.Node/NodeUnpublishVolume", node_unpublish},
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(methods); i++)
        rc = rpc_server_handle(s->server, methods[i].path, methods[i].fn, s);
    return rc;
}

static int copy_config(struct csi_node_service *s, const struct csi_node_config *config)
{
    const char *dir = config->kubelet_dir ? config->kubelet_dir : KUBELET_DIR;
    size_t len = strlen(dir);

    while (len > 0 && dir[len - 1] == '/')
        len--;
    s->ops = config->ops;
    s->user = config->user;
    s->driver_name = strdup(config->driver_name);
    s->driver_version = strdup(config->driver_version);
    s->node_id = strdup(config->node_id);
    s->kubelet_dir = strndup(dir, len);
    s->busy = map_new(LIMIT_CSI_CALLS, NULL);
    return s->driver_name && s->driver_version && s->node_id && s->kubelet_dir && s->busy ? 0 : -ENOMEM;
}

/* Opens the directory of the socket, made if need be, and finds the socket's name in path. */
static int open_dir(char *path, const char **ret_name, struct err *err)
{
    char *slash = strrchr(path, '/');
    int fd;

    if (!slash || slash == path || path[0] != '/' || !slash[1])
        return err_say(err, EINVAL, "%s cannot be the path of a socket: absolute, in a directory", path);
    *slash = '\0';
    if (mkdir(path, 0750) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the directory %s", path);
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno, "cannot open the directory %s", path);
    *ret_name = slash + 1;
    return fd;
}

static int listen_at(struct csi_node_service *s, const char *socket_path, struct err *err)
{
    _cleanup_free_ char *path = strdup(socket_path);
    _cleanup_close_ int dirfd = -EBADF;
    const char *name = NULL;
    int rc;

    if (!path)
        return err_set(err, ENOMEM, "cannot listen on %s", socket_path);
    dirfd = open_dir(path, &name, err);
    if (dirfd < 0)
        return dirfd;
    rc = rpc_server_listen(s->server, dirfd, name, err);
    return rc < 0 ? err_wrap(err, rc, "cannot serve CSI on %s", socket_path) : 0;
}

int csi_node_service_new(struct loop *loop, const struct csi_node_config *config,
        struct csi_node_service **ret, struct err *err)
{
    _cleanup_csi_node_service_ struct csi_node_service *s = calloc(1, sizeof(*s));
    int rc;

    if (!config->node_id[0])
        return err_say(err, EINVAL, "the node's name is empty");
    if (!s)
        return err_set(err, ENOMEM, "cannot make the CSI service");
    s->loop = loop;
    rc = copy_config(s, config);
    if (rc < 0)
        return err_set(err, rc, "cannot make the CSI service");
    rc = rpc_server_new(loop, "csi", &s->server, err);
    if (rc < 0)
        return rc;
    rc = add_methods(s);
    if (rc < 0)
        return err_set(err, rc, "cannot make the CSI service");
    rc = listen_at(s, config->socket_path, err);
    if (rc < 0)
        return rc;
    *ret = take_ptr(s);
    return 0;
}

static void on_server_drained(_unused_ struct rpc_server *server, void *user)
{
    struct csi_node_service *s = user;

    s->server_drained = true;
    check_drained(s);
}

void csi_node_service_drain(struct csi_node_service *s, void (*fn)(void *user), void *user)
{
    s->drained = fn;
    s->drained_user = user;
    rpc_server_drain(s->server, on_server_drained, s);
}

struct csi_node_service *csi_node_service_free(struct csi_node_service *s)
{
    if (!s)
        return NULL;
    s->closing = true;
    s->server = rpc_server_free(s->server);
    if (s->busy) {
        map_for_each (e, s->busy)
            call_free(e->value);
    }
    s->busy = map_free(s->busy);
    s->drained_src = loop_remove(s->drained_src);
    free(s->driver_name);
    free(s->driver_version);
    free(s->node_id);
    free(s->kubelet_dir);
    free(s);
    return NULL;
}
