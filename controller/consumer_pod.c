/* SPDX-License-Identifier: Apache-2.0 */
/* See consumer_pod.h. */
#include "controller/consumer_pod.h"

#include <errno.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/names.h"
#include "controller/affinity.h"

/* Puts words in front of an array of arguments: list = words + list. */
static int prefix(struct json *object, const char *field, const char *const *words, size_t n)
{
    struct json *list = json_new_array();
    int bad = !list;

    for (size_t i = 0; i < n; i++)
        bad |= json_append_str(list, words[i]);
    json_for_each (item, json_field(object, field))
        bad |= json_append(list, json_copy(item));
    bad |= json_set(object, field, list);
    return bad;
}

static int wrap_exec(struct json *exec, bool chroot)
{
    static const char *const plain[] = {POD_EXECWRAP, "exec", "--"};
    static const char *const chrooted[] = {POD_EXECWRAP, "exec", "--chroot", "--"};

    if (!exec)
        return 0;
    return chroot ? prefix(exec, "command", chrooted, ARRAY_SIZE(chrooted))
                  : prefix(exec, "command", plain, ARRAY_SIZE(plain));
}

/* The kubelet takes the path as one from the root, and as it is written; our words it expands like the user's
 * own: "$$" is a "$" to it. */
static int absolute_unexpanded(const char *path, struct buf *b)
{
    if (path[0] != '/')
        buf_putc(b, '/');
    for (; *path; path++) {
        if (*path == '$')
            buf_putc(b, '$');
        buf_putc(b, *path);
    }
    return buf_error(b);
}

/* A container without a command runs the image's ENTRYPOINT (and its CMD, where there are no args either):
 * the agent knows both. execwrap writes its own failures where the kubelet looks for the last words. */
static int wrap_command(struct json *container, bool chroot)
{
    static const char default_log[] = "/dev/termination-log";
    const char *log = json_str_or(container, "terminationMessagePath", default_log);
    _cleanup_buf_ struct buf path = BUF_INIT(LIMIT_API_OBJECT);
    const char *words[7];
    size_t n = 0;

    words[n++] = POD_EXECWRAP;
    words[n++] = "run";
    if (chroot)
        words[n++] = "--chroot";
    if (strcmp(log, default_log) != 0) {
        if (absolute_unexpanded(log, &path) < 0)
            return -ENOMEM;
        words[n++] = "--termination-log";
        words[n++] = buf_str(&path);
    }
    if (json_len(json_field(container, "command")) == 0)
        words[n++] = "--image-entrypoint";
    words[n++] = "--";
    return prefix(container, "command", words, n);
}

/* The root belongs to one image, also when the template names another by now. */
static int pin_image(struct json *container, const struct pod_request *q)
{
    const char *name = json_str_or(container, "name", "");
    const char *image = pod_parts_pinned_image(q->sci, name);
    int bad = 0;

    if (!q->provider && !image)
        return 0;
    if (!image)
        image = pod_parts_image_digest(q->provider, name);
    bad |= json_set_str(container, "image", image ? image : pod_parts_instance_image(q->sci, name));
    if (strcmp(json_str_or(container, "imagePullPolicy", ""), "Never") != 0)
        bad |= json_set_str(container, "imagePullPolicy", "IfNotPresent");
    return bad;
}

/* The request moved to the provider. With a limit alone the API server would make a request of it (v1
 * defaulting), so then it is an explicit zero. */
static int move_storage_request(struct json *container)
{
    static const char name[] = "ephemeral-storage";
    struct json *resources = json_field(container, "resources");

    if (json_field(json_field(resources, "limits"), name))
        return json_set_str(json_ensure_object(resources, "requests"), name, "0");
    json_remove(json_field(resources, "requests"), name);
    return 0;
}

/* CRI-O does not give SYS_CHROOT by itself. */
static int allow_chroot(struct json *security)
{
    struct json *capabilities = json_ensure_object(security, "capabilities");
    struct json *add = capabilities ? json_ensure_array(capabilities, "add") : NULL;

    json_for_each (item, add) {
        const char *text = json_string(item);

        if (text && (strcmp(text, "SYS_CHROOT") == 0 || strcmp(text, "ALL") == 0))
            return 0;
    }
    return json_append_str(add, "SYS_CHROOT");
}

/* A container is Running for the kubelet, and so for everybody who waits for it, when its postStart hook has
 * ended. Without a hook of the user's, one that waits for the root keeps an early `kubectl exec` from meeting
 * the image's own. */
static int add_ready_hook(struct json *lifecycle)
{
    struct json *hook, *exec, *command;

    if (json_field(lifecycle, "postStart"))
        return 0;
    hook = json_ensure_object(lifecycle, "postStart");
    exec = hook ? json_ensure_object(hook, "exec") : NULL;
    command = exec ? json_ensure_array(exec, "command") : NULL;
    if (!command)
        return -ENOMEM;
    return json_append_str(command, POD_EXECWRAP) | json_append_str(command, "ready");
}

