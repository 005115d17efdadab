/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/csi/request: what of a CSI request is believed.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/names.h"
#include "common/rpc/pb.h"
#include "node-agent/csi/request.h"

#define UID "0c3ae4d6-9b43-4c1a-8a3e-1f2d3c4b5a69"
#define DIR "/var/lib/kubelet"
#define TARGET(uid, name) DIR "/pods/" uid "/volumes/kubernetes.io~csi/" name "/mount"
/* printf %s "$UID"stoppablecontainer | sha256sum */
#define VOLUME_ID "csi-c5dfe922f6457cf5844d4e0d20de12c0d8ab30f9d2b4010027c449ca93dd58e8"

/* A request to be; NULL fields are left out. */
struct given {
    const char *volume_id, *target, *uid, *ns, *pod, *ephemeral, *extra_key, *extra_value;
    bool block, no_mount, writable;
};

static const struct given good = {
        .volume_id = VOLUME_ID,
        .target = TARGET(UID, SC_VOLUME_NAME),
        .uid = UID,
        .ns = "team-a",
        .pod = "dev-provider",
        .ephemeral = "true",
        .extra_key = SC_ATTR_ROLE,
        .extra_value = SC_ROLE_PROVIDER,
};

static void put_context(struct buf *b, const char *key, const char *value)
{
    if (value)
        pb_put_map_entry(b, 8, key, value);
}

/* As the kubelet sends it, with fields that are to be skipped. */
static void write_publish(struct buf *b, const struct given *g)
{
    _cleanup_buf_ struct buf capability = BUF_INIT(KIB), empty = BUF_INIT(8), mode = BUF_INIT(8);

    if (g->block)
        pb_put_message(&capability, 1, &empty);
    if (!g->no_mount)
        pb_put_message(&capability, 2, &empty);
    pb_put_u64(&mode, 1, 1);
    pb_put_message(&capability, 3, &mode);

    pb_put_string(b, 1, g->volume_id);
    pb_put_map_entry(b, 2, "skipped", "publish context");
    pb_put_string(b, 4, g->target);
    pb_put_message(b, 5, &capability);
    pb_put_bool(b, 6, !g->writable);
    pb_put_map_entry(b, 7, "skipped", "secret");
    if (g->extra_key)
        pb_put_map_entry(b, 8, g->extra_key, g->extra_value);
    put_context(b, CSI_POD_UID, g->uid);
    put_context(b, CSI_POD_NAMESPACE, g->ns);
    put_context(b, CSI_POD_NAME, g->pod);
    put_context(b, CSI_EPHEMERAL, g->ephemeral);
    put_context(b, "csi.storage.k8s.io/serviceAccount.tokens", "forged");
    pb_put_string(b, 99, "from a later version");
    cr_assert_eq(buf_error(b), 0);
}

static int publish(const struct given *g, struct csi_request **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_GRPC_REQUEST);

    write_publish(&b, g);
    return csi_request_publish(DIR, (const uint8_t *)b.data, b.len, ret, err);
}

Test(csi_request, takes_what_the_kubelet_sends)
{
    _cleanup_csi_request_ struct csi_request *req = NULL;
    const struct csi_publish_request *p;
    struct err err = ERR_INIT;

    cr_assert_eq(publish(&good, &req, &err), 0, "%s", err_text(&err));
    p = &req->publish;
    cr_expect_str_eq(p->volume_id, VOLUME_ID);
    cr_expect_str_eq(p->target_path, TARGET(UID, SC_VOLUME_NAME));
    cr_expect_str_eq(p->volume_name, SC_VOLUME_NAME);
    cr_expect_str_eq(p->pod_uid, UID);
    cr_expect_str_eq(p->pod_namespace, "team-a");
    cr_expect_str_eq(p->pod_name, "dev-provider");
    cr_expect_eq(p->n_attributes, 1u, "the kubelet's own keys are not among them");
    cr_expect_str_eq(csi_publish_attribute(p, SC_ATTR_ROLE), SC_ROLE_PROVIDER);
    cr_expect_null(csi_publish_attribute(p, "other"));
    cr_expect_null(csi_publish_attribute(p, "csi.storage.k8s.io/serviceAccount.tokens"));
}

