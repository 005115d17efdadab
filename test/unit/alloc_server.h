/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for the tests that refuse allocations (alloc.h): in a thread of its own, so that its memory is neither counted
 * nor refused.
 */
#pragma once

#include <pthread.h>

#include "common/kube/client.h"
#include "test/unit/alloc.h"
#include "test/unit/fake_http.h"

static struct {
    pthread_t thread;
    fake_handler handler;
    int port;
    int stop[2];
    pthread_barrier_t ready;
} api;

static void api_on_stop(
        struct loop_source *src _unused_, int fd _unused_, uint32_t events _unused_, void *data)
{
    loop_stop(data, 0);
}

static void *api_run(void *data _unused_)
{
    struct fake_server server;
    struct loop *loop = NULL;

    cr_assert_eq(loop_new(&loop, NULL), 0);
    fake_server_start(&server, loop, api.handler, NULL);
    cr_assert_eq(loop_add_io(loop, "stop", api.stop[0], EPOLLIN, api_on_stop, loop, NULL), 0);
    api.port = server.port;
    pthread_barrier_wait(&api.ready);
    (void)loop_run(loop);
    fake_server_stop(&server);
    loop_free(loop);
    return NULL;
}

static void api_start(fake_handler handler)
{
    api.handler = handler;
    cr_assert_eq(pipe(api.stop), 0);
    cr_assert_eq(pthread_barrier_init(&api.ready, NULL, 2), 0);
    cr_assert_eq(pthread_create(&api.thread, NULL, api_run, NULL), 0);
    pthread_barrier_wait(&api.ready);
}

static void api_stop(void)
{
    close(api.stop[1]);
    cr_assert_eq(pthread_join(api.thread, NULL), 0);
    close(api.stop[0]);
}

static struct kube_client *api_client(struct loop *loop)
{
    struct kube_config *where = calloc(1, sizeof(*where));
    struct kube_client *client = NULL;
    char url[64];

    cr_assert_not_null(where);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", api.port);
    where->server = strdup(url);
    where->namespace = strdup("ns");
    cr_assert_eq(kube_client_new(loop, where, "test", &client, NULL), 0);
    return client;
}
