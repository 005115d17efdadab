/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into an agent under test: its allocations, and its workers', are refused as the test says (alloc_shim.h).
 */
#include "test/priv/alloc_shim.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static struct alloc_shim *shim;

__attribute__((constructor)) static void map_shim(void)
{
    void *at = mmap(NULL, sizeof(*shim), PROT_READ | PROT_WRITE, MAP_SHARED, ALLOC_SHIM_FD, 0);

    if (at == MAP_FAILED)
        abort();
    close(ALLOC_SHIM_FD);
    shim = at;
}

static bool refused(void)
{
    unsigned long seen, refuse = shim ? atomic_load(&shim->refuse) : 0;

    if (refuse == 0)
        return false;
    seen = atomic_fetch_add(&shim->seen, 1) + 1;
    if (seen != refuse && !(seen > refuse && atomic_load(&shim->all)))
        return false;
    atomic_store(&shim->done, true);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return refused() ? NULL : __libc_realloc(p, size);
}