static void expect_refused(const struct given *g, const char *what, const char *in_text)
{
    struct csi_request *req = NULL;
    struct err err = ERR_INIT;
    int rc = publish(g, &req, &err);

    cr_expect(rc == -EINVAL || rc == -EBADMSG, "%s: %d", what, rc);
    cr_expect_null(req, "%s", what);
    cr_expect(strstr(err_text(&err), in_text), "%s: '%s' lacks '%s'", what, err_text(&err), in_text);
}

#define WITH(field, new)        \
    ({                          \
        struct given _g = good; \
        _g.field = (new);       \
        _g;                     \
    })
#define REFUSE(field, new, in_text)                          \
    do {                                                     \
        struct given _given = WITH(field, new);              \
        expect_refused(&_given, #field " = " #new, in_text); \
    } while (0)

Test(csi_request, refuses_target_paths_that_the_kubelet_never_makes)
{
    REFUSE(target, NULL, "target path");
    REFUSE(target, "", "target path");
    REFUSE(target, "/", "target path");
    REFUSE(target, DIR, "target path");
    REFUSE(target, "/etc/pods/" UID "/volumes/kubernetes.io~csi/stoppablecontainer/mount", "target path");
    REFUSE(target, DIR "x/pods/" UID "/volumes/kubernetes.io~csi/stoppablecontainer/mount", "target path");
    REFUSE(target, DIR "//pods/" UID "/volumes/kubernetes.io~csi/stoppablecontainer/mount", "target path");
    REFUSE(target, DIR "/pods//volumes/kubernetes.io~csi/stoppablecontainer/mount", "target path");
    REFUSE(target, DIR "/pods/../volumes/kubernetes.io~csi/stoppablecontainer/mount", "target path");
    REFUSE(target, DIR "/pods/" UID "/volumes/kubernetes.io~nfs/stoppablecontainer/mount", "target path");
    REFUSE(target, DIR "/pods/" UID "/volumes/kubernetes.io~csi/../mount", "target path");
    REFUSE(target, DIR "/pods/" UID "/volumes/kubernetes.io~csi/./mount", "target path");
    REFUSE(target, DIR "/pods/" UID "/volumes/kubernetes.io~csi//mount", "target path");
    REFUSE(target, DIR "/pods/" UID "/volumes/kubernetes.io~csi/Upper/mount", "target path");
    REFUSE(target, TARGET(UID, SC_VOLUME_NAME) "/", "target path");
    REFUSE(target, TARGET(UID, SC_VOLUME_NAME) "/..", "target path");
    REFUSE(target, DIR "/pods/" UID "/volumes/kubernetes.io~csi/stoppablecontainer", "target path");
    REFUSE(target, DIR "/pods/" UID UID "/volumes/kubernetes.io~csi/stoppablecontainer/mount", "target path");
}

Test(csi_request, refuses_an_identity_that_does_not_fit)
{
    REFUSE(uid, NULL, "pod uid");
    REFUSE(uid, "", "pod uid");
    REFUSE(uid, "0c3ae4d6-9b43-4c1a-8a3e-1f2d3c4b5a60", "pod uid");
    REFUSE(volume_id, NULL, "volume id");
    REFUSE(volume_id, "csi-0000000000000000000000000000000000000000000000000000000000000000", "volume id");
    REFUSE(volume_id, VOLUME_ID "0", "field 1");
    REFUSE(target, TARGET(UID, "other"), "volume id");
    REFUSE(ns, NULL, "namespace");
    REFUSE(ns, "a/b", "namespace");
    REFUSE(ns, "..", "namespace");
    REFUSE(pod, NULL, "pod name");
    REFUSE(pod, "../x", "pod name");
}

Test(csi_request, refuses_another_pods_path_with_its_own_uid_in_the_context)
{
    struct given g = WITH(target, TARGET("11111111-9b43-4c1a-8a3e-1f2d3c4b5a69", SC_VOLUME_NAME));

    expect_refused(&g, "context of another pod", "pod uid");
    g.uid = "11111111-9b43-4c1a-8a3e-1f2d3c4b5a69";
    expect_refused(&g, "path and context agree, the id does not", "volume id");
}

Test(csi_request, refuses_kinds_of_volumes)
{
    REFUSE(ephemeral, NULL, "inline");
    REFUSE(ephemeral, "false", "inline");
    REFUSE(writable, true, "readOnly: true");
    REFUSE(block, true, "block");
    REFUSE(no_mount, true, "capability");
}

Test(csi_request, refuses_doubled_context_keys)
{
    /* Which of two uids counts must not depend on who reads. */
    REFUSE(extra_key, CSI_POD_UID, "twice");
}

Test(csi_request, caps_attributes)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_GRPC_REQUEST);
    _cleanup_csi_request_ struct csi_request *req = NULL;
    _cleanup_free_ char *big = malloc(LIMIT_CSI_ATTRIBUTE + 2);
    struct err err = ERR_INIT;
    struct given largest;
    char key[16];

    memset(big, 'x', LIMIT_CSI_ATTRIBUTE + 1);
    big[LIMIT_CSI_ATTRIBUTE + 1] = '\0';
    REFUSE(extra_value, big, "too long");
    big[LIMIT_CSI_ATTRIBUTE] = '\0';
    largest = WITH(extra_value, big);
    cr_expect_eq(publish(&largest, &req, &err), 0, "%s", err_text(&err));

    write_publish(&b, &good);
    for (int i = 0; i < LIMIT_CSI_ATTRIBUTES - 5; i++) { /* one too many: good has 6 */
        (void)snprintf(key, sizeof(key), "k%d", i);
        pb_put_map_entry(&b, 8, key, "v");
    }
    cr_expect_eq(csi_request_publish(DIR, (const uint8_t *)b.data, b.len, &req, &err), -EINVAL);
    cr_expect(strstr(err_text(&err), "attributes"));
}

