/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node for the real agent: state and kubelet's directories, a runtime that answers what a test says (in a
 * process of its own), the agent's program, and the pods of one instance. node_steps.h lives its life.
 *
 * The containers are boxes (box.h). Their cgroup is what the test binds over /proc/PID/cgroup, so that no
 * real one is needed; their first process speaks to the agent itself.
 */
#pragma once

#include <poll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/un.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/loop.h"
#include "common/hash/sha256.h"
#include "common/names.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/wire/wire.h"
#include "test/priv/machine.h"

#define NODE_KUBELET BOX_BASE "/kubelet"
#define NODE_STATE BOX_BASE "/state"
#define NODE_RUN BOX_BASE "/run"
#define NODE_LOG NODE_RUN "/agent.log"
#define NODE_CSI_DIR NODE_KUBELET "/plugins/" SC_CSI_DRIVER
#define NODE_INSTANCE "1f0f0f0f-1111-4222-8333-444444444444"
#define NODE_HEX "bb59057039ffcd925a641bf3a66045831e5ce58fe2241b083684d0fe0646bd"
#define NODE_LAYER "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define NODE_OTHER_LAYER "sha256:ff112233445566778899aabbccddeeff00112233445566778899aabbccddee00"
#define NODE_WAIT (20 * USEC_PER_SEC)

/* NEXT: the provider that takes the first one's place, in persistence Node. */
enum node_pod { NODE_POD_PROVIDER, NODE_POD_CONSUMER, NODE_POD_NEXT, NODE_POD_RECLAIM, NODE_PODS };
#define NODE_BOXES NODE_POD_RECLAIM /* those before it have containers */

/* Ids of volumes as the kubelet makes them: the SHA-256 of the pod's uid and the volume's name. */
static const struct node_pod_facts {
    const char *box, *role, *ns, *name, *uid, *volume, *container;
} node_pods[NODE_PODS] = {
        {"provider", SC_ROLE_PROVIDER, "ns", "box-provider", "0f0f0f0f-1111-4222-8333-44444444444a",
                "csi-8f862a146fe51ba75e24772cfabba7761238c526ad4796a69804b32d5073eb55", NODE_HEX "c1"},
        {"consumer", SC_ROLE_CONSUMER, "ns", "box", "0f0f0f0f-1111-4222-8333-44444444444b",
                "csi-fd3070700954cebe569fb7982896f098072f59f81af1ce62270750a10891bc5c", NODE_HEX "c2"},
        {"next", SC_ROLE_PROVIDER, "ns", "box-provider", "0f0f0f0f-1111-4222-8333-44444444444d",
                "csi-73b4b25cdb10c04aa5bf495b2188b8e58a9c76982ee33d2f627e964fbdaab93b", NODE_HEX "c4"},
        {"", SC_ROLE_RECLAIM, "system", "reclaim-" NODE_INSTANCE, "0f0f0f0f-1111-4222-8333-44444444444c",
                "csi-360315ab27f4411b04f199eddbad2f3f3da4465bd84371e7b0e986404fd8b502", ""},
};

/* Shared with the runtime's process, and with those that ask for a test. */
struct node_runtime {
    pid_t pid[NODE_PODS]; /* 0: no such container */
    char text[1024]; /* of the last answer that was no success */
    bool changed; /* images have other layers than they had */
    bool imageless; /* it has no image any more */
    bool slow; /* it says nothing of images, and then of nothing else, until this is taken back */
    bool asked; /* and it was asked for one since */
};

struct node {
    pid_t agent, runtime_pid;
    struct node_runtime *runtime;
    struct box boxes[NODE_BOXES];
    bool persistent; /* persistence Node */
    bool chroot; /* attach mode Chroot */
    bool post_start; /* the consumer has a hook, which asks too */
    bool used; /* the root was: the controller says that it is a kept one */
    int inotify;
    const char *preload; /* NULL, or a library for the agent */
    const char *size_limit; /* NULL, or of its root in persistence Node, in bytes */
    const char *use; /* NULL, or what was told of a size limit that is watched */
    const char *option; /* NULL, or one more for the agent */
};

