/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See check.h. One function for each kind of row; each reads like the sentence of the header.
 */
#include "node-agent/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/names.h"

#define AT_START "the agent puts it right at its next start: delete its pod"

static const struct code_text {
    const char *name;
    const char *advice;
} code_texts[CHECK_CODES] = {
        [CHECK_JOURNAL_UNREADABLE] = {"journal-unreadable", "the agent moves it to volumes/bad at its next "
                                                            "start; look there at what was published"},
        [CHECK_JOURNAL_SET_ASIDE] = {"journal-set-aside",
                "an agent that can read it takes it back at its start: update the agent, or look at it and "
                "remove it"},
        [CHECK_JOURNAL_TEMPORARY] = {"journal-temporary", AT_START},
        [CHECK_JOURNAL_WITHOUT_TARGET] = {"journal-without-target", AT_START},
        [CHECK_JOURNAL_DOUBLED] = {"journal-doubled", "delete one of the two pods"},
        [CHECK_TARGET_WITHOUT_JOURNAL] = {"target-without-journal", "if no such pod is on the node, the "
                                                                    "kubelet removes it; restart the kubelet "
                                                                    "if it does not"},
        [CHECK_TARGET_INCOMPLETE] = {"target-incomplete", AT_START},
        [CHECK_TARGET_MOUNTED] = {"target-mounted", "nothing of the agent's mounts there: find out who did, "
                                                    "and unmount it"},
        [CHECK_SOCKET_UNSERVED] = {"socket-unserved", AT_START},
        [CHECK_ROOT_UNOWNED] = {"root-unowned", AT_START},
        [CHECK_ROOT_LOST] = {"root-lost", AT_START},
        [CHECK_ROOT_MISSING] = {"root-missing", AT_START},
        [CHECK_ROOT_STACKED] = {"root-stacked", "stop the StoppableContainer and delete its provider pod"},
        [CHECK_ROOT_ONE_SIDED] = {"root-one-sided", "the agent's volume needs mountPropagation: "
                                                    "Bidirectional; then delete the agent's pod"},
        [CHECK_CONSUMER_ROOTLESS] = {"consumer-rootless", "delete the pod; the controller makes a new one"},
        [CHECK_CONTAINER_ENDED] = {"container-ended", AT_START},
        [CHECK_INSTANCE_UNOWNED] = {"instance-unowned", AT_START},
        [CHECK_KEPT_UNRECORDED] = {"kept-unrecorded", "no root can be made of it: if its "
                                                      "StoppableContainerInstance is gone, remove it"},
        [CHECK_TRASH] = {"trash", "it is being removed; if it stays, the agent's log says why, and its next "
                                  "start tries again: delete its pod"},
        [CHECK_UNKNOWN_FILE] = {"unknown-file", "the agent did not put it there: look at it, remove it"},
        [CHECK_WORKER_LEFT] = {"worker-left", "it is stuck in a pod's file system: delete that pod"},
};

const char *check_code_name(enum check_code code)
{
    return code < CHECK_CODES ? code_texts[code].name : "unknown";
}

const char *check_code_advice(enum check_code code)
{
    return code < CHECK_CODES ? code_texts[code].advice : "";
}

/* --- tables ---------------------------------------------------------------------------------------------- */

void check_facts_init(struct check_facts *f, const char *state_dir, const char *kubelet_dir)
{
    *f = (struct check_facts){.state_dir = state_dir, .kubelet_dir = kubelet_dir};
    buf_init(&f->volumes, LIMIT_VOLUMES * sizeof(struct check_volume));
    buf_init(&f->targets, LIMIT_CHECK_ROWS * sizeof(struct check_target));
    buf_init(&f->roots, LIMIT_CHECK_ROWS * sizeof(struct check_root));
    buf_init(&f->mounts, LIMIT_MOUNTS * sizeof(struct check_mount));
    buf_init(&f->strays, LIMIT_CHECK_ROWS * sizeof(struct check_stray));
    buf_init(&f->workers, LIMIT_CHECK_ROWS * sizeof(struct check_worker));
}

void check_facts_free(struct check_facts *f)
{
    const struct check_volume *v = check_rows(const struct check_volume, &f->volumes);

    for (size_t i = 0; i < check_count(struct check_volume, &f->volumes); i++)
        (void)volume_free(v[i].volume);
    buf_free(&f->volumes);
    buf_free(&f->targets);
    buf_free(&f->roots);
    buf_free(&f->mounts);
    buf_free(&f->strays);
    buf_free(&f->workers);
}

void check_verdict_init(struct check_verdict *v)
{
    buf_init(&v->findings, LIMIT_CHECK_ROWS * sizeof(struct check_finding));
    buf_init(&v->kept, LIMIT_CHECK_ROWS * sizeof(struct check_kept));
}

