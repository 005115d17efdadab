/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CRI client (cri.h): the questions, and what their failures mean.
 */
#include "node-agent/runtime/cri.h"

#include <errno.h>
#include <stdio.h>

#include "common/base/limits.h"
#include "common/base/list.h"
#include "common/rpc/client.h"
#include "common/rpc/pb.h"
#include "node-agent/runtime/cri_message.h"

struct cri {
    struct rpc_client *client;
    struct list requests;
};

struct cri_request {
    struct list node; /* in cri->requests */
    struct rpc_unary *unary;
    bool finished; /* its callback is being called */
    char what[160]; /* "status of container X", for errors */
    union {
        cri_container_fn container;
        cri_list_fn list;
        cri_image_fn image;
        cri_version_fn version;
    } fn;
    void *user;
};

int cri_new(struct loop *loop, const char *socket_path, struct cri **ret_cri, struct err *err)
{
    struct cri *cri = calloc(1, sizeof(*cri));
    int rc;

    if (!cri)
        return err_set(err, ENOMEM, "cannot make a client of the container runtime");
    list_init(&cri->requests);
    rc = rpc_client_new(loop, socket_path, &cri->client, err);
    if (rc < 0) {
        free(cri);
        return err_wrap(err, rc, "container runtime");
    }
    *ret_cri = cri;
    return 0;
}

static void request_free(struct cri_request *req)
{
    list_remove(&req->node);
    free(req);
}

struct cri_request *cri_cancel(struct cri_request *req)
{
    if (req && !req->finished) {
        req->unary = rpc_unary_cancel(req->unary);
        request_free(req);
    }
    return NULL;
}

struct cri *cri_free(struct cri *cri)
{
    if (!cri)
        return NULL;
    while (!list_empty(&cri->requests))
        (void)cri_cancel(list_entry(cri->requests.next, struct cri_request, node));
    cri->client = rpc_client_free(cri->client);
    free(cri);
    return NULL;
}

/* 0 when there is a reply to decode. Out of the list: the callback that comes now may free the client. */
static int begin_answer(struct cri_request *req, const struct rpc_result *result, struct err *err)
{
    list_remove(&req->node);
    req->finished = true;
    if (result->status == GRPC_OK)
        return 0;
    if (result->status == GRPC_NOT_FOUND)
        return err_say(err, ENOENT, "%s: %s", req->what, result->text);
    if (result->status == GRPC_DEADLINE_EXCEEDED)
        return err_say(err, ETIMEDOUT, "%s: no answer in time: %s", req->what, result->text);
    return err_say(err, EIO, "%s: %s (%s)", req->what, result->text, grpc_status_name(result->status));
}

static void on_container(_unused_ struct rpc_unary *unary, const struct rpc_result *result, void *user)
{
    struct cri_container *container = NULL;
    struct cri_request *req = user;
    struct err err = ERR_INIT;
    int rc = begin_answer(req, result, &err);

    if (rc == 0) {
        rc = cri_decode_container(result->message.data, result->message.len, &container, &err);
        if (rc < 0)
            (void)err_wrap(&err, rc, "%s", req->what);
    }
    req->fn.container(rc, container, rc < 0 ? &err : NULL, req->user);
    request_free(req);
}

static void on_list(_unused_ struct rpc_unary *unary, const struct rpc_result *result, void *user)
{
    struct cri_request *req = user;
    struct cri_list *list = NULL;
    struct err err = ERR_INIT;
    int rc = begin_answer(req, result, &err);

    if (rc == 0) {
        rc = cri_decode_list(result->message.data, result->message.len, &list, &err);
        if (rc < 0)
            (void)err_wrap(&err, rc, "%s", req->what);
    }
    req->fn.list(rc, list, rc < 0 ? &err : NULL, req->user);
    request_free(req);
}

static void on_image(_unused_ struct rpc_unary *unary, const struct rpc_result *result, void *user)
{
    struct cri_request *req = user;
    struct cri_image *image = NULL;
    struct err err = ERR_INIT;
    int rc = begin_answer(req, result, &err);

    if (rc == 0) {
        rc = cri_decode_image(result->message.data, result->message.len, &image, &err);
        if (rc < 0)
            (void)err_wrap(&err, rc, "%s", req->what);
    }
    req->fn.image(rc, image, rc < 0 ? &err : NULL, req->user);
    request_free(req);
}

