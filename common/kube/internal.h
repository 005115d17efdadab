/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange that requests, lists and watches are made of: one HTTP request with our credentials, and its
 * answer in the API server's terms. And the little that they share besides.
 */
#pragma once

#include "common/base/list.h"
#include "common/http/http.h"
#include "common/kube/client.h"

/* Bytes of a 2xx answer as they come. 0, or a negative errno that ends the exchange. */
typedef int (*kube_bytes_fn)(const void *bytes, size_t len, void *user);

struct kube_exchange {
    const char *method;
    const char *path; /* path and query */
    const char *content_type; /* of the body, NULL without */
    char *body; /* taken over, also on failure; NULL: none */
    size_t body_len;
    usec_t timeout;
    size_t max_body; /* of a 2xx answer that is collected */
    bool watch; /* on a connection of its own */
    bool urgent, fresh_connection; /* as in kube_request */
    void (*opened)(void *user); /* a 2xx answer has begun; may cancel. NULL: not wanted */
    kube_bytes_fn bytes; /* NULL: the answer is collected and parsed */
    kube_done_fn done; /* result->object is NULL when bytes is given */
    void *user;
};

int kube_exchange_start(
        struct kube_client *client, struct kube_exchange *exchange, struct kube_call **ret, struct err *err);

/* Connections: none waits for those of another pool. */
enum kube_pool { KUBE_POOL_REQUESTS, KUBE_POOL_URGENT, KUBE_POOL_WATCHES, KUBE_POOLS };

struct kube_client {
    struct loop *loop;
    struct kube_config *config;
    struct http_client *pools[KUBE_POOLS];
    usec_t watch_silence; /* how long a watch that has bookmarks may be without one */
    bool tls_stale; /* a pool may not have the configuration's certificates yet */
    void (*went_back)(const char *message, void *user); /* kube_client_on_went_back */
    void *went_back_user;
    char *user_agent; /* the header line */
    struct list calls; /* all that are under way */
    usec_t credentials_read;
    struct kube_stats stats;
};

/* call.c */
void kube_call_free(struct kube_call *call);
struct kube_call *kube_call_from_list(struct list *node);

/* credentials.c: the header line for the bearer token, NULL without one; -ENOMEM. */
int kube_authorization(const struct kube_client *client, char **ret_header) _must_check_;
/* Reads credential files again when the last time is five minutes ago. Failures leave what we have. */
bool kube_went_back(const struct kube_client *client, const char *message); /* false: nobody wants to know */
void kube_refresh_credentials(struct kube_client *client, usec_t now);
/* Reads them again now. True when they are others than before, so that trying again makes sense. */
bool kube_renew_credentials(struct kube_client *client);

/* status.c: pure. The code of struct kube_result for an HTTP status and a Status reason. */
int kube_code_of(long http, const char *reason);
/* Fills code, http, reason, message and retry_after (where not given yet) from a Status object, or from the
 * text of an answer that is none. The result borrows from status and err. */
void kube_result_of_status(struct kube_result *result, const struct json *status);
void kube_result_of_text(struct kube_result *result, const char *text, struct err *err);

/* Appends "?key=value" or "&key=value", both escaped. value NULL: nothing. */
int kube_query_add(struct buf *path, const char *key, const char *value);