void check_verdict_free(struct check_verdict *v)
{
    buf_free(&v->findings);
    buf_free(&v->kept);
}

/* A comparison under way. */
struct job {
    const struct check_facts *f;
    const struct check_volume *volumes;
    size_t n_volumes;
    struct check_verdict *out;
};

static struct check_finding *finding(struct job *j, enum check_code code, const char *fmt, ...)
        _printf_(3, 4);

/* Adds one; its path is for the caller to fill in. NULL: no room, which the buffer remembers. */
static struct check_finding *finding(struct job *j, enum check_code code, const char *fmt, ...)
{
    struct check_finding row = {.code = code};
    struct buf *b = &j->out->findings;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(row.text, sizeof(row.text), fmt, ap);
    va_end(ap);
    if (buf_append(b, &row, sizeof(row)) < 0)
        return NULL;
    return &check_rows(struct check_finding, b)[check_count(struct check_finding, b) - 1];
}

static void at_path(struct check_finding *x, const char *base, const char *path)
{
    if (x)
        (void)snprintf(x->path, sizeof(x->path), "%.400s/%.600s", base, path);
}

static void at_journal(const struct job *j, struct check_finding *x, const struct volume *v)
{
    char path[sizeof(SC_VOLUMES_DIR) + VOLUME_ID_LEN + 8];

    (void)snprintf(path, sizeof(path), SC_VOLUMES_DIR "/%s.json", v->id);
    at_path(x, j->f->state_dir, path);
}

static const struct check_volume *volume_of(const struct job *j, enum volume_role role, const char *uid)
{
    for (size_t i = 0; i < j->n_volumes; i++)
        if (j->volumes[i].volume->role == role && strcmp(j->volumes[i].volume->instance_uid, uid) == 0)
            return &j->volumes[i];
    return NULL;
}

static bool is_kept(const struct job *j, const char *uid, const char *container)
{
    const struct check_root *r = check_rows(const struct check_root, &j->f->roots);

    for (size_t i = 0; i < check_count(struct check_root, &j->f->roots); i++)
        if (r[i].upper && strcmp(r[i].uid, uid) == 0 &&
                (!container || strcmp(r[i].container, container) == 0))
            return true;
    return false;
}

/* The mount of a root, or NULL. */
static const struct check_mount *mount_of(const struct job *j, const char *uid, const char *container)
{
    const struct check_mount *m = check_rows(const struct check_mount, &j->f->mounts);
    char path[CHECK_PATH_MAX];

    (void)snprintf(path, sizeof(path), SC_INSTANCES_DIR "/%s/%s/" SC_ROOTFS_DIR, uid, container);
    for (size_t i = 0; i < check_count(struct check_mount, &j->f->mounts); i++)
        if (!m[i].in_kubelet && strcmp(m[i].path, path) == 0)
            return &m[i];
    return NULL;
}

/* --- volumes --------------------------------------------------------------------------------------------- */

static void look_at_target(struct job *j, const struct check_volume *cv)
{
    const struct volume *v = cv->volume;

    if (cv->target == CHECK_ABSENT)
        at_journal(j,
                finding(j, CHECK_JOURNAL_WITHOUT_TARGET, "pod %s/%s: the directory of its volume is gone",
                        v->pod_namespace, v->pod_name),
                v);
    else if (cv->target == CHECK_PRESENT && !cv->complete)
        at_path(finding(j, CHECK_TARGET_INCOMPLETE, "pod %s/%s: a file or the socket is missing",
                        v->pod_namespace, v->pod_name),
                j->f->kubelet_dir, v->dir);
    else if (cv->target == CHECK_PRESENT && j->f->agent && cv->socket == CHECK_SOCKET_DEAD)
        at_path(finding(j, CHECK_SOCKET_UNSERVED, "pod %s/%s: the agent runs, and nobody listens there",
                        v->pod_namespace, v->pod_name),
                j->f->kubelet_dir, v->dir);
}

static void look_for_twin(struct job *j, size_t i)
{
    const struct volume *v = j->volumes[i].volume;

    for (size_t k = 0; k < i && v->role != VOLUME_RECLAIM; k++) {
        const struct volume *w = j->volumes[k].volume;

        if (w->role == v->role && strcmp(w->instance_uid, v->instance_uid) == 0) {
            at_journal(j,
                    finding(j, CHECK_JOURNAL_DOUBLED, "pod %s/%s: the instance has another %s volume, pod %s",
                            v->pod_namespace, v->pod_name, volume_role_text(v->role), w->pod_name),
                    v);
            return;
        }
    }
}

