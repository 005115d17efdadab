/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/rpc/pb: what a message looks like byte by byte, and every rule that refuses one.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/random.h"
#include "common/rpc/pb.h"

#define BYTES(text) (text), sizeof(text) - 1

/* Reads to the end: the number of fields, or the error. */
static int count_fields(const char *data, size_t len)
{
    struct pb_reader r;
    struct pb_field f;
    int rc, n = 0;

    pb_reader_init(&r, data, len);
    while ((rc = pb_next(&r, &f)) > 0)
        n++;
    if (rc < 0)
        cr_assert_eq(pb_next(&r, &f), -EBADMSG, "a reader must stay in error");
    return rc < 0 ? rc : n;
}

static struct pb_field only_field(const char *data, size_t len)
{
    struct pb_reader r;
    struct pb_field f;

    pb_reader_init(&r, data, len);
    cr_assert_eq(pb_next(&r, &f), 1);
    return f;
}

Test(pb, reads_each_wire_type_and_skips_fixed_ones)
{
    /* 1: varint 150 (the encoding guide's own example); 2: "testing"; 3: fixed32; 4: fixed64 */
    static const char msg[] = "\x08\x96\x01"
                              "\x12\x07testing"
                              "\x1d\x01\x02\x03\x04"
                              "\x21\x01\x02\x03\x04\x05\x06\x07\x08";
    struct pb_reader r;
    struct pb_field f;
    struct pb_slice s = {0};
    uint64_t n = 0;

    pb_reader_init(&r, BYTES(msg));
    cr_assert_eq(pb_next(&r, &f), 1);
    cr_expect_eq(f.number, 1u);
    cr_expect_eq(pb_get_u64(&f, &n), 0);
    cr_expect_eq(n, 150u);
    cr_assert_eq(pb_next(&r, &f), 1);
    cr_expect_eq(pb_get_string(&f, 100, &s), 0);
    cr_expect(pb_slice_equal(s, "testing"));
    cr_assert_eq(pb_next(&r, &f), 1);
    cr_expect_eq(f.number, 3u);
    cr_assert_eq(pb_next(&r, &f), 1);
    cr_expect_eq(f.number, 4u);
    cr_expect_eq(pb_next(&r, &f), 0);
    cr_expect_eq(pb_next(&r, &f), 0);
}

Test(pb, an_empty_message_has_no_field)
{
    cr_expect_eq(count_fields("", 0), 0);
    cr_expect_eq(count_fields(NULL, 0), 0);
}

