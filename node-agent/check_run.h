/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sc-node-agent check`: what is on this node against what should be there (check.h), in words or as JSON.
 * Reads only, takes no lock, works with the agent running or not.
 *
 * The agent may be in the middle of something, so what is found is looked for again, a second later, and only
 * what stays is told. The runtime is asked about the providers' containers if it answers; if not, that is
 * said, and the rest holds.
 */
#pragma once

#include "node-agent/check.h"
#include "node-agent/options.h"

enum { CHECK_EXIT_CLEAN = 0, CHECK_EXIT_FINDINGS = 1, CHECK_EXIT_FAILED = 2 };

/* What is told beside the verdict. */
struct check_summary {
    const struct check_facts *facts; /* of the last look */
    char runtime[CHECK_TEXT_MAX]; /* why the runtime was not asked, or "" */
};

/* The report, PURE. */
int check_words(const struct check_verdict *v, const struct check_summary *s, struct buf *b) _must_check_;
int check_json(const struct check_verdict *v, const struct check_summary *s, struct buf *b) _must_check_;

/* Prints the report to stdout, or why there is none to stderr. Returns the exit status. */
int check_run(const struct options *options);
