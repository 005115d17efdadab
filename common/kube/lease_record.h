/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Lease object says and how it is written. Pure.
 */
#pragma once

#include "common/base/clock.h"
#include "common/json/json.h"

struct lease_writer {
    const char *namespace;
    const char *name;
    const char *identity;
    usec_t duration;
    usec_t now; /* CLOCK_REALTIME, for what people read; nobody decides by it */
};

/* Who holds it: "" for nobody. */
const char *lease_holder(const struct json *lease);

/* How long a candidate must see the record unchanged: what the holder wrote, where it is between a second and
 * an hour, else `fallback`. */
usec_t lease_duration(const struct json *lease, usec_t fallback);

/* The body of a create that makes the writer the holder. NULL: out of memory. */
struct json *lease_create(const struct lease_writer *w) _must_check_;

/* A JSON patch that does so; it fails when the record is not the one given any more. NULL: out of memory. */
struct json *lease_take(const struct lease_writer *w, const struct json *old) _must_check_;

/* JSON patches that fail unless the writer is the holder still. NULL: out of memory. */
struct json *lease_renew(const struct lease_writer *w) _must_check_;
struct json *lease_give_back(const struct lease_writer *w) _must_check_;
