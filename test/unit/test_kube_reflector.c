/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reflector against a fake API server that follows a script: each request takes the next step.
 */
#include "test/unit/fake_http.h"

#include "common/base/limits.h"
#include "common/kube/internal.h"
#include "common/kube/reflector.h"

static struct loop *loop;
static struct fake_server server;
static struct kube_client *client;
static struct kube_store *store;
static struct kube_reflector *reflector;

static char told[8192]; /* what the store's handler and the reflector's callbacks were told */
static char asked[8192]; /* "list;", "version;" or "watch@VERSION;" for each request */
static struct fake_conn *watching; /* the last watch's connection */
static int n_synced;
static usec_t again_in;
static bool free_in_change;

enum step_kind { LIST, VERSION, STATUS, WATCH };
struct step {
    enum step_kind kind;
    int status;
    const char *headers;
    const char *body; /* LIST: items; VERSION: that; STATUS: the whole; WATCH: the first bytes, or NULL */
    bool end; /* WATCH: in order, after that */
    bool cut; /* WATCH: the connection is closed */
};

static const struct step *steps;
static size_t n_steps, at_step;

static void tell(const char *fmt, ...) _printf_(1, 2);
static void tell(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(told + strlen(told), sizeof(told) - strlen(told), fmt, ap);
    va_end(ap);
}

#define OBJ(name, version)                                                        \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"uid\":\"u-" name \
    "\",\"resourceVersion\":\"" version "\"}}"

static void serve(struct fake_conn *c, const struct fake_request *req, void *user)
{
    const char *version = strstr(req->path, "resourceVersion=");
    const struct step *s;
    char body[4096];

    (void)user;
    if (strstr(req->path, "watch=true")) {
        cr_assert(strstr(req->path, "allowWatchBookmarks=true"));
        cr_assert(strstr(req->path, "timeoutSeconds="));
        cr_assert_not_null(version);
        snprintf(asked + strlen(asked), sizeof(asked) - strlen(asked), "watch@%.*s;",
                (int)strcspn(version + 16, "&"), version + 16);
    } else {
        cr_assert_null(version, "lists are consistent reads");
        strcat(asked, strcmp(strstr(req->path, "limit="), "limit=1") == 0 ? "version;" : "list;");
    }
    if (at_step == n_steps)
        return;
    s = &steps[at_step++];
    if (s->kind == STATUS) {
        fake_reply(c, s->status, s->headers ? s->headers : "", s->body);
    } else if (s->kind == LIST) {
        snprintf(body, sizeof(body), "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[%s]}", s->body);
        fake_reply(c, 200, "", body);
    } else if (s->kind == VERSION) {
        snprintf(body, sizeof(body),
                "{\"metadata\":{\"resourceVersion\":\"%s\",\"continue\":\"more\"},\"items\":[" OBJ(
                        "z", "1") "]}",
                s->body);
        fake_reply(c, 200, "", body);
    } else {
        watching = c;
        fake_start_chunks(c);
        if (s->body)
            fake_chunk(c, s->body);
        if (s->end)
            fake_end_chunks(c);
        if (s->cut)
            fake_close(c);
    }
}

static void changed(enum kube_change change, const struct json *old, const struct json *new, void *user)
{
    const struct json *object = new ? new : old;

    (void)user;
    tell("%c %s@%s;", "AMD"[change], json_str(object, "metadata.name"),
            json_str(object, "metadata.resourceVersion"));
    if (free_in_change)
        reflector = kube_reflector_free(reflector);
}

static void synced(void *user)
{
    (void)user;
    n_synced++;
    tell("synced;");
}

static void failed(const struct kube_result *result, usec_t delay, void *user)
{
    (void)user;
    cr_assert_lt(result->code, 0);
    cr_assert_not_null(result->message);
    cr_assert(result->message[0]);
    again_in = delay;
    tell("failed %d;", result->code);
}

static void setup(void)
{
    struct kube_config *config = calloc(1, sizeof(*config));
    const struct kube_store_config store_config = {.changed = changed};

    cr_assert_eq(loop_new(&loop, NULL), 0);
    fake_server_start(&server, loop, serve, NULL);
    cr_assert_gt(asprintf(&config->server, "http://127.0.0.1:%d", server.port), 0);
    config->namespace = strdup("default");
    cr_assert_eq(kube_client_new(loop, config, "sc-test/1", &client, NULL), 0);
    cr_assert_eq(kube_store_new(&store_config, &store), 0);
}

static void teardown(void)
{
    reflector = kube_reflector_free(reflector);
    store = kube_store_free(store);
    client = kube_client_free(client);
    fake_server_stop(&server);
    loop = loop_free(loop);
}

