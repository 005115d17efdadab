/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSI requests (request.h): first the fields as slices of the message, then the rules, then one copy of what
 * is kept. Nothing is allocated for a request that is refused.
 */
#include "node-agent/csi/request.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/hash/sha256.h"
#include "common/names.h"
#include "common/rpc/pb.h"

enum { VOLUME_ID_LEN = 4 + 2 * SHA256_SIZE };

#define KUBELET_KEYS "csi.storage.k8s.io/"

struct pair {
    struct pb_slice key, value;
};

/* A request as it came. */
struct raw {
    struct pb_slice volume_id, target_path, capability;
    bool readonly;
    struct pair context[LIMIT_CSI_ATTRIBUTES];
    size_t n_context;
    /* read out of target_path */
    struct pb_slice pod_uid, volume_name;
};

static bool slices_equal(struct pb_slice a, struct pb_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool has_prefix(struct pb_slice s, const char *prefix)
{
    return s.len >= strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

static bool only_chars(struct pb_slice s, const char *allowed)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!strchr(allowed, s.data[i]))
            return false;
    }
    return true;
}

/* --- decoding
 * ----------------------------------------------------------------------------------------------- */

static int add_context(struct raw *raw, const struct pb_field *f, struct err *err)
{
    struct pair pair;
    int rc = pb_get_map_entry(f, LIMIT_CSI_ATTRIBUTE, &pair.key, &pair.value);

    if (rc < 0)
        return err_say(err, EBADMSG, "malformed or too long volume attribute");
    for (size_t i = 0; i < raw->n_context; i++) {
        if (slices_equal(raw->context[i].key, pair.key))
            return err_say(err, EBADMSG, "a volume attribute came twice");
    }
    if (raw->n_context == LIMIT_CSI_ATTRIBUTES)
        return err_say(err, EINVAL, "more than %d volume attributes", LIMIT_CSI_ATTRIBUTES);
    raw->context[raw->n_context++] = pair;
    return 0;
}

/* Fields that only other drivers need (publish_context, staging path, secrets) are skipped with the unknown
 * ones. */
static int publish_field(struct raw *raw, const struct pb_field *f, struct err *err)
{
    int rc = 0;

    switch (f->number) {
    case 1:
        rc = pb_get_string(f, VOLUME_ID_LEN, &raw->volume_id);
        break;
    case 4:
        rc = pb_get_string(f, PATH_MAX, &raw->target_path);
        break;
    case 5:
        rc = pb_get_message(f, &raw->capability);
        break;
    case 6:
        rc = pb_get_bool(f, &raw->readonly);
        break;
    case 8:
        return add_context(raw, f, err);
    default:
        break;
    }
    return rc < 0 ? err_say(err, EBADMSG, "malformed field %u of NodePublishVolumeRequest", f->number) : 0;
}

static int unpublish_field(struct raw *raw, const struct pb_field *f, struct err *err)
{
    int rc = 0;

    if (f->number == 1)
        rc = pb_get_string(f, VOLUME_ID_LEN, &raw->volume_id);
    else if (f->number == 2)
        rc = pb_get_string(f, PATH_MAX, &raw->target_path);
    return rc < 0 ? err_say(err, EBADMSG, "malformed field %u of NodeUnpublishVolumeRequest", f->number) : 0;
}