static int wrap_container(struct json *container, const struct pod_request *q)
{
    static const char *const probes[] = {"livenessProbe", "readinessProbe", "startupProbe"};
    struct json *lifecycle = json_ensure_object(container, "lifecycle");
    struct json *security = json_ensure_object(container, "securityContext");
    bool chroot = q->template->chroot;
    int bad = !security;

    bad |= wrap_command(container, chroot);
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
        bad |= wrap_exec(json_field(json_field(container, probes[i]), "exec"), chroot);
    bad |= wrap_exec(json_field(json_field(lifecycle, "postStart"), "exec"), chroot);
    bad |= wrap_exec(json_field(json_field(lifecycle, "preStop"), "exec"), chroot);
    bad |= !lifecycle || add_ready_hook(lifecycle);
    bad |= json_set_bool(security, "readOnlyRootFilesystem", true);
    if (chroot)
        bad |= allow_chroot(security);
    bad |= pin_image(container, q);
    bad |= move_storage_request(container);
    bad |= pod_parts_add_mount(container);
    return bad;
}

/* At the first start, where the node is chosen, the provider's wishes count too: it has to follow. */
static int merge_node_selector(struct json *spec, const struct pod_request *q)
{
    const struct json *wish = json_at(q->sc, "spec.provider.nodeSelector");
    int bad = 0;

    if (q->node)
        return 0;
    json_for_each (label, wish)
        bad |= json_set(json_ensure_object(spec, "nodeSelector"), json_key(label), json_copy(label));
    return bad;
}

/* A copy of what a template has, with ours over it; a template may have thousands, so not one after the other. */
static struct json *merged(const struct json *theirs, const struct json *ours)
{
    _cleanup_json_ struct json *all = theirs ? json_copy(theirs) : json_new_object();
    int bad = !all;

    json_for_each (one, ours)
        bad |= json_set(all, json_key(one), json_copy(one));
    return bad ? NULL : take_ptr(all);
}

static int set_metadata(struct json *pod, const struct pod_request *q)
{
    const struct template *t = q->template;
    struct json *metadata = json_field(pod, "metadata");
    struct json *annotations;
    char generation[24];
    int bad = 0;

    bad |= json_set(metadata, "labels", merged(t->labels, json_field(metadata, "labels")));
    bad |= json_set(metadata, "annotations", merged(t->annotations, NULL));
    annotations = json_field(metadata, "annotations");
    bad |= json_set_str(annotations, SC_ANNOTATION_TEMPLATE_HASH, t->hash);
    snprintf(generation, sizeof(generation), "%lld", (long long)json_int_or(q->sc, "metadata.generation", 0));
    bad |= json_set_str(annotations, SC_ANNOTATION_GENERATION, generation);
    return bad;
}

/* Whose hook is execwrap: the agent gives such a container its root when that has come, since a runtime that executes
 * something just then can lose it in the old root. */
static int name_post_start_hooks(struct json *attributes, const struct json *spec)
{
    _cleanup_buf_ struct buf names = BUF_INIT(LIMIT_CONTAINERS * (LIMIT_NAMESPACE + 1));

    json_for_each (container, json_field(spec, "containers")) {
        if (!json_at(container, "lifecycle.postStart.exec"))
            continue;
        if (names.len > 0)
            buf_putc(&names, ',');
        buf_puts(&names, json_str_or(container, "name", ""));
    }
    if (buf_error(&names) < 0)
        return -ENOMEM;
    return names.len > 0 ? json_set_str(attributes, SC_ATTR_POST_START, buf_str(&names)) : 0;
}

static int add_volume(struct json *spec, const struct pod_request *q)
{
    _cleanup_json_ struct json *attributes = pod_parts_attributes(q, SC_ROLE_CONSUMER);

    if (!attributes || name_post_start_hooks(attributes, spec))
        return -ENOMEM;
    return pod_parts_add_volume(spec, take_ptr(attributes));
}

static int set_spec(struct json *spec, const struct pod_request *q)
{
    const struct placement where = {
            .agent = true,
            .node = q->node,
            .also_node = q->template->node_name,
            .excluded = q->excluded,
    };
    int bad = 0;

    json_for_each (container, json_field(spec, "containers"))
        bad |= wrap_container(container, q);
    bad |= merge_node_selector(spec, q);
    bad |= pod_parts_set_selinux(spec, q);
    bad |= affinity_require(spec, &where);
    bad |= add_volume(spec, q);
    return bad;
}

int consumer_pod_build(const struct pod_request *q, struct json **ret)
{
    const char *namespace = json_str_or(q->sci, "metadata.namespace", "");
    const char *name = json_str_or(q->sci, "metadata.name", "");
    _cleanup_json_ struct json *pod = pod_parts_new(namespace, name, SC_ROLE_CONSUMER, q->sci);

    if (!pod || set_metadata(pod, q) || json_set(pod, "spec", json_copy(q->template->spec)) ||
            set_spec(json_field(pod, "spec"), q))
        return -ENOMEM;
    *ret = take_ptr(pod);
    return 0;
}
