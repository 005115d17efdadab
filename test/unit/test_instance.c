/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/instance: every question in every state, by tables. A state is written as a string of letters,
 * so that a row of a table reads like a sentence.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "node-agent/instance.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define UID "11111111-2222-3333-4444-555555555555"

struct scene {
    struct instance in;
    struct volume *p; /* provider */
    struct volume *q; /* another provider pod of the same name */
    struct volume *c; /* consumer */
    struct volume *d; /* another consumer pod of the same name */
    struct volume *r; /* reclaim */
};

static struct volume *pod(enum volume_role role, char mark, const char *name)
{
    struct volume *v = volume_new(role == VOLUME_RECLAIM ? 0 : 2);

    cr_assert_not_null(v);
    v->role = role;
    memset(v->id, mark, VOLUME_ID_LEN);
    memset(v->pod_uid, mark, LIMIT_UID);
    strcpy(v->pod_name, name);
    strcpy(v->pod_namespace, role == VOLUME_RECLAIM ? "system" : "tenant");
    strcpy(v->instance_namespace, "tenant");
    strcpy(v->instance_uid, UID);
    strcpy(v->instance_name, "box");
    if (v->n_containers) {
        strcpy(v->containers[0].name, "main");
        strcpy(v->containers[1].name, "side");
    }
    return v;
}

/* What is so, one letter each:
 *   p  provider published       e  both its roots exposed    h  only main's exposed   x  main's being exposed
 *   a  main being adopted       i  main's id recorded        l  lost                  v  leaving
 *   c  consumer published       o  the consumer is an older provider's                s  pause is stopping
 *   f  all of it belongs to another namespace         N  persistence Node, all of it but q and d (with E: those too)
 *   b  in Node, the consumer's root of main is mounted                   u  the roots are being unmounted */
static void set(struct scene *s, const char *state)
{
    memset(s, 0, sizeof(*s));
    strcpy(s->in.ns, "tenant");
    strcpy(s->in.uid, UID);
    s->p = pod(VOLUME_PROVIDER, '1', "box-provider");
    s->q = pod(VOLUME_PROVIDER, '2', "box-provider");
    s->c = pod(VOLUME_CONSUMER, '3', "box");
    s->d = pod(VOLUME_CONSUMER, '4', "box");
    s->r = pod(VOLUME_RECLAIM, '5', "reclaim-" UID);
    memcpy(s->c->provider_uid, s->p->pod_uid, sizeof(s->p->pod_uid));
    for (; *state; state++) {
        struct volume_container *k = s->p->containers;

        if (*state == 'p')
            s->in.provider = s->p;
        else if (*state == 'e')
            k[0].root = k[1].root = ROOT_EXPOSED;
        else if (*state == 'h')
            k[0].root = ROOT_EXPOSED;
        else if (*state == 'x')
            k[0].root = ROOT_EXPOSING;
        else if (*state == 'a')
            k[0].root = ROOT_ADOPTING;
        else if (*state == 'i')
            strcpy(k[0].id, ID_A);
        else if (*state == 'l')
            strcpy(s->p->lost, "it fell");
        else if (*state == 'v')
            s->in.provider_leaving = true;
        else if (*state == 'c')
            s->in.consumer = s->c;
        else if (*state == 'o')
            memcpy(s->c->provider_uid, s->q->pod_uid, sizeof(s->q->pod_uid));
        else if (*state == 's')
            s->in.stopping = true;
        else if (*state == 'N')
            s->p->node = s->c->node = s->r->node = true;
        else if (*state == 'E')
            s->q->node = s->d->node = true;
        else if (*state == 'b')
            s->c->containers[0].root = ROOT_EXPOSED;
        else if (*state == 'u')
            s->in.resting = true;
        else if (*state == 'f')
            strcpy(s->in.ns, "elsewhere");
        else
            cr_assert_fail("no such letter: %c", *state);
    }
}

static void end(struct scene *s)
{
    volume_free(s->p);
    volume_free(s->q);
    volume_free(s->c);
    volume_free(s->d);
    volume_free(s->r);
}