static void look_at_provider(struct job *j, const struct check_volume *cv)
{
    const struct volume *v = cv->volume;

    for (size_t i = 0; i < v->n_containers && !v->lost[0]; i++) {
        const struct volume_container *c = &v->containers[i];

        if (!c->id[0])
            continue;
        if (cv->ended & (uint64_t)1 << i)
            at_journal(j,
                    finding(j, CHECK_CONTAINER_ENDED,
                            "pod %s/%s: container %s (%.12s) does not run, and its root is not marked lost",
                            v->pod_namespace, v->pod_name, c->name, c->id),
                    v);
        else if (!mount_of(j, v->instance_uid, c->name))
            at_journal(j,
                    finding(j, CHECK_ROOT_MISSING, "pod %s/%s: the root of container %s is not mounted",
                            v->pod_namespace, v->pod_name, c->name),
                    v);
    }
}

static void look_at_consumer(struct job *j, const struct volume *v)
{
    const struct check_volume *p = volume_of(j, VOLUME_PROVIDER, v->instance_uid);

    if (v->lost[0] || is_kept(j, v->instance_uid, NULL))
        return;
    if (!p || strcmp(p->volume->pod_uid, v->provider_uid) != 0)
        at_journal(j,
                finding(j, CHECK_CONSUMER_ROOTLESS, "pod %s/%s: the provider pod %s of its root is gone",
                        v->pod_namespace, v->pod_name, v->provider_uid),
                v);
}

static void look_at_volumes(struct job *j)
{
    for (size_t i = 0; i < j->n_volumes; i++) {
        const struct check_volume *cv = &j->volumes[i];

        look_at_target(j, cv);
        look_for_twin(j, i);
        if (cv->volume->role == VOLUME_PROVIDER)
            look_at_provider(j, cv);
        else if (cv->volume->role == VOLUME_CONSUMER)
            look_at_consumer(j, cv->volume);
    }
}

static void look_at_targets(struct job *j)
{
    const struct check_target *t = check_rows(const struct check_target, &j->f->targets);

    for (size_t i = 0; i < check_count(struct check_target, &j->f->targets); i++) {
        bool journaled = false;

        for (size_t k = 0; k < j->n_volumes; k++)
            journaled = journaled || strcmp(j->volumes[k].volume->dir, t[i].dir) == 0;
        if (!journaled)
            at_path(finding(j, CHECK_TARGET_WITHOUT_JOURNAL, "a volume of this driver that is not journaled"),
                    j->f->kubelet_dir, t[i].dir);
    }
}

/* --- roots ----------------------------------------------------------------------------------------------- */

/* Copies the text up to the next slash and returns what comes after that; NULL when there is none. */
static const char *take_name(const char *path, char ret[NAME_MAX + 1])
{
    const char *slash = path ? strchr(path, '/') : NULL;

    if (!slash || slash == path || slash - path > NAME_MAX)
        return NULL;
    (void)snprintf(ret, NAME_MAX + 1, "%.*s", (int)(slash - path), path);
    return slash + 1;
}

/* Cuts "instances/<uid>/<container>/rootfs" up. */
static bool split_root(const char *path, char uid[NAME_MAX + 1], char container[NAME_MAX + 1])
{
    static const char top[] = SC_INSTANCES_DIR "/";
    const char *rest = strncmp(path, top, strlen(top)) == 0 ? path + strlen(top) : NULL;

    rest = take_name(take_name(rest, uid), container);
    return rest && strcmp(rest, SC_ROOTFS_DIR) == 0;
}

static void look_at_owner(struct job *j, const struct check_mount *m, const char *uid, const char *container)
{
    const struct check_volume *p = volume_of(j, VOLUME_PROVIDER, uid);
    const struct volume_container *c = p ? volume_container_const(p->volume, container) : NULL;

    /* A kept root stays mounted as long as a consumer of the instance is published. */
    if (!c && is_kept(j, uid, container) && volume_of(j, VOLUME_CONSUMER, uid))
        return;
    if (!c)
        at_path(finding(j, CHECK_ROOT_UNOWNED, "mounted, and no provider's volume has a container for it"),
                j->f->state_dir, m->path);
    else if (p->volume->lost[0] && !is_kept(j, uid, container))
        at_path(finding(j, CHECK_ROOT_LOST, "still mounted although it is lost: %.200s", p->volume->lost),
                j->f->state_dir, m->path);
}

static void look_at_mount(struct job *j, const struct check_mount *m)
{
    char uid[NAME_MAX + 1], container[NAME_MAX + 1];

    if (m->in_kubelet)
        at_path(finding(j, CHECK_TARGET_MOUNTED, "something is mounted in a volume of this driver"),
                j->f->kubelet_dir, m->path);
    else if (!split_root(m->path, uid, container))
        at_path(finding(j, CHECK_ROOT_UNOWNED, "mounted where no root belongs"), j->f->state_dir, m->path);
    else
        look_at_owner(j, m, uid, container);
    if (m->machine > 1 || m->own > 1)
        at_path(finding(j, CHECK_ROOT_STACKED, "%u mounts lie on each other there",
                        m->machine > m->own ? m->machine : m->own),
                m->in_kubelet ? j->f->kubelet_dir : j->f->state_dir, m->path);
    if (!m->in_kubelet && !m->machine != !m->own)
        at_path(finding(j, CHECK_ROOT_ONE_SIDED, "mounted only in the mount namespace of %s",
                        m->machine ? "the machine" : "this process"),
                j->f->state_dir, m->path);
}

