/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/runtime/cri: answers as containerd and CRI-O give them, and as neither would; and the client
 * against a runtime of our own.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/rpc/pb.h"
#include "common/rpc/server.h"
#include "node-agent/runtime/cri.h"
#include "node-agent/runtime/cri_message.h"

#define WAIT (5 * USEC_PER_SEC)
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char containerd_info[] =
        "{\"sandboxID\":\"sandbox1\",\"pid\":4242,\"removing\":false,\"snapshotter\":\"overlayfs\","
        "\"runtimeType\":\"io.containerd.runc.v2\",\"config\":{\"envs\":[{\"key\":\"A\",\"value\":\"b\"}]},"
        "\"runtimeSpec\":{\"ociVersion\":\"1.3.0\",\"process\":{\"args\":[\"sh\"],\"cwd\":\"/srv\","
        "\"env\":[\"TOKEN=secret\",\"PATH=/no\",\"PATH=/a:/b\",\"PATHS=/"
        "c\"],\"user\":{\"uid\":1000}},\"linux\":{\"namespaces\":[{\"type\":\"pid\"},"
        "{\"type\":\"mount\"}]}}}";
static const char crio_info[] =
        "{\"sandboxID\":\"sandbox2\",\"pid\":17,\"runtimeSpec\":{\"process\":{\"cwd\":\"/\"},"
        "\"linux\":{\"namespaces\":[{\"type\":\"user\",\"path\":\"/proc/1/ns/"
        "user\"}]}},\"privileged\":false}";

static void put_mount(
        struct buf *status, const char *path, const char *host, bool readonly, unsigned propagation)
{
    _cleanup_buf_ struct buf m = BUF_INIT(KIB);

    pb_put_string(&m, 1, path);
    pb_put_string(&m, 2, host);
    pb_put_bool(&m, 3, readonly);
    pb_put_bool(&m, 4, true);
    pb_put_u64(&m, 5, propagation);
    pb_put_message(status, 14, &m);
}

static void write_container(struct buf *b, unsigned state, const char *info)
{
    _cleanup_buf_ struct buf status = BUF_INIT(64 * KIB);

    pb_put_string(&status, 1, ID);
    pb_put_u64(&status, 3, state);
    pb_put_u64(&status, 5, 111);
    pb_put_u64(&status, 6, 222);
    pb_put_string(&status, 9, "docker.io/library/debian@sha256:aa");
    pb_put_map_entry(&status, 12, "io.kubernetes.pod.name", "dev");
    pb_put_map_entry(&status, 12, "io.kubernetes.pod.namespace", "team-a");
    pb_put_map_entry(&status, 12, "io.kubernetes.pod.uid", "uid1");
    pb_put_map_entry(&status, 12, "io.kubernetes.container.name", "main");
    pb_put_map_entry(&status, 12, "other", "label");
    put_mount(&status, "/data", "/var/lib/kubelet/pods/x", true, 1);
    put_mount(&status, "/etc/hosts", "/h", false, 0);
    pb_put_string(&status, 17, "sha256:bb");
    pb_put_message(b, 1, &status);
    if (info)
        pb_put_map_entry(b, 2, "info", info);
    cr_assert_eq(buf_error(b), 0);
}

static int decode_container(unsigned state, const char *info, struct cri_container **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * MIB);

    write_container(&b, state, info);
    return cri_decode_container((const uint8_t *)b.data, b.len, ret, err);
}

Test(cri, reads_a_container_of_containerd)
{
    _cleanup_cri_container_ struct cri_container *c = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(decode_container(1, containerd_info, &c, &err), 0, "%s", err_text(&err));
    cr_expect_str_eq(c->id, ID);
    cr_expect_str_eq(c->sandbox_id, "sandbox1");
    cr_expect_str_eq(c->pod_name, "dev");
    cr_expect_str_eq(c->pod_namespace, "team-a");
    cr_expect_str_eq(c->pod_uid, "uid1");
    cr_expect_str_eq(c->container_name, "main");
    cr_expect_str_eq(c->image_ref, "docker.io/library/debian@sha256:aa");
    cr_expect_str_eq(c->image_id, "sha256:bb");
    cr_expect_str_eq(c->working_dir, "/srv");
    cr_expect_str_eq(c->search, "/a:/b", "the last PATH is the one that counts");
    cr_expect_eq(c->uid, 1000);
    cr_expect_str_eq(c->runtime_type, "io.containerd.runc.v2");
    cr_expect(c->state == CRI_RUNNING && c->init_pid == 4242 && !c->user_namespace);
    cr_expect(c->started_at == 111 && c->finished_at == 222);
    cr_assert_eq(c->n_mounts, 2u);
    cr_expect_str_eq(c->mounts[0].container_path, "/data");
    cr_expect_str_eq(c->mounts[0].host_path, "/var/lib/kubelet/pods/x");
    cr_expect(c->mounts[0].readonly && c->mounts[0].propagation == CRI_HOST_TO_CONTAINER);
    cr_expect(!c->mounts[1].readonly && c->mounts[1].propagation == CRI_PRIVATE);
}

