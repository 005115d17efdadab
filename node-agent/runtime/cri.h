/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few questions that the agent asks the container runtime (CRI, runtime.v1), all read-only, over the
 * runtime's own socket. Works with containerd and CRI-O; what only the verbose "info" document holds (a JSON
 * text in a map, its shape the runtime's own affair) is read where both have it.
 *
 * Every question is asynchronous and ends in exactly one callback, from the loop, unless it is cancelled.
 * code is 0 or a negative errno, with the sentence in err:
 *
 *   -ENOENT     the runtime does not know the container or image
 *   -ETIMEDOUT  no answer within CRI_TIMEOUT
 *   -EBADMSG    an answer that makes no sense
 *   -E2BIG      more mounts or VOLUMEs than can be carried
 *   -EIO        any other failure (runtime not running, refusing)
 *
 * The objects belong to the callback from then on (cri_container_free and so on). The runtime's spec holds
 * the container's environment, with its secrets: it is parsed, of it PATH alone is kept, and nothing is
 * logged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"

#define CRI_TIMEOUT (5 * USEC_PER_SEC)

struct cri;
struct cri_request;

enum cri_state { CRI_CREATED = 0, CRI_RUNNING = 1, CRI_EXITED = 2, CRI_UNKNOWN = 3 };
enum cri_propagation { CRI_PRIVATE = 0, CRI_HOST_TO_CONTAINER = 1, CRI_BIDIRECTIONAL = 2 };

/* A mount that the kubelet asked for (volumes, /etc/hosts, the termination log...). Anything else in the
 * container's mount table is the runtime's or the image's. */
struct cri_mount {
    char *container_path;
    char *host_path;
    bool readonly;
    enum cri_propagation propagation;
};

/* Strings are never NULL ("" when the runtime gave none) but where said. */
struct cri_container {
    char *id;
    char *sandbox_id;
    char *pod_name; /* from the kubelet's labels (io.kubernetes.*) */
    char *pod_namespace;
    char *pod_uid;
    char *container_name;
    enum cri_state state;
    /* Host pid of its init, 0 while not known: containerd reports CREATED and 0 until just after the start,
     * while the container's process is running already. Ask again. */
    pid_t init_pid;
    char *image_id; /* the runtime's own name of the image, else image_ref: what cri_image_status takes */
    char *image_ref; /* by digest where the image has one */
    char *working_dir; /* runtimeSpec.process.cwd */
    char *search; /* the value of PATH in runtimeSpec.process.env */
    int64_t uid; /* runtimeSpec.process.user.uid; 0 where the runtime does not say */
    char *runtime_type; /* containerd: "io.containerd.runc.v2"; CRI-O does not say: NULL */
    bool user_namespace; /* it has one of its own */
    int64_t started_at; /* nanoseconds since 1970, 0: not yet */
    int64_t finished_at;
    struct cri_mount *mounts;
    size_t n_mounts;
    size_t mounts_text; /* bytes of their paths, at most LIMIT_CRI_MOUNTS */
    unsigned more_owners; /* besides the first: cri_container_ref */
};

struct cri_listed {
    char *id;
    char *container_name;
    enum cri_state state;
    uint32_t attempt; /* counts the restarts of this container in this pod */
    int64_t created_at;
};

struct cri_list {
    struct cri_listed *items;
    size_t n;
};

/* The image's config as the OCI image specification has it. Lists are NULL-terminated and never NULL. */
struct cri_image {
    char *id;
    char **entrypoint;
    char **cmd;
    char **env; /* "NAME=value" */
    char *user;
    char *working_dir;
    char **volumes; /* paths of VOLUME */
    size_t n_volumes;
    char *chain; /* chain id of its layers, "sha256:<hex>"; "" where the runtime does not list them */
    bool command_too_long; /* ENTRYPOINT or CMD: beyond LIMIT_IMAGE_COMMAND, and left out */
};

struct cri_version {
    char *runtime_name; /* "containerd", "cri-o" */
    char *runtime_version;
    char *api_version; /* "v1" */
};

typedef void (*cri_container_fn)(
        int code, struct cri_container *container, const struct err *err, void *user);
typedef void (*cri_list_fn)(int code, struct cri_list *list, const struct err *err, void *user);
typedef void (*cri_image_fn)(int code, struct cri_image *image, const struct err *err, void *user);
typedef void (*cri_version_fn)(int code, struct cri_version *version, const struct err *err, void *user);

/* Nothing is connected before the first question. */
int cri_new(struct loop *loop, const char *socket_path, struct cri **ret_cri, struct err *err);
struct cri *cri_free(struct cri *cri); /* cancels all; returns NULL; accepts NULL */
DEFINE_CLEANUP_FUNC(struct cri *, cri_free);
#define _cleanup_cri_ _cleanup_(cri_freep)

/* *ret is the handle for cri_cancel; it is gone when the callback returns. ret may be NULL. */
int cri_container_status(
        struct cri *cri, const char *id, cri_container_fn fn, void *user, struct cri_request **ret);
/* The containers of a pod, in every state. */
int cri_list_containers(
        struct cri *cri, const char *pod_uid, cri_list_fn fn, void *user, struct cri_request **ret);
int cri_image_status(
        struct cri *cri, const char *image, cri_image_fn fn, void *user, struct cri_request **ret);
int cri_version(struct cri *cri, cri_version_fn fn, void *user, struct cri_request **ret);

/* No callback comes any more. Accepts NULL; returns NULL. */
struct cri_request *cri_cancel(struct cri_request *req);

struct cri_container *cri_container_free(struct cri_container *c); /* the last owner's frees it */
struct cri_container *cri_container_ref(struct cri_container *c);
struct cri_list *cri_list_free(struct cri_list *l);
struct cri_image *cri_image_free(struct cri_image *i);
struct cri_version *cri_version_free(struct cri_version *v);
DEFINE_CLEANUP_FUNC(struct cri_container *, cri_container_free);
DEFINE_CLEANUP_FUNC(struct cri_list *, cri_list_free);
DEFINE_CLEANUP_FUNC(struct cri_image *, cri_image_free);
DEFINE_CLEANUP_FUNC(struct cri_version *, cri_version_free);
#define _cleanup_cri_container_ _cleanup_(cri_container_freep)
#define _cleanup_cri_list_ _cleanup_(cri_list_freep)
#define _cleanup_cri_image_ _cleanup_(cri_image_freep)
#define _cleanup_cri_version_ _cleanup_(cri_version_freep)
