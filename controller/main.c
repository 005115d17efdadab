/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sc-controller: the only part of StoppableContainer that writes to the API.
 *
 * Start: options, credentials, watches (every replica keeps its caches warm), the lease where asked for; then
 * the loop until SIGTERM or SIGINT. End: no new key is taken, the writes under way are waited for, the lease
 * is given back. A lost lease ends the program at once: another replica acts already, or soon.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/hash/sha256.h"
#include "common/kube/lease.h"
#include "controller/health.h"
#include "controller/manager.h"
#include "controller/options.h"

#define VERSION "0.1.0"
#define LEASE_NAME "sc-controller"
/* How long the writes under way may take at the end. */
#define STOP_PATIENCE (5 * USEC_PER_SEC)

struct program {
    struct loop *loop;
    struct kube_client *client;
    struct manager *manager;
    struct health *health;
    struct kube_lease *lease;
    struct loop_source *term, *interrupt, *patience;
    struct plan_config config;
    char identity[HOST_NAME_MAX + 1];
    bool stopping;
};

static void on_acquired(void *user)
{
    struct program *p = user;

    log_info("leading as %s", p->identity);
    manager_lead(p->manager);
}

static void on_lost(const char *why, void *user)
{
    struct program *p = user;

    log_error("the lease is lost: %s", why);
    loop_stop(p->loop, 1);
}

/* All that is known here is of a cluster that is no more. */
static void on_went_back(const char *message, void *user)
{
    struct program *p = user;

    log_error("%s; starting anew", message);
    loop_stop(p->loop, 1);
}

static void on_lease_failed(const char *why, void *user _unused_)
{
    log_warn("lease: %s", why);
}

static void end(void *user)
{
    struct program *p = user;

    loop_stop(p->loop, 0);
}

static void on_quiet(void *user)
{
    struct program *p = user;

    if (p->lease)
        kube_lease_release(p->lease, end, p);
    else
        end(p);
}

static void on_impatient(struct loop_source *src _unused_, usec_t now _unused_, void *data)
{
    log_warn("writes under way were not answered in time");
    end(data);
}

static void on_signal(struct loop_source *src _unused_, const struct signalfd_siginfo *info, void *data)
{
    struct program *p = data;

    if (p->stopping) {
        end(p);
        return;
    }
    p->stopping = true;
    log_info("ending on %s", strsignal((int)info->ssi_signo));
    loop_timer_in(p->patience, STOP_PATIENCE);
    manager_stop(p->manager, on_quiet, p);
}

/* The pod's name: a container that is started again in the same pod goes on under the same name and need not
 * wait for its own lease to end. */
static void find_identity(struct program *p)
{
    const char *pod = getenv("POD_NAME");

    if (pod && pod[0])
        snprintf(p->identity, sizeof(p->identity), "%s", pod);
    else if (gethostname(p->identity, sizeof(p->identity)) < 0)
        snprintf(p->identity, sizeof(p->identity), "unknown");
}

static int start_client(struct program *p, const struct options *o, struct err *err)
{
    struct kube_config *config;
    const char *namespace = getenv("POD_NAMESPACE");
    int r = sha256_set_up(err);

    if (r == 0)
        r = kube_config_load(o->kubeconfig, &config, err);
    if (r < 0)
        return r;
    r = kube_client_new(p->loop, config, "sc-controller/" VERSION, &p->client, err);
    if (r < 0)
        return r;
    kube_client_on_went_back(p->client, on_went_back, p);
    p->config = (struct plan_config){
            .rules = {.runtime_classes = o->runtime_classes},
            .namespace = o->namespace                ? o->namespace
                         : namespace && namespace[0] ? namespace
                                                     : kube_client_config(p->client)->namespace,
            .reclaim_image = o->reclaim_image,
            .provider_priority_class = o->provider_priority_class,
            .host = p->identity,
    };
    return 0;
}

static int start_signals(struct program *p, struct err *err)
{
    int r = loop_add_signal(p->loop, "term", SIGTERM, on_signal, p, &p->term);

    if (r == 0)
        r = loop_add_signal(p->loop, "interrupt", SIGINT, on_signal, p, &p->interrupt);
    if (r == 0)
        r = loop_add_timer(p->loop, "patience", on_impatient, p, &p->patience);
    return r < 0 ? err_set(err, r, "cannot watch for signals") : 0;
}

static int start_leading(struct program *p, const struct options *o, struct err *err)
{
    const struct kube_lease_config lease = {
            .client = p->client,
            .namespace = p->config.namespace,
            .name = LEASE_NAME,
            .identity = p->identity,
            .duration = o->lease_duration,
            .renew_deadline = o->lease_renew_deadline,
            .retry_period = o->lease_retry_period,
            .acquired = on_acquired,
            .lost = on_lost,
            .failed = on_lease_failed,
            .user = p,
    };

    if (o->leader_elect)
        return kube_lease_new(&lease, &p->lease, err);
    manager_lead(p->manager);
    return 0;
}

static int run(struct program *p, const struct options *o, struct err *err)
{
    int r;

    find_identity(p);
    r = loop_new(&p->loop, err);
    if (r == 0)
        r = start_signals(p, err);
    if (r == 0)
        r = start_client(p, o, err);
    if (r == 0)
        r = manager_new(p->client, &p->config, &p->manager, err);
    if (r == 0 && o->health_port)
        r = health_new(p->loop, o->health_port, p->manager, p->client, &p->health, err);
    if (r == 0)
        r = start_leading(p, o, err);
    return r < 0 ? r : loop_run(p->loop);
}

static void release(struct program *p)
{
    kube_lease_free(p->lease);
    health_free(p->health);
    manager_free(p->manager);
    kube_client_free(p->client);
    loop_free(p->loop);
}

int main(int argc, char **argv)
{
    struct program p = {0};
    struct options o;
    struct err err = ERR_INIT;
    int r = options_parse(argc, argv, &o, &err);

    if (r < 0) {
        fprintf(stderr, "sc-controller: %s\n", err_text(&err));
        return 2;
    }
    if (o.help || o.version) {
        fputs(o.help ? options_usage : "sc-controller " VERSION "\n", stdout);
        return 0;
    }
    log_set_level(o.log_level);
    /* One arena, and memory given back early: objects come and go, and an idle controller should be small. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    r = run(&p, &o, &err);
    if (r < 0)
        log_error("%s", err.code ? err_text(&err) : strerror(-r));
    release(&p);
    return r < 0 ? 1 : r;
}
