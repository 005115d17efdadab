/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API client against a real kube-apiserver: what a fake server cannot show. Makes a namespace of its own,
 * whose name is the argument, and deletes it at the end. Every line of output is a check that held; the first
 * that does not ends the program with 1.
 */
#include <stdarg.h>
#include <string.h>

#include "common/kube/client.h"
#include "common/kube/event.h"
#include "common/kube/lease.h"
#include "common/kube/list.h"
#include "common/kube/reflector.h"

static const struct kube_resource configmaps = {"", "v1", "configmaps", true};
static const struct kube_resource secrets_of_nobody = {"nothing.example", "v1", "things", true};

static struct loop *loop;
static struct kube_client *client;
static const char *ns;
static const char *kubeconfig;

#define CHECK(condition, ...)                                               \
    do {                                                                    \
        if (!(condition)) {                                                 \
            printf("not ok - %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            printf("  " __VA_ARGS__);                                       \
            printf("\n");                                                   \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

static void wait_for(const bool *flag, unsigned seconds, const char *what)
{
    usec_t end = usec_add(clock_monotonic(), seconds * USEC_PER_SEC);

    while (!*flag && clock_monotonic() < end)
        (void)loop_turn(loop, 100 * USEC_PER_MSEC);
    CHECK(*flag, "waited %u s for: %s", seconds, what);
}

struct answer {
    bool done;
    int code;
    long http;
    char reason[64];
    char message[1024];
    struct json *object;
};

static struct answer last;

static void on_done(struct kube_result *result, void *user)
{
    (void)user;
    last.done = true;
    last.code = result->code;
    last.http = result->http;
    snprintf(last.reason, sizeof(last.reason), "%s", result->reason);
    snprintf(last.message, sizeof(last.message), "%s", result->message);
    last.object = take_ptr(result->object);
}

/* Makes the request and waits for its answer, which is in `last`. */
static int call_by(struct kube_client *c, struct kube_request req)
{
    struct err err = ERR_INIT;
    int r;

    (void)json_free(last.object);
    last = (struct answer){0};
    req.done = on_done;
    r = kube_request_start(c, &req, NULL, &err);
    CHECK(r >= 0, "%s", err_text(&err));
    wait_for(&last.done, 30, "the answer of the API server");
    return last.code;
}

static int call(struct kube_request req)
{
    return call_by(client, req);
}

static struct json *parse(const char *fmt, ...) _printf_(1, 2);
static struct json *parse(const char *fmt, ...)
{
    _cleanup_free_ char *text = NULL;
    struct json *root = NULL;
    struct err err = ERR_INIT;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0 && json_parse(text, (size_t)n, &root, &err) >= 0, "%s", err_text(&err));
    return root;
}

static struct json *configmap(const char *name)
{
    return parse("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\",\"labels\":{"
                 "\"t\":\"kube\"}},"
                 "\"data\":{\"k\":\"1\"}}",
            name);
}

/* --- the store -------------------------------------------------------------------------------------------
 */

static struct kube_store *store;
static struct kube_reflector *reflector;
static bool synced;
static char changes[1024];

static void changed(enum kube_change change, const struct json *old, const struct json *new, void *user)
{
    (void)user;
    snprintf(changes + strlen(changes), sizeof(changes) - strlen(changes), "%c%s=%s ", "AMD"[change],
            json_str(new ? new : old, "metadata.name"), json_str_or(new ? new : old, "data.k", "?"));
}

static void on_synced(void *user)
{
    (void)user;
    synced = true;
}

static void on_failed(const struct kube_result *result, usec_t again_in, void *user)
{
    (void)user;
    printf("  reflector: %d %s, again in %.1f s\n", result->code, result->message, (double)again_in / 1e6);
}

static void until_changes(const char *wanted)
{
    usec_t end = usec_add(clock_monotonic(), 10 * USEC_PER_SEC);

    while (strcmp(changes, wanted) != 0 && clock_monotonic() < end)
        (void)loop_turn(loop, 50 * USEC_PER_MSEC);
    CHECK(strcmp(changes, wanted) == 0, "wanted \"%s\", got \"%s\"", wanted, changes);
    changes[0] = '\0';
}

static void start_reflector(void)
{
    const struct kube_store_config sc = {.changed = changed};
    struct kube_reflector_config rc = {.client = client,
            .resource = &configmaps,
            .namespace = ns,
            .label_selector = "t=kube",
            .synced = on_synced,
            .failed = on_failed};
    struct err err = ERR_INIT;

    CHECK(kube_store_new(&sc, &store) >= 0, "no memory");
    rc.store = store;
    CHECK(kube_reflector_new(&rc, &reflector, &err) >= 0, "%s", err_text(&err));
    wait_for(&synced, 20, "the first list");
    CHECK(changes[0] == '\0', "%s", changes);
    printf("ok - reflector synced at version %s\n", kube_reflector_version(reflector));
}

/* --- the parts -------------------------------------------------------------------------------------------
 */

static void life_of_a_configmap(void)
{
    _cleanup_json_ struct json *body = configmap("a"), *odd = configmap("odd"),
                               *merge = parse("{\"data\":{\"k\":\"2\"}}"),
                               *json = parse("[{\"op\":\"replace\",\"path\":\"/data/k\",\"value\":\"3\"}]"),
                               *old = NULL;
    struct kube_request create = {
            .verb = KUBE_CREATE, .resource = &configmaps, .namespace = ns, .body = body};
    struct kube_request named = {.verb = KUBE_GET, .resource = &configmaps, .namespace = ns, .name = "a"};
    char uid[64];

    CHECK(call(create) == 0, "%s", last.message);
    old = take_ptr(last.object);
    snprintf(uid, sizeof(uid), "%s", json_str_or(old, "metadata.uid", ""));
    until_changes("Aa=1 ");
    CHECK(json_field(json_field(kube_store_get(store, ns, "a"), "metadata"), "managedFields") == NULL,
            "kept");
    CHECK(call(create) == -EEXIST && strcmp(last.reason, "AlreadyExists") == 0, "%d %s", last.code,
            last.message);
    printf("ok - create: %s\n", last.message);

    CHECK(json_set_str(odd, "colour", "red") >= 0, "no memory");
    create.body = odd;
    CHECK(call(create) == -EINVAL && strstr(last.message, "colour"), "%d %s", last.code, last.message);
    printf("ok - unknown field: %s\n", last.message);

    named.verb = KUBE_MERGE_PATCH;
    named.body = merge;
    CHECK(call(named) == 0, "%s", last.message);
    /* The answer first, the watch after it: one change. */
    (void)kube_store_put(store, take_ptr(last.object), NULL);
    until_changes("Ma=2 ");
    named.verb = KUBE_JSON_PATCH;
    named.body = json;
    CHECK(call(named) == 0, "%s", last.message);
    until_changes("Ma=3 ");
    named.verb = KUBE_UPDATE;
    named.body = old;
    CHECK(call(named) == -ESTALE && last.http == 409, "%d %s", last.code, last.message);
    printf("ok - update of an old version: %s\n", last.message);

    named.verb = KUBE_DELETE;
    named.body = NULL;
    named.uid = "00000000-0000-0000-0000-000000000000";
    CHECK(call(named) == -ESTALE, "%d %s", last.code, last.message);
    named.uid = uid;
    named.propagation = "Background";
    CHECK(call(named) == 0, "%s", last.message);
    until_changes("Da=3 ");
    named.verb = KUBE_GET;
    CHECK(call(named) == -ENOENT, "%d %s", last.code, last.message);
    printf("ok - delete by uid, then: %s\n", last.message);
}

static int listed;
static bool list_done;

static void on_item(const struct json *item, void *user)
{
    (void)item;
    (void)user;
    listed++;
}

static void on_restart(void *user)
{
    (void)user;
    listed = 0;
}

static void on_listed(const struct kube_result *result, const char *version, void *user)
{
    (void)user;
    CHECK(result->code == 0 && version, "%s", result->message);
    list_done = true;
}

static void pages(void)
{
    const struct kube_list_spec spec = {.resource = &configmaps,
            .namespace = ns,
            .label_selector = "t in (kube)",
            .page_size = 3,
            .item = on_item,
            .restart = on_restart,
            .done = on_listed};
    struct kube_list *list;
    struct err err = ERR_INIT;
    uint64_t before;

    for (int i = 0; i < 7; i++) {
        char name[32];

        snprintf(name, sizeof(name), "page-%d", i);
        _cleanup_json_ struct json *body = configmap(name);
        CHECK(call((struct kube_request){
                      .verb = KUBE_CREATE, .resource = &configmaps, .namespace = ns, .body = body}) == 0,
                "%s", last.message);
    }
    before = kube_client_stats(client).reads;
    CHECK(kube_list_start(client, &spec, &list, &err) >= 0, "%s", err_text(&err));
    wait_for(&list_done, 20, "the list");
    CHECK(listed == 7, "%d", listed);
    CHECK(kube_client_stats(client).reads - before == 3, "not 3 pages");
    printf("ok - list of 7 in pages of 3\n");
}

static void events(void)
{
    _cleanup_json_ struct json *about = configmap("page-0"), *event = NULL;
    char message[2000];

    memset(message, 'm', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    (void)json_set_str(json_field(about, "metadata"), "namespace", ns);
    event = kube_event_new(&(struct kube_event){.about = about,
            .reason = "Tested",
            .message = message,
            .component = "sc-test",
            .host = "here",
            .now = clock_realtime()});
    CHECK(call((struct kube_request){
                  .verb = KUBE_CREATE, .resource = &kube_events, .namespace = ns, .body = event}) == 0,
            "%s", last.message);
    printf("ok - event %s\n", json_str(last.object, "metadata.name"));
}

static void refusals(void)
{
    struct kube_request unknown = {
            .verb = KUBE_GET, .resource = &secrets_of_nobody, .namespace = ns, .name = "x"};

    /* In no words of the API machinery, as a proxy's page would be: says nothing about an object. */
    CHECK(call(unknown) == -EREMOTEIO && last.http == 404, "%d %s", last.code, last.message);
    printf("ok - unknown resource: %s\n", last.message);
}

/* A client whose config was changed by `change`, and what becomes of its request. */
static int with_config(void (*change)(struct kube_config *config))
{
    struct kube_client *other = NULL;
    struct kube_config *config = NULL;
    struct err err = ERR_INIT;
    int r;

    CHECK(kube_config_load(kubeconfig, &config, &err) >= 0, "%s", err_text(&err));
    change(config);
    CHECK(kube_client_new(loop, config, "sc-test/1", &other, &err) >= 0, "%s", err_text(&err));
    r = call_by(other, (struct kube_request){.verb = KUBE_GET, .resource = &kube_namespaces, .name = ns});
    (void)kube_client_free(other);
    return r;
}

static void replace_text(char **slot, const char *text)
{
    free(*slot);
    *slot = text ? strdup(text) : NULL;
}

static void forget_ca(struct kube_config *config)
{
    replace_text(&config->ca_pem, NULL);
}

static void other_ca(struct kube_config *config)
{
    replace_text(&config->ca_pem, config->cert_pem);
}

static void other_name(struct kube_config *config)
{
    replace_text(&config->server_name, "elsewhere.example");
}

static void right_name(struct kube_config *config)
{
    replace_text(&config->server_name, "kubernetes.default.svc");
}

static void no_certificate(struct kube_config *config)
{
    replace_text(&config->cert_pem, NULL);
    replace_text(&config->key_pem, NULL);
}

static void bad_token(struct kube_config *config)
{
    no_certificate(config);
    replace_text(&config->token, "nonsense");
}

static void trust(void)
{
    CHECK(with_config(forget_ca) == -EKEYREJECTED, "%d %s", last.code, last.message);
    printf("ok - without the CA: %s\n", last.message);
    CHECK(with_config(other_ca) == -EKEYREJECTED, "%d %s", last.code, last.message);
    CHECK(with_config(other_name) == -EKEYREJECTED, "%d %s", last.code, last.message);
    printf("ok - other name: %s\n", last.message);
    CHECK(with_config(right_name) == 0, "%d %s", last.code, last.message);
    CHECK(with_config(no_certificate) < 0 && (last.http == 401 || last.http == 403), "%ld %s", last.http,
            last.message);
    CHECK(with_config(bad_token) == -EACCES && last.http == 401, "%ld %s", last.http, last.message);
    printf("ok - bad token: %s\n", last.message);
}

/* --- leases ----------------------------------------------------------------------------------------------
 */

struct candidate {
    struct kube_lease *lease;
    bool acquired, lost, released;
};

static void on_acquired(void *user)
{
    ((struct candidate *)user)->acquired = true;
}

static void on_lost(const char *why, void *user)
{
    printf("  lost: %s\n", why);
    ((struct candidate *)user)->lost = true;
}

static void on_lease_failed(const char *why, void *user)
{
    (void)user;
    printf("  lease: %s\n", why);
}

static void on_released(void *user)
{
    ((struct candidate *)user)->released = true;
}

static void start_candidate(struct candidate *c, const char *identity)
{
    const struct kube_lease_config config = {.client = client,
            .namespace = ns,
            .name = "leader",
            .identity = identity,
            .duration = 6 * USEC_PER_SEC,
            .renew_deadline = 4 * USEC_PER_SEC,
            .retry_period = USEC_PER_SEC / 2,
            .acquired = on_acquired,
            .lost = on_lost,
            .failed = on_lease_failed,
            .user = c};
    struct err err = ERR_INIT;

    CHECK(kube_lease_new(&config, &c->lease, &err) >= 0, "%s", err_text(&err));
}

static void turn_for(usec_t time)
{
    usec_t end = usec_add(clock_monotonic(), time);

    while (clock_monotonic() < end)
        (void)loop_turn(loop, 100 * USEC_PER_MSEC);
}

static void leases(void)
{
    struct candidate a = {0}, b = {0}, c = {0};
    usec_t begin;

    start_candidate(&a, "a");
    wait_for(&a.acquired, 5, "the first candidate to lead");
    start_candidate(&b, "b");
    turn_for(8 * USEC_PER_SEC);
    CHECK(!a.lost && !b.acquired && kube_lease_held(a.lease), "renewing does not work");
    printf("ok - lease held and renewed for longer than its duration\n");
    begin = clock_monotonic();
    kube_lease_release(a.lease, on_released, &a);
    wait_for(&a.released, 2, "the release");
    wait_for(&b.acquired, 2, "the second candidate to lead");
    printf("ok - lease given back and taken over after %.2f s\n", (double)(clock_monotonic() - begin) / 1e6);

    /* The holder vanishes: the next waits for as long as the lease lasts. */
    start_candidate(&c, "c");
    turn_for(USEC_PER_SEC);
    b.lease = kube_lease_free(b.lease);
    begin = clock_monotonic();
    wait_for(&c.acquired, 10, "the third candidate to lead");
    CHECK(clock_monotonic() - begin >= 4 * USEC_PER_SEC, "too early");
    printf("ok - lease of a vanished holder taken over after %.2f s\n",
            (double)(clock_monotonic() - begin) / 1e6);

    _cleanup_json_ struct json *steal = parse("{\"spec\":{\"holderIdentity\":\"thief\"}}");
    CHECK(call((struct kube_request){.verb = KUBE_MERGE_PATCH,
                  .resource = &kube_leases,
                  .namespace = ns,
                  .name = "leader",
                  .body = steal}) == 0,
            "%s", last.message);
    wait_for(&c.lost, 3, "the holder to notice that it is not any more");
    (void)kube_lease_free(a.lease);
    (void)kube_lease_free(c.lease);
    printf("ok - a stolen lease is lost\n");
}

static void idle(void)
{
    usec_t end;
    int callbacks = 0;

    turn_for(USEC_PER_SEC);
    end = usec_add(clock_monotonic(), 4 * USEC_PER_SEC);
    while (clock_monotonic() < end)
        callbacks += loop_turn(loop, USEC_PER_SEC);
    CHECK(callbacks == 0, "%d callbacks", callbacks);
    printf("ok - idle with a watch: nothing happens\n");
}

int main(int argc, char **argv)
{
    struct kube_config *config = NULL;
    struct err err = ERR_INIT;

    if (argc < 3) {
        fprintf(stderr, "usage: kube_client KUBECONFIG NAMESPACE\n");
        return 2;
    }
    kubeconfig = argv[1];
    ns = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(loop_new(&loop, &err) >= 0, "%s", err_text(&err));
    CHECK(kube_config_load(kubeconfig, &config, &err) >= 0, "%s", err_text(&err));
    CHECK(kube_client_new(loop, config, "sc-test/1", &client, &err) >= 0, "%s", err_text(&err));
    _cleanup_json_ struct json *space =
            parse("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}", ns);
    CHECK(call((struct kube_request){.verb = KUBE_CREATE, .resource = &kube_namespaces, .body = space}) == 0,
            "%s", last.message);
    start_reflector();
    life_of_a_configmap();
    idle();
    pages();
    events();
    refusals();
    trust();
    leases();
    CHECK(call((struct kube_request){.verb = KUBE_DELETE, .resource = &kube_namespaces, .name = ns}) == 0,
            "%s", last.message);
    (void)json_free(last.object);
    reflector = kube_reflector_free(reflector);
    store = kube_store_free(store);
    client = kube_client_free(client);
    loop = loop_free(loop);
    return 0;
}
