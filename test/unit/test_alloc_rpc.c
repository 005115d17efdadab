/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC with each allocation of one side refused, nghttp2's and libcurl's too; the other side is a thread, whose memory is
 * not counted. The kubelet calls the agent's CSI service; the agent asks the runtime.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "node-agent/csi/node_service.h"
#include "node-agent/runtime/cri.h"
#include "test/unit/alloc.h"

#define CORPUS "test/fuzz/corpus/"
#define TIMEOUT (5 * USEC_PER_SEC)
/* A gRPC status as an answer of alloc.h. */
#define ANSWER(status) (-1000 - (int)(status))

static char dir[] = "/tmp/sc-alloc.XXXXXX";
static char socket_path[64];

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    snprintf(socket_path, sizeof(socket_path), "%s/s.sock", dir);
}

static void read_corpus(const char *file, struct buf *b)
{
    cr_assert_eq(file_read_at(AT_FDCWD, file, b, NULL), 0);
}

/* --- the agent serves --- */

struct call {
    atomic_bool done;
    enum grpc_status status;
    char text[256];
};

static void on_reply(struct rpc_unary *unary _unused_, const struct rpc_result *result, void *user)
{
    struct call *c = user;

    c->status = result->status;
    snprintf(c->text, sizeof(c->text), "%s", result->text);
    atomic_store(&c->done, true);
}

/* The kubelet's side: one call on a connection of its own. */
static void *make_call(void *data)
{
    _cleanup_buf_ struct buf request = BUF_INIT(MIB);
    struct rpc_client *client = NULL;
    struct loop *loop = NULL;
    struct call *c = data;

    read_corpus(CORPUS "csi_request/consumer", &request);
    const struct rpc_unary_spec spec = {.method = "/csi.v1.Node/NodePublishVolume",
            .message = request.data,
            .len = request.len,
            .timeout = TIMEOUT,
            .fn = on_reply,
            .user = c};
    cr_assert_eq(loop_new(&loop, NULL), 0);
    cr_assert_eq(rpc_client_new(loop, socket_path, &client, NULL), 0);
    cr_assert_eq(rpc_unary_start(client, &spec, NULL, NULL), 0);
    while (!atomic_load(&c->done))
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    rpc_client_free(client);
    loop_free(loop);
    return NULL;
}

static void on_publish(const struct csi_publish_request *req, struct csi_call *call, void *user)
{
    bool armed = alloc_now.armed;

    alloc_end();
    buf_printf(user, "%s ", req->pod_name);
    alloc_now.armed = armed;
    csi_call_ok(call);
}

static void on_unpublish(
        const struct csi_unpublish_request *req _unused_, struct csi_call *call, void *user _unused_)
{
    csi_call_ok(call);
}

/* Serves until the caller has its answer. */
static void serve_call(struct loop *loop, bool refusing, struct call *c)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, make_call, c), 0);
    if (refusing)
        alloc_begin();
    while (!atomic_load(&c->done))
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    alloc_end();
    cr_assert_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 5; i++) /* the connection's end */
        (void)loop_turn(loop, 0);
}

static void run_served(void *user _unused_, struct alloc_outcome *ret)
{
    static const struct csi_ops ops = {.publish = on_publish, .unpublish = on_unpublish};
    struct buf told = BUF_INIT(KIB);
    const struct csi_node_config config = {.socket_path = socket_path,
            .driver_name = "d",
            .driver_version = "1",
            .node_id = "n",
            .kubelet_dir = "/var/lib/kubelet",
            .ops = &ops,
            .user = &told};
    struct csi_node_service *service = NULL;
    struct call first = {.done = false}, second = {.done = false};
    struct loop *loop = NULL;

    cr_assert_eq(loop_new(&loop, NULL), 0);
    cr_assert_eq(csi_node_service_new(loop, &config, &service, NULL), 0);
    serve_call(loop, true, &first);
    ret->r = first.status == GRPC_OK ? 0 : ANSWER(first.status);
    ret->text = first.status == GRPC_OK ? strdup("published") : NULL;
    cr_assert(first.status == GRPC_OK || first.text[0], "status %d without a word", first.status);
    serve_call(loop, false, &second);
    ret->again_r = second.status == GRPC_OK ? 0 : ANSWER(second.status);
    ret->again = strdup(second.text);
    cr_assert(told.len > 0);
    csi_node_service_free(service);
    loop_free(loop);
    buf_free(&told);
}