static void on_version(_unused_ struct rpc_unary *unary, const struct rpc_result *result, void *user)
{
    struct cri_version *version = NULL;
    struct cri_request *req = user;
    struct err err = ERR_INIT;
    int rc = begin_answer(req, result, &err);

    if (rc == 0) {
        rc = cri_decode_version(result->message.data, result->message.len, &version, &err);
        if (rc < 0)
            (void)err_wrap(&err, rc, "%s", req->what);
    }
    req->fn.version(rc, version, rc < 0 ? &err : NULL, req->user);
    request_free(req);
}

static struct cri_request *new_request(const char *what, const char *of, void *user)
{
    struct cri_request *req = calloc(1, sizeof(*req));

    if (!req)
        return NULL;
    list_init(&req->node);
    (void)snprintf(req->what, sizeof(req->what), "container runtime: %s%s", what, of);
    req->user = user;
    return req;
}

/* Takes req in every case. */
static int start(struct cri *cri, struct cri_request *req, const char *method, const struct buf *message,
        rpc_unary_fn fn, struct cri_request **ret)
{
    struct rpc_unary_spec spec = {.method = method,
            .message = message->data,
            .len = message->len,
            .timeout = CRI_TIMEOUT,
            .fn = fn,
            .user = req};
    int rc = buf_error(message);

    if (rc == 0)
        rc = rpc_unary_start(cri->client, &spec, &req->unary, NULL);
    if (rc < 0) {
        request_free(req);
        return rc;
    }
    list_append(&cri->requests, &req->node);
    if (ret)
        *ret = req;
    return 0;
}

int cri_container_status(
        struct cri *cri, const char *id, cri_container_fn fn, void *user, struct cri_request **ret)
{
    struct cri_request *req = new_request("status of container ", id, user);
    _cleanup_buf_ struct buf b = BUF_INIT(4 * KIB);

    if (!req)
        return -ENOMEM;
    req->fn.container = fn;
    pb_put_string(&b, 1, id);
    pb_put_bool(&b, 2, true); /* verbose */
    return start(cri, req, "/runtime.v1.RuntimeService/ContainerStatus", &b, on_container, ret);
}

int cri_list_containers(
        struct cri *cri, const char *pod_uid, cri_list_fn fn, void *user, struct cri_request **ret)
{
    struct cri_request *req = new_request("containers of pod ", pod_uid, user);
    _cleanup_buf_ struct buf b = BUF_INIT(4 * KIB), filter = BUF_INIT(4 * KIB);

    if (!req)
        return -ENOMEM;
    req->fn.list = fn;
    pb_put_map_entry(&filter, 4, "io.kubernetes.pod.uid", pod_uid);
    pb_put_message(&b, 1, &filter);
    return start(cri, req, "/runtime.v1.RuntimeService/ListContainers", &b, on_list, ret);
}

int cri_image_status(
        struct cri *cri, const char *image, cri_image_fn fn, void *user, struct cri_request **ret)
{
    struct cri_request *req = new_request("image ", image, user);
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB), spec = BUF_INIT(8 * KIB);

    if (!req)
        return -ENOMEM;
    req->fn.image = fn;
    pb_put_string(&spec, 1, image);
    pb_put_message(&b, 1, &spec);
    pb_put_bool(&b, 2, true); /* verbose */
    return start(cri, req, "/runtime.v1.ImageService/ImageStatus", &b, on_image, ret);
}

int cri_version(struct cri *cri, cri_version_fn fn, void *user, struct cri_request **ret)
{
    struct cri_request *req = new_request("version", "", user);
    _cleanup_buf_ struct buf b = BUF_INIT(KIB);

    if (!req)
        return -ENOMEM;
    req->fn.version = fn;
    pb_put_string(&b, 1, "v1");
    return start(cri, req, "/runtime.v1.RuntimeService/Version", &b, on_version, ret);
}
