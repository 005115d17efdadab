/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/options: both spellings of a value, and every mistake named.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "node-agent/options.h"

enum { WORDS_MAX = 16 };

/* Parses a command line given as one string. */
static int parse(const char *line, struct options *ret, struct err *err)
{
    static char text[512];
    char *argv[WORDS_MAX + 1] = {NULL};
    int argc = 0;

    strcpy(text, line);
    for (char *save, *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        cr_assert_lt(argc, WORDS_MAX);
        argv[argc++] = w;
    }
    return agent_options_parse(argc, argv, ret, err);
}

Test(agent_options, defaults)
{
    struct options o;
    struct err err = ERR_INIT;

    cr_assert_eq(parse("agent --node-name=n1 --namespace system", &o, &err), 0, "%s", err_text(&err));
    cr_assert_eq(o.command, OPTIONS_SERVE);
    cr_assert_str_eq(o.node_name, "n1");
    cr_assert_str_eq(o.own_namespace, "system");
    cr_assert_str_eq(o.kubelet_dir, "/var/lib/kubelet");
    cr_assert_str_eq(o.state_dir, "/var/lib/stoppablecontainer");
    cr_assert_null(o.runtime_endpoint);
    cr_assert_eq(o.limit_interval, 60 * USEC_PER_SEC);
    cr_assert_eq(o.log_level, LOG_LEVEL_INFO);
}

Test(agent_options, all)
{
    struct options o;
    struct err err = ERR_INIT;

    cr_assert_eq(parse("agent --node-name n1 --namespace=s --kubelet-dir=/k --state-dir /s "
                       "--runtime-endpoint=unix:///run/x.sock --pause=/p --execwrap=/e --log-level debug "
                       "--limit-interval=5",
                         &o, &err),
            0, "%s", err_text(&err));
    cr_assert_str_eq(o.kubelet_dir, "/k");
    cr_assert_str_eq(o.state_dir, "/s");
    cr_assert_str_eq(o.runtime_endpoint, "/run/x.sock");
    cr_assert_str_eq(o.pause_path, "/p");
    cr_assert_str_eq(o.execwrap_path, "/e");
    cr_assert_eq(o.log_level, LOG_LEVEL_DEBUG);
    cr_assert_eq(o.limit_interval, 5 * USEC_PER_SEC);
}

Test(agent_options, other_commands)
{
    struct options o;

    cr_assert_eq(parse("agent probe", &o, NULL), 0);
    cr_assert_eq(o.command, OPTIONS_PROBE);
    cr_assert_not(o.alive);
    cr_assert_eq(parse("agent probe --alive --kubelet-dir=/k", &o, NULL), 0);
    cr_assert(o.alive);
    cr_assert_str_eq(o.kubelet_dir, "/k");
    cr_assert_eq(parse("agent check", &o, NULL), 0);
    cr_assert_eq(o.command, OPTIONS_CHECK);
    cr_assert_not(o.json);
    cr_assert_eq(parse("agent check --output=json --state-dir=/s", &o, NULL), 0);
    cr_assert(o.json);
    cr_assert_str_eq(o.state_dir, "/s");
    cr_assert_eq(parse("agent --version", &o, NULL), 0);
    cr_assert_eq(o.command, OPTIONS_VERSION);
    cr_assert_eq(parse("agent --help", &o, NULL), 0);
    cr_assert_eq(o.command, OPTIONS_HELP);
}

static const struct {
    const char *line;
    const char *text;
} mistakes[] = {
        {"agent", "--node-name is missing"},
        {"agent --node-name=n", "--namespace is missing"},
        {"agent --node-name=n --namespace=s --frobnicate=1", "unknown option --frobnicate;"},
        {"agent --node-name=n --namespace=s --node", "unknown option --node;"},
        {"agent --node-name=n --namespace=s -v", "unknown argument \"-v\""},
        {"agent --node-name=n --namespace=s --", "unknown argument \"--\""},
        {"agent --node-name=n --namespace=s serve", "unknown argument \"serve\""},
        {"agent --node-name=n --namespace=s probe", "unknown argument \"probe\""},
        {"agent --node-name=n --namespace", "--namespace needs a value"},
        {"agent --node-name= --namespace=s", "--node-name needs a value"},
        {"agent --node-name=n --namespace=s --state-dir=rel", "--state-dir: \"rel\""},
        {"agent --node-name=n --namespace=s --kubelet-dir=/k/", "--kubelet-dir: \"/k/\""},
        {"agent --node-name=n --namespace=s --kubelet-dir=/", "--kubelet-dir: \"/\""},
        {"agent --node-name=n --namespace=s --runtime-endpoint=tcp://x", "--runtime-endpoint: \"tcp://x\""},
        {"agent --node-name=n --namespace=s --log-level=loud", "--log-level: \"loud\""},
        {"agent --node-name=n --namespace=s --limit-interval=0", "--limit-interval: \"0\""},
        {"agent --node-name=n --namespace=s --alive", "--alive belongs"},
        {"agent probe --alive=yes", "--alive takes no value"},
        {"agent check --alive", "--alive belongs"},
        {"agent probe --output=json", "--output belongs"},
        {"agent check --output=yaml", "--output: \"yaml\" is not words or json"},
};

Test(agent_options, mistakes)
{
    for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
        struct options o;
        struct err err = ERR_INIT;

        cr_expect_eq(parse(mistakes[i].line, &o, &err), -EINVAL, "accepted: %s", mistakes[i].line);
        cr_expect_not_null(
                strstr(err_text(&err), mistakes[i].text), "%s: \"%s\"", mistakes[i].line, err_text(&err));
    }
}
