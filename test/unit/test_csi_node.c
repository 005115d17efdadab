/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/csi: node service and registration, asked by our own gRPC client as the kubelet would.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/limits.h"
#include "common/hash/sha256.h"
#include "common/names.h"
#include "common/rpc/client.h"
#include "node-agent/csi/node_service.h"
#include "node-agent/csi/registration.h"

#define WAIT (5 * USEC_PER_SEC)
#define UID "0c3ae4d6-9b43-4c1a-8a3e-1f2d3c4b5a69"

static struct {
    struct loop *loop;
    struct csi_node_service *service;
    struct csi_registration *registration;
    struct rpc_client *client;
    char dir[32], csi_path[64], reg_path[128];

    bool hold;
    struct csi_call *held;
    char volume_id[80], target[256], pod[64];
    usec_t deadline;
    unsigned published, unpublished, cancelled, drained;
    bool not_ready;

    unsigned notified;
    bool registered;
    char notice[64];

    unsigned replies;
    enum grpc_status status;
    char text[4096];
    uint8_t message[4096];
    size_t len;
} t;

static void core_publish(const struct csi_publish_request *req, struct csi_call *call, void *user)
{
    cr_expect_eq(user, &t);
    t.published++;
    t.deadline = req->deadline;
    (void)snprintf(t.volume_id, sizeof(t.volume_id), "%s", req->volume_id);
    (void)snprintf(t.pod, sizeof(t.pod), "%s/%s", req->pod_namespace, req->pod_name);
    cr_expect_null(csi_call_data(call));
    csi_call_set_data(call, &t.held);
    if (t.hold)
        t.held = call;
    else
        csi_call_ok(call);
}

static void core_unpublish(
        const struct csi_unpublish_request *req, struct csi_call *call, _unused_ void *user)
{
    t.unpublished++;
    (void)snprintf(t.target, sizeof(t.target), "%s", req->target_path);
    csi_call_fail(call, GRPC_UNAVAILABLE, "still in use by %s", req->pod_uid);
}

static void core_cancelled(struct csi_call *call, _unused_ void *user)
{
    cr_expect_eq(call, t.held);
    cr_expect(csi_call_cancelled(call));
    cr_expect_eq(csi_call_data(call), &t.held);
    t.cancelled++;
}

static bool core_ready(_unused_ void *user)
{
    return !t.not_ready;
}

static void on_status(bool registered, const char *text, _unused_ void *user)
{
    t.notified++;
    t.registered = registered;
    (void)snprintf(t.notice, sizeof(t.notice), "%s", text);
}

static const struct csi_ops ops = {.publish = core_publish,
        .unpublish = core_unpublish,
        .cancelled = core_cancelled,
        .ready = core_ready};

static void start(void)
{
    struct csi_node_config node = {.driver_name = SC_CSI_DRIVER,
            .driver_version = "0.1.0",
            .node_id = "node1",
            .kubelet_dir = "/srv/kubelet/",
            .ops = &ops,
            .user = &t};
    struct csi_registration_config reg = {.driver_name = SC_CSI_DRIVER, .on_status = on_status};

    memset(&t, 0, sizeof(t));
    (void)snprintf(t.dir, sizeof(t.dir), "/tmp/sc-csi-XXXXXX");
    cr_assert_not_null(mkdtemp(t.dir));
    (void)snprintf(t.csi_path, sizeof(t.csi_path), "%s/made/csi.sock", t.dir);
    (void)snprintf(t.reg_path, sizeof(t.reg_path), "%s/%s-reg.sock", t.dir, SC_CSI_DRIVER);
    node.socket_path = reg.endpoint = t.csi_path;
    reg.registry_dir = t.dir;
    cr_assert_eq(loop_new(&t.loop, NULL), 0);
    cr_assert_eq(csi_node_service_new(t.loop, &node, &t.service, NULL), 0);
    cr_assert_eq(csi_registration_new(t.loop, &reg, &t.registration, NULL), 0);
    cr_assert_eq(rpc_client_new(t.loop, t.csi_path, &t.client, NULL), 0);
}

