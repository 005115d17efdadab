/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sc-node-agent: the node's part of StoppableContainer. See node-agent/README.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "node-agent/agent.h"
#include "node-agent/caps.h"
#include "node-agent/check_run.h"
#include "node-agent/probe.h"

static void on_signal(struct loop_source *src, const struct signalfd_siginfo *info, void *data)
{
    struct agent *a = data;

    (void)src;
    log_info("signal %u: stopping; containers and volumes stay as they are", info->ssi_signo);
    agent_stop(a);
}

/* Connections are three fds each; the soft limit is kept low by default for programs that use select(2). */
static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warn("cannot raise the number of open files to %ju", (uintmax_t)limit.rlim_max);
}

static int prepare(struct err *err)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)umask(077);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        return err_set(err, errno, "cannot close stdin");
    if (null != STDIN_FILENO)
        (void)close_fd(null);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return err_set(err, errno, "cannot ignore SIGPIPE");
    raise_fd_limit();
    return caps_drop(err);
}

static int serve(const struct options *options, struct err *err)
{
    _cleanup_loop_ struct loop *loop = NULL;
    _cleanup_(agent_freep) struct agent *a = NULL;
    int r = prepare(err);

    if (r == 0)
        r = loop_new(&loop, err);
    if (r == 0)
        r = agent_new(loop, options, &a, err);
    if (r < 0)
        return r;
    r = loop_add_signal(loop, "SIGTERM", SIGTERM, on_signal, a, NULL);
    if (r == 0)
        r = loop_add_signal(loop, "SIGINT", SIGINT, on_signal, a, NULL);
    if (r < 0)
        return err_set(err, r, "cannot wait for signals");
    log_info("sc-node-agent " AGENT_VERSION " serves node %s", options->node_name);
    r = loop_run(loop);
    return r < 0 ? err_set(err, r, "the event loop failed") : r;
}

int main(int argc, char **argv)
{
    struct options options;
    struct err err = ERR_INIT;
    int r = agent_options_parse(argc, argv, &options, &err);

    if (r < 0) {
        (void)fprintf(stderr, "sc-node-agent: %s\n", err_text(&err));
        return 2;
    }
    log_set_level(options.log_level);
    switch (options.command) {
    case OPTIONS_VERSION:
        (void)puts("sc-node-agent " AGENT_VERSION);
        return 0;
    case OPTIONS_HELP:
        (void)fputs(agent_options_help, stdout);
        return 0;
    case OPTIONS_PROBE:
        r = probe_run(options.kubelet_dir, options.alive, &err);
        break;
    case OPTIONS_CHECK:
        return check_run(&options);
    case OPTIONS_SERVE:
        r = serve(&options, &err);
        break;
    }
    if (r < 0) {
        log_error("%s", err_text(&err));
        return 1;
    }
    return r;
}
