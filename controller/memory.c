/* SPDX-License-Identifier: Apache-2.0 */
/* See memory.h. */
#include "controller/memory.h"

#include <string.h>

#include "controller/template.h"
#include "controller/text.h"

/* A refusal is tried again for ever, since nothing tells when its cause goes. */
#define RETRY_MIN (1 * USEC_PER_SEC)
#define RETRY_MAX (60 * USEC_PER_SEC)
#define AGAIN_MIN (1 * USEC_PER_SEC)
#define AGAIN_MAX (300 * USEC_PER_SEC)
#define NOTES_MIN (2 * USEC_PER_SEC)
#define NOTES_MAX (300 * USEC_PER_SEC)
#define NODE_MIN (10 * USEC_PER_SEC)
#define NODE_MAX (300 * USEC_PER_SEC)
/* Two answers count as one stretch of time when they are no further apart: a little more than what is waited for in all. */
#define NODE_GONE_GAP (90 * USEC_PER_SEC)

void memory_init(struct key_memory *m)
{
    *m = (struct key_memory){
            .again = BACKOFF_INIT(AGAIN_MIN, AGAIN_MAX),
            .recreate = BACKOFF_INIT(AGAIN_MIN, AGAIN_MAX),
            .keep = BACKOFF_INIT(AGAIN_MIN, AGAIN_MAX),
            .notes = BACKOFF_INIT(NOTES_MIN, NOTES_MAX),
            .node_backoff = BACKOFF_INIT(NODE_MIN, NODE_MAX),
    };
    for (size_t i = 0; i < ACT_KINDS; i++)
        m->retry[i].backoff = (struct backoff)BACKOFF_INIT(RETRY_MIN, RETRY_MAX);
}

static void retry_clear(struct retry *r)
{
    backoff_reset(&r->backoff);
    free(r->reason);
    free(r->message);
    r->reason = NULL;
    r->message = NULL;
    r->not_before = 0;
    r->unreached = false;
}

void memory_free(struct key_memory *m)
{
    for (size_t i = 0; i < ACT_KINDS; i++)
        retry_clear(&m->retry[i]);
}

void memory_set_instance(struct key_memory *m, const char *uid)
{
    if (strcmp(m->instance, uid) == 0)
        return;
    text_copy(m->instance, sizeof(m->instance), uid);
    m->consumer = (struct removed_pod){0};
    m->provider = (struct removed_pod){0};
    m->unclean = false;
    m->missing_since = 0;
    backoff_reset(&m->keep);
    m->keep_at = 0;
    m->node = NODE_UNKNOWN;
    m->node_at = 0;
    m->node_gone_since = 0;
}

void memory_node_answered(struct key_memory *m, enum node_state state, usec_t now)
{
    bool long_ago = now > usec_add(m->node_at, NODE_GONE_GAP);

    m->node = state;
    m->node_at = now;
    if (state != NODE_GONE)
        m->node_gone_since = 0;
    else if (!m->node_gone_since || long_ago) /* it may have been there in between */
        m->node_gone_since = now;
}

void last_run_read(const struct pod_facts *f, struct last_run *ret)
{
    *ret = (struct last_run){
            .started_at = f->first_started_at,
            .finished_at = f->last_finished_at,
            .has_exit = f->has_exit,
            .exit_code = f->exit_code,
    };
    text_copy(ret->reason, sizeof(ret->reason), f->reason[0] ? f->reason : f->exit_reason);
    text_copy(ret->message, sizeof(ret->message), f->message[0] ? f->message : f->exit_message);
}

void memory_pod_removed(struct key_memory *m, bool is_provider, const struct json *last)
{
    struct removed_pod *r = is_provider ? &m->provider : &m->consumer;
    struct pod_facts f;
    bool ended;

    pod_facts_read(last, &f);
    ended = f.terminal || (f.deleting && f.all_ended);
    *r = (struct removed_pod){
            .known = true,
            .clean = !f.node[0] || (f.deleting && ended),
            .terminal = ended || !f.node[0],
            .started = f.started,
            .grace = template_grace_of(json_int_or(last, "spec.terminationGracePeriodSeconds", 30)),
            .by_surprise = strcmp(m->write_sent[is_provider ? ACT_PROVIDER_DELETE : ACT_CONSUMER_DELETE],
                                   f.uid) != 0,
    };
    text_copy(r->uid, sizeof(r->uid), f.uid);
    text_copy(r->node, sizeof(r->node), f.node);
    last_run_read(&f, &r->run);
    if (!r->clean)
        m->unclean = true;
    m->write_sent[is_provider ? ACT_PROVIDER_DELETE : ACT_CONSUMER_DELETE][0] = '\0';
}

void memory_not_told(struct key_memory *m)
{
    m->warned[0] = '\0';
}

void memory_action_failed(struct key_memory *m, enum action_kind kind, const struct failure *failure)
{
    struct retry *r = &m->retry[kind];
    usec_t wait = backoff_next(&r->backoff);

    if (failure->retry_after > wait)
        wait = failure->retry_after;
    r->not_before = usec_add(failure->now, wait);
    r->unreached = failure->unreached;
    r->generation = failure->generation;
    free(r->reason);
    free(r->message);
    if (kind == ACT_SC_STATUS)
        memory_not_told(m);
    r->reason = failure->reason ? strdup(failure->reason) : NULL;
    r->message = failure->message ? strdup(failure->message) : NULL;
}

bool memory_reached_again(struct key_memory *m)
{
    bool any = false;

    for (size_t i = 0; i < ACT_KINDS; i++) {
        if (m->retry[i].not_before == 0 || !m->retry[i].unreached)
            continue;
        retry_clear(&m->retry[i]);
        any = true;
    }
    return any;
}

void memory_action_done(struct key_memory *m, enum action_kind kind)
{
    retry_clear(&m->retry[kind]);
}
