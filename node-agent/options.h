/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. PURE: text in, struct out; strings are borrowed from argv.
 *
 *     sc-node-agent --node-name=NAME --namespace=NAME [OPTION...]     serve
 *     sc-node-agent probe [--alive] [--kubelet-dir=DIR]               ask a serving agent; exit 0 or 1
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/log.h"

#define AGENT_VERSION "0.1.0"

enum options_command { OPTIONS_SERVE, OPTIONS_PROBE, OPTIONS_VERSION, OPTIONS_HELP };

struct options {
    enum options_command command;
    bool alive; /* probe: any answer will do, also "not ready" */
    const char *node_name;
    const char *own_namespace;
    const char *kubelet_dir; /* absolute, as the kubelet writes it into target paths */
    const char *state_dir;
    const char *runtime_endpoint; /* path of a unix socket; NULL: the first of the usual ones that is there */
    const char *pause_path;
    const char *execwrap_path;
    enum log_level log_level;
};

/* -EINVAL with a sentence that names the option. (Named apart from the controller's: tests link both
 * programs.) */
int agent_options_parse(int argc, char **argv, struct options *ret_options, struct err *err);

/* Help, for --help. */
extern const char agent_options_help[];