Test(cri, reads_a_container_of_crio)
{
    _cleanup_cri_container_ struct cri_container *c = NULL;

    cr_assert_eq(decode_container(1, crio_info, &c, NULL), 0);
    cr_expect_eq(c->init_pid, 17);
    cr_expect(c->user_namespace, "a user namespace of its own");
    cr_expect_null(c->runtime_type);
    cr_expect_str_eq(c->sandbox_id, "sandbox2");
    cr_expect_str_eq(c->search, "");
    cr_expect_eq(c->uid, 0);
}

/* containerd 1.6: no image_id, which came with CRI v0.29 */
Test(cri, the_image_of_an_older_runtime_is_its_reference)
{
    _cleanup_cri_container_ struct cri_container *c = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(KIB), status = BUF_INIT(KIB);

    pb_put_string(&status, 1, ID);
    pb_put_string(&status, 9, "docker.io/library/debian@sha256:aa");
    pb_put_message(&b, 1, &status);
    cr_assert_eq(buf_error(&b), 0);
    cr_assert_eq(cri_decode_container((const uint8_t *)b.data, b.len, &c, NULL), 0);
    cr_expect_str_eq(c->image_id, "docker.io/library/debian@sha256:aa");
    cr_expect_str_eq(c->image_ref, "docker.io/library/debian@sha256:aa");
}

Test(cri, a_container_that_is_just_being_started_has_no_pid)
{
    _cleanup_cri_container_ struct cri_container *c = NULL, *bare = NULL;

    cr_assert_eq(decode_container(0, "{\"pid\":0}", &c, NULL), 0);
    cr_expect(c->state == CRI_CREATED && c->init_pid == 0);
    cr_expect_str_eq(c->working_dir, "");
    cr_assert_eq(decode_container(9, NULL, &bare, NULL), 0);
    cr_expect(bare->state == CRI_UNKNOWN && bare->init_pid == 0, "no info, a state of the future");
}

Test(cri, refuses_containers_that_make_no_sense)
{
    static const char *const infos[] = {"{", "{\"pid\":-1}", "{\"pid\":4294967296}", "{\"pid\":1} trailing"};
    struct cri_container *c = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
        cr_expect_eq(decode_container(1, infos[i], &c, NULL), -EBADMSG, "%s", infos[i]);
    cr_expect_eq(cri_decode_container((const uint8_t *)"", 0, &c, NULL), -EBADMSG, "no status at all");
    cr_expect_null(c);
}

Test(cri, caps_the_mounts_of_a_container)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * MIB), status = BUF_INIT(8 * MIB);
    struct cri_container *c = NULL;

    for (int i = 0; i <= LIMIT_MOUNTS; i++)
        put_mount(&status, "/x", "/y", false, 0);
    pb_put_message(&b, 1, &status);
    cr_expect_eq(cri_decode_container((const uint8_t *)b.data, b.len, &c, NULL), -EBADMSG);
}

