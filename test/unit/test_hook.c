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

/* Whether a process of that kind in container c0 waits. */
static bool waits(struct scene *s, enum wire_kind kind)
{
    const struct visitor v = {
            .state = VISITOR_CHECKED, .request = {.type = WIRE_ATTACH, .kind = kind}, .peer = &s->peers[0]};

    return hook_waits_for(&s->served->slots[0], &v) != NULL;
}

Test(hook, each_waits_for_the_other_of_its_container)
{
    static const struct {
        const char *who;
        enum visitor_state state;
        enum wire_kind kind;
        int container;
        bool first_waits, hook_waits;
    } cases[] = {
            {"the first process", VISITOR_CHECKED, WIRE_RUN, 0, true, false},
            {"the hook", VISITOR_CHECKED, WIRE_EXEC, 0, false, true},
            {"another container's first process", VISITOR_CHECKED, WIRE_RUN, 1, true, true},
            {"another container's hook", VISITOR_CHECKED, WIRE_EXEC, 1, true, true},
            {"somebody not looked at", VISITOR_QUEUED, WIRE_EXEC, 0, true, true},
            {"somebody being looked at", VISITOR_CHECKING, WIRE_EXEC, 0, true, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct scene s;

        begin(&s);
        cr_assert(waits(&s, WIRE_RUN) && waits(&s, WIRE_EXEC));
        s.visitor = (struct visitor){.state = cases[i].state,
                .request = {.type = WIRE_ATTACH, .kind = cases[i].kind},
                .peer = cases[i].state == VISITOR_CHECKED ? &s.peers[cases[i].container] : NULL};
        list_append(&s.served->visitors, &s.visitor.node);
        cr_expect_eq(waits(&s, WIRE_RUN), cases[i].first_waits, "the first process and %s", cases[i].who);
        cr_expect_eq(waits(&s, WIRE_EXEC), cases[i].hook_waits, "the hook and %s", cases[i].who);
        end(&s);
    }
}

Test(hook, nobody_waits_where_there_is_no_hook_or_nobody_is_moved)
{
    struct scene s;

    begin(&s);
    s.served->volume->containers[0].post_start = false;
    cr_expect_not(waits(&s, WIRE_RUN) || waits(&s, WIRE_EXEC), "no hook");
    s.served->volume->containers[0].post_start = true;
    s.served->volume->chroot = true;
    cr_expect_not(waits(&s, WIRE_RUN) || waits(&s, WIRE_EXEC), "Chroot");
    end(&s);
}

Test(hook, each_waits_once)
{
    struct volume_container *c;
    struct slot *slot;
    struct scene s;

    begin(&s);
    slot = &s.served->slots[0];
    c = slot->container;
    (void)snprintf(c->id, sizeof(c->id), "bb");
    cr_expect(waits(&s, WIRE_RUN), "an earlier container had its turn");
    (void)snprintf(c->id, sizeof(c->id), "aa");
    cr_expect_not(waits(&s, WIRE_RUN), "its attach was begun before");
    cr_expect(waits(&s, WIRE_EXEC), "whether its first process was told is not known");
    hook_first_goes_on(slot, &s.peers[1]);
    cr_expect(waits(&s, WIRE_EXEC), "another container's was");
    hook_first_goes_on(slot, &s.peers[0]);
    cr_expect_not(waits(&s, WIRE_EXEC), "it was told");
    end(&s);
}

Test(hook, waits_for_some_time)
{
    struct slot *slot;
    struct scene s;

    begin(&s);
    slot = &s.served->slots[0];
    cr_expect(waits(&s, WIRE_RUN) && waits(&s, WIRE_RUN), "a container that started");
    slot->hook.over = true;
    cr_expect_not(waits(&s, WIRE_RUN) || waits(&s, WIRE_EXEC), "its time is over");
    s.containers[0].id[0] = 'c';
    cr_expect(waits(&s, WIRE_RUN) && waits(&s, WIRE_RUN), "the next one has its own time");
    s.containers[0].id[0] = 'a';
    end(&s);
}
