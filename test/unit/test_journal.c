/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/journal: there and back; what is wrong on disk is moved aside and loses nothing else.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "node-agent/journal.h"

#define POD_UID "01234567-89ab-cdef-0123-456789abcdef"
#define SCI_UID "11111111-2222-3333-4444-555555555555"
#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
#define ID_A "csi-" HEX "aa"
#define ID_B "csi-" HEX "bb"
#define CONTAINER HEX "cc"

static char dir_path[] = "/tmp/sc-journal-XXXXXX";
static int dir;

static void make_dir(void)
{
    strcpy(dir_path + strlen(dir_path) - 6, "XXXXXX");
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

static struct volume *sample(enum volume_role role, const char *id)
{
    struct volume *v = volume_new(role == VOLUME_RECLAIM ? 0 : 2);

    cr_assert_not_null(v);
    v->role = role;
    strcpy(v->id, id);
    strcpy(v->volume_name, "stoppablecontainer");
    cr_assert_eq(volume_dir(POD_UID, v->volume_name, v->dir), 0);
    strcpy(v->pod_namespace, "tenant");
    strcpy(v->pod_name, "box");
    strcpy(v->pod_uid, POD_UID);
    strcpy(v->instance_namespace, "tenant");
    strcpy(v->instance_uid, SCI_UID);
    if (role == VOLUME_RECLAIM)
        return v;
    strcpy(v->instance_name, "box");
    strcpy(v->containers[0].name, "main");
    strcpy(v->containers[1].name, "side");
    v->containers[1].readonly = true;
    strcpy(v->containers[0].id, CONTAINER);
    if (role == VOLUME_CONSUMER)
        strcpy(v->provider_uid, SCI_UID), v->chroot = true, v->containers[1].post_start = true;
    else
        strcpy(v->lost, "it \"fell\"\n");
    return v;
}

static struct volume *there_and_back(const struct volume *v)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JOURNAL);
    struct volume *back = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(journal_encode(v, &b, &err), 0, "%s", err_text(&err));
    cr_assert_eq(journal_decode(buf_str(&b), b.len, &back, &err), 0, "%s: %s", buf_str(&b), err_text(&err));
    return back;
}

Test(journal, there_and_back)
{
    for (enum volume_role role = VOLUME_PROVIDER; role <= VOLUME_RECLAIM; role++) {
        _cleanup_volume_ struct volume *v = sample(role, ID_A);
        _cleanup_volume_ struct volume *back = there_and_back(v);

        /* What a provider's container was doing must be found out anew. */
        if (role == VOLUME_PROVIDER)
            v->containers[0].root = ROOT_ADOPTING;
        cr_expect_eq(
                memcmp(v, back, sizeof(*v) + v->n_containers * sizeof(v->containers[0])), 0, "role %d", role);
    }
}

Test(journal, persistence_node)
{
    static const char node[] = "{\"version\":2,";

    for (int i = 0; i < 3; i++) {
        _cleanup_volume_ struct volume *v = sample(i == 2 ? VOLUME_CONSUMER : VOLUME_PROVIDER, ID_A);
        _cleanup_volume_ struct volume *back = NULL;
        _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JOURNAL);

        v->node = true;
        v->kept = i == 1;
        v->size_limit = i == 1 ? LIMIT_ROOT_SIZE : 0;
        v->use = i == 1 ? USE_EXCEEDED : USE_NONE;
        back = there_and_back(v);
        cr_expect(back->node && back->kept == v->kept && back->size_limit == v->size_limit, "%d", i);
        cr_expect_eq(back->use, v->use, "%d", i);
        cr_assert_eq(journal_encode(v, &b, NULL), 0);
        cr_expect_eq(strncmp(buf_str(&b), node, strlen(node)), 0,
                "an older agent must not take it for one of its own: %s", buf_str(&b));
    }
}

/* The largest volume there can be fits under the cap. */
Test(journal, largest)
{
    _cleanup_volume_ struct volume *v = volume_new(LIMIT_CONTAINERS);
    _cleanup_volume_ struct volume *small = sample(VOLUME_PROVIDER, ID_A);

    memcpy(v, small, sizeof(*v));
    v->n_containers = LIMIT_CONTAINERS;
    memset(v->pod_name, 'n', LIMIT_NAME);
    memset(v->instance_name, 'n', LIMIT_NAME);
    memset(v->lost, '"', sizeof(v->lost) - 1);
    for (size_t i = 0; i < LIMIT_CONTAINERS; i++) {
        memset(v->containers[i].name, 'c', LIMIT_NAMESPACE);
        v->containers[i].name[0] = (char)('a' + i % 26);
        v->containers[i].name[1] = (char)('a' + i / 26);
        strcpy(v->containers[i].id, CONTAINER);
    }
    volume_free(there_and_back(v));
}