static void stop(void)
{
    char made[64];

    t.client = rpc_client_free(t.client);
    t.registration = csi_registration_free(t.registration);
    cr_expect_eq(access(t.reg_path, F_OK), -1, "freed: unregistered");
    t.service = csi_node_service_free(t.service);
    t.loop = loop_free(t.loop);
    (void)snprintf(made, sizeof(made), "%s/made", t.dir);
    cr_expect_eq(rmdir(made), 0);
    cr_expect_eq(rmdir(t.dir), 0);
}

TestSuite(csi_node, .init = start, .fini = stop, .timeout = 30);

#define UNTIL(what)                                     \
    do {                                                \
        usec_t _end = clock_monotonic() + WAIT;         \
        while (!(what) && clock_monotonic() < _end)     \
            (void)loop_turn(t.loop, USEC_PER_SEC / 10); \
        cr_assert(what);                                \
    } while (0)

static void on_reply(_unused_ struct rpc_unary *unary, const struct rpc_result *result, _unused_ void *user)
{
    t.replies++;
    t.status = result->status;
    (void)snprintf(t.text, sizeof(t.text), "%s", result->text);
    t.len = result->message.len;
    if (t.len > 0)
        memcpy(t.message, result->message.data, t.len);
}

static void call(struct rpc_client *client, const char *method, const struct buf *message)
{
    struct rpc_unary_spec spec = {.method = method,
            .message = message ? message->data : NULL,
            .len = message ? message->len : 0,
            .timeout = WAIT,
            .fn = on_reply};

    cr_assert_eq(rpc_unary_start(client, &spec, NULL, NULL), 0);
}

/* Asks, and waits for the answer. */
static void ask(struct rpc_client *client, const char *method, const struct buf *message)
{
    unsigned before = t.replies;

    call(client, method, message);
    UNTIL(t.replies == before + 1);
}

static void volume_id(const char *name, char ret[80])
{
    uint8_t digest[SHA256_SIZE];
    char text[128];
    int n = snprintf(text, sizeof(text), "%s%s", UID, name);

    cr_assert_eq(sha256(text, (size_t)n, digest), 0);
    (void)snprintf(ret, 80, "csi-");
    sha256_hex(digest, sizeof(digest), ret + 4);
}

static void write_publish(struct buf *b, const char *name)
{
    _cleanup_buf_ struct buf capability = BUF_INIT(KIB), empty = BUF_INIT(8);
    char id[80], target[256];

    volume_id(name, id);
    (void)snprintf(
            target, sizeof(target), "/srv/kubelet/pods/" UID "/volumes/kubernetes.io~csi/%s/mount", name);
    pb_put_message(&capability, 2, &empty);
    pb_put_string(b, 1, id);
    pb_put_string(b, 4, target);
    pb_put_message(b, 5, &capability);
    pb_put_bool(b, 6, true);
    pb_put_map_entry(b, 8, CSI_POD_UID, UID);
    pb_put_map_entry(b, 8, CSI_POD_NAMESPACE, "ns");
    pb_put_map_entry(b, 8, CSI_POD_NAME, "dev");
    pb_put_map_entry(b, 8, CSI_EPHEMERAL, "true");
}

static void write_unpublish(struct buf *b, const char *name)
{
    char id[80], target[256];

    volume_id(name, id);
    (void)snprintf(
            target, sizeof(target), "/srv/kubelet/pods/" UID "/volumes/kubernetes.io~csi/%s/mount", name);
    pb_put_string(b, 1, id);
    pb_put_string(b, 2, target);
}

static void publish(const char *name)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);

    write_publish(&b, name);
    call(t.client, "/csi.v1.Node/NodePublishVolume", &b);
}

Test(csi_node, publishes)
{
    char id[80];

    volume_id("vol", id);
    publish("vol");
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_OK, "%s", t.text);
    cr_expect_eq(t.len, 0u);
    cr_expect_str_eq(t.volume_id, id);
    cr_expect_str_eq(t.pod, "ns/dev");
    cr_expect(t.deadline != USEC_INFINITY);
    publish("vol");
    UNTIL(t.replies == 2);
    cr_expect_eq(t.status, GRPC_OK, "the volume is free again");
}

