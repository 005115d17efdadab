/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What volumes may not do: see template_volumes.h. Init containers have no preserved root: for them only our
 * volume itself is out of bounds.
 */
#include "controller/template_volumes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"

char *template_clean_path(const char *path)
{
    char *clean = malloc(strlen(path) + 2);
    size_t at = 0;

    if (!clean)
        return NULL;
    while (*path) {
        size_t len = strcspn(path, "/");

        if (len == 2 && memcmp(path, "..", 2) == 0) {
            while (at > 0 && clean[--at] != '/')
                ;
        } else if (len > 1 || (len == 1 && *path != '.')) {
            clean[at++] = '/';
            memcpy(clean + at, path, len);
            at += len;
        }
        path += len + (path[len] == '/');
    }
    if (at == 0)
        clean[at++] = '/';
    clean[at] = '\0';
    return clean;
}

static bool is_below(const char *path, const char *directory)
{
    size_t len = strlen(directory);

    return strncmp(path, directory, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static int check_names(const struct template *t, const char *list, struct err *err)
{
    json_for_each (container, json_field(t->spec, list))
        json_for_each (mount, json_field(container, "volumeMounts"))
            if (strcmp(json_str_or(mount, "name", ""), SC_VOLUME_NAME) == 0)
                return err_say(err, EINVAL,
                        "container %s mounts the volume %s, which attaches the preserved root and is not the "
                        "template's: remove it",
                        json_str_or(container, "name", ""), SC_VOLUME_NAME);
    return 0;
}

static int check_mount(const char *container, const char *path, bool chroot, struct err *err)
{
    _cleanup_free_ char *clean = template_clean_path(path);

    if (!clean)
        return err_set(err, ENOMEM, "reading the template");
    if (is_below(clean, SC_MOUNT_DIR))
        return err_say(err, EINVAL,
                "container %s mounts a volume at %s; " SC_MOUNT_DIR " is ours: choose another path",
                container, path);
    if (chroot && is_below(clean, SC_CHROOT_ROOT))
        return err_say(err, EINVAL,
                "container %s mounts a volume at %s; with attach: Chroot the preserved root is "
                "at " SC_CHROOT_ROOT ": choose another path, or use attach: Pivot",
                container, path);
    if (strcmp(clean, "/") == 0)
        return err_say(err, EINVAL,
                "container %s mounts a volume at %s: the root is what is preserved, and no container can "
                "start "
                "with a volume in its place; choose another path",
                container, path);
    return 0;
}

/* The runtime makes a device's node, which is no mount, in the container's own root, and that is left behind
 * when the preserved one takes its place: but for /dev, which is a mount and goes along. */
static int check_device(const char *container, const char *path, struct err *err)
{
    _cleanup_free_ char *clean = template_clean_path(path);

    if (!clean)
        return err_set(err, ENOMEM, "reading the template");
    if (!is_below(clean, "/dev"))
        return err_say(err, EINVAL,
                "container %s has a block volume at %s: its device can be given to a preserved root in /dev "
                "only; choose a devicePath there",
                container, path);
    return 0;
}

int template_check_volumes(const struct template *t, struct err *err)
{
    int r;

    json_for_each (volume, json_field(t->spec, "volumes"))
        if (strcmp(json_str_or(volume, "name", ""), SC_VOLUME_NAME) == 0)
            return err_say(err, EINVAL,
                    "the template has a volume named %s, the name of the volume that attaches the preserved "
                    "root: rename it",
                    SC_VOLUME_NAME);
    r = check_names(t, "containers", err);
    if (r == 0)
        r = check_names(t, "initContainers", err);
    json_for_each (container, template_containers(t)) {
        const char *name = json_str_or(container, "name", "");

        json_for_each (mount, json_field(container, "volumeMounts"))
            if (r == 0)
                r = check_mount(name, json_str_or(mount, "mountPath", ""), t->chroot, err);
        json_for_each (device, json_field(container, "volumeDevices"))
            if (r == 0)
                r = check_device(name, json_str_or(device, "devicePath", ""), err);
    }
    return r;
}
