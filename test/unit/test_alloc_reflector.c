/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List and watch with each of their allocations refused: what the server tells is in the store in the end.
 */
#include "common/base/limits.h"
#include "common/kube/reflector.h"
#include "common/kube/store.h"
#include "test/unit/alloc_server.h"

#define OBJECT(name, version)                                                   \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"uid\":\"" name \
    "\",\"resourceVersion\":\"" version "\"}}"

/* The list is of version 10; what came after it, by version. */
static const struct {
    long version;
    const char *line;
} events[] = {
        {11, "{\"type\":\"ADDED\",\"object\":" OBJECT("b", "11") "}\n"},
        {12, "{\"type\":\"MODIFIED\",\"object\":" OBJECT("a", "12") "}\n"},
        {13, "{\"type\":\"DELETED\",\"object\":" OBJECT("c", "13") "}\n"},
        {14, "{\"type\":\"ADDED\",\"object\":" OBJECT("d", "14") "}\n"},
};

static void serve(struct fake_conn *c, const struct fake_request *req, void *user _unused_)
{
    const char *version = strstr(req->path, "resourceVersion=");

    if (!strstr(req->path, "watch=true")) {
        fake_reply(c, 200, "",
                "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[" OBJECT("a", "10") "," OBJECT(
                        "c", "9") "]}");
        return;
    }
    fake_start_chunks(c);
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        if (events[i].version > strtol(version + strlen("resourceVersion="), NULL, 10))
            fake_chunk(c, events[i].line);
}

static int put_text(const struct json *object, void *user)
{
    return buf_printf(
            user, "%s@%s ", json_str(object, "metadata.name"), json_str(object, "metadata.resourceVersion"));
}

/* From the first failure on there is memory. */
static void on_failed(const struct kube_result *result, usec_t again_in _unused_, void *user)
{
    bool *failed = user;

    alloc_end();
    *failed = true;
    cr_assert(*result->message, "%d without a word", result->code);
}

static bool is_whole(const struct kube_store *store)
{
    return kube_store_get(store, "ns", "d") && !kube_store_get(store, "ns", "c");
}

static void run_reflector(void *user _unused_, struct alloc_outcome *ret)
{
    static const struct kube_store_config plain = {0};
    usec_t end = clock_monotonic() + 20 * USEC_PER_SEC;
    struct kube_reflector *reflector = NULL;
    struct buf text = BUF_INIT(MIB);
    struct kube_store *store = NULL;
    struct loop *loop = NULL;
    bool failed = false;

    cr_assert_eq(loop_new(&loop, NULL), 0);
    cr_assert_eq(kube_store_new(&plain, &store), 0);
    const struct kube_reflector_config config = {.client = api_client(loop),
            .store = store,
            .resource = &kube_pods,
            .failed = on_failed,
            .user = &failed};
    alloc_begin();
    ret->r = kube_reflector_new(&config, &reflector, NULL);
    while (ret->r == 0 && !is_whole(store) && clock_monotonic() < end) {
        (void)loop_turn(loop, 10 * USEC_PER_MSEC);
        if (failed)
            kube_reflector_hurry(reflector);
    }
    alloc_end();
    if (ret->r == 0) {
        kube_store_each(store, put_text, &text);
        ret->text = buf_take(&text, NULL);
    }
    kube_reflector_free(reflector);
    kube_client_free(config.client);
    kube_store_free(store);
    loop_free(loop);
}

Test(alloc_reflector, nothing_that_was_told_is_lost)
{
    api_start(serve);
    alloc_torture(&(struct alloc_case){
            .name = "reflector", .run = run_reflector, .may_pass = true, .varies = true});
    api_stop();
}