Test(csi_node, unpublish_carries_the_cores_text)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);

    write_unpublish(&b, "vol");
    ask(t.client, "/csi.v1.Node/NodeUnpublishVolume", &b);
    cr_expect_eq(t.status, GRPC_UNAVAILABLE);
    cr_expect_str_eq(t.text, "still in use by " UID);
    cr_expect(strstr(t.target, "/srv/kubelet/pods/"));
}

Test(csi_node, refuses_before_the_core_sees_it)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);

    write_publish(&b, "vol");
    b.len -= 3;
    ask(t.client, "/csi.v1.Node/NodePublishVolume", &b);
    cr_expect_eq(t.status, GRPC_INVALID_ARGUMENT);
    ask(t.client, "/csi.v1.Node/NodePublishVolume", NULL);
    cr_expect_eq(t.status, GRPC_INVALID_ARGUMENT);
    ask(t.client, "/csi.v1.Node/NodeUnpublishVolume", NULL);
    cr_expect_eq(t.status, GRPC_INVALID_ARGUMENT);
    cr_expect_eq(t.published + t.unpublished, 0u);
}

Test(csi_node, one_call_at_a_time_for_a_volume)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);
    struct csi_call *first;

    t.hold = true;
    publish("vol");
    UNTIL(t.held);
    first = t.held;
    write_unpublish(&b, "vol");
    ask(t.client, "/csi.v1.Node/NodeUnpublishVolume", &b);
    cr_expect_eq(t.status, GRPC_ABORTED);
    t.hold = false;
    publish("other");
    UNTIL(t.replies == 2);
    cr_expect_eq(t.status, GRPC_OK, "another volume is not held up");
    csi_call_ok(first);
    UNTIL(t.replies == 3);
    cr_expect_eq(t.status, GRPC_OK);
    ask(t.client, "/csi.v1.Node/NodeUnpublishVolume", &b);
    cr_expect_eq(t.unpublished, 1u, "free again");
}

Test(csi_node, a_cancelled_call_keeps_its_volume_until_the_core_answers)
{
    t.hold = true;
    publish("vol");
    UNTIL(t.held);
    cr_expect_not(csi_call_cancelled(t.held));
    t.client = rpc_client_free(t.client);
    UNTIL(t.cancelled == 1);
    cr_assert_eq(rpc_client_new(t.loop, t.csi_path, &t.client, NULL), 0);
    publish("vol");
    UNTIL(t.replies == 1);
    cr_expect_eq(t.status, GRPC_ABORTED);
    csi_call_fail(t.held, GRPC_UNAVAILABLE, "dropped");
    t.hold = false;
    publish("vol");
    UNTIL(t.replies == 2);
    cr_expect_eq(t.status, GRPC_OK);
}

static void on_drained(_unused_ void *user)
{
    t.drained++;
}

Test(csi_node, drains_when_the_core_has_answered_all)
{
    t.hold = true;
    publish("vol");
    UNTIL(t.held);
    csi_node_service_drain(t.service, on_drained, NULL);
    t.client = rpc_client_free(t.client); /* the connection goes, the core still works */
    UNTIL(t.cancelled == 1);
    for (int i = 0; i < 20; i++)
        (void)loop_turn(t.loop, 1000);
    cr_expect_eq(t.drained, 0u);
    csi_call_ok(t.held);
    cr_expect_eq(t.drained, 0u, "never from inside an answer");
    UNTIL(t.drained == 1);
}

Test(csi_node, freeing_tells_nobody)
{
    t.hold = true;
    publish("vol");
    UNTIL(t.held);
    t.service = csi_node_service_free(t.service);
    cr_expect_eq(t.cancelled, 0u);
}

static void expect_message(const void *want, size_t len)
{
    cr_expect_eq(t.status, GRPC_OK, "%s", t.text);
    cr_expect(t.len == len && memcmp(t.message, want, len) == 0, "%zu bytes", t.len);
}

