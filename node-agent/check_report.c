/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a check (check_run.h). As JSON:
 *
 *     {"version":1,"clean":false,"agent":true,"runtime":"","volumes":2,"roots":1,
 *      "kept":[{"path":"..","mounted":false,"holder":".."}],
 *      "findings":[{"code":"root-unowned","path":"..","text":"..","advice":".."}]}
 *
 * roots counts what is mounted; runtime says why it was not asked, "" where it was.
 */
#include <errno.h>

#include "common/json/json.h"
#include "node-agent/check_run.h"

/* Version of the JSON: fields may be added to it, none changes its meaning. */
#define REPORT_VERSION 1

int check_words(const struct check_verdict *v, const struct check_summary *s, struct buf *b)
{
    const struct check_finding *f = check_rows(const struct check_finding, &v->findings);
    const struct check_kept *k = check_rows(const struct check_kept, &v->kept);
    size_t n = check_count(struct check_finding, &v->findings);

    (void)buf_printf(b, "%zu volumes, %zu roots mounted; %s\n",
            check_count(struct check_volume, &s->facts->volumes),
            check_count(struct check_mount, &s->facts->mounts),
            s->facts->agent ? "the agent answers" : "no agent answers");
    if (s->runtime[0])
        (void)buf_printf(b, "the runtime was not asked: %s\n", s->runtime);
    for (size_t i = 0; i < check_count(struct check_kept, &v->kept); i++)
        (void)buf_printf(b, "kept root: %s%s%s%s\n", k[i].path, k[i].mounted ? ", mounted" : "",
                k[i].holder[0] ? ", held by " : "", k[i].holder);
    for (size_t i = 0; i < n; i++)
        (void)buf_printf(b, "%s: %s: %s; %s\n", check_code_name(f[i].code), f[i].path, f[i].text,
                check_code_advice(f[i].code));
    (void)buf_printf(b, n == 0 ? "clean\n" : "%zu findings\n", n);
    return buf_error(b);
}

static int add_kept(struct json *list, const struct check_kept *k)
{
    struct json *o = json_new_object();
    int r = json_set_str(o, "path", k->path);

    if (r == 0)
        r = json_set_bool(o, "mounted", k->mounted);
    if (r == 0)
        r = json_set_str(o, "holder", k->holder);
    if (r == 0)
        return json_append(list, o);
    (void)json_free(o);
    return r;
}

static int add_finding(struct json *list, const struct check_finding *f)
{
    struct json *o = json_new_object();
    int r = json_set_str(o, "code", check_code_name(f->code));

    if (r == 0)
        r = json_set_str(o, "path", f->path);
    if (r == 0)
        r = json_set_str(o, "text", f->text);
    if (r == 0)
        r = json_set_str(o, "advice", check_code_advice(f->code));
    if (r == 0)
        return json_append(list, o);
    (void)json_free(o);
    return r;
}

static int add_head(struct json *o, const struct check_verdict *v, const struct check_summary *s)
{
    int r = json_set_int(o, "version", REPORT_VERSION);

    if (r == 0)
        r = json_set_bool(o, "clean", v->findings.len == 0);
    if (r == 0)
        r = json_set_bool(o, "agent", s->facts->agent);
    if (r == 0)
        r = json_set_str(o, "runtime", s->runtime);
    if (r == 0)
        r = json_set_int(o, "volumes", (int64_t)check_count(struct check_volume, &s->facts->volumes));
    if (r == 0)
        r = json_set_int(o, "roots", (int64_t)check_count(struct check_mount, &s->facts->mounts));
    return r;
}

int check_json(const struct check_verdict *v, const struct check_summary *s, struct buf *b)
{
    _cleanup_json_ struct json *o = json_new_object();
    const struct check_finding *f = check_rows(const struct check_finding, &v->findings);
    const struct check_kept *k = check_rows(const struct check_kept, &v->kept);
    struct json *kept, *findings;
    int r = o ? add_head(o, v, s) : -ENOMEM;

    if (r < 0)
        return r;
    kept = json_ensure_array(o, "kept");
    findings = json_ensure_array(o, "findings");
    if (!kept || !findings)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < check_count(struct check_kept, &v->kept); i++)
        r = add_kept(kept, &k[i]);
    for (size_t i = 0; r == 0 && i < check_count(struct check_finding, &v->findings); i++)
        r = add_finding(findings, &f[i]);
    if (r == 0)
        r = json_write(o, b);
    return r == 0 ? buf_putc(b, '\n') : r;
}
