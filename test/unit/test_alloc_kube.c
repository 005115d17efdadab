/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API client reads and remembers, with each of its allocations refused.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "common/base/limits.h"
#include "common/http/internal.h"
#include "common/kube/config.h"
#include "common/kube/event.h"
#include "common/kube/internal.h"
#include "common/kube/lease_record.h"
#include "common/kube/store.h"
#include "common/kube/watch_line.h"
#include "common/kube/yaml.h"
#include "test/unit/alloc.h"
#include "test/unit/json_text.h"

#define PEM "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
#define PEM64 "LS0tLS1CRUdJTiBYLS0tLS0KeAotLS0tLUVORCBYLS0tLS0K"

static char *text_of(const struct json *node)
{
    struct buf b = BUF_INIT(MIB);

    cr_assert_eq(json_write(node, &b), 0);
    return buf_take(&b, NULL);
}

static void say_error(struct alloc_outcome *ret, int r, const struct err *err)
{
    ret->r = r;
    cr_assert_eq(r < 0 ? r : 0, -err->code, "%d is said as %d: %s", r, err->code, err->text);
}

/* --- configuration --- */

/* A directory as the kubelet makes it; and the kubeconfig beside it. */
static void make_files(char dir[static 64])
{
    static const char *const names[] = {"token", "ca.crt", "namespace", "key.pem"};
    static const char *const texts[] = {"secret\n", PEM, "team\n", PEM};

    strcpy(dir, "/tmp/sc-alloc.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[128];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        cr_assert(write(fd, texts[i], strlen(texts[i])) > 0);
        close(fd);
    }
}