TestSuite(kube_reflector, .init = setup, .fini = teardown, .timeout = 60);

static void start(const struct step *script, size_t n)
{
    const struct kube_reflector_config config = {
            .client = client, .store = store, .resource = &kube_pods, .synced = synced, .failed = failed};
    struct err err = ERR_INIT;

    steps = script;
    n_steps = n;
    cr_assert_eq(kube_reflector_new(&config, &reflector, &err), 0, "%s", err_text(&err));
}

/* Until the server was asked so often. */
static void until_asked(const char *what)
{
    usec_t end = usec_add(clock_monotonic(), 20 * USEC_PER_SEC);

    while (strcmp(asked, what) != 0 && clock_monotonic() < end)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    cr_assert_str_eq(asked, what);
}

static void until_told(const char *what)
{
    usec_t end = usec_add(clock_monotonic(), 5 * USEC_PER_SEC);

    while (strcmp(told, what) != 0 && clock_monotonic() < end)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    cr_assert_str_eq(told, what);
}

#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" OBJ(name, version) "}\n"
#define BOOKMARK(version) \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"
#define ERROR_410                                                                                          \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":" \
    "\"too old\"}}\n"

Test(kube_reflector, list_then_watch)
{
    static const struct step script[] = {{.kind = LIST, .body = OBJ("a", "5") "," OBJ("b", "9")},
            {.kind = WATCH,
                    .body = EVENT("MODIFIED", "a", "11") EVENT("ADDED", "c", "12")
                            EVENT("DELETED", "b", "13")}};

    start(script, ARRAY_SIZE(script));
    until_told("A a@5;A b@9;synced;M a@11;A c@12;D b@9;");
    cr_assert_str_eq(asked, "list;watch@10;");
    cr_assert_str_eq(kube_reflector_version(reflector), "13");
    cr_assert(kube_store_synced(store));
    cr_assert_eq(kube_client_stats(client).watches, 1);
}

Test(kube_reflector, events_cut_anywhere_and_duplicates)
{
    static const struct step script[] = {{.kind = LIST, .body = OBJ("a", "5")}, {.kind = WATCH}};
    static const char stream[] = EVENT("MODIFIED", "a", "11") EVENT("MODIFIED", "a", "11")
            EVENT("ADDED", "a", "5") EVENT("MODIFIED", "a", "12");

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;");
    for (size_t i = 0; i < strlen(stream); i += 7) {
        char piece[8];

        snprintf(piece, sizeof(piece), "%.7s", stream + i);
        fake_chunk(watching, piece);
        (void)loop_turn(loop, 0);
    }
    until_told("A a@5;synced;M a@11;M a@12;");
}

Test(kube_reflector, watch_goes_on_from_the_last_version_and_the_bookmark)
{
    static const struct step script[] = {{.kind = LIST, .body = ""},
            {.kind = WATCH, .body = EVENT("ADDED", "a", "11"), .end = true},
            {.kind = WATCH, .body = BOOKMARK("50"), .end = true}, {.kind = WATCH}};

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;watch@11;watch@50;");
    cr_assert_str_eq(told, "synced;A a@11;", "an end in order is no failure, and a bookmark no change");
}

/* The API server behind a proxy is gone, and the proxy holds the connection. */
Test(kube_reflector, a_watch_without_the_bookmarks_it_had_is_given_up)
{
    static const struct step script[] = {{.kind = LIST, .body = ""}, {.kind = WATCH, .body = BOOKMARK("20")},
            {.kind = VERSION, .body = "20"}, {.kind = WATCH}};
    char expected[64];

    client->watch_silence = 300 * USEC_PER_MSEC;
    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;");
    for (int i = 0; i < 5; i++) {
        (void)loop_turn(loop, 100 * USEC_PER_MSEC);
        fake_chunk(watching, BOOKMARK("20"));
    }
    cr_assert_str_eq(asked, "list;watch@10;");
    until_asked("list;watch@10;version;watch@20;");
    snprintf(expected, sizeof(expected), "synced;failed %d;", -ETIMEDOUT);
    cr_assert_str_eq(told, expected);
    /* One that never had any is left alone. */
    for (int i = 0; i < 5; i++)
        (void)loop_turn(loop, 100 * USEC_PER_MSEC);
    cr_assert_str_eq(told, expected);
}

