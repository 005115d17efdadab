/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile processes for the race tests: what they have at hand, and what they do to a list of names, for as
 * long as they live. They swap each name with links that lead out, files, fifos and devices, move
 * directories about, remove and make anew, and clear away what the other side renamed aside.
 *
 * How often: ATTACK_WALKS and ATTACK_ATTACHES in the environment; `make attack` sets large ones.
 */
#pragma once

#include <dirent.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "test/priv/box.h"

#define ATTACK_OUTSIDE BOX_BASE "/outside"

/* A tiny generator: repeatable from its seed, and no lock shared with anybody. */
static uint32_t attack_state = 1;

_unused_ static uint32_t attack_random(uint32_t below)
{
    attack_state ^= attack_state << 13;
    attack_state ^= attack_state >> 17;
    attack_state ^= attack_state << 5;
    return attack_state % below;
}

_unused_ static int attack_count(const char *name, int otherwise)
{
    const char *text = getenv(name);

    return text ? atoi(text) : otherwise;
}

/* Where the links lead: out, up, through magic links, onto mounts, round in a circle. */
static const char *const attack_links[] = {"/", "..", "../../../../../../..", ATTACK_OUTSIDE,
        "../../../../../../.." ATTACK_OUTSIDE, "/proc/1/root" ATTACK_OUTSIDE, "/proc/self/cwd", "/m",
        "/dev/shm", "/.stoppablecontainer", "pool/0", "/a/b/../../.."};

/* The pool: links first, then other things. Whatever of it is missing is made anew. */
enum { ATTACK_POOL = ARRAY_SIZE(attack_links) + 5 };

static void attack_make(int dir, uint32_t i)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "pool/%u", i);
    if (i < ARRAY_SIZE(attack_links))
        (void)!symlinkat(attack_links[i], dir, name);
    else if (i == ARRAY_SIZE(attack_links))
        (void)mkfifoat(dir, name, 0644);
    else if (i == ARRAY_SIZE(attack_links) + 1)
        (void)mknodat(dir, name, S_IFCHR | 0666, makedev(1, 5));
    else if (i == ARRAY_SIZE(attack_links) + 2)
        (void)mknodat(dir, name, S_IFREG | 0644, 0);
    else
        (void)mkdirat(dir, name, 0755);
}

static void attack_clear_asides(int dir, const char *name)
{
    static unsigned long n;
    char from[128], to[64];

    for (int i = 1; i <= 64; i++) {
        (void)snprintf(from, sizeof(from), "%s.sc-aside-%d", name, i);
        (void)snprintf(to, sizeof(to), "trash/%d.%lu", (int)getpid(), n++);
        if (renameat(dir, from, dir, to) < 0)
            return;
    }
}

static void attack_once(int dir, const char *const *names, uint32_t n_names)
{
    const char *name = names[attack_random(n_names)], *other = names[attack_random(n_names)];
    uint32_t i = attack_random(ATTACK_POOL);
    char pooled[32];

    (void)snprintf(pooled, sizeof(pooled), "pool/%u", i);
    attack_make(dir, i);
    switch (attack_random(8)) {
    case 0:
    case 1:
    case 2:
        (void)syscall(SYS_renameat2, dir, name, dir, pooled, RENAME_EXCHANGE);
        break;
    case 3:
        (void)syscall(SYS_renameat2, dir, name, dir, other, RENAME_EXCHANGE);
        break;
    case 4:
        (void)renameat(dir, name, dir, "spare");
        (void)renameat(dir, "spare", dir, name);
        break;
    case 5:
        if (unlinkat(dir, name, 0) < 0)
            (void)unlinkat(dir, name, AT_REMOVEDIR);
        break;
    case 6:
        (void)mkdirat(dir, name, 0755);
        break;
    default:
        attack_clear_asides(dir, name);
        break;
    }
}

static void attack_prepare(int dir)
{
    (void)mkdirat(dir, "pool", 0755);
    (void)mkdirat(dir, "trash", 0755);
    for (uint32_t i = 0; i < ATTACK_POOL; i++)
        attack_make(dir, i);
}

/* An attacker that never rests lets nobody get as far as the last steps. Up to so many microseconds. */
_unused_ static void attack_pause(uint32_t most)
{
    const struct timespec t = {.tv_nsec = 1000L * attack_random(most + 1)};

    (void)nanosleep(&t, NULL);
}

/* Goes on until it is killed, or its parent ends. Confined to the directory, so that whatever is made outside
 * was made by the other side. */
_Noreturn _unused_ static void attack_for_ever(
        int dir, const char *const *names, uint32_t n_names, uint32_t seed, uint32_t pause)
{
    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    must(fchdir(dir) == 0 && chroot(".") == 0);
    attack_state = seed | 1;
    for (;;) {
        attack_once(dir, names, n_names);
        if (pause > 0)
            attack_pause(pause);
    }
}

/* How many names a directory has; -1 when it cannot be read. */
_unused_ static int attack_names_in(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    if (!d)
        return -1;
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n - 2;
}
