/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pause does: it is the only process of a provider container, whose writable layer is the preserved
 * root.
 *
 * It tells the agent that it is there and stays, across any number of restarts of the agent. On the first
 * signal it asks the agent whether it may leave, and leaves with 0 when the agent releases it; with no agent
 * there it goes on trying to ask, until the runtime kills it at the end of its grace period: a root may have
 * a consumer that is still finishing. As pid 1 it reaps what it inherits.
 *
 * It ends on its own only where the agent refuses it for good, since nothing else would be worth a root.
 */
#pragma once

/* Returns the exit code: 0 released, 1 refused (said on stderr and in termination_log). */
int hold(const char *socket_path, const char *termination_log);
