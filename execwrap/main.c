/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execwrap: the first process of a consumer container, and what runs in front of its probes and hooks
 * (wrap.h, cmdline.h). Under any other name, or where it has more privilege than who called it: enter.h.
 */
#include "common/names.h"
#include "execwrap/enter.h"
#include "execwrap/wrap.h"

int main(int argc, char **argv)
{
    if (enter_is_meant(argc, argv))
        return enter(argc, argv);
    return wrap(argc, argv, SC_MOUNT_DIR "/" SC_SOCKET_FILE, WRAP_PATIENCE);
}