Test(kube_reflector, cut_in_the_middle_of_an_event)
{
    static const struct step script[] = {{.kind = LIST, .body = ""},
            {.kind = WATCH, .body = EVENT("ADDED", "a", "11") "{\"type\":\"MOD", .cut = true},
            {.kind = VERSION, .body = "11"}, {.kind = WATCH, .body = "{\"type\":\"MOD", .end = true},
            {.kind = VERSION, .body = "11"}, {.kind = WATCH}};

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;version;watch@11;version;watch@11;");
    char expected[128];
    snprintf(expected, sizeof(expected), "synced;A a@11;failed %d;failed %d;", -ECONNRESET, -ECONNRESET);
    cr_assert_str_eq(told, expected);
}

static void went_back(const char *message, void *user)
{
    (void)user;
    cr_assert(strstr(message, " of pods, and was at 11:"), "%s", message);
    tell("back;");
}

/* Its etcd was restored: a watch from a version that is still to come would be silent, and the store refuse what is old. */
Test(kube_reflector, a_server_that_knows_less_than_it_did_is_told)
{
    static const struct step outage[] = {{.kind = LIST, .body = OBJ("a", "5")},
            {.kind = WATCH, .body = EVENT("MODIFIED", "a", "11"), .cut = true},
            {.kind = STATUS, .status = 503, .body = "no upstream"}, {.kind = VERSION, .body = "9"}};
    char expected[128];

    kube_client_on_went_back(client, went_back, NULL);
    start(outage, ARRAY_SIZE(outage));
    until_asked("list;watch@10;version;version;");
    snprintf(expected, sizeof(expected), "A a@5;synced;M a@11;failed %d;failed %d;back;", -ECONNRESET,
            -EAGAIN);
    until_told(expected);
    (void)loop_turn(loop, 100 * USEC_PER_MSEC);
    cr_assert_str_eq(told, expected);
    cr_assert_str_eq(asked, "list;watch@10;version;version;", "it stands still");
}

Test(kube_reflector, a_list_that_knows_less_is_told_too)
{
    static const struct step script[] = {{.kind = LIST, .body = OBJ("a", "5")},
            {.kind = WATCH, .body = EVENT("MODIFIED", "a", "11") ERROR_410},
            {.kind = LIST, .body = OBJ("a", "5")}};
    char expected[128];

    kube_client_on_went_back(client, went_back, NULL);
    start(script, ARRAY_SIZE(script));
    snprintf(expected, sizeof(expected), "A a@5;synced;M a@11;failed %d;back;", -ESTALE);
    until_told(expected);
}

Test(kube_reflector, expired_by_event_and_by_status)
{
    static const struct step script[] = {{.kind = LIST, .body = OBJ("a", "5") "," OBJ("b", "6")},
            {.kind = WATCH, .body = ERROR_410}, {.kind = LIST, .body = OBJ("b", "8")},
            {.kind = STATUS, .status = 410, .body = "{\"message\":\"gone\"}"},
            {.kind = LIST, .body = OBJ("b", "8")}, {.kind = WATCH}};

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;list;watch@10;list;watch@10;");
    char expected[128];
    snprintf(expected, sizeof(expected), "A a@5;A b@6;synced;failed %d;M b@8;D a@5;failed %d;", -ESTALE,
            -ESTALE);
    cr_assert_str_eq(told, expected);
    cr_assert_eq(n_synced, 1);
}

Test(kube_reflector, bad_lines_lead_to_a_list)
{
    static const char *const lines[] = {"garbage\n", "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}\n",
            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"12\"}}}\n",
            "{\"type\":\"HELLO\",\"object\":{}}\n"};

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        const struct step script[] = {{.kind = LIST, .body = ""}, {.kind = WATCH, .body = lines[i]},
                {.kind = LIST, .body = OBJ("a", "5")}, {.kind = WATCH}};
        char expected[128];

        at_step = 0;
        told[0] = asked[0] = '\0';
        start(script, ARRAY_SIZE(script));
        until_asked("list;watch@10;list;watch@10;");
        snprintf(expected, sizeof(expected), "synced;failed %d;A a@5;", -EBADMSG);
        cr_assert_str_eq(told, expected, "%s: %s", lines[i], told);
        reflector = kube_reflector_free(reflector);
        teardown();
        setup();
    }
}

Test(kube_reflector, list_fails_and_is_repeated)
{
    static const struct step script[] = {{.kind = STATUS, .status = 500, .body = "{\"message\":\"etcd\"}"},
            {.kind = STATUS, .status = 429, .headers = "Retry-After: 1\r\n", .body = ""},
            {.kind = LIST, .body = ""}, {.kind = WATCH}};
    char expected[64];
    usec_t begin;

    start(script, ARRAY_SIZE(script));
    snprintf(expected, sizeof(expected), "failed %d;", -EREMOTEIO);
    until_told(expected);
    cr_assert_geq(again_in, 800 * USEC_PER_MSEC);
    cr_assert_leq(again_in, 1000 * USEC_PER_MSEC);
    cr_assert_not(kube_store_synced(store));
    begin = clock_monotonic();
    until_asked("list;list;");
    cr_assert_geq(clock_monotonic() - begin, 700 * USEC_PER_MSEC);
    until_asked("list;list;list;watch@10;");
    cr_assert_geq(again_in, 1600 * USEC_PER_MSEC, "the longer one of back-off and Retry-After");
}

