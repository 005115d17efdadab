/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/check: every difference between journal and node, by a table. A state is written as a string of
 * letters, so that a row reads like a sentence.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/json/json.h"
#include "node-agent/check_look.h"
#include "node-agent/check_run.h"
#include "node-agent/journal.h"

#define UID "11111111-2222-3333-4444-555555555555"
#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define STATE "/state"
#define KUBELET "/kubelet"

static void put(struct buf *b, const void *row, size_t size)
{
    cr_assert_eq(buf_append(b, row, size), 0);
}

static struct check_volume *last(struct check_facts *f)
{
    return &check_rows(struct check_volume, &f->volumes)[check_count(struct check_volume, &f->volumes) - 1];
}

static void put_volume(struct check_facts *f, enum volume_role role, char mark, const char *pod)
{
    struct check_volume row = {.target = CHECK_PRESENT, .complete = true, .socket = CHECK_SOCKET_SERVED};
    struct volume *v = volume_new(role == VOLUME_RECLAIM ? 0 : 1);

    cr_assert_not_null(v);
    v->role = role;
    memset(v->id, mark, VOLUME_ID_LEN);
    memset(v->pod_uid, mark, LIMIT_UID);
    (void)snprintf(v->dir, sizeof(v->dir), "pods/%c/volumes/kubernetes.io~csi/sc/mount", mark);
    strcpy(v->pod_name, pod);
    strcpy(v->pod_namespace, "tenant");
    strcpy(v->instance_uid, UID);
    memset(v->provider_uid, '1', role == VOLUME_CONSUMER ? LIMIT_UID : 0);
    if (role != VOLUME_RECLAIM)
        strcpy(v->containers[0].name, "main");
    row.volume = v;
    put(&f->volumes, &row, sizeof(row));
}

static void put_mount(struct check_facts *f, const char *path, unsigned machine, unsigned own)
{
    struct check_mount row = {.machine = machine, .own = own, .in_kubelet = strncmp(path, "pods/", 5) == 0};

    strcpy(row.path, path);
    put(&f->mounts, &row, sizeof(row));
}

static void put_root(struct check_facts *f, const char *container, bool upper, bool record)
{
    struct check_root row = {.uid = UID, .upper = upper, .record = record};

    strcpy(row.container, container);
    put(&f->roots, &row, sizeof(row));
}

#define ROOT "instances/" UID "/main/rootfs"

/* What is so, one letter each:
 *   p  a provider's volume      h  its container said hello      l  its root is lost     E  the runtime: ended
 *   q  a second provider's      c  its consumer's volume         o  a consumer of an earlier provider
 *   L  the consumer is lost     r  a reclaim volume
 *   m  root mounted             M  twice                         x  for the machine only y  for the agent only
 *   z  mounted elsewhere        k  mounted in the provider's volume
 *   d  instances/UID/main       D  instances/UID, empty          e  instances/UID/other
 *   u  .../main with upper      U  ... and a record
 *   T  the last volume's directory is gone  i  its files are not complete  s  its socket is dead
 *   a  an agent answers         n  a volume's directory that is not journaled
 *   w  an orphaned worker       W  an overdue one                v  a worker at work */
static void set_volume(struct check_facts *f, char letter)
{
    switch (letter) {
    case 'p':
        put_volume(f, VOLUME_PROVIDER, '1', "box-provider");
        break;
    case 'q':
        put_volume(f, VOLUME_PROVIDER, '2', "box-provider");
        break;
    case 'h':
        strcpy(last(f)->volume->containers[0].id, ID_A);
        break;
    case 'l':
    case 'L':
        strcpy(last(f)->volume->lost, "it ended");
        break;
    case 'E':
        last(f)->ended = 1;
        break;
    case 'c':
        put_volume(f, VOLUME_CONSUMER, '3', "box");
        break;
    case 'o':
        put_volume(f, VOLUME_CONSUMER, '4', "box");
        memset(last(f)->volume->provider_uid, '9', LIMIT_UID);
        break;
    case 'r':
        put_volume(f, VOLUME_RECLAIM, '5', "reclaim-" UID);
        break;
    case 'T':
        last(f)->target = CHECK_ABSENT;
        break;
    case 'i':
        last(f)->complete = false;
        break;
    case 's':
        last(f)->socket = CHECK_SOCKET_DEAD;
        break;
    default:
        break;
    }
}

