/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that fail, one after the other. A program that includes this has malloc, calloc, realloc, free, strdup and
 * strndup of its own, which the libraries meet too: what cJSON, libyaml, libcurl, nghttp2 or libc itself want is counted
 * and refused like what our own code wants. Under AddressSanitizer its allocator lies below, with all that it sees.
 *
 * A subject drives the product with a real input, and says in an outcome what came of it. It runs once with all the memory
 * it wants; then, for each allocation that this took, once with that one refused, and once with that one and all after it.
 * What must hold then:
 *
 *   - the answer is an error that the subject names (alloc_case.errors; -ENOMEM when it names none), and nothing was given
 *     out: a refused allocation never becomes another answer. Only where the subject says that it may (alloc_case.may_pass) the
 *     answer is the whole right one instead;
 *   - what was allocated is freed;
 *   - the same call again, in the same state, with memory, gives what the first one gave.
 *
 * An allocation is refused some times for each way to it (the call stack) from the subject, not for each turn of a loop and
 * in each of a thousand like runs, unless TORTURE_STEP=1 is set (`make torture`).
 */
#pragma once

#include <criterion/criterion.h>
#include <errno.h>
#include <execinfo.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/random.h"

#if defined(__SANITIZE_ADDRESS__)
#define ALLOC_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALLOC_ASAN 1
#endif
#endif

/* How often an allocation is refused for each way to it. */
#ifdef ALLOC_ASAN
enum { ALLOC_TIMES = 1 };
#define BELOW(f) __interceptor_##f
#else
enum { ALLOC_TIMES = 2 };
#define BELOW(f) __libc_##f
#endif
/* Called by the dynamic linker before the sanitizers have begun. */
#define EARLY __attribute__((no_sanitize("address", "undefined"), used, noinline))

void *BELOW(malloc)(size_t size);
void *BELOW(calloc)(size_t n, size_t size);
void *BELOW(realloc)(void *p, size_t size);
void BELOW(free)(void *p);

enum { ALLOC_MAX = 100000, ALLOC_FRAMES = 64, ALLOC_ERRORS = 4, ALLOC_WAYS = 1 << 16 };

/* Of the thread that the test runs in: Criterion has another. */
static __thread struct {
    long live; /* blocks allocated and not freed */
    bool armed; /* between alloc_begin and alloc_end */
    bool noting; /* the first run: note who asks */
    size_t seen; /* allocations while armed */
    size_t refuse; /* which of them is refused, from 1; 0: none */
    bool and_all_after;
    size_t refused;
    void *stack[ALLOC_FRAMES]; /* of the first that was refused */
    int depth;
    int below; /* frames of those who called the subject */
} alloc_now;

static uint64_t alloc_ways[ALLOC_MAX]; /* for each allocation of the first run the hash of its call stack */
/* How often each way was refused, by the hash. */
static struct {
    uint64_t way;
    int times;
} alloc_table[ALLOC_WAYS];

static void alloc_note(void)
{
    void *stack[ALLOC_FRAMES];
    uint64_t hash = 1469598103934665603U; /* FNV-1a */
    int n;

    alloc_now.armed = false; /* backtrace may allocate */
    n = backtrace(stack, ALLOC_FRAMES) - alloc_now.below;
    for (int i = 0; i < n; i++)
        hash = (hash ^ (uint64_t)(uintptr_t)stack[i]) * 1099511628211U;
    if (alloc_now.seen < ALLOC_MAX)
        alloc_ways[alloc_now.seen] = hash;
    alloc_now.armed = true;
}

/* Whether this allocation is refused. */
EARLY static bool alloc_refused(void)
{
    if (!alloc_now.armed)
        return false;
    if (alloc_now.noting)
        alloc_note();
    alloc_now.seen++;
    if (alloc_now.refuse == 0 || alloc_now.seen < alloc_now.refuse ||
            (alloc_now.seen > alloc_now.refuse && !alloc_now.and_all_after))
        return false;
    if (alloc_now.refused++ == 0) {
        alloc_now.armed = false;
        alloc_now.depth = backtrace(alloc_now.stack, ALLOC_FRAMES);
        alloc_now.armed = true;
    }
    errno = ENOMEM;
    return true;
}

