/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection pool: a curl multi handle driven by the loop.
 *
 * curl tells by its socket callback which fds it waits for, and by its timer callback for how long; both
 * become sources of the loop, and their events go back in by curl_multi_socket_action. An idle client with a
 * watch open has one io source and no timer armed.
 *
 * curl refuses to be called from inside its own callbacks. So what a callback of the user does (start,
 * cancel, free the client) is only noted while `depth` is above 0, and carried out by client_settle once
 * curl has returned.
 */
#include "common/http/internal.h"

#include <string.h>

enum { DEFAULT_CONNECTIONS = 8 };

static void client_settle(struct http_client *c);

static void client_destroy(struct http_client *c)
{
    struct list *lists[] = {&c->queued, &c->running, &c->broken, &c->cancelled};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        list_for_each (it, lists[i]) {
            struct http_request *req = list_entry(it, struct http_request, node);

            (void)curl_multi_remove_handle(c->multi, req->easy);
            http_request_free(req);
        }
    }
    if (c->multi)
        (void)curl_multi_cleanup(c->multi);
    (void)loop_remove(c->timer);
    (void)loop_remove(c->queue_timer);
    free(c->unix_socket);
    (void)http_client_set_tls(c, NULL);
    free(c);
}

/* curl had no memory to note a socket, and does not say whose: that request would wait until its deadline, a watch for
 * minutes. What it did note is not to be used any more either (7.88 divides by zero over it), so all begin anew. */
static void begin_anew(struct http_client *c)
{
    struct list *lists[] = {&c->running, &c->broken, &c->cancelled};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        list_for_each (it, lists[i]) {
            struct http_request *req = list_entry(it, struct http_request, node);

            (void)curl_multi_remove_handle(c->multi, req->easy);
            if (req->state != HTTP_RUNNING)
                continue;
            req->code = -ENOMEM;
            http_request_move(req, &c->broken, HTTP_BROKEN);
        }
    }
    (void)curl_multi_cleanup(c->multi);
    c->multi = NULL; /* made again with the next request */
}

static void client_run(struct http_client *c, curl_socket_t fd, int what)
{
    CURLMcode rc;
    int running = 0;

    c->depth++;
    rc = curl_multi_socket_action(c->multi, fd, what, &running);
    if (rc == CURLM_OUT_OF_MEMORY)
        begin_anew(c);
    c->depth--;
    client_settle(c);
}

static void on_io(struct loop_source *src, int fd, uint32_t events, void *data)
{
    int what = 0;

    (void)src;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        what |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        what |= CURL_CSELECT_ERR;
    client_run(data, fd, what);
}

static void on_timer(struct loop_source *src, usec_t now, void *data)
{
    (void)src;
    (void)now;
    client_run(data, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long timeout_ms, void *data)
{
    struct http_client *c = data;

    (void)multi;
    if (timeout_ms < 0)
        (void)loop_timer_set(c->timer, USEC_INFINITY);
    else
        (void)loop_timer_in(c->timer, (usec_t)timeout_ms * USEC_PER_MSEC);
    return 0;
}

/* A failure here must not be returned: curl would declare the whole multi handle dead. Only the request that
 * needed the socket ends. */
static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *sockp)
{
    struct http_client *c = data;
    struct loop_source *src = sockp;
    struct http_request *req = NULL;
    uint32_t events = 0;
    int r;

    if (what == CURL_POLL_REMOVE) {
        (void)loop_remove(src);
        (void)curl_multi_assign(c->multi, fd, NULL);
        return 0;
    }
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    if (src) {
        r = loop_io_set_events(src, events);
    } else {
        r = loop_add_io(c->loop, "http", fd, events, on_io, c, &src);
        if (r >= 0)
            (void)curl_multi_assign(c->multi, fd, src);
    }
    if (r < 0 && curl_easy_getinfo(easy, CURLINFO_PRIVATE, &req) == CURLE_OK && req) {
        req->code = r;
        if (req->state == HTTP_RUNNING)
            http_request_move(req, &c->broken, HTTP_BROKEN);
    }
    return 0;
}

