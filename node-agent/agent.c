/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See agent.h: the tables and their settling. Start and stop are in agent_start.c.
 */
#include "node-agent/agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "node-agent/journal.h"

/* Warnings about peers: this many at once, then one a second. */
enum { WARN_BURST = 20 };

#define AGAIN_AFTER USEC_PER_SEC

/* --- instances -------------------------------------------------------------------------------------------
 */

/* A disk that was full may have room again. What asked for the entry has been told, or can do without it: a
 * loss is found again by the next agent. served_journal sees to the next try. */
static void save_again(struct served *sv)
{
    struct err err = ERR_INIT;

    if (sv && sv->unsaved && served_journal(sv, &err) < 0)
        log_debug("%s", err_text(&err));
}

void agent_settle(struct loop_source *src, usec_t now, void *data)
{
    struct agent *a = data;
    struct list batch;

    (void)src;
    (void)now;
    /* What is touched while this runs is settled at the next turn. */
    list_init(&batch);
    while (!list_empty(&a->dirty)) {
        struct list *first = a->dirty.next;

        list_remove(first);
        list_append(&batch, first);
    }
    while (!list_empty(&batch)) {
        struct node_instance *in = list_entry(batch.next, struct node_instance, dirty);

        list_remove(&in->dirty);
        in->refs++; /* keeps it in the tables meanwhile */
        trash_settle(in);
        if (in->provider)
            unpublish_continue(in->provider);
        if (in->consumer)
            unpublish_continue(in->consumer);
        save_again(in->provider);
        save_again(in->consumer);
        if (in->provider)
            provider_settle(in->provider);
        if (in->consumer)
            consumer_settle(in->consumer);
        publish_settle(in);
        if (in->provider)
            visitor_settle(in->provider);
        if (in->provider)
            use_settle(in->provider);
        if (in->consumer)
            visitor_settle(in->consumer);
        in->refs--;
        agent_instance_put(in);
    }
}

void agent_touch(struct node_instance *in)
{
    struct agent *a = in->agent;

    if (list_empty(&in->dirty))
        list_append(&a->dirty, &in->dirty);
    (void)loop_timer_set(a->settle, 0);
}

void agent_again(struct loop_source *src, usec_t now, void *data)
{
    struct agent *a = data;

    (void)src;
    (void)now;
    a->again_due = false;
    map_for_each (e, a->instances) {
        struct node_instance *in = e->value;

        if (!in->again)
            continue;
        in->again = false;
        agent_touch(in);
    }
}

void agent_touch_later(struct node_instance *in)
{
    struct agent *a = in->agent;

    in->again = true;
    if (!a->again_due) /* not put off by whoever comes later */
        a->again_due = loop_timer_in(a->again, AGAIN_AFTER) == 0;
}

struct node_instance *agent_instance(struct agent *a, const char *ns, const char *uid)
{
    struct node_instance *in = map_get(a->instances, uid);

    if (in)
        return in;
    in = calloc(1, sizeof(*in));
    if (!in)
        return NULL;
    in->agent = a;
    list_init(&in->dirty);
    list_init(&in->turn);
    (void)snprintf(in->i.ns, sizeof(in->i.ns), "%s", ns);
    (void)snprintf(in->i.uid, sizeof(in->i.uid), "%s", uid);
    if (map_put(a->instances, uid, in) < 0) {
        free(in);
        return NULL;
    }
    return in;
}

void agent_instance_put(struct node_instance *in)
{
    if (in->refs > 0)
        return;
    list_remove(&in->dirty);
    (void)map_steal(in->agent->instances, in->i.uid);
    free(in);
}

bool agent_is_passing(int code)
{
    return err_is_passing(code) || code == -EIO || code == -ENOSPC || code == -EDQUOT;
}

void agent_warn(struct agent *a, const char *fmt, ...)
{
    usec_t now = clock_monotonic();
    usec_t refill = (now - a->warn_last) / USEC_PER_SEC;
    char text[ERR_TEXT_MAX];
    va_list ap;

    if (refill > 0) {
        a->warn_tokens =
                refill >= WARN_BURST - a->warn_tokens ? WARN_BURST : a->warn_tokens + (unsigned)refill;
        a->warn_last = now;
    }
    if (a->warn_tokens == 0) {
        a->warn_dropped++;
        return;
    }
    a->warn_tokens--;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (a->warn_dropped > 0)
        log_warn("%s (and %u such warnings before that were not written)", text, a->warn_dropped);
    else
        log_warn("%s", text);
    a->warn_dropped = 0;
}

