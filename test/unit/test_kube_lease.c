/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader election against a fake API server that keeps one Lease and can fail on demand.
 */
#include <time.h>

#include "test/unit/fake_http.h"
#include "test/unit/json_text.h"

#include "common/kube/internal.h"
#include "common/kube/lease.h"
#include "common/kube/lease_record.h"

static struct loop *loop;
static struct fake_server server;
static struct kube_client *client;
static struct kube_lease *lease;

static struct json *record; /* NULL: there is none */
static int version;
static int fail_writes; /* the next so many writes get a 500; -1: no answer at all */
static int hang_writes; /* the next so many get no answer */
static int hung; /* requests of others, which get none either */
static int patches, takes, creates;
static struct fake_conn *watchers[8];
static size_t n_watchers;

static bool acquired, lost, released;
static char why_lost[256];
static int failures;

static void send_record(struct fake_conn *c, const char *before, const char *after, bool chunk)
{
    _cleanup_buf_ struct buf b = BUF_INIT(65536);

    cr_assert_eq(buf_puts(&b, before), 0);
    if (record)
        cr_assert_eq(json_write(record, &b), 0);
    cr_assert_eq(buf_puts(&b, after), 0);
    if (chunk)
        fake_chunk(c, buf_str(&b));
    else
        fake_reply(c, 200, "", buf_str(&b));
}

/* The record has changed: a new version, and an event. */
static void touch(void)
{
    struct json *metadata = json_ensure_object(record, "metadata");
    char text[16];

    snprintf(text, sizeof(text), "%d", ++version);
    cr_assert_eq(json_set_str(metadata, "resourceVersion", text), 0);
    cr_assert_eq(json_set_str(metadata, "uid", "u"), 0);
    for (size_t i = 0; i < n_watchers; i++)
        send_record(watchers[i], "{\"type\":\"MODIFIED\",\"object\":", "}\n", true);
}

static bool test_fails(const struct json *step)
{
    char path[64];
    size_t n = 0;

    if (strcmp(json_str(step, "op"), "test") != 0)
        return false;
    for (const char *p = json_str(step, "path") + 1; *p && n + 1 < sizeof(path); p++)
        path[n++] = *p == '/' ? '.' : *p;
    path[n] = '\0';
    return strcmp(json_str_or(record, path, "?"), json_str(step, "value")) != 0;
}

static void patch_record(struct fake_conn *c, const char *body)
{
    _cleanup_json_ struct json *steps = parsed(body);

    json_for_each (step, steps) {
        const char *path = json_str(step, "path");

        if (test_fails(step)) {
            fake_reply(c, 422, "", "{\"message\":\"test failed\",\"reason\":\"Invalid\"}");
            return;
        }
        if (strcmp(json_str(step, "op"), "test") == 0)
            continue;
        struct json *into = strcmp(path, "/spec") == 0 ? record : json_field(record, "spec");
        cr_assert_eq(json_set(into, strrchr(path, '/') + 1, json_copy(json_field(step, "value"))), 0);
    }
    strstr(body, "acquireTime") ? takes++ : patches++;
    touch();
    send_record(c, "", "", false);
}

static void create_record(struct fake_conn *c, const char *body)
{
    if (record) {
        fake_reply(c, 409, "", "{\"reason\":\"AlreadyExists\",\"message\":\"m\"}");
        return;
    }
    creates++;
    record = parsed(body);
    touch();
    send_record(c, "", "", false);
}

static void serve(struct fake_conn *c, const struct fake_request *req, void *user)
{
    (void)user;
    if (strstr(req->path, "watch=true")) {
        cr_assert(strstr(req->path, "fieldSelector=metadata.name%3Dleader"));
        fake_start_chunks(c);
        cr_assert_lt(n_watchers, ARRAY_SIZE(watchers));
        watchers[n_watchers++] = c;
    } else if (strcmp(req->method, "GET") == 0) {
        send_record(c, "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[", "]}", false);
    } else if (!strstr(req->path, "/leases")) {
        hung++;
    } else if (fail_writes < 0) {
        return;
    } else if (hang_writes > 0) {
        hang_writes--;
    } else if (fail_writes > 0) {
        fail_writes--;
        fake_reply(c, 500, "", "{\"message\":\"etcd is away\"}");
    } else if (strcmp(req->method, "PATCH") == 0) {
        patch_record(c, req->body);
    } else {
        create_record(c, req->body);
    }
}

