/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at the node for `sc-node-agent check`: reads, and changes nothing.
 *
 *   the journal                 STATE/volumes
 *   roots                       the names in STATE/instances/<uid>/<container>, never what is mounted there
 *   volumes of this driver      the kubelet's pods/<uid>/volumes/kubernetes.io~csi/<name>, by vol_data.json;
 *                               `mount` below it only where nothing is mounted on it
 *   mounts                      mountinfo of the machine's process 1, and of this process
 *   workers                     /proc/PID/stat, by name, in this pid namespace
 *   sockets                     a connection to each journaled agent.sock that says nothing; the agent sees
 *                               it end
 *
 * No path is followed through a link or into a mount of a tenant, and nothing there is asked for (stat), so a
 * hung file system of a pod does not hang this. What vanishes while it is looked at was under way, and counts
 * as not there. Bounded by LIMIT_CHECK_ENTRIES.
 */
#pragma once

#include "node-agent/check.h"

/* Fills facts that check_facts_init has made, but for what the runtime knows. A failure means that something
 * essential could not be looked at. */
int check_look(struct check_facts *f, struct err *err) _must_check_;