static void set_node(struct check_facts *f, char letter)
{
    const struct check_target foreign = {.dir = "pods/7/volumes/kubernetes.io~csi/sc/mount"};
    const struct check_worker worker = {.pid = 7, .orphan = letter == 'w', .overdue = letter == 'W'};

    switch (letter) {
    case 'm':
        put_mount(f, ROOT, 1, 1);
        break;
    case 'M':
        put_mount(f, ROOT, 2, 2);
        break;
    case 'x':
    case 'y':
        put_mount(f, ROOT, letter == 'x', letter == 'y');
        break;
    case 'z':
        put_mount(f, "instances/" UID "/rootfs", 1, 1);
        break;
    case 'k':
        put_mount(f, "pods/1/volumes/kubernetes.io~csi/sc/mount/x", 1, 0);
        break;
    case 'd':
    case 'u':
    case 'U':
        put_root(f, "main", letter != 'd', letter == 'U');
        break;
    case 'D':
    case 'e':
        put_root(f, letter == 'e' ? "other" : "", false, false);
        break;
    case 'a':
        f->agent = true;
        break;
    case 'n':
        put(&f->targets, &foreign, sizeof(foreign));
        break;
    case 'w':
    case 'W':
    case 'v':
        put(&f->workers, &worker, sizeof(worker));
        break;
    default:
        break;
    }
}

static void set(struct check_facts *f, const char *state)
{
    check_facts_init(f, STATE, KUBELET);
    for (; *state; state++) {
        set_volume(f, *state);
        set_node(f, *state);
    }
}

/* The codes of the findings, and "kept" for each kept root. */
static void tell(const struct check_verdict *v, char *text, size_t size)
{
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < check_count(struct check_finding, &v->findings); i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", n ? " " : "",
                check_code_name(check_rows(struct check_finding, &v->findings)[i].code));
    for (size_t i = 0; i < check_count(struct check_kept, &v->kept); i++)
        n += (size_t)snprintf(text + n, size - n, "%skept", n ? " " : "");
}

static const struct row {
    const char *state;
    const char *want;
} table[] = {
        /* as it should be */
        {"", ""},
        {"a", ""},
        {"ap", ""},
        {"apd", ""},
        {"aphmd", ""},
        {"aphmdc", ""},
        {"ar", ""},
        {"aphlc", ""},
        {"aphlcL", ""},
        {"apldv", ""},
        /* a kept root stays, whoever refers to it */
        {"U", "kept"},
        {"aphmU", "kept"},
        {"aphmUc", "kept"},
        {"amUo", "kept"},
        {"aphlmU", "kept"},
        {"apu", "kept"},
        {"u", "kept-unrecorded"},
        {"mU", "root-unowned kept"},
        /* without an agent nobody listens, and that is no fault */
        {"phmds", ""},
        {"aphmds", "socket-unserved"},
        {"aphmdi", "target-incomplete"},
        {"phmdi", "target-incomplete"},
        {"aphmdT", "journal-without-target"},
        {"arT", "journal-without-target"},
        {"an", "target-without-journal"},
        {"aphmdk", "target-mounted"},
        /* one provider and one consumer volume an instance */
        {"apq", "journal-doubled"},
        {"apco", "journal-doubled consumer-rootless"},
        {"arr", ""},
        /* roots */
        {"aphd", "root-missing"},
        {"aphE", "container-ended"},
        {"aphmdE", "container-ended"},
        {"aphlmd", "root-lost"},
        {"aphlE", ""},
        {"m", "root-unowned"},
        {"amd", "root-unowned instance-unowned"},
        {"amc", "consumer-rootless root-unowned"},
        {"aphMd", "root-stacked"},
        {"aphxd", "root-one-sided"},
        {"aphyd", "root-one-sided"},
        {"aphmdz", "root-unowned"},
        {"aphmde", "instance-unowned"},
        {"d", "instance-unowned"},
        {"D", "instance-unowned"},
        {"apD", ""},
        {"cd", "consumer-rootless instance-unowned"},
        {"ao", "consumer-rootless"},
        {"aoL", ""},
        {"aphmdo", "consumer-rootless"},
        /* workers */
        {"av", ""},
        {"aw", "worker-left"},
        {"aW", "worker-left"},
};

