/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See journal.h. The text is JSON:
 *
 *     {"version":1,"role":"provider","id":"csi-...","volume":"stoppablecontainer",
 *      "pod":{"namespace":"..","name":"..","uid":".."},"instance":{"namespace":"..","name":"..","uid":".."},
 *      "providerUid":"..","lost":"..","chroot":true,"persistence":"Node","root":"kept","sizeLimit":1024,
 *      "use":"within",
 *      "containers":[{"name":"main","readOnly":false,"postStart":true,"id":"<container id>"}]}
 *
 * Fields without a value are absent. Version 1 is what was written before there was persistence Node; it is
 * still written for all other volumes, so that an older agent can take them over, and it leaves the others
 * aside unharmed. The directory is only the agent's, but it is read as if it were not: a
 * disk can be full, restored from a backup, or edited.
 */
#include "node-agent/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/json/json.h"
#include "common/names.h"
#include "node-agent/runtime/container_id.h"

#define JOURNAL_VERSION 1
#define JOURNAL_VERSION_NODE 2
#define JOURNAL_SUFFIX ".json"
#define BAD_DIR "bad"

static int encode_ref(struct json *root, const char *field, const char *ns, const char *name, const char *uid)
{
    struct json *o = json_ensure_object(root, field);
    int r;

    if (!o)
        return -ENOMEM;
    r = json_set_str(o, "namespace", ns);
    if (r == 0)
        r = json_set_str(o, "name", name[0] ? name : NULL);
    if (r == 0)
        r = json_set_str(o, "uid", uid);
    return r;
}

static int encode_containers(struct json *root, const struct volume *v)
{
    struct json *list = json_ensure_array(root, "containers");
    int r = list ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < v->n_containers; i++) {
        const struct volume_container *c = &v->containers[i];
        struct json *o = json_new_object();

        if (!o)
            return -ENOMEM;
        r = json_append(list, o);
        if (r == 0)
            r = json_set_str(o, "name", c->name);
        if (r == 0)
            r = json_set_bool(o, "readOnly", c->readonly);
        if (r == 0 && c->post_start)
            r = json_set_bool(o, "postStart", true);
        if (r == 0)
            r = json_set_str(o, "id", c->id[0] ? c->id : NULL);
    }
    return r;
}

static int encode_head(struct json *root, const struct volume *v)
{
    int r = json_set_int(root, "version", v->node ? JOURNAL_VERSION_NODE : JOURNAL_VERSION);

    if (r == 0)
        r = json_set_str(root, "role", volume_role_text(v->role));
    if (r == 0)
        r = json_set_str(root, "id", v->id);
    if (r == 0)
        r = json_set_str(root, "volume", v->volume_name);
    if (r == 0)
        r = encode_ref(root, "pod", v->pod_namespace, v->pod_name, v->pod_uid);
    if (r == 0)
        r = encode_ref(root, "instance", v->instance_namespace, v->instance_name, v->instance_uid);
    if (r == 0)
        r = json_set_str(root, "providerUid", v->provider_uid[0] ? v->provider_uid : NULL);
    if (r == 0)
        r = json_set_str(root, "lost", v->lost[0] ? v->lost : NULL);
    if (r == 0 && v->chroot)
        r = json_set_bool(root, "chroot", true);
    return r;
}

static int encode_node(struct json *root, const struct volume *v)
{
    int r = v->node ? json_set_str(root, "persistence", SC_PERSISTENCE_NODE) : 0;

    if (r == 0 && v->kept)
        r = json_set_str(root, "root", SC_ROOT_KEPT);
    if (r == 0 && v->size_limit > 0)
        r = json_set_int(root, "sizeLimit", (int64_t)v->size_limit);
    if (r == 0)
        r = json_set_str(root, "use", volume_use_text(v->use));
    return r;
}

int journal_encode(const struct volume *v, struct buf *b, struct err *err)
{
    _cleanup_json_ struct json *root = json_new_object();
    int r = root ? encode_head(root, v) : -ENOMEM;

    if (r == 0)
        r = encode_node(root, v);
    if (r == 0)
        r = encode_containers(root, v);
    if (r == 0)
        r = json_write(root, b);
    if (r == 0)
        r = buf_putc(b, '\n');
    if (r < 0)
        return err_set(err, r, "cannot write down volume %s", v->id);
    return 0;
}

