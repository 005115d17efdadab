/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions about one instance on this node. PURE: state and question in, answer out; no clock, no I/O.
 *
 * An instance is keyed by (namespace vouched for by the kubelet, uid of the StoppableContainerInstance). It
 * has at most one provider volume and one consumer volume that are published, and each container of the
 * provider has one root, which goes NONE -> EXPOSING -> EXPOSED and never comes back once it is lost.
 *
 * In persistence Node nothing is lost with a provider: its roots are the node's, exposed for as long as a
 * provider or a consumer is published, and a provider is needed to expose them and to start a consumer, no
 * more. A consumer that is published stays on them whatever becomes of the provider, and a container of the
 * provider that runs again, or in a new pod, gets them back.
 *
 * Whatever waits (a publish call, a process on a volume's socket) asks again after every change. The answer
 * depends on the state alone, so an event that came twice, late or not at all changes nothing.
 *
 *   question            done             do                wait                 refuse
 *   publish provider    is published     nobody else is    another pod is       uid of another namespace
 *   publish consumer    is published     all roots there   for pause, for the   provider leaving or lost
 *                                                          other consumer
 *   publish reclaim     -                nothing left      volumes published    - (another namespace's: do)
 *   hello               root exposed     first hello       being exposed        lost; second container id
 *   attach              -                root exposed      root not there yet   lost; another provider's root
 *   stopping            no consumer      -                 consumer published   -
 *
 * and in persistence Node, where it differs:
 *
 *   publish provider    is published     nobody else is    another pod is,      -
 *                                                          roots going to rest
 *   publish reclaim     -                nothing published volumes published,   -
 *                                                          roots going to rest
 *   hello               root exposed     any container     being exposed        -
 *   attach              -                root exposed      not exposed (again)  -
 *   stopping            at once          -                 -                    -
 */
#pragma once

#include "common/names.h"
#include "node-agent/volume.h"

struct instance {
    char ns[LIMIT_NAMESPACE + 1];
    char uid[LIMIT_UID + 1];
    struct volume *provider; /* published; borrowed; NULL */
    struct volume *consumer;
    bool provider_leaving; /* its unpublish has begun: nothing new on its roots */
    bool stopping; /* pause was asked to end: no new consumer */
    bool resting; /* its roots are being unmounted, after the last volume or with it */
};

enum verdict {
    VERDICT_DONE, /* it is so already: answer yes */
    VERDICT_DO, /* may be done now */
    VERDICT_WAIT, /* not yet: ask again after the next change; the text says what is waited for */
    VERDICT_LATER, /* no, and waiting here is pointless: the asker is to come back */
    VERDICT_NEVER, /* no, for good */
    VERDICT_LOSE, /* hello only: the root is lost by this; mark it, then refuse */
};

enum { DECISION_TEXT_MAX = 512 };

struct decision {
    enum verdict verdict;
    char text[DECISION_TEXT_MAX]; /* a sentence for WAIT, LATER, NEVER, LOSE; else "" */
};

/* May this volume be published? `in` is its instance, with what is published now. */
struct decision instance_publish(const struct instance *in, const struct volume *want);

/* A verified container of the provider pod says hello. */
struct decision instance_hello(
        const struct instance *in, const struct volume *provider, const char *container, const char *id);

/* A verified container of the consumer pod asks for its root. */
struct decision instance_attach(
        const struct instance *in, const struct volume *consumer, const char *container);

/* pause was asked to end: may it? */
struct decision instance_release(const struct instance *in);

/* Nothing of it is left to remember. */
bool instance_is_idle(const struct instance *in);

/* The consumer is on the provider's roots: it was published for this provider pod. */
bool instance_is_on_roots(const struct instance *in);

/* Marks a volume's roots lost, with the reason; the first reason stays. False when they were lost already. */
bool instance_lose(struct volume *v, const char *reason);
