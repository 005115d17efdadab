/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What client.c (the pool and the loop), request.c (one transfer) and outcome.c (curl's codes in our words)
 * share. Only they include curl.
 */
#pragma once

#include <curl/curl.h>

#include "common/base/list.h"
#include "common/http/http.h"

enum http_state {
    HTTP_QUEUED, /* goes to curl when no callback is on the stack and fewer than max_running are there */
    HTTP_RUNNING, /* curl has it */
    HTTP_BROKEN, /* curl has it, and it ends with `code` as soon as no callback is on the stack */
    HTTP_CANCELLED, /* curl may have it; freed as soon as no callback is on the stack */
    HTTP_FINISHED, /* its done callback is on the stack */
};

struct http_client {
    struct loop *loop;
    CURLM *multi;
    struct loop_source *timer; /* curl's */
    struct loop_source *queue_timer; /* not later than the earliest deadline of what is queued */
    usec_t queue_wakeup; /* when that is */
    char *unix_socket;
    bool http2;
    struct http_tls tls; /* strings are ours */
    bool has_tls;

    /* One list per state, except for finished requests, which are in none. */
    struct list queued;
    struct list running;
    struct list broken;
    struct list cancelled;
    size_t running_count;
    size_t max_running;

    unsigned depth; /* > 0: curl or a callback of ours is on the stack, so curl may not be called again */
    bool dead; /* http_client_free was called inside */
};

struct http_request {
    struct list node;
    struct http_client *client;
    enum http_state state;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    char *body;
    char *what; /* "GET https://host/path", for the error text */
    int code; /* why we ended it ourselves, else 0 */
    usec_t deadline;
    bool headers_done; /* the empty line after the last headers came */
    size_t max_body;
    size_t received;
    size_t header_bytes;
    http_data_fn on_data;
    http_header_fn on_header;
    http_done_fn on_done;
    void *user;
    char curl_text[CURL_ERROR_SIZE];
};

/* request.c */
int http_request_new(struct http_client *c, const struct http_request_spec *spec, struct http_request **ret,
        struct err *err);
void http_request_free(struct http_request *req); /* must not be in the multi handle any more */
/* To the list of that state; NULL: none. */
void http_request_move(struct http_request *req, struct list *list, enum http_state state);
/* Tells curl how much is left until the deadline. */
CURLcode http_request_set_deadline(struct http_request *req, usec_t now);

/* outcome.c: the result of a transfer that curl ended with rc. The text goes to err. */
void http_outcome(struct http_request *req, CURLcode rc, struct http_result *ret, struct err *err);
