/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/hook: whose process it is that a container waits for. (test/priv/test_hook.c: with a real agent.)
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "node-agent/agent.h"

/* A consumer with two containers, of which the first one asks. */
struct scene {
    struct loop *loop;
    struct agent agent;
    struct node_instance instance;
    struct served *served;
    struct cri_container containers[2];
    struct peer peers[2];
    struct visitor visitor; /* somebody else */
};

static void begin(struct scene *s)
{
    static char ids[2][3] = {"aa", "bb"};
    struct err err = ERR_INIT;

    *s = (struct scene){.instance.agent = &s->agent};
    cr_assert_eq(loop_new(&s->loop, &err), 0, "%s", err_text(&err));
    s->agent.loop = s->loop;
    s->served = calloc(1, sizeof(*s->served) + 2 * sizeof(s->served->slots[0]));
    cr_assert_not_null(s->served);
    s->served->agent = &s->agent;
    s->served->instance = &s->instance;
    s->served->volume = volume_new(2);
    cr_assert_not_null(s->served->volume);
    s->served->volume->role = VOLUME_CONSUMER;
    s->served->n_slots = 2;
    list_init(&s->served->visitors);
    for (int i = 0; i < 2; i++) {
        struct volume_container *c = &s->served->volume->containers[i];

        (void)snprintf(c->name, sizeof(c->name), "c%d", i);
        c->post_start = true;
        s->served->slots[i] = (struct slot){.served = s->served, .container = c};
        s->containers[i].id = ids[i];
        s->peers[i].container = &s->containers[i];
    }
}

static void end(struct scene *s)
{
    for (int i = 0; i < 2; i++)
        s->served->slots[i].hook.timer = loop_remove(s->served->slots[i].hook.timer);
    (void)volume_free(s->served->volume);
    free(s->served);
    (void)loop_free(s->loop);
}

static bool waits(struct scene *s)
{
    return hook_is_awaited(&s->served->slots[0], &s->peers[0]);
}

Test(hook, is_a_checked_process_of_the_container_that_asks_as_one)
{
    static const struct {
        const char *who;
        enum visitor_state state;
        enum wire_kind kind;
        int container;
        bool waits;
    } cases[] = {
            {"its first process", VISITOR_CHECKED, WIRE_RUN, 0, true},
            {"another container's hook", VISITOR_CHECKED, WIRE_EXEC, 1, true},
            {"somebody not looked at", VISITOR_QUEUED, WIRE_EXEC, 0, true},
            {"somebody being looked at", VISITOR_CHECKING, WIRE_EXEC, 0, true},
            {"the hook", VISITOR_CHECKED, WIRE_EXEC, 0, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct scene s;

        begin(&s);
        cr_assert(waits(&s));
        s.visitor = (struct visitor){.state = cases[i].state,
                .request = {.type = WIRE_ATTACH, .kind = cases[i].kind},
                .peer = cases[i].state == VISITOR_CHECKED ? &s.peers[cases[i].container] : NULL};
        list_append(&s.served->visitors, &s.visitor.node);
        cr_expect_eq(waits(&s), cases[i].waits, "%s", cases[i].who);
        end(&s);
    }
}

Test(hook, is_waited_for_where_there_is_one_and_once)
{
    struct volume_container *c;
    struct scene s;

    begin(&s);
    c = &s.served->volume->containers[0];
    c->post_start = false;
    cr_expect_not(waits(&s), "no hook");
    c->post_start = true;
    s.served->volume->chroot = true;
    cr_expect_not(waits(&s), "Chroot");
    s.served->volume->chroot = false;
    (void)snprintf(c->id, sizeof(c->id), "%s", "bb");
    cr_expect(waits(&s), "an earlier container had its turn");
    (void)snprintf(c->id, sizeof(c->id), "%s", "aa");
    cr_expect_not(waits(&s), "its attach was begun before");
    c->id[0] = '\0';
    cr_expect(waits(&s) && waits(&s), "a container that started");
    s.served->slots[0].hook.over = true;
    cr_expect_not(waits(&s), "its time is over");
    s.peers[0].container->id[0] = 'c';
    cr_expect(waits(&s) && waits(&s), "the next one has its own time");
    s.peers[0].container->id[0] = 'a';
    end(&s);
}
