/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More publish calls at once than the agent keeps waiting: the rest is refused in words, and has its turn when some
 * of them are given up.
 */
#include "test/priv/node_look.h"
#include "test/priv/node_steps.h"
#include "test/priv/tap.h"

enum { PER_CLIENT = LIMIT_RPC_STREAMS / 2, CLIENTS = LIMIT_WAITING / PER_CLIENT + 1 };

struct crowd {
    struct node node;
    struct loop *loop;
    struct rpc_client *clients[CLIENTS];
    size_t n, answered;
    char text[256]; /* of the last answer */
};

static void on_answer(struct rpc_unary *unary _unused_, const struct rpc_result *result, void *user)
{
    struct crowd *c = user;

    c->answered++;
    (void)snprintf(c->text, sizeof(c->text), "%d %s", (int)result->status, result->text);
}

/* A consumer's volume, each of another pod, whose provider is not there yet. */
static void ask(struct crowd *c)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB);
    struct node_pod_facts facts = node_pods[NODE_POD_CONSUMER];
    struct rpc_unary_spec call = {
            .method = NODE_PUBLISH, .timeout = 60 * USEC_PER_SEC, .fn = on_answer, .user = c};
    char uid[64], volume[80];
    struct err err = ERR_INIT;

    (void)snprintf(uid, sizeof(uid), "0f0f0f0f-1111-4222-8333-%012zx", c->n);
    node_volume_id(uid, volume);
    facts.uid = uid;
    facts.volume = volume;
    node_put_publish(&c->node, NODE_POD_CONSUMER, &facts, &b);
    must(buf_error(&b) == 0);
    call.message = b.data;
    call.len = b.len;
    must(rpc_unary_start(c->clients[c->n / PER_CLIENT], &call, NULL, &err) == 0);
    c->n++;
}

/* What was asked has arrived, and has been answered if it is to be: the agent answers something that came later. */
static size_t answers(struct crowd *c)
{
    for (int i = 0; i < 10; i++) {
        while (loop_turn(c->loop, 10 * USEC_PER_MSEC) > 0)
            ;
        must(node_settle(&c->node) == 0);
    }
    return c->answered;
}

static int crowd(const void *data _unused_)
{
    static struct crowd c;
    struct err err = ERR_INIT;
    usec_t end;
    bool good;

    node_make(&c.node);
    must(loop_new(&c.loop, &err) == 0);
    for (size_t i = 0; i < CLIENTS; i++)
        must(rpc_client_new(c.loop, NODE_CSI_DIR "/csi.sock", &c.clients[i], &err) == 0);
    good = tap_ok(node_start_agent(&c.node) == 0, "an agent");
    while (good && c.n < LIMIT_WAITING)
        ask(&c);
    good = good && tap_ok(answers(&c) == 0, "%d publish calls wait: %s", LIMIT_WAITING, c.text);
    if (good)
        ask(&c);
    good = good && tap_ok(answers(&c) == 1 && strstr(c.text, "too many volumes at once"),
                           "one more is refused: %s", c.text);
    if (good) {
        c.clients[0] = rpc_client_free(c.clients[0]); /* with its connection */
        end = usec_add(clock_monotonic(), NODE_WAIT);
        while (system("grep -q 'given up the call' " NODE_LOG) != 0 && answers(&c) == 1 &&
                clock_monotonic() < end)
            (void)poll(NULL, 0, 10);
        ask(&c);
    }
    good = good && tap_ok(answers(&c) == 1, "where some have given up, another waits");
    for (size_t i = 0; i < CLIENTS; i++)
        c.clients[i] = rpc_client_free(c.clients[i]);
    return node_end(&c.node, good);
}

int main(void)
{
    if (geteuid() != 0) {
        tap_skip("all", "needs root");
        return tap_status();
    }
    tap_failures += on_next_machine(crowd, NULL) != 0;
    return tap_status();
}