Test(pb, refuses_malformed_bytes)
{
    static const struct {
        const char *what, *data;
        size_t len;
    } cases[] = {
            {"field 0", BYTES("\x00\x01")},
            {"field above 2^29-1", BYTES("\x80\x80\x80\x80\x10\x01")},
            {"group start", BYTES("\x0b\x0c")},
            {"group end", BYTES("\x0c")},
            {"wire type 6", BYTES("\x0e\x01")},
            {"wire type 7", BYTES("\x0f\x01")},
            {"varint cut", BYTES("\x08\x96")},
            {"varint of eleven bytes", BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")},
            {"varint of 65 bits", BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")},
            {"key cut", BYTES("\x80")},
            {"length cut", BYTES("\x12")},
            {"length past the end", BYTES("\x12\x03xy")},
            {"length near 2^64", BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01xy")},
            {"fixed64 cut", BYTES("\x09\x01\x02\x03\x04\x05\x06\x07")},
            {"fixed32 cut", BYTES("\x0d\x01\x02\x03")},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pb_reader r;
        struct pb_field f;

        cr_expect_eq(count_fields(cases[i].data, cases[i].len), -EBADMSG, "%s", cases[i].what);
        pb_reader_init(&r, cases[i].data, cases[i].len);
        cr_expect_eq(pb_next(&r, &f), -EBADMSG, "%s: by its first field", cases[i].what);
    }
}

Test(pb, takes_the_largest_varint_and_field_number)
{
    struct pb_field f = only_field(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    int64_t i = 0;
    int32_t e = 0;

    cr_expect_eq(f.value, UINT64_MAX);
    cr_expect_eq(pb_get_i64(&f, &i), 0);
    cr_expect_eq(i, -1);
    cr_expect_eq(pb_get_i32(&f, &e), 0);
    cr_expect_eq(e, -1);
    f = only_field(BYTES("\xf8\xff\xff\xff\x0f\x01"));
    cr_expect_eq(f.number, (1u << 29) - 1);
}

Test(pb, refuses_another_wire_type_for_a_known_field)
{
    struct pb_field number = only_field(BYTES("\x08\x01")), bytes = only_field(BYTES("\x0a\x01x"));
    struct pb_slice s = {0}, k = {0};
    uint64_t u = 7;
    int64_t i = 7;
    int32_t e = 7;
    bool b = true;

    cr_expect_eq(pb_get_string(&number, 10, &s), -EBADMSG);
    cr_expect_eq(pb_get_message(&number, &s), -EBADMSG);
    cr_expect_eq(pb_get_map_entry(&number, 10, &k, &s), -EBADMSG);
    cr_expect_eq(pb_get_u64(&bytes, &u), -EBADMSG);
    cr_expect_eq(pb_get_i64(&bytes, &i), -EBADMSG);
    cr_expect_eq(pb_get_i32(&bytes, &e), -EBADMSG);
    cr_expect_eq(pb_get_bool(&bytes, &b), -EBADMSG);
    cr_expect(u == 7 && i == 7 && e == 7 && b && !s.data && !k.data, "nothing is written on failure");
}

Test(pb, refuses_strings_that_are_none)
{
    struct pb_field nul = only_field(BYTES("\x0a\x03"
                                           "a\0b"));
    struct pb_field latin = only_field(BYTES("\x0a\x02\xe9t"));
    struct pb_field surrogate = only_field(BYTES("\x0a\x03\xed\xa0\x80"));
    struct pb_field good = only_field(BYTES("\x0a\x03\xe2\x82\xac"));
    struct pb_slice s = {0};

    cr_expect_eq(pb_get_string(&nul, 10, &s), -EBADMSG);
    cr_expect_eq(pb_get_string(&latin, 10, &s), -EBADMSG);
    cr_expect_eq(pb_get_string(&surrogate, 10, &s), -EBADMSG);
    cr_expect_eq(pb_get_string(&good, 2, &s), -EBADMSG, "longer than its cap");
    cr_expect_null(s.data);
    cr_expect_eq(pb_get_string(&good, 3, &s), 0);
}

Test(pb, refuses_a_second_submessage)
{
    struct pb_field f = only_field(BYTES("\x0a\x00"));
    struct pb_slice s = {0};

    cr_expect_eq(pb_get_message(&f, &s), 0);
    cr_expect_not_null(s.data, "an empty submessage is there");
    cr_expect_eq(pb_get_message(&f, &s), -EBADMSG);
}

Test(pb, reads_map_entries)
{
    struct pb_field both = only_field(BYTES("\x0a\x06\x0a\x01k\x12\x01v"));
    struct pb_field value_first = only_field(BYTES("\x0a\x06\x12\x01v\x0a\x01k"));
    struct pb_field none = only_field(BYTES("\x0a\x00"));
    struct pb_field broken = only_field(BYTES("\x0a\x03\x0a\x07k"));
    struct pb_slice k, v;

    cr_expect_eq(pb_get_map_entry(&both, 10, &k, &v), 0);
    cr_expect(pb_slice_equal(k, "k") && pb_slice_equal(v, "v"));
    cr_expect_eq(pb_get_map_entry(&value_first, 10, &k, &v), 0);
    cr_expect(pb_slice_equal(k, "k") && pb_slice_equal(v, "v"));
    cr_expect_eq(pb_get_map_entry(&none, 10, &k, &v), 0);
    cr_expect(pb_slice_equal(k, "") && pb_slice_equal(v, "") && k.data && v.data);
    cr_expect_eq(pb_get_map_entry(&broken, 10, &k, &v), -EBADMSG);
    cr_expect_eq(pb_get_map_entry(&both, 0, &k, &v), -EBADMSG, "longer than its cap");
}

Test(pb, writes_golden_bytes)
{
    /* As protoc --encode writes ListContainersRequest{filter{id:"x" label_selector{a:"b"}}} and so on. */
    static const char want[] = "\x0a\x07testing"
                               "\x10\x96\x01"
                               "\x18\x01"
                               "\x22\x03\x0a\x01x"
                               "\x2a\x06\x0a\x01"
                               "a\x12\x01"
                               "b"
                               "\x2a\x00"
                               "\xa2\x01\x01z";
    _cleanup_buf_ struct buf b = BUF_INIT(KIB), sub = BUF_INIT(KIB);

    pb_put_string(&sub, 1, "x");
    pb_put_string(&b, 1, "testing");
    pb_put_u64(&b, 2, 150);
    pb_put_bool(&b, 3, true);
    pb_put_message(&b, 4, &sub);
    pb_put_map_entry(&b, 5, "a", "b");
    pb_put_map_entry(&b, 5, "", NULL);
    pb_put_string(&b, 20, "z");
    /* proto3: defaults are not written */
    pb_put_string(&b, 6, "");
    pb_put_string(&b, 6, NULL);
    pb_put_u64(&b, 7, 0);
    pb_put_bool(&b, 8, false);
    cr_assert_eq(buf_error(&b), 0);
    cr_expect_eq(b.len, sizeof(want) - 1);
    cr_expect_eq(memcmp(b.data, want, sizeof(want) - 1), 0);
}

Test(pb, a_full_writer_keeps_its_error)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8), sub = BUF_INIT(2), outer = BUF_INIT(KIB);

    pb_put_string(&b, 1, "much too long for eight");
    pb_put_bool(&b, 2, true);
    cr_expect_eq(buf_error(&b), -E2BIG);
    pb_put_string(&sub, 1, "long");
    pb_put_message(&outer, 1, &sub);
    cr_expect_eq(buf_error(&outer), -E2BIG, "a submessage that did not fit makes the whole one bad");
}

Test(pb, whatever_is_written_is_read_back)
{
    for (int round = 0; round < 2000; round++) {
        _cleanup_buf_ struct buf b = BUF_INIT(KIB);
        uint64_t value = random_u64() >> (random_u64() % 64), got = 0;
        uint32_t number = (uint32_t)(random_u64() % ((1u << 29) - 1)) + 1;
        struct pb_reader r;
        struct pb_field f;
        struct pb_slice s = {0};

        value = value ? value : 1;
        pb_put_u64(&b, number, value);
        pb_put_string(&b, number, "text");
        pb_reader_init(&r, b.data, b.len);
        cr_assert_eq(pb_next(&r, &f), 1);
        cr_assert_eq(f.number, number);
        cr_assert_eq(pb_get_u64(&f, &got), 0);
        cr_assert_eq(got, value);
        cr_assert_eq(pb_next(&r, &f), 1);
        cr_assert_eq(pb_get_string(&f, 4, &s), 0);
        cr_assert_eq(pb_next(&r, &f), 0);
    }
}

Test(pb, no_prefix_of_a_message_reads_past_its_end)
{
    static const char msg[] = "\x08\x96\x01\x12\x07testing\x2a\x06\x0a\x01k\x12\x01v";

    for (size_t len = 0; len < sizeof(msg); len++) {
        _cleanup_free_ char *exact = malloc(len ? len : 1); /* so that a sanitizer sees the end */

        memcpy(exact, msg, len);
        (void)count_fields(exact, len);
    }
}

Test(pb, duplicates_a_slice_as_a_string)
{
    _cleanup_free_ char *none = pb_slice_dup((struct pb_slice){0});
    _cleanup_free_ char *text = pb_slice_dup((struct pb_slice){.data = (const uint8_t *)"abc", .len = 2});

    cr_expect_str_eq(none, "");
    cr_expect_str_eq(text, "ab");
}
