/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/mounts/overlay_layers: the two forms, the two escapes, and what is refused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "node-agent/mounts/overlay_layers.h"

/* layers joined by "|"; NULL: refused, with `text` in the sentence. */
static const struct {
    const char *options, *layers, *text;
} cases[] = {
        {"rw,lowerdir=/a,upperdir=/u,workdir=/w", "/a", NULL},
        {"rw,lowerdir=/a/1:/b/2:/c/3,upperdir=/u", "/a/1|/b/2|/c/3", NULL},
        {"rw,lowerdir+=/a,lowerdir+=/b:c,upperdir=/u,workdir=/w,index=off", "/a|/b:c", NULL},
        {"ro,lowerdir=/a", "/a", NULL},
        /* overlayfs' escapes within the list; a "+" form has none */
        {"rw,lowerdir=/a\\134:b:/c\\134\\134d", "/a:b|/c\\d", NULL},
        {"rw,lowerdir+=/a\\134:b", "/a\\:b", NULL},
        /* mountinfo's: comma, space, newline */
        {"rw,lowerdir=/a\\054upperdir=/x:/b\\040c,upperdir=/u", "/a,upperdir=/x|/b c", NULL},
        {"rw,lowerdir+=/a\\012b", "/a\nb", NULL},
        /* containerd's short form, and only that */
        {"rw,lowerdir=9/fs:8/fs,upperdir=/c/snapshots/10/fs,workdir=/c/snapshots/10/work",
                "/c/snapshots/9/fs|/c/snapshots/8/fs", NULL},
        {"rw,lowerdir=9/fs:../8/fs,upperdir=/c/snapshots/10/fs", NULL, "../8/fs"},
        {"rw,lowerdir=9/fs,upperdir=/c/snapshots/x/fs", NULL, "\"9/fs\" is not an absolute path"},
        {"rw,lowerdir=9/fs,upperdir=c/snapshots/10/fs", NULL, "9/fs"},
        {"rw,lowerdir=9/fs,upperdir=/c/../10/fs", NULL, "9/fs"},
        {"rw,lowerdir=l/ABC,upperdir=/c/10/fs", NULL, "l/ABC"},
        {"rw,lowerdir=9/fs", NULL, "9/fs"},
        {"rw,lowerdir=/fs,upperdir=/10/fs", "/fs", NULL},
        /* no plain path */
        {"rw,lowerdir=/a/../b", NULL, "no plain path"},
        {"rw,lowerdir=/a//b", NULL, "no plain path"},
        {"rw,lowerdir=/a/./b", NULL, "no plain path"},
        {"rw,lowerdir=/", NULL, "no plain path"},
        {"rw,lowerdir=/a/", NULL, "no plain path"},
        {"rw,lowerdir+=a", NULL, "not an absolute path"},
        /* data-only layers */
        {"rw,lowerdir=/a::/b", NULL, "data-only"},
        {"rw,lowerdir+=/a,datadir+=/b", NULL, "data-only"},
        /* nothing, or nonsense */
        {"rw,upperdir=/u", NULL, "no layers"},
        {"", NULL, "no layers"},
        {"rw,lowerdir=", NULL, ""},
        {"rw,lowerdir=/a\\9", NULL, "bad escape"},
        {"rw,lowerdir+=/a\\000", NULL, "bad escape"},
};

Test(overlay_layers, cases)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_overlay_layers_ struct overlay_layers l = {.n = 0};
        _cleanup_buf_ struct buf joined = BUF_INIT(4096);
        struct err err = ERR_INIT;
        int r = overlay_layers_parse(cases[i].options, &l, &err);

        for (size_t k = 0; k < l.n; k++)
            (void)buf_printf(&joined, "%s%s", k > 0 ? "|" : "", l.paths[k]);
        if (cases[i].layers) {
            cr_expect_eq(r, 0, "%s: %s", cases[i].options, err_text(&err));
            cr_expect_str_eq(buf_str(&joined), cases[i].layers, "%s", cases[i].options);
        } else {
            cr_expect_eq(r, -EINVAL, "%s: %d, %s", cases[i].options, r, buf_str(&joined));
            cr_expect_not_null(
                    strstr(err_text(&err), cases[i].text), "%s: %s", cases[i].options, err_text(&err));
        }
    }
}

Test(overlay_layers, as_many_as_there_may_be)
{
    for (int more = 0; more < 2; more++) {
        _cleanup_overlay_layers_ struct overlay_layers l = {.n = 0};
        _cleanup_buf_ struct buf text = BUF_INIT(64 * 1024);
        int r;

        (void)buf_puts(&text, "rw");
        for (int i = 0; i < LIMIT_LAYERS + more; i++)
            (void)buf_printf(&text, ",lowerdir+=/layer/%d", i);
        r = overlay_layers_parse(buf_str(&text), &l, NULL);
        cr_expect_eq(r, more ? -E2BIG : 0);
        cr_expect_eq(l.n, more ? 0 : LIMIT_LAYERS);
    }
}
