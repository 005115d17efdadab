/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pod_parts.h. Building functions collect failures in `bad`: the only one possible is lack of memory, and
 * values that could not be made are refused by the call that would have taken them.
 */
#include "controller/pod_parts.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/hash/sha256.h"
#include "common/names.h"

int pod_parts_copy(struct json *object, const char *name, const struct json *value)
{
    return value ? json_set(object, name, json_copy(value)) : 0;
}

int pod_parts_add_owner(struct json *metadata, const struct json *sci)
{
    struct json *owner = json_new_object();
    int bad = 0;

    bad |= json_set_str(owner, "apiVersion", SC_API_VERSION);
    bad |= json_set_str(owner, "kind", SCI_KIND);
    bad |= json_set_str(owner, "name", json_str_or(sci, "metadata.name", ""));
    bad |= json_set_str(owner, "uid", json_str_or(sci, "metadata.uid", ""));
    bad |= json_set_bool(owner, "controller", true);
    bad |= json_set_bool(owner, "blockOwnerDeletion", true);
    bad |= json_append(json_ensure_array(metadata, "ownerReferences"), owner);
    return bad;
}

int pod_parts_set_labels(struct json *labels, const char *role, const struct json *sci)
{
    int bad = json_set_str(labels, SC_LABEL_MANAGED_BY, SC_MANAGED_BY);

    bad |= json_set_str(labels, SC_LABEL_ROLE, role);
    return sci ? bad | json_set_str(labels, SC_LABEL_INSTANCE, json_str_or(sci, "metadata.name", "")) : bad;
}

struct json *pod_parts_new(const char *namespace, const char *name, const char *role, const struct json *sci)
{
    _cleanup_json_ struct json *pod = json_new_object();
    struct json *metadata = pod ? json_ensure_object(pod, "metadata") : NULL;
    struct json *labels = metadata ? json_ensure_object(metadata, "labels") : NULL;
    int bad = !labels;

    bad |= json_set_str(pod, "apiVersion", "v1");
    bad |= json_set_str(pod, "kind", "Pod");
    bad |= json_set_str(metadata, "name", name);
    bad |= json_set_str(metadata, "namespace", namespace);
    bad |= pod_parts_set_labels(labels, role, sci);
    if (sci)
        bad |= pod_parts_add_owner(metadata, sci);
    bad |= !json_ensure_object(pod, "spec");
    return bad ? NULL : take_ptr(pod);
}

int pod_parts_add_volume(struct json *spec, struct json *attributes)
{
    struct json *volume = json_new_object();
    struct json *csi = volume ? json_ensure_object(volume, "csi") : NULL;
    int bad = 0;

    bad |= json_set(csi, "volumeAttributes", attributes);
    bad |= json_set_str(volume, "name", SC_VOLUME_NAME);
    bad |= json_set_str(csi, "driver", SC_CSI_DRIVER);
    bad |= json_set_bool(csi, "readOnly", true);
    bad |= json_append(json_ensure_array(spec, "volumes"), volume);
    return bad ? -ENOMEM : 0;
}

int pod_parts_add_mount(struct json *container)
{
    struct json *mount = json_new_object();
    int bad = 0;

    bad |= json_set_str(mount, "name", SC_VOLUME_NAME);
    bad |= json_set_str(mount, "mountPath", SC_MOUNT_DIR);
    bad |= json_set_bool(mount, "readOnly", true);
    bad |= json_append(json_ensure_array(container, "volumeMounts"), mount);
    return bad ? -ENOMEM : 0;
}

struct json *pod_parts_attributes(const struct pod_request *q, const char *role)
{
    _cleanup_buf_ struct buf names = BUF_INIT(LIMIT_CONTAINERS * (LIMIT_NAMESPACE + 1));
    _cleanup_buf_ struct buf read_only = BUF_INIT(LIMIT_CONTAINERS * (LIMIT_NAMESPACE + 1));
    _cleanup_json_ struct json *attributes = json_new_object();
    int bad = 0;