/* Copies a text field that must have a form; absent is "" where it may be. */
static int take_text(const struct json *root, const char *path, bool (*form)(const char *), char *ret,
        size_t size, struct err *err)
{
    const char *text = json_str(root, path);

    if (!text || strlen(text) >= size || !form(text))
        return err_say(err, EBADMSG, "%s is missing or malformed", path);
    (void)snprintf(ret, size, "%s", text);
    return 0;
}

static bool is_role(const char *text)
{
    enum volume_role role;

    return text && volume_role_parse(text, &role) == 0;
}

static int decode_names(const struct json *root, struct volume *v, struct err *err)
{
    char role[16] = "";
    int r = take_text(root, "role", is_role, role, sizeof(role), err);

    if (r == 0)
        r = volume_role_parse(role, &v->role);
    if (r == 0)
        r = take_text(root, "id", volume_is_id, v->id, sizeof(v->id), err);
    if (r == 0)
        r = take_text(root, "volume", volume_is_label, v->volume_name, sizeof(v->volume_name), err);
    if (r == 0)
        r = take_text(
                root, "pod.namespace", volume_is_label, v->pod_namespace, sizeof(v->pod_namespace), err);
    if (r == 0)
        r = take_text(root, "pod.name", volume_is_subdomain, v->pod_name, sizeof(v->pod_name), err);
    if (r == 0)
        r = take_text(root, "pod.uid", volume_is_uid, v->pod_uid, sizeof(v->pod_uid), err);
    if (r == 0)
        r = take_text(root, "instance.namespace", volume_is_label, v->instance_namespace,
                sizeof(v->instance_namespace), err);
    if (r == 0)
        r = take_text(root, "instance.uid", volume_is_uid, v->instance_uid, sizeof(v->instance_uid), err);
    if (r == 0 && v->role != VOLUME_RECLAIM)
        r = take_text(
                root, "instance.name", volume_is_subdomain, v->instance_name, sizeof(v->instance_name), err);
    if (r == 0 && v->role == VOLUME_CONSUMER)
        r = take_text(root, "providerUid", volume_is_uid, v->provider_uid, sizeof(v->provider_uid), err);
    return r;
}

static int decode_container(const struct json *node, struct volume *v, size_t i, struct err *err)
{
    struct volume_container *c = &v->containers[i];
    char name[sizeof(c->name)] = "";
    int r = take_text(node, "name", volume_is_label, name, sizeof(name), err);

    if (r < 0)
        return err_wrap(err, r, "containers[%zu]", i);
    if (volume_container(v, name))
        return err_say(err, EBADMSG, "container %s is there twice", name);
    memcpy(c->name, name, sizeof(name));
    c->readonly = json_bool_or(node, "readOnly", false);
    c->post_start = json_bool_or(node, "postStart", false);
    if (json_at(node, "id"))
        r = take_text(node, "id", container_id_valid, c->id, sizeof(c->id), err);
    if (v->role == VOLUME_PROVIDER && c->id[0])
        c->root = ROOT_ADOPTING;
    return r;
}

static int decode_tree(const struct json *root, struct volume *v, struct err *err)
{
    size_t i = 0;
    int r = decode_names(root, v, err);

    if (r == 0 && volume_dir(v->pod_uid, v->volume_name, v->dir) < 0)
        r = err_say(err, EBADMSG, "pod.uid and volume give no directory");
    if (r < 0)
        return r;
    v->chroot = v->role == VOLUME_CONSUMER && json_bool_or(root, "chroot", false);
    (void)snprintf(v->lost, sizeof(v->lost), "%s", json_str_or(root, "lost", ""));
    json_for_each (node, json_at(root, "containers")) {
        r = decode_container(node, v, i++, err);
        if (r < 0)
            return r;
    }
    if ((v->role == VOLUME_RECLAIM) != (v->n_containers == 0))
        return err_say(
                err, EBADMSG, "%zu containers for role %s", v->n_containers, volume_role_text(v->role));
    return 0;
}

