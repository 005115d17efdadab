/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process on a volume's socket (agent.h). pause says HELLO on a provider's and later STOPPING, execwrap
 * asks ATTACH on a consumer's; anything else is refused. Who it is is checked first (peer.h), a few at a time
 * for each volume; then it takes part in the settling of its instance until it is answered.
 *
 * A visitor ends in one of three ways: visitor_end with a last frame, the peer's own going (on_closed), or
 * with its volume (visitor_free_all). A refusal is final only when asking again cannot help; pause, which
 * would take the root with it, is never sent away for what may be the runtime's bad moment.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "node-agent/agent.h"

/* An ATTACH that nothing can be done for is told to ask again, with the reason, after: */
#define ATTACH_WAIT (100 * USEC_PER_SEC)

/* Frees it; the connection is the caller's affair. */
static void visitor_free(struct visitor *v)
{
    if (v->check)
        v->served->checks--;
    v->check = peer_check_cancel(v->check);
    v->timer = loop_remove(v->timer);
    v->peer = peer_unref(v->peer);
    list_remove(&v->node);
    free(v);
}

void visitor_free_all(struct served *sv)
{
    list_for_each (it, &sv->visitors)
        visitor_free(list_entry(it, struct visitor, node));
}

void visitor_end(struct visitor *v, const void *frame, int len)
{
    struct conn *c = v->conn;

    visitor_free(v);
    conn_set_data(c, NULL);
    conn_finish(c, frame, len > 0 ? (size_t)len : 0);
}

void visitor_refuse(struct visitor *v, bool retryable, const char *text)
{
    uint8_t frame[WIRE_HEADER + WIRE_TEXT_MAX + 64];
    int len = wire_encode_text(frame, sizeof(frame), WIRE_REFUSED, retryable, text);
    const struct volume *vol = v->served->volume;

    agent_warn(v->served->agent, "pod %s/%s: %s refused%s: %s", vol->pod_namespace, vol->pod_name,
            v->request.type == WIRE_HELLO ? "hello" : "attach", retryable ? " for now" : "", text);
    visitor_end(v, frame, len);
}

void visitor_refuse_name(struct served *sv, const char *container, bool retryable, const char *text)
{
    list_for_each (it, &sv->visitors) {
        struct visitor *v = list_entry(it, struct visitor, node);

        if (v->state == VISITOR_CHECKED && !v->held &&
                strcmp(v->peer->container->container_name, container) == 0)
            visitor_refuse(v, retryable, text);
    }
}

void visitor_dismiss(struct served *sv, const char *text)
{
    list_for_each (it, &sv->visitors) {
        struct visitor *v = list_entry(it, struct visitor, node);

        if (v->held)
            visitor_refuse(v, false, text);
    }
}

void visitor_say(struct visitor *v, const char *text)
{
    uint8_t frame[WIRE_HEADER + WIRE_TEXT_MAX + 64];
    int len;

    if (strcmp(v->waits_for, text) == 0)
        return;
    (void)snprintf(v->waits_for, sizeof(v->waits_for), "%s", text);
    len = wire_encode_text(frame, sizeof(frame), WIRE_WAIT, false, text);
    if (len > 0)
        conn_send(v->conn, frame, (size_t)len);
}

struct slot *visitor_slot(const struct visitor *v)
{
    return served_slot(v->served, v->peer->container->container_name);
}

/* --- settling --------------------------------------------------------------------------------------------
 */

/* pause was asked to end. True when it has been let go. */
static bool settle_stopping(struct visitor *v)
{
    struct node_instance *in = v->served->instance;
    uint8_t frame[WIRE_HEADER];
    struct decision d;

    if (!in->i.stopping)
        agent_touch(in); /* publish calls are decided before visitors */
    in->i.stopping = true;
    d = instance_release(&in->i);
    if (d.verdict != VERDICT_DONE) {
        visitor_say(v, d.text);
        return false;
    }
    visitor_end(v, frame, wire_encode_plain(frame, sizeof(frame), WIRE_RELEASE));
    return true;
}

