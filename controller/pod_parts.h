/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pods that we make have in common: names, labels, owner, and the inline volume whose life is the
 * protocol with the node agent (common/names.h). PURE.
 */
#pragma once

#include "common/json/json.h"
#include "controller/template.h"

/* What a pod is made from. */
struct pod_request {
    const struct json *sc;
    const struct json *sci; /* its owner; name, namespace and uid are read */
    const struct template *template;
    const char *node; /* exactly there; NULL: anywhere (consumer only) */
    const struct json *excluded; /* node names, array or NULL (consumer only) */
    const struct json *provider; /* consumer only: the provider whose root is used, NULL at the first start */
    const struct json *consumer; /* provider only: the consumer as it was admitted, or NULL */
    const char *priority_class; /* provider only: instead of the template's; NULL or "": that one */
    bool small; /* provider only: made in its final size, since the larger one was refused */
};

/* A pod object with apiVersion, kind and metadata (name, namespace, labels), an empty spec, and the SCI as
 * its controller unless sci is NULL. */
struct json *pod_parts_new(
        const char *namespace, const char *name, const char *role, const struct json *sci) _must_check_;

/* What makes a pod ours, in its metadata: the labels (of no instance where sci is NULL), and the instance as its
 * controller, beside other owners. */
int pod_parts_set_labels(struct json *labels, const char *role, const struct json *sci) _must_check_;
int pod_parts_add_owner(struct json *metadata, const struct json *sci) _must_check_;

/* Adds the volume to the spec. attributes is consumed in every case. */
int pod_parts_add_volume(struct json *spec, struct json *attributes) _must_check_;

/* Mounts it, read-only, in a container. */
int pod_parts_add_mount(struct json *container) _must_check_;

/* The attributes for a provider or consumer. */
struct json *pod_parts_attributes(const struct pod_request *q, const char *role) _must_check_;

/* "the instance's root lies on its node, not in its provider" (persistence Node). */
bool pod_parts_on_node(const struct json *sci);

/* Says so in a volume's attributes. */
int pod_parts_set_persistence(struct json *attributes, const struct json *sci) _must_check_;

/* The image of a container: the reference that the instance was made with, which a later change of the
 * template does not alter, since the root belongs to one image; what was recorded of it in the instance's
 * status (persistence Node); and what a provider runs, by digest, where that can be pulled: containerd gives a
 * bare "sha256:..." for an image that was loaded by hand, and some runtimes put a scheme in front. Each NULL
 * when there is none. */
const char *pod_parts_instance_image(const struct json *sci, const char *name);
const char *pod_parts_pinned_image(const struct json *sci, const char *name);
const char *pod_parts_image_digest(const struct json *pod, const char *name);

/* An MCS level for SELinux, always the same for an instance: where SELinux enforces, a pod without one gets a
 * random level, and the consumer would be denied the provider's files. Set on spec.securityContext unless the
 * template says anything about it. */
int pod_parts_set_selinux(struct json *spec, const struct pod_request *q) _must_check_;

/* Sets object.name unless value is NULL: a copy. */
int pod_parts_copy(struct json *object, const char *name, const struct json *value) _must_check_;

/* The path to a program in our volume. */
#define POD_EXECWRAP SC_MOUNT_DIR "/" SC_EXECWRAP_FILE
#define POD_PAUSE SC_MOUNT_DIR "/" SC_PAUSE_FILE
