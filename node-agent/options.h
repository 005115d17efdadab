/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. PURE but for options_runtime: text in, struct out; strings are borrowed from argv.
 *
 *     sc-node-agent --node-name=NAME --namespace=NAME [OPTION...]     serve
 *     sc-node-agent probe [--alive] [--kubelet-dir=DIR]               ask a serving agent; exit 0 or 1
 *     sc-node-agent check [--output=words|json] [OPTION...]           look at the node; exit 0, 1 or 2
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"

#define AGENT_VERSION "0.1.0"

enum options_command { OPTIONS_SERVE, OPTIONS_PROBE, OPTIONS_CHECK, OPTIONS_VERSION, OPTIONS_HELP };

struct options {
    enum options_command command;
    bool alive; /* probe: any answer will do, also "not ready" */
    bool output; /* check: --output was given */
    bool json; /* check: the report is JSON */
    const char *node_name;
    const char *own_namespace;
    const char *kubelet_dir; /* absolute, as the kubelet writes it into target paths */
    const char *state_dir;
    const char *runtime_endpoint; /* path of a unix socket; NULL: the first of the usual ones that is there */
    const char *runtime_root; /* the runtime's directory: image layers lie below it; NULL: see
                               * options_runtime_root */
    const char *pause_path;
    const char *execwrap_path;
    usec_t limit_interval; /* between two looks at a root whose sizeLimit is watched */
    enum log_level log_level;
};

/* -EINVAL with a sentence that names the option. (Named apart from the controller's: tests link both
 * programs.) */
int agent_options_parse(int argc, char **argv, struct options *ret_options, struct err *err);

/* The CRI socket to ask: the one given, else the first of the usual ones that is there. */
const char *options_runtime(const struct options *o);

/* Where that runtime keeps images; NULL: not known, since its socket is in a place of its own. */
const char *options_runtime_root(const struct options *o);

/* Help, for --help. */
extern const char agent_options_help[];