static void settle_hello(struct visitor *v)
{
    struct served *sv = v->served;
    const struct cri_container *c = v->peer->container;
    struct err err = ERR_INIT;
    uint8_t frame[WIRE_HEADER];
    struct decision d;
    int len, r;

    if (v->stopping && settle_stopping(v))
        return;
    if (v->held)
        return;
    /* Its connection may be in other hands. */
    if (!process_alive(&v->peer->init)) {
        visitor_end(v, NULL, 0);
        return;
    }
    d = instance_hello(&sv->instance->i, sv->volume, c->container_name, c->id);
    switch (d.verdict) {
    case VERDICT_DONE:
        v->held = true;
        len = wire_encode_plain(frame, sizeof(frame), WIRE_HELD);
        conn_send(v->conn, frame, len > 0 ? (size_t)len : 0);
        return;
    case VERDICT_DO:
        r = provider_take(visitor_slot(v), v->peer, &err);
        if (r < 0)
            visitor_refuse(v, r != -ENOTRECOVERABLE, err_text(&err));
        return;
    case VERDICT_WAIT:
        visitor_say(v, d.text);
        return;
    case VERDICT_LOSE:
        provider_lose(sv->instance, d.text);
        break;
    case VERDICT_LATER:
    case VERDICT_NEVER:
        break;
    }
    visitor_refuse(v, false, d.text);
}

static void settle_attach(struct visitor *v)
{
    struct served *sv = v->served;
    struct node_instance *in = sv->instance;
    const char *container = v->peer->container->container_name;
    struct decision d = instance_attach(&in->i, sv->volume, container);

    switch (d.verdict) {
    case VERDICT_DO:
        consumer_attach(v, in->provider ? served_slot(in->provider, container) : NULL);
        return;
    case VERDICT_WAIT:
        visitor_say(v, d.text);
        return;
    case VERDICT_DONE:
    case VERDICT_LATER:
    case VERDICT_NEVER:
    case VERDICT_LOSE:
        break;
    }
    visitor_refuse(v, false, d.text);
}

void visitor_settle(struct served *sv)
{
    list_for_each (it, &sv->visitors) {
        struct visitor *v = list_entry(it, struct visitor, node);

        if (v->state != VISITOR_CHECKED || sv->leaving)
            continue;
        if (v->request.type == WIRE_HELLO)
            settle_hello(v);
        else
            settle_attach(v);
    }
}

/* --- who it is -------------------------------------------------------------------------------------------
 */

/* Who has ended meanwhile needs no answer, and is no news. */
static void check_failed(struct visitor *v, int code, const struct err *err)
{
    if (code == -ESRCH)
        visitor_end(v, NULL, 0);
    else
        visitor_refuse(v, code != -EPERM, err_text(err));
}

static void on_checked(int code, struct peer *peer, const struct err *err, void *user);

static int check_start(struct visitor *v, struct err *err)
{
    struct served *sv = v->served;
    struct agent *a = sv->agent;
    const struct peer_question q = {
            .loop = a->loop,
            .cri = a->cri,
            .machine = &a->machine,
            .sock = conn_fd(v->conn),
            .volume = sv->volume,
            .fn = on_checked,
            .user = v,
    };
    int r = peer_check_start(&q, &v->check, err);

    if (r == 0) {
        v->state = VISITOR_CHECKING;
        sv->checks++;
    }
    return r;
}

/* Starts the checks of those that queue, as far as there is room. Not from inside an iteration over visitors:
 * it ends those that cannot be checked. */
static void check_next(struct served *sv)
{
    list_for_each (it, &sv->visitors) {
        struct visitor *v = list_entry(it, struct visitor, node);
        struct err err = ERR_INIT;
        int r;

        if (v->state != VISITOR_QUEUED)
            continue;
        if (sv->checks >= LIMIT_CHECKS_VOLUME)
            return;
        r = check_start(v, &err);
        if (r < 0)
            check_failed(v, r, &err);
    }
}

