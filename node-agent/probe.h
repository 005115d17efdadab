/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sc-node-agent probe`, for the DaemonSet's exec probes: asks csi.v1.Identity/Probe on the serving agent's
 * socket. So the serving agent itself does nothing while nobody asks.
 */
#pragma once

#include <stdbool.h>

#include "common/base/err.h"

/* 0 when it says that it is ready; with `alive`, when it answers at all. */
int probe_run(const char *kubelet_dir, bool alive, struct err *err);
