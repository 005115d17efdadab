/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's answers (cri_message.h). Field numbers: k8s.io/cri-api, pkg/apis/runtime/v1/api.proto, which
 * never changes one. The verbose document is the value of the one key "info", JSON in a string:
 *
 *   ContainerStatus  {"pid", "runtimeType" (containerd), "runtimeSpec": the runtime specification's config}
 *   ImageStatus      {"imageSpec": the image specification's config}, a key absent where empty
 */
#include "node-agent/runtime/cri_message.h"
#include "node-agent/runtime/chain.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/json/json.h"
#include "common/rpc/pb.h"

enum { TEXT_MAX = 4096 }; /* ids, names, paths, references */

#define LABEL_POD_NAME "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define LABEL_POD_UID "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME "io.kubernetes.container.name"

/* Replaces *to by a copy. */
static int keep(char **to, struct pb_slice s)
{
    char *copy = pb_slice_dup(s);

    if (!copy)
        return -ENOMEM;
    free(*to);
    *to = copy;
    return 0;
}

static int keep_field(char **to, const struct pb_field *f)
{
    struct pb_slice s;
    int rc = pb_get_string(f, TEXT_MAX, &s);

    return rc < 0 ? rc : keep(to, s);
}

static int keep_text(char **to, const char *text)
{
    char *copy = strdup(text ? text : "");

    if (!copy)
        return -ENOMEM;
    free(*to);
    *to = copy;
    return 0;
}

/* Gives every string that the answer left out its "". */
static int fill(char **const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!*texts[i] && keep_text(texts[i], "") < 0)
            return -ENOMEM;
    }
    return 0;
}

static int get_state(const struct pb_field *f, enum cri_state *ret)
{
    int32_t n;
    int rc = pb_get_i32(f, &n);

    if (rc == 0)
        *ret = n >= CRI_CREATED && n <= CRI_EXITED ? (enum cri_state)n : CRI_UNKNOWN;
    return rc;
}

/* A person who reads "malformed" looks at the runtime, which is not what is short of memory. */
static int refuse(struct err *err, int rc, const char *what)
{
    return rc == -ENOMEM ? err_set(err, rc, "cannot keep the %s", what)
                         : err_say(err, rc, "malformed %s", what);
}

