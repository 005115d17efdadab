/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node agent reads and writes, with each of its allocations refused. The inputs are the fuzzers' first ones.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "node-agent/agent.h"
#include "node-agent/csi/request.h"
#include "node-agent/journal.h"
#include "node-agent/mounts/carry.h"
#include "node-agent/mounts/overlay_layers.h"
#include "node-agent/record.h"
#include "node-agent/runtime/chain.h"
#include "node-agent/runtime/cri_message.h"
#include "test/unit/alloc.h"

#define CORPUS "test/fuzz/corpus/"
#define KUBELET_DIR "/var/lib/kubelet"

struct input {
    const char *file; /* below CORPUS */
    int (*decode)(const struct buf *in, struct buf *out, struct err *err);
};

/* Reads the file, and lets the input's decode say all that it got of it. */
static void run_decode(void *user, struct alloc_outcome *ret)
{
    const struct input *input = user;
    struct buf in = BUF_INIT(MIB), out = BUF_INIT(MIB);
    struct err err = ERR_INIT;

    cr_assert_eq(file_read_at(AT_FDCWD, input->file, &in, &err), 0, "%s", err_text(&err));
    ret->r = input->decode(&in, &out, &err);
    cr_assert_eq(ret->r, -err.code, "%d is said as %d: %s", ret->r, err.code, err.text);
    if (ret->r == -ENOMEM)
        cr_assert_null(strstr(err.text, "malformed"), "who is to mend that: %s", err.text);
    ret->text = ret->r == 0 ? buf_take(&out, NULL) : NULL;
    buf_free(&in);
    buf_free(&out);
}

static void torture(const char *file, int (*decode)(const struct buf *in, struct buf *out, struct err *err),
        bool may_pass)
{
    struct input input = {.file = file, .decode = decode};

    alloc_torture(
            &(struct alloc_case){.name = file, .run = run_decode, .user = &input, .may_pass = may_pass});
}

/* --- the runtime's answers --- */

static int container(const struct buf *in, struct buf *out, struct err *err)
{
    _cleanup_cri_container_ struct cri_container *c = NULL;
    int r;

    alloc_begin();
    r = cri_decode_container((const uint8_t *)in->data, in->len, &c, err);
    alloc_end();
    cr_assert_eq(r < 0, c == NULL);
    if (r < 0)
        return r;
    buf_printf(out, "%s %s %s %s %s %s %d %d %s %s %s %s %s", c->id, c->sandbox_id, c->pod_name,
            c->pod_namespace, c->pod_uid, c->container_name, c->state, c->init_pid, c->image_id, c->image_ref,
            c->working_dir, c->search, c->runtime_type ? c->runtime_type : "-");
    for (size_t i = 0; i < c->n_mounts; i++)
        buf_printf(out, " %s:%s", c->mounts[i].container_path, c->mounts[i].host_path);
    return 0;
}

static int list(const struct buf *in, struct buf *out, struct err *err)
{
    _cleanup_cri_list_ struct cri_list *l = NULL;
    int r;

    alloc_begin();
    r = cri_decode_list((const uint8_t *)in->data, in->len, &l, err);
    alloc_end();
    cr_assert_eq(r < 0, l == NULL);
    for (size_t i = 0; l && i < l->n; i++)
        buf_printf(out, "%s %s %d %u; ", l->items[i].id, l->items[i].container_name, l->items[i].state,
                l->items[i].attempt);
    return r;
}

static void put_list(char **list, struct buf *out)
{
    for (; *list; list++)
        buf_printf(out, "%s,", *list);
    buf_puts(out, "; ");
}

static int image(const struct buf *in, struct buf *out, struct err *err)
{
    _cleanup_cri_image_ struct cri_image *i = NULL;
    int r;

    alloc_begin();
    r = cri_decode_image((const uint8_t *)in->data, in->len, &i, err);
    alloc_end();
    cr_assert_eq(r < 0, i == NULL);
    if (r < 0)
        return r;
    put_list(i->entrypoint, out);
    put_list(i->cmd, out);
    put_list(i->env, out);
    put_list(i->volumes, out);
    return buf_printf(out, "%s %s %s %s %d", i->id, i->user, i->working_dir, i->chain, i->command_too_long);
}

