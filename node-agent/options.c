/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See options.h. One table; `--name=value` and `--name value` are the same.
 */
#include "node-agent/options.h"

#include <errno.h>
#include <string.h>

#include "common/names.h"

#define LIBEXEC "/usr/libexec/stoppablecontainer/"

const char agent_options_help[] =
        "Usage: sc-node-agent --node-name=NAME --namespace=NAME [OPTION...]\n"
        "       sc-node-agent probe [--alive]\n"
        "\n"
        "  --node-name=NAME          name of this node in Kubernetes\n"
        "  --namespace=NAME          the agent's own namespace, where reclaim pods are honoured\n"
        "  --kubelet-dir=DIR         the kubelet's directory (/var/lib/kubelet)\n"
        "  --state-dir=DIR           a shared mount of the node for roots and journal (" SC_STATE_DIR ")\n"
        "  --runtime-endpoint=PATH   CRI socket (containerd's, else CRI-O's)\n"
        "  --pause=PATH              the provider's program (" LIBEXEC SC_PAUSE_FILE ")\n"
        "  --execwrap=PATH           the consumer's first program (" LIBEXEC SC_EXECWRAP_FILE ")\n"
        "  --log-level=LEVEL         error, warn, info or debug (info)\n"
        "  --alive                   probe: succeed also when the agent says it is not ready\n"
        "  --version, --help\n";

enum option_id {
    OPTION_NODE_NAME,
    OPTION_NAMESPACE,
    OPTION_KUBELET_DIR,
    OPTION_STATE_DIR,
    OPTION_RUNTIME_ENDPOINT,
    OPTION_PAUSE,
    OPTION_EXECWRAP,
    OPTION_LOG_LEVEL,
    OPTION_ALIVE,
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
        {"pause", OPTION_PAUSE, true},
        {"execwrap", OPTION_EXECWRAP, true},
        {"log-level", OPTION_LOG_LEVEL, true},
        {"alive", OPTION_ALIVE, false},
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
    case OPTION_PAUSE:
        return set_path(&o->pause_path, def->name, value, err);
    case OPTION_EXECWRAP:
        return set_path(&o->execwrap_path, def->name, value, err);
    case OPTION_LOG_LEVEL:
        if (log_level_from_string(value, &o->log_level) < 0)
            return err_say(err, EINVAL, "--log-level: \"%s\" is not error, warn, info or debug", value);
        return 0;
    case OPTION_ALIVE:
        o->alive = true;
        return 0;
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
    if (o->command == OPTIONS_SERVE && o->alive)
        return err_say(err, EINVAL, "--alive belongs to the command probe");
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
            .log_level = LOG_LEVEL_INFO,
    };
    int r;

    for (int i = 1; i < argc; i++) {
        if (i == 1 && strcmp(argv[i], "probe") == 0) {
            o.command = OPTIONS_PROBE;
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