static void on_acquired(void *user)
{
    (void)user;
    acquired = true;
}

static void on_lost(const char *why, void *user)
{
    (void)user;
    lost = true;
    snprintf(why_lost, sizeof(why_lost), "%s", why);
}

static void on_failed(const char *why, void *user)
{
    (void)why;
    (void)user;
    failures++;
}

static void on_released(void *user)
{
    (void)user;
    released = true;
}

static void setup(void)
{
    struct kube_config *config = calloc(1, sizeof(*config));

    cr_assert_eq(loop_new(&loop, NULL), 0);
    fake_server_start(&server, loop, serve, NULL);
    cr_assert_gt(asprintf(&config->server, "http://127.0.0.1:%d", server.port), 0);
    config->namespace = strdup("default");
    cr_assert_eq(kube_client_new(loop, config, "sc-test/1", &client, NULL), 0);
    version = 10;
}

static void teardown(void)
{
    lease = kube_lease_free(lease);
    client = kube_client_free(client);
    fake_server_stop(&server);
    loop = loop_free(loop);
    record = json_free(record);
}

TestSuite(kube_lease, .init = setup, .fini = teardown, .timeout = 60);

static void start(void)
{
    const struct kube_lease_config config = {.client = client,
            .namespace = "ns",
            .name = "leader",
            .identity = "me",
            .duration = 4 * USEC_PER_SEC,
            .renew_deadline = 2 * USEC_PER_SEC,
            .retry_period = 100 * USEC_PER_MSEC,
            .acquired = on_acquired,
            .lost = on_lost,
            .failed = on_failed};
    struct err err = ERR_INIT;

    cr_assert_eq(kube_lease_new(&config, &lease, &err), 0, "%s", err_text(&err));
}

static void held_by_other(int seconds)
{
    (void)json_free(record);
    record = parsed(
            "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"leader\"},\"spec\":{\"holderIdentity\":\"other\","
            "\"leaseTransitions\":4,\"renewTime\":\"2000-01-01T00:00:00.000000Z\"}"
            "}");
    cr_assert_eq(json_set_int(json_field(record, "spec"), "leaseDurationSeconds", seconds), 0);
    touch();
}

static void turn_for(usec_t time)
{
    usec_t end = usec_add(clock_monotonic(), time);

    while (clock_monotonic() < end)
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
}

Test(kube_lease, first_of_all)
{
    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    cr_assert_eq(creates, 1);
    cr_assert_str_eq(lease_holder(record), "me");
    cr_assert_eq(json_int_or(record, "spec.leaseDurationSeconds", 0), 4);
    cr_assert_eq(json_int_or(record, "spec.leaseTransitions", 9), 0);
    turn_for(2500 * USEC_PER_MSEC); /* renewed every second */
    cr_assert_not(lost);
    cr_assert_geq(patches, 2);
    cr_assert_leq(patches, 3);
    cr_assert(kube_lease_held(lease));
}

Test(kube_lease, waits_for_as_long_as_it_sees_no_change_whatever_the_times_say)
{
    usec_t begin;

    held_by_other(1);
    start();
    /* Renewed, as the other's clock has it, in the year 2000. */
    for (int i = 0; i < 6; i++) {
        turn_for(500 * USEC_PER_MSEC);
        cr_assert_not(acquired);
        cr_assert_eq(json_set_int(json_field(record, "spec"), "odd", i), 0);
        touch();
    }
    begin = clock_monotonic();
    /* A change of anything but the spec is no renewal. */
    turn_for(500 * USEC_PER_MSEC);
    cr_assert_eq(json_set_str(json_field(record, "metadata"), "generateName", "x"), 0);
    touch();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    cr_assert_geq(clock_monotonic() - begin, 950 * USEC_PER_MSEC);
    cr_assert_leq(clock_monotonic() - begin, 4 * USEC_PER_SEC);
    cr_assert_eq(json_int_or(record, "spec.leaseTransitions", 0), 5);
    cr_assert_eq(takes, 1);
}

