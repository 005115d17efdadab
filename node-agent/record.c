/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See record.h. The text is JSON:
 *
 *     {"version":1,"namespace":"..","image":"sha256:..","options":"index=off,..","project":7,"sizeLimit":1024}
 *
 * project and sizeLimit are absent where there is none.
 */
#include "node-agent/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/json/json.h"
#include "common/names.h"
#include "node-agent/volume.h"

#define RECORD_VERSION 1
#define CHAIN_PREFIX "sha256:"

bool record_is_chain(const char *text)
{
    const char *hex = text ? text + strlen(CHAIN_PREFIX) : NULL;

    return text && strnlen(text, RECORD_CHAIN_LEN + 1) == RECORD_CHAIN_LEN &&
           strncmp(text, CHAIN_PREFIX, strlen(CHAIN_PREFIX)) == 0 &&
           strspn(hex, "0123456789abcdef") == strlen(hex);
}

/* "a=b,c=d": what mount options of ours are made of. */
static bool is_options(const char *text)
{
    return text && text[0] && strspn(text, "abcdefghijklmnopqrstuvwxyz_=,") == strlen(text);
}

int record_encode(const struct record *rec, struct buf *b, struct err *err)
{
    _cleanup_json_ struct json *root = json_new_object();
    int r = root ? json_set_int(root, "version", RECORD_VERSION) : -ENOMEM;

    if (r == 0)
        r = json_set_str(root, "namespace", rec->ns);
    if (r == 0)
        r = json_set_str(root, "image", rec->chain);
    if (r == 0)
        r = json_set_str(root, "options", rec->options);
    if (r == 0 && rec->project > 0)
        r = json_set_int(root, "project", rec->project);
    if (r == 0 && rec->size_limit > 0)
        r = json_set_int(root, "sizeLimit", (int64_t)rec->size_limit);
    if (r == 0)
        r = json_write(root, b);
    if (r == 0)
        r = buf_putc(b, '\n');
    return r < 0 ? err_set(err, r, "cannot write down the root's record") : 0;
}

static int take(const struct json *root, const char *field, bool (*form)(const char *), char *ret,
        size_t size, struct err *err)
{
    const char *text = json_str(root, field);

    if (!text || strlen(text) >= size || !form(text))
        return err_say(err, EBADMSG, "%s is missing or malformed", field);
    (void)snprintf(ret, size, "%s", text);
    return 0;
}

/* Absent: 0. Present, it is from 1 to max. */
static int take_number(
        const struct json *root, const char *field, uint64_t max, uint64_t *ret, struct err *err)
{
    int64_t n = json_int_or(root, field, 0);

    if (json_at(root, field) && (n < 1 || (uint64_t)n > max))
        return err_say(err, EBADMSG, "%s is malformed", field);
    *ret = (uint64_t)n;
    return 0;
}

int record_decode(const char *text, size_t len, struct record *ret, struct err *err)
{
    _cleanup_json_ struct json *root = NULL;
    struct record rec = {.project = 0};
    uint64_t project = 0;
    int r = json_parse(text, len, &root, err);

    if (r < 0)
        return r == -ENOMEM ? r : -EBADMSG;
    if (json_int_or(root, "version", 0) != RECORD_VERSION)
        return err_say(err, EBADMSG, "version is not %d: a newer agent wrote it", RECORD_VERSION);
    r = take(root, "namespace", volume_is_label, rec.ns, sizeof(rec.ns), err);
    if (r == 0)
        r = take(root, "image", record_is_chain, rec.chain, sizeof(rec.chain), err);
    if (r == 0)
        r = take(root, "options", is_options, rec.options, sizeof(rec.options), err);
    if (r == 0)
        r = take_number(root, "project", UINT32_MAX, &project, err);
    if (r == 0)
        r = take_number(root, "sizeLimit", LIMIT_ROOT_SIZE, &rec.size_limit, err);
    if (r < 0)
        return r;
    rec.project = (uint32_t)project;
    *ret = rec;
    return 0;
}

int record_write(int dir, const struct record *rec, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_RECORD);
    int r = record_encode(rec, &b, err);

    return r < 0 ? r : file_replace_at(dir, SC_RECORD_FILE, b.data, b.len, 0600, err);
}

int record_read(int dir, struct record *ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_RECORD);
    int r = file_read_at(dir, SC_RECORD_FILE, &b, err);

    if (r == -E2BIG)
        return err_say(err, EBADMSG, SC_RECORD_FILE " has more than %zu bytes", LIMIT_RECORD);
    if (r < 0)
        return r;
    r = record_decode(buf_str(&b), b.len, ret, err);
    return r < 0 ? err_wrap(err, r, SC_RECORD_FILE) : 0;
}