Test(alloc_rpc, served)
{
    make_dir();
    alloc_torture(&(struct alloc_case){.name = "publish",
            .run = run_served,
            .errors = {ANSWER(GRPC_UNAVAILABLE), ANSWER(GRPC_RESOURCE_EXHAUSTED), ANSWER(GRPC_INTERNAL)},
            .may_pass = true,
            .varies = true});
    rmdir(dir);
}

/* --- the agent asks --- */

static struct {
    pthread_t thread;
    pthread_barrier_t ready;
    atomic_bool stop;
} runtime;

static void answer(struct rpc_call *call, const uint8_t *msg _unused_, size_t len _unused_, void *user)
{
    const struct buf *reply = user;

    rpc_call_reply(call, reply->data, reply->len);
}

static void *run_runtime(void *data _unused_)
{
    _cleanup_buf_ struct buf reply = BUF_INIT(MIB);
    struct rpc_server *server = NULL;
    struct loop *loop = NULL;
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    read_corpus(CORPUS "cri/container", &reply);
    cr_assert_eq(loop_new(&loop, NULL), 0);
    cr_assert_eq(rpc_server_new(loop, "runtime", &server, NULL), 0);
    cr_assert_eq(rpc_server_handle(server, "/runtime.v1.RuntimeService/ContainerStatus", answer, &reply), 0);
    cr_assert_eq(rpc_server_listen(server, fd, "s.sock", NULL), 0);
    pthread_barrier_wait(&runtime.ready);
    while (!atomic_load(&runtime.stop))
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    rpc_server_free(server);
    loop_free(loop);
    close(fd);
    return NULL;
}

struct question {
    struct alloc_outcome *ret;
    bool done;
};

static void on_container(int code, struct cri_container *container, const struct err *err, void *user)
{
    struct question *q = user;
    bool armed = alloc_now.armed;

    alloc_end();
    q->done = true;
    q->ret->r = code;
    cr_assert_eq(code < 0, err != NULL);
    cr_assert_eq(code < 0, container == NULL);
    q->ret->text = container ? strdup(container->id) : NULL;
    cri_container_free(container);
    alloc_now.armed = armed;
}

static void run_asked(void *user _unused_, struct alloc_outcome *ret)
{
    usec_t end = clock_monotonic() + TIMEOUT / 2; /* told, not waited for */
    struct question q = {.ret = ret};
    struct loop *loop = NULL;
    struct cri *cri = NULL;
    int r;

    cr_assert_eq(loop_new(&loop, NULL), 0);
    cr_assert_eq(cri_new(loop, socket_path, &cri, NULL), 0);
    alloc_begin();
    r = cri_container_status(cri, "0123", on_container, &q, NULL);
    while (r == 0 && !q.done && clock_monotonic() < end)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    alloc_end();
    if (r < 0)
        ret->r = r;
    else if (!q.done)
        ret->r = -ETIME;
    cri_free(cri);
    loop_free(loop);
}

Test(alloc_rpc, asked)
{
    make_dir();
    cr_assert_eq(pthread_barrier_init(&runtime.ready, NULL, 2), 0);
    cr_assert_eq(pthread_create(&runtime.thread, NULL, run_runtime, NULL), 0);
    pthread_barrier_wait(&runtime.ready);
    alloc_torture(&(struct alloc_case){.name = "container status",
            .run = run_asked,
            .errors = {-EIO},
            .may_pass = true,
            .varies = true});
    atomic_store(&runtime.stop, true);
    cr_assert_eq(pthread_join(runtime.thread, NULL), 0);
    rmdir(dir);
}
