/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events (core/v1): what happened to an object, for `kubectl describe` and `kubectl get events`. Built here,
 * sent as any object: KUBE_CREATE on kube_events in the namespace of the object.
 */
#pragma once

#include <stdbool.h>

#include "common/base/clock.h"
#include "common/json/json.h"

struct kube_event {
    const struct json *about; /* the object: apiVersion, kind and metadata are read */
    const char *api_version; /* of the object, where it does not carry its own (items of a list), or NULL */
    const char *kind;
    bool warning; /* type Warning, else Normal */
    const char *reason; /* "ProviderLost": CamelCase, at most 128 bytes */
    const char *message; /* cut at 1024 bytes, as the API demands, between two characters */
    const char *component; /* "sc-controller" */
    const char *host; /* the reporting instance: the pod's name */
    usec_t now; /* CLOCK_REALTIME */
};

/* NULL: out of memory, or `about` has no name or kind. */
struct json *kube_event_new(const struct kube_event *event) _must_check_;