Test(check, table)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct check_facts f;
        struct check_verdict v;
        char text[512];

        set(&f, table[i].state);
        check_verdict_init(&v);
        cr_assert_eq(check_compare(&f, &v), 0);
        tell(&v, text, sizeof(text));
        cr_expect_str_eq(text, table[i].want, "\"%s\": %s, not %s", table[i].state, text, table[i].want);
        check_verdict_free(&v);
        check_facts_free(&f);
    }
}

Test(check, only_what_stays_is_told)
{
    struct check_facts f;
    struct check_verdict first, second;
    const struct check_finding *rows;

    set(&f, "aphd");
    check_verdict_init(&first);
    cr_assert_eq(check_compare(&f, &first), 0);
    check_facts_free(&f);
    set(&f, "amD");
    cr_assert_eq(check_compare(&f, &first), 0);
    check_facts_free(&f);
    /* root-missing is gone, root-unowned and instance-unowned stay, and something new is there */
    set(&f, "amDn");
    check_verdict_init(&second);
    cr_assert_eq(check_compare(&f, &second), 0);
    check_intersect(&first, &second);
    rows = check_rows(const struct check_finding, &first.findings);
    cr_assert_eq(check_count(struct check_finding, &first.findings), 2);
    cr_assert_eq(rows[0].code, CHECK_ROOT_UNOWNED);
    cr_assert_str_eq(rows[0].path, STATE "/" ROOT);
    cr_assert_eq(rows[1].code, CHECK_INSTANCE_UNOWNED);
    cr_assert_str_eq(rows[1].path, STATE "/instances/" UID);
    check_verdict_free(&second);
    check_intersect(&first, &second);
    cr_assert_eq(first.findings.len, 0);
    check_verdict_free(&first);
    check_facts_free(&f);
}

Test(check, every_code_has_its_own_name_and_an_advice)
{
    for (int i = 0; i < CHECK_CODES; i++) {
        cr_assert(check_code_name(i) && check_code_name(i)[0] && check_code_advice(i)[0], "code %d", i);
        for (int k = 0; k < i; k++)
            cr_assert_str_neq(check_code_name(i), check_code_name(k));
    }
}

/* The report of a state, read back. */
static struct json *report(const char *state, struct buf *words)
{
    struct check_facts f;
    struct check_verdict v;
    const struct check_summary s = {.facts = &f, .runtime = "it \"sleeps\""};
    _cleanup_buf_ struct buf b = BUF_INIT(MIB);
    struct json *root = NULL;

    set(&f, state);
    check_verdict_init(&v);
    cr_assert_eq(check_compare(&f, &v), 0);
    cr_assert_eq(check_json(&v, &s, &b), 0);
    cr_assert_eq(check_words(&v, &s, words), 0);
    cr_assert_eq(json_parse(buf_str(&b), b.len, &root, NULL), 0, "%s", buf_str(&b));
    check_verdict_free(&v);
    check_facts_free(&f);
    return root;
}

