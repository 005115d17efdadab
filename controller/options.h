/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of sc-controller.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"

struct options {
    const char *kubeconfig; /* NULL: $KUBECONFIG, else the pod's service account */
    const char *namespace; /* NULL: $POD_NAMESPACE, else that of the credentials */
    const char *reclaim_image;
    const char *runtime_classes; /* "" */
    const char *provider_priority_class; /* "" */
    uint16_t health_port; /* 0: no health endpoints */
    bool leader_elect;
    usec_t lease_duration; /* lease_renew_deadline < lease_duration, twice lease_retry_period at least */
    usec_t lease_renew_deadline;
    usec_t lease_retry_period;
    enum log_level log_level;
    bool help;
    bool version;
};

/* Strings are borrowed from argv. -EINVAL with a sentence for whatever is not understood. */
int options_parse(int argc, char **argv, struct options *ret, struct err *err) _must_check_;
extern const char options_usage[];