struct row {
    const char *state;
    const char *who; /* publish: p q c d r; attach and hello: container name; hello: id too */
    const char *id;
    enum verdict verdict;
    const char *text; /* a part of the sentence; NULL: none must be there */
};

static void expect(const struct row *row, const struct decision *d)
{
    cr_expect_eq(d->verdict, row->verdict, "state \"%s\", %s: verdict %d, not %d (%s)", row->state, row->who,
            d->verdict, row->verdict, d->text);
    if (row->text)
        cr_expect_not_null(strstr(d->text, row->text), "state \"%s\", %s: \"%s\" without \"%s\"", row->state,
                row->who, d->text, row->text);
    else
        cr_expect_str_empty(d->text, "state \"%s\", %s: unexpected \"%s\"", row->state, row->who, d->text);
}

static const struct row publish_rows[] = {
        /* provider */
        {"", "p", "", VERDICT_DO, NULL}, {"p", "p", "", VERDICT_DONE, NULL},
        {"pel", "p", "", VERDICT_DONE, NULL},
        {"p", "q", "", VERDICT_WAIT, "held by pod box-provider (uid 11111111"},
        {"pel", "q", "", VERDICT_WAIT, "held by pod"}, {"pv", "q", "", VERDICT_WAIT, "held by pod"},
        {"c", "q", "", VERDICT_DO, NULL}, /* its consumer can't get the new root: see attach */
        {"pf", "q", "", VERDICT_LATER, "another namespace"},
        {"f", "p", "", VERDICT_DO, NULL}, /* nothing of the other namespace is left */
        /* consumer */
        {"", "c", "", VERDICT_WAIT, "waiting for the provider pod box-provider"},
        {"p", "c", "", VERDICT_WAIT, "container main"},
        {"pxi", "c", "", VERDICT_WAIT, "root of container main is being exposed"},
        {"pai", "c", "", VERDICT_WAIT, "container main"}, {"ph", "c", "", VERDICT_WAIT, "container side"},
        {"pe", "c", "", VERDICT_DO, NULL}, {"pec", "c", "", VERDICT_DONE, NULL},
        {"c", "c", "", VERDICT_DONE, NULL}, /* whatever the provider's state */
        {"pelc", "c", "", VERDICT_DONE, NULL}, {"pec", "d", "", VERDICT_WAIT, "pod box (uid 33333333"},
        {"pel", "c", "", VERDICT_LATER, "it fell"}, {"pev", "c", "", VERDICT_LATER, "leaving"},
        {"pes", "c", "", VERDICT_WAIT, "being stopped"}, {"pef", "c", "", VERDICT_LATER, "another namespace"},
        /* persistence Node: the former provider's consumer is no obstacle; the two kinds do not meet */
        {"NEc", "q", "", VERDICT_DO, NULL}, {"NEp", "q", "", VERDICT_WAIT, "held by pod"},
        {"Nc", "q", "", VERDICT_WAIT, "the other persistence"}, {"Npe", "c", "", VERDICT_DO, NULL},
        {"Np", "c", "", VERDICT_WAIT, "container main"},
        {"N", "c", "", VERDICT_WAIT, "waiting for the provider pod"},
        {"Npe", "d", "", VERDICT_LATER, "the other persistence"},
        {"NEpec", "d", "", VERDICT_WAIT, "pod box (uid 3333"}, {"Nc", "r", "", VERDICT_WAIT, "pod box"},
        {"Npev", "c", "", VERDICT_LATER, "leaving"},
        /* its roots go to rest, with the last volume or after it */
        {"NEcu", "q", "", VERDICT_WAIT, "being unmounted"}, {"Nu", "p", "", VERDICT_WAIT, "being unmounted"},
        {"u", "p", "", VERDICT_WAIT, "being unmounted"}, {"Nu", "r", "", VERDICT_WAIT, "being unmounted"},
        {"Ncu", "r", "", VERDICT_WAIT, "pod box"}, {"Npuv", "c", "", VERDICT_LATER, "leaving"},
        {"Nu", "c", "", VERDICT_WAIT, "waiting for the provider pod"},
        /* reclaim */
        {"", "r", "", VERDICT_DO, NULL}, {"p", "r", "", VERDICT_WAIT, "box-provider"},
        {"pec", "r", "", VERDICT_WAIT, "pod box (uid 3333"},
        {"c", "r", "", VERDICT_WAIT, "pod box (uid 3333"},
        {"pef", "r", "", VERDICT_DO, NULL}, /* nothing of this namespace's instance is here */
};

