/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "node-agent/mounts/mountinfo.h"

static struct mountinfo *parse(const char *text)
{
    struct mountinfo *mi = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(mountinfo_parse(text, strlen(text), &mi, &err), 0, "%s", err.text);
    return mi;
}

static void refuse(const char *text, int code, const char *says)
{
    struct mountinfo *mi = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(mountinfo_parse(text, strlen(text), &mi, &err), -code, "%s", text);
    cr_assert_null(mi);
    cr_assert(strstr(err.text, says), "%s says: %s", text, err.text);
}

Test(mountinfo, a_line)
{
    _cleanup_mountinfo_ struct mountinfo *mi = parse(
            "36 35 98:0 /in/fs /mnt rw,noatime shared:3 master:1 - ext4 /dev/root rw,errors=continue\n");
    const struct mount *m = mi->mounts;

    cr_assert_eq(mi->n, 1);
    cr_assert_eq(m->id, 36);
    cr_assert_eq(m->parent, 35);
    cr_assert_str_eq(m->root, "/in/fs");
    cr_assert_str_eq(m->path, "/mnt");
    cr_assert_str_eq(m->options, "rw,noatime");
    cr_assert_str_eq(m->fs_type, "ext4");
    cr_assert_str_eq(m->source, "/dev/root");
    cr_assert_str_eq(m->super_options, "rw,errors=continue");
    cr_assert(m->shared && m->slave && !m->unbindable);
}

Test(mountinfo, optional_fields)
{
    _cleanup_mountinfo_ struct mountinfo *mi = parse("1 2 0:1 / / rw - proc proc rw\n"
                                                     "3 1 0:2 / /a rw unbindable - tmpfs t rw\n"
                                                     "4 1 0:3 / /b rw new_thing:7 other - tmpfs t rw\n");

    cr_assert(!mi->mounts[0].shared && !mi->mounts[0].slave && !mi->mounts[0].unbindable);
    cr_assert(mi->mounts[1].unbindable);
    cr_assert_str_eq(mi->mounts[2].fs_type, "tmpfs");
}

Test(mountinfo, escapes)
{
    _cleanup_mountinfo_ struct mountinfo *mi = parse("1 2 0:1 /a\\134b /with\\040space\\011tab\\012line rw - "
                                                     "fuse.a\\040b s\\040t lowerdir=/a\\134:b\n");

    cr_assert_str_eq(mi->mounts[0].root, "/a\\b");
    cr_assert_str_eq(mi->mounts[0].path, "/with space\ttab\nline");
    cr_assert_str_eq(mi->mounts[0].fs_type, "fuse.a b");
    cr_assert_str_eq(mi->mounts[0].source, "s t");
    cr_assert_str_eq(
            mi->mounts[0].super_options, "lowerdir=/a\\134:b", "left for whoever knows the file system");
}

Test(mountinfo, empty_source_and_raw_options)
{
    _cleanup_mountinfo_ struct mountinfo *mi =
            parse("1 2 0:1 / /a rw - tmpfs  rw\n1 2 0:1 / /b rw - x y rw,a b c\n");

    cr_assert_str_eq(mi->mounts[0].source, "");
    cr_assert_str_eq(mi->mounts[0].super_options, "rw");
    cr_assert_str_eq(mi->mounts[1].super_options, "rw,a b c");
}

Test(mountinfo, roots_that_are_no_paths)
{
    _cleanup_mountinfo_ struct mountinfo *mi =
            parse("1 2 0:4 net:[4026531840] /run/netns/x rw - nsfs nsfs rw\n");

    cr_assert_str_eq(mi->mounts[0].root, "net:[4026531840]");
}

Test(mountinfo, nothing)
{
    _cleanup_mountinfo_ struct mountinfo *mi = parse("");

    cr_assert_eq(mi->n, 0);
    cr_assert_null(mountinfo_by_id(mi, 1));
}

