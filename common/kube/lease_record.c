/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lease objects, read and written.
 */
#include "common/kube/lease_record.h"

#define DURATION_MAX_S 3600

const char *lease_holder(const struct json *lease)
{
    return json_str_or(lease, "spec.holderIdentity", "");
}

usec_t lease_duration(const struct json *lease, usec_t fallback)
{
    int64_t seconds = json_int_or(lease, "spec.leaseDurationSeconds", 0);

    return seconds >= 1 && seconds <= DURATION_MAX_S ? (usec_t)seconds * USEC_PER_SEC : fallback;
}

static int fill_spec(struct json *spec, const struct lease_writer *w, const struct json *old)
{
    int64_t transitions = json_int_or(old, "spec.leaseTransitions", 0);
    char now[CLOCK_TEXT_MAX];
    int r = json_set_str(spec, "holderIdentity", w->identity);

    clock_format_micro_time(w->now, now);
    if (r >= 0)
        r = json_set_int(spec, "leaseDurationSeconds", (int64_t)(w->duration / USEC_PER_SEC));
    if (r >= 0)
        r = json_set_str(spec, "acquireTime", now);
    if (r >= 0)
        r = json_set_str(spec, "renewTime", now);
    if (r >= 0)
        r = json_set_int(spec, "leaseTransitions", old ? transitions + 1 : 0);
    return r;
}

struct json *lease_create(const struct lease_writer *w)
{
    _cleanup_json_ struct json *lease = json_new_object();
    struct json *metadata, *spec;

    if (!lease || json_set_str(lease, "apiVersion", "coordination.k8s.io/v1") < 0 ||
            json_set_str(lease, "kind", "Lease") < 0)
        return NULL;
    metadata = json_ensure_object(lease, "metadata");
    spec = json_ensure_object(lease, "spec");
    if (!metadata || !spec || json_set_str(metadata, "namespace", w->namespace) < 0 ||
            json_set_str(metadata, "name", w->name) < 0 || fill_spec(spec, w, NULL) < 0)
        return NULL;
    return take_ptr(lease);
}

static int add_step(struct json *patch, const char *op, const char *path, struct json *value)
{
    struct json *step = json_new_object();
    int r;

    if (!step) {
        (void)json_free(value);
        return -ENOMEM;
    }
    r = json_set(step, "value", value);
    if (r >= 0)
        r = json_set_str(step, "op", op);
    if (r >= 0)
        r = json_set_str(step, "path", path);
    if (r < 0) {
        (void)json_free(step);
        return r;
    }
    return json_append(patch, step);
}

/* The whole spec is written, with what others may have put into it. */
struct json *lease_take(const struct lease_writer *w, const struct json *old)
{
    const struct json *had = json_field(old, "spec");
    _cleanup_json_ struct json *patch = json_new_array();
    _cleanup_json_ struct json *spec = json_is_object(had) ? json_copy(had) : json_new_object();
    const char *version = json_str_or(old, "metadata.resourceVersion", "");

    if (!patch || !spec || fill_spec(spec, w, old) < 0 ||
            add_step(patch, "test", "/metadata/resourceVersion", json_new_string(version)) < 0 ||
            add_step(patch, "add", "/spec", take_ptr(spec)) < 0)
        return NULL;
    return take_ptr(patch);
}

static struct json *patch_as_holder(const struct lease_writer *w)
{
    _cleanup_json_ struct json *patch = json_new_array();
    char now[CLOCK_TEXT_MAX];

    clock_format_micro_time(w->now, now);
    if (!patch || add_step(patch, "test", "/spec/holderIdentity", json_new_string(w->identity)) < 0 ||
            add_step(patch, "add", "/spec/renewTime", json_new_string(now)) < 0)
        return NULL;
    return take_ptr(patch);
}

struct json *lease_renew(const struct lease_writer *w)
{
    return patch_as_holder(w);
}

struct json *lease_give_back(const struct lease_writer *w)
{
    _cleanup_json_ struct json *patch = patch_as_holder(w);

    /* A second is the least the API server takes; a candidate that does not look at the holder waits no
     * longer. */
    if (!patch || add_step(patch, "add", "/spec/leaseDurationSeconds", json_new_int(1)) < 0 ||
            add_step(patch, "replace", "/spec/holderIdentity", json_new_string("")) < 0)
        return NULL;
    return take_ptr(patch);
}
