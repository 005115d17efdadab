/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/keptroot and record: when a root may be used, and what is on disk about it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "node-agent/keptroot.h"
#include "node-agent/mounts/mount_api.h"
#include "node-agent/use.h"

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
#define CHAIN_A "sha256:" HEX "aa"
#define CHAIN_B "sha256:" HEX "bb"

/* --- decisions ----------------------------------------------------------------------------------------------
 */

/* What is so: R a record, of CHAIN_A   U upper   n of another namespace   o other options   d damaged
 *             f another container's root beside it is another namespace's
 *             k the volume says kept   l it has a sizeLimit   p the record has a project
 *             w it is known that the limit is watched */
struct row {
    const char *state, *chain;
    enum verdict verdict;
    const char *text; /* how the refusal begins */
};

static const struct row rows[] = {
        {"", CHAIN_A, VERDICT_DO, ""},
        {"l", CHAIN_A, VERDICT_DO, ""},
        {"U", CHAIN_A, VERDICT_DO, ""}, /* never mounted: keptroot_make finds it empty, or refuses */
        {"RU", CHAIN_A, VERDICT_DONE, ""}, /* the controller was killed before it wrote */
        {"RUk", CHAIN_A, VERDICT_DONE, ""},
        {"RUkpl", CHAIN_A, VERDICT_DONE, ""},
        {"RUkp", CHAIN_A, VERDICT_DONE, ""},
        {"k", CHAIN_A, VERDICT_NEVER, "RootMissing: "},
        {"Uk", CHAIN_A, VERDICT_NEVER, "RootMissing: "},
        {"Rk", CHAIN_A, VERDICT_NEVER, "RootMissing: "},
        {"R", CHAIN_A, VERDICT_NEVER, "RootMissing: "},
        {"RUk", CHAIN_B, VERDICT_NEVER, "ImageChanged: "},
        {"RU", CHAIN_B, VERDICT_NEVER, "ImageChanged: "},
        {"RU", "", VERDICT_NEVER, "RootUnusable: "},
        {"", "", VERDICT_NEVER, "RootUnusable: "},
        {"", "sha256:short", VERDICT_NEVER, "RootUnusable: "},
        {"RUn", CHAIN_A, VERDICT_NEVER, "RootUnusable: "},
        {"RUkn", CHAIN_B, VERDICT_NEVER, "RootUnusable: "}, /* tells nothing of whose it is not */
        {"f", CHAIN_A, VERDICT_NEVER, "RootUnusable: "}, /* or neither namespace could reclaim its own */
        {"Uf", CHAIN_A, VERDICT_NEVER, "RootUnusable: "},
        {"kf", CHAIN_A, VERDICT_NEVER, "RootMissing: "},
        {"RUkf", CHAIN_A, VERDICT_DONE, ""},
        {"RUo", CHAIN_A, VERDICT_NEVER, "RootUnusable: "},
        {"RUl", CHAIN_A, VERDICT_NEVER, "SizeLimitWatched: "},
        {"RUlw", CHAIN_A, VERDICT_DONE, ""},
        {"RUkplw", CHAIN_A, VERDICT_DONE, ""},
        {"RUlw", CHAIN_B, VERDICT_NEVER, "ImageChanged: "},
        {"RUd", CHAIN_A, VERDICT_NEVER, "RootUnusable: "},
        {"RUdk", CHAIN_A, VERDICT_NEVER, "RootUnusable: "},
};

static bool has(const struct row *row, char letter)
{
    return strchr(row->state, letter) != NULL;
}

Test(keptroot, decide)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        _cleanup_volume_ struct volume *v = volume_new(1);
        struct keptroot k = {
                .has_record = has(row, 'R'), .has_upper = has(row, 'U'), .foreign = has(row, 'f')};
        struct decision d;

        v->node = true;
        v->kept = has(row, 'k');
        v->size_limit = has(row, 'l') ? 1024 : 0;
        v->use = has(row, 'w') ? USE_WITHIN : USE_NONE;
        strcpy(v->instance_namespace, "tenant");
        strcpy(k.damage, has(row, 'd') ? "cut off" : "");
        strcpy(k.record.ns, has(row, 'n') ? "elsewhere" : "tenant");
        strcpy(k.record.chain, CHAIN_A);
        strcpy(k.record.options, has(row, 'o') ? "index=on" : MOUNT_OVERLAY_OPTIONS);
        k.record.project = has(row, 'p') ? 7 : 0;
        d = keptroot_decide(&k, v, "main", row->chain);
        cr_expect_eq(d.verdict, row->verdict, "\"%s\": %d (%s)", row->state, d.verdict, d.text);
        cr_expect_eq(strncmp(d.text, row->text, strlen(row->text)), 0, "\"%s\": %s", row->state, d.text);
        cr_expect_eq(d.text[0] != '\0', row->verdict == VERDICT_NEVER);
        if (has(row, 'n'))
            cr_expect_null(strstr(d.text, "sha256"), "another namespace's image is told: %s", d.text);
    }
}

