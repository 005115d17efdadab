/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker's steps of an attach share (attach.h has the sequence, its letters are used here too). All
 * of them run in the worker and return 0, or a negative errno with the sentence in err.
 */
#pragma once

#include "node-agent/mounts/attach.h"
#include "node-agent/mounts/carry.h"

/* One carried mount: its copy, and the place in the new root that it goes to. */
struct carried {
    const struct mount *mount; /* as the container has it */
    int copy;
    int target;
    struct file_id target_id;
    char *place; /* canonical path of the target */
    bool is_directory;
    bool writable; /* read-only in the container only because its own root is */
};

struct attach_state {
    const struct attach_request *req;
    struct worker_child *child;
    int root; /* the new root */
    struct file_id root_id;
    int scaffold; /* -EBADF: staged assembly */
    int process_root; /* of the pinned process */
    struct file_id process_root_id;
    int old; /* the old root */
    struct file_id old_id;
    uint64_t old_mount;
    int stage;
    bool stage_used;
    struct mountinfo *mounts;
    struct carry_list list;
    struct carried *carried; /* list.n of them */
    size_t n_asides;
};

/* --- attach_state.c --- */
void attach_state_free(struct attach_state *s);
int attach_identify(int fd, struct file_id *ret); /* no err: the sentence is the caller's */

/* Looks at both roots and joins the container's namespace. */
int attach_look_around(struct attach_state *s, struct err *err);

/* (a) The table as this process has it now: through the machine's /proc, since /proc here is a tenant's. */
int attach_read_mounts(struct attach_state *s, struct err *err);

/* Detaches the tree whose root is fd, never reaching its peers. No err. */
int attach_detach_tree(int fd);

/* Opens the stage, /.stoppablecontainer, and removes what an earlier attempt left on it. */
int attach_clear_stage(struct attach_state *s, struct err *err);

/* --- attach_carry.c: a, b --- */
int attach_select_mounts(struct attach_state *s, struct err *err);
int attach_copy_mount(const struct attach_state *s, struct carried *c, struct err *err);

/* --- attach_places.c: c, e --- */
int attach_find_places(struct attach_state *s, struct err *err);

/* Moves the copies to their places, and looks whether /proc, /dev and /sys are where a process looks for
 * them. */
int attach_move_in(struct attach_state *s, struct err *err);

/* --- attach_pivot.c: d, f --- */
int attach_assemble(struct attach_state *s, struct err *err);
int attach_pivot(struct attach_state *s, struct err *err);
void attach_undo_stage(const struct attach_state *s);

/* An earlier worker has pivoted, and its old root still lies over the new one. */
int attach_finish_pivot(struct attach_state *s, struct err *err);