Test(kube_lease, a_lease_given_back_is_taken_at_once)
{
    held_by_other(60);
    start();
    turn_for(300 * USEC_PER_MSEC);
    cr_assert_eq(json_set_str(json_field(record, "spec"), "holderIdentity", ""), 0);
    touch();
    cr_assert(fake_wait(loop, &acquired, 10 * USEC_PER_SEC));
}

Test(kube_lease, our_own_from_before_a_restart)
{
    held_by_other(60);
    cr_assert_eq(json_set_str(json_field(record, "spec"), "holderIdentity", "me"), 0);
    start();
    cr_assert(fake_wait(loop, &acquired, 10 * USEC_PER_SEC));
}

Test(kube_lease, some_failures_are_survived)
{
    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    fail_writes = 4;
    turn_for(1500 * USEC_PER_MSEC);
    cr_assert_not(lost);
    cr_assert_eq(failures, 4);
}

/* A server that vanished without a word: a connection that is there leads nowhere, a new one elsewhere. */
Test(kube_lease, a_renewal_that_is_never_answered_is_not_the_last)
{
    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    hang_writes = 1;
    turn_for(2500 * USEC_PER_MSEC);
    cr_assert_eq(hang_writes, 0);
    cr_assert_not(lost, "%s", why_lost);
    cr_assert_geq(patches, 1);
    /* And the next one begins anew. */
    hang_writes = 1;
    turn_for(1500 * USEC_PER_MSEC);
    cr_assert_eq(hang_writes, 0);
    cr_assert_not(lost, "%s", why_lost);
    cr_assert_eq(failures, 0);
}

static void on_other(struct kube_result *result, void *user)
{
    (void)result;
    (void)user;
}

/* Pods whose creation hangs in a webhook, say. */
Test(kube_lease, does_not_wait_for_requests_that_hang)
{
    _cleanup_json_ struct json *body = parsed("{}");
    const struct kube_request request = {
            .verb = KUBE_CREATE, .resource = &kube_pods, .namespace = "ns", .body = body, .done = on_other};

    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    for (int i = 0; i < 40; i++)
        cr_assert_eq(kube_request_start(client, &request, NULL, NULL), 0);
    turn_for(2500 * USEC_PER_MSEC);
    cr_assert_gt(hung, 0);
    cr_assert_lt(hung, 40, "others do wait");
    cr_assert_not(lost, "%s", why_lost);
    cr_assert_geq(patches, 2);
}

Test(kube_lease, lost_at_the_deadline_and_before_others_may_take_it)
{
    static const int ways[] = {1000, -1};

    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        usec_t begin;

        acquired = lost = false;
        start();
        cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
        begin = clock_monotonic();
        fail_writes = ways[i];
        cr_assert(fake_wait(loop, &lost, 5 * USEC_PER_SEC));
        cr_assert_lt(clock_monotonic() - begin, 4 * USEC_PER_SEC);
        cr_assert(strstr(why_lost, "in time"), "%s", why_lost);
        cr_assert(strstr(why_lost, ways[i] > 0 ? "etcd is away" : ""), "%s", why_lost);
        cr_assert_not(kube_lease_held(lease));
        fail_writes = 0;
        patches = 0;
        turn_for(500 * USEC_PER_MSEC);
        cr_assert_eq(patches, 0, "nothing is sent after the loss");
        lease = kube_lease_free(lease);
    }
}

static bool lost_at_input;

static void on_input(struct loop_source *src, int fd, uint32_t events, void *data)
{
    (void)fd;
    (void)events;
    (void)data;
    lost_at_input = lost;
    (void)loop_remove(src);
}

