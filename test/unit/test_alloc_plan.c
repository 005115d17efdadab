/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole lives on the table of world.h, of which every plan is made with each of its allocations refused: a decision that
 * cannot be made for want of memory is no decision, and what is remembered between decisions stays as it was.
 */
#include "controller/plan.h"
#include "test/unit/alloc.h"

static int tortured_plan_make(
        const struct observed *o, const struct plan_config *config, struct key_memory *m, struct plan *p);

#define plan_make tortured_plan_make
#include "test/unit/world.h"
#include "test/unit/world_node.h"
#undef plan_make

struct decision {
    const struct observed *o;
    const struct plan_config *config;
    const struct key_memory *before;
};

static void copy_memory(const struct key_memory *from, struct key_memory *to)
{
    *to = *from;
    for (size_t i = 0; i < ACT_KINDS; i++) {
        const struct retry *r = &from->retry[i];

        to->retry[i].reason = r->reason ? strdup(r->reason) : NULL;
        to->retry[i].message = r->message ? strdup(r->message) : NULL;
    }
}

/* A number for all of it that is not a pointer. */
static void describe_memory(const struct key_memory *m, struct buf *b)
{
    struct key_memory flat = *m;
    const unsigned char *bytes = (const unsigned char *)&flat;
    uint64_t hash = 1469598103934665603U;

    for (size_t i = 0; i < ACT_KINDS; i++) {
        buf_printf(b, "%s/%s ", m->retry[i].reason ? m->retry[i].reason : "",
                m->retry[i].message ? m->retry[i].message : "");
        flat.retry[i].reason = flat.retry[i].message = NULL;
    }
    for (size_t i = 0; i < sizeof(flat); i++)
        hash = (hash ^ bytes[i]) * 1099511628211U;
    buf_printf(b, "memory %llx", (unsigned long long)hash);
}

static char *describe(const struct plan *p, const struct key_memory *m)
{
    struct buf b = BUF_INIT(MIB);

    for (size_t i = 0; i < p->n; i++) {
        const struct action *a = &p->actions[i];

        buf_printf(&b, "%s %s/%s %s %lld ", action_name(a->kind), a->namespace, a->name, a->uid,
                (long long)a->grace_seconds);
        if (a->body)
            json_write(a->body, &b);
        buf_puts(&b, "\n");
    }
    buf_printf(&b, "again at %llu; asks %d %s\n", (unsigned long long)p->requeue_at, p->ask_namespace,
            p->ask_node);
    describe_memory(m, &b);
    return buf_take(&b, NULL);
}

static void run_decision(void *user, struct alloc_outcome *ret)
{
    const struct decision *d = user;
    struct plan p = PLAN_INIT;
    struct key_memory m;

    copy_memory(d->before, &m);
    alloc_begin();
    ret->r = plan_make(d->o, d->config, &m, &p);
    alloc_end();
    if (ret->r == 0)
        ret->text = describe(&p, &m);
    plan_free(&p);
    p = (struct plan)PLAN_INIT;
    if (ret->r == 0) {
        ret->again = strdup(ret->text);
    } else {
        ret->again_r = plan_make(d->o, d->config, &m, &p);
        ret->again = describe(&p, &m);
        plan_free(&p);
    }
    memory_free(&m);
}

static int tortured_plan_make(
        const struct observed *o, const struct plan_config *config, struct key_memory *m, struct plan *p)
{
    struct decision d = {.o = o, .config = config, .before = m};

    alloc_torture(
            &(struct alloc_case){.name = "plan_make", .run = run_decision, .user = &d, .may_pass = true});
    return plan_make(o, config, m, p);
}

/* What a template can have that we change, in its full form. */
#define FULL                                                                                                 \
    "{'running':true,'attach':'Chroot','hostPathPrefix':'/x','provider':{'nodeSelector':{'disk':'ssd'},"     \
    "'resources':{'limits':{'cpu':'1'}},'tolerations':[{'operator':'Exists'}]},'template':{'metadata':{'"    \
    "labels':{"                                                                                              \
    "'app':'box'},'annotations':{'note':'x'}},'spec':{'serviceAccountName':'sa','nodeName':'node-a',"        \
    "'runtimeClassName':'runc-alias','affinity':{'nodeAffinity':{'"                                          \
    "requiredDuringSchedulingIgnoredDuringExecution':{"                                                      \
    "'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'Exists'}]}]}}},'imagePullSecrets':[{'" \
    "name':"                                                                                                 \
    "'s'}],'volumes':[{'name':'v','emptyDir':{}}],'initContainers':[{'name':'i','image':'x'}],'containers':" \
    "["                                                                                                      \
    "{'name':'a','image':'x','command':['c'],'terminationMessagePath':'log','livenessProbe':{'exec':{'"      \
    "command':['l']"                                                                                         \
    "}},'lifecycle':{'preStop':{'exec':{'command':['p']}},'postStart':{'exec':{'command':['q']}}},'"         \
    "resources':{"                                                                                           \
    "'limits':{'ephemeral-storage':'1Gi'}},'volumeMounts':[{'name':'v','mountPath':'/"                       \
    "v'}]},{'name':'b','image':'y',"                                                                         \
    "'securityContext':{'readOnlyRootFilesystem':true}}]}}}"
