/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registration with the kubelet (pluginregistration.Registration): a socket in its plugins_registry
 * directory.
 *
 * The kubelet sees the socket appear, asks GetInfo (it waits one second for the answer), calls NodeGetInfo on
 * the CSI endpoint, and says by NotifyRegistrationStatus how it went. It repeats all of that when it
 * restarts: the agent only stays there. Hence the order: node service first, then this; at the end this
 * first. While the socket does not exist the kubelet counts the driver as gone, and volumes wait.
 */
#pragma once

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/loop.h"

struct csi_registration;

/* registered as the kubelet said; text is its error when not. May be called again and again. */
typedef void (*csi_registered_fn)(bool registered, const char *text, void *user);

struct csi_registration_config {
    const char *registry_dir; /* <kubelet root>/plugins_registry, as the agent sees it */
    const char *driver_name;
    const char *endpoint; /* path of the CSI socket, as the kubelet sees it */
    csi_registered_fn on_status; /* may be NULL */
    void *user;
};

/* Makes <registry_dir>/<driver_name>-reg.sock and answers on it. Strings are copied. */
int csi_registration_new(struct loop *loop, const struct csi_registration_config *config,
        struct csi_registration **ret, struct err *err);

/* Unlinks the socket, by which the kubelet unregisters the driver. Returns NULL; accepts NULL. */
struct csi_registration *csi_registration_free(struct csi_registration *reg);
DEFINE_CLEANUP_FUNC(struct csi_registration *, csi_registration_free);
#define _cleanup_csi_registration_ _cleanup_(csi_registration_freep)
