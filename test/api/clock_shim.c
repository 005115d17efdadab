/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a controller under test: its clocks jump when the test says so. The file that SC_CLOCKS names holds
 * two int64_t, seconds to add to CLOCK_REALTIME and to CLOCK_BOOTTIME, and is mapped, so that a write takes effect
 * at once. CLOCK_BOOTTIME ahead of CLOCK_MONOTONIC is what a process sees of a machine that slept.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offsets;

__attribute__((constructor)) static void map_offsets(void)
{
    const char *path = getenv("SC_CLOCKS");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (fd >= 0)
        close(fd);
    if (at == MAP_FAILED)
        abort();
    offsets = at;
}

/* The declaration of this name in time.h has attributes that differ from one libc to the next. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
    long r = syscall(SYS_clock_gettime, id, ts);

    if (r == 0 && offsets && id == CLOCK_REALTIME)
        ts->tv_sec += offsets[0];
    if (r == 0 && offsets && id == CLOCK_BOOTTIME)
        ts->tv_sec += offsets[1];
    return (int)r;
}