#define SHORT "{'running':true,'template':{'spec':{'image':'debian:12','securityContext':{'fsGroup':1}}}}"

static void start(struct world *w)
{
    world_spec(w, "{'running':true}");
    world_settle(w);
    pod_placed(w, w->consumer, "node-a");
    pod_runs(w, w->consumer);
    world_settle(w);
    cr_assert_str_eq(phase(w), "Running");
}

/* The node says that nothing is left there, when it is asked. */
static void reclaimed(struct world *w)
{
    if (w->reclaim)
        pod_ends(w, w->reclaim, 0);
    world_wait(w, 5 * USEC_PER_SEC);
}

/* Up to nothing being left. */
static void end_of(struct world *w)
{
    delete_object(w, &w->sc);
    world_settle(w);
    if (w->consumer)
        pod_finishes(w, &w->consumer);
    world_settle(w);
    if (w->provider)
        pod_finishes(w, &w->provider);
    world_settle(w);
    reclaimed(w);
    cr_assert(!w->sc && !w->sci && !w->consumer && !w->provider && !w->reclaim);
    world_free(w);
}

Test(alloc_plan, life)
{
    struct world w;

    world_init(&w, SHORT);
    world_run(&w);
    world_spec(&w, "{'template':{'spec':{'image':'debian:13'}}}");
    world_settle(&w);
    expect_condition(&w, "RestartRequired", "True", "TemplateChanged");
    stop(&w);
    cr_assert_str_eq(phase(&w), "Stopped");
    start(&w);
    expect_condition(&w, "Honored", "False", "ImageKept");
    end_of(&w);
}

Test(alloc_plan, full_template)
{
    struct world w;

    world_init(&w, FULL);
    world_run(&w);
    stop(&w);
    start(&w);
    end_of(&w);
}

Test(alloc_plan, persistence_node)
{
    struct world w;

    world_init(&w, SPEC(",'sizeLimit':'1Gi'"));
    world_settle(&w);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    provider_runs(&w);
    consumer_runs(&w);
    provider_refused(&w, "SizeLimitExceeded: 2 GiB of 1 GiB");
    world_wait(&w, 3 * USEC_PER_SEC);
    provider_runs(&w);
    stop(&w);
    provider_refused(&w, "ImageChanged: other content");
    expect_condition(&w, "RootfsIntact", "True", "ImageChanged");
    world_wait(&w, 3 * USEC_PER_SEC);
    unplaced(&w, w.provider);
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    end_of(&w);
}

/* The root is lost, made anew, and thrown away by a new token; the consumer vanishes. */
Test(alloc_plan, losses)
{
    struct world w;

    world_init(&w, SHORT);
    world_run(&w);
    pod_gone(&w, &w.provider, true);
    world_settle(&w);
    expect_condition(&w, "RootfsIntact", "False", "ProviderVanished");
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    cr_assert_str_eq(phase(&w), "Failed");
    world_spec(&w, "{'rootfs':{'onLoss':'Recreate'}}");
    world_settle(&w);
    reclaimed(&w);
    world_run(&w);
    world_spec(&w, "{'rootfs':{'resetToken':'a'}}");
    world_settle(&w);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    pod_finishes(&w, &w.provider);
    reclaimed(&w);
    world_run(&w);
    w.node = NODE_NOT_READY;
    pod_gone(&w, &w.consumer, false);
    world_restart(&w);
    world_spec(&w, "{'running':false}");
    world_wait(&w, 60 * USEC_PER_SEC);
    expect_condition(&w, "Ready", "False", "NodeNotResponding");
    w.node = NODE_GONE;
    world_wait(&w, 600 * USEC_PER_SEC);
    cr_assert_str_eq(phase(&w), "Stopped");
    end_of(&w);
}

/* What does not start: refused, without a node, on a node that the provider does not fit on, with other containers. */
Test(alloc_plan, trouble)
{
    struct world w;

    world_init(&w, SHORT);
    w.refuse = ACT_CONSUMER_CREATE;
    w.refusal = "exceeded quota";
    world_settle(&w);
    expect_condition(&w, "Ready", "False", "Forbidden");
    w.refuse = ACT_KINDS;
    world_wait(&w, 2 * USEC_PER_SEC);
    pod_placed(&w, w.consumer, "node-a");
    world_settle(&w);
    unplaced(&w, w.provider);
    world_wait(&w, 31 * USEC_PER_SEC);
    pod_finishes(&w, &w.consumer);
    world_settle(&w);
    unplaced(&w, w.consumer);
    world_wait(&w, 3 * USEC_PER_SEC);
    cr_assert(strstr(condition_text(w.sc, "Scheduled", "message"), "did not fit (node-a)"));
    world_wait(&w, 31 * USEC_PER_SEC);
    world_run(&w);
    stop(&w);
    world_spec(&w,
            "{'running':true,'template':{'spec':{'image':null,'containers':[{'name':'a','image':'x'}]}}}");
    world_settle(&w);
    expect_condition(&w, "Ready", "False", "ContainersChanged");
    world_spec(&w, "{'template':{'spec':{'containers':[{'name':'a','image':'x'}],'hostUsers':false}}}");
    world_settle(&w);
    expect_condition(&w, "Ready", "False", "TemplateRefused");
    end_of(&w);
}