/* Many may wait for one container: what the runtime says of it, which its pod's author can make long, is kept
 * once. */
static void share_container(const struct visitor *v)
{
    list_for_each (it, &v->served->visitors) {
        const struct visitor *other = list_entry(it, struct visitor, node);

        if (other == v || !other->peer || strcmp(other->peer->container->id, v->peer->container->id) != 0)
            continue;
        (void)cri_container_free(v->peer->container);
        v->peer->container = cri_container_ref(other->peer->container);
        return;
    }
}

static void on_checked(int code, struct peer *peer, const struct err *err, void *user)
{
    struct visitor *v = user;
    struct served *sv = v->served;

    v->check = NULL;
    sv->checks--;
    if (code < 0) {
        check_failed(v, code, err);
    } else {
        v->state = VISITOR_CHECKED;
        v->peer = peer;
        share_container(v);
        agent_touch(sv->instance);
    }
    check_next(sv);
}

/* --- requests --------------------------------------------------------------------------------------------
 */

static void on_waited(struct loop_source *src, usec_t now, void *data)
{
    struct visitor *v = data;
    struct served *sv = v->served;

    (void)src;
    (void)now;
    visitor_refuse(v, true, v->waits_for[0] ? v->waits_for : "the node agent has not come to it");
    check_next(sv);
}

/* NULL: no memory. */
static struct visitor *visitor_new(struct served *sv, struct conn *c, const struct wire_request *q)
{
    struct visitor *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->served = sv;
    v->conn = c;
    v->request = *q;
    if (q->type == WIRE_ATTACH && (loop_add_timer(sv->agent->loop, "attach", on_waited, v, &v->timer) < 0 ||
                                          loop_timer_in(v->timer, ATTACH_WAIT) < 0)) {
        v->timer = loop_remove(v->timer);
        free(v);
        return NULL;
    }
    list_append(&sv->visitors, &v->node);
    conn_set_data(c, v);
    return v;
}

/* What does not belong to the conversation. */
static void refuse_request(struct conn *c, bool retryable, const char *text)
{
    uint8_t frame[WIRE_HEADER + WIRE_TEXT_MAX + 64];
    int len = wire_encode_text(frame, sizeof(frame), WIRE_REFUSED, retryable, text);

    conn_finish(c, frame, len > 0 ? (size_t)len : 0);
}

static void first_request(struct conn *c, const struct wire_request *q, struct served *sv)
{
    enum wire_type wanted = sv->volume->role == VOLUME_PROVIDER ? WIRE_HELLO : WIRE_ATTACH;

    if (q->type != wanted) {
        refuse_request(c, false,
                wanted == WIRE_HELLO ? "this is a provider pod's socket: it takes HELLO first"
                                     : "this is a consumer pod's socket: it takes ATTACH only");
        return;
    }
    if (!visitor_new(sv, c, q)) {
        refuse_request(c, true, "the node agent is out of memory");
        return;
    }
    check_next(sv);
}

static void on_request(struct conn *c, const struct wire_request *q, void *user)
{
    struct served *sv = user;
    struct visitor *v = conn_data(c);

    if (!v) {
        first_request(c, q, sv);
    } else if (v->request.type == WIRE_HELLO && q->type == WIRE_STOPPING && !v->stopping) {
        v->stopping = true;
        agent_touch(sv->instance);
    } else {
        visitor_refuse(v, false, "the request does not belong here in the conversation");
        check_next(sv);
    }
}

static void on_closed(struct conn *c, void *user)
{
    struct visitor *v = conn_data(c);

    if (v) {
        visitor_free(v);
        conn_set_data(c, NULL);
    }
    check_next(user);
}

const struct serve_ops visitor_ops = {
        .request = on_request,
        .closed = on_closed,
};
