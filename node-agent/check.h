/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on the node against what should be: PURE. Facts as they were found (check_look.h), findings out.
 *
 * What should be there follows from the journal alone: each journaled volume has its directory, with its
 * files, and a socket that the running agent listens on; each container of a provider that said hello, and
 * whose root is not lost, has that root mounted, once. Everything else in the agent's directories is a
 * leftover. A container's directory with an upper directory is a kept root (persistence Node): it is expected
 * to stay while nothing refers to it, and is listed as that, not found fault with.
 *
 * Facts are rows of plain structs in buffers, so that a test writes them down as a table.
 */
#pragma once

#include <limits.h>

#include "common/base/buf.h"
#include "node-agent/volume.h"

enum check_code {
    CHECK_JOURNAL_UNREADABLE,
    CHECK_JOURNAL_SET_ASIDE,
    CHECK_JOURNAL_TEMPORARY,
    CHECK_JOURNAL_WITHOUT_TARGET,
    CHECK_JOURNAL_DOUBLED,
    CHECK_TARGET_WITHOUT_JOURNAL,
    CHECK_TARGET_INCOMPLETE,
    CHECK_TARGET_MOUNTED,
    CHECK_SOCKET_UNSERVED,
    CHECK_ROOT_UNOWNED,
    CHECK_ROOT_LOST,
    CHECK_ROOT_MISSING,
    CHECK_ROOT_STACKED,
    CHECK_ROOT_ONE_SIDED,
    CHECK_CONSUMER_ROOTLESS,
    CHECK_CONTAINER_ENDED,
    CHECK_INSTANCE_UNOWNED,
    CHECK_KEPT_UNRECORDED,
    CHECK_TRASH,
    CHECK_UNKNOWN_FILE,
    CHECK_WORKER_LEFT,
    CHECK_CODES
};

enum { CHECK_PATH_MAX = 1024, CHECK_TEXT_MAX = 320 };

enum check_presence { CHECK_ABSENT, CHECK_PRESENT, CHECK_MOUNTED_ON };
enum check_socket { CHECK_SOCKET_UNKNOWN, CHECK_SOCKET_SERVED, CHECK_SOCKET_DEAD };

/* A journaled volume. */
struct check_volume {
    struct volume *volume; /* owned by the facts */
    enum check_presence target;
    bool complete; /* its files are there */
    enum check_socket socket;
    uint64_t ended; /* bit i: the runtime says that the container with containers[i].id does not run */
};

/* A directory `mount` of a volume of this driver, as the kubelet has it. */
struct check_target {
    char dir[VOLUME_DIR_MAX];
};

/* instances/<uid>/<container>; container "" stands for an instance's directory without any. */
struct check_root {
    char uid[NAME_MAX + 1];
    char container[NAME_MAX + 1];
    bool upper;
    bool record;
};

/* A mount below the state directory's instances/, or below a pod's CSI volumes; one row for each path. */
struct check_mount {
    char path[CHECK_PATH_MAX]; /* relative to the state or the kubelet's directory */
    bool in_kubelet;
    unsigned machine; /* how many lie there in the machine's mount namespace */
    unsigned own; /* in that of this process */
};

/* What needs no comparison to be wrong. */
struct check_stray {
    enum check_code code;
    char path[CHECK_PATH_MAX]; /* absolute */
    char text[CHECK_TEXT_MAX];
};

/* A process of the agent's that works in other namespaces. */
struct check_worker {
    int pid;
    bool orphan; /* its agent is gone */
    bool overdue; /* older than a worker may become */
};

struct check_facts {
    const char *state_dir;
    const char *kubelet_dir;
    bool agent; /* one answers */
    struct buf volumes, targets, roots, mounts, strays, workers; /* rows of the structs above */
};

struct check_finding {
    enum check_code code;
    char path[CHECK_PATH_MAX];
    char text[CHECK_TEXT_MAX];
};

struct check_kept {
    char path[CHECK_PATH_MAX];
    bool mounted;
    char holder[CHECK_TEXT_MAX]; /* the pods whose volumes refer to it; "" */
};

struct check_verdict {
    struct buf findings; /* struct check_finding */
    struct buf kept; /* struct check_kept */
};

/* The rows of a buffer. */
#define check_rows(type, b) ((type *)(void *)(b)->data)
#define check_count(type, b) ((b)->len / sizeof(type))

void check_facts_init(struct check_facts *f, const char *state_dir, const char *kubelet_dir);
void check_facts_free(struct check_facts *f);
void check_verdict_init(struct check_verdict *v);
void check_verdict_free(struct check_verdict *v);

/* -ENOMEM, or -E2BIG where there are more findings than a report may hold. */
int check_compare(const struct check_facts *f, struct check_verdict *ret) _must_check_;

/* Leaves in v what `later` found too: what was only under way between two looks is gone then. */
void check_intersect(struct check_verdict *v, const struct check_verdict *later);

/* The stable name of a code, and what a person should do. */
const char *check_code_name(enum check_code code);
const char *check_code_advice(enum check_code code);
