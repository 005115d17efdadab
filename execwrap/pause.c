/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pause: the only process of a provider container. See hold.h.
 */
#include "common/names.h"
#include "execwrap/hold.h"
#include "execwrap/say.h"

int main(void)
{
    return hold(SC_MOUNT_DIR "/" SC_SOCKET_FILE, SAY_TERMINATION_LOG);
}