Test(instance, publish)
{
    for (size_t i = 0; i < ARRAY_SIZE(publish_rows); i++) {
        struct scene s;
        struct decision d;
        const struct volume *want;

        set(&s, publish_rows[i].state);
        switch (publish_rows[i].who[0]) {
        case 'p':
            want = s.p;
            break;
        case 'q':
            want = s.q;
            break;
        case 'c':
            want = s.c;
            break;
        case 'd':
            want = s.d;
            break;
        default:
            want = s.r;
            break;
        }
        d = instance_publish(&s.in, want);
        expect(&publish_rows[i], &d);
        end(&s);
    }
}

/* A consumer may name a container that the provider has not: said by name, and no crash. */
Test(instance, consumer_of_a_container_that_is_not_there)
{
    struct scene s;
    struct decision d;

    set(&s, "pe");
    strcpy(s.c->containers[1].name, "ghost");
    d = instance_publish(&s.in, s.c);
    cr_assert_eq(d.verdict, VERDICT_WAIT);
    cr_assert_not_null(strstr(d.text, "no root for container ghost"));
    d = instance_attach(&s.in, s.c, "ghost");
    cr_assert_eq(d.verdict, VERDICT_NEVER);
    end(&s);
}

static const struct row hello_rows[] = {
        {"p", "main", ID_A, VERDICT_DO, NULL},
        {"pi", "main", ID_A, VERDICT_DO, NULL}, /* exposing it failed before */
        {"pai", "main", ID_A, VERDICT_DO, NULL},
        {"pxi", "main", ID_A, VERDICT_WAIT, "being exposed"},
        {"pei", "main", ID_A, VERDICT_DONE, NULL},
        {"pi", "main", ID_B, VERDICT_LOSE, "second time"},
        {"pxi", "main", ID_B, VERDICT_LOSE, "second time"},
        {"pei", "main", ID_B, VERDICT_LOSE, "second time"},
        {"pai", "main", ID_B, VERDICT_LOSE, "second time"},
        {"pei", "side", ID_B, VERDICT_DONE, NULL}, /* the other container's root */
        {"peil", "main", ID_A, VERDICT_NEVER, "it fell"},
        {"peil", "main", ID_B, VERDICT_NEVER, "it fell"},
        {"pv", "main", ID_A, VERDICT_NEVER, "unmounted"},
        {"", "main", ID_A, VERDICT_NEVER, "unmounted"},
        {"p", "ghost", ID_A, VERDICT_NEVER, "ghost"},
        /* persistence Node: a container that runs again gets its root back */
        {"Nphi", "main", ID_A, VERDICT_DONE, NULL},
        {"Nphi", "main", ID_B, VERDICT_DO, NULL},
        {"Npi", "main", ID_B, VERDICT_DO, NULL},
        {"Npix", "main", ID_B, VERDICT_WAIT, "being exposed"},
        {"Npai", "main", ID_B, VERDICT_DO, NULL},
        {"Npv", "main", ID_A, VERDICT_NEVER, "unmounted"},
};

Test(instance, hello)
{
    for (size_t i = 0; i < ARRAY_SIZE(hello_rows); i++) {
        struct scene s;
        struct decision d;

        set(&s, hello_rows[i].state);
        d = instance_hello(&s.in, s.p, hello_rows[i].who, hello_rows[i].id);
        expect(&hello_rows[i], &d);
        end(&s);
    }
}

