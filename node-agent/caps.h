/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capabilities that the agent keeps. It starts in a privileged container, since mounts that the machine
 * sees need one, and gives up at once what none of its operations needs; the list and the reasons are in
 * caps.c. Workers that enter a container's namespace keep fewer still (mounts/).
 */
#pragma once

#include "common/base/err.h"

/* Drops everything else from the permitted, effective, inheritable, ambient and bounding sets, and sets
 * no_new_privs (nothing is ever exec'd). -EPERM with a sentence that names a capability on the list that the
 * process does not have. */
int caps_drop(struct err *err);