/* --- the runtime ----------------------------------------------------------------------------------------- */

static struct node_runtime *node_shared;

static void node_put_container(struct buf *b, const struct node_pod_facts *f, pid_t pid)
{
    _cleanup_buf_ struct buf status = BUF_INIT(64 * KIB);

    pb_put_string(&status, 1, f->container);
    pb_put_u64(&status, 3, 1);
    pb_put_string(&status, 9, "image@sha256:aa");
    pb_put_map_entry(&status, 12, "io.kubernetes.pod.name", f->name);
    pb_put_map_entry(&status, 12, "io.kubernetes.pod.namespace", f->ns);
    pb_put_map_entry(&status, 12, "io.kubernetes.pod.uid", f->uid);
    pb_put_map_entry(&status, 12, "io.kubernetes.container.name", "main");
    pb_put_string(&status, 17, "sha256:bb");
    pb_put_message(b, 1, &status);
    pb_put_map_entry(b, 2, "info",
            at("{\"sandboxID\":\"s\",\"pid\":%d,\"runtimeType\":\"io.containerd.runc.v2\",\"runtimeSpec\":{"
               "\"process\":{\"cwd\":\"/\",\"env\":[\"PATH=/bin\"],\"user\":{\"uid\":0}},\"linux\":{"
               "\"namespaces\":[{\"type\":\"mount\"}]}}}",
                    (int)pid));
}

static void node_serve_container(struct rpc_call *call, const uint8_t *msg, size_t len, void *user _unused_)
{
    for (size_t i = 0; i < NODE_PODS; i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);
        const struct node_pod_facts *f = &node_pods[i];

        if (!node_shared->pid[i] || !memmem(msg, len, f->container, strlen(f->container)))
            continue;
        node_put_container(&b, f, node_shared->pid[i]);
        rpc_call_reply(call, b.data, b.len);
        return;
    }
    rpc_call_fail(call, GRPC_NOT_FOUND, "no such container");
}

static void node_serve_image(
        struct rpc_call *call, const uint8_t *msg _unused_, size_t len _unused_, void *user _unused_)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB), image = BUF_INIT(8 * KIB);

    for (node_shared->asked = true; *(volatile bool *)&node_shared->slow;)
        (void)poll(NULL, 0, 5);
    if (node_shared->imageless) {
        rpc_call_fail(call, GRPC_UNAVAILABLE, "no images now");
        return;
    }
    pb_put_string(&image, 1, "sha256:bb");
    pb_put_message(&b, 1, &image);
    pb_put_map_entry(&b, 2, "info",
            at("{\"imageSpec\":{\"config\":{\"Entrypoint\":[\"/bin/"
               "x\"]},\"rootfs\":{\"diff_ids\":[\"%s\"]}}}",
                    node_shared->changed ? NODE_OTHER_LAYER : NODE_LAYER));
    rpc_call_reply(call, b.data, b.len);
}

_Noreturn static void node_runtime_main(int ready)
{
    _cleanup_loop_ struct loop *loop = NULL;
    struct rpc_server *server = NULL;
    struct err err = ERR_INIT;
    int dir = open(NODE_RUN, O_PATH | O_DIRECTORY | O_CLOEXEC);

    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && dir >= 0 && loop_new(&loop, &err) == 0);
    must(rpc_server_new(loop, "runtime", &server, &err) == 0);
    must(rpc_server_handle(
                 server, "/runtime.v1.RuntimeService/ContainerStatus", node_serve_container, NULL) == 0);
    must(rpc_server_handle(server, "/runtime.v1.ImageService/ImageStatus", node_serve_image, NULL) == 0);
    must(rpc_server_listen(server, dir, "r.sock", &err) == 0 && write(ready, "r", 1) == 1);
    (void)loop_run(loop);
    _exit(1);
}

/* --- making it ------------------------------------------------------------------------------------------- */

#define NODE_DISK "size=4M,nr_inodes=400" /* of the state and of the kubelet's directory */

static void node_put_tmpfs(void)
{
    put_dir(NODE_STATE);
    put_dir(NODE_KUBELET);
    must(mount("state", NODE_STATE, "tmpfs", 0, NODE_DISK) == 0 &&
            mount("kubelet", NODE_KUBELET, "tmpfs", 0, NODE_DISK) == 0);
}