Test(mountinfo, refusals)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
            {"1 2 0:1 / / rw - proc proc rw", "cut off"},
            {"\n", "line 1: bad mount id"},
            {"1 2 0:1 / / rw - proc proc rw\nx 2 0:1 / / rw - proc proc rw\n", "line 2: bad mount id"},
            {"-1 2 0:1 / / rw - proc proc rw\n", "bad mount id"},
            {"1  2 0:1 / / rw - proc proc rw\n", "bad mount id"},
            {"1 2 0 / / rw - proc proc rw\n", "bad device"},
            {"1 2 a:1 / / rw - proc proc rw\n", "bad device"},
            {"1 2 0:1 / /\n", "too few fields"},
            {"1 2 0:1 / / rw\n", "no separator"},
            {"1 2 0:1 / / rw shared:1\n", "no separator"},
            {"1 2 0:1 / / rw -\n", "after the separator"},
            {"1 2 0:1 / / rw - proc\n", "after the separator"},
            {"1 2 0:1 / / rw - proc proc\n", "after the separator"},
            {"1 2 0:1 / relative rw - proc proc rw\n", "bad mount point"},
            {"1 2 0:1 /  rw - proc proc rw\n", "bad mount point"},
            {"1 2 0:1 / /a\\04 rw - proc proc rw\n", "bad escape"},
            {"1 2 0:1 / /a\\ rw - proc proc rw\n", "bad escape"},
            {"1 2 0:1 / /a\\000 rw - proc proc rw\n", "bad escape"},
            {"1 2 0:1 / /a\\400 rw - proc proc rw\n", "bad escape"},
            {"1 2 0:1 / /a\\08 rw - proc proc rw\n", "bad escape"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        refuse(cases[i].text, EBADMSG, cases[i].says);
}

Test(mountinfo, a_nul)
{
    static const char text[] = "1 2 0:1 / /a\0b rw - proc proc rw\n";
    struct mountinfo *mi = NULL;

    cr_assert_eq(mountinfo_parse(text, sizeof(text) - 1, &mi, NULL), -EBADMSG);
}

Test(mountinfo, caps)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_MOUNTINFO + KIB);
    struct mountinfo *mi = NULL;

    for (int i = 0; i < LIMIT_MOUNTS; i++)
        (void)buf_printf(&b, "%d 1 0:1 / /%d rw - t t rw\n", i + 2, i);
    cr_assert_eq(buf_error(&b), 0);
    mi = parse(buf_str(&b));
    cr_assert_eq(mi->n, LIMIT_MOUNTS);
    mi = mountinfo_free(mi);
    (void)buf_puts(&b, "1 0 0:1 / / rw - t t rw\n");
    refuse(buf_str(&b), E2BIG, "4097 mounts");

    buf_reset(&b);
    (void)buf_puts(&b, "1 0 0:1 / / rw - t t ");
    while (b.len <= LIMIT_MOUNTINFO)
        (void)buf_puts(&b, "0123456789abcdef");
    (void)buf_putc(&b, '\n');
    cr_assert_eq(mountinfo_parse(buf_str(&b), b.len, &mi, NULL), -E2BIG);
}

Test(mountinfo, a_long_path)
{
    _cleanup_buf_ struct buf b = BUF_INIT(MIB);

    (void)buf_puts(&b, "1 0 0:1 / /");
    for (int i = 0; i < 4095; i++)
        (void)buf_putc(&b, 'a');
    (void)buf_puts(&b, " rw - t t rw\n");
    refuse(buf_str(&b), EBADMSG, "bad mount point");
}

Test(mountinfo, topmost)
{
    _cleanup_mountinfo_ struct mountinfo *mi = parse("1 0 0:1 / / rw - t t rw\n"
                                                     "4 3 0:1 / /a rw - t t rw\n"
                                                     "2 1 0:1 / /a rw - t t rw\n"
                                                     "3 2 0:1 / /a rw - t t rw\n"
                                                     "5 4 0:1 / /a/b rw - t t rw\n"
                                                     "6 1 0:1 / /b rw - t t rw\n");

    cr_assert_eq(mountinfo_topmost(mi, mountinfo_by_id(mi, 2))->id, 4);
    cr_assert_eq(mountinfo_topmost(mi, mountinfo_by_id(mi, 6))->id, 6);
    cr_assert_eq(mountinfo_topmost(mi, mountinfo_by_id(mi, 1))->id, 1);
}

Test(mountinfo, topmost_of_a_circle_ends, .timeout = 5)
{
    _cleanup_mountinfo_ struct mountinfo *mi = parse("1 2 0:1 / /a rw - t t rw\n2 1 0:1 / /a rw - t t rw\n");

    cr_assert_not_null(mountinfo_topmost(mi, mi->mounts));
}
