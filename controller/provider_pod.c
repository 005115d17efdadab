/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider_pod.h. In the order of the spec: containers, resources, security, tolerations, the rest.
 *
 * What is not taken over from the template: volumes, ports, probes, environment, host namespaces, node
 * selectors (a kubelet restart admits running pods again, and a node label that changed since would fail the
 * pod), topology spread. The pod has no token of its own.
 */
#include "controller/provider_pod.h"

#include <errno.h>
#include <string.h>

#include "common/names.h"
#include "controller/affinity.h"
#include "controller/status.h"

/* As a limit, the pod's CPU also throttles the runtime while it makes sandbox and container: at 10m that
 * takes about 4 s each. So the pod begins with START_CPU and is resized in place (KEP-1287; QoS class
 * Guaranteed throughout) once it runs, or does not fit. An annotation remembers the final size; one that
 * spec.provider.resources asks for is kept from the beginning. */
#define START_CPU "300m"
#define FINAL_CPU "10m"
#define DEFAULT_MEMORY "16Mi"
/* The provider outlives its consumer when Kubernetes ends both at once. */
enum { EXTRA_GRACE = 10 };

static const char *const annotations[][2] = {
        {"cluster-autoscaler.kubernetes.io/safe-to-evict", "false"},
        {"karpenter.sh/do-not-disrupt", "true"},
        /* No sidecar fits beside a pause, and an injected container would end up without a root. */
        {"sidecar.istio.io/inject", "false"},
        {"linkerd.io/inject", "disabled"},
        {"consul.hashicorp.com/connect-inject", "false"},
        {"kuma.io/sidecar-injection", "disabled"},
};

/* Request and limit of one resource, the same value, so that the pod's QoS class is Guaranteed. */
static int set_both(struct json *requests, struct json *limits, const struct json *wish, const char *name,
        const char *fallback)
{
    const struct json *value = json_field(json_field(wish, "limits"), name);

    if (!value)
        value = json_field(json_field(wish, "requests"), name);
    if (!value)
        return json_set_str(requests, name, fallback) | json_set_str(limits, name, fallback);
    return json_set(requests, name, json_copy(value)) | json_set(limits, name, json_copy(value));
}

static int copy_absent(struct json *to, const struct json *from)
{
    int bad = 0;

    json_for_each (value, from)
        if (!json_field(to, json_key(value)))
            bad |= json_set(to, json_key(value), json_copy(value));
    return bad;
}

/* The request for ephemeral storage is ours, since the provider's layer holds what the workload writes; its
 * limit stays with the consumer: whoever passes it is evicted at once, and the provider would lose the root.
 */
static int set_resources(
        struct json *container, const struct json *original, const struct json *wish, const char *cpu)
{
    struct json *resources = json_ensure_object(container, "resources");
    struct json *requests = resources ? json_ensure_object(resources, "requests") : NULL;
    struct json *limits = resources ? json_ensure_object(resources, "limits") : NULL;
    int bad = !requests || !limits;

    bad |= set_both(requests, limits, wish, "cpu", cpu);
    bad |= set_both(requests, limits, wish, "memory", DEFAULT_MEMORY);
    bad |= copy_absent(requests, json_field(wish, "requests"));
    bad |= copy_absent(limits, json_field(wish, "limits"));
    bad |= pod_parts_copy(requests, "ephemeral-storage",
            json_field(json_at(original, "resources.requests"), "ephemeral-storage"));
    return bad;
}

/* Who the files belong to at first is the image's business; the process must only be allowed to run. */
static int copy_identity(struct json *to, const struct json *from)
{
    static const char *const fields[] = {"runAsUser", "runAsGroup", "runAsNonRoot", "seLinuxOptions"};
    int bad = 0;

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        bad |= pod_parts_copy(to, fields[i], json_field(from, fields[i]));
    return bad;
}

static int set_security(struct json *container, const struct json *original)
{
    struct json *security = json_ensure_object(container, "securityContext");
    struct json *capabilities = security ? json_ensure_object(security, "capabilities") : NULL;
    int bad = !capabilities;

    bad |= copy_identity(security, json_field(original, "securityContext"));
    bad |= json_append_str(json_ensure_array(capabilities, "drop"), "ALL");
    bad |= json_set_bool(security, "allowPrivilegeEscalation", false);
    bad |= json_set_bool(security, "readOnlyRootFilesystem", false);
    return bad;
}