/* Each breaks one thing in a good text. */
static const struct {
    const char *from;
    const char *to;
} breaks[] = {
        {"\"version\":1", "\"version\":2"},
        {"\"role\":\"consumer\"", "\"role\":\"owner\""},
        {"\"role\":\"consumer\"", "\"role\":\"reclaim\""},
        {"\"id\":\"" ID_A "\"", "\"id\":\"../../etc/passwd\""},
        {"\"volume\":\"stoppablecontainer\"", "\"volume\":\"../..\""},
        {"\"uid\":\"" POD_UID "\"", "\"uid\":\"..\""},
        {"\"uid\":\"" SCI_UID "\"", "\"uid\":\"..\""},
        {"\"name\":\"main\"", "\"name\":\"..\""},
        {"\"name\":\"main\"", "\"name\":\"side\""},
        {"\"id\":\"" CONTAINER "\"", "\"id\":\"short\""},
        {"\"id\":\"" CONTAINER "\"", "\"id\":7"},
        {"\"providerUid\":\"" SCI_UID "\"", "\"x\":\"y\""},
        {"\"namespace\":\"tenant\"", "\"namespace\":\"Tenant\""},
        {"{\"version\"", "[\"version\""},
};

static const struct {
    const char *from;
    const char *to;
} node_breaks[] = {
        {"\"version\":2", "\"version\":3"},
        {"\"persistence\":\"Node\"", "\"persistence\":\"Provider\""},
        {"\"persistence\":\"Node\"", "\"x\":\"Node\""},
        {"\"root\":\"kept\"", "\"root\":\"new\""},
        {"\"sizeLimit\":7", "\"sizeLimit\":-7"},
        {"\"sizeLimit\":7", "\"sizeLimit\":9007199254740992"},
        {"\"sizeLimit\":7", "\"sizeLimit\":\"7\""},
        {"\"use\":\"within\"", "\"use\":\"\""},
        {"\"use\":\"within\"", "\"use\":1"},
};