EARLY void *malloc(size_t size)
{
    void *p = alloc_refused() ? NULL : BELOW(malloc)(size);

    alloc_now.live += p != NULL;
    return p;
}

EARLY void *calloc(size_t n, size_t size)
{
    void *p = alloc_refused() ? NULL : BELOW(calloc)(n, size);

    alloc_now.live += p != NULL;
    return p;
}

EARLY void *realloc(void *old, size_t size)
{
    void *p;

    if (alloc_refused())
        return NULL;
    p = BELOW(realloc)(old, size);
    alloc_now.live += (p != NULL && old == NULL) - (p == NULL && old != NULL && size == 0);
    return p;
}

EARLY void free(void *p)
{
    alloc_now.live -= p != NULL;
    BELOW(free)(p);
}

/* libc's go through malloc; AddressSanitizer's do not. */
#ifdef ALLOC_ASAN
EARLY char *strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = malloc(len + 1);

    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

EARLY char *strdup(const char *text)
{
    return strndup(text, strlen(text));
}

EARLY void *reallocarray(void *old, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, bytes);
}
#endif

/* In the place of the product's: two runs differ by nothing. */
uint64_t random_u64(void)
{
    return 4;
}

/* Around the calls of the product that are looked at; may be used several times in a run. */
_unused_ static __attribute__((noinline)) void alloc_begin(void)
{
    void *stack[ALLOC_FRAMES];

    if (alloc_now.noting)
        alloc_now.below = backtrace(stack, ALLOC_FRAMES) - 2; /* but this, and the subject */
    alloc_now.armed = true;
}

_unused_ static void alloc_end(void)
{
    alloc_now.armed = false;
}

/* --- subjects --- */

/* What came of a run: an answer, and the result as text, which says all that the caller was given. The texts are the
 * harness's to free. */
struct alloc_outcome {
    int r;
    char *text; /* NULL: nothing was given out */
    int again_r; /* of the same call again, without alloc_begin; where there is no state it need not be made */
    char *again;
};

struct alloc_case {
    const char *name;
    void (*run)(void *user, struct alloc_outcome *ret);
    void *user;
    int errors[ALLOC_ERRORS]; /* besides -ENOMEM, what it may answer */
    bool may_pass; /* some allocations can be done without: the answer may be the whole right one */
    bool varies; /* how many there are depends on another thread's pace */
};

static void alloc_outcome_free(struct alloc_outcome *o)
{
    free(o->text);
    free(o->again);
    o->text = o->again = NULL;
}

static bool alloc_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool alloc_is_error(const struct alloc_case *c, int r)
{
    if (r == -ENOMEM)
        return true;
    for (int i = 0; i < ALLOC_ERRORS; i++)
        if (r < 0 && c->errors[i] == r)
            return true;
    return false;
}

/* Fails the test, and says which allocation it was. */
static void alloc_complain(const struct alloc_case *c, const char *what, const struct alloc_outcome *o)
{
    bool after = alloc_now.and_all_after;
    size_t refuse = alloc_now.refuse;

    fprintf(stderr, "%s: allocation %zu%s refused: %s (answer %d)\n", c->name, refuse,
            after ? " and all after it" : "", what, o->r);
    backtrace_symbols_fd(alloc_now.stack, alloc_now.depth, STDERR_FILENO);
    cr_assert_fail("%s: allocation %zu%s refused: %s (answer %d)\n  given: %s\n  again: %s", c->name, refuse,
            after ? " and all after it" : "", what, o->r, o->text ? o->text : "nothing",
            o->again ? o->again : "nothing");
}

static struct alloc_outcome alloc_play(const struct alloc_case *c, size_t refuse, bool and_all_after)
{
    struct alloc_outcome o = {0};

    alloc_now.seen = alloc_now.refused = 0;
    alloc_now.refuse = refuse;
    alloc_now.and_all_after = and_all_after;
    c->run(c->user, &o);
    return o;
}