static int decode(struct raw *raw, const uint8_t *msg, size_t len,
        int (*field)(struct raw *, const struct pb_field *, struct err *), struct err *err)
{
    struct pb_reader r;
    struct pb_field f;
    int rc;

    pb_reader_init(&r, msg, len);
    while ((rc = pb_next(&r, &f)) > 0) {
        rc = field(raw, &f, err);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? err_say(err, EBADMSG, "malformed CSI request") : 0;
}

/* --- rules
 * -------------------------------------------------------------------------------------------------- */

/* Takes the text up to the next slash (or the end) off the front of *rest. */
static struct pb_slice next_component(struct pb_slice *rest)
{
    const uint8_t *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    struct pb_slice part = {.data = rest->data, .len = slash ? (size_t)(slash - rest->data) : rest->len};
    size_t used = part.len + (slash ? 1 : 0);

    rest->data += used;
    rest->len -= used;
    return part;
}

static bool uid_ok(struct pb_slice s)
{
    return s.len > 0 && s.len <= LIMIT_UID && only_chars(s, "0123456789abcdef-");
}

/* A DNS label (or, with dots, a subdomain) as Kubernetes has it: no path component of it can be "." or "..".
 */
static bool dns_ok(struct pb_slice s, size_t max, bool dots)
{
    return s.len > 0 && s.len <= max && s.data[0] != '.' && s.data[0] != '-' &&
           only_chars(s,
                   dots ? "0123456789abcdefghijklmnopqrstuvwxyz-." : "0123456789abcdefghijklmnopqrstuvwxyz-");
}

static int check_target(struct raw *raw, const char *kubelet_dir, struct err *err)
{
    struct pb_slice rest = raw->target_path;

    if (rest.len == 0 || !has_prefix(rest, kubelet_dir))
        goto refuse;
    rest.data += strlen(kubelet_dir);
    rest.len -= strlen(kubelet_dir);
    if (rest.len == 0 || !pb_slice_equal(next_component(&rest), "") ||
            !pb_slice_equal(next_component(&rest), "pods"))
        goto refuse;
    raw->pod_uid = next_component(&rest);
    if (!uid_ok(raw->pod_uid) || !pb_slice_equal(next_component(&rest), "volumes") ||
            !pb_slice_equal(next_component(&rest), "kubernetes.io~csi"))
        goto refuse;
    raw->volume_name = next_component(&rest);
    if (!dns_ok(raw->volume_name, LIMIT_NAMESPACE, false) || !pb_slice_equal(rest, "mount"))
        goto refuse;
    return 0;
refuse:
    return err_say(err, EINVAL,
            "target path is not %s/pods/UID/volumes/kubernetes.io~csi/NAME/mount: is the agent's kubelet "
            "directory the kubelet's --root-dir?",
            kubelet_dir);
}

static int check_volume_id(const struct raw *raw, struct err *err)
{
    uint8_t text[LIMIT_UID + LIMIT_NAMESPACE], digest[SHA256_SIZE];
    char want[VOLUME_ID_LEN + 1] = "csi-";

    memcpy(text, raw->pod_uid.data, raw->pod_uid.len);
    memcpy(text + raw->pod_uid.len, raw->volume_name.data, raw->volume_name.len);
    if (sha256(text, raw->pod_uid.len + raw->volume_name.len, digest) < 0)
        return err_say(err, ENOMEM, "cannot compute the volume id");
    sha256_hex(digest, sizeof(digest), want + strlen(want));
    if (!pb_slice_equal(raw->volume_id, want))
        return err_say(err, EINVAL,
                "the volume id is not the one of an inline volume of this pod: only inline (ephemeral) "
                "volumes are served");
    return 0;
}

static int check_capability(const struct raw *raw, struct err *err)
{
    struct pb_reader r;
    struct pb_field f;
    bool mount = false;
    int rc;

    pb_reader_init(&r, raw->capability.data, raw->capability.len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 1)
            return err_say(err, EINVAL, "block volumes are not served: remove csi.fsType from the volume");
        if (f.number == 2)
            mount = true;
    }
    if (rc < 0 || !mount)
        return err_say(err, EBADMSG, "malformed volume capability");
    return 0;
}

static struct pb_slice context(const struct raw *raw, const char *key)
{
    for (size_t i = 0; i < raw->n_context; i++) {
        if (pb_slice_equal(raw->context[i].key, key))
            return raw->context[i].value;
    }
    return (struct pb_slice){0};
}

static int check_context(const struct raw *raw, struct err *err)
{
    if (!slices_equal(context(raw, CSI_POD_UID), raw->pod_uid))
        return err_say(err, EINVAL,
                "the pod uid in the volume context is not that of the target path: does the CSIDriver object "
                "have podInfoOnMount: true?");
    if (!dns_ok(context(raw, CSI_POD_NAMESPACE), LIMIT_NAMESPACE, false) ||
            !dns_ok(context(raw, CSI_POD_NAME), LIMIT_NAME, true))
        return err_say(err, EINVAL, "no valid pod name and namespace in the volume context");
    if (!pb_slice_equal(context(raw, CSI_EPHEMERAL), "true"))
        return err_say(err, EINVAL, "only inline (ephemeral) volumes are served");
    if (!raw->readonly)
        return err_say(err, EINVAL, "the volume must have readOnly: true in the pod's csi volume source");
    return 0;
}

