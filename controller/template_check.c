/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/template_check.h"
/*
 * The refusals: see template_check.h. Each check looks at one subject; the first that fails is told, so that
 * a person mends one thing at a time.
 */

#include <string.h>
#include <strings.h>

#include "common/base/limits.h"
#include "common/names.h"
#include "controller/quantity.h"
#include "controller/template_volumes.h"

/* A limit below this could not even hold the directories that an image's start makes. */
#define SIZE_LIMIT_MIN MIB

int template_check_form(const struct json *sc, struct err *err)
{
    const char *name = json_str_or(sc, "metadata.name", "");
    const struct json *spec = json_at(sc, "spec.template.spec");
    bool full = json_is_array(json_field(spec, "containers"));
    bool brief = json_str(spec, "image") != NULL;
    size_t len = strlen(name), suffix = strlen(SC_PROVIDER_SUFFIX);

    if (len > SC_NAME_MAX)
        return err_say(err, EINVAL,
                "the name %s is longer than %d characters, too long for a pod host name %s%s", name,
                SC_NAME_MAX, name, SC_PROVIDER_SUFFIX);
    if (len > suffix && strcmp(name + len - suffix, SC_PROVIDER_SUFFIX) == 0)
        return err_say(err, EINVAL, "the name %s ends in %s, which is the name of another one's provider pod",
                name, SC_PROVIDER_SUFFIX);
    if (full == brief)
        return err_say(err, EINVAL,
                "spec.template.spec must have either containers (a whole pod spec) or image (one container's "
                "fields)%s",
                full ? ", not both" : "");
    if (full && json_at(sc, "spec.template.volumes"))
        return err_say(err, EINVAL,
                "spec.template.volumes goes with the short form; with containers, volumes belong into "
                "spec.template.spec.volumes");
    return 0;
}

static int check_platform(const struct template *t, const struct template_rules *rules, struct err *err)
{
    const char *os = json_str_or(t->spec, "os.name", "linux");
    const struct json *selector = json_field(t->spec, "nodeSelector");
    const char *selected = json_string(json_field(selector, "kubernetes.io/os"));
    const char *runtime = json_str_or(t->spec, "runtimeClassName", "");

    if (strcmp(os, "linux") != 0 || (selected && strcmp(selected, "linux") != 0))
        return err_say(err, EINVAL,
                "the template asks for %s: a root filesystem can be preserved on Linux only",
                selected && strcmp(selected, "linux") != 0 ? selected : os);
    if (!json_bool_or(t->spec, "hostUsers", true))
        return err_say(err, EINVAL,
                "the template sets hostUsers: false: with user namespaces the owners of the preserved files "
                "would be "
                "wrong; remove it");
    if (runtime[0] && !template_listed(rules->runtime_classes, runtime))
        return err_say(err, EINVAL,
                "the template asks for RuntimeClass %s: a sandboxed runtime has no root filesystem that can "
                "be "
                "attached; if %s runs plain Linux containers, add it to the controller's --runtime-classes",
                runtime, runtime);
    return 0;
}

static int check_containers(const struct template *t, struct err *err)
{
    const struct json *containers = template_containers(t);

    if (json_len(containers) == 0 || json_len(containers) > LIMIT_CONTAINERS)
        return err_say(err, EINVAL, "the template must have between 1 and %d containers", LIMIT_CONTAINERS);
    json_for_each (container, containers) {
        const char *name = json_str_or(container, "name", "");

        if (!name[0] || !json_str(container, "image"))
            return err_say(err, EINVAL, "every container of the template needs a name and an image");
        if (json_at(container, "securityContext.windowsOptions"))
            return err_say(err, EINVAL, "container %s has windowsOptions: Linux only", name);
        for (const struct json *other = json_next(container); other; other = json_next(other))
            if (strcmp(json_str_or(other, "name", ""), name) == 0)
                return err_say(err, EINVAL, "two containers of the template are named %s", name);
    }
    return 0;
}