    bad |= template_container_names(q->template, false, &names);
    bad |= template_container_names(q->template, true, &read_only);
    bad |= json_set_str(attributes, SC_ATTR_ROLE, role);
    bad |= json_set_str(attributes, SC_ATTR_INSTANCE, json_str_or(q->sci, "metadata.uid", ""));
    bad |= json_set_str(attributes, SC_ATTR_NAME, json_str_or(q->sci, "metadata.name", ""));
    bad |= json_set_str(attributes, SC_ATTR_CONTAINERS, buf_str(&names));
    if (read_only.len > 0)
        bad |= json_set_str(attributes, SC_ATTR_READONLY, buf_str(&read_only));
    bad |= json_set_str(attributes, SC_ATTR_ATTACH, q->template->chroot ? SC_ATTACH_CHROOT : SC_ATTACH_PIVOT);
    bad |= pod_parts_set_persistence(attributes, q->sci);
    return bad ? NULL : take_ptr(attributes);
}

bool pod_parts_on_node(const struct json *sci)
{
    return strcmp(json_str_or(sci, "spec.persistence", ""), SC_PERSISTENCE_NODE) == 0;
}

int pod_parts_set_persistence(struct json *attributes, const struct json *sci)
{
    return pod_parts_on_node(sci) ? json_set_str(attributes, SC_ATTR_PERSISTENCE, SC_PERSISTENCE_NODE) : 0;
}

/* status.images or spec.images of the instance, by the container's place in its list of names. */
static const char *image_of(const struct json *sci, const char *list, const char *name)
{
    const struct json *names = json_at(sci, "spec.containers"), *images = json_at(sci, list);

    for (size_t i = 0; i < json_len(names); i++) {
        const char *other = json_string(json_index(names, i));

        if (other && strcmp(other, name) == 0)
            return json_string(json_index(images, i));
    }
    return NULL;
}

const char *pod_parts_instance_image(const struct json *sci, const char *name)
{
    return image_of(sci, "spec.images", name);
}

const char *pod_parts_pinned_image(const struct json *sci, const char *name)
{
    return image_of(sci, "status.images", name);
}

const char *pod_parts_image_digest(const struct json *pod, const char *name)
{
    json_for_each (status, json_at(pod, "status.containerStatuses")) {
        const char *image = json_str_or(status, "imageID", "");
        const char *scheme = strstr(image, "://");

        if (strcmp(json_str_or(status, "name", ""), name) != 0)
            continue;
        if (scheme)
            image = scheme + 3;
        return strstr(image, "@sha256:") && image[0] != '@' ? image : NULL;
    }
    return NULL;
}

static bool template_sets_selinux(const struct template *t)
{
    if (json_at(t->spec, "securityContext.seLinuxOptions"))
        return true;
    json_for_each (container, template_containers(t))
        if (json_at(container, "securityContext.seLinuxOptions"))
            return true;
    return false;
}

/* Two different categories of the 1024 that the targeted policy has, from the instance's uid. */
static int selinux_level(const char *uid, char *ret, size_t size)
{
    uint8_t digest[SHA256_SIZE];
    unsigned a, b;

    if (sha256(uid, strlen(uid), digest) < 0)
        return -ENOMEM;
    a = (digest[0] | (unsigned)digest[1] << 8) % 1024;
    b = (digest[2] | (unsigned)digest[3] << 8) % 1023;
    if (b >= a)
        b++;
    snprintf(ret, size, "s0:c%u,c%u", a < b ? a : b, a < b ? b : a);
    return 0;
}

int pod_parts_set_selinux(struct json *spec, const struct pod_request *q)
{
    struct json *security, *options;
    char level[sizeof("s0:c1023,c1023") + 16];

    if (template_sets_selinux(q->template))
        return 0;
    if (selinux_level(json_str_or(q->sci, "metadata.uid", ""), level, sizeof(level)) < 0)
        return -ENOMEM;
    security = json_ensure_object(spec, "securityContext");
    options = security ? json_ensure_object(security, "seLinuxOptions") : NULL;
    return options && json_set_str(options, "level", level) == 0 ? 0 : -ENOMEM;
}
