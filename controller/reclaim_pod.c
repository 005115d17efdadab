/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See reclaim_pod.h. The pod is bound by spec.nodeName: a full or cordoned node must not keep it out, and
 * when the Node object goes, the pod garbage collector takes the pod with it, which tells us.
 */
#include "controller/reclaim_pod.h"

#include <errno.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/names.h"
#include "controller/pod_parts.h"

static int set_container(struct json *spec, const char *image)
{
    struct json *container = json_new_object();
    struct json *security = container ? json_ensure_object(container, "securityContext") : NULL;
    struct json *capabilities = security ? json_ensure_object(security, "capabilities") : NULL;
    int bad = !capabilities;

    bad |= json_set_str(container, "name", "reclaim");
    bad |= json_set_str(container, "image", image);
    bad |= json_set_str(container, "imagePullPolicy", "IfNotPresent");
    bad |= json_append_str(json_ensure_array(container, "args"), "--version");
    bad |= json_set_bool(security, "allowPrivilegeEscalation", false);
    bad |= json_set_bool(security, "readOnlyRootFilesystem", true);
    bad |= json_append_str(json_ensure_array(capabilities, "drop"), "ALL");
    bad |= pod_parts_add_mount(container);
    bad |= json_append(json_ensure_array(spec, "containers"), container);
    return bad;
}

static struct json *attributes(const struct json *sci)
{
    _cleanup_json_ struct json *a = json_new_object();
    int bad = 0;

    bad |= json_set_str(a, SC_ATTR_ROLE, SC_ROLE_RECLAIM);
    bad |= json_set_str(a, SC_ATTR_INSTANCE, json_str_or(sci, "metadata.uid", ""));
    bad |= json_set_str(a, SC_ATTR_NAME, json_str_or(sci, "metadata.name", ""));
    bad |= json_set_str(a, SC_ATTR_NAMESPACE, json_str_or(sci, "metadata.namespace", ""));
    bad |= pod_parts_set_persistence(a, sci);
    return bad ? NULL : take_ptr(a);
}

static int set_spec(struct json *spec, const struct json *sci, const char *node, const char *image)
{
    struct json *security = json_ensure_object(spec, "securityContext");
    struct json *seccomp = security ? json_ensure_object(security, "seccompProfile") : NULL;
    struct json *toleration = json_new_object();
    int bad = !seccomp;

    bad |= json_set_str(spec, "nodeName", node);
    bad |= json_set_str(spec, "restartPolicy", "Never");
    bad |= json_set_bool(spec, "automountServiceAccountToken", false);
    bad |= json_set_bool(spec, "enableServiceLinks", false);
    bad |= json_set_int(spec, "terminationGracePeriodSeconds", 1);
    bad |= json_set_bool(security, "runAsNonRoot", true);
    bad |= json_set_int(security, "runAsUser", 65532);
    bad |= json_set_str(seccomp, "type", "RuntimeDefault");
    bad |= json_set_str(toleration, "operator", "Exists");
    bad |= json_append(json_ensure_array(spec, "tolerations"), toleration);
    bad |= set_container(spec, image);
    bad |= pod_parts_add_volume(spec, attributes(sci));
    return bad;
}

int reclaim_pod_build(
        const struct json *sci, const char *node, const char *namespace, const char *image, struct json **ret)
{
    char name[sizeof(SC_RECLAIM_PREFIX) + LIMIT_UID];
    _cleanup_json_ struct json *pod = NULL;

    snprintf(name, sizeof(name), SC_RECLAIM_PREFIX "%s", json_str_or(sci, "metadata.uid", ""));
    pod = pod_parts_new(namespace, name, SC_ROLE_RECLAIM, NULL);
    if (!pod || set_spec(json_field(pod, "spec"), sci, node, image))
        return -ENOMEM;
    *ret = take_ptr(pod);
    return 0;
}

struct reclaim_subject reclaim_pod_subject(const struct json *pod)
{
    const struct json *labels = json_at(pod, "metadata.labels");
    const char *role = json_string(json_field(labels, SC_LABEL_ROLE));
    struct reclaim_subject subject = {0};

    if (!role || strcmp(role, SC_ROLE_RECLAIM) != 0)
        return subject;
    json_for_each (volume, json_at(pod, "spec.volumes")) {
        const struct json *a = json_at(volume, "csi.volumeAttributes");

        if (strcmp(json_str_or(volume, "name", ""), SC_VOLUME_NAME) != 0)
            continue;
        subject.uid = json_str(a, SC_ATTR_INSTANCE);
        subject.namespace = json_str(a, SC_ATTR_NAMESPACE);
        subject.name = json_str(a, SC_ATTR_NAME);
    }
    return subject;
}