static void finish(struct http_request *req, CURLcode rc)
{
    struct http_result result;
    struct err err = ERR_INIT;

    http_outcome(req, rc, &result, &err);
    (void)curl_multi_remove_handle(req->client->multi, req->easy);
    http_request_move(req, NULL, HTTP_FINISHED);
    req->on_done(req, &result, req->user);
    http_request_free(req);
}

static void reap_messages(struct http_client *c)
{
    CURLMsg *msg;
    int left;

    while (!c->dead && (msg = curl_multi_info_read(c->multi, &left))) {
        struct http_request *req = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        if (curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &req) != CURLE_OK || !req)
            continue;
        if (req->state == HTTP_RUNNING || req->state == HTTP_BROKEN)
            finish(req, msg->data.result);
    }
}

/* The limit of connections is kept by our own queue: that of curl 7.88 (MAX_TOTAL_CONNECTIONS) lets waiting
 * requests wait for ever when driven by multi_socket. MAXCONNECTS is how many may idle. */
static bool multi_setup(struct http_client *c)
{
    if (c->multi)
        return true;
    c->multi = curl_multi_init();
    return c->multi && curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) == CURLM_OK &&
           curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c) == CURLM_OK &&
           curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
           curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c) == CURLM_OK &&
           curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->max_running) == CURLM_OK;
}

static void add(struct http_request *req)
{
    if (multi_setup(req->client) && http_request_set_deadline(req, clock_monotonic()) == CURLE_OK &&
            curl_multi_add_handle(req->client->multi, req->easy) == CURLM_OK) {
        http_request_move(req, &req->client->running, HTTP_RUNNING);
        return;
    }
    req->code = -ENOMEM;
    http_request_move(req, &req->client->broken, HTTP_BROKEN);
}

static struct http_request *first(struct list *list)
{
    return list_empty(list) ? NULL : list_entry(list->next, struct http_request, node);
}

/* Does what could not be done under a callback, until nothing is left. A callback made from here may ask for
 * more, or for the client's end. */
static void client_settle(struct http_client *c)
{
    struct http_request *req;

    if (c->depth > 0)
        return;
    c->depth++;
    for (;;) {
        reap_messages(c);
        if (c->dead)
            break;
        if ((req = first(&c->cancelled))) {
            (void)curl_multi_remove_handle(c->multi, req->easy);
            http_request_free(req);
        } else if ((req = first(&c->broken))) {
            finish(req, CURLE_OK);
        } else if (c->running_count < c->max_running && (req = first(&c->queued))) {
            add(req);
        } else {
            break;
        }
    }
    c->depth--;
    if (c->dead)
        client_destroy(c);
}

static void set_queue_timer(struct http_client *c, usec_t at)
{
    c->queue_wakeup = at;
    (void)loop_timer_set(c->queue_timer, at);
}

/* Requests whose deadline passes while they wait for others to end. The timer may have been for one that does
 * not wait any more. */
static void on_queue_timer(struct loop_source *src, usec_t now, void *data)
{
    struct http_client *c = data;
    usec_t next = USEC_INFINITY;

    (void)src;
    list_for_each (it, &c->queued) {
        struct http_request *req = list_entry(it, struct http_request, node);

        if (req->deadline <= now) {
            req->code = -ETIMEDOUT;
            http_request_move(req, &c->broken, HTTP_BROKEN);
        } else if (req->deadline < next) {
            next = req->deadline;
        }
    }
    set_queue_timer(c, next);
    client_settle(c);
}

static void enqueue(struct http_request *req)
{
    struct http_client *c = req->client;

    http_request_move(req, &c->queued, HTTP_QUEUED);
    if (req->deadline < c->queue_wakeup)
        set_queue_timer(c, req->deadline);
}

