/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster on a table (world.h) for persistence Node: what its agent, kubelet and scheduler do.
 */
#pragma once

#include "test/unit/world.h"

#define SPEC(rootfs) \
    "{'running':true,'template':{'spec':{'image':'debian:12'}},'rootfs':{'persistence':'Node'" rootfs "}}"
#define BOX SPEC("")

static inline void expect_condition(
        const struct world *w, const char *type, const char *status, const char *reason)
{
    cr_assert_str_eq(condition_text(w->sc, type, "status"), status, "%s is %s: %s", type,
            condition_text(w->sc, type, "status"), condition_text(w->sc, type, "message"));
    cr_assert_str_eq(condition_text(w->sc, type, "reason"), reason, "%s: %s", type,
            condition_text(w->sc, type, "message"));
}

static inline const char *attribute(const struct json *pod, const char *name)
{
    json_for_each (volume, json_at(pod, "spec.volumes")) {
        const char *value = json_str(json_at(volume, "csi.volumeAttributes"), name);

        if (value)
            return value;
    }
    return "";
}

/* Every container of the provider ends with the agent's words. */
static inline void provider_refused(struct world *w, const char *message)
{
    pod_ends(w, w->provider, 1);
    json_for_each (status, json_at(w->provider, "status.containerStatuses"))
        json_set_str(json_at(status, "state.terminated"), "message", message);
    touch(w, w->provider);
    world_settle(w);
}

static inline void provider_runs(struct world *w)
{
    pod_placed(w, w->provider, "node-a");
    pod_runs(w, w->provider);
    world_settle(w);
}

static inline void consumer_runs(struct world *w)
{
    pod_placed(w, w->consumer, "node-a");
    pod_runs(w, w->consumer);
    world_settle(w);
    cr_assert_str_eq(phase(w), "Running");
}

static inline void stop(struct world *w)
{
    world_spec(w, "{'running':false}");
    world_settle(w);
    if (w->consumer && json_str(w->consumer, "metadata.deletionTimestamp"))
        pod_finishes(w, &w->consumer);
    world_settle(w);
}

static inline void unplaced(struct world *w, struct json *pod)
{
    pod_status(w, pod,
            "{'conditions':[{'type':'PodScheduled','status':'False','reason':'Unschedulable','message':'0/1 "
            "nodes'}]}");
    world_settle(w);
}
