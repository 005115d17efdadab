/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See volume.h. Each refusal names the attribute, since its text becomes the pod's event.
 */
#include "node-agent/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/num.h"
#include "common/names.h"

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

bool volume_is_uid(const char *text)
{
    if (!text || strlen(text) != LIMIT_UID)
        return false;
    for (size_t i = 0; i < LIMIT_UID; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' : !is_hex(text[i]))
            return false;
    }
    return true;
}

/* One DNS label of len bytes: letters, digits and inner dashes. */
static bool is_label_n(const char *text, size_t len)
{
    if (len == 0 || len > LIMIT_NAMESPACE || !is_alnum(text[0]) || !is_alnum(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(text[i]) && text[i] != '-')
            return false;
    return true;
}

bool volume_is_label(const char *text)
{
    return text && is_label_n(text, strnlen(text, LIMIT_NAMESPACE + 1));
}

bool volume_is_subdomain(const char *text)
{
    size_t len = text ? strnlen(text, LIMIT_NAME + 1) : 0;

    if (len == 0 || len > LIMIT_NAME)
        return false;
    /* Kubernetes limits the whole to 253 bytes and not its labels to 63. */
    for (size_t i = 0, start = 0; i <= len; i++) {
        if (i < len && text[i] != '.') {
            if (!is_alnum(text[i]) && text[i] != '-')
                return false;
            continue;
        }
        if (i == start || text[start] == '-' || text[i - 1] == '-')
            return false;
        start = i + 1;
    }
    return true;
}

static bool all_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_hex(text[i]))
            return false;
    return true;
}

bool volume_is_id(const char *text)
{
    return text && strnlen(text, VOLUME_ID_LEN + 1) == VOLUME_ID_LEN && strncmp(text, "csi-", 4) == 0 &&
           all_hex(text + 4, VOLUME_ID_LEN - 4);
}

const char *volume_role_text(enum volume_role role)
{
    switch (role) {
    case VOLUME_PROVIDER:
        return SC_ROLE_PROVIDER;
    case VOLUME_CONSUMER:
        return SC_ROLE_CONSUMER;
    case VOLUME_RECLAIM:
        return SC_ROLE_RECLAIM;
    }
    return "unknown";
}

int volume_role_parse(const char *text, enum volume_role *ret_role)
{
    for (enum volume_role r = VOLUME_PROVIDER; r <= VOLUME_RECLAIM; r++)
        if (strcmp(text, volume_role_text(r)) == 0) {
            *ret_role = r;
            return 0;
        }
    return -EINVAL;
}

const char *volume_use_text(enum root_use use)
{
    switch (use) {
    case USE_WITHIN:
        return SC_USE_WITHIN;
    case USE_UNKNOWN:
        return SC_USE_UNKNOWN;
    case USE_EXCEEDED:
        return SC_USE_EXCEEDED;
    case USE_NONE:
        break;
    }
    return NULL;
}

int volume_use_parse(const char *text, enum root_use *ret_use)
{
    for (enum root_use u = USE_WITHIN; u <= USE_EXCEEDED; u++)
        if (strcmp(text, volume_use_text(u)) == 0) {
            *ret_use = u;
            return 0;
        }
    return -EINVAL;
}

struct volume *volume_new(size_t n_containers)
{
    struct volume *v;

    if (n_containers > LIMIT_CONTAINERS)
        return NULL;
    v = calloc(1, sizeof(*v) + n_containers * sizeof(v->containers[0]));
    if (v)
        v->n_containers = n_containers;
    return v;
}

struct volume *volume_free(struct volume *v)
{
    free(v);
    return NULL;
}

const struct volume_container *volume_container_const(const struct volume *v, const char *name)
{
    for (size_t i = 0; i < v->n_containers; i++)
        if (strcmp(v->containers[i].name, name) == 0)
            return &v->containers[i];
    return NULL;
}

struct volume_container *volume_container(struct volume *v, const char *name)
{
    for (size_t i = 0; i < v->n_containers; i++)
        if (strcmp(v->containers[i].name, name) == 0)
            return &v->containers[i];
    return NULL;
}