/* put_disks: mounts what NODE_STATE and NODE_KUBELET lie on. */
_unused_ static void node_make_on(struct node *n, void (*put_disks)(void))
{
    int ready[2];
    char c;

    *n = (struct node){.agent = 0};
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
            mount("proc", "/proc", "proc", 0, NULL) == 0 &&
            mount("base", BOX_BASE, "tmpfs", 0, "size=256M") == 0);
    put_disks();
    must(mount(NULL, NODE_STATE, NULL, MS_SHARED, NULL) == 0);
    must(system("mkdir -p " NODE_CSI_DIR " " NODE_KUBELET "/plugins_registry " NODE_KUBELET
                "/pods " NODE_RUN) == 0);
    put_file(BOX_BASE "/hosts", "of the pod");
    n->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    must(n->inotify >= 0 && inotify_add_watch(n->inotify, NODE_CSI_DIR, IN_MOVED_TO) >= 0);
    n->runtime = mmap(NULL, sizeof(*n->runtime), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(n->runtime != MAP_FAILED && pipe2(ready, O_CLOEXEC) == 0);
    node_shared = n->runtime;
    fflush(stdout);
    n->runtime_pid = fork();
    must(n->runtime_pid >= 0);
    if (n->runtime_pid == 0)
        node_runtime_main(ready[1]);
    (void)close(ready[1]);
    must(read(ready[0], &c, 1) == 1);
    (void)close(ready[0]);
}

_unused_ static void node_make(struct node *n)
{
    node_make_on(n, node_put_tmpfs);
}

_unused_ static const char *node_program(void)
{
    const char *b = getenv("B");

    return at("%s/sc-node-agent", b ? b : "build/gcc");
}

/* The agent's process; it waits for a byte on `go` before it becomes the program. */
_unused_ static pid_t node_fork_agent(struct node *n, int go)
{
    static const char cwd[] = ".";
    pid_t pid;

    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid > 0)
        return pid;
    const char *const argv[] = {"sc-node-agent", "--node-name=n", "--namespace=system",
            "--kubelet-dir=" NODE_KUBELET, "--state-dir=" NODE_STATE,
            "--runtime-endpoint=" NODE_RUN "/r.sock",
            strdup(at("--pause=%s/build/pause", realpath(cwd, NULL))),
            strdup(at("--execwrap=%s/build/execwrap", realpath(cwd, NULL))), "--log-level=debug", n->option,
            NULL};
    int log = open(NODE_LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    char c;

    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && log >= 0 && dup2(log, 2) == 2 && dup2(log, 1) == 1);
    if (n->preload)
        must(setenv("LD_PRELOAD", n->preload, 1) == 0);
    must(go < 0 || read(go, &c, 1) == 1);
    (void)execv(node_program(), (char **)(uintptr_t)argv);
    _exit(99);
}

/* Waits for fd, or for the end of the agent: then -ECONNRESET. */
static int node_wait(const struct node *n, int fd, short events)
{
    int pidfd = (int)syscall(SYS_pidfd_open, n->agent, 0);
    struct pollfd p[] = {{.fd = fd, .events = events}, {.fd = pidfd, .events = POLLIN}};
    int r = poll(p, pidfd < 0 ? 1 : 2, (int)(NODE_WAIT / USEC_PER_MSEC));

    (void)close_fd(pidfd);
    if (r <= 0)
        return r < 0 ? -ESRCH : -ETIMEDOUT;
    return p[0].revents ? 0 : -ECONNRESET;
}

_unused_ static void node_print_log(void)
{
    (void)fflush(stdout);
    must(system("tail -n 40 " NODE_LOG " | sed 's/^/# /'") == 0);
}

/* The agent listens for the kubelet. */
static int node_wait_start(struct node *n)
{
    char events[4096];

    return node_wait(n, n->inotify, POLLIN) < 0 || read(n->inotify, events, sizeof(events)) <= 0 ? -EIO : 0;
}

