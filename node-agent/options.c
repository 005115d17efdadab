/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See options.h. One table; `--name=value` and `--name value` are the same.
 */
#include "node-agent/options.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/num.h"
#include "common/names.h"

#define CONTAINERD_SOCKET "/run/containerd/containerd.sock"
#define CRIO_SOCKET "/var/run/crio/crio.sock"
#define LIBEXEC "/usr/libexec/stoppablecontainer/"

enum { INTERVAL_MAX = 24 * 60 * 60 };

const char agent_options_help[] =
        "Usage: sc-node-agent --node-name=NAME --namespace=NAME [OPTION...]\n"
        "       sc-node-agent probe [--alive]\n"
        "       sc-node-agent check [--output=words|json]\n"
        "\n"
        "  --node-name=NAME          name of this node in Kubernetes\n"
        "  --namespace=NAME          the agent's own namespace, where reclaim pods are honoured\n"
        "  --kubelet-dir=DIR         the kubelet's directory (/var/lib/kubelet)\n"
        "  --state-dir=DIR           a shared mount of the node for roots and journal (" SC_STATE_DIR ")\n"
        "  --runtime-endpoint=PATH   CRI socket (containerd's, else CRI-O's)\n"
        "  --runtime-root=DIR        where the runtime keeps images on the node (that of the usual CRI "
        "socket)\n"
        "  --pause=PATH              the provider's program (" LIBEXEC SC_PAUSE_FILE ")\n"
        "  --execwrap=PATH           the consumer's first program (" LIBEXEC SC_EXECWRAP_FILE ")\n"
        "  --limit-interval=SECONDS  between two looks at what a root takes whose sizeLimit no file system "
        "holds (60)\n"
        "  --log-level=LEVEL         error, warn, info or debug (info)\n"
        "  --alive                   probe: succeed also when the agent says it is not ready\n"
        "  --output=words|json       check: how it tells what is wrong on this node (words); exits with 0\n"
        "                            when nothing is, 1 when something is, 2 when it cannot tell\n"
        "  --version, --help\n";

enum option_id {
    OPTION_NODE_NAME,
    OPTION_NAMESPACE,
    OPTION_KUBELET_DIR,
    OPTION_STATE_DIR,
    OPTION_RUNTIME_ENDPOINT,
    OPTION_RUNTIME_ROOT,
    OPTION_PAUSE,
    OPTION_EXECWRAP,
    OPTION_LIMIT_INTERVAL,
    OPTION_LOG_LEVEL,
    OPTION_ALIVE,
    OPTION_OUTPUT,
    OPTION_VERSION,
    OPTION_HELP,
};

static const struct option_def {
    const char *name;
    enum option_id id;
    bool value;
} option_defs[] = {
        {"node-name", OPTION_NODE_NAME, true},
        {"namespace", OPTION_NAMESPACE, true},
        {"kubelet-dir", OPTION_KUBELET_DIR, true},
        {"state-dir", OPTION_STATE_DIR, true},
        {"runtime-endpoint", OPTION_RUNTIME_ENDPOINT, true},
        {"runtime-root", OPTION_RUNTIME_ROOT, true},
        {"pause", OPTION_PAUSE, true},
        {"execwrap", OPTION_EXECWRAP, true},
        {"limit-interval", OPTION_LIMIT_INTERVAL, true},
        {"log-level", OPTION_LOG_LEVEL, true},
        {"alive", OPTION_ALIVE, false},
        {"output", OPTION_OUTPUT, true},
        {"version", OPTION_VERSION, false},
        {"help", OPTION_HELP, false},
};

static const struct option_def *find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(option_defs); i++)
        if (strlen(option_defs[i].name) == len && strncmp(option_defs[i].name, name, len) == 0)
            return &option_defs[i];
    return NULL;
}

/* An absolute path without a slash at its end, so that comparing and joining need no care. */
static int set_path(const char **ret, const char *name, const char *value, struct err *err)
{
    size_t len = strlen(value);

    if (value[0] != '/' || len < 2 || value[len - 1] == '/')
        return err_say(
                err, EINVAL, "--%s: \"%s\" must be an absolute path without a slash at its end", name, value);
    *ret = value;
    return 0;
}

static int set_endpoint(const char **ret, const char *value, struct err *err)
{
    static const char scheme[] = "unix://";

    if (strncmp(value, scheme, sizeof(scheme) - 1) == 0)
        value += sizeof(scheme) - 1;
    return set_path(ret, "runtime-endpoint", value, err);
}

static int set_interval(struct options *o, const char *value, struct err *err)
{
    uint64_t seconds;

    if (num_parse_u64(value, 1, INTERVAL_MAX, &seconds) < 0)
        return err_say(err, EINVAL, "--limit-interval: \"%s\" is no number of seconds from 1 to %d", value,
                INTERVAL_MAX);
    o->limit_interval = seconds * USEC_PER_SEC;
    return 0;
}