/* That of the root: a provider that is made again (persistence Node) pins the layers that the root lies on. */
static int set_image(struct json *container, const struct json *original, const struct json *sci)
{
    const char *name = json_str_or(original, "name", "");
    const char *pinned = pod_parts_pinned_image(sci, name), *made_with = pod_parts_instance_image(sci, name);
    const char *policy = json_str(original, "imagePullPolicy");
    int bad = json_set_str(container, "name", name);

    if (pinned && (!policy || strcmp(policy, "Never") != 0))
        policy = "IfNotPresent";
    if (!made_with)
        made_with = json_str_or(original, "image", "");
    bad |= json_set_str(container, "image", pinned ? pinned : made_with);
    return bad | json_set_str(container, "imagePullPolicy", policy);
}

static struct json *new_container(const struct json *original, const struct pod_request *q, const char *cpu)
{
    _cleanup_json_ struct json *container = json_new_object();
    int bad = !container;

    bad |= set_image(container, original, q->sci);
    bad |= json_append_str(json_ensure_array(container, "command"), POD_PAUSE);
    bad |= set_resources(container, original, json_at(q->sc, "spec.provider.resources"), cpu);
    bad |= set_security(container, original);
    bad |= pod_parts_add_mount(container);
    return bad ? NULL : take_ptr(container);
}

/* A list of its own, in this order: the first toleration that matches a taint decides for how long, so ours
 * (for ever) stands before all others, and those with a time are left out. */
static int set_tolerations(struct json *spec, const struct pod_request *q)
{
    const struct json *sources[] = {json_at(q->sc, "spec.provider.tolerations"),
            q->consumer ? json_at(q->consumer, "spec.tolerations")
                        : json_field(q->template->spec, "tolerations")};
    struct json *list = json_ensure_array(spec, "tolerations");
    struct json *ours = json_new_object();
    int bad = 0;

    bad |= json_set_str(ours, "operator", "Exists");
    bad |= json_set_str(ours, "effect", "NoExecute");
    bad |= json_append(list, ours);
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        json_for_each (toleration, sources[i]) {
            if (strcmp(json_str_or(toleration, "effect", ""), "NoExecute") != 0)
                bad |= json_append(list, json_copy(toleration));
        }
    }
    return bad;
}

static bool begins_larger(const struct pod_request *q)
{
    const struct json *wish = json_at(q->sc, "spec.provider.resources");

    return !q->small && !json_field(json_field(wish, "requests"), "cpu") &&
           !json_field(json_field(wish, "limits"), "cpu");
}

static int set_metadata(struct json *pod, const struct pod_request *q)
{
    struct json *metadata = json_field(pod, "metadata");
    struct json *notes = json_ensure_object(metadata, "annotations");
    int bad = 0;

    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++)
        bad |= json_set_str(notes, annotations[i][0], annotations[i][1]);
    bad |= json_set_str(notes, SC_ANNOTATION_TEMPLATE_HASH, q->template->hash);
    if (begins_larger(q))
        bad |= json_set_str(notes, SC_ANNOTATION_FINAL_CPU, FINAL_CPU);
    bad |= json_set_str(json_field(metadata, "labels"), "sidecar.istio.io/inject", "false");
    return bad;
}

/* What was told of a sizeLimit that is watched, as its condition has it. */
static const char *told_use(const struct json *sci)
{
    const struct json *written = status_condition(json_field(sci, "status"), SC_COND_WITHIN_LIMIT);
    const char *status = json_str_or(written, "status", "");

    if (!written || !json_str(sci, "spec.sizeLimit"))
        return NULL;
    return strcmp(status, "True") == 0    ? SC_USE_WITHIN
           : strcmp(status, "False") == 0 ? SC_USE_EXCEEDED
                                          : SC_USE_UNKNOWN;
}

/* "kept" from when RootfsIntact was written: the consumer has run on the root, so there must be one. */
static struct json *provider_attributes(const struct pod_request *q)
{
    _cleanup_json_ struct json *a = pod_parts_attributes(q, SC_ROLE_PROVIDER);
    bool kept = status_condition(json_field(q->sci, "status"), SC_COND_ROOTFS_INTACT) != NULL;
    int bad = 0;

    if (!a || !pod_parts_on_node(q->sci))
        return take_ptr(a);
    bad |= json_set_str(a, SC_ATTR_ROOT, kept ? SC_ROOT_KEPT : SC_ROOT_NEW);
    bad |= json_set_str(a, SC_ATTR_SIZE_LIMIT, json_str(q->sci, "spec.sizeLimit"));
    bad |= json_set_str(a, SC_ATTR_USE, told_use(q->sci));
    return bad ? NULL : take_ptr(a);
}