Test(journal, refuses_what_is_broken_in_node)
{
    _cleanup_volume_ struct volume *v = sample(VOLUME_PROVIDER, ID_A);
    _cleanup_buf_ struct buf good = BUF_INIT(LIMIT_JOURNAL);

    v->node = v->kept = true;
    v->size_limit = 7;
    v->use = USE_WITHIN;
    cr_assert_eq(journal_encode(v, &good, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(node_breaks); i++) {
        _cleanup_buf_ struct buf bad = BUF_INIT(LIMIT_JOURNAL);
        const char *at = strstr(buf_str(&good), node_breaks[i].from);
        struct volume *back = NULL;

        cr_assert_not_null(at, "%s is not in %s", node_breaks[i].from, buf_str(&good));
        buf_append(&bad, good.data, (size_t)(at - good.data));
        buf_puts(&bad, node_breaks[i].to);
        buf_puts(&bad, at + strlen(node_breaks[i].from));
        cr_expect_lt(journal_decode(buf_str(&bad), bad.len, &back, NULL), 0, "accepted: %s", buf_str(&bad));
    }
}

Test(journal, refuses_what_is_broken)
{
    _cleanup_volume_ struct volume *v = sample(VOLUME_CONSUMER, ID_A);
    _cleanup_buf_ struct buf good = BUF_INIT(LIMIT_JOURNAL);

    cr_assert_eq(journal_encode(v, &good, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
        _cleanup_buf_ struct buf bad = BUF_INIT(LIMIT_JOURNAL);
        const char *at = strstr(buf_str(&good), breaks[i].from);
        struct volume *back = NULL;
        struct err err = ERR_INIT;

        cr_assert_not_null(at, "%s is not in %s", breaks[i].from, buf_str(&good));
        buf_append(&bad, good.data, (size_t)(at - good.data));
        buf_puts(&bad, breaks[i].to);
        buf_puts(&bad, at + strlen(breaks[i].from));
        cr_expect_lt(journal_decode(buf_str(&bad), bad.len, &back, &err), 0, "accepted: %s", buf_str(&bad));
        cr_expect_str_not_empty(err.text);
        cr_expect_null(back);
    }
    for (size_t len = 0; len + 1 < good.len; len++) {
        struct volume *back = NULL;

        cr_assert_lt(journal_decode(buf_str(&good), len, &back, NULL), 0, "cut at %zu", len);
    }
}

static char seen[8][VOLUME_ID_LEN + 1];
static size_t n_seen;
static char bad_file[256];
static size_t n_bad;

static void on_volume(struct volume *v, void *user)
{
    (void)user;
    if (n_seen < ARRAY_SIZE(seen))
        strcpy(seen[n_seen], v->id);
    n_seen++;
    volume_free(v);
}

static void on_bad(const char *file, const struct err *err, void *user)
{
    (void)user;
    cr_expect_str_not_empty(err->text);
    (void)snprintf(bad_file, sizeof(bad_file), "%s", file);
    n_bad++;
}

static void load(void)
{
    struct err err = ERR_INIT;

    n_seen = n_bad = 0;
    cr_assert_eq(journal_load(dir, on_volume, on_bad, NULL, &err), 0, "%s", err_text(&err));
}

TestSuite(journal_dir, .init = make_dir, .fini = remove_dir);

Test(journal_dir, write_load_remove)
{
    _cleanup_volume_ struct volume *a = sample(VOLUME_PROVIDER, ID_A);
    _cleanup_volume_ struct volume *b = sample(VOLUME_CONSUMER, ID_B);
    struct stat st;

    cr_assert_eq(journal_write(dir, a, NULL), 0);
    cr_assert_eq(journal_write(dir, b, NULL), 0);
    cr_assert_eq(journal_write(dir, b, NULL), 0, "again");
    cr_assert_eq(fstatat(dir, ID_A ".json", &st, 0), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    load();
    cr_assert_eq(n_seen, 2);
    cr_assert_eq(n_bad, 0);
    cr_assert_eq(journal_remove(dir, ID_A, NULL), 0);
    cr_assert_eq(journal_remove(dir, ID_A, NULL), 0, "absent is fine");
    load();
    cr_assert_eq(n_seen, 1);
    cr_assert_str_eq(seen[0], ID_B);
}

/* Half a file, a file under a wrong name, a directory, a link: aside, and the good one is found. */
Test(journal_dir, bad_files_go_aside)
{
    _cleanup_volume_ struct volume *a = sample(VOLUME_PROVIDER, ID_A);
    struct stat st;

    cr_assert_eq(journal_write(dir, a, NULL), 0);
    cr_assert_eq(file_replace_at(dir, ID_B ".json", "{\"version\":1", 12, 0600, NULL), 0);
    load();
    cr_assert_eq(n_seen, 1);
    cr_assert_eq(n_bad, 1);
    cr_assert_str_eq(bad_file, ID_B ".json");
    cr_assert_eq(fstatat(dir, "bad/" ID_B ".json", &st, 0), 0, "kept");
    cr_assert_lt(fstatat(dir, ID_B ".json", &st, 0), 0);

    cr_assert_eq(renameat(dir, ID_A ".json", dir, ID_B ".json"), 0, "a good text about another volume");
    cr_assert_eq(mkdirat(dir, "dir", 0700), 0);
    cr_assert_eq(symlinkat("/etc/passwd", dir, "link"), 0);
    load();
    cr_assert_eq(n_seen, 0);
    cr_assert_eq(n_bad, 3);
    load();
    cr_assert_eq(n_bad, 0, "told once");
}

/* An older agent after a newer one: told, and left for the newer one at its place. */
static void put_bad(const char *name, const char *text)
{
    char path[256];

    (void)mkdirat(dir, "bad", 0700);
    (void)snprintf(path, sizeof(path), "%s/bad/%s", dir_path, name);
    FILE *f = fopen(path, "we");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* What an older agent set aside is used again; what is no journal, or older than the volume's own, is not. */
Test(journal_dir, what_can_be_read_again_is_taken_back)
{
    _cleanup_volume_ struct volume *a = sample(VOLUME_PROVIDER, ID_A);
    _cleanup_volume_ struct volume *b = sample(VOLUME_CONSUMER, ID_B);
    _cleanup_buf_ struct buf node = BUF_INIT(LIMIT_JOURNAL), old = BUF_INIT(LIMIT_JOURNAL);

    cr_expect_eq(journal_take_back(dir), 0, "there is no bad at first");
    a->node = true;
    cr_assert_eq(journal_encode(a, &node, NULL), 0);
    cr_assert_eq(journal_encode(b, &old, NULL), 0);
    cr_assert_eq(journal_write(dir, b, NULL), 0);
    put_bad(ID_A ".json", buf_str(&node));
    put_bad(ID_B ".json", buf_str(&old));
    put_bad("csi-" HEX "dd.json", buf_str(&node)); /* about another */
    put_bad("csi-" HEX "ee.json", "{\"version\":99}");
    cr_expect_eq(journal_take_back(dir), 1);
    cr_expect_eq(faccessat(dir, ID_A ".json", F_OK, 0), 0);
    cr_expect_eq(faccessat(dir, "bad/" ID_A ".json", F_OK, 0), -1);
    cr_expect_eq(faccessat(dir, "bad/" ID_B ".json", F_OK, 0), 0, "it was published anew");
    cr_expect_eq(faccessat(dir, "bad/csi-" HEX "dd.json", F_OK, 0), 0);
    cr_expect_eq(faccessat(dir, "bad/csi-" HEX "ee.json", F_OK, 0), 0);
    cr_expect_eq(journal_take_back(dir), 0);
}

Test(journal_dir, files_of_a_newer_agent_stay)
{
    _cleanup_volume_ struct volume *a = sample(VOLUME_PROVIDER, ID_A);
    struct stat st;

    cr_assert_eq(journal_write(dir, a, NULL), 0);
    cr_assert_eq(file_replace_at(dir, ID_B ".json", "{\"version\":99}", 14, 0600, NULL), 0);
    for (int i = 0; i < 2; i++) {
        load();
        cr_assert_eq(n_seen, 1);
        cr_assert_eq(n_bad, 1, "told at each start");
        cr_assert_eq(fstatat(dir, ID_B ".json", &st, 0), 0, "taken away from the newer agent");
    }
}

/* What a crash leaves of a file being written is no journal entry. */
Test(journal_dir, temporary_files_are_not_read_and_go)
{
    struct stat st;

    cr_assert_eq(file_replace_at(dir, "x", "junk", 4, 0600, NULL), 0);
    cr_assert_eq(renameat(dir, "x", dir, "." ID_A ".json.tmp"), 0);
    load();
    cr_assert_eq(n_seen, 0);
    cr_assert_eq(n_bad, 0);
    cr_assert_lt(fstatat(dir, "." ID_A ".json.tmp", &st, 0), 0, "nobody would ever remove it");
}

/* Without an fd the files cannot be read, which does not make them bad. */
Test(journal_dir, a_file_that_cannot_be_read_now_stays)
{
    _cleanup_volume_ struct volume *a = sample(VOLUME_PROVIDER, ID_A);
    struct rlimit limit, low;
    struct err err = ERR_INIT;
    struct stat st;
    int probe, r;

    cr_assert_eq(journal_write(dir, a, NULL), 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(probe, 0);
    (void)close(probe);
    /* Room for the directory alone. */
    low = (struct rlimit){.rlim_cur = (rlim_t)probe + 1, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    r = journal_load(dir, on_volume, on_bad, NULL, &err);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(r, -EMFILE);
    cr_assert(strstr(err_text(&err), ID_A), "%s", err_text(&err));
    cr_assert_eq(fstatat(dir, ID_A ".json", &st, 0), 0, "in its place");
    load();
    cr_assert_eq(n_seen, 1);
}

/* One entry too many is told, and stays for an agent that can. */
Test(journal_dir, more_volumes_than_can_be_served_stay)
{
    _cleanup_volume_ struct volume *v = sample(VOLUME_PROVIDER, ID_A);
    struct stat st;

    for (int i = 0; i <= LIMIT_VOLUMES; i++) {
        _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JOURNAL);
        char name[VOLUME_ID_LEN + sizeof(".json")];
        int fd;

        (void)snprintf(v->id, sizeof(v->id), "csi-%064x", (unsigned)i);
        (void)snprintf(name, sizeof(name), "%s.json", v->id);
        cr_assert_eq(journal_encode(v, &text, NULL), 0);
        fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        cr_assert(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len && close(fd) == 0);
    }
    load();
    cr_expect_eq(n_seen, LIMIT_VOLUMES);
    cr_expect_eq(n_bad, 1);
    cr_expect_eq(fstatat(dir, bad_file, &st, 0), 0, "%s is not where it was", bad_file);
}