/* What came in while the process was stopped must not be answered by a write of one that leads no more. */
Test(kube_lease, a_loss_while_stopped_is_seen_before_what_came_in)
{
    const struct timespec stopped = {.tv_sec = 2, .tv_nsec = 100 * 1000 * 1000};
    int ends[2];

    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(loop_add_io(loop, "input", ends[0], EPOLLIN, on_input, NULL, NULL), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(nanosleep(&stopped, NULL), 0);
    cr_assert_geq(loop_turn(loop, 0), 1);
    cr_assert(lost);
    cr_assert(lost_at_input);
    close(ends[0]);
    close(ends[1]);
}

Test(kube_lease, lost_when_another_took_it)
{
    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    cr_assert_eq(json_set_str(json_field(record, "spec"), "holderIdentity", "thief"), 0);
    cr_assert(fake_wait(loop, &lost, 5 * USEC_PER_SEC));
    cr_assert(strstr(why_lost, "another"), "%s", why_lost);
    cr_assert_str_eq(lease_holder(record), "thief", "it must not be taken back");
}

Test(kube_lease, two_candidates_one_leader)
{
    held_by_other(1);
    start();
    turn_for(100 * USEC_PER_MSEC);
    /* Another candidate is quicker: its version is one that we have not judged. */
    cr_assert_eq(json_set_str(json_field(record, "spec"), "holderIdentity", "quicker"), 0);
    version++;
    cr_assert_eq(json_set_str(json_field(record, "metadata"), "resourceVersion", "99"), 0);
    turn_for(1200 * USEC_PER_MSEC);
    cr_assert_not(acquired);
    cr_assert_str_eq(lease_holder(record), "quicker");
}

Test(kube_lease, release)
{
    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    kube_lease_release(lease, on_released, NULL);
    cr_assert_not(released);
    cr_assert(fake_wait(loop, &released, USEC_PER_SEC));
    cr_assert_str_eq(lease_holder(record), "");
    patches = 0;
    turn_for(500 * USEC_PER_MSEC);
    cr_assert_eq(patches, 0);
    cr_assert_not(lost);
}

Test(kube_lease, release_does_not_take_it_from_another)
{
    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    cr_assert_eq(json_set_str(json_field(record, "spec"), "holderIdentity", "thief"), 0);
    kube_lease_release(lease, on_released, NULL);
    cr_assert(fake_wait(loop, &released, USEC_PER_SEC));
    cr_assert_str_eq(lease_holder(record), "thief");
}

Test(kube_lease, release_without_an_answer_or_a_lease)
{
    start();
    cr_assert(fake_wait(loop, &acquired, 5 * USEC_PER_SEC));
    fail_writes = -1;
    kube_lease_release(lease, on_released, NULL);
    cr_assert(fake_wait(loop, &released, 2 * USEC_PER_SEC));
    lease = kube_lease_free(lease);
    released = false;
    held_by_other(60);
    start();
    kube_lease_release(lease, on_released, NULL);
    cr_assert(fake_wait(loop, &released, 2 * USEC_PER_SEC));
    cr_assert_not(lost);
}

Test(kube_lease, durations_must_make_sense)
{
    struct kube_lease_config config = {.client = client, .namespace = "ns", .name = "l", .identity = "me"};
    struct err err = ERR_INIT;

    config.duration = 5 * USEC_PER_SEC;
    cr_assert_eq(kube_lease_new(&config, &lease, &err), -EINVAL);
    config.duration = 0;
    config.retry_period = 6 * USEC_PER_SEC;
    cr_assert_eq(kube_lease_new(&config, &lease, &err), -EINVAL);
}

Test(kube_lease, duration_of_a_record)
{
    static const struct {
        const char *spec;
        usec_t seconds;
    } cases[] = {{"{}", 9}, {"{\"leaseDurationSeconds\":4}", 4}, {"{\"leaseDurationSeconds\":0}", 9},
            {"{\"leaseDurationSeconds\":-1}", 9}, {"{\"leaseDurationSeconds\":99999999}", 9},
            {"{\"leaseDurationSeconds\":\"4\"}", 9}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[128];

        snprintf(text, sizeof(text), "{\"spec\":%s}", cases[i].spec);
        _cleanup_json_ struct json *l = parsed(text);
        cr_expect_eq(
                lease_duration(l, 9 * USEC_PER_SEC), cases[i].seconds * USEC_PER_SEC, "%s", cases[i].spec);
    }
}