static void keep(struct job *j, const struct check_root *r)
{
    const struct check_volume *p = volume_of(j, VOLUME_PROVIDER, r->uid);
    const struct check_volume *c = volume_of(j, VOLUME_CONSUMER, r->uid);
    struct check_kept row = {.mounted = mount_of(j, r->uid, r->container)};

    (void)snprintf(row.path, sizeof(row.path), "%.400s/" SC_INSTANCES_DIR "/%s/%s", j->f->state_dir, r->uid,
            r->container);
    (void)snprintf(row.holder, sizeof(row.holder), "%.128s%s%.128s", p ? p->volume->pod_name : "",
            p && c ? ", " : "", c ? c->volume->pod_name : "");
    (void)buf_append(&j->out->kept, &row, sizeof(row));
}

static void look_at_root(struct job *j, const struct check_root *r)
{
    const struct check_volume *p = volume_of(j, VOLUME_PROVIDER, r->uid);
    struct check_finding *x = NULL;
    char path[2 * NAME_MAX + 32];

    if (r->upper && (r->record || p))
        keep(j, r);
    else if (r->upper)
        x = finding(j, CHECK_KEPT_UNRECORDED, "an upper directory without a record of its image");
    else if (!p || (r->container[0] && !volume_container_const(p->volume, r->container)))
        x = finding(j, CHECK_INSTANCE_UNOWNED, "no provider's volume has a container for it");
    (void)snprintf(
            path, sizeof(path), SC_INSTANCES_DIR "/%s%s%s", r->uid, r->container[0] ? "/" : "", r->container);
    at_path(x, j->f->state_dir, path);
}

static void look_at_strays(struct job *j)
{
    const struct check_stray *s = check_rows(const struct check_stray, &j->f->strays);
    const struct check_worker *w = check_rows(const struct check_worker, &j->f->workers);

    for (size_t i = 0; i < check_count(struct check_stray, &j->f->strays); i++) {
        struct check_finding *x = finding(j, s[i].code, "%s", s[i].text);

        if (x)
            memcpy(x->path, s[i].path, sizeof(x->path));
    }
    for (size_t i = 0; i < check_count(struct check_worker, &j->f->workers); i++) {
        char pid[16];

        if (!w[i].orphan && !w[i].overdue)
            continue;
        (void)snprintf(pid, sizeof(pid), "%d", w[i].pid);
        at_path(finding(j, CHECK_WORKER_LEFT, "a worker %s",
                        w[i].orphan ? "whose agent is gone" : "that is not done in time"),
                "/proc", pid);
    }
}

int check_compare(const struct check_facts *f, struct check_verdict *ret)
{
    struct job j = {.f = f,
            .volumes = check_rows(const struct check_volume, &f->volumes),
            .n_volumes = check_count(struct check_volume, &f->volumes),
            .out = ret};
    const struct check_mount *m = check_rows(const struct check_mount, &f->mounts);
    const struct check_root *r = check_rows(const struct check_root, &f->roots);

    look_at_volumes(&j);
    look_at_targets(&j);
    for (size_t i = 0; i < check_count(struct check_mount, &f->mounts); i++)
        look_at_mount(&j, &m[i]);
    for (size_t i = 0; i < check_count(struct check_root, &f->roots); i++)
        look_at_root(&j, &r[i]);
    look_at_strays(&j);
    return buf_error(&ret->findings) < 0 ? buf_error(&ret->findings) : buf_error(&ret->kept);
}

static bool has(const struct check_verdict *v, const struct check_finding *x)
{
    const struct check_finding *rows = check_rows(const struct check_finding, &v->findings);

    for (size_t i = 0; i < check_count(struct check_finding, &v->findings); i++)
        if (rows[i].code == x->code && strcmp(rows[i].path, x->path) == 0)
            return true;
    return false;
}

void check_intersect(struct check_verdict *v, const struct check_verdict *later)
{
    struct check_finding *rows = check_rows(struct check_finding, &v->findings);
    size_t n = check_count(struct check_finding, &v->findings), kept = 0;

    for (size_t i = 0; i < n; i++)
        if (has(later, &rows[i]) && kept++ != i)
            rows[kept - 1] = rows[i];
    v->findings.len = kept * sizeof(*rows);
}