static void remove_files(const char *dir)
{
    static const char *const names[] = {"token", "ca.crt", "namespace", "key.pem"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static char *describe(const struct kube_config *c)
{
    const char *const texts[] = {c->server, c->namespace, c->server_name, c->ca_pem, c->cert_pem, c->key_pem,
            c->token, c->ca_file, c->cert_file, c->key_file, c->token_file};
    struct buf b = BUF_INIT(MIB);

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        buf_printf(&b, "%s;", texts[i] ? texts[i] : "none");
    return buf_take(&b, NULL);
}

static void run_in_cluster(void *user, struct alloc_outcome *ret)
{
    struct kube_config *config = NULL;
    struct err err = ERR_INIT;
    int r;

    alloc_begin();
    r = kube_config_in_cluster("10.0.0.1", "443", user, &config, &err);
    alloc_end();
    say_error(ret, r, &err);
    ret->text = config ? describe(config) : NULL;
    kube_config_free(config);
}

static void run_kubeconfig(void *user, struct alloc_outcome *ret)
{
    static const char text[] =
            "# a comment\napiVersion: v1\ncurrent-context: here\ncontexts:\n- name: here\n  context: "
            "{cluster: c, user: "
            "\"u\", namespace: 'n'}\nclusters:\n- name: c\n  cluster:\n    server: https://h:1/\n    "
            "certificate-authority-data: " PEM64 "\n    tls-server-name: s\nusers:\n- name: u\n  user:\n    "
            "client-certificate: ca.crt\n    client-key: key.pem\n    tokenFile: token\n";
    struct kube_config *config = NULL;
    struct err err = ERR_INIT;
    int r;

    alloc_begin();
    r = kube_config_from_kubeconfig(text, strlen(text), user, &config, &err);
    alloc_end();
    say_error(ret, r, &err);
    ret->text = config ? describe(config) : NULL;
    kube_config_free(config);
}

/* As it was read, and read again. */
static void run_reload(void *user, struct alloc_outcome *ret)
{
    struct kube_config *config = NULL;
    _cleanup_free_ char *before = NULL;
    struct err err = ERR_INIT;
    int r;

    cr_assert_eq(kube_config_in_cluster("10.0.0.1", "443", user, &config, &err), 0);
    free(config->token);
    config->token = strdup("older");
    before = describe(config);
    alloc_begin();
    r = kube_config_reload(config, &err);
    alloc_end();
    say_error(ret, r, &err);
    ret->text = describe(config);
    if (r < 0) {
        cr_assert_str_eq(ret->text, before, "a reload that failed has changed something");
        free(ret->text);
        ret->text = NULL;
    }
    ret->again_r = r < 0 ? kube_config_reload(config, &err) : r;
    ret->again = describe(config);
    kube_config_free(config);
}

static bool is_fresh(const struct kube_client *client)
{
    for (size_t i = 0; i < KUBE_POOLS; i++)
        if (strcmp(client->pools[i]->tls.ca_pem, PEM) != 0)
            return false;
    return true;
}

/* A certificate authority that was replaced reaches all connections, if not at once. */
static void run_rotate(void *user, struct alloc_outcome *ret)
{
    struct kube_config *config = NULL;
    struct kube_client *client = NULL;
    struct loop *loop = NULL;

    cr_assert_eq(kube_config_in_cluster("10.0.0.1", "443", user, &config, NULL), 0);
    free(config->ca_pem);
    config->ca_pem = strdup("older");
    cr_assert_eq(loop_new(&loop, NULL), 0);
    cr_assert_eq(kube_client_new(loop, config, "sc-test/1", &client, NULL), 0);
    cr_assert_not(is_fresh(client));
    alloc_begin();
    (void)kube_renew_credentials(client);
    alloc_end();
    ret->r = is_fresh(client) ? 0 : -ENOMEM;
    ret->text = is_fresh(client) ? strdup("fresh") : NULL;
    (void)kube_renew_credentials(client);
    cr_assert(is_fresh(client), "a connection has the older authority for good");
    ret->again = strdup("fresh");
    kube_client_free(client);
    loop_free(loop);
}

Test(alloc_kube, config)
{
    char dir[64];

    make_files(dir);
    alloc_torture(&(struct alloc_case){
            .name = "service account", .run = run_in_cluster, .user = dir, .may_pass = true});
    alloc_torture(
            &(struct alloc_case){.name = "kubeconfig", .run = run_kubeconfig, .user = dir, .may_pass = true});
    alloc_torture(&(struct alloc_case){.name = "reload", .run = run_reload, .user = dir});
    alloc_torture(&(struct alloc_case){.name = "rotate", .run = run_rotate, .user = dir});
    remove_files(dir);
}

/* --- watch --- */

struct seen {
    struct buf text;
    int error;
};

static int on_line(const char *line, size_t len, void *user)
{
    struct seen *s = user;
    enum kube_watch_type type = KUBE_WATCH_BOOKMARK;
    _cleanup_json_ struct json *object = NULL;
    struct err err = ERR_INIT;
    int r = watch_event_parse(line, len, &type, &object, &err);

    cr_assert_eq(r < 0, object == NULL);
    cr_assert_eq(r < 0 ? r : 0, -err.code);
    alloc_end();
    if (r >= 0) {
        buf_printf(&s->text, "%d ", (int)type);
        json_write(object, &s->text);
    }
    alloc_begin();
    return r < 0 ? r : 0;
}

/* In pieces, the second of which ends within a line. */
static void run_watch(void *user _unused_, struct alloc_outcome *ret)
{
    static const char *const pieces[] = {"{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n{\"type\":\"MOD",
            "IFIED\",\"object\":{\"b\":[\"\\u0000\"]}}\r\n"};
    struct seen s = {.text = BUF_INIT(MIB)};
    struct watch_lines lines;

    watch_lines_init(&lines);
    for (size_t i = 0; i < ARRAY_SIZE(pieces) && ret->r == 0; i++) {
        alloc_begin();
        ret->r = watch_lines_feed(&lines, pieces[i], strlen(pieces[i]), on_line, &s);
        alloc_end();
    }
    ret->text = ret->r == 0 ? buf_take(&s.text, NULL) : NULL;
    buf_free(&s.text);
    watch_lines_free(&lines);
}

Test(alloc_kube, watch)
{
    alloc_torture(&(struct alloc_case){.name = "watch", .run = run_watch});
}

/* --- store --- */

static void on_change(enum kube_change change, const struct json *old, const struct json *new, void *user)
{
    bool armed = alloc_now.armed;

    alloc_end();
    buf_printf(user, "%d %s %s; ", (int)change, json_str_or(old, "metadata.uid", "-"),
            json_str_or(new, "metadata.uid", "-"));
    alloc_now.armed = armed;
}

static int put(struct kube_store *store, const char *uid, const char *version, bool refusing)
{
    struct json *object = parsed("{\"metadata\":{\"namespace\":\"n\",\"name\":\"o\",\"managedFields\":[1]}}");
    struct err err = ERR_INIT;
    int r;

    json_set_str(json_field(object, "metadata"), "uid", uid);
    json_set_str(json_field(object, "metadata"), "resourceVersion", version);
    if (refusing)
        alloc_begin();
    r = kube_store_put(store, object, &err);
    alloc_end();
    cr_assert_eq(r < 0 ? r : 0, -err.code);
    return r;
}

/* The watch tells that it is gone. */
static void gone(struct kube_store *store, const char *uid, const char *version)
{
    _cleanup_json_ struct json *object = parsed("{\"metadata\":{\"namespace\":\"n\",\"name\":\"o\"}}");

    json_set_str(json_field(object, "metadata"), "uid", uid);
    json_set_str(json_field(object, "metadata"), "resourceVersion", version);
    alloc_begin();
    (void)kube_store_delete(store, object);
    alloc_end();
}

static void run_store(void *user _unused_, struct alloc_outcome *ret)
{
    struct buf changes = BUF_INIT(MIB);
    const struct kube_store_config config = {.changed = on_change, .changed_user = &changes};
    struct kube_store *store = NULL;

    alloc_begin();
    ret->r = kube_store_new(&config, &store);
    alloc_end();
    cr_assert_eq(ret->r < 0, store == NULL);
    if (ret->r == 0)
        ret->r = put(store, "a", "1", true);
    if (ret->r >= 0)
        ret->r = put(store, "a", "2", true);
    if (ret->r >= 0) /* another of the name */
        ret->r = put(store, "b", "3", true);
    if (ret->r >= 0 && put(store, "a", "2", true) == 0)
        ret->text = strdup(buf_str(&changes));
    buf_free(&changes);
    kube_store_free(store);
}

/* What is gone stays gone, whatever comes late. */
static void run_grave(void *user _unused_, struct alloc_outcome *ret)
{
    struct buf changes = BUF_INIT(MIB);
    const struct kube_store_config config = {.changed = on_change, .changed_user = &changes};
    struct kube_store *store = NULL;

    cr_assert_eq(kube_store_new(&config, &store), 0);
    cr_assert_eq(put(store, "a", "1", false), 1);
    gone(store, "a", "5");
    cr_assert_eq(put(store, "a", "4", false), 0, "risen from the dead");
    cr_assert_eq(put(store, "b", "6", false), 1);
    gone(store, "b", "7");
    kube_store_replace_begin(store);
    cr_assert_eq(put(store, "c", "3", false), 1, "what a list has is alive");
    ret->text = strdup(buf_str(&changes));
    buf_free(&changes);
    kube_store_free(store);
}

Test(alloc_kube, store)
{
    alloc_torture(&(struct alloc_case){.name = "store", .run = run_store, .may_pass = true});
}

Test(alloc_kube, the_deleted_stay_deleted)
{
    alloc_torture(&(struct alloc_case){.name = "grave", .run = run_grave, .may_pass = true});
}

/* --- what we write --- */

static const struct lease_writer writer = {
        .namespace = "ns", .name = "lease", .identity = "me", .duration = 15 * USEC_PER_SEC};

static struct json *create(void)
{
    return lease_create(&writer);
}

static struct json *take(void)
{
    static struct json *old; /* made in the first run, with all the memory there is */

    if (!old) {
        alloc_end();
        old = parsed("{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":{\"leaseTransitions\":1,\"x\":{}}}");
        alloc_begin();
    }
    return lease_take(&writer, old);
}

static struct json *renew(void)
{
    return lease_renew(&writer);
}

static struct json *give_back(void)
{
    return lease_give_back(&writer);
}

static struct json *event(void)
{
    static const struct kube_event e = {
            .api_version = "v1", .kind = "Pod", .reason = "r", .message = "m", .component = "c", .host = "h"};
    static struct json *about;
    struct kube_event mine = e;

    if (!about) {
        alloc_end();
        about = parsed("{\"metadata\":{\"name\":\"n\",\"namespace\":\"ns\",\"uid\":\"u\",\"resourceVersion\":"
                       "\"1\"}}");
        alloc_begin();
    }
    mine.about = about;
    return kube_event_new(&mine);
}

static void run_make(void *user, struct alloc_outcome *ret)
{
    struct json *(*const *make)(void) = user;
    struct json *made;

    alloc_begin();
    made = (*make)();
    alloc_end();
    ret->r = made ? 0 : -ENOMEM;
    ret->text = made ? text_of(made) : NULL;
    json_free(made);
}

Test(alloc_kube, lease_and_event)
{
    static struct json *(*all[])(void) = {create, take, renew, give_back, event};
    static const char *const names[] = {"create", "take", "renew", "give back", "event"};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        alloc_torture(&(struct alloc_case){.name = names[i], .run = run_make, .user = &all[i]});
}
