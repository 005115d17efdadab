/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "node-agent/mounts/carry.h"

#define LINE(id, parent, path) #id " " #parent " 0:1 / " path " rw - t t rw\n"
#define ROOT LINE(10, 1, "/")

/* The ids of what is carried, in order, as text; or the sentence of the refusal. */
static const char *carried(const char *table, const struct carry_rules *rules)
{
    static char text[2048];
    _cleanup_mountinfo_ struct mountinfo *mi = NULL;
    struct carry_list list = {.n = 0};
    struct err err = ERR_INIT;
    size_t at = 0;

    cr_assert_eq(mountinfo_parse(table, strlen(table), &mi, &err), 0, "%s", err.text);
    if (carry_select(mi, 10, rules, &list, &err) < 0) {
        (void)snprintf(text, sizeof(text), "%s", err.text);
        return text;
    }
    text[0] = '\0';
    for (size_t i = 0; i < list.n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%d", i ? " " : "", (int)list.mounts[i]->id);
    carry_list_free(&list);
    return text;
}

static const struct carry_rules no_rules = {.n_own_mounts = 0};

Test(carry, what_is_directly_on_the_root)
{
    cr_assert_str_eq(carried(ROOT LINE(11, 10, "/proc") LINE(12, 11, "/proc/sys") LINE(13, 10, "/vol")
                                     LINE(14, 13, "/vol/in") LINE(15, 14, "/vol/in/in"),
                             &no_rules),
            "11 13");
}

Test(carry, by_ids_and_not_by_order_or_prefix)
{
    /* /a and /ab are neighbours; a child is listed before its parent. */
    cr_assert_str_eq(
            carried(LINE(13, 11, "/a/x") LINE(11, 10, "/a") LINE(12, 10, "/ab") ROOT, &no_rules), "11 12");
}

Test(carry, mounts_outside_the_root_are_not_seen)
{
    cr_assert_str_eq(carried(LINE(99, 98, "/elsewhere") ROOT LINE(11, 10, "/a"), &no_rules), "11");
}

Test(carry, the_topmost_of_a_stack)
{
    cr_assert_str_eq(carried(ROOT LINE(11, 10, "/a") LINE(12, 11, "/a") LINE(13, 12, "/a")
                                     LINE(14, 11, "/a/lost") LINE(15, 13, "/a/seen"),
                             &no_rules),
            "13");
}

Test(carry, a_hidden_mount_is_left_out)
{
    /* Mounted at /a/b first, then something over /a. */
    cr_assert_str_eq(carried(ROOT LINE(11, 10, "/a/b") LINE(12, 10, "/a"), &no_rules), "12");
}

Test(carry, what_sorts_between_an_outer_and_its_inner)
{
    /* "!" comes before "/" in ASCII. */
    cr_assert_str_eq(carried(ROOT LINE(11, 10, "/a/b") LINE(12, 10, "/a!") LINE(13, 10, "/a")
                                     LINE(14, 10, "/a/b/c") LINE(15, 10, "/a!/x"),
                             &no_rules),
            "12 13");
}

Test(carry, image_volumes)
{
    static const char *const volumes[] = {"/data", "/vol", "/proc", "/dev", "/sys"};
    static const char *const own[] = {"/vol", "/data/kept"};
    const struct carry_rules rules = {
            .own_mounts = own, .n_own_mounts = 2, .image_volumes = volumes, .n_image_volumes = 5};

    cr_assert_str_eq(carried(ROOT LINE(11, 10, "/data") LINE(12, 10, "/vol") LINE(13, 10, "/proc")
                                     LINE(14, 10, "/dev") LINE(15, 10, "/sys"),
                             &rules),
            "12 13 14 15");
    cr_assert_str_eq(
            carried(ROOT LINE(11, 10, "/data") LINE(12, 11, "/data/kept") LINE(13, 12, "/data/kept/in"),
                    &rules),
            "12", "a volume within it is top-level");
    cr_assert_str_eq(carried(ROOT LINE(11, 10, "/data") LINE(12, 11, "/data") LINE(13, 11, "/data/lost")
                                     LINE(14, 12, "/data/kept"),
                             &rules),
            "14", "of a stack of them the topmost is looked into");
}

Test(carry, runtime_files)
{
    static const char *const own[] = {"/etc/resolv.conf"};
    static const char *const files[] = {"/run/hostname", "/etc/resolv.conf"};
    const struct carry_rules rules = {.own_mounts = own, .n_own_mounts = 1};

    cr_assert(carry_is_runtime_file("/run/hostname", files, 2, &rules));
    cr_assert(!carry_is_runtime_file("/etc/hostname", files, 2, &rules));
    cr_assert(!carry_is_runtime_file("/etc/resolv.conf", files, 2, &rules), "that one is the pod's own");
    cr_assert(carry_is_runtime_file("/etc/resolv.conf", files, 2, &no_rules));
}

Test(carry, an_image_volume_within_an_image_volume)
{
    static const char *const volumes[] = {"/data", "/data/in"};
    const struct carry_rules rules = {.image_volumes = volumes, .n_image_volumes = 2};

    cr_assert_str_eq(carried(ROOT LINE(11, 10, "/data") LINE(12, 11, "/data/in") LINE(13, 12, "/data/in/vol")
                                     LINE(14, 10, "/a"),
                             &rules),
            "14 13");
}

Test(carry, unbindable_is_refused_by_name)
{
    static const char *const volumes[] = {"/data"};
    const struct carry_rules rules = {.image_volumes = volumes, .n_image_volumes = 1};

    cr_assert(strstr(
            carried(ROOT "11 10 0:1 / /vol rw unbindable - t t rw\n", &no_rules), "/vol is unbindable"));
    cr_assert(strstr(
            carried(ROOT LINE(11, 10, "/vol") LINE(12, 11, "/vol/a") "13 12 0:1 / /vol/a/b rw unbindable - t "
                                                                     "t rw\n",
                    &no_rules),
            "/vol/a/b is unbindable"));
    cr_assert_str_eq(carried("10 1 0:1 / / rw unbindable - t t rw\n" LINE(11, 10, "/vol"), &no_rules), "11",
            "the root itself is not carried");
    cr_assert_str_eq(carried(ROOT "11 10 0:1 / /data rw unbindable - t t rw\n", &rules), "");
}

Test(carry, tables_that_are_none)
{
    cr_assert(strstr(carried(LINE(11, 1, "/"), &no_rules), "not among its mounts"));
    cr_assert(strstr(carried(LINE(10, 1, "/a"), &no_rules), "not among its mounts"));
    cr_assert(strstr(carried(ROOT LINE(11, 10, "/"), &no_rules), "mounted over"));
    cr_assert(strstr(carried(ROOT LINE(11, 10, "/a") LINE(12, 10, "/a"), &no_rules), "side by side"));
}

Test(carry, a_namespace_root_that_is_its_own_parent)
{
    cr_assert_str_eq(carried(LINE(10, 10, "/") LINE(11, 10, "/a"), &no_rules), "11");
}

Test(carry, covers)
{
    const struct mount vol = {.path = "/vol"};
    const struct mount *mounts[] = {&vol};
    const struct carry_list list = {.n = 1, .mounts = mounts};

    cr_assert(carry_covers(&list, "/vol"));
    cr_assert(carry_covers(&list, "/vol/deep/er"));
    cr_assert(!carry_covers(&list, "/volume"));
    cr_assert(!carry_covers(&list, "/"));
}

Test(carry, places)
{
    const struct mount a = {.path = "/a"}, b = {.path = "/b"}, c = {.path = "/c"};
    const struct mount *mounts[] = {&a, &b};
    const struct carry_list list = {.n = 2, .mounts = mounts};
    const struct carry_list three = {.n = 3, .mounts = (const struct mount *[]){&a, &b, &c}};
    struct err err = ERR_INIT;

    cr_assert_eq(carry_check_places(&list, (const char *const[]){"/x", "/xy"}, &err), 0);
    cr_assert_eq(carry_check_places(&list, (const char *const[]){"/x", "/x"}, &err), -EEXIST);
    cr_assert_eq(carry_check_places(&list, (const char *const[]){"/x", "/x/y"}, &err), -EEXIST);
    cr_assert(strstr(err.text, "leads /b into the place of /a"), "%s", err.text);
    cr_assert_eq(carry_check_places(&list, (const char *const[]){"/x/y", "/x"}, &err), -EEXIST);
    cr_assert_eq(carry_check_places(&three, (const char *const[]){"/x/y", "/x", "/x!"}, &err), -EEXIST);
    cr_assert_eq(carry_check_places(&list, (const char *const[]){"/", "/x"}, &err), -EEXIST);
}
