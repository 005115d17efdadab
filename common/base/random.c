/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers (random.h) from getrandom(2). It can only fail before the kernel's pool is ready, early at
 * boot, long before a kubelet runs; the clock then has to do.
 */
#include "common/base/random.h"

#include <sys/random.h>
#include <unistd.h>

#include "common/base/clock.h"

uint64_t random_u64(void)
{
    uint64_t value;

    if (getrandom(&value, sizeof(value), GRND_NONBLOCK) == (ssize_t)sizeof(value))
        return value;
    return (clock_realtime() * 0x9e3779b97f4a7c15u) ^ (clock_monotonic() << 20) ^ (uint64_t)getpid();
}
