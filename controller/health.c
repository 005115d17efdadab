/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See health.h. libmicrohttpd in epoll mode without threads: its epoll fd is one more fd of our loop, and its
 * time-outs one more timer.
 */
#include "controller/health.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

enum {
    MAX_CONNECTIONS = 512,
    MAX_CONNECTIONS_IP = 8,
    CONNECTION_BYTES = 4096,
    CONNECTION_TIMEOUT_SECONDS = 10
};

struct health {
    struct MHD_Daemon *daemon;
    struct loop_source *io;
    struct loop_source *timer;
    const struct manager *manager;
    struct kube_client *client;
};

static void metric(struct buf *b, const char *name, const char *type, const char *help, uint64_t value)
{
    buf_printf(b, "# HELP sc_controller_%s %s\n# TYPE sc_controller_%s %s\nsc_controller_%s %llu\n", name,
            help, name, type, name, (unsigned long long)value);
}

int health_metrics(const struct manager *manager, struct kube_client *client, struct buf *b)
{
    const struct manager_stats s = manager_stats(manager);
    const struct kube_stats k = kube_client_stats(client);

    metric(b, "leader", "gauge", "1 while this replica acts", manager_leading(manager));
    metric(b, "synced", "gauge", "1 when the caches are complete", manager_synced(manager));
    metric(b, "keys", "gauge", "StoppableContainers looked after", s.keys);
    metric(b, "queue_length", "gauge", "keys that wait", s.queued);
    metric(b, "plans_total", "counter", "decisions made", s.plans);
    metric(b, "failures_total", "counter", "writes that failed", s.failures);
    metric(b, "api_reads_total", "counter", "gets and pages of lists", k.reads);
    metric(b, "api_writes_total", "counter", "writes sent to the API server, leases included", k.writes);
    metric(b, "api_watches_total", "counter", "watches opened", k.watches);
    metric(b, "api_failures_total", "counter", "requests that failed", k.failures);
    buf_puts(b, "# HELP sc_controller_actions_total writes made, by what they do\n"
                "# TYPE sc_controller_actions_total counter\n");
    for (int i = 0; i < ACT_KINDS; i++)
        buf_printf(b, "sc_controller_actions_total{action=\"%s\"} %llu\n", action_name((enum action_kind)i),
                (unsigned long long)s.actions[i]);
    return buf_error(b);
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *text)
{
    struct MHD_Response *response =
            MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result r;

    if (!response)
        return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
    r = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *url, const char *method,
        const char *version _unused_, const char *data _unused_, size_t *size _unused_, void **state _unused_)
{
    struct health *h = user;
    _cleanup_buf_ struct buf text = BUF_INIT(64 * KIB);

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    if (strcmp(url, "/healthz") == 0)
        return answer(c, MHD_HTTP_OK, "ok\n");
    if (strcmp(url, "/readyz") == 0)
        return manager_synced(h->manager)
                       ? answer(c, MHD_HTTP_OK, "ok\n")
                       : answer(c, MHD_HTTP_SERVICE_UNAVAILABLE, "the caches are not complete yet\n");
    if (strcmp(url, "/metrics") != 0)
        return answer(c, MHD_HTTP_NOT_FOUND, "there are /healthz, /readyz and /metrics\n");
    if (health_metrics(h->manager, h->client, &text) < 0)
        return answer(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    return answer(c, MHD_HTTP_OK, buf_str(&text));
}

/* Lets the server do what it can, and asks when it wants to be called although nothing arrives. */
static void turn(struct health *h)
{
    MHD_UNSIGNED_LONG_LONG wait;

    (void)MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &wait) == MHD_YES)
        loop_timer_in(h->timer, (usec_t)wait * USEC_PER_MSEC);
    else
        loop_timer_set(h->timer, USEC_INFINITY);
}

static void on_io(struct loop_source *src _unused_, int fd _unused_, uint32_t events _unused_, void *data)
{
    turn(data);
}

static void on_timer(struct loop_source *src _unused_, usec_t now _unused_, void *data)
{
    turn(data);
}

static int start(struct health *h, uint16_t port, struct err *err)
{
    const unsigned flags = MHD_USE_EPOLL | MHD_USE_DUAL_STACK;
    const struct MHD_OptionItem options[] = {
            {MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, NULL},
            {MHD_OPTION_PER_IP_CONNECTION_LIMIT, MAX_CONNECTIONS_IP, NULL},
            {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, NULL},
            {MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_SECONDS, NULL},
            {MHD_OPTION_LISTENING_ADDRESS_REUSE, 1, NULL},
            {MHD_OPTION_END, 0, NULL},
    };

    h->daemon = MHD_start_daemon(
            flags, port, NULL, NULL, on_request, h, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!h->daemon) /* a machine without IPv6 */
        h->daemon = MHD_start_daemon(
                MHD_USE_EPOLL, port, NULL, NULL, on_request, h, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!h->daemon)
        return err_set(err, errno ? errno : EADDRINUSE, "cannot serve the health endpoints on port %u", port);
    return 0;
}

int health_new(struct loop *loop, uint16_t port, const struct manager *manager, struct kube_client *client,
        struct health **ret, struct err *err)
{
    _cleanup_(health_freep) struct health *h = calloc(1, sizeof(*h));
    const union MHD_DaemonInfo *info;
    int r;

    if (!h)
        return err_set(err, ENOMEM, "cannot serve the health endpoints");
    h->manager = manager;
    h->client = client;
    r = start(h, port, err);
    if (r < 0)
        return r;
    info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info)
        return err_say(
                err, EOPNOTSUPP, "cannot serve the health endpoints: libmicrohttpd was built without epoll");
    r = loop_add_io(loop, "health", info->epoll_fd, EPOLLIN, on_io, h, &h->io);
    if (r == 0)
        r = loop_add_timer(loop, "health", on_timer, h, &h->timer);
    if (r < 0)
        return err_set(err, r, "cannot serve the health endpoints");
    *ret = take_ptr(h);
    return 0;
}

struct health *health_free(struct health *h)
{
    if (!h)
        return NULL;
    loop_remove(h->io);
    loop_remove(h->timer);
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    free(h);
    return NULL;
}