Test(keptroot, image_changed_names_both)
{
    _cleanup_volume_ struct volume *v = volume_new(1);
    struct keptroot k = {.has_record = true, .has_upper = true};
    struct decision d;

    strcpy(v->instance_namespace, "tenant");
    strcpy(k.record.ns, "tenant");
    strcpy(k.record.chain, CHAIN_A);
    d = keptroot_decide(&k, v, "main", CHAIN_B);
    cr_expect(strstr(d.text, CHAIN_A) && strstr(d.text, CHAIN_B), "%s", d.text);
}

Test(keptroot, image_of_a_consumer)
{
    char path[] = "/tmp/test-keptroot-XXXXXX";
    struct record rec = {.ns = "tenant", .chain = CHAIN_A, .options = MOUNT_OVERLAY_OPTIONS};
    struct err err = ERR_INIT;
    int dir;

    cr_assert_not_null(mkdtemp(path));
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_expect_eq(keptroot_check_image(dir, "main", CHAIN_A, &err), -ENOENT, "there is no record");
    cr_assert_eq(record_write(dir, &rec, &err), 0);
    cr_expect_eq(keptroot_check_image(dir, "main", CHAIN_A, &err), 0, "%s", err_text(&err));
    cr_expect_eq(keptroot_check_image(dir, "main", "", &err), -ENOTRECOVERABLE);
    cr_expect_eq(keptroot_check_image(dir, "main", CHAIN_B, &err), -ENOTRECOVERABLE);
    cr_expect_eq(strncmp(err_text(&err), "ImageChanged: ", 14), 0, "%s", err_text(&err));
    cr_expect(strstr(err_text(&err), CHAIN_A) && strstr(err_text(&err), CHAIN_B), "%s", err_text(&err));
    cr_assert(unlinkat(dir, SC_RECORD_FILE, 0) == 0 && rmdir(path) == 0);
    close(dir);
}

Test(keptroot, use)
{
    static const struct {
        enum root_use told;
        uint64_t bytes;
        enum root_use is;
    } cases[] = {
            {USE_WITHIN, 0, USE_WITHIN},
            {USE_WITHIN, 1000, USE_WITHIN},
            {USE_WITHIN, 1001, USE_EXCEEDED},
            {USE_UNKNOWN, 1000, USE_WITHIN},
            {USE_EXCEEDED, 1000, USE_EXCEEDED},
            {USE_EXCEEDED, 901, USE_EXCEEDED},
            {USE_EXCEEDED, 900, USE_WITHIN},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        cr_expect_eq(use_judge(cases[i].told, cases[i].bytes, 1000), cases[i].is, "%zu", i);
    cr_expect_eq(use_judge(USE_EXCEEDED, 2, 1), USE_EXCEEDED);
    cr_expect_eq(use_judge(USE_WITHIN, UINT64_MAX, LIMIT_ROOT_SIZE), USE_EXCEEDED);
}

/* A tenth of the time at most. */
Test(keptroot, pause_between_counts)
{
    cr_expect_eq(use_pause(0, 60 * USEC_PER_SEC), 60 * USEC_PER_SEC);
    cr_expect_eq(use_pause(6 * USEC_PER_SEC, 60 * USEC_PER_SEC), 60 * USEC_PER_SEC);
    cr_expect_eq(use_pause(7 * USEC_PER_SEC, 60 * USEC_PER_SEC), 63 * USEC_PER_SEC);
    cr_expect_eq(use_pause(600 * USEC_PER_SEC, USEC_PER_SEC), 5400 * USEC_PER_SEC);
}

/* --- the record ---------------------------------------------------------------------------------------------
 */

static struct record sample(void)
{
    struct record rec = {
            .ns = "tenant", .chain = CHAIN_A, .project = UINT32_MAX, .size_limit = LIMIT_ROOT_SIZE};

    (void)snprintf(rec.options, sizeof(rec.options), "%s", MOUNT_OVERLAY_OPTIONS);
    return rec;
}

Test(record, there_and_back)
{
    for (int i = 0; i < 2; i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_RECORD);
        struct record rec = sample(), back = {.project = 1};
        struct err err = ERR_INIT;

        if (i == 1)
            rec.project = 0, rec.size_limit = 0;
        cr_assert_eq(record_encode(&rec, &b, &err), 0, "%s", err_text(&err));
        cr_assert_eq(record_decode(buf_str(&b), b.len, &back, &err), 0, "%s", err_text(&err));
        cr_expect_eq(memcmp(&rec, &back, sizeof(rec)), 0, "%s", buf_str(&b));
    }
}

