/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of the agent and its workers, their libraries' too, is refused once, and once with all that follow in
 * the step, in each step of an instance's life: no crash, an answer in words and none for good, what is asked again comes
 * true with the same agent, and the node is at the end as after a life without harm.
 *
 * The knobs are those of test_crash; of what TORTURE_STEP asks for, every 16th.
 */
#include "test/priv/alloc_shim.h"
#include "test/priv/torture.h"

enum { EVERY = 16, EVERY_IN_CHECK = 1500 };

static struct alloc_shim *shim;

static void refuse(unsigned long n, bool all)
{
    atomic_store(&shim->seen, 0);
    atomic_store(&shim->done, false);
    atomic_store(&shim->all, all);
    atomic_store(&shim->refuse, n + 1);
}

static void refuse_one(unsigned long n)
{
    refuse(n, false);
}

static void refuse_all(unsigned long n)
{
    refuse(n, true);
}

static bool give_again(unsigned long *ret_seen)
{
    atomic_store(&shim->refuse, 0);
    *ret_seen = atomic_load(&shim->seen);
    return atomic_load(&shim->done);
}

static void make_shim(void)
{
    int fd = memfd_create("alloc", 0);

    must(fd >= 0 && ftruncate(fd, sizeof(*shim)) == 0 && dup2(fd, ALLOC_SHIM_FD) == ALLOC_SHIM_FD);
    (void)close(fd);
    shim = mmap(NULL, sizeof(*shim), PROT_READ | PROT_WRITE, MAP_SHARED, ALLOC_SHIM_FD, 0);
    must(shim != MAP_FAILED);
}

int main(void)
{
    char cwd[] = ".";
    const char *build = getenv("B");
    const char *library =
            strdup(at("%s/%s/test/priv/alloc_shim.so", realpath(cwd, NULL), build ? build : "build/gcc"));
    const struct torture_kind kinds[] = {
            {.name = "refused",
                    .steps = (1u << NODE_STEPS) - 1,
                    .make_at = refuse_one,
                    .undo_at = give_again,
                    .preload = library},
            {.name = "refused with all that follow",
                    .steps = (1u << NODE_STEPS) - 1,
                    .make_at = refuse_all,
                    .undo_at = give_again,
                    .preload = library},
    };

    const bool all = getenv("TORTURE_STEP") != NULL;

    /* `make check` has one mode and kind, since each begins with lives to learn from. Otherwise: an agent's start alone
     * has some thousand allocations. */
    if (all)
        must(setenv("TORTURE_STEP", at("%lu", EVERY * torture_number("TORTURE_STEP", 1)), 1) == 0);
    else
        must(setenv("TORTURE_MODE", "", 0) == 0);
    make_shim();
    return torture_main(kinds, all ? ARRAY_SIZE(kinds) : 1, EVERY_IN_CHECK);
}
