/* SPDX-License-Identifier: Apache-2.0 */
/* See pod_marks.h. */
#include "controller/pod_marks.h"

#include <string.h>

#include "common/names.h"
#include "controller/facts.h"
#include "controller/pod_parts.h"

static bool field_is(const struct json *object, const char *name, const char *value)
{
    const char *text = json_string(json_field(object, name));

    return text && value[0] && strcmp(text, value) == 0;
}

bool pod_marks_are_there(const struct json *pod, const struct json *sci, const char *role)
{
    const struct json *labels = json_at(pod, "metadata.labels");

    return pod && sci && object_controlled_by(pod, json_str_or(sci, "metadata.uid", "")) &&
           field_is(labels, SC_LABEL_MANAGED_BY, SC_MANAGED_BY) && field_is(labels, SC_LABEL_ROLE, role) &&
           field_is(labels, SC_LABEL_INSTANCE, json_str_or(sci, "metadata.name", ""));
}

bool pod_marks_fit(const struct json *pod, const struct json *sci, const char *role)
{
    json_for_each (volume, json_at(pod, "spec.volumes")) {
        const struct json *csi = json_field(volume, "csi");
        const struct json *attributes = json_field(csi, "volumeAttributes");

        if (field_is(volume, "name", SC_VOLUME_NAME))
            return field_is(csi, "driver", SC_CSI_DRIVER) && field_is(attributes, SC_ATTR_ROLE, role) &&
                   field_is(attributes, SC_ATTR_INSTANCE, json_str_or(sci, "metadata.uid", ""));
    }
    return false;
}

/* A merge patch replaces a list: the others' entries are written again. */
static int add_owners(struct json *metadata, const struct json *pod, const struct json *sci)
{
    const char *uid = json_str_or(sci, "metadata.uid", "");
    int bad = 0;

    json_for_each (owner, json_at(pod, "metadata.ownerReferences"))
        if (!field_is(owner, "uid", uid))
            bad |= json_append(json_ensure_array(metadata, "ownerReferences"), json_copy(owner));
    return bad | pod_parts_add_owner(metadata, sci);
}

struct json *pod_marks_patch(const struct json *pod, const struct json *sci, const char *role)
{
    _cleanup_json_ struct json *patch = json_new_object();
    struct json *metadata = patch ? json_ensure_object(patch, "metadata") : NULL;
    struct json *labels = metadata ? json_ensure_object(metadata, "labels") : NULL;
    int bad = !labels;

    bad |= json_set_str(metadata, "uid", json_str(pod, "metadata.uid"));
    bad |= json_set_str(metadata, "resourceVersion", json_str(pod, "metadata.resourceVersion"));
    bad |= pod_parts_set_labels(labels, role, sci);
    bad |= add_owners(metadata, pod, sci);
    return bad ? NULL : take_ptr(patch);
}