Test(csi_request, refuses_malformed_messages_at_every_cut)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_GRPC_REQUEST);

    write_publish(&b, &good);
    for (size_t len = 0; len < b.len; len++) {
        _cleanup_csi_request_ struct csi_request *req = NULL;
        _cleanup_free_ uint8_t *exact = malloc(len ? len : 1);
        struct err err = ERR_INIT;
        int rc;

        memcpy(exact, b.data, len);
        rc = csi_request_publish(DIR, exact, len, &req, &err);
        cr_expect(
                rc == -EBADMSG || rc == -EINVAL || (rc == 0 && len + 100 > b.len), "cut at %zu: %d", len, rc);
    }
}

static int unpublish(const char *id, const char *target, struct csi_request **ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);

    pb_put_string(&b, 1, id);
    pb_put_string(&b, 2, target);
    return csi_request_unpublish(DIR, (const uint8_t *)b.data, b.len, ret, NULL);
}

Test(csi_request, unpublish_needs_path_and_id_that_fit)
{
    _cleanup_csi_request_ struct csi_request *req = NULL;

    cr_assert_eq(unpublish(VOLUME_ID, TARGET(UID, SC_VOLUME_NAME), &req), 0);
    cr_expect_str_eq(req->publish.volume_id, VOLUME_ID);
    cr_expect_str_eq(req->publish.pod_uid, UID);
    cr_expect_str_eq(req->publish.volume_name, SC_VOLUME_NAME);
    req = csi_request_free(req);
    cr_expect_eq(unpublish(VOLUME_ID, "/", &req), -EINVAL);
    cr_expect_eq(unpublish(VOLUME_ID, TARGET(UID, "other"), &req), -EINVAL);
    cr_expect_eq(unpublish("csi-", TARGET(UID, SC_VOLUME_NAME), &req), -EINVAL);
    cr_expect_eq(unpublish("", "", &req), -EINVAL);
    cr_expect_null(req);
}

Test(csi_request, another_kubelet_directory)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * KIB);
    _cleanup_csi_request_ struct csi_request *req = NULL;

    pb_put_string(&b, 1, VOLUME_ID);
    pb_put_string(&b, 2, "/srv/k/pods/" UID "/volumes/kubernetes.io~csi/stoppablecontainer/mount");
    cr_expect_eq(csi_request_unpublish("/srv/k", (const uint8_t *)b.data, b.len, &req, NULL), 0);
}
