/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See check_run.h: looks, asks, compares, tells.
 */
#include "node-agent/check_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/loop.h"
#include "node-agent/check_look.h"
#include "node-agent/probe.h"
#include "node-agent/runtime/cri.h"

/* Looks in all, and the time between two. */
#define LOOKS 3
#define PAUSE (1 * USEC_PER_SEC)

struct answer {
    struct loop *loop;
    bool ended;
    int code;
    struct err err;
};

static void on_status(int code, struct cri_container *container, const struct err *why, void *user)
{
    struct answer *a = user;

    a->ended = code == -ENOENT || (code == 0 && container->state == CRI_EXITED);
    if (code < 0 && code != -ENOENT) {
        a->code = code;
        a->err = *why;
    }
    (void)cri_container_free(container);
    loop_stop(a->loop, 0);
}

/* Whether the container has ended. One question at a time: a node has some dozens of containers, and the
 * runtime others to serve. It has a deadline of its own. */
static int ask_one(struct loop *loop, struct cri *cri, const char *id, bool *ret_ended, struct err *err)
{
    struct answer a = {.loop = loop, .err = ERR_INIT};
    int r = cri_container_status(cri, id, on_status, &a, NULL);

    if (r == 0)
        r = loop_run(loop);
    if (r < 0)
        return err_set(err, r, "cannot ask the runtime");
    if (a.code < 0) {
        *err = a.err;
        return a.code;
    }
    *ret_ended = a.ended;
    return 0;
}

/* Marks the containers of providers that have ended. The first question that fails is the last. */
static int ask_runtime(const struct options *options, struct check_facts *f, struct err *err)
{
    _cleanup_loop_ struct loop *loop = NULL;
    _cleanup_cri_ struct cri *cri = NULL;
    struct check_volume *v = check_rows(struct check_volume, &f->volumes);
    int r = loop_new(&loop, err);

    if (r == 0)
        r = cri_new(loop, options_runtime(options), &cri, err);
    for (size_t i = 0; r == 0 && i < check_count(struct check_volume, &f->volumes); i++)
        for (size_t k = 0; r == 0 && k < v[i].volume->n_containers; k++) {
            const struct volume_container *c = &v[i].volume->containers[k];
            bool ended = false;

            if (v[i].volume->role != VOLUME_PROVIDER || !c->id[0])
                continue;
            r = ask_one(loop, cri, c->id, &ended, err);
            v[i].ended |= (uint64_t)ended << k;
        }
    return r;
}

/* Facts and verdict of one look. */
static int look_once(const struct options *options, struct check_facts *f, struct check_verdict *v,
        struct check_summary *s, struct err *err)
{
    struct err why = ERR_INIT;
    int r;

    check_facts_init(f, options->state_dir, options->kubelet_dir);
    check_verdict_init(v);
    s->facts = f;
    r = check_look(f, err);
    if (r < 0)
        return r;
    f->agent = probe_run(options->kubelet_dir, true, NULL) == 0;
    s->runtime[0] = '\0';
    if (ask_runtime(options, f, &why) < 0)
        (void)snprintf(s->runtime, sizeof(s->runtime), "%.*s", CHECK_TEXT_MAX - 1, err_text(&why));
    r = check_compare(f, v);
    return r < 0 ? err_set(err, r, "cannot compare") : 0;
}

static int pause_between(struct err *err)
{
    _cleanup_loop_ struct loop *loop = NULL;
    int r = loop_new(&loop, err);

    return r < 0 ? r : loop_turn(loop, PAUSE);
}

/* Looks until nothing is found, or what was found stays. */
static int look_again(const struct options *options, struct check_facts *f, struct check_verdict *v,
        struct check_summary *s, struct err *err)
{
    int r = look_once(options, f, v, s, err);

    for (int i = 1; r == 0 && i < LOOKS && v->findings.len > 0; i++) {
        struct check_verdict now = {.findings.len = 0};

        r = pause_between(err);
        check_facts_free(f);
        check_facts_init(f, options->state_dir, options->kubelet_dir);
        if (r >= 0)
            r = look_once(options, f, &now, s, err);
        if (r == 0) {
            check_intersect(v, &now);
            buf_free(&v->kept);
            v->kept = now.kept;
            now.kept = (struct buf)BUF_INIT(0);
        }
        check_verdict_free(&now);
    }
    return r;
}

static int print(const struct options *options, const struct check_verdict *v, const struct check_summary *s)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_CHECK_REPORT);
    int r = options->json ? check_json(v, s, &b) : check_words(v, s, &b);

    if (r < 0 || fwrite(b.data, 1, b.len, stdout) != b.len || fflush(stdout) != 0) {
        (void)fprintf(stderr, "sc-node-agent: cannot write the report\n");
        return CHECK_EXIT_FAILED;
    }
    return v->findings.len > 0 ? CHECK_EXIT_FINDINGS : CHECK_EXIT_CLEAN;
}

int check_run(const struct options *options)
{
    struct check_facts f;
    struct check_verdict v;
    struct check_summary s = {.facts = NULL};
    struct err err = ERR_INIT;
    int r = look_again(options, &f, &v, &s, &err);

    if (r < 0) {
        (void)fprintf(stderr, "sc-node-agent: cannot look at this node: %s\n", err_text(&err));
        r = CHECK_EXIT_FAILED;
    } else {
        r = print(options, &v, &s);
    }
    check_facts_free(&f);
    check_verdict_free(&v);
    return r;
}
