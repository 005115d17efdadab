/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod template of a StoppableContainer: read once, in whichever of the two forms it was written, and
 * given to the rest of the controller as one pod spec (the full form). PURE.
 *
 * What the CRD's schema cannot say is refused here with a sentence for the Ready condition: what would make
 * the preserved root wrong (user namespaces), what has no such root (Windows, sandboxed runtimes), and what
 * would collide with our own volume. Everything else is left to the API server, which refuses a pod in its
 * own words when the pod is made.
 */
#pragma once

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/json/json.h"

enum { TEMPLATE_HASH_MAX = 33 }; /* 32 hex digits and a NUL */

struct template
{
    struct json *spec; /* full form, owned; nodeName and ephemeralContainers are gone from it */
    const struct json *labels; /* of spec.template.metadata, borrowed from the SC; may be NULL */
    const struct json *annotations;
    const char *node_name; /* spec.nodeName of the template, borrowed from the SC; NULL when none */
    bool chroot; /* attach: Chroot */
    char hash[TEMPLATE_HASH_MAX]; /* of all that makes a difference to the pods */
};

/* What the cluster's owner allows, from the command line. */
struct template_rules {
    const char *runtime_classes; /* comma-separated names that run plain Linux containers; "" allows none */
};

/* -EINVAL: refused, with the sentence in err (ret->hash is set nevertheless). -ENOMEM. */
int template_parse(const struct json *sc, const struct template_rules *rules, struct template *ret,
        struct err *err) _must_check_;
void template_free(struct template *t);
#define _cleanup_template_ _cleanup_(template_free)

/* The containers that have a preserved root, in the template's order. */
static inline const struct json *template_containers(const struct template *t)
{
    return json_field(t->spec, "containers");
}

/* "a,b": names of the containers, or of those with readOnlyRootFilesystem: true. */
int template_container_names(const struct template *t, bool read_only_only, struct buf *b);

/* terminationGracePeriodSeconds, the API's default of 30 where it is absent. */
int64_t template_grace(const struct template *t);
int64_t template_grace_of(int64_t seconds); /* the same, of a pod's terminationGracePeriodSeconds */

/* Is `word` one of the comma-separated words of `list`? */
bool template_listed(const char *list, const char *word);