/* Every cut of an answer either decodes or is refused, and reads nothing beyond. */
Test(cri, caps_the_paths_of_mounts)
{
    _cleanup_buf_ struct buf b = BUF_INIT(2 * MIB), status = BUF_INIT(MIB);
    _cleanup_cri_container_ struct cri_container *c = NULL;
    struct err err = ERR_INIT;
    char path[1000];

    memset(path, 'p', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    pb_put_string(&status, 1, ID);
    for (int i = 0; i < 300; i++)
        put_mount(&status, path, "/h", false, 0);
    pb_put_message(&b, 1, &status);
    cr_assert_eq(buf_error(&b), 0);
    cr_expect_eq(cri_decode_container((const uint8_t *)b.data, b.len, &c, &err), -E2BIG);
    cr_expect_not_null(strstr(err_text(&err), "mounts"));
}

Test(cri, a_container_may_have_several_owners)
{
    struct cri_container *c = NULL;

    cr_assert_eq(decode_container(1, containerd_info, &c, NULL), 0);
    cr_expect_eq(cri_container_ref(c), c);
    cr_expect_null(cri_container_free(c));
    cr_expect_str_eq(c->pod_name, "dev", "still there");
    (void)cri_container_free(c);
}

Test(cri, survives_every_cut)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * MIB);

    write_container(&b, 1, containerd_info);
    for (size_t len = 0; len < b.len; len++) {
        _cleanup_cri_container_ struct cri_container *c = NULL;
        _cleanup_cri_image_ struct cri_image *i = NULL;
        _cleanup_cri_list_ struct cri_list *l = NULL;
        _cleanup_free_ uint8_t *exact = malloc(len ? len : 1);

        memcpy(exact, b.data, len);
        (void)cri_decode_container(exact, len, &c, NULL);
        (void)cri_decode_image(exact, len, &i, NULL);
        (void)cri_decode_list(exact, len, &l, NULL);
    }
}

static int decode_image(const char *info, struct cri_image **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * MIB), image = BUF_INIT(KIB);

    pb_put_string(&image, 1, "sha256:cc");
    pb_put_string(&image, 2, "debian:12");
    pb_put_message(&b, 1, &image);
    if (info)
        pb_put_map_entry(&b, 2, "info", info);
    return cri_decode_image((const uint8_t *)b.data, b.len, ret, err);
}

#define LAYER "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
Test(cri, reads_an_image)
{
    _cleanup_cri_image_ struct cri_image *i = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(
            decode_image("{\"chainID\":\"sha256:dd\",\"imageSpec\":{\"architecture\":\"amd64\",\"config\":{"
                         "\"User\":\"1000:100\",\"Env\":[\"PATH=/bin\",\"A=b c\"],"
                         "\"Entrypoint\":[\"/init\",\"--\"],\"Cmd\":[\"sh\"],\"WorkingDir\":\"/w\","
                         "\"Volumes\":{\"/data\":{},\"/log\":{}},\"StopSignal\":\"SIGINT\"},"
                         "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" LAYER "\"]}}}",
                    &i, &err),
            0, "%s", err_text(&err));
    cr_expect_str_eq(i->id, "sha256:cc");
    cr_expect_str_eq(i->chain, LAYER);
    cr_expect_str_eq(i->user, "1000:100");
    cr_expect_str_eq(i->working_dir, "/w");
    cr_expect_str_eq(i->entrypoint[0], "/init");
    cr_expect_str_eq(i->entrypoint[1], "--");
    cr_expect(!i->entrypoint[2] && !i->cmd[1]);
    cr_expect_str_eq(i->cmd[0], "sh");
    cr_expect_str_eq(i->env[1], "A=b c");
    cr_assert_eq(i->n_volumes, 2u);
    cr_expect(strcmp(i->volumes[0], "/data") == 0 && strcmp(i->volumes[1], "/log") == 0);
}

Test(cri, an_image_may_have_no_config)
{
    _cleanup_cri_image_ struct cri_image *none = NULL, *nulls = NULL;

    cr_assert_eq(decode_image("{\"imageSpec\":{}}", &none, NULL), 0);
    cr_expect(!none->entrypoint[0] && !none->cmd[0] && !none->env[0] && !none->volumes[0]);
    cr_expect_str_eq(none->user, "");
    cr_assert_eq(
            decode_image("{\"imageSpec\":{\"config\":{\"Cmd\":null,\"Volumes\":null}}}", &nulls, NULL), 0);
    cr_expect(!nulls->cmd[0] && nulls->n_volumes == 0);
}

/* The text of an image's config with a list of n strings of len bytes. */
static void write_image_info(struct buf *b, const char *open, size_t n, const char *close)
{
    static const char filler[] = "0123456789012345678901234567890123456789012345678901234567890123";

    (void)buf_puts(b, "{\"imageSpec\":{\"config\":{");
    (void)buf_puts(b, open);
    for (size_t i = 0; i < n; i++)
        (void)buf_printf(b, "%s\"%s%zu\"%s", i ? "," : "", filler, i, open[1] == 'V' ? ":{}" : "");
    (void)buf_puts(b, close);
    (void)buf_puts(b, "}}}");
    cr_assert_eq(buf_error(b), 0);
}

