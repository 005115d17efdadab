/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What older versions of the two programs wrote, read by this one: test/unit/old/COMMIT holds the journal of an
 * agent, the record of a root, and StoppableContainers with all that belongs to them, as the programs of that
 * commit left them on a cluster. Journals and records come back as the same text, so that the older agent, rolled
 * back to, finds its own format; a controller that starts on the objects makes and deletes nothing, and goes on with
 * them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>

#include "common/base/file.h"
#include "node-agent/journal.h"
#include "node-agent/record.h"
#include "test/unit/world.h"

#define OLD "test/unit/old"

static const char *const versions[] = {"b8eb18a", "195b9d2"};

static void read_text(const char *path, struct buf *b)
{
    struct err err = ERR_INIT;

    cr_assert_eq(file_read_at(AT_FDCWD, path, b, &err), 0, "%s: %s", path, err_text(&err));
}

static void journal_comes_back(int dir, const char *name)
{
    _cleanup_volume_ struct volume *v = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JOURNAL), again = BUF_INIT(LIMIT_JOURNAL);
    struct err err = ERR_INIT;

    cr_assert_eq(journal_read(dir, name, &v, &err), 0, "%s: %s", name, err_text(&err));
    cr_assert_eq(file_read_at(dir, name, &text, &err), 0);
    cr_assert_eq(journal_encode(v, &again, &err), 0);
    cr_expect_str_eq(
            buf_str(&again), buf_str(&text), "an agent of that version would not read it as its own");
}

Test(old_versions, journal)
{
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        char path[PATH_MAX];
        DIR *d;
        size_t n = 0;

        (void)snprintf(path, sizeof(path), OLD "/%s/journal", versions[i]);
        d = opendir(path);
        cr_assert(d, "%s", path);
        for (const struct dirent *e; (e = readdir(d));)
            if (e->d_name[0] != '.') {
                journal_comes_back(dirfd(d), e->d_name);
                n++;
            }
        (void)closedir(d);
        cr_expect_geq(n, 5, "%zu files in %s", n, path);
    }
}

Test(old_versions, record_of_a_root)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_RECORD), again = BUF_INIT(LIMIT_RECORD);
    struct err err = ERR_INIT;
    struct record rec;

    read_text(OLD "/195b9d2/root.json", &text);
    cr_assert_eq(record_decode(buf_str(&text), text.len, &rec, &err), 0, "%s", err_text(&err));
    cr_expect_str_eq(rec.ns, "tenant");
    cr_assert_eq(record_encode(&rec, &again, &err), 0);
    cr_expect_str_eq(buf_str(&again), buf_str(&text));
}

/* --- the controller --------------------------------------------------------------------------------------- */

/* One StoppableContainer, and an hour later a controller that has just started. */
struct old {
    struct json *objects;
    const struct json *sc;
    struct key_memory memory;
    usec_t now;
};

static void old_load(struct old *o, const char *version, const char *name)
{
    _cleanup_buf_ struct buf text = BUF_INIT(MIB);
    char path[PATH_MAX];
    struct err err = ERR_INIT;

    (void)snprintf(path, sizeof(path), OLD "/%s/%s.json", version, name);
    read_text(path, &text);
    *o = (struct old){.now = 3600 * USEC_PER_SEC};
    cr_assert_eq(json_parse(buf_str(&text), text.len, &o->objects, &err), 0, "%s: %s", path, err_text(&err));
    o->sc = json_field(o->objects, "sc");
    cr_assert(o->sc, "%s", path);
    memory_init(&o->memory);
}

static void old_free(struct old *o)
{
    memory_free(&o->memory);
    o->objects = json_free(o->objects);
}

static void old_spec(struct old *o, const char *patch)
{
    struct json *sc = json_field(o->objects, "sc");
    struct json *p = lit(patch);

    merge(json_field(sc, "spec"), p);
    json_free(p);
    json_set_int(json_field(sc, "metadata"), "generation", json_int_or(sc, "metadata.generation", 0) + 1);
}

/* As deploy/system starts it. */
static void old_plan(struct old *o, struct plan *p)
{
    const struct plan_config config = {.rules = {.runtime_classes = "runc,crun"},
            .namespace = "stoppablecontainer-system",
            .reclaim_image = SC_GROUP "/sc-controller:0.1.0",
            .provider_priority_class = "stoppablecontainer-provider",
            .host = "test"};
    usec_t made = 0;
    struct observed seen = {.namespace = "tenant",
            .name = json_str(o->sc, "metadata.name"),
            .sc = o->sc,
            .sci = json_field(o->objects, "sci"),
            .consumer = json_field(o->objects, "consumer"),
            .provider = json_field(o->objects, "provider"),
            .now = o->now};

    cr_assert_eq(clock_parse_time(json_str(o->sc, "metadata.creationTimestamp"), &made), 0);
    seen.realtime = made + o->now;
    o->memory.node = NODE_READY;
    o->memory.node_at = o->now;
    o->memory.namespace = NAMESPACE_ACTIVE;
    o->memory.namespace_at = o->now;
    cr_assert_eq(plan_make(&seen, &config, &o->memory, p), 0);
}

