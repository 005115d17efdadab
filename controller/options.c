/* SPDX-License-Identifier: Apache-2.0 */
/* See options.h. Only long options, each with its value after "=". */
#include "controller/options.h"

#include <string.h>

#include "common/base/num.h"

const char options_usage[] =
        "usage: sc-controller [OPTION]...\n"
        "Runs StoppableContainers: makes, stops, starts and removes their pods.\n"
        "\n"
        "  --kubeconfig=FILE        how to reach the API server (default: $KUBECONFIG, else the pod's own "
        "account)\n"
        "  --namespace=NAME         the controller's own namespace (default: $POD_NAMESPACE, else the "
        "account's)\n"
        "  --leader-elect           act only while holding the lease \"sc-controller\" in that namespace\n"
        "  --reclaim-image=IMAGE    this program's own image, for the pods that ask a node whether it is "
        "clean\n"
        "  --runtime-classes=A,B    RuntimeClasses that run plain Linux containers and are allowed in "
        "templates\n"
        "  --health-port=PORT       serve /healthz, /readyz and /metrics there (default 0: nowhere)\n"
        "  --log-level=LEVEL        error, warn, info (default) or debug\n"
        "  --version, --help\n";

/* The value when arg is NAME=VALUE, else NULL. */
static const char *value_of(const char *arg, const char *name)
{
    size_t len = strlen(name);

    return strncmp(arg, name, len) == 0 && arg[len] == '=' ? arg + len + 1 : NULL;
}

static int parse_port(const char *text, uint16_t *ret, struct err *err)
{
    uint64_t port;

    if (num_parse_u64(text, 0, UINT16_MAX, &port) < 0)
        return err_say(err, EINVAL, "--health-port=%s: must be a number from 0 to %d", text, UINT16_MAX);
    *ret = (uint16_t)port;
    return 0;
}

static bool parse_text(const char *arg, struct options *o)
{
    const struct {
        const char *name;
        const char **to;
    } texts[] = {
            {"--kubeconfig", &o->kubeconfig},
            {"--namespace", &o->namespace},
            {"--reclaim-image", &o->reclaim_image},
            {"--runtime-classes", &o->runtime_classes},
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        const char *value = value_of(arg, texts[i].name);

        if (value) {
            *texts[i].to = value;
            return true;
        }
    }
    return false;
}

static bool parse_flag(const char *arg, struct options *o)
{
    bool *flag = strcmp(arg, "--leader-elect") == 0 ? &o->leader_elect
                 : strcmp(arg, "--help") == 0       ? &o->help
                 : strcmp(arg, "--version") == 0    ? &o->version
                                                    : NULL;

    if (flag)
        *flag = true;
    return flag != NULL;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
    struct options o = {.runtime_classes = "", .reclaim_image = "", .log_level = LOG_LEVEL_INFO};

    for (int i = 1; i < argc; i++) {
        const char *port = value_of(argv[i], "--health-port");
        const char *level = value_of(argv[i], "--log-level");

        if (parse_flag(argv[i], &o) || parse_text(argv[i], &o))
            continue;
        if (port) {
            int r = parse_port(port, &o.health_port, err);

            if (r < 0)
                return r;
        } else if (!level) {
            return err_say(err, EINVAL, "%s: not an option; --help lists them", argv[i]);
        } else if (log_level_from_string(level, &o.log_level) < 0) {
            return err_say(err, EINVAL, "--log-level=%s: must be error, warn, info or debug", level);
        }
    }
    if (!o.help && !o.version && !o.reclaim_image[0])
        return err_say(err, EINVAL, "--reclaim-image is needed: the image that this program runs from");
    *ret = o;
    return 0;
}
