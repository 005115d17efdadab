/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execwrap: the first process of a consumer container, and what runs in front of its probes and hooks. See
 * wrap.h and cmdline.h.
 */
#include "common/names.h"
#include "execwrap/wrap.h"

int main(int argc, char **argv)
{
    return wrap(argc, argv, SC_MOUNT_DIR "/" SC_SOCKET_FILE);
}