/* An image is of anybody's making. */
Test(cri, caps_the_config_of_an_image)
{
    _cleanup_cri_image_ struct cri_image *command = NULL, *volumes = NULL, *env = NULL;
    _cleanup_buf_ struct buf a = BUF_INIT(4 * MIB), b = BUF_INIT(4 * MIB), c = BUF_INIT(4 * MIB);
    struct err err = ERR_INIT;

    write_image_info(&a, "\"Entrypoint\":[", 20000, "],\"Cmd\":[\"x\"]");
    cr_assert_eq(decode_image(buf_str(&a), &command, &err), 0, "%s", err_text(&err));
    cr_expect(command->command_too_long && !command->entrypoint[0]);
    cr_expect_str_eq(command->cmd[0], "x", "what is short enough is there");
    write_image_info(&b, "\"Volumes\":{", LIMIT_IMAGE_VOLUMES + 1, "}");
    cr_expect_eq(decode_image(buf_str(&b), &volumes, &err), -E2BIG);
    cr_expect_not_null(strstr(err_text(&err), "VOLUMEs"), "%s", err_text(&err));
    write_image_info(&c, "\"Env\":[", 20000, "]");
    cr_assert_eq(decode_image(buf_str(&c), &env, NULL), 0, "an environment that long does no harm");
    cr_expect_null(env->env[0]);
}

Test(cri, an_unknown_image_is_told_apart_from_a_broken_answer)
{
    static const char *const infos[] = {NULL, "{}", "[]", "{\"imageSpec\":\"x\"}",
            "{\"imageSpec\":{\"config\":{\"Cmd\":\"sh\"}}}", "{\"imageSpec\":{\"config\":{\"Cmd\":[1]}}}",
            "{\"imageSpec\":{\"config\":{\"Volumes\":[\"/data\"]}}}"};
    struct cri_image *i = NULL;

    cr_expect_eq(cri_decode_image((const uint8_t *)"", 0, &i, NULL), -ENOENT);
    for (size_t n = 0; n < ARRAY_SIZE(infos); n++)
        cr_expect_eq(decode_image(infos[n], &i, NULL), -EBADMSG, "%s", infos[n] ? infos[n] : "none");
    cr_expect_null(i);
}

Test(cri, caps_a_list)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB), empty = BUF_INIT(8);
    _cleanup_cri_list_ struct cri_list *most = NULL, *over = NULL;

    for (int i = 0; i < LIMIT_PB_ENTRIES; i++)
        pb_put_message(&b, 1, &empty);
    cr_assert_eq(cri_decode_list((const uint8_t *)b.data, b.len, &most, NULL), 0);
    cr_expect_eq(most->n, (size_t)LIMIT_PB_ENTRIES);
    cr_expect_str_eq(most->items[0].id, "");
    pb_put_message(&b, 1, &empty);
    cr_expect_eq(cri_decode_list((const uint8_t *)b.data, b.len, &over, NULL), -EBADMSG);
}

/* --- the client
 * --------------------------------------------------------------------------------------------- */

static struct {
    struct loop *loop;
    struct rpc_server *runtime;
    struct cri *cri;
    char dir[32], path[64];
    int dirfd;
    bool silent, free_in_callback;
    unsigned calls, answers;
    char request[1024];
    size_t request_len;

    int code;
    char text[512];
    struct cri_container *container;
    struct cri_list *list;
    struct cri_image *image;
    struct cri_version *version;
} t;

static void note_request(const uint8_t *msg, size_t len)
{
    t.calls++;
    cr_assert(len <= sizeof(t.request));
    memcpy(t.request, msg, len);
    t.request_len = len;
}

static void ignore_cancel(_unused_ struct rpc_call *call, _unused_ void *user)
{
}

static void serve_container(struct rpc_call *call, const uint8_t *msg, size_t len, _unused_ void *user)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);

    note_request(msg, len);
    if (t.silent) {
        rpc_call_on_cancel(call, ignore_cancel, NULL);
    } else if (!memmem(msg, len, ID, strlen(ID))) {
        rpc_call_fail(call, GRPC_NOT_FOUND, "no such container");
    } else {
        write_container(&b, 1, containerd_info);
        rpc_call_reply(call, b.data, b.len);
    }
}