static const char *actions(const struct plan *p)
{
    static char text[512];

    text[0] = '\0';
    for (size_t i = 0; i < p->n; i++) {
        strcat(text, action_name(p->actions[i].kind));
        strcat(text, " ");
    }
    return text;
}

static bool has(const struct plan *p, enum action_kind kind)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->actions[i].kind == kind)
            return true;
    return false;
}

static const struct {
    const char *version, *name;
    bool running, node;
} olds[] = {
        {"b8eb18a", "runs", true, false},
        {"b8eb18a", "chroot", true, false},
        {"b8eb18a", "two", true, false},
        {"b8eb18a", "sleeps", false, false},
        {"195b9d2", "runs", true, false},
        {"195b9d2", "kept", true, true},
        {"195b9d2", "keptoff", false, true},
};

/* Words of a status may have changed since; no object, and no phase. */
static void expect_rest(const struct plan *p, const struct old *o, const char *which)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct action *a = &p->actions[i];
        const struct json *object = a->kind == ACT_SC_STATUS ? o->sc : json_field(o->objects, "sci");
        const char *before = json_str_or(object, "status.phase", "");

        cr_expect(a->kind == ACT_SC_STATUS || a->kind == ACT_SCI_STATUS, "%s: %s", which, actions(p));
        cr_expect_str_eq(json_str_or(a->body, "status.phase", before), before, "%s", which);
        json_for_each (c, json_at(a->body, "status.conditions"))
            cr_expect_str_eq(json_str_or(c, "status", ""),
                    condition_text(object, json_str_or(c, "type", ""), "status"), "%s", which);
    }
    cr_expect(!p->ask_node[0] && !p->ask_namespace, "%s", which);
}

Test(old_versions, a_controller_that_starts_on_their_objects_makes_and_ends_nothing)
{
    for (size_t i = 0; i < ARRAY_SIZE(olds); i++) {
        struct plan p = PLAN_INIT;
        struct old o;

        old_load(&o, olds[i].version, olds[i].name);
        old_plan(&o, &p);
        expect_rest(&p, &o, olds[i].name);
        plan_free(&p);
        old_free(&o);
    }
}

/* The other way than they are: stopped by the consumer's deletion alone, started by its creation alone. */
Test(old_versions, stop_and_start_go_on_with_their_objects)
{
    for (size_t i = 0; i < ARRAY_SIZE(olds); i++) {
        enum action_kind wanted = olds[i].running ? ACT_CONSUMER_DELETE : ACT_CONSUMER_CREATE;
        struct plan p = PLAN_INIT;
        struct old o;

        old_load(&o, olds[i].version, olds[i].name);
        old_spec(&o, olds[i].running ? "{'running':false}" : "{'running':true}");
        old_plan(&o, &p);
        cr_expect(has(&p, wanted), "%s %s: %s", olds[i].version, olds[i].name, actions(&p));
        cr_expect(!has(&p, ACT_SCI_CREATE) && !has(&p, ACT_SCI_DELETE) && !has(&p, ACT_PROVIDER_CREATE) &&
                          !has(&p, ACT_PROVIDER_DELETE) && !has(&p, ACT_RECLAIM_CREATE),
                "%s %s: %s", olds[i].version, olds[i].name, actions(&p));
        plan_free(&p);
        old_free(&o);
    }
}

/* In the image that the instance names, which is what the root lies on, whatever the template says now. */
static void expect_same_image(const struct plan *p, const struct old *o)
{
    const struct json *images = json_at(json_field(o->objects, "sci"), "status.images");

    for (size_t i = 0; i < p->n; i++)
        if (p->actions[i].kind == ACT_PROVIDER_CREATE)
            cr_expect_str_eq(
                    json_str_or(json_index(json_at(p->actions[i].body, "spec.containers"), 0), "image", ""),
                    json_string(json_index(images, 0)));
}

static bool tells_loss(const struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->actions[i].kind == ACT_EVENT &&
                strcmp(json_str_or(p->actions[i].body, "reason", ""), "RootfsLost") == 0)
            return true;
    return false;
}

/* Its provider gone: a loss in persistence Provider, none in Node. */
Test(old_versions, a_provider_that_is_gone_is_a_loss_or_none)
{
    for (size_t i = 0; i < ARRAY_SIZE(olds); i++) {
        struct plan p = PLAN_INIT;
        struct old o;

        old_load(&o, olds[i].version, olds[i].name);
        json_remove(o.objects, "provider");
        if (olds[i].node)
            old_spec(&o, "{'template':{'spec':{'image':'sc.test/another:2'}}}");
        old_plan(&o, &p);
        cr_expect_eq(has(&p, ACT_PROVIDER_CREATE), olds[i].node, "%s %s: %s", olds[i].version, olds[i].name,
                actions(&p));
        cr_expect_eq(tells_loss(&p), !olds[i].node, "%s %s: %s", olds[i].version, olds[i].name, actions(&p));
        cr_expect(!has(&p, ACT_CONSUMER_CREATE));
        expect_same_image(&p, &o);
        plan_free(&p);
        old_free(&o);
    }
}

Test(old_versions, made_stopped_stays_so)
{
    struct plan p = PLAN_INIT;
    struct old o;

    old_load(&o, "b8eb18a", "never");
    old_plan(&o, &p);
    expect_rest(&p, &o, "never");
    plan_free(&p);
    old_free(&o);
}