#define EXPECT_MESSAGE(text) expect_message((text), sizeof(text) - 1)

Test(csi_node, tells_about_itself)
{
    ask(t.client, "/csi.v1.Identity/GetPluginInfo", NULL);
    EXPECT_MESSAGE("\x0a\x1estoppablecontainer.xtlsoft.top\x12\x05"
                   "0.1.0");
    ask(t.client, "/csi.v1.Identity/GetPluginCapabilities", NULL);
    EXPECT_MESSAGE("");
    ask(t.client, "/csi.v1.Node/NodeGetCapabilities", NULL);
    EXPECT_MESSAGE("");
    ask(t.client, "/csi.v1.Identity/Probe", NULL);
    EXPECT_MESSAGE("\x0a\x02\x08\x01");
    t.not_ready = true;
    ask(t.client, "/csi.v1.Identity/Probe", NULL);
    EXPECT_MESSAGE("\x0a\x00");
    ask(t.client, "/csi.v1.Node/NodeGetInfo", NULL);
    EXPECT_MESSAGE("\x0a\x05node1\x1a\x2b\x0a\x29"
                   "\x0a\x23stoppablecontainer.xtlsoft.top/node\x12\x02v1");
    ask(t.client, "/csi.v1.Node/NodeStageVolume", NULL);
    cr_expect_eq(t.status, GRPC_UNIMPLEMENTED);
}

static struct rpc_client *registration_client(void)
{
    struct rpc_client *client = NULL;

    cr_assert_eq(rpc_client_new(t.loop, t.reg_path, &client, NULL), 0);
    return client;
}

Test(csi_node, registers)
{
    _cleanup_rpc_client_ struct rpc_client *client = registration_client();
    _cleanup_buf_ struct buf want = BUF_INIT(KIB), status = BUF_INIT(KIB);

    pb_put_string(&want, 1, "CSIPlugin");
    pb_put_string(&want, 2, SC_CSI_DRIVER);
    pb_put_string(&want, 3, t.csi_path);
    pb_put_string(&want, 4, "1.0.0");
    ask(client, "/pluginregistration.Registration/GetInfo", NULL);
    expect_message(want.data, want.len);

    pb_put_bool(&status, 1, true);
    ask(client, "/pluginregistration.Registration/NotifyRegistrationStatus", &status);
    EXPECT_MESSAGE("");
    cr_expect(t.notified == 1 && t.registered);
    buf_reset(&status);
    pb_put_string(&status, 2, "no such version");
    ask(client, "/pluginregistration.Registration/NotifyRegistrationStatus", &status);
    cr_expect(t.notified == 2 && !t.registered);
    cr_expect_str_eq(t.notice, "no such version");
    buf_reset(&status);
    (void)buf_puts(&status, "\x12\x05x");
    ask(client, "/pluginregistration.Registration/NotifyRegistrationStatus", &status);
    cr_expect_eq(t.status, GRPC_INVALID_ARGUMENT);
    cr_expect_eq(t.notified, 2u);
}

Test(csi_node, the_registration_socket_is_private_and_alone)
{
    struct stat st;
    char tmp[160];

    cr_assert_eq(stat(t.reg_path, &st), 0);
    cr_expect_eq(st.st_mode, (mode_t)(S_IFSOCK | 0600));
    (void)snprintf(tmp, sizeof(tmp), "%s/.%s-reg.sock.tmp", t.dir, SC_CSI_DRIVER);
    cr_expect_eq(access(tmp, F_OK), -1);
}

Test(csi_node, says_where_it_cannot_register)
{
    struct csi_registration_config config = {
            .registry_dir = "/nonexistent/registry", .driver_name = "d", .endpoint = "/e"};
    struct csi_registration *reg = NULL;
    struct err err = ERR_INIT;

    cr_expect_eq(csi_registration_new(t.loop, &config, &reg, &err), -ENOENT);
    cr_expect(strstr(err_text(&err), "/nonexistent/registry"));
}