/* Of two pods that both take more than they request, the kubelet evicts the one of lower priority first, then the one
 * that takes more, which is the provider. So it has a class of its own, of the highest value there may be
 * (10^9); only what begins with "system-" is above that (PriorityClass v1), and is taken over. */
static int set_priority(struct json *spec, const struct pod_request *q)
{
    static const char reserved[] = "system-";
    const char *wanted = json_str(q->template->spec, "priorityClassName");
    bool above = wanted && strncmp(wanted, reserved, strlen(reserved)) == 0;

    if (q->priority_class && q->priority_class[0] && !above)
        wanted = q->priority_class;
    return json_set_str(spec, "priorityClassName", wanted);
}

static int set_spec(struct json *spec, const struct pod_request *q)
{
    static const char *const taken[] = {"serviceAccountName", "imagePullSecrets", "runtimeClassName"};
    struct json *security = json_ensure_object(spec, "securityContext");
    struct json *seccomp = security ? json_ensure_object(security, "seccompProfile") : NULL;
    struct json *containers = json_ensure_array(spec, "containers");
    int bad = !seccomp;

    json_for_each (original, template_containers(q->template))
        bad |= json_append(containers, new_container(original, q, begins_larger(q) ? START_CPU : FINAL_CPU));
    bad |= copy_identity(security, json_field(q->template->spec, "securityContext"));
    bad |= json_set_str(seccomp, "type", "RuntimeDefault");
    bad |= pod_parts_set_selinux(spec, q);
    bad |= set_tolerations(spec, q);
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
        bad |= pod_parts_copy(spec, taken[i], json_field(q->template->spec, taken[i]));
    bad |= set_priority(spec, q);
    bad |= json_set_str(spec, "restartPolicy", "Never");
    bad |= json_set_bool(spec, "automountServiceAccountToken", false);
    bad |= json_set_bool(spec, "enableServiceLinks", false);
    bad |= json_set_int(spec, "terminationGracePeriodSeconds", template_grace(q->template) + EXTRA_GRACE);
    bad |= affinity_require(spec, &(struct placement){.node = q->node});
    bad |= pod_parts_add_volume(spec, provider_attributes(q));
    return bad;
}

int provider_pod_build(const struct pod_request *q, struct json **ret)
{
    char name[SC_NAME_MAX + sizeof(SC_PROVIDER_SUFFIX)];
    _cleanup_json_ struct json *pod = NULL;

    snprintf(name, sizeof(name), "%s" SC_PROVIDER_SUFFIX, json_str_or(q->sci, "metadata.name", ""));
    pod = pod_parts_new(json_str_or(q->sci, "metadata.namespace", ""), name, SC_ROLE_PROVIDER, q->sci);
    if (!pod || set_metadata(pod, q) || set_spec(json_field(pod, "spec"), q))
        return -ENOMEM;
    *ret = take_ptr(pod);
    return 0;
}

static struct json *resized(const struct json *container, const char *cpu)
{
    _cleanup_json_ struct json *c = json_new_object();
    const struct json *now = json_field(container, "resources");
    struct json *resources = json_copy(now);
    int bad = !c || !resources;

    bad |= bad || json_set_str(json_field(resources, "requests"), "cpu", cpu);
    bad |= bad || json_set_str(json_field(resources, "limits"), "cpu", cpu);
    bad |= json_set(c, "resources", resources);
    bad |= json_set_str(c, "name", json_str_or(container, "name", ""));
    return bad ? NULL : take_ptr(c);
}

int provider_pod_settle(const struct json *pod, struct json **ret)
{
    const char *cpu = json_string(json_field(json_at(pod, "metadata.annotations"), SC_ANNOTATION_FINAL_CPU));
    _cleanup_json_ struct json *body = json_new_object();
    struct json *containers = json_ensure_array(json_ensure_object(body, "spec"), "containers");
    bool differs = false;
    int bad = !containers;

    json_for_each (container, json_at(pod, "spec.containers")) {
        differs = differs || (cpu && strcmp(json_str_or(container, "resources.limits.cpu", ""), cpu) != 0);
        if (cpu)
            bad |= json_append(containers, resized(container, cpu));
    }
    /* The uid is a precondition: never another pod of this name. */
    bad |= json_set_str(json_ensure_object(body, "metadata"), "uid", json_str_or(pod, "metadata.uid", ""));
    if (bad)
        return -ENOMEM;
    *ret = differs ? take_ptr(body) : NULL;
    return 0;
}
