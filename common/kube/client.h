/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the API server, asynchronous on the event loop.
 *
 *     struct kube_request req = {.verb = KUBE_CREATE, .resource = &kube_pods, .namespace = ns, .body = pod,
 *             .done = pod_created, .user = self};
 *     r = kube_request_start(client, &req, &call, &err);
 *
 * `done` comes exactly once for a call that started and was not cancelled, from the loop, never from inside
 * kube_request_start. Everything in its result is the client's and valid during the callback only; a callback
 * that wants to keep the object takes it: `take_ptr(result->object)` (then json_free is the callback's).
 *
 * Each call has a deadline (15 s where none is given). Nothing is tried again here, with one exception: after
 * a 401 the credential files are read again, and when they changed the request is sent a second time. When to
 * try again is the caller's decision; `retry_after` says when the server asked for it.
 *
 * Writes are made with fieldValidation=Strict, so a field that the server does not know is an error in the
 * server's words and never dropped silently.
 */
#pragma once

#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/json/json.h"
#include "common/kube/config.h"
#include "common/kube/resource.h"

struct kube_client;
struct kube_call;

/* The outcome of a call. code:
 *   0            the server answered 2xx; object is its answer (a Status for some deletes), never NULL
 *   -ENOENT      404 NotFound
 *   -EEXIST      409 AlreadyExists
 *   -ESTALE      409 Conflict: resourceVersion or uid precondition failed; 410 Expired or Gone
 *   -EINVAL      400, 415, 422: the request or the object is not valid
 *   -EACCES      401
 *   -EPERM       403: RBAC, quota, admission
 *   -EAGAIN      429, 503, 504: the server asks to come back, after retry_after where that is not 0
 *   -EREMOTEIO   any other answer (500 ...)
 *   -EBADMSG     a 2xx answer that is no JSON object
 *   others       no answer: -ETIMEDOUT, -ECONNREFUSED, -ECONNRESET, ... as common/http gives them. A write
 *                may or may not have happened
 *
 * A caller that must tell 409 from 410, or knows a special reason, looks at http and reason. */
struct kube_result {
    int code;
    long http; /* 0 when no answer came */
    const char *reason; /* metav1.Status reason ("AlreadyExists"), "" when there is none; never NULL */
    const char *message; /* code < 0: for a person: the server's own words, or what broke; never NULL */
    struct json *object;
    usec_t retry_after; /* 0: not given */
};

typedef void (*kube_done_fn)(struct kube_result *result, void *user);

/* No API server answered at all: nothing listens, the way is cut, or a proxy in between said so (502, 503 or 504
 * without Retry-After, and not in an API server's own words). Trying again costs no server anything. */
bool kube_unreached(const struct kube_result *result);

enum kube_verb {
    KUBE_GET,
    KUBE_CREATE,
    KUBE_UPDATE, /* PUT of the whole body: fails with -ESTALE unless its resourceVersion is the current one */
    KUBE_MERGE_PATCH, /* RFC 7386; body an object */
    KUBE_JSON_PATCH, /* RFC 6902; body an array */
    KUBE_DELETE,
};

struct kube_request {
    enum kube_verb verb;
    const struct kube_resource *resource;
    const char *namespace; /* NULL for cluster-scoped resources */
    const char *name; /* NULL for KUBE_CREATE */
    const char *subresource; /* "status", or NULL */
    const struct json *body; /* KUBE_GET, KUBE_DELETE: NULL. Written out at once: stays the caller's */

    /* KUBE_DELETE only */
    const char *uid; /* delete only the object of this uid, else -ESTALE; NULL: whatever has the name */
    const char *version; /* and only as it is in this resourceVersion, else -ESTALE; NULL: in any */
    int64_t grace_seconds; /* 0: the object's own. Deletion without grace is not offered: it frees the name while
                            * processes may run on */
    const char *propagation; /* "Background", "Foreground", "Orphan"; NULL: the resource's default */

    usec_t timeout; /* 0: 15 s for KUBE_GET, else 40 s */
    bool urgent; /* does not wait for other requests, which a dead webhook may hold for long; two at a time */
    bool fresh_connection; /* not on one that is there, which may lead nowhere */
    kube_done_fn done;
    void *user;
};

/* The config is the client's from then on, also on failure. user_agent: "sc-controller/0.1.0". */
int kube_client_new(struct loop *loop, struct kube_config *config, const char *user_agent,
        struct kube_client **ret, struct err *err) _must_check_;
/* Lists, watches, reflectors and leases of the client must be gone before. */
struct kube_client *kube_client_free(
        struct kube_client *client); /* cancels all calls; accepts NULL, returns NULL */
DEFINE_CLEANUP_FUNC(struct kube_client *, kube_client_free);
#define _cleanup_kube_client_ _cleanup_(kube_client_freep)

/* fn: called when a list has shown that the API server knows less than it did: its etcd was restored from an older
 * backup (KEP-5504: versions of one resource can be compared). What was read since then is no state of the cluster, and no watch
 * tells the difference; so it is best to end, and start anew. Not called from within a call of ours. */
void kube_client_on_went_back(
        struct kube_client *client, void (*fn)(const char *message, void *user), void *user);

struct loop *kube_client_loop(const struct kube_client *client);
const struct kube_config *kube_client_config(const struct kube_client *client);

/* ret_call may be NULL when the call is never cancelled. Strings of the request are not needed afterwards. */
int kube_request_start(struct kube_client *client, const struct kube_request *request,
        struct kube_call **ret_call, struct err *err) _must_check_;

/* No callback comes any more; the request itself may still reach the server. May be called from any
 * callback. After `done` the call is gone and must not be cancelled. Accepts NULL; returns NULL. */
struct kube_call *kube_call_cancel(struct kube_call *call);

/* For the metrics. Counted when sent; a request sent again after a 401 counts twice. */
struct kube_stats {
    uint64_t reads; /* get, and every page of a list */
    uint64_t writes; /* create, update, patch, delete */
    uint64_t watches;
    uint64_t failures; /* results of the above with code < 0 */
};
struct kube_stats kube_client_stats(const struct kube_client *client);
