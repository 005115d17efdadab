/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker's steps of an attach share (attach.h has the sequence, its letters are used here too). All
 * of them run in the worker and return 0, or a negative errno with the sentence in err.
 */
#pragma once

#include <limits.h>

#include "common/base/limits.h"
#include "node-agent/mounts/attach_steps.h"
#include "node-agent/mounts/carry.h"

/* One carried mount: its copy, and the place in the new root that it goes to. */
struct carried {
    const struct mount *mount; /* as the container has it */
    const char *path; /* where its processes look for it: as the pod wrote it, or mount's; borrowed */
    int copy;
    int target;
    struct file_id target_id;
    char *place; /* canonical path of the target */
    bool is_directory;
    bool writable; /* read-only in the container only because its own root is */
};

/* Chroot only. The tools are a mount of the container once they have been moved there. */
struct chroot_state {
    int tools; /* borrowed */
    int commands; /* the tools' directory of links */
    int own; /* a writable, detached copy of the container's own root: what is made there is seen in it */
    int place; /* /rootfs */
    bool placed; /* the new root is there */
    bool tooled; /* the tools are in the container */
    bool cut;
    size_t n_covers; /* copies of the links' directory, moved over directories of the PATH */
    int covers[LIMIT_PATH_DIRS];
    struct file_id covered[LIMIT_PATH_DIRS];
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
    int volume; /* the pod's volume, at /.stoppablecontainer */
    int stage; /* Pivot: the directory in it where the tree becomes visible */
    bool stage_used;
    struct mountinfo *mounts;
    struct carry_list list;
    struct carried *carried; /* list.n of them */
    struct chroot_state chroot;
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

/* Opens the pod's volume and, for Pivot, the stage in it, and removes what an earlier attempt left there. */
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

/* The container has its root; an earlier worker may have left the old one in it. */
int attach_finish_pivot(struct attach_state *s, struct err *err);

/* --- attach_chroot.c --- */
/* 1, 0, or a negative errno where it could not be told. */
int attach_chroot_is_done(const struct attach_state *s, struct err *err);
/* Removes what an earlier attempt left. */
int attach_chroot_clear(struct attach_state *s, struct err *err);
/* After attach_find_places; undoes what it did when it fails. */
int attach_chroot(struct attach_state *s, struct err *err);

/* --- attach_commands.c --- */
/* The next directory of the usual ones and the container's PATH; false at the end. *at: NULL at first.
 * Absolute paths only, at most LIMIT_PATH_DIRS. */
struct path_dirs {
    const char *search;
    const char *at;
    bool usual; /* at is in the list of the usual ones */
    unsigned n;
};
bool path_dirs_next(struct path_dirs *p, char ret[PATH_MAX]);
/* Makes a link to the tools' execwrap for each command in those directories of the new root. */
int attach_link_commands(struct attach_state *s, struct err *err);