int volume_dir(const char *pod_uid, const char *volume_name, char ret_dir[VOLUME_DIR_MAX])
{
    if (!volume_is_uid(pod_uid) || !volume_is_label(volume_name))
        return -EINVAL;
    (void)snprintf(
            ret_dir, VOLUME_DIR_MAX, "pods/%s/volumes/kubernetes.io~csi/%s/mount", pod_uid, volume_name);
    return 0;
}

/* Cuts the next name out of a comma-separated list. False at its end. */
static bool list_next(const char **rest, char ret_name[LIMIT_NAMESPACE + 1], bool *ret_valid)
{
    size_t len;

    if (!**rest)
        return false;
    len = strcspn(*rest, ",");
    *ret_valid = is_label_n(*rest, len);
    (void)snprintf(ret_name, LIMIT_NAMESPACE + 1, "%.*s",
            (int)(len > LIMIT_NAMESPACE ? LIMIT_NAMESPACE : len), *rest);
    *rest += len;
    if (**rest == ',')
        (*rest)++;
    return true;
}

static size_t list_count(const char *list)
{
    size_t n = list[0] ? 1 : 0;

    for (; *list; list++)
        n += *list == ',';
    return n;
}

static int parse_containers(struct volume *v, const char *list, struct err *err)
{
    char name[LIMIT_NAMESPACE + 1];
    bool valid;
    size_t n = 0;

    while (n < v->n_containers && list_next(&list, name, &valid)) {
        if (!valid)
            return err_say(
                    err, EINVAL, "attribute " SC_ATTR_CONTAINERS ": \"%s\" is no container name", name);
        if (volume_container(v, name))
            return err_say(err, EINVAL, "attribute " SC_ATTR_CONTAINERS ": %s is there twice", name);
        memcpy(v->containers[n++].name, name, sizeof(name));
    }
    if (n != v->n_containers)
        return err_say(err, EINVAL, "attribute " SC_ATTR_CONTAINERS " ends in a comma");
    return 0;
}

static bool *readonly_of(struct volume_container *c)
{
    return &c->readonly;
}

static bool *post_start_of(struct volume_container *c)
{
    return &c->post_start;
}

/* An attribute that names some of the containers. */
static int parse_some(struct volume *v, const struct csi_publish_request *req, const char *attribute,
        bool *(*flag_of)(struct volume_container *c), struct err *err)
{
    const char *list = csi_publish_attribute(req, attribute);
    char name[LIMIT_NAMESPACE + 1];
    bool valid;

    while (list && list_next(&list, name, &valid)) {
        struct volume_container *c = valid ? volume_container(v, name) : NULL;

        if (!c)
            return err_say(
                    err, EINVAL, "attribute %s: \"%s\" is not in " SC_ATTR_CONTAINERS, attribute, name);
        *flag_of(c) = true;
    }
    return 0;
}

/* The pod that the role belongs to, by its vouched name. */
static int check_pod_name(const struct volume *v, struct err *err)
{
    char want[LIMIT_NAME + sizeof(SC_PROVIDER_SUFFIX) + sizeof(SC_RECLAIM_PREFIX)];

    if (v->role == VOLUME_RECLAIM)
        (void)snprintf(want, sizeof(want), SC_RECLAIM_PREFIX "%s", v->instance_uid);
    else
        (void)snprintf(want, sizeof(want), "%s%s", v->instance_name,
                v->role == VOLUME_PROVIDER ? SC_PROVIDER_SUFFIX : "");
    if (strcmp(v->pod_name, want) != 0)
        return err_say(err, EINVAL, "a pod with role %s of this instance is called %s, not %s",
                volume_role_text(v->role), want, v->pod_name);
    return 0;
}