static int global_init(struct err *err)
{
    static bool done;

    if (!done && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_say(err, ENOMEM, "cannot initialise the HTTP library");
    done = true;
    return 0;
}

int http_client_new(
        struct loop *loop, const struct http_client_config *config, struct http_client **ret, struct err *err)
{
    struct http_client *c;
    int r = global_init(err);

    if (r < 0)
        return r;
    c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(err, ENOMEM, "HTTP client");
    c->loop = loop;
    c->http2 = config->http2_prior_knowledge;
    c->max_running = config->max_connections ? config->max_connections : DEFAULT_CONNECTIONS;
    c->queue_wakeup = USEC_INFINITY;
    list_init(&c->queued);
    list_init(&c->running);
    list_init(&c->broken);
    list_init(&c->cancelled);
    r = loop_add_timer(loop, "http timer", on_timer, c, &c->timer);
    if (r >= 0)
        r = loop_add_timer(loop, "http queue", on_queue_timer, c, &c->queue_timer);
    if (r >= 0 && config->unix_socket) {
        c->unix_socket = strdup(config->unix_socket);
        r = c->unix_socket ? 0 : -ENOMEM;
    }
    if (r >= 0)
        r = http_client_set_tls(c, config->tls);
    if (r >= 0 && !multi_setup(c))
        r = -ENOMEM;
    if (r < 0) {
        client_destroy(c);
        return err_set(err, r, "HTTP client");
    }
    *ret = c;
    return 0;
}

struct http_client *http_client_free(struct http_client *c)
{
    if (!c)
        return NULL;
    c->dead = true;
    if (c->depth == 0) {
        client_destroy(c);
        return NULL;
    }
    /* Under a callback: no request of this client may call back any more. */
    while (!list_empty(&c->running))
        (void)http_cancel(first(&c->running));
    while (!list_empty(&c->broken))
        (void)http_cancel(first(&c->broken));
    return NULL;
}

static char *copy_secret(const char *text, bool *failed)
{
    char *copy = text ? strdup(text) : NULL;

    *failed = *failed || (text && !copy);
    return copy;
}

static void tls_free(struct http_tls *tls)
{
    char *texts[] = {(char *)(uintptr_t)tls->ca_pem, (char *)(uintptr_t)tls->cert_pem,
            (char *)(uintptr_t)tls->key_pem, (char *)(uintptr_t)tls->server_name};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (texts[i])
            explicit_bzero(texts[i], strlen(texts[i]));
        free(texts[i]);
    }
    *tls = (struct http_tls){0};
}

int http_client_set_tls(struct http_client *c, const struct http_tls *tls)
{
    struct http_tls copy = {0};
    bool failed = false;

    if (tls) {
        copy.ca_pem = copy_secret(tls->ca_pem, &failed);
        copy.cert_pem = copy_secret(tls->cert_pem, &failed);
        copy.key_pem = copy_secret(tls->key_pem, &failed);
        copy.server_name = copy_secret(tls->server_name, &failed);
        copy.insecure = tls->insecure;
    }
    if (failed) {
        tls_free(&copy);
        return -ENOMEM;
    }
    tls_free(&c->tls);
    c->tls = copy;
    c->has_tls = tls != NULL;
    return 0;
}

int http_start(struct http_client *c, const struct http_request_spec *spec, struct http_request **ret,
        struct err *err)
{
    struct http_request *req;
    int r;

    if (c->dead)
        return err_say(err, ESHUTDOWN, "the HTTP client is being closed");
    r = http_request_new(c, spec, &req, err);
    if (r < 0)
        return r;
    if (c->depth > 0 || c->running_count >= c->max_running) {
        enqueue(req);
    } else {
        add(req);
        if (req->state == HTTP_BROKEN) {
            http_request_free(req);
            return err_set(err, ENOMEM, "HTTP request");
        }
    }
    if (ret)
        *ret = req;
    return 0;
}

struct http_request *http_cancel(struct http_request *req)
{
    struct http_client *c;

    if (!req || req->state == HTTP_FINISHED || req->state == HTTP_CANCELLED)
        return NULL;
    c = req->client;
    if (c->depth > 0) {
        http_request_move(req, &c->cancelled, HTTP_CANCELLED);
        return NULL;
    }
    (void)curl_multi_remove_handle(c->multi, req->easy);
    http_request_free(req);
    /* Its place is free for one that waits; not from in here, where no callback may come. */
    if (!list_empty(&c->queued))
        set_queue_timer(c, 0);
    return NULL;
}