static const struct row attach_rows[] = {
        {"pec", "main", "", VERDICT_DO, NULL},
        {"phc", "main", "", VERDICT_DO, NULL}, /* the other root does not matter to this container */
        {"phc", "side", "", VERDICT_WAIT, "container side"},
        {"pec", "ghost", "", VERDICT_NEVER, "ghost"},
        {"paic", "main", "", VERDICT_WAIT, "container main"}, /* just after the agent's restart */
        {"pic", "main", "", VERDICT_WAIT, "container main"},
        {"pxic", "main", "", VERDICT_WAIT, "container main"},
        {"pecl", "main", "", VERDICT_NEVER, "it fell"},
        {"pecv", "main", "", VERDICT_NEVER, "left this node"},
        {"c", "main", "", VERDICT_NEVER, "left this node"},
        {"peco", "main", "", VERDICT_NEVER, "the provider pod is a new one"},
        {"pe", "main", "", VERDICT_NEVER, "unmounted"},
        {"pecs", "main", "", VERDICT_DO, NULL}, /* pause waits for it */
        /* persistence Node: whatever the provider does */
        {"Ncb", "main", "", VERDICT_DO, NULL},
        {"Ncbo", "main", "", VERDICT_DO, NULL},
        {"Npcb", "main", "", VERDICT_DO, NULL},
        {"Npvcb", "main", "", VERDICT_DO, NULL},
        {"Ncb", "side", "", VERDICT_WAIT, "bring the root of container side back"}, /* after a reboot */
        {"Nb", "main", "", VERDICT_NEVER, "unmounted"},
        {"Ncb", "ghost", "", VERDICT_NEVER, "ghost"},
};

Test(instance, attach)
{
    for (size_t i = 0; i < ARRAY_SIZE(attach_rows); i++) {
        struct scene s;
        struct decision d;

        set(&s, attach_rows[i].state);
        d = instance_attach(&s.in, s.c, attach_rows[i].who);
        expect(&attach_rows[i], &d);
        end(&s);
    }
}

static const struct row release_rows[] = {
        {"pe", "pause", "", VERDICT_DONE, NULL},
        {"pec", "pause", "", VERDICT_WAIT, "pod box"},
        {"pecv", "pause", "", VERDICT_WAIT, "pod box"},
        {"pecl", "pause", "", VERDICT_DONE, NULL},
        {"", "pause", "", VERDICT_DONE, NULL},
        {"Npec", "pause", "", VERDICT_DONE, NULL},
};

Test(instance, release)
{
    for (size_t i = 0; i < ARRAY_SIZE(release_rows); i++) {
        struct scene s;
        struct decision d;

        set(&s, release_rows[i].state);
        d = instance_release(&s.in);
        expect(&release_rows[i], &d);
        end(&s);
    }
}

/* The first reason stays, and there is always one. */
Test(instance, lose)
{
    struct scene s;

    set(&s, "pe");
    cr_assert(instance_lose(s.p, ""));
    cr_assert_str_not_empty(s.p->lost);
    cr_assert_not(instance_lose(s.p, "second"));
    cr_assert_null(strstr(s.p->lost, "second"));
    end(&s);
}

/* The provider may be gone, or be another, and the loss is still known. */
Test(instance, lost_consumer)
{
    static const char *const states[] = {"pec", "c", "peco", "pecl"};

    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        struct scene s;
        struct decision d;

        set(&s, states[i]);
        cr_assert(instance_lose(s.c, "it sank"));
        d = instance_attach(&s.in, s.c, "main");
        cr_expect_eq(d.verdict, VERDICT_NEVER);
        cr_expect_not_null(strstr(d.text, "it sank"));
        end(&s);
    }
}

Test(instance, is_on_roots)
{
    static const struct {
        const char *state;
        bool is;
    } rows[] = {{"pec", true}, {"pecl", true}, {"peco", false}, {"c", false}, {"pe", false}, {"", false}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct scene s;

        set(&s, rows[i].state);
        cr_expect_eq(instance_is_on_roots(&s.in), rows[i].is, "state \"%s\"", rows[i].state);
        end(&s);
    }
}