/* Version 2 says the persistence, and is in no doubt about it. */
static int decode_node(const struct json *root, struct volume *v, struct err *err)
{
    const char *word = json_str_or(root, "root", "");
    int64_t limit = json_int_or(root, "sizeLimit", 0);

    if (strcmp(json_str_or(root, "persistence", ""), SC_PERSISTENCE_NODE) != 0)
        return err_say(err, EBADMSG, "persistence is missing or unknown");
    v->node = true;
    v->kept = strcmp(word, SC_ROOT_KEPT) == 0;
    if (word[0] && !v->kept)
        return err_say(err, EBADMSG, "root is neither absent nor " SC_ROOT_KEPT);
    if (json_at(root, "sizeLimit") && (limit <= 0 || (uint64_t)limit > LIMIT_ROOT_SIZE))
        return err_say(err, EBADMSG, "sizeLimit is no number of bytes");
    v->size_limit = (uint64_t)limit;
    if (json_at(root, "use") && volume_use_parse(json_str_or(root, "use", ""), &v->use) < 0)
        return err_say(err, EBADMSG, "use is no word that is known");
    return 0;
}

int journal_decode(const char *text, size_t len, struct volume **ret_volume, struct err *err)
{
    _cleanup_json_ struct json *root = NULL;
    _cleanup_volume_ struct volume *v = NULL;
    int64_t version;
    int r = json_parse(text, len, &root, err);

    if (r < 0)
        return r;
    version = json_int_or(root, "version", 0);
    if (version > JOURNAL_VERSION_NODE)
        return err_say(err, EPROTONOSUPPORT, "it is of a newer agent: version %lld, this one reads up to %d",
                (long long)version, JOURNAL_VERSION_NODE);
    if (version != JOURNAL_VERSION && version != JOURNAL_VERSION_NODE)
        return err_say(err, EBADMSG, "version is neither %d nor %d", JOURNAL_VERSION, JOURNAL_VERSION_NODE);
    if (json_len(json_at(root, "containers")) > LIMIT_CONTAINERS)
        return err_say(err, EBADMSG, "more than %d containers", LIMIT_CONTAINERS);
    v = volume_new(json_is_array(json_at(root, "containers")) ? json_len(json_at(root, "containers")) : 0);
    if (!v)
        return err_set(err, ENOMEM, "cannot remember the volume");
    r = decode_tree(root, v, err);
    if (r == 0 && version == JOURNAL_VERSION_NODE)
        r = decode_node(root, v, err);
    if (r < 0)
        return r;
    *ret_volume = take_ptr(v);
    return 0;
}

static void file_name(const char *volume_id, char ret[VOLUME_ID_LEN + sizeof(JOURNAL_SUFFIX)])
{
    (void)snprintf(
            ret, VOLUME_ID_LEN + sizeof(JOURNAL_SUFFIX), "%.*s" JOURNAL_SUFFIX, VOLUME_ID_LEN, volume_id);
}

int journal_write(int volumes_fd, const struct volume *v, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JOURNAL);
    char name[VOLUME_ID_LEN + sizeof(JOURNAL_SUFFIX)];
    int r = journal_encode(v, &b, err);

    if (r < 0)
        return r;
    file_name(v->id, name);
    r = file_replace_at(volumes_fd, name, b.data, b.len, 0600, err);
    if (r < 0)
        return err_wrap(err, r, "journal");
    return 0;
}

int journal_remove(int volumes_fd, const char *volume_id, struct err *err)
{
    char name[VOLUME_ID_LEN + sizeof(JOURNAL_SUFFIX)];

    file_name(volume_id, name);
    if (unlinkat(volumes_fd, name, 0) < 0 && errno != ENOENT)
        return err_set(err, errno, "cannot remove %s from the journal", name);
    return 0;
}

int journal_read(int volumes_fd, const char *name, struct volume **ret_volume, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JOURNAL);
    _cleanup_volume_ struct volume *v = NULL;
    char want[VOLUME_ID_LEN + sizeof(JOURNAL_SUFFIX)];
    int r = file_read_at(volumes_fd, name, &b, err);

    if (r == 0)
        r = journal_decode(buf_str(&b), b.len, &v, err);
    if (r < 0)
        return r;
    file_name(v->id, want);
    if (strcmp(name, want) != 0)
        return err_say(err, EBADMSG, "it is about volume %s", v->id);
    *ret_volume = take_ptr(v);
    return 0;
}

