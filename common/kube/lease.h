/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader election by a coordination.k8s.io/v1 Lease.
 *
 * No clock of another machine is believed, and no wall clock: a candidate takes over when it has seen the
 * record unchanged for the whole lease duration (that of the record) on its own CLOCK_MONOTONIC. The leader
 * renews when half of the renew deadline has passed, tries again every retry period when that fails, sends another
 * on a new connection when there is no answer in half of the time that is left (a server that vanished), and gives
 * up (on_lost) when the renew deadline has passed since it sent the last renewal that succeeded, by
 * CLOCK_MONOTONIC or CLOCK_BOOTTIME, whichever says so first: that is earlier than any candidate may take over,
 * also when the machine slept. A leader that was stopped (SIGSTOP, a frozen cgroup, a sleeping machine) learns
 * it before anything that came in meanwhile is looked at (loop_set_first_look), so it sends no write.
 * A candidate watches the Lease, so that a released one is taken at once and waiting costs nothing. What was
 * sent before on_lost may still arrive, and a process can be stopped between that look and the write: so every
 * write of a leader has a precondition or can be repeated.
 */
#pragma once

#include "common/kube/client.h"

struct kube_lease;

struct kube_lease_config {
    struct kube_client *client;
    const char *namespace;
    const char *name;
    const char *identity; /* differs from every other candidate's: pod name and a random part */
    usec_t duration; /* 0: 15 s. Whole seconds */
    usec_t renew_deadline; /* 0: 10 s */
    usec_t retry_period; /* 0: 2 s; at most half of the renew deadline */
    void (*acquired)(void *user);
    void (*lost)(const char *why, void *user); /* only after acquired; stop acting at once, best by ending */
    void (*failed)(const char *why, void *user); /* an attempt failed and is repeated. May be NULL */
    void *user;
};

int kube_lease_new(
        const struct kube_lease_config *config, struct kube_lease **ret, struct err *err) _must_check_;

/* Orderly stop: gives a held lease back so that another takes over at once, then calls done (from the loop,
 * in every case, at the latest after `retry_period`). No other callback comes any more. */
void kube_lease_release(struct kube_lease *lease, void (*done)(void *user), void *user);

bool kube_lease_held(const struct kube_lease *lease);
struct kube_lease *kube_lease_free(
        struct kube_lease *lease); /* without giving it back; accepts NULL, returns NULL */
DEFINE_CLEANUP_FUNC(struct kube_lease *, kube_lease_free);