/* --- the kubelet's calls --------------------------------------------------------------------------------- */

static struct {
    struct node *n;
    int status;
    struct loop *loop;
} node_call;

static void node_on_answer(
        struct rpc_unary *unary _unused_, const struct rpc_result *result, void *user _unused_)
{
    node_call.status = (int)result->status;
    (void)snprintf(node_call.n->runtime->text, sizeof(node_call.n->runtime->text), "%s", result->text);
    loop_stop(node_call.loop, 0);
}

/* One call: 0, or -EIO with the answer in n->runtime->text. */
static int node_csi(struct node *n, const char *method, const struct buf *b)
{
    _cleanup_loop_ struct loop *loop = NULL;
    _cleanup_rpc_client_ struct rpc_client *client = NULL;
    struct err err = ERR_INIT;
    const struct rpc_unary_spec call = {.method = method,
            .timeout = 15 * USEC_PER_SEC,
            .fn = node_on_answer,
            .message = b->data,
            .len = b->len};

    must(buf_error(b) == 0 && loop_new(&loop, &err) == 0 &&
            rpc_client_new(loop, NODE_CSI_DIR "/csi.sock", &client, &err) == 0);
    node_call.n = n;
    node_call.loop = loop;
    node_call.status = -1;
    n->runtime->text[0] = '\0';
    must(rpc_unary_start(client, &call, NULL, &err) == 0 && loop_run(loop) == 0);
    return node_call.status == GRPC_OK ? 0 : -EIO;
}

/* The agent has worked off what it was told before: it answers. 0, or not. */
_unused_ static int node_settle(struct node *n)
{
    _cleanup_buf_ struct buf b = BUF_INIT(KIB);
    int r = 0;

    for (int i = 0; i < 3 && r == 0; i++)
        r = node_csi(n, "/csi.v1.Identity/Probe", &b);
    return r;
}

#define NODE_PUBLISH "/csi.v1.Node/NodePublishVolume"

static const char *node_target_of(const char *pod_uid)
{
    return at(NODE_KUBELET "/pods/%s/volumes/kubernetes.io~csi/" SC_VOLUME_NAME "/mount", pod_uid);
}

static const char *node_target(enum node_pod pod)
{
    return node_target_of(node_pods[pod].uid);
}

static void node_put_attributes(const struct node *n, enum node_pod pod, struct buf *b)
{
    if (n->persistent)
        pb_put_map_entry(b, 8, SC_ATTR_PERSISTENCE, SC_PERSISTENCE_NODE);
    if (n->persistent && strcmp(node_pods[pod].role, SC_ROLE_PROVIDER) == 0)
        pb_put_map_entry(b, 8, SC_ATTR_ROOT, n->used ? SC_ROOT_KEPT : SC_ROOT_NEW);
    if (n->size_limit && strcmp(node_pods[pod].role, SC_ROLE_PROVIDER) == 0)
        pb_put_map_entry(b, 8, SC_ATTR_SIZE_LIMIT, n->size_limit);
    if (n->use && strcmp(node_pods[pod].role, SC_ROLE_PROVIDER) == 0)
        pb_put_map_entry(b, 8, SC_ATTR_USE, n->use);
    if (pod == NODE_POD_RECLAIM) {
        pb_put_map_entry(b, 8, SC_ATTR_NAMESPACE, "ns");
        return;
    }
    pb_put_map_entry(b, 8, SC_ATTR_NAME, "box");
    pb_put_map_entry(b, 8, SC_ATTR_CONTAINERS, "main");
    if (n->post_start && pod == NODE_POD_CONSUMER)
        pb_put_map_entry(b, 8, SC_ATTR_POST_START, "main");
    pb_put_map_entry(b, 8, SC_ATTR_ATTACH, n->chroot ? SC_ATTACH_CHROOT : SC_ATTACH_PIVOT);
}