static int parse_persistence(struct volume *v, const char *persistence, struct err *err)
{
    v->node = persistence && strcmp(persistence, SC_PERSISTENCE_NODE) == 0;
    if (persistence && !v->node && strcmp(persistence, SC_PERSISTENCE_PROVIDER) != 0)
        return err_say(err, EINVAL,
                "attribute " SC_ATTR_PERSISTENCE ": \"%.40s\": this agent knows " SC_PERSISTENCE_PROVIDER
                " and " SC_PERSISTENCE_NODE,
                persistence);
    return 0;
}

/* What only a provider's volume in persistence Node says. Without its word on the root nothing could be told:
 * a root that is gone would be taken for one that never was. */
static int parse_root(struct volume *v, const char *root, const char *limit, struct err *err)
{
    if (v->role != VOLUME_PROVIDER || !v->node) {
        if (root || limit)
            return err_say(err, EINVAL,
                    "attribute %s belongs to a provider in persistence " SC_PERSISTENCE_NODE,
                    root ? SC_ATTR_ROOT : SC_ATTR_SIZE_LIMIT);
        return 0;
    }
    v->kept = root && strcmp(root, SC_ROOT_KEPT) == 0;
    if (!v->kept && (!root || strcmp(root, SC_ROOT_NEW) != 0))
        return err_say(err, EINVAL, "attribute " SC_ATTR_ROOT " must be " SC_ROOT_NEW " or " SC_ROOT_KEPT);
    if (limit && num_parse_u64(limit, 1, LIMIT_ROOT_SIZE, &v->size_limit) < 0)
        return err_say(err, EINVAL, "attribute " SC_ATTR_SIZE_LIMIT " is no number of bytes from 1 to 8 PiB");
    return 0;
}

/* What only a limit brings with it. */
static int parse_use(struct volume *v, const char *use, struct err *err)
{
    if (use && (v->size_limit == 0 || volume_use_parse(use, &v->use) < 0))
        return err_say(err, EINVAL,
                "attribute " SC_ATTR_USE " must be " SC_USE_WITHIN ", " SC_USE_EXCEEDED " or " SC_USE_UNKNOWN
                ", and goes with " SC_ATTR_SIZE_LIMIT);
    return 0;
}

static int parse_reclaim(
        struct volume *v, const struct csi_publish_request *req, const char *own_namespace, struct err *err)
{
    const char *ns = csi_publish_attribute(req, SC_ATTR_NAMESPACE);

    if (strcmp(req->pod_namespace, own_namespace) != 0)
        return err_say(
                err, EPERM, "role " SC_ROLE_RECLAIM " is not honoured in namespace %s", req->pod_namespace);
    if (!volume_is_label(ns))
        return err_say(err, EINVAL, "attribute " SC_ATTR_NAMESPACE " is no namespace");
    (void)snprintf(v->instance_namespace, sizeof(v->instance_namespace), "%s", ns);
    return check_pod_name(v, err);
}

static int parse_attach_mode(struct volume *v, const char *attach, struct err *err)
{
    bool chroot = attach && strcmp(attach, SC_ATTACH_CHROOT) == 0;

    if (attach && !chroot && strcmp(attach, SC_ATTACH_PIVOT) != 0)
        return err_say(err, EINVAL,
                "attribute " SC_ATTR_ATTACH ": \"%.40s\": this agent knows " SC_ATTACH_PIVOT
                " and " SC_ATTACH_CHROOT,
                attach);
    v->chroot = chroot && v->role == VOLUME_CONSUMER;
    return 0;
}

static int parse_pod(struct volume *v, const struct csi_publish_request *req, struct err *err)
{
    const char *name = csi_publish_attribute(req, SC_ATTR_NAME);
    int r;

    if (!volume_is_subdomain(name) || strlen(name) > SC_NAME_MAX)
        return err_say(err, EINVAL, "attribute " SC_ATTR_NAME " is no instance name of at most %d characters",
                SC_NAME_MAX);
    (void)snprintf(v->instance_name, sizeof(v->instance_name), "%s", name);
    (void)snprintf(v->instance_namespace, sizeof(v->instance_namespace), "%s", req->pod_namespace);
    r = check_pod_name(v, err);
    if (r == 0)
        r = parse_attach_mode(v, csi_publish_attribute(req, SC_ATTR_ATTACH), err);
    if (r == 0)
        r = parse_containers(v, csi_publish_attribute(req, SC_ATTR_CONTAINERS), err);
    if (r == 0)
        r = parse_some(v, req, SC_ATTR_READONLY, readonly_of, err);
    if (r == 0)
        r = parse_some(v, req, SC_ATTR_POST_START, post_start_of, err);
    return r;
}