static void serve_list(struct rpc_call *call, const uint8_t *msg, size_t len, _unused_ void *user)
{
    _cleanup_buf_ struct buf b = BUF_INIT(KIB), item = BUF_INIT(KIB), metadata = BUF_INIT(KIB);

    note_request(msg, len);
    pb_put_string(&metadata, 1, "main");
    pb_put_u64(&metadata, 2, 3);
    pb_put_string(&item, 1, ID);
    pb_put_message(&item, 3, &metadata);
    pb_put_u64(&item, 6, 2);
    pb_put_u64(&item, 7, 99);
    pb_put_message(&b, 1, &item);
    rpc_call_reply(call, b.data, b.len);
}

static void serve_image(struct rpc_call *call, const uint8_t *msg, size_t len, _unused_ void *user)
{
    note_request(msg, len);
    rpc_call_reply(call, "", 0);
}

static void serve_version(struct rpc_call *call, const uint8_t *msg, size_t len, _unused_ void *user)
{
    _cleanup_buf_ struct buf b = BUF_INIT(KIB);

    note_request(msg, len);
    pb_put_string(&b, 2, "containerd");
    pb_put_string(&b, 3, "v2.4.2");
    pb_put_string(&b, 4, "v1");
    rpc_call_reply(call, b.data, b.len);
}

static void start_runtime(void)
{
    cr_assert_eq(rpc_server_new(t.loop, "runtime", &t.runtime, NULL), 0);
    cr_assert_eq(
            rpc_server_handle(t.runtime, "/runtime.v1.RuntimeService/ContainerStatus", serve_container, 0),
            0);
    cr_assert_eq(rpc_server_handle(t.runtime, "/runtime.v1.RuntimeService/ListContainers", serve_list, 0), 0);
    cr_assert_eq(rpc_server_handle(t.runtime, "/runtime.v1.RuntimeService/Version", serve_version, 0), 0);
    cr_assert_eq(rpc_server_handle(t.runtime, "/runtime.v1.ImageService/ImageStatus", serve_image, 0), 0);
    cr_assert_eq(rpc_server_listen(t.runtime, t.dirfd, "r.sock", NULL), 0);
}