/* The request, for a pod like that of these facts. */
static void node_put_publish(
        const struct node *n, enum node_pod pod, const struct node_pod_facts *f, struct buf *b)
{
    _cleanup_buf_ struct buf capability = BUF_INIT(KIB), mode = BUF_INIT(KIB), empty = BUF_INIT(KIB);

    pb_put_message(&capability, 2, &empty);
    pb_put_u64(&mode, 1, 1);
    pb_put_message(&capability, 3, &mode);
    pb_put_string(b, 1, f->volume);
    pb_put_string(b, 4, node_target_of(f->uid));
    pb_put_message(b, 5, &capability);
    pb_put_bool(b, 6, true);
    pb_put_map_entry(b, 8, CSI_POD_UID, f->uid);
    pb_put_map_entry(b, 8, CSI_POD_NAMESPACE, f->ns);
    pb_put_map_entry(b, 8, CSI_POD_NAME, f->name);
    pb_put_map_entry(b, 8, CSI_EPHEMERAL, "true");
    pb_put_map_entry(b, 8, SC_ATTR_ROLE, f->role);
    pb_put_map_entry(b, 8, SC_ATTR_INSTANCE, NODE_INSTANCE);
    node_put_attributes(n, pod, b);
}

static int node_publish(struct node *n, enum node_pod pod)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB);

    node_put_publish(n, pod, &node_pods[pod], &b);
    return node_csi(n, NODE_PUBLISH, &b);
}

static int node_unpublish(struct node *n, enum node_pod pod)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB);

    pb_put_string(&b, 1, node_pods[pod].volume);
    pb_put_string(&b, 2, node_target(pod));
    return node_csi(n, "/csi.v1.Node/NodeUnpublishVolume", &b);
}

/* The id of a pod's volume, as the kubelet makes it. */
_unused_ static void node_volume_id(const char *pod_uid, char ret[80])
{
    const char *text = at("%s" SC_VOLUME_NAME, pod_uid);
    uint8_t digest[SHA256_SIZE];

    must(sha256(text, strlen(text), digest) == 0);
    (void)snprintf(ret, 80, "csi-");
    sha256_hex(digest, SHA256_SIZE, ret + 4);
}

/* --- the containers -------------------------------------------------------------------------------------- */

static void node_image(const char *root)
{
    put_file(at("%s/preserved", root), "x");
    put_dir(at("%s/bin", root));
    put_file(at("%s/bin/command", root), "x");
    must(chmod(at("%s/bin/command", root), 0755) == 0);
}

/* The volume alone, as a runtime mounts it. */
static void node_mount_volume(const char *root, enum node_pod pod)
{
    const char *place = strdup(at("%s/.stoppablecontainer", root));

    must(umount2(place, 0) == 0 && mount(node_target(pod), place, NULL, MS_BIND, NULL) == 0);
}

static void node_provider_mounts(const char *root)
{
    node_mount_volume(root, NODE_POD_PROVIDER);
}

static void node_next_mounts(const char *root)
{
    node_mount_volume(root, NODE_POD_NEXT);
}

static void node_consumer_mounts(const char *root)
{
    node_mount_volume(root, NODE_POD_CONSUMER);
}

