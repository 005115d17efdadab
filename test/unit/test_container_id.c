/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/runtime/container_id: cgroup files as runtimes and drivers write them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "node-agent/runtime/container_id.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "0c3ae4d6-9b43-4c1a-8a3e-1f2d3c4b5a69"
#define UID_ "0c3ae4d6_9b43_4c1a_8a3e_1f2d3c4b5a69"
#define PLAIN "0c3ae4d69b434c1a8a3e1f2d3c4b5a69"

static const struct {
    const char *what, *text, *uid;
} good[] = {
        {"containerd, systemd, v2, burstable",
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
                ".slice/cri-containerd-" ID ".scope\n",
                UID},
        {"containerd, systemd, v2, guaranteed",
                "0::/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope\n", UID},
        {"containerd, cgroupfs, v2", "0::/kubepods/besteffort/pod" UID "/" ID "\n", UID},
        {"cgroupfs, guaranteed, no newline at the end", "0::/kubepods/pod" UID "/" ID, UID},
        {"CRI-O, systemd",
                "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID
                ".scope\n",
                UID},
        {"CRI-O with crun",
                "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID
                ".scope/container\n",
                UID},
        {"CRI-O, cgroupfs", "0::/kubepods/pod" UID "/crio-" ID "\n", UID},
        {"drivers that disagree", "0::/system.slice/kubepods-pod" UID_ ".slice:cri-containerd:" ID "\n", UID},
        {"kind: a prefix",
                "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_
                ".slice/cri-containerd-" ID ".scope\n",
                UID},
        {"a node that is a container itself", "0::/docker/" ID2 "/kubelet/kubepods/pod" UID "/" ID "\n", UID},
        {"a deeper cgroup", "0::/kubepods/pod" UID "/" ID "/init.scope/app\n", UID},
        {"a static pod", "0::/kubepods/burstable/pod" PLAIN "/" ID "\n", PLAIN},
        {"relative to the reader's namespace",
                "0::/../../kubepods-besteffort-pod" UID_ ".slice/cri-containerd-" ID ".scope\n", UID},
        {"relative, the same pod: no pod to be seen", "0::/../cri-containerd-" ID ".scope\n", ""},
        {"v1",
                "12:pids:/kubepods/burstable/pod" UID "/" ID "\n"
                "11:cpu,cpuacct:/kubepods/burstable/pod" UID "/" ID "\n"
                "2:misc:/\n"
                "1:name=systemd:/kubepods/burstable/pod" UID "/" ID "\n"
                "0::/system.slice/containerd.service\n",
                UID},
        {"v1, one line without the pod", "3:pids:/" ID "\n2:memory:/kubepods/pod" UID "/" ID "\n", UID},
};

Test(container_id, reads_every_form)
{
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct container_identity c = {0};
        struct err err = ERR_INIT;

        cr_expect_eq(container_identity_parse(good[i].text, strlen(good[i].text), &c, &err), 0, "%s: %s",
                good[i].what, err_text(&err));
        cr_expect_str_eq(c.id, ID, "%s", good[i].what);
        cr_expect_str_eq(c.pod_uid, good[i].uid, "%s: '%s'", good[i].what, c.pod_uid);
    }
}

static int parse(const char *text)
{
    struct container_identity c = {.id = "untouched"};
    int rc = container_identity_parse(text, strlen(text), &c, NULL);

    cr_expect(rc == 0 || strcmp(c.id, "untouched") == 0);
    return rc;
}

Test(container_id, knows_what_is_no_container)
{
    cr_expect_eq(parse(""), -ENOENT);
    cr_expect_eq(parse("0::/\n"), -ENOENT);
    cr_expect_eq(parse("0::/system.slice/containerd.service\n"), -ENOENT);
    cr_expect_eq(parse("0::/user.slice/user-0.slice/session-1.scope\n"), -ENOENT);
    cr_expect_eq(parse("0::/kubepods/pod" UID "\n"), -ENOENT, "the pod's own cgroup");
    cr_expect_eq(parse("0::/kubepods/pod" UID "/" ID "0\n"), -ENOENT, "65 digits");
    cr_expect_eq(parse("0::/kubepods/pod" UID "/crio-conmon-" ID ".scope\n"), -ENOENT, "the monitor");
    cr_expect_eq(parse("0::/kubepods/pod" UID
                       "/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF\n"),
            -ENOENT, "upper case");
}

Test(container_id, refuses_conflicts)
{
    cr_expect_eq(parse("2:pids:/kubepods/pod" UID "/" ID "\n1:memory:/kubepods/pod" UID "/" ID2 "\n"),
            -EBADMSG, "two containers");
    cr_expect_eq(parse("2:pids:/kubepods/pod" UID "/" ID
                       "\n1:memory:/kubepods/pod11111111-9b43-4c1a-8a3e-1f2d3c4b5a69/" ID "\n"),
            -EBADMSG, "two pods");
}

Test(container_id, refuses_malformed_files)
{
    static const char nul[] = "0::/kubepods/pod" UID "/" ID "\0\n";
    struct container_identity c;

    cr_expect_eq(parse("nonsense\n"), -EBADMSG);
    cr_expect_eq(parse("0:/" ID "\n"), -EBADMSG);
    cr_expect_eq(parse("\n"), -EBADMSG);
    cr_expect_eq(container_identity_parse(nul, sizeof(nul) - 1, &c, NULL), -EBADMSG);
}

Test(container_id, takes_only_a_uid_for_a_pod)
{
    static const char *const texts[] = {
            "0::/kubepods/podium/" ID "\n",
            "0::/kubepods/pod0c3ae4d6-9b43_4c1a-8a3e-1f2d3c4b5a69/" ID "\n",
            "0::/kubepods/xpod" UID "/" ID "\n",
            "0::/kubepods/pod" UID "0/" ID "\n",
            "0::/pod" UID "x/" ID "\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct container_identity c = {0};

        cr_assert_eq(container_identity_parse(texts[i], strlen(texts[i]), &c, NULL), 0);
        cr_expect_str_eq(c.pod_uid, "", "%s gave %s", texts[i], c.pod_uid);
    }
}

Test(container_id, the_innermost_container_counts)
{
    static const char nested[] =
            "0::/kubepods/pod11111111-9b43-4c1a-8a3e-1f2d3c4b5a69/" ID2 "/kubepods/pod" UID "/" ID "\n";
    struct container_identity c = {0};

    cr_assert_eq(container_identity_parse(nested, sizeof(nested) - 1, &c, NULL), 0);
    cr_expect_str_eq(c.id, ID);
    cr_expect_str_eq(c.pod_uid, UID);
}

Test(container_id, validates_ids)
{
    cr_expect(container_id_valid(ID));
    cr_expect_not(container_id_valid(""));
    cr_expect_not(container_id_valid(ID "0"));
    cr_expect_not(container_id_valid("g" ID));
}

Test(container_id, reads_no_byte_past_the_text)
{
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        size_t whole = strlen(good[i].text);

        for (size_t len = 0; len <= whole; len++) {
            _cleanup_free_ char *exact = malloc(len ? len : 1);
            struct container_identity c;

            memcpy(exact, good[i].text, len);
            (void)container_identity_parse(exact, len, &c, NULL);
        }
    }
}