/* Of two layers. */
static int chain(const struct buf *in _unused_, struct buf *out, struct err *err)
{
    static const char hex[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char text[CHAIN_LEN + 1] = "";
    int r;

    alloc_begin();
    r = chain_add(text, hex);
    if (r == 0)
        r = chain_add(text, hex);
    alloc_end();
    return r < 0 ? err_set(err, r, "chain") : buf_puts(out, text);
}

static int version(const struct buf *in, struct buf *out, struct err *err)
{
    _cleanup_cri_version_ struct cri_version *v = NULL;
    int r;

    alloc_begin();
    r = cri_decode_version((const uint8_t *)in->data, in->len, &v, err);
    alloc_end();
    cr_assert_eq(r < 0, v == NULL);
    return r < 0 ? r : buf_printf(out, "%s %s %s", v->runtime_name, v->runtime_version, v->api_version);
}

Test(alloc_agent, runtime)
{
    torture(CORPUS "cri/container", container, false);
    torture(CORPUS "cri/list", list, false);
    torture(CORPUS "cri/image", image, true); /* libcrypto can do without some of its memory */
    torture(CORPUS "cri/image-info", chain, true);
    torture(CORPUS "cri/version", version, false);
}

/* --- the kubelet's requests --- */

static int request(const struct buf *in, struct buf *out, struct err *err)
{
    struct csi_request *req = NULL;
    _cleanup_volume_ struct volume *v = NULL;
    int r;

    alloc_begin();
    r = csi_request_publish(KUBELET_DIR, (const uint8_t *)in->data, in->len, &req, err);
    if (r == 0)
        r = volume_from_request(&req->publish, "system", &v, err);
    alloc_end();
    cr_assert_eq(r < 0, v == NULL);
    if (r == 0)
        buf_printf(out, "%s %s %s %s %s %zu", v->id, v->dir, v->pod_name, v->instance_uid, v->provider_uid,
                v->n_containers);
    for (size_t i = 0; v && i < req->publish.n_attributes; i++)
        buf_printf(out, " %s=%s", req->publish.attributes[i].key, req->publish.attributes[i].value);
    csi_request_free(req);
    return r;
}

Test(alloc_agent, request)
{
    torture(CORPUS "csi_request/consumer", request, true);
}

/* --- files of the state directory --- */

static int journal_file(const struct buf *in, struct buf *out, struct err *err)
{
    _cleanup_volume_ struct volume *v = NULL;
    struct buf mine = BUF_INIT(MIB);
    int r;

    alloc_begin();
    r = journal_decode(in->data, in->len, &v, err);
    if (r == 0)
        r = journal_encode(v, &mine, err);
    alloc_end();
    if (r == 0)
        buf_puts(out, buf_str(&mine));
    buf_free(&mine);
    return r;
}

static int record_file(const struct buf *in, struct buf *out, struct err *err)
{
    struct record rec = {.project = 0};
    struct buf mine = BUF_INIT(MIB);
    int r;

    alloc_begin();
    r = record_decode(in->data, in->len, &rec, err);
    if (r == 0)
        r = record_encode(&rec, &mine, err);
    alloc_end();
    if (r == 0)
        buf_puts(out, buf_str(&mine));
    buf_free(&mine);
    return r;
}

Test(alloc_agent, files)
{
    torture(CORPUS "journal/consumer", journal_file, false);
    torture(CORPUS "journal/provider-node", journal_file, false);
    torture(CORPUS "journal/reclaim", journal_file, false);
    torture(CORPUS "record/limited", record_file, false);
}

static void remove_dir(const char *path)
{
    char cmd[128];

    snprintf(cmd, sizeof(cmd), "rm -rf %s", path);
    cr_assert_eq(system(cmd), 0);
}

static void on_volume(struct volume *v, void *user)
{
    bool armed = alloc_now.armed;

    alloc_end();
    buf_printf(user, "%s ", v->id);
    alloc_now.armed = armed;
    volume_free(v);
}

static void on_bad(const char *file, const struct err *err, void *user _unused_)
{
    alloc_end();
    cr_assert_fail("%s is called bad: %s", file, err_text(err));
}

/* A journal that cannot be read now keeps the agent from starting; no file of it is set aside. */
static void run_load(void *user, struct alloc_outcome *ret)
{
    const int *dir = user;
    struct buf volumes = BUF_INIT(MIB);
    struct err err = ERR_INIT;

    alloc_begin();
    ret->r = journal_load(*dir, on_volume, on_bad, &volumes, &err);
    alloc_end();
    cr_assert_eq(ret->r, -err.code, "%d is said as %d: %s", ret->r, err.code, err.text);
    ret->text = ret->r == 0 ? buf_take(&volumes, NULL) : NULL;
    buf_free(&volumes);
}

/* A write that fails leaves the file as it was, or is there whole. */
static void run_write(void *user, struct alloc_outcome *ret)
{
    const int *dir = user;
    struct buf in = BUF_INIT(MIB), out = BUF_INIT(MIB);
    struct volume *v = NULL;
    struct err err = ERR_INIT;
    char name[VOLUME_ID_LEN + sizeof(".json")];

    cr_assert_eq(file_read_at(AT_FDCWD, CORPUS "journal/consumer", &in, &err), 0);
    cr_assert_eq(journal_decode(in.data, in.len, &v, &err), 0);
    snprintf(name, sizeof(name), "%s.json", v->id);
    alloc_begin();
    ret->r = journal_write(*dir, v, &err);
    alloc_end();
    ret->again_r = ret->r < 0 ? journal_write(*dir, v, NULL) : 0;
    cr_assert_eq(file_read_at(*dir, name, &out, NULL), 0);
    ret->again = strdup(buf_str(&out));
    ret->text = ret->r == 0 ? strdup(buf_str(&out)) : NULL;
    volume_free(v);
    buf_free(&in);
    buf_free(&out);
}

Test(alloc_agent, journal)
{
    char path[] = "/tmp/sc-alloc.XXXXXX";
    int dir;

    cr_assert_not_null(mkdtemp(path));
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    alloc_torture(&(struct alloc_case){.name = "write", .run = run_write, .user = &dir});
    alloc_torture(&(struct alloc_case){.name = "load", .run = run_load, .user = &dir});
    close(dir);
    remove_dir(path);
}

/* --- mounts --- */

static int carried(const struct buf *in, struct buf *out, struct err *err)
{
    static const char *const own[] = {"/etc/hosts"}, *const volumes[] = {"/data"};
    const struct carry_rules rules = {
            .own_mounts = own, .n_own_mounts = 1, .image_volumes = volumes, .n_image_volumes = 1};
    const char *places[] = {"/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"};
    _cleanup_mountinfo_ struct mountinfo *mi = NULL;
    struct carry_list chosen = {.n = 0};
    int r;

    alloc_begin();
    r = mountinfo_parse(in->data, in->len, &mi, err);
    alloc_end();
    cr_assert_eq(r < 0, mi == NULL);
    for (size_t i = 0; mi && i < mi->n; i++) /* the one that no carrying is possible with */
        mi->mounts[i].unbindable = false;
    alloc_begin();
    if (r == 0)
        r = carry_select(mi, 22, &rules, &chosen, err);
    if (r == 0)
        r = carry_check_places(&chosen, places, err);
    alloc_end();
    cr_assert(chosen.n <= ARRAY_SIZE(places));
    for (size_t i = 0; r == 0 && i < chosen.n; i++)
        buf_printf(out, "%s ", chosen.mounts[i]->path);
    carry_list_free(&chosen);
    return r;
}

static int layers(const struct buf *in, struct buf *out, struct err *err)
{
    struct overlay_layers l = {.n = 0};
    int r;

    alloc_begin();
    r = overlay_layers_parse(buf_str(in), &l, err);
    alloc_end();
    cr_assert_eq(r < 0, l.n == 0);
    for (size_t i = 0; i < l.n; i++)
        buf_printf(out, "%s ", l.paths[i]);
    overlay_layers_free(&l);
    return r;
}

Test(alloc_agent, mounts)
{
    torture(CORPUS "mountinfo/container", carried, false);
    torture(CORPUS "overlay_layers/list", layers, false);
    torture(CORPUS "overlay_layers/plus", layers, false);
    torture(CORPUS "overlay_layers/short", layers, false);
}

/* --- what waits --- */

/* A change is settled at the loop's next turn, whatever memory there was when it came. */
static void run_touch(void *user _unused_, struct alloc_outcome *ret)
{
    struct agent a = {.options = NULL};
    struct node_instance in = {.agent = &a, .refs = 1};

    list_init(&a.dirty);
    list_init(&a.waiting);
    list_init(&in.dirty);
    cr_assert_eq(loop_new(&a.loop, NULL), 0);
    cr_assert_eq(loop_add_timer(a.loop, "settle", agent_settle, &a, &a.settle), 0);
    alloc_begin();
    agent_touch(&in);
    alloc_end();
    (void)loop_turn(a.loop, 0);
    ret->text = strdup(list_empty(&in.dirty) ? "settled" : "forgotten");
    loop_free(a.loop);
}

Test(alloc_agent, a_change_is_settled)
{
    struct alloc_outcome o = {0};

    run_touch(NULL, &o);
    cr_assert_str_eq(o.text, "settled");
    alloc_outcome_free(&o);
    alloc_torture(&(struct alloc_case){.name = "touch", .run = run_touch, .may_pass = true});
}