/* Both spellings that runtimes take, in any case. */
static bool has_capability(const struct json *list, const char *name)
{
    json_for_each (item, list) {
        const char *text = json_string(item);

        if (text && strncasecmp(text, "CAP_", 4) == 0)
            text += 4;
        if (text && (strcasecmp(text, name) == 0 || strcasecmp(text, "ALL") == 0))
            return true;
    }
    return false;
}

/* Why the container cannot chroot(2), which needs CAP_SYS_CHROOT; NULL: nothing is known against it. A
 * process that is not root has it from a file capability only, which does nothing under no_new_privs
 * (capabilities(7)). A user that only the image names is not known here: execwrap tells then. */
static const char *cannot_chroot(const struct template *t, const struct json *container)
{
    const struct json *security = json_field(container, "securityContext");
    int64_t user = json_int_or(security, "runAsUser", json_int_or(t->spec, "securityContext.runAsUser", 0));
    bool non_root = user != 0 || json_bool_or(security, "runAsNonRoot",
                                         json_bool_or(t->spec, "securityContext.runAsNonRoot", false));

    if (has_capability(json_at(security, "capabilities.drop"), "SYS_CHROOT") &&
            !has_capability(json_at(security, "capabilities.add"), "SYS_CHROOT"))
        return "it drops the capability SYS_CHROOT";
    if (non_root && !json_bool_or(security, "allowPrivilegeEscalation", true))
        return "it is not root and forbids privilege escalation";
    return NULL;
}

static int check_chroot(const struct template *t, struct err *err)
{
    if (!t->chroot)
        return 0;
    json_for_each (container, template_containers(t)) {
        const char *why = cannot_chroot(t, container);

        if (why)
            return err_say(err, EINVAL,
                    "container %s cannot be attached by Chroot: %s; use attach: Pivot, which needs no "
                    "privilege of the "
                    "pod's own",
                    json_str_or(container, "name", ""), why);
    }
    return 0;
}

static int check_persistence(const struct json *sc, struct err *err)
{
    const char *persistence = json_str_or(sc, "spec.rootfs.persistence", SC_PERSISTENCE_PROVIDER);
    bool on_node = strcmp(persistence, SC_PERSISTENCE_NODE) == 0;
    uint64_t bytes;
    int r;

    if (!on_node && strcmp(persistence, SC_PERSISTENCE_PROVIDER) != 0)
        return err_say(err, EINVAL, "rootfs.persistence: %s is neither Provider nor Node", persistence);
    r = quantity_bytes(sc, "spec.rootfs.sizeLimit", &bytes);
    if (r == -ENOENT)
        return 0;
    if (!on_node)
        return err_say(err, EINVAL,
                "rootfs.sizeLimit goes with persistence: Node; a root of persistence Provider takes from its "
                "node's ephemeral storage");
    if (r < 0 || bytes < SIZE_LIMIT_MIN)
        return err_say(err, EINVAL,
                "rootfs.sizeLimit must be a size of at least 1Mi in bytes or with a suffix, such as 10Gi");
    return 0;
}

static int check_provider(const struct json *sc, const struct template *t, struct err *err)
{
    const struct json *selector = json_field(t->spec, "nodeSelector");

    json_for_each (wanted, json_at(sc, "spec.provider.nodeSelector")) {
        const char *key = json_key(wanted), *value = json_string(wanted);
        const char *other = json_string(json_field(selector, key));

        if (value && other && strcmp(value, other) != 0)
            return err_say(err, EINVAL,
                    "provider.nodeSelector wants %s=%s and the template's nodeSelector %s=%s: both pods must "
                    "be on one "
                    "node",
                    key, value, key, other);
    }
    return 0;
}

int template_check(
        const struct json *sc, const struct template *t, const struct template_rules *rules, struct err *err)
{
    int r;

    r = check_containers(t, err);
    if (r == 0)
        r = check_platform(t, rules, err);
    if (r == 0)
        r = template_check_volumes(t, err);
    if (r == 0)
        r = check_chroot(t, err);
    if (r == 0)
        r = check_persistence(sc, err);
    if (r == 0)
        r = check_provider(sc, t, err);
    return r;
}
