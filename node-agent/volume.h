/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume: what one NodePublishVolume call says, checked, and what the agent must remember of it.
 *
 * Everything in the volume attributes is text of whoever wrote the pod. What is believed is what the kubelet
 * vouches for: namespace, name and uid of the pod, the target path and the volume id. csi/ has checked these
 * against each other; here the attributes are held against them. PURE.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "node-agent/csi/node_service.h"

enum volume_role { VOLUME_PROVIDER, VOLUME_CONSUMER, VOLUME_RECLAIM };

enum {
    VOLUME_ID_LEN = 68, /* "csi-" and 64 hex digits */
    VOLUME_DIR_MAX = 256, /* pods/UID/volumes/kubernetes.io~csi/NAME/mount: 110 and the volume's name */
    VOLUME_REASON_MAX = 200,
};

/* Where one preserved root is, from hello to its end. Not journaled: a restarted agent finds it out. */
enum root_state {
    ROOT_NONE, /* nobody has said hello, or the last try to expose failed */
    ROOT_ADOPTING, /* journaled by an earlier life of the agent; its container not yet looked at */
    ROOT_EXPOSING, /* being cloned and mounted on the node */
    ROOT_EXPOSED,
};

/* Of a root whose sizeLimit is only watched (use.h); from better to worse. */
enum root_use { USE_NONE, USE_WITHIN, USE_UNKNOWN, USE_EXCEEDED };

struct volume_container {
    char name[LIMIT_NAMESPACE + 1]; /* container names are DNS labels */
    bool readonly; /* the preserved root is given read-only (consumer) */
    bool post_start; /* consumer: the kubelet executes a hook in it that asks for the root, too */
    char id[LIMIT_CONTAINER_ID + 1]; /* provider: the first container that said hello, and the only one
                                      * that may; consumer: the last container whose attach was begun. ""
                                      * before. */
    enum root_state root; /* provider; in persistence Node the consumer too: NONE or EXPOSED */
};

struct volume {
    enum volume_role role;
    char id[VOLUME_ID_LEN + 1];
    char volume_name[LIMIT_NAMESPACE + 1]; /* in the pod's spec */
    char dir[VOLUME_DIR_MAX]; /* target directory, relative to the kubelet's directory */
    char pod_namespace[LIMIT_NAMESPACE + 1];
    char pod_name[LIMIT_NAME + 1];
    char pod_uid[LIMIT_UID + 1];
    char instance_namespace[LIMIT_NAMESPACE + 1]; /* the pod's, but for reclaim */
    char instance_uid[LIMIT_UID + 1];
    char instance_name[LIMIT_NAME + 1];
    char provider_uid[LIMIT_UID + 1]; /* consumer: uid of the provider pod it was published for */
    char lost[VOLUME_REASON_MAX]; /* provider, and the consumer on its roots: why they are lost, or "" */
    bool chroot; /* consumer: its containers are attached by Chroot */
    bool node; /* persistence Node */
    bool kept; /* provider in persistence Node: its roots must be there already */
    uint64_t size_limit; /* provider in persistence Node: bytes of each root; 0: none */
    enum root_use use; /* provider with a size_limit: what the controller has told of it */
    size_t n_containers;
    struct volume_container containers[];
};

/* Checks the attributes of a publish call and makes a volume of it (free it with volume_free). own_namespace
 * is the agent's: the only one whose reclaim pods are honoured. -EINVAL with a sentence that names the
 * attribute; -EPERM for a reclaim from elsewhere; -ENOMEM. */
int volume_from_request(const struct csi_publish_request *req, const char *own_namespace,
        struct volume **ret_volume, struct err *err);

/* A zeroed volume with room for that many containers. */
struct volume *volume_new(size_t n_containers);
struct volume *volume_free(struct volume *v); /* accepts NULL; returns NULL */
DEFINE_CLEANUP_FUNC(struct volume *, volume_free);
#define _cleanup_volume_ _cleanup_(volume_freep)

/* The container of that name, or NULL. */
struct volume_container *volume_container(struct volume *v, const char *name);
const struct volume_container *volume_container_const(const struct volume *v, const char *name);

/* The forms of names, for requests and for the journal's reader. NULL has none of them. */
bool volume_is_uid(const char *text); /* 36 characters, lower case hex and dashes as in RFC 4122 */
bool volume_is_label(const char *text); /* DNS label, 63 */
bool volume_is_subdomain(const char *text); /* DNS subdomain, 253 */
bool volume_is_id(const char *text); /* csi-<64 hex> */

/* NULL for USE_NONE; -EINVAL for a word that is none. */
const char *volume_use_text(enum root_use use);
int volume_use_parse(const char *text, enum root_use *ret_use) _must_check_;

const char *volume_role_text(enum volume_role role);
int volume_role_parse(const char *text, enum volume_role *ret_role) _must_check_;

/* The target directory of a pod's volume, relative to the kubelet's directory (pkg/volume/csi/csi_mounter.go,
 * getTargetPath). -EINVAL when uid or name have not the form of one. */
int volume_dir(const char *pod_uid, const char *volume_name, char ret_dir[VOLUME_DIR_MAX]) _must_check_;