Test(kube_reflector, retry_after_longer_than_the_back_off)
{
    static const struct step script[] = {
            {.kind = STATUS, .status = 503, .headers = "Retry-After: 20\r\n", .body = ""}};
    char expected[64];

    start(script, ARRAY_SIZE(script));
    snprintf(expected, sizeof(expected), "failed %d;", -EAGAIN);
    until_told(expected);
    cr_assert_eq(again_in, 20 * USEC_PER_SEC);
}

Test(kube_reflector, a_watch_that_lived_is_followed_at_once)
{
    static const struct step script[] = {{.kind = LIST, .body = ""}, {.kind = WATCH}, {.kind = WATCH}};
    usec_t end, begin;

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;");
    end = usec_add(clock_monotonic(), 5100 * USEC_PER_MSEC);
    while (clock_monotonic() < end)
        (void)loop_turn(loop, 100 * USEC_PER_MSEC);
    begin = clock_monotonic();
    fake_end_chunks(watching);
    until_asked("list;watch@10;watch@10;");
    cr_assert_lt(clock_monotonic() - begin, 700 * USEC_PER_MSEC);
}

Test(kube_reflector, own_writes_come_first)
{
    static const struct step script[] = {{.kind = LIST, .body = OBJ("a", "5")}, {.kind = WATCH}};
    struct json *mine;
    static const char text[] = OBJ("a", "20");

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;");
    cr_assert_eq(json_parse(text, strlen(text), &mine, NULL), 0);
    cr_assert_eq(kube_store_put(store, mine, NULL), 1);
    fake_chunk(
            watching, EVENT("MODIFIED", "a", "15") EVENT("MODIFIED", "a", "20") EVENT("MODIFIED", "a", "21"));
    until_told("A a@5;synced;M a@20;M a@21;");
}

Test(kube_reflector, freed_in_a_change_of_the_list_and_of_the_watch)
{
    static const struct step script[] = {{.kind = LIST, .body = OBJ("a", "5") "," OBJ("b", "6")}};
    static const struct step later[] = {{.kind = LIST, .body = ""},
            {.kind = WATCH, .body = EVENT("ADDED", "c", "11") EVENT("ADDED", "d", "12")}};

    free_in_change = true;
    start(script, ARRAY_SIZE(script));
    until_told("A a@5;");
    cr_assert_null(reflector);
    store = kube_store_free(store);
    const struct kube_store_config store_config = {.changed = changed};
    cr_assert_eq(kube_store_new(&store_config, &store), 0);
    told[0] = '\0';
    at_step = 0;
    start(later, ARRAY_SIZE(later));
    until_told("synced;A c@11;");
    cr_assert_null(reflector);
    for (int i = 0; i < 10; i++)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
    cr_assert_str_eq(told, "synced;A c@11;");
}

Test(kube_reflector, a_long_event_is_refused_not_waited_for)
{
    static const struct step script[] = {
            {.kind = LIST, .body = ""}, {.kind = WATCH}, {.kind = LIST, .body = ""}, {.kind = WATCH}};
    static char block[LIMIT_WATCH_LINE + MIB];
    char expected[64];

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;");
    memset(block, ' ', sizeof(block) - 1);
    fake_chunk(watching, block);
    snprintf(expected, sizeof(expected), "synced;failed %d;", -EBADMSG);
    until_told(expected);
    until_asked("list;watch@10;list;watch@10;");
}

Test(kube_reflector, a_watch_that_idles_wakes_nobody)
{
    static const struct step script[] = {{.kind = LIST, .body = ""}, {.kind = WATCH}};
    usec_t end;
    int callbacks = 0;

    start(script, ARRAY_SIZE(script));
    until_asked("list;watch@10;");
    end = usec_add(clock_monotonic(), 300 * USEC_PER_MSEC);
    while (clock_monotonic() < end)
        (void)loop_turn(loop, 50 * USEC_PER_MSEC);
    end = usec_add(clock_monotonic(), 2 * USEC_PER_SEC);
    while (clock_monotonic() < end)
        callbacks += loop_turn(loop, 500 * USEC_PER_MSEC);
    cr_assert_eq(callbacks, 0);
}
