/* SPDX-License-Identifier: Apache-2.0 */
/* See options.h. Only long options, each with its value after "=". */
#include "controller/options.h"

#include <string.h>

#include "common/base/num.h"

#define LEASE_MAX_SECONDS 3600 /* what lease_record.c believes */

const char options_usage[] =
        "usage: sc-controller [OPTION]...\n"
        "Runs StoppableContainers: makes, stops, starts and removes their pods.\n"
        "\n"
        "  --kubeconfig=FILE        how to reach the API server (default: $KUBECONFIG, else the pod's own "
        "account)\n"
        "  --namespace=NAME         the controller's own namespace (default: $POD_NAMESPACE, else the "
        "account's)\n"
        "  --leader-elect           act only while holding the lease \"sc-controller\" in that namespace\n"
        "  --lease-duration=SECONDS        how long others leave a leader that is not heard of alone "
        "(default "
        "15)\n"
        "  --lease-renew-deadline=SECONDS  when a leader that cannot renew gives up (default 10); it renews "
        "at "
        "half of it\n"
        "  --lease-retry-period=SECONDS    between two tries to take or renew the lease (default 2)\n"
        "  --reclaim-image=IMAGE    this program's own image, for the pods that ask a node whether it is "
        "clean\n"
        "  --runtime-classes=A,B    RuntimeClasses that run plain Linux containers and are allowed in "
        "templates\n"
        "  --provider-priority-class=NAME  PriorityClass of provider pods (default: the template's own)\n"
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

/* 1: it was one of the three. */
static int parse_lease(const char *arg, struct options *o, struct err *err)
{
    const struct {
        const char *name;
        usec_t *to;
    } times[] = {
            {"--lease-duration", &o->lease_duration},
            {"--lease-renew-deadline", &o->lease_renew_deadline},
            {"--lease-retry-period", &o->lease_retry_period},
    };
    uint64_t seconds;

    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        const char *value = value_of(arg, times[i].name);

        if (!value)
            continue;
        if (num_parse_u64(value, 1, LEASE_MAX_SECONDS, &seconds) < 0)
            return err_say(err, EINVAL, "%s: must be whole seconds from 1 to %d", arg, LEASE_MAX_SECONDS);
        *times[i].to = seconds * USEC_PER_SEC;
        return 1;
    }
    return 0;
}

static int check_lease(const struct options *o, struct err *err)
{
    if (o->lease_renew_deadline >= o->lease_duration)
        return err_say(err, EINVAL,
                "--lease-renew-deadline must be less than --lease-duration: a leader gives up before another "
                "takes over");
    if (o->lease_retry_period > o->lease_renew_deadline / 2)
        return err_say(err, EINVAL,
                "--lease-retry-period must be at most half of --lease-renew-deadline, at which a leader "
                "renews: "
                "else a renewal that failed is not tried again");
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
            {"--provider-priority-class", &o->provider_priority_class},
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

static int parse_argument(const char *arg, struct options *o, struct err *err)
{
    const char *port = value_of(arg, "--health-port");
    const char *level = value_of(arg, "--log-level");
    int r;

    if (parse_flag(arg, o) || parse_text(arg, o))
        return 0;
    if (port)
        return parse_port(port, &o->health_port, err);
    if (level)
        return log_level_from_string(level, &o->log_level) < 0
                       ? err_say(err, EINVAL, "--log-level=%s: must be error, warn, info or debug", level)
                       : 0;
    r = parse_lease(arg, o, err);
    return r != 0 ? r : err_say(err, EINVAL, "%s: not an option; --help lists them", arg);
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
    struct options o = {.runtime_classes = "",
            .reclaim_image = "",
            .provider_priority_class = "",
            .lease_duration = 15 * USEC_PER_SEC,
            .lease_renew_deadline = 10 * USEC_PER_SEC,
            .lease_retry_period = 2 * USEC_PER_SEC,
            .log_level = LOG_LEVEL_INFO};

    for (int i = 1; i < argc; i++) {
        int r = parse_argument(argv[i], &o, err);

        if (r < 0)
            return r;
    }
    if (!o.help && !o.version && !o.reclaim_image[0])
        return err_say(err, EINVAL, "--reclaim-image is needed: the image that this program runs from");
    *ret = o;
    return check_lease(&o, err);
}