/* --- published volumes -----------------------------------------------------------------------------------
 */

int served_listen(struct served *sv, int listen_fd, struct err *err)
{
    const struct serve_config config = {
            .fd = listen_fd,
            .total = &sv->agent->connections,
            .ops = &visitor_ops,
            .user = sv,
    };
    struct serve *fresh = NULL;
    int r;

    if (listen_fd < 0)
        return 0;
    r = serve_new(sv->agent->loop, &config, &fresh, err);
    if (r < 0)
        return r;
    /* Who waits on the old socket connects again. */
    visitor_free_all(sv);
    (void)serve_free(sv->serve);
    sv->serve = fresh;
    return 0;
}

static void served_join(struct served *sv, struct node_instance *in)
{
    struct volume *v = sv->volume;

    sv->instance = in;
    in->refs++;
    if (instance_is_idle(&in->i))
        (void)snprintf(in->i.ns, sizeof(in->i.ns), "%s", v->instance_namespace);
    if (v->role == VOLUME_PROVIDER) {
        in->provider = sv;
        in->i.provider = v;
        in->i.provider_leaving = false;
        in->i.stopping = false;
    } else if (v->role == VOLUME_CONSUMER) {
        in->consumer = sv;
        in->i.consumer = v;
    }
}

static void served_leave(struct served *sv)
{
    struct node_instance *in = sv->instance;

    if (in && in->provider == sv) {
        in->provider = NULL;
        in->i.provider = NULL;
        in->i.provider_leaving = false;
        in->i.stopping = false;
    } else if (in && in->consumer == sv) {
        in->consumer = NULL;
        in->i.consumer = NULL;
    }
    sv->instance = NULL;
    if (in) {
        in->refs--;
        agent_touch(in); /* and the last one's settling frees it */
    }
}

int served_new(struct agent *a, struct node_instance *in, struct volume *v, int listen_fd,
        struct served **ret_served, struct err *err)
{
    struct served *sv = calloc(1, sizeof(*sv) + v->n_containers * sizeof(sv->slots[0]));
    int r;

    if (!sv) {
        (void)close_fd(listen_fd);
        return err_set(err, ENOMEM, "cannot remember volume %s", v->id);
    }
    sv->agent = a;
    sv->n_slots = v->n_containers;
    list_init(&sv->visitors);
    for (size_t i = 0; i < sv->n_slots; i++) {
        sv->slots[i].served = sv;
        sv->slots[i].container = &v->containers[i];
    }
    r = served_listen(sv, listen_fd, err);
    if (r == 0 && map_put(a->volumes, v->id, sv) < 0)
        r = err_set(err, ENOMEM, "cannot remember volume %s", v->id);
    if (r < 0) {
        (void)serve_free(sv->serve);
        free(sv);
        return r;
    }
    sv->volume = v;
    served_join(sv, in);
    *ret_served = sv;
    return 0;
}

static void slot_free(struct slot *s)
{
    s->watch = loop_remove(s->watch);
    s->use.timer = loop_remove(s->use.timer);
    s->hook.timer = loop_remove(s->hook.timer);
    s->recover_timer = loop_remove(s->recover_timer);
    s->recover_request = cri_cancel(s->recover_request);
    s->image_request = cri_cancel(s->image_request);
    (void)cri_image_free(s->image);
    (void)peer_unref(s->peer);
}

void served_free(struct served *sv)
{
    visitor_free_all(sv);
    (void)serve_free(sv->serve);
    sv->listen_timer = loop_remove(sv->listen_timer);
    for (size_t i = 0; i < sv->n_slots; i++)
        slot_free(&sv->slots[i]);
    (void)map_steal(sv->agent->volumes, sv->volume->id);
    served_leave(sv);
    (void)volume_free(sv->volume);
    free(sv);
}

bool served_is_busy(const struct served *sv)
{
    for (size_t i = 0; i < sv->n_slots; i++)
        if (sv->slots[i].attaching || sv->slots[i].container->root == ROOT_EXPOSING)
            return true;
    return false;
}

struct slot *served_slot(struct served *sv, const char *container)
{
    for (size_t i = 0; i < sv->n_slots; i++)
        if (strcmp(sv->slots[i].container->name, container) == 0)
            return &sv->slots[i];
    return NULL;
}

int served_journal(struct served *sv, struct err *err)
{
    int r = journal_write(sv->agent->volumes_fd, sv->volume, err);

    sv->unsaved = r < 0;
    if (r < 0)
        agent_touch_later(sv->instance);
    return r;
}