static void start(void)
{
    memset(&t, 0, sizeof(t));
    (void)snprintf(t.dir, sizeof(t.dir), "/tmp/sc-cri-XXXXXX");
    cr_assert_not_null(mkdtemp(t.dir));
    (void)snprintf(t.path, sizeof(t.path), "%s/r.sock", t.dir);
    t.dirfd = open(t.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(loop_new(&t.loop, NULL), 0);
    start_runtime();
    cr_assert_eq(cri_new(t.loop, t.path, &t.cri, NULL), 0);
}

static void stop(void)
{
    t.cri = cri_free(t.cri);
    t.runtime = rpc_server_free(t.runtime);
    t.loop = loop_free(t.loop);
    (void)cri_container_free(t.container);
    (void)cri_list_free(t.list);
    (void)cri_image_free(t.image);
    (void)cri_version_free(t.version);
    (void)close_fd(t.dirfd);
    cr_expect_eq(rmdir(t.dir), 0);
}

TestSuite(cri_client, .init = start, .fini = stop, .timeout = 30);

#define UNTIL(what)                                     \
    do {                                                \
        usec_t _end = clock_monotonic() + 2 * WAIT;     \
        while (!(what) && clock_monotonic() < _end)     \
            (void)loop_turn(t.loop, USEC_PER_SEC / 10); \
        cr_assert(what);                                \
    } while (0)

static void answered(int code, const struct err *err)
{
    t.answers++;
    t.code = code;
    cr_expect_eq(code < 0, err != NULL);
    (void)snprintf(t.text, sizeof(t.text), "%s", err ? err_text(err) : "");
    if (t.free_in_callback)
        t.cri = cri_free(t.cri);
}

static void got_container(int code, struct cri_container *container, const struct err *err, void *user)
{
    cr_expect_eq(user, &t);
    (void)cri_container_free(t.container);
    t.container = container;
    answered(code, err);
}

static void got_list(int code, struct cri_list *list, const struct err *err, _unused_ void *user)
{
    t.list = list;
    answered(code, err);
}

static void got_image(int code, struct cri_image *image, const struct err *err, _unused_ void *user)
{
    t.image = image;
    answered(code, err);
}

static void got_version(int code, struct cri_version *version, const struct err *err, _unused_ void *user)
{
    t.version = version;
    answered(code, err);
}

static void expect_request(const char *want, size_t len)
{
    cr_expect(t.request_len == len && memcmp(t.request, want, len) == 0, "%zu bytes", t.request_len);
}

#define EXPECT_REQUEST(text) expect_request((text), sizeof(text) - 1)

Test(cri_client, asks_for_a_container)
{
    cr_assert_eq(cri_container_status(t.cri, ID, got_container, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_expect_eq(t.code, 0, "%s", t.text);
    cr_expect_str_eq(t.container->pod_name, "dev");
    EXPECT_REQUEST("\x0a\x40" ID "\x10\x01");
}

Test(cri_client, tells_of_an_unknown_container)
{
    cr_assert_eq(cri_container_status(t.cri, "other", got_container, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_expect_eq(t.code, -ENOENT);
    cr_expect_null(t.container);
    cr_expect(strstr(t.text, "other") && strstr(t.text, "no such container"), "%s", t.text);
}

Test(cri_client, lists_the_containers_of_a_pod)
{
    cr_assert_eq(cri_list_containers(t.cri, "u1", got_list, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_assert_eq(t.code, 0, "%s", t.text);
    EXPECT_REQUEST("\x0a\x1d\x22\x1b\x0a\x15io.kubernetes.pod.uid\x12\x02u1");
    cr_assert_eq(t.list->n, 1u);
    cr_expect_str_eq(t.list->items[0].id, ID);
    cr_expect_str_eq(t.list->items[0].container_name, "main");
    cr_expect(t.list->items[0].state == CRI_EXITED && t.list->items[0].attempt == 3 &&
              t.list->items[0].created_at == 99);
}

Test(cri_client, asks_for_an_image)
{
    cr_assert_eq(cri_image_status(t.cri, "img", got_image, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_expect_eq(t.code, -ENOENT);
    cr_expect(strstr(t.text, "img"), "%s", t.text);
    EXPECT_REQUEST("\x0a\x05\x0a\x03img\x10\x01");
}

Test(cri_client, asks_for_the_version)
{
    cr_assert_eq(cri_version(t.cri, got_version, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_assert_eq(t.code, 0, "%s", t.text);
    cr_expect_str_eq(t.version->runtime_name, "containerd");
    cr_expect_str_eq(t.version->api_version, "v1");
}

Test(cri_client, asks_again_when_the_runtime_was_restarted)
{
    cr_assert_eq(cri_version(t.cri, got_version, &t, NULL), 0);
    UNTIL(t.answers == 1);
    t.version = cri_version_free(t.version);
    t.runtime = rpc_server_free(t.runtime);
    start_runtime();
    cr_assert_eq(cri_version(t.cri, got_version, &t, NULL), 0);
    UNTIL(t.answers == 2);
    cr_expect_eq(t.code, 0, "%s", t.text);
}

Test(cri_client, tells_of_a_runtime_that_does_not_run)
{
    t.runtime = rpc_server_free(t.runtime);
    cr_assert_eq(cri_version(t.cri, got_version, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_expect_eq(t.code, -EIO);
    cr_expect(strstr(t.text, "UNAVAILABLE"), "%s", t.text);
}

Test(cri_client, gives_up_in_time)
{
    usec_t start_time = clock_monotonic();

    t.silent = true;
    cr_assert_eq(cri_container_status(t.cri, ID, got_container, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_expect_eq(t.code, -ETIMEDOUT, "%s", t.text);
    cr_expect(clock_monotonic() - start_time >= CRI_TIMEOUT);
}

Test(cri_client, cancels)
{
    struct cri_request *req = NULL;

    cr_assert_eq(cri_container_status(t.cri, ID, got_container, &t, &req), 0);
    req = cri_cancel(req);
    cr_expect_null(req);
    t.silent = true;
    cr_assert_eq(cri_container_status(t.cri, ID, got_container, &t, &req), 0);
    UNTIL(t.calls > 0);
    req = cri_cancel(req);
    cr_assert_eq(cri_version(t.cri, got_version, &t, NULL), 0);
    UNTIL(t.answers == 1);
    cr_expect_null(t.container);
}

Test(cri_client, may_be_freed_in_its_callback)
{
    t.free_in_callback = true;
    cr_assert_eq(cri_version(t.cri, got_version, &t, NULL), 0);
    cr_assert_eq(cri_container_status(t.cri, ID, got_container, &t, NULL), 0);
    UNTIL(t.answers == 1);
    for (int i = 0; i < 20; i++)
        (void)loop_turn(t.loop, 1000);
    cr_expect_eq(t.answers, 1u, "the other one was cancelled with it");
}