/* As the controller asks for in attach mode Chroot. */
static void node_read_only_mounts(const char *root)
{
    node_mount_volume(root, NODE_POD_CONSUMER);
    must(mount(NULL, root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
}

static void node_start_box(struct node *n, enum node_pod pod)
{
    const struct box_spec specs[NODE_BOXES] = {
            [NODE_POD_PROVIDER] = {.image = node_image, .mounts = node_provider_mounts},
            [NODE_POD_CONSUMER] = {.mounts = n->chroot ? node_read_only_mounts : node_consumer_mounts},
            [NODE_POD_NEXT] = {.image = node_image, .mounts = node_next_mounts}};
    const struct node_pod_facts *f = &node_pods[pod];
    const char *file = strdup(at(NODE_RUN "/cgroup-%s", f->box));
    struct box_spec spec = specs[pod];

    spec.name = f->box;
    box_start(&n->boxes[pod], &spec);
    put_file(file, at("0::/kubepods/pod%s/%s\n", f->uid, f->container));
    must(mount(file, at("/proc/%d/cgroup", (int)n->boxes[pod].pid), NULL, MS_BIND, NULL) == 0);
    n->runtime->pid[pod] = n->boxes[pod].pid;
}

/* What the runtime does when a container has ended. The image stays: the root of persistence Node lies over it. */
static void node_clear_box(struct node *n, enum node_pod pod)
{
    const char *box = node_pods[pod].box;

    n->runtime->pid[pod] = 0;
    must(system(at("cd " BOX_BASE " && rm -rf %s/upper %s/work %s/root", box, box, box)) == 0);
    if (!n->persistent)
        must(system(at("rm -rf " BOX_BASE "/%s", box)) == 0);
}

/* A child of this process has ended. */
_unused_ static void node_ended(struct node *n, pid_t pid)
{
    for (size_t i = 0; i < ARRAY_SIZE(n->boxes); i++)
        if (n->boxes[i].pid == pid) {
            n->boxes[i].pid = 0;
            (void)close(n->boxes[i].sock);
            node_clear_box(n, (enum node_pod)i);
        }
    must(pid != n->runtime_pid);
}

static void node_end_box(struct node *n, enum node_pod pod)
{
    if (n->boxes[pod].pid <= 0)
        return;
    (void)umount2(at("/proc/%d/cgroup", (int)n->boxes[pod].pid), MNT_DETACH);
    n->runtime->pid[pod] = 0;
    box_end(&n->boxes[pod]);
    node_clear_box(n, pod);
}

static int node_hello_fd = -1; /* in the provider's box: pause's connection */

/* The next frame of a connection that says more than that it waits; what a refusal says is kept in n->runtime->text. 0, or
 * -EAGAIN, -EPERM for a refusal, or what went wrong. */
static int node_next_reply(int fd, struct wire_reader *reader, enum wire_type *ret_type)
{
    struct wire_frame frame;
    struct wire_reply reply;
    int r;

    do
        r = wire_recv(fd, reader, &frame);
    while (r == 0 || r == -EINTR);
    if (r > 0)
        r = wire_decode_reply(&frame, &reply);
    if (r < 0)
        return r;
    *ret_type = reply.type;
    if (reply.type != WIRE_REFUSED)
        return 0;
    (void)snprintf(node_shared->text, sizeof(node_shared->text), "%s", reply.text);
    return !reply.text[0] ? -EPROTO : reply.retryable ? -EAGAIN : -EPERM; /* it says why */
}

/* In a box: asks, and waits for the answer that ends it. 0, or what went wrong. */
static int node_ask(enum wire_type type, enum wire_type good, int *ret_fd)
{
    static uint8_t buffer[WIRE_REPLY_MAX];
    const struct wire_request q = {.type = type, .kind = WIRE_RUN};
    const struct timeval patience = {.tv_sec = 15};
    static int directory = -1;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = SC_SOCKET_FILE};
    struct wire_reader reader;
    enum wire_type said = 0;
    int r;

    /* As execwrap does: what is mounted over it meanwhile is not in the way. */
    if (directory < 0)
        directory = open(SC_MOUNT_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(directory >= 0 && fchdir(directory) == 0);
    wire_reader_init(&reader, buffer, sizeof(buffer));
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
            connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    must(chdir("/") == 0);
    r = wire_send(fd, &q);
    while (r == 0 && said != good)
        r = node_next_reply(fd, &reader, &said);
    if (r == 0 && ret_fd)
        *ret_fd = take_fd(&fd);
    return r;
}

static int node_do_hello(const char *text _unused_)
{
    node_hello_fd = close_fd(node_hello_fd);
    return node_ask(WIRE_HELLO, WIRE_HELD, &node_hello_fd);
}

static int node_do_attach(const char *text _unused_)
{
    return node_ask(WIRE_ATTACH, WIRE_ATTACHED, NULL);
}

/* In a provider's box that was given its root: waits until it is sent away, as pause does. -EPERM, with the words. */
_unused_ static int node_do_last_words(const char *text _unused_)
{
    static uint8_t buffer[WIRE_REPLY_MAX];
    struct wire_reader reader;
    enum wire_type said;
    int r;

    wire_reader_init(&reader, buffer, sizeof(buffer));
    do
        r = node_next_reply(node_hello_fd, &reader, &said);
    while (r == 0);
    return r;
}