static int count_containers(const char *list, enum volume_role role, size_t *ret_n, struct err *err)
{
    size_t n = list && role != VOLUME_RECLAIM ? list_count(list) : 0;

    if (role != VOLUME_RECLAIM && (n == 0 || n > LIMIT_CONTAINERS))
        return err_say(err, EINVAL, "attribute " SC_ATTR_CONTAINERS " must name 1 to %d containers, not %zu",
                LIMIT_CONTAINERS, n);
    *ret_n = n;
    return 0;
}

/* What the kubelet vouches for. */
static int copy_vouched(struct volume *v, const struct csi_publish_request *req, struct err *err)
{
    if (!volume_is_id(req->volume_id) || !volume_is_label(req->pod_namespace) ||
            !volume_is_subdomain(req->pod_name) || volume_dir(req->pod_uid, req->volume_name, v->dir) < 0)
        return err_say(err, EINVAL, "the call does not name a pod's inline volume");
    /* One for each pod, so that what is kept for volumes is bounded by the node's pods. */
    if (strcmp(req->volume_name, SC_VOLUME_NAME) != 0)
        return err_say(err, EINVAL, "the volume must be called " SC_VOLUME_NAME ", not %s", req->volume_name);
    (void)snprintf(v->id, sizeof(v->id), "%s", req->volume_id);
    (void)snprintf(v->volume_name, sizeof(v->volume_name), "%s", req->volume_name);
    (void)snprintf(v->pod_namespace, sizeof(v->pod_namespace), "%s", req->pod_namespace);
    (void)snprintf(v->pod_name, sizeof(v->pod_name), "%s", req->pod_name);
    (void)snprintf(v->pod_uid, sizeof(v->pod_uid), "%s", req->pod_uid);
    return 0;
}

int volume_from_request(const struct csi_publish_request *req, const char *own_namespace,
        struct volume **ret_volume, struct err *err)
{
    const char *role_text = csi_publish_attribute(req, SC_ATTR_ROLE);
    const char *instance = csi_publish_attribute(req, SC_ATTR_INSTANCE);
    _cleanup_volume_ struct volume *v = NULL;
    enum volume_role role;
    size_t n = 0;
    int r;

    if (!role_text || volume_role_parse(role_text, &role) < 0)
        return err_say(err, EINVAL, "attribute " SC_ATTR_ROLE " must be provider, consumer or reclaim");
    if (!volume_is_uid(instance))
        return err_say(err, EINVAL, "attribute " SC_ATTR_INSTANCE " is no uid");
    r = count_containers(csi_publish_attribute(req, SC_ATTR_CONTAINERS), role, &n, err);
    if (r < 0)
        return r;
    v = volume_new(n);
    if (!v)
        return err_set(err, ENOMEM, "cannot remember the volume");
    v->role = role;
    (void)snprintf(v->instance_uid, sizeof(v->instance_uid), "%s", instance);
    r = copy_vouched(v, req, err);
    if (r == 0)
        r = parse_persistence(v, csi_publish_attribute(req, SC_ATTR_PERSISTENCE), err);
    if (r == 0)
        r = parse_root(v, csi_publish_attribute(req, SC_ATTR_ROOT),
                csi_publish_attribute(req, SC_ATTR_SIZE_LIMIT), err);
    if (r == 0)
        r = parse_use(v, csi_publish_attribute(req, SC_ATTR_USE), err);
    if (r == 0)
        r = role == VOLUME_RECLAIM ? parse_reclaim(v, req, own_namespace, err) : parse_pod(v, req, err);
    if (r < 0)
        return r;
    *ret_volume = take_ptr(v);
    return 0;
}