Test(check, report)
{
    _cleanup_buf_ struct buf words = BUF_INIT(MIB);
    _cleanup_json_ struct json *r = report("aphmUcn", &words);

    cr_assert_eq(json_int_or(r, "version", 0), 1);
    cr_assert_not(json_bool_or(r, "clean", true));
    cr_assert(json_bool_or(r, "agent", false));
    cr_assert_eq(json_int_or(r, "volumes", 0), 2);
    cr_assert_eq(json_int_or(r, "roots", 0), 1);
    cr_assert_str_eq(json_str_or(r, "runtime", ""), "it \"sleeps\"");
    cr_assert_eq(json_len(json_at(r, "findings")), 1);
    cr_assert_str_eq(json_str_or(r, "findings[0].code", ""), "target-without-journal");
    cr_assert_str_eq(
            json_str_or(r, "findings[0].path", ""), KUBELET "/pods/7/volumes/kubernetes.io~csi/sc/mount");
    cr_assert_str_eq(json_str_or(r, "kept[0].path", ""), STATE "/instances/" UID "/main");
    cr_assert_str_eq(json_str_or(r, "kept[0].holder", ""), "box-provider, box");
    cr_assert(json_bool_or(r, "kept[0].mounted", false));
    cr_assert(strstr(buf_str(&words), "target-without-journal: " KUBELET "/pods/7"), "%s", buf_str(&words));
    cr_assert(strstr(buf_str(&words),
            "kept root: " STATE "/instances/" UID "/main, mounted, held by box-provider, box\n"));
    cr_assert(strstr(buf_str(&words), "\n1 findings\n"));
}

Test(check, clean_report)
{
    _cleanup_buf_ struct buf words = BUF_INIT(MIB);
    _cleanup_json_ struct json *r = report("phmd", &words);

    cr_assert(json_bool_or(r, "clean", false));
    cr_assert_not(json_bool_or(r, "agent", true));
    cr_assert_eq(json_len(json_at(r, "findings")), 0);
    cr_assert(strstr(buf_str(&words), "\nclean\n"));
    cr_assert(strstr(buf_str(&words), "no agent answers"));
}

/* A node with one journaled volume, whose directory is there. */
static void make_node(char *state, char *kubelet)
{
    _cleanup_volume_ struct volume *v = volume_new(1);
    _cleanup_close_ int volumes = -EBADF;
    char path[512];

    cr_assert(v && mkdtemp(state) && mkdtemp(kubelet));
    v->role = VOLUME_PROVIDER;
    strcpy(v->id, "csi-" ID_A);
    strcpy(v->volume_name, "sc");
    strcpy(v->pod_name, "box-provider");
    strcpy(v->pod_namespace, "tenant");
    strcpy(v->pod_uid, UID);
    strcpy(v->instance_name, "box");
    strcpy(v->instance_namespace, "tenant");
    strcpy(v->instance_uid, UID);
    strcpy(v->containers[0].name, "main");
    cr_assert_eq(volume_dir(UID, "sc", v->dir), 0);
    (void)snprintf(path, sizeof(path), "mkdir -p %s/%s", kubelet, v->dir);
    cr_assert_eq(system(path), 0);
    (void)snprintf(path, sizeof(path), "%s/volumes", state);
    cr_assert_eq(mkdir(path, 0700), 0);
    volumes = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(journal_write(volumes, v, NULL), 0);
}

/* A look that cannot be had says nothing about what is there. */
Test(check, a_directory_that_cannot_be_opened_is_not_called_absent)
{
    char state[] = "/tmp/sc-check-state-XXXXXX", kubelet[] = "/tmp/sc-check-kubelet-XXXXXX", command[256];
    int first = open("/", O_PATH | O_CLOEXEC);
    size_t seen = 0, failed = 0;

    make_node(state, kubelet);
    close(first);
    for (rlim_t n = (rlim_t)first; n < (rlim_t)first + 16; n++) {
        const struct rlimit all = {.rlim_cur = 1024, .rlim_max = 1024},
                            few = {.rlim_cur = n, .rlim_max = 1024};
        struct check_facts f;

        check_facts_init(&f, state, kubelet);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        failed += check_look(&f, NULL) < 0;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
        if (f.volumes.len > 0) {
            cr_expect_eq(last(&f)->target, CHECK_PRESENT, "with %d fds", (int)n);
            seen++;
        }
        check_facts_free(&f);
    }
    cr_expect(seen > 0 && failed > 0, "seen %zu times, failed %zu times", seen, failed);
    (void)snprintf(command, sizeof(command), "rm -rf %s %s", state, kubelet);
    cr_assert_eq(system(command), 0);
}