static const struct {
    const char *from, *to;
} breaks[] = {
        {"\"version\":1", "\"version\":2"},
        {"\"namespace\":\"tenant\"", "\"namespace\":\"../x\""},
        {"\"namespace\":\"tenant\"", "\"x\":\"tenant\""},
        {"\"image\":\"sha256:0", "\"image\":\"sha256:G"},
        {"\"image\":\"sha256:0", "\"image\":\"sha256:00"},
        {"\"image\":\"sha256:", "\"image\":\"sha512:"},
        {"index=off", "upperdir=/x"},
        {"\"options\":\"", "\"options\":\"\",\"x\":\""},
        {"\"project\":4294967295", "\"project\":4294967296"},
        {"\"project\":4294967295", "\"project\":0"},
        {"\"sizeLimit\":9007199254740991", "\"sizeLimit\":-1"},
        {"\"sizeLimit\":9007199254740991", "\"sizeLimit\":\"1\""},
};

Test(record, refuses_what_is_broken)
{
    _cleanup_buf_ struct buf good = BUF_INIT(LIMIT_RECORD);
    struct record rec = sample(), back;

    cr_assert_eq(record_encode(&rec, &good, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
        _cleanup_buf_ struct buf bad = BUF_INIT(LIMIT_RECORD);
        const char *at = strstr(buf_str(&good), breaks[i].from);
        struct err err = ERR_INIT;

        cr_assert_not_null(at, "%s is not in %s", breaks[i].from, buf_str(&good));
        buf_append(&bad, good.data, (size_t)(at - good.data));
        buf_puts(&bad, breaks[i].to);
        buf_puts(&bad, at + strlen(breaks[i].from));
        cr_expect_eq(
                record_decode(buf_str(&bad), bad.len, &back, &err), -EBADMSG, "accepted: %s", buf_str(&bad));
        cr_expect_str_not_empty(err.text);
    }
    for (size_t len = 0; len + 1 < good.len; len++)
        cr_assert_eq(record_decode(buf_str(&good), len, &back, NULL), -EBADMSG, "cut at %zu", len);
}

/* --- on disk ------------------------------------------------------------------------------------------------
 */

static char dir_path[] = "/tmp/sc-keptroot-XXXXXX";
static int dir;

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir_path));
    dir = open(dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dir, 0);
}

static void remove_dir(void)
{
    char cmd[128];

    close(dir);
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir_path);
    cr_assert_eq(system(cmd), 0);
}

TestSuite(keptroot_dir, .init = make_dir, .fini = remove_dir);

static void put(const char *text)
{
    cr_assert_eq(file_replace_at(dir, "root.json", text, strlen(text), 0600, NULL), 0);
}

Test(keptroot_dir, look)
{
    struct record rec = sample();
    struct keptroot k;
    struct err err = ERR_INIT;

    cr_assert_eq(keptroot_look(dir, &k, &err), 0, "%s", err_text(&err));
    cr_expect(!k.has_record && !k.has_upper && !k.damage[0]);
    cr_assert_eq(mkdirat(dir, "upper", 0755), 0);
    cr_assert_eq(record_write(dir, &rec, &err), 0, "%s", err_text(&err));
    cr_assert_eq(keptroot_look(dir, &k, &err), 0, "%s", err_text(&err));
    cr_expect(k.has_record && k.has_upper && !k.damage[0]);
    cr_expect_eq(memcmp(&k.record, &rec, sizeof(rec)), 0);

    /* Neither a bad record nor an endless one is none. */
    put("{\"version\":1}");
    cr_assert_eq(keptroot_look(dir, &k, &err), 0);
    cr_expect(k.has_record && k.damage[0]);
    {
        _cleanup_buf_ struct buf big = BUF_INIT(LIMIT_RECORD + 1);

        while (buf_putc(&big, ' ') == 0)
            ;
        put(buf_str(&big));
    }
    cr_assert_eq(keptroot_look(dir, &k, &err), 0);
    cr_expect(k.has_record && k.damage[0]);
}

/* A link in the place of upper is no upper. */
Test(keptroot_dir, upper_must_be_a_directory)
{
    struct keptroot k;

    cr_assert_eq(symlinkat("/", dir, "upper"), 0);
    cr_assert_eq(keptroot_look(dir, &k, NULL), 0);
    cr_expect_not(k.has_upper);
}