static int set_output(struct options *o, const char *value, struct err *err)
{
    o->json = strcmp(value, "json") == 0;
    if (!o->json && strcmp(value, "words") != 0)
        return err_say(err, EINVAL, "--output: \"%s\" is not words or json", value);
    o->output = true;
    return 0;
}

static int apply(struct options *o, const struct option_def *def, const char *value, struct err *err)
{
    switch (def->id) {
    case OPTION_NODE_NAME:
        o->node_name = value;
        return 0;
    case OPTION_NAMESPACE:
        o->own_namespace = value;
        return 0;
    case OPTION_KUBELET_DIR:
        return set_path(&o->kubelet_dir, def->name, value, err);
    case OPTION_STATE_DIR:
        return set_path(&o->state_dir, def->name, value, err);
    case OPTION_RUNTIME_ENDPOINT:
        return set_endpoint(&o->runtime_endpoint, value, err);
    case OPTION_RUNTIME_ROOT:
        return set_path(&o->runtime_root, def->name, value, err);
    case OPTION_PAUSE:
        return set_path(&o->pause_path, def->name, value, err);
    case OPTION_EXECWRAP:
        return set_path(&o->execwrap_path, def->name, value, err);
    case OPTION_LIMIT_INTERVAL:
        return set_interval(o, value, err);
    case OPTION_LOG_LEVEL:
        if (log_level_from_string(value, &o->log_level) < 0)
            return err_say(err, EINVAL, "--log-level: \"%s\" is not error, warn, info or debug", value);
        return 0;
    case OPTION_ALIVE:
        o->alive = true;
        return 0;
    case OPTION_OUTPUT:
        return set_output(o, value, err);
    case OPTION_VERSION:
        o->command = OPTIONS_VERSION;
        return 0;
    case OPTION_HELP:
        o->command = OPTIONS_HELP;
        return 0;
    }
    return -EINVAL;
}

/* One option at argv[*i], moving *i over a value of its own. */
static int parse_one(struct options *o, int argc, char **argv, int *i, struct err *err)
{
    const char *arg = argv[*i] + 2;
    size_t len = strcspn(arg, "=");
    const struct option_def *def = find(arg, len);
    const char *value = arg[len] ? arg + len + 1 : NULL;

    if (!def)
        return err_say(err, EINVAL, "unknown option --%.*s; --help lists them", (int)len, arg);
    if (!def->value && value)
        return err_say(err, EINVAL, "--%s takes no value", def->name);
    if (def->value && !value && *i + 1 < argc)
        value = argv[++*i];
    if (def->value && (!value || !value[0]))
        return err_say(err, EINVAL, "--%s needs a value", def->name);
    return apply(o, def, value, err);
}

static int check(const struct options *o, struct err *err)
{
    if (o->command == OPTIONS_SERVE && !o->node_name)
        return err_say(err, EINVAL, "--node-name is missing");
    if (o->command == OPTIONS_SERVE && !o->own_namespace)
        return err_say(err, EINVAL, "--namespace is missing");
    if (o->command != OPTIONS_PROBE && o->alive)
        return err_say(err, EINVAL, "--alive belongs to the command probe");
    if (o->command != OPTIONS_CHECK && o->output)
        return err_say(err, EINVAL, "--output belongs to the command check");
    return 0;
}

int agent_options_parse(int argc, char **argv, struct options *ret_options, struct err *err)
{
    struct options o = {
            .command = OPTIONS_SERVE,
            .kubelet_dir = "/var/lib/kubelet",
            .state_dir = SC_STATE_DIR,
            .pause_path = LIBEXEC SC_PAUSE_FILE,
            .execwrap_path = LIBEXEC SC_EXECWRAP_FILE,
            .limit_interval = 60 * USEC_PER_SEC,
            .log_level = LOG_LEVEL_INFO,
    };
    int r;

    for (int i = 1; i < argc; i++) {
        if (i == 1 && strcmp(argv[i], "probe") == 0) {
            o.command = OPTIONS_PROBE;
            continue;
        }
        if (i == 1 && strcmp(argv[i], "check") == 0) {
            o.command = OPTIONS_CHECK;
            continue;
        }
        if (strncmp(argv[i], "--", 2) != 0 || !argv[i][2])
            return err_say(err, EINVAL, "unknown argument \"%s\"; --help lists the options", argv[i]);
        r = parse_one(&o, argc, argv, &i, err);
        if (r < 0)
            return r;
    }
    r = check(&o, err);
    if (r < 0)
        return r;
    *ret_options = o;
    return 0;
}

const char *options_runtime(const struct options *o)
{
    if (o->runtime_endpoint)
        return o->runtime_endpoint;
    return access(CONTAINERD_SOCKET, F_OK) < 0 && access(CRIO_SOCKET, F_OK) == 0 ? CRIO_SOCKET
                                                                                 : CONTAINERD_SOCKET;
}

const char *options_runtime_root(const struct options *o)
{
    if (o->runtime_root || o->runtime_endpoint)
        return o->runtime_root;
    return strcmp(options_runtime(o), CRIO_SOCKET) == 0 ? "/var/lib/containers" : "/var/lib/containerd";
}