static int move_aside(int volumes_fd, const char *name, struct err *err)
{
    char to[sizeof(BAD_DIR) + NAME_MAX + 2];

    if (mkdirat(volumes_fd, BAD_DIR, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make the directory " BAD_DIR);
    (void)snprintf(to, sizeof(to), BAD_DIR "/%s", name);
    if (renameat(volumes_fd, name, volumes_fd, to) < 0)
        return err_set(err, errno, "cannot move it to " BAD_DIR);
    return 0;
}

/* A bad file: moved aside; also the failure of that goes into what is told. */
static void put_aside(int volumes_fd, const char *name,
        void (*bad)(const char *file, const struct err *err, void *user), const struct err *why, void *user)
{
    struct err both = *why;
    struct err err = ERR_INIT;

    if (move_aside(volumes_fd, name, &err) < 0)
        (void)err_wrap(&both, -err.code, "%s", err_text(&err));
    bad(name, &both, user);
}

size_t journal_take_back(int volumes_fd)
{
    int fd = openat(volumes_fd, BAD_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t n = 0;

    if (!dir) {
        (void)close_fd(fd);
        return 0;
    }
    for (const struct dirent *e; n < LIMIT_VOLUMES && (e = readdir(dir));) {
        _cleanup_volume_ struct volume *v = NULL;

        if (e->d_name[0] != '.' && journal_read(fd, e->d_name, &v, NULL) == 0 &&
                renameat2(fd, e->d_name, volumes_fd, e->d_name, RENAME_NOREPLACE) == 0)
            n++;
    }
    (void)closedir(dir);
    return n;
}

/* A file that a crash left of a write. Its volume is journaled again by the kubelet's next call, or is never
 * called again. */
static void remove_temporary(int volumes_fd, const char *name)
{
    size_t len = strlen(name);

    if (len > sizeof(".tmp") && strcmp(name + len - strlen(".tmp"), ".tmp") == 0)
        (void)unlinkat(volumes_fd, name, 0);
}

/* The file could not be looked at now, which says nothing about it. */
static bool is_passing(int r)
{
    return err_is_passing(r) || r == -EIO;
}

static int load_one(int volumes_fd, const char *name, void (*fn)(struct volume *v, void *user),
        void (*bad)(const char *file, const struct err *err, void *user), void *user, struct err *err)
{
    struct volume *v = NULL;
    struct err why = ERR_INIT;
    int r = journal_read(volumes_fd, name, &v, &why);

    if (r == 0)
        fn(v, user);
    else if (is_passing(r))
        return err_say(err, r, "cannot read the journal: %s", err_text(&why));
    else if (r == -EPROTONOSUPPORT)
        bad(name, &why, user); /* the newer agent will want it where it is */
    else
        put_aside(volumes_fd, name, bad, &why, user);
    return 0;
}

int journal_load(int volumes_fd, void (*fn)(struct volume *v, void *user),
        void (*bad)(const char *file, const struct err *err, void *user), void *user, struct err *err)
{
    int fd = openat(volumes_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    size_t n = 0;
    int r = 0;

    if (!dir) {
        r = err_set(err, errno, "cannot read the journal");
        (void)close_fd(fd);
        return r;
    }
    while (r == 0) {
        r = dir_next(dir, &e);
        if (r <= 0) {
            r = r < 0 ? err_set(err, r, "cannot read the journal") : 0;
            break;
        }
        r = 0;
        if (strcmp(e->d_name, BAD_DIR) == 0)
            continue;
        if (e->d_name[0] == '.') {
            remove_temporary(volumes_fd, e->d_name);
        } else if (n++ >= LIMIT_VOLUMES) {
            struct err why = ERR_INIT;

            (void)err_say(&why, E2BIG, "more than %d volumes", LIMIT_VOLUMES);
            bad(e->d_name, &why, user);
        } else {
            r = load_one(volumes_fd, e->d_name, fn, bad, user, err);
        }
    }
    (void)closedir(dir);
    return r;
}