/* --- what is kept
 * ------------------------------------------------------------------------------------------- */

static const char *keep(char **pos, struct pb_slice s)
{
    char *start = *pos;

    if (s.len > 0)
        memcpy(start, s.data, s.len);
    start[s.len] = '\0';
    *pos += s.len + 1;
    return start;
}

/* What the core gets of the context: not the kubelet's own keys, which are either checked above or, like the
 * service account tokens, can be any pod author's text. */
static bool is_attribute(const struct pair *pair)
{
    return !has_prefix(pair->key, KUBELET_KEYS);
}

static size_t text_size(const struct raw *raw)
{
    size_t size = raw->volume_id.len + raw->target_path.len + raw->pod_uid.len + raw->volume_name.len + 4;

    size += context(raw, CSI_POD_NAMESPACE).len + context(raw, CSI_POD_NAME).len + 2;
    for (size_t i = 0; i < raw->n_context; i++)
        size += raw->context[i].key.len + raw->context[i].value.len + 2;
    return size;
}

static int keep_request(const struct raw *raw, struct csi_request **ret, struct err *err)
{
    _cleanup_csi_request_ struct csi_request *req = calloc(1, sizeof(*req));
    struct csi_publish_request *p;
    char *pos;

    if (req) {
        req->attributes = calloc(raw->n_context + 1, sizeof(*req->attributes));
        req->text = malloc(text_size(raw));
    }
    if (!req || !req->attributes || !req->text)
        return err_set(err, ENOMEM, "cannot keep the CSI request");
    p = &req->publish;
    pos = req->text;
    p->volume_id = keep(&pos, raw->volume_id);
    p->target_path = keep(&pos, raw->target_path);
    p->volume_name = keep(&pos, raw->volume_name);
    p->pod_uid = keep(&pos, raw->pod_uid);
    p->pod_namespace = keep(&pos, context(raw, CSI_POD_NAMESPACE));
    p->pod_name = keep(&pos, context(raw, CSI_POD_NAME));
    p->attributes = req->attributes;
    for (size_t i = 0; i < raw->n_context; i++) {
        struct csi_attribute *a = &req->attributes[p->n_attributes];

        if (!is_attribute(&raw->context[i]))
            continue;
        a->key = keep(&pos, raw->context[i].key);
        a->value = keep(&pos, raw->context[i].value);
        p->n_attributes++;
    }
    p->deadline = USEC_INFINITY;
    *ret = take_ptr(req);
    return 0;
}

int csi_request_publish(
        const char *kubelet_dir, const uint8_t *msg, size_t len, struct csi_request **ret, struct err *err)
{
    struct raw raw = {0};
    int rc = decode(&raw, msg, len, publish_field, err);

    if (rc == 0)
        rc = check_target(&raw, kubelet_dir, err);
    if (rc == 0)
        rc = check_capability(&raw, err);
    if (rc == 0)
        rc = check_context(&raw, err);
    if (rc == 0)
        rc = check_volume_id(&raw, err);
    return rc < 0 ? rc : keep_request(&raw, ret, err);
}

int csi_request_unpublish(
        const char *kubelet_dir, const uint8_t *msg, size_t len, struct csi_request **ret, struct err *err)
{
    struct raw raw = {0};
    int rc = decode(&raw, msg, len, unpublish_field, err);

    if (rc == 0)
        rc = check_target(&raw, kubelet_dir, err);
    if (rc == 0)
        rc = check_volume_id(&raw, err);
    return rc < 0 ? rc : keep_request(&raw, ret, err);
}

struct csi_request *csi_request_free(struct csi_request *req)
{
    if (req) {
        free(req->attributes);
        free(req->text);
        free(req);
    }
    return NULL;
}

const char *csi_publish_attribute(const struct csi_publish_request *req, const char *key)
{
    for (size_t i = 0; i < req->n_attributes; i++) {
        if (strcmp(req->attributes[i].key, key) == 0)
            return req->attributes[i].value;
    }
    return NULL;
}