/* The outermost level of both status answers: a message in field 1, the map with the document in field 2. */
static int split_status(
        const uint8_t *msg, size_t len, struct pb_slice *ret_status, struct pb_slice *ret_info)
{
    struct pb_reader r;
    struct pb_field f;
    int rc;

    pb_reader_init(&r, msg, len);
    while ((rc = pb_next(&r, &f)) > 0) {
        struct pb_slice key, value;

        if (f.number == 1)
            rc = pb_get_message(&f, ret_status);
        else if (f.number == 2) {
            rc = pb_get_map_entry(&f, LIMIT_CRI_INFO, &key, &value);
            if (rc == 0 && pb_slice_equal(key, "info"))
                *ret_info = value;
        }
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* --- containers
 * --------------------------------------------------------------------------------------------- */

static int read_label(struct cri_container *c, const struct pb_field *f)
{
    struct pb_slice key, value;
    int rc = pb_get_map_entry(f, TEXT_MAX, &key, &value);

    if (rc < 0)
        return rc;
    if (pb_slice_equal(key, LABEL_POD_NAME))
        return keep(&c->pod_name, value);
    if (pb_slice_equal(key, LABEL_POD_NAMESPACE))
        return keep(&c->pod_namespace, value);
    if (pb_slice_equal(key, LABEL_POD_UID))
        return keep(&c->pod_uid, value);
    if (pb_slice_equal(key, LABEL_CONTAINER_NAME))
        return keep(&c->container_name, value);
    return 0;
}

static int read_mount(struct cri_mount *m, struct pb_slice msg)
{
    char **const texts[] = {&m->container_path, &m->host_path};
    struct pb_reader r;
    struct pb_field f;
    int32_t n;
    int rc;

    pb_reader_init(&r, msg.data, msg.len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 1)
            rc = keep_field(&m->container_path, &f);
        else if (f.number == 2)
            rc = keep_field(&m->host_path, &f);
        else if (f.number == 3)
            rc = pb_get_bool(&f, &m->readonly);
        else if (f.number == 5) {
            rc = pb_get_i32(&f, &n);
            if (rc == 0 && (n < CRI_PRIVATE || n > CRI_BIDIRECTIONAL))
                rc = -EBADMSG;
            if (rc == 0)
                m->propagation = (enum cri_propagation)n;
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : fill(texts, ARRAY_SIZE(texts));
}

static int add_mount(struct cri_container *c, const struct pb_field *f)
{
    struct pb_slice msg = {0};
    struct cri_mount *more;
    int rc = pb_get_message(f, &msg);

    if (rc < 0)
        return rc;
    if (c->n_mounts == LIMIT_MOUNTS)
        return -EBADMSG;
    more = reallocarray(c->mounts, c->n_mounts + 1, sizeof(*more));
    if (!more)
        return -ENOMEM;
    c->mounts = more;
    more[c->n_mounts] = (struct cri_mount){0};
    rc = read_mount(&more[c->n_mounts++], msg);
    if (rc < 0)
        return rc;
    more += c->n_mounts - 1;
    c->mounts_text += strlen(more->container_path) + strlen(more->host_path);
    return c->mounts_text > LIMIT_CRI_MOUNTS ? -E2BIG : 0;
}

static int status_field(struct cri_container *c, const struct pb_field *f)
{
    switch (f->number) {
    case 1:
        return keep_field(&c->id, f);
    case 3:
        return get_state(f, &c->state);
    case 5:
        return pb_get_i64(f, &c->started_at);
    case 6:
        return pb_get_i64(f, &c->finished_at);
    case 9:
        return keep_field(&c->image_ref, f);
    case 12:
        return read_label(c, f);
    case 14:
        return add_mount(c, f);
    case 17:
        return keep_field(&c->image_id, f);
    default:
        return 0;
    }
}

static int read_status(struct cri_container *c, struct pb_slice msg)
{
    struct pb_reader r;
    struct pb_field f;
    int rc;

    pb_reader_init(&r, msg.data, msg.len);
    while ((rc = pb_next(&r, &f)) > 0) {
        rc = status_field(c, &f);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static bool has_user_namespace(const struct json *info)
{
    json_for_each (ns, json_at(info, "runtimeSpec.linux.namespaces")) {
        if (strcmp(json_str_or(ns, "type", ""), "user") == 0)
            return true;
    }
    return false;
}

/* The last one counts, as it does for the runtime. */
static const char *search_path(const struct json *info)
{
    static const char name[] = "PATH=";
    const char *found = NULL;

    json_for_each (item, json_at(info, "runtimeSpec.process.env")) {
        const char *text = json_string(item);

        if (text && strncmp(text, name, strlen(name)) == 0)
            found = text + strlen(name);
    }
    return found;
}

static int read_container_info(struct cri_container *c, struct pb_slice text, struct err *err)
{
    _cleanup_json_ struct json *info = NULL;
    const char *type;
    int64_t pid;
    int rc;

    if (text.len == 0)
        return 0;
    rc = json_parse((const char *)text.data, text.len, &info, err);
    if (rc < 0)
        return err_wrap(err, rc, "the runtime's info about the container");
    pid = json_int_or(info, "pid", 0);
    if (pid < 0 || pid > INT_MAX)
        return err_say(err, EBADMSG, "the runtime's info about the container has no valid pid");
    c->init_pid = (pid_t)pid;
    c->user_namespace = has_user_namespace(info);
    rc = keep_text(&c->working_dir, json_str(info, "runtimeSpec.process.cwd"));
    if (rc == 0)
        rc = keep_text(&c->search, search_path(info));
    if (rc == 0)
        rc = keep_text(&c->sandbox_id, json_str(info, "sandboxID"));
    c->uid = json_int_or(info, "runtimeSpec.process.user.uid", 0);
    type = json_str(info, "runtimeType");
    if (rc == 0 && type)
        rc = keep_text(&c->runtime_type, type);
    return rc < 0 ? err_set(err, rc, "cannot keep the container's status") : 0;
}

/* ContainerStatus.image_id is there since CRI v0.29 (Kubernetes 1.29). An older runtime (containerd 1.6
 * and 1.7) gives image_ref alone: an image id, or a reference by digest, either of which ImageStatus takes as
 * well. */
static int name_image(struct cri_container *c)
{
    if ((c->image_id && c->image_id[0]) || !c->image_ref)
        return 0;
    free(c->image_id);
    c->image_id = strdup(c->image_ref);
    return c->image_id ? 0 : -ENOMEM;
}

int cri_decode_container(const uint8_t *msg, size_t len, struct cri_container **ret, struct err *err)
{
    _cleanup_cri_container_ struct cri_container *c = calloc(1, sizeof(*c));
    struct pb_slice status = {0}, info = {0};
    int rc;

    if (!c)
        return err_set(err, ENOMEM, "cannot keep the container's status");
    rc = split_status(msg, len, &status, &info);
    if (rc == 0)
        rc = status.data ? read_status(c, status) : -EBADMSG;
    if (rc == 0)
        rc = name_image(c);
    if (rc == 0) {
        char **const texts[] = {&c->id, &c->sandbox_id, &c->pod_name, &c->pod_namespace, &c->pod_uid,
                &c->container_name, &c->image_id, &c->image_ref, &c->working_dir, &c->search};

        rc = fill(texts, ARRAY_SIZE(texts));
    }
    if (rc == -E2BIG)
        return err_say(err, rc, "the paths of the container's mounts are longer than %zu bytes together",
                LIMIT_CRI_MOUNTS);
    if (rc < 0)
        return refuse(err, rc, "container status");
    rc = read_container_info(c, info, err);
    if (rc < 0)
        return rc;
    *ret = take_ptr(c);
    return 0;
}

/* --- list
 * --------------------------------------------------------------------------------------------------- */

static int read_metadata(struct cri_listed *item, struct pb_slice msg)
{
    struct pb_reader r;
    struct pb_field f;
    uint64_t n;
    int rc;

    pb_reader_init(&r, msg.data, msg.len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 1)
            rc = keep_field(&item->container_name, &f);
        else if (f.number == 2) {
            rc = pb_get_u64(&f, &n);
            if (rc == 0)
                item->attempt = (uint32_t)n;
        }
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int read_listed(struct cri_listed *item, struct pb_slice msg)
{
    char **const texts[] = {&item->id, &item->container_name};
    struct pb_slice metadata = {0};
    struct pb_reader r;
    struct pb_field f;
    int rc;

    pb_reader_init(&r, msg.data, msg.len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 1)
            rc = keep_field(&item->id, &f);
        else if (f.number == 3)
            rc = pb_get_message(&f, &metadata);
        else if (f.number == 6)
            rc = get_state(&f, &item->state);
        else if (f.number == 7)
            rc = pb_get_i64(&f, &item->created_at);
        if (rc < 0)
            return rc;
    }
    if (rc == 0 && metadata.data)
        rc = read_metadata(item, metadata);
    return rc < 0 ? rc : fill(texts, ARRAY_SIZE(texts));
}

static int add_listed(struct cri_list *l, const struct pb_field *f)
{
    struct pb_slice msg = {0};
    struct cri_listed *more;
    int rc = pb_get_message(f, &msg);

    if (rc < 0)
        return rc;
    if (l->n == LIMIT_PB_ENTRIES)
        return -EBADMSG;
    more = reallocarray(l->items, l->n + 1, sizeof(*more));
    if (!more)
        return -ENOMEM;
    l->items = more;
    more[l->n] = (struct cri_listed){0};
    return read_listed(&more[l->n++], msg);
}

int cri_decode_list(const uint8_t *msg, size_t len, struct cri_list **ret, struct err *err)
{
    _cleanup_cri_list_ struct cri_list *l = calloc(1, sizeof(*l));
    struct pb_reader r;
    struct pb_field f;
    int rc;

    if (!l)
        return err_set(err, ENOMEM, "cannot keep the list of containers");
    pb_reader_init(&r, msg, len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 1)
            rc = add_listed(l, &f);
        if (rc < 0)
            break;
    }
    if (rc < 0)
        return refuse(err, rc, "list of containers");
    *ret = take_ptr(l);
    return 0;
}

/* --- images
 * ------------------------------------------------------------------------------------------------- */

static const char *text_of(const struct json *child, bool keys)
{
    return keys ? json_key(child) : json_string(child);
}

/* -EBADMSG when one is no string, -E2BIG beyond LIMIT_IMAGE_COMMAND: an image is of anybody's making, and its
 * config is kept for as long as its container lives. */
static int measure_strings(const struct json *node, bool keys)
{
    size_t text = 0;

    json_for_each (child, node) {
        if (!text_of(child, keys))
            return -EBADMSG;
        text += strlen(text_of(child, keys)) + sizeof(char *);
    }
    return text > LIMIT_IMAGE_COMMAND ? -E2BIG : 0;
}

/* Copies the strings of an array (or, of an object, its keys: that is how the image specification writes the
 * set of volumes). Absent and null give an empty list, and so does too much, with -E2BIG. */
static int read_strings(const struct json *config, const char *name, bool keys, char ***ret, size_t *ret_n)
{
    struct json *node = json_field(config, name);
    bool absent = !node || json_is_null(node);
    int rc = absent ? 0 : measure_strings(node, keys);
    size_t n = absent || rc < 0 ? 0 : json_len(node), i = 0;
    char **list;

    if (!absent && !(keys ? json_is_object(node) : json_is_array(node)))
        return -EBADMSG;
    list = calloc(n + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    *ret = list; /* freed with the image, also half full */
    json_for_each (child, n == 0 ? NULL : node) {
        list[i] = strdup(text_of(child, keys));
        if (!list[i])
            return -ENOMEM;
        i++;
    }
    if (ret_n)
        *ret_n = n;
    return rc;
}

/* What nobody may need is left out when it is too long. */
static int read_command(struct cri_image *i, const struct json *config, const char *name, char ***ret)
{
    int rc = read_strings(config, name, false, ret, NULL);

    if (rc != -E2BIG)
        return rc;
    i->command_too_long = true;
    return 0;
}

static int read_config(struct cri_image *i, const struct json *config)
{
    int rc = read_command(i, config, "Entrypoint", &i->entrypoint);

    if (rc == 0)
        rc = read_command(i, config, "Cmd", &i->cmd);
    if (rc == 0)
        rc = read_strings(config, "Env", false, &i->env, NULL);
    if (rc == 0 || rc == -E2BIG)
        rc = read_strings(config, "Volumes", true, &i->volumes, &i->n_volumes);
    if (rc == 0 && i->n_volumes > LIMIT_IMAGE_VOLUMES)
        rc = -E2BIG;
    if (rc == 0)
        rc = keep_text(&i->user, json_str(config, "User"));
    if (rc == 0)
        rc = keep_text(&i->working_dir, json_str(config, "WorkingDir"));
    return rc;
}

/* Where the runtime does not list the layers, or not as digests, there is no chain id, and no failure. */
static int read_chain(struct cri_image *i, const struct json *rootfs)
{
    char chain[CHAIN_LEN + 1] = "";
    int rc = 0;

    json_for_each (layer, json_at(rootfs, "diff_ids")) {
        const char *id = json_string(layer);

        rc = id ? chain_add(chain, id) : -EBADMSG;
        if (rc < 0)
            break;
    }
    return rc < 0 && rc != -EBADMSG ? rc : keep_text(&i->chain, rc < 0 ? "" : chain);
}

static int read_image_info(struct cri_image *i, struct pb_slice text, struct err *err)
{
    _cleanup_json_ struct json *info = NULL;
    struct json *spec;
    int rc;

    if (text.len == 0)
        return err_say(err, EBADMSG, "the runtime gives no config for the image");
    rc = json_parse((const char *)text.data, text.len, &info, err);
    if (rc == 0)
        rc = json_need_object(info, "imageSpec", &spec, err);
    if (rc < 0)
        return err_wrap(err, rc == -ENOMEM ? rc : -EBADMSG, "the runtime's info about the image");
    rc = read_config(i, json_field(spec, "config"));
    if (rc == 0)
        rc = read_chain(i, json_field(spec, "rootfs"));
    if (rc == -E2BIG)
        return err_say(err, rc, "the image has more VOLUMEs than %d, or longer ones than %zu bytes together",
                LIMIT_IMAGE_VOLUMES, LIMIT_IMAGE_COMMAND);
    return rc < 0 ? refuse(err, rc, "image config") : 0;
}

static int read_image_id(struct cri_image *i, struct pb_slice msg)
{
    struct pb_reader r;
    struct pb_field f;
    int rc;

    pb_reader_init(&r, msg.data, msg.len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 1)
            rc = keep_field(&i->id, &f);
        if (rc < 0)
            return rc;
    }
    return rc < 0 || i->id ? rc : keep_text(&i->id, "");
}

int cri_decode_image(const uint8_t *msg, size_t len, struct cri_image **ret, struct err *err)
{
    _cleanup_cri_image_ struct cri_image *i = calloc(1, sizeof(*i));
    struct pb_slice status = {0}, info = {0};
    int rc;

    if (!i)
        return err_set(err, ENOMEM, "cannot keep the image's status");
    rc = split_status(msg, len, &status, &info);
    if (rc == 0 && !status.data)
        return err_say(err, ENOENT, "the runtime does not have the image");
    if (rc == 0)
        rc = read_image_id(i, status);
    if (rc < 0)
        return refuse(err, rc, "image status");
    rc = read_image_info(i, info, err);
    if (rc < 0)
        return rc;
    *ret = take_ptr(i);
    return 0;
}

/* --- version
 * ------------------------------------------------------------------------------------------------ */

int cri_decode_version(const uint8_t *msg, size_t len, struct cri_version **ret, struct err *err)
{
    _cleanup_cri_version_ struct cri_version *v = calloc(1, sizeof(*v));
    struct pb_reader r;
    struct pb_field f;
    int rc;

    if (!v)
        return err_set(err, ENOMEM, "cannot keep the runtime's version");
    pb_reader_init(&r, msg, len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 2)
            rc = keep_field(&v->runtime_name, &f);
        else if (f.number == 3)
            rc = keep_field(&v->runtime_version, &f);
        else if (f.number == 4)
            rc = keep_field(&v->api_version, &f);
        if (rc < 0)
            break;
    }
    if (rc == 0) {
        char **const texts[] = {&v->runtime_name, &v->runtime_version, &v->api_version};

        rc = fill(texts, ARRAY_SIZE(texts));
    }
    if (rc < 0)
        return refuse(err, rc, "version");
    *ret = take_ptr(v);
    return 0;
}
