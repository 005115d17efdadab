/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP transfers on the event loop: the only door to libcurl.
 *
 * One http_client is a connection pool (a curl multi handle driven by the loop's io and timer sources) for
 * one kind of peer. A request is started, and its callbacks are called from the loop; nothing blocks, no
 * thread is made (curl's resolver threads are the exception for host names; unix sockets and numeric hosts
 * need none).
 *
 * Order of the callbacks of one request: header* data* trailer-header* done. `done` comes exactly once for
 * each request that started and was not cancelled, never from inside http_start; when it returns the request
 * is gone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/loop.h"

struct http_client;
struct http_request;

/* How to reach and trust a peer; strings are copied. NULL where it does not apply. PEM given as bytes
 * (blobs), not paths, so that a rotated file is a new config and nothing is half-read by curl. */
struct http_tls {
    const char *ca_pem; /* NULL: the system's */
    const char *cert_pem; /* client certificate chain */
    const char *key_pem; /* its key */
    const char *server_name; /* name to verify instead of the URL's host */
    bool insecure; /* kubeconfig's insecure-skip-tls-verify */
};

struct http_client_config {
    const char *unix_socket; /* path of a unix socket to connect to instead of the URL's host */
    bool http2_prior_knowledge; /* gRPC over clear text */
    const struct http_tls *tls;
    unsigned max_connections; /* and requests at a time: the others wait, within their deadlines. 0: 8 */
};

struct http_result {
    int code; /* 0, or negative errno of a transfer that broke: -ETIMEDOUT, -ECONNREFUSED, -ECONNRESET, -E2BIG
                 ... */
    long status; /* HTTP status, 0 when none came */
    usec_t retry_after; /* Retry-After of the answer, 0 when absent; capped at one hour */
    const struct err *err; /* text for a person when code < 0: "GET URL: what happened" */
};

/* data: return 0, or a negative errno to end the transfer with that code. */
typedef int (*http_data_fn)(struct http_request *req, const void *bytes, size_t len, void *user);
/* One header or trailer line, name in lower case, value trimmed. */
typedef void (*http_header_fn)(struct http_request *req, const char *name, const char *value, void *user);
typedef void (*http_done_fn)(struct http_request *req, const struct http_result *result, void *user);

struct http_request_spec {
    const char *method; /* "GET", "POST", "PATCH", "PUT", "DELETE" */
    const char *url;
    const char *const *headers; /* NULL-terminated "Name: value", or NULL */
    const void *body; /* copied */
    size_t body_len;
    usec_t timeout; /* whole transfer; USEC_INFINITY: none; 0 is refused */
    usec_t connect_timeout; /* 0: 10 s */
    size_t max_body; /* larger answers end with -E2BIG; 0: no cap (the data callback keeps its own) */
    bool fresh_connection; /* do not reuse one */
    bool own_connection; /* and close it afterwards */
    http_data_fn on_data; /* may be NULL: the body is dropped */
    http_header_fn on_header; /* may be NULL */
    http_done_fn on_done;
    void *user;
};

int http_client_new(struct loop *loop, const struct http_client_config *config, struct http_client **ret,
        struct err *err);
struct http_client *http_client_free(
        struct http_client *c); /* cancels what is under way; from any callback; returns NULL; accepts NULL */
DEFINE_CLEANUP_FUNC(struct http_client *, http_client_free);
#define _cleanup_http_client_ _cleanup_(http_client_freep)

/* Other credentials for the requests that start from now on (those under way keep theirs, and a connection is
 * never shared between the two). tls NULL: none. -ENOMEM leaves the old ones. */
int http_client_set_tls(struct http_client *c, const struct http_tls *tls);

int http_start(struct http_client *c, const struct http_request_spec *spec, struct http_request **ret,
        struct err *err);

/* Ends a request: no callback comes any more. May be called from a callback of the same request. Accepts
 * NULL; returns NULL. */
struct http_request *http_cancel(struct http_request *req);

/* HTTP status so far (0 before the headers). For on_data that must know whether it reads an error body. */
long http_status(const struct http_request *req);

/* Percent-encodes one path segment or query value (RFC 3986 unreserved characters stay). */
int http_escape(struct buf *b, const char *text);