/* Whether a run leaves more behind than there was. What a library keeps for the thread once it has met an error (libcrypto a
 * ring of some of them) is no leak: that comes to an end. */
static bool alloc_leaks(const struct alloc_case *c, size_t refuse, bool and_all_after)
{
    enum { LIBRARY_ERRORS = 40 };
    long live = alloc_now.live, before;

    for (int i = 0; i < LIBRARY_ERRORS; i++) {
        struct alloc_outcome o;

        before = alloc_now.live;
        o = alloc_play(c, refuse, and_all_after);
        alloc_outcome_free(&o);
        if (alloc_now.live <= before)
            return false;
    }
    return alloc_now.live > live;
}

/* One run with a refusal, held against the first. Returns whether the refusal became an error. */
static bool alloc_try(
        const struct alloc_case *c, const struct alloc_outcome *first, size_t refuse, bool and_all_after)
{
    long live = alloc_now.live;
    struct alloc_outcome o = alloc_play(c, refuse, and_all_after);
    bool same = o.r == first->r && alloc_same(o.text, first->text);
    bool error = alloc_is_error(c, o.r) && !o.text;

    if (alloc_now.refused == 0 && !c->varies)
        alloc_complain(c, "it was not made this time", &o);
    if (!error && !same)
        alloc_complain(c, "neither an error nor the whole answer", &o);
    if (!error && !c->may_pass)
        alloc_complain(c, "passed over", &o);
    if (o.again_r != first->again_r || !alloc_same(o.again, first->again))
        alloc_complain(c, "not the same when there is memory again", &o);
    alloc_outcome_free(&o);
    if (alloc_now.live > live && alloc_leaks(c, refuse, and_all_after))
        alloc_complain(c, "something was not freed", &o);
    return error;
}

static void alloc_try_both(
        const struct alloc_case *c, const struct alloc_outcome *first, size_t refuse, size_t *errors)
{
    struct alloc_outcome after;

    *errors += alloc_try(c, first, refuse, false);
    (void)alloc_try(c, first, refuse, true);
    if (first->again) /* each run has looked itself */
        return;
    after = alloc_play(c, 0, false);
    if (after.r != first->r || !alloc_same(after.text, first->text)) {
        alloc_now.refuse = refuse;
        alloc_complain(c, "another answer afterwards", &after);
    }
    alloc_outcome_free(&after);
}

static bool alloc_is_worn(const struct alloc_case *c, uint64_t way)
{
    size_t i;

    for (const char *p = c->name; *p; p++)
        way = (way ^ (unsigned char)*p) * 1099511628211U;
    i = way % ALLOC_WAYS;
    while (alloc_table[i].times > 0 && alloc_table[i].way != way)
        i = (i + 1) % ALLOC_WAYS;
    alloc_table[i].way = way;
    return alloc_table[i].times++ >= ALLOC_TIMES;
}

/* All of it. Returns how many allocations were refused. */
_unused_ static size_t alloc_torture(const struct alloc_case *c)
{
    const char *step = getenv("TORTURE_STEP");
    bool every = step && strcmp(step, "1") == 0;
    struct alloc_outcome first = alloc_play(c, 0, false); /* what is made once for the process is made here */
    size_t n, tried = 0, errors = 0;
    uint64_t *ways;

    alloc_outcome_free(&first);
    alloc_now.noting = true;
    first = alloc_play(c, 0, false);
    alloc_now.noting = false;
    n = alloc_now.seen;
    cr_assert((n > 0 || c->may_pass) && n < ALLOC_MAX, "%s: %zu allocations", c->name, n);
    ways = malloc(n * sizeof(*ways));
    memcpy(ways, alloc_ways, n * sizeof(*ways));
    for (size_t i = 0; i < n; i++) {
        if (!every && alloc_is_worn(c, ways[i]))
            continue;
        tried++;
        alloc_try_both(c, &first, i + 1, &errors);
    }
    free(ways);
    alloc_outcome_free(&first);
    cr_log_info("%s: %zu allocations, %zu refused, %zu errors", c->name, n, tried, errors);
    cr_assert(errors > 0 || c->may_pass, "%s: no refusal was told", c->name);
    return tried;
}
