/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the template: see template.h. The order is: hash (of the template as written), full form, checks.
 *
 * The short form is one flat object in which a container's fields and a pod's fields stand side by side.
 * Three names exist in both (pod v1 reference): `resources` and `securityContext` are read as the
 * container's, except for the fields of securityContext that only a pod has; `restartPolicy` is the pod's.
 */
#include "controller/template.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/hash/sha256.h"
#include "common/names.h"
#include "controller/slim.h"
#include "controller/template_check.h"

/* Ten years: what is longer is as good as for ever, and must not overflow where it is counted in microseconds. */
enum { GRACE_MAX = 10 * 365 * 24 * 3600 };

static const char *const container_fields[] = {"args", "command", "env", "envFrom", "image",
        "imagePullPolicy", "lifecycle", "livenessProbe", "ports", "readinessProbe", "resizePolicy",
        "resources", "restartPolicyRules", "securityContext", "startupProbe", "stdin", "stdinOnce",
        "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts",
        "workingDir"};

/* Fields of PodSecurityContext that SecurityContext does not have. */
static const char *const pod_security_fields[] = {"fsGroup", "fsGroupChangePolicy", "seLinuxChangePolicy",
        "supplementalGroups", "supplementalGroupsPolicy", "sysctls"};

static bool listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

bool template_listed(const char *list, const char *word)
{
    size_t len = strlen(word);

    if (!list || len == 0)
        return false;
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");

        if (n == len && strncmp(p, word, n) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

/* Everything of the SC's spec that a running pod was made from. What only acts at other times (running,
 * rootfs, hostPathPrefix) is no reason to restart anything. */
static int hash_template(const struct json *sc, char ret[TEMPLATE_HASH_MAX])
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_API_OBJECT);
    uint8_t digest[SHA256_SIZE];
    const struct json *template = json_at(sc, "spec.template");
    int r = 0;

    if (template)
        r = json_write_canonical(template, &text);
    if (r < 0)
        return r;
    r = buf_printf(&text, "\n%s", json_str_or(sc, "spec.attach", "Pivot"));
    if (r < 0)
        return r;
    if (sha256(text.data, text.len, digest) < 0)
        return -ENOMEM;
    sha256_hex(digest, (TEMPLATE_HASH_MAX - 1) / 2, ret);
    return 0;
}

/* A container may have restartPolicyRules only beside a restartPolicy of its own (KEP-5307): in the short
 * form the one that was written is meant for both, or the pod's default. */
static int copy_restart_policy(const struct json *flat, struct json *container)
{
    if (!json_field(flat, "restartPolicyRules"))
        return 0;
    return json_set_str(container, "restartPolicy", json_str_or(flat, "restartPolicy", "Always"));
}

/* Moves the pod's part of the short form's securityContext to the pod. */
static int split_security(struct json *pod, struct json *container)
{
    struct json *security = json_field(container, "securityContext");
    int bad = 0;

    for (size_t i = 0; security && i < ARRAY_SIZE(pod_security_fields); i++) {
        const char *name = pod_security_fields[i];
        struct json *value = json_field(security, name);

        if (!value)
            continue;
        bad |= json_set(json_ensure_object(pod, "securityContext"), name, json_copy(value));
        json_remove(security, name);
    }
    return bad ? -ENOMEM : 0;
}

static int expand_short_form(const struct json *sc, struct json **ret)
{
    const struct json *flat = json_at(sc, "spec.template.spec");
    const struct json *volumes = json_at(sc, "spec.template.volumes");
    _cleanup_json_ struct json *pod = json_new_object();
    struct json *containers = json_ensure_array(pod, "containers");
    struct json *container = json_new_object();
    int bad = json_append(containers, container);

    if (bad)
        return -ENOMEM;
    bad |= json_set_str(container, "name", json_str_or(flat, "name", SC_MAIN_CONTAINER));
    json_for_each (field, flat) {
        const char *name = json_key(field);
        bool of_container = listed(container_fields, ARRAY_SIZE(container_fields), name);

        if (strcmp(name, "name") != 0)
            bad |= json_set(of_container ? container : pod, name, json_copy(field));
    }
    if (volumes)
        bad |= json_set(pod, "volumes", json_copy(volumes));
    bad |= copy_restart_policy(flat, container);
    bad |= split_security(pod, container);
    if (bad)
        return -ENOMEM;
    *ret = take_ptr(pod);
    return 0;
}

int template_parse(
        const struct json *sc, const struct template_rules *rules, struct template *ret, struct err *err)
{
    const struct json *spec = json_at(sc, "spec.template.spec");
    struct template t = {
            .labels = json_at(sc, "spec.template.metadata.labels"),
            .annotations = json_at(sc, "spec.template.metadata.annotations"),
            .node_name = json_str(spec, "nodeName"),
            .chroot = strcmp(json_str_or(sc, "spec.attach", SC_ATTACH_PIVOT), SC_ATTACH_CHROOT) == 0,
    };
    int r;

    r = hash_template(sc, t.hash);
    if (r < 0)
        return err_set(err, r, "hashing the template");
    memcpy(ret->hash, t.hash, sizeof(t.hash));
    if (json_at(sc, "spec." SLIM_FIELD))
        return err_say(err, EINVAL,
                "spec has %lld fields and list items, more than %d: it is not looked at. Make it smaller: "
                "long lists can be in a ConfigMap, say",
                (long long)json_int_or(sc, "spec." SLIM_FIELD, 0), LIMIT_SPEC_VALUES);
    r = template_check_form(sc, err);
    if (r < 0)
        return r;
    if (json_field(spec, "containers")) {
        t.spec = json_copy(spec);
        r = t.spec ? 0 : -ENOMEM;
    } else {
        r = expand_short_form(sc, &t.spec);
    }
    if (r < 0)
        return err_set(err, r, "reading the template");
    json_remove(t.spec, "nodeName");
    json_remove(t.spec, "ephemeralContainers");
    r = template_check(sc, &t, rules, err);
    if (r < 0) {
        template_free(&t);
        return r;
    }
    *ret = t;
    return 0;
}

void template_free(struct template *t)
{
    t->spec = json_free(t->spec);
}

int template_container_names(const struct template *t, bool read_only_only, struct buf *b)
{
    bool first = true;

    json_for_each (container, template_containers(t)) {
        if (read_only_only && !json_bool_or(container, "securityContext.readOnlyRootFilesystem", false))
            continue;
        if (!first)
            buf_putc(b, ',');
        buf_puts(b, json_str_or(container, "name", ""));
        first = false;
    }
    return buf_error(b);
}

int64_t template_grace(const struct template *t)
{
    return template_grace_of(json_int_or(t->spec, "terminationGracePeriodSeconds", 30));
}

int64_t template_grace_of(int64_t seconds)
{
    return seconds < 0 ? 1 : seconds > GRACE_MAX ? GRACE_MAX : seconds;
}
