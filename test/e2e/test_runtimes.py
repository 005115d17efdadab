#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Other runtimes than those that all other tests run on: crun beside runc (RuntimeClass crun), Debian's containerd and runc."""
import json
import os
import subprocess
import sys

from harness import CLUSTER, TOP, case, eventually, expect, kubectl, labels, main, node, sc_manifest, shell

CRUN = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "crun"}, "handler": "crun"}


def with_crun():
    """The RuntimeClass is the cluster's, not a case's: it stays. Cases run side by side: a client that looks before
    it creates would find that another has been quicker."""
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(CRUN))


def made_by_crun(ns, pod):
    """containerd's shim keeps, beside each bundle, which program it makes the container with."""
    for status in ns.get("pod/" + pod)["status"]["containerStatuses"]:
        container = status["containerID"].split("//")[1]
        options = node("cat", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/%s/options.json" % container).stdout
        expect("/crun" in options, "container %s of %s was made by another runtime: %s" % (container, pod, options))


@case
def crun_whole_life(ns):
    with_crun()
    ns.start("box", shell(runtimeClassName="crun", script="echo run >> /runs; trap 'exit 0' TERM; "
                          "while :; do sleep 1000 & wait $!; done"))
    made_by_crun(ns, "box")
    made_by_crun(ns, "box-provider")
    ns.sh("box", "dpkg -i /opt/debs/*.deb >&2; echo first > /srv/notes")
    for turn in (2, 3):
        ns.running("box", False)
        ns.running("box", True)
        eventually(lambda: "run %d in the same root: %s" % (turn, ns.story("box")),
                   lambda: ns.exec("box", "cat", "/runs", check=False).stdout == turn * "run\n")
    expect(ns.sh("box", "sc-hello >&2; cat /srv/notes") == "first", "files of the first run")
    made_by_crun(ns, "box")
    uid = ns.instance_uid("box")
    ns.delete("stc/box")
    expect(ns.node_traces([uid]) == "", "left on the node: " + ns.node_traces([uid]))


@case
def crun_several_containers_with_volumes(ns):
    with_crun()

    def container(name):
        return {"name": name, "image": "sc.test/busybox:1", "volumeMounts": [{"name": "shared", "mountPath": "/deep/er/shared"}],
                "command": ["sh", "-c", "echo %s >> /who; echo %s >> /deep/er/shared/all; exec sleep 100000" % (name, name)]}
    ns.start("trio", {"runtimeClassName": "crun", "terminationGracePeriodSeconds": 1,
                      "containers": [container(n) for n in ("a", "b", "c")], "volumes": [{"name": "shared", "emptyDir": {}}]})
    for turn in (1, 2):
        for name in ("a", "b", "c"):
            eventually("run %d of %s in its root" % (turn, name), lambda: ns.exec(
                "trio", "cat", "/who", container=name, check=False).stdout == turn * (name + "\n"))
            seen = ns.sh("trio", "sort /deep/er/shared/all", container=name)
            expect(seen == "a\nb\nc", "the shared volume in %s: %r" % (name, seen))
        if turn == 1:
            ns.running("trio", False)
            ns.running("trio", True)


@case
@labels(psa_enforce="restricted")
def crun_restricted_nonroot(ns):
    with_crun()
    ns.start("box", {
        "runtimeClassName": "crun",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000,
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "main", "image": "sc.test/busybox:1", "workingDir": "/tmp",
                        "command": ["sh", "-c", "echo run >> /tmp/runs; exec sleep 100000"],
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
        "terminationGracePeriodSeconds": 1})
    ns.running("box", False)
    ns.running("box", True)
    expect(ns.sh("box", "id -u; pwd; cat /tmp/runs") == "1000\n/tmp\nrun\nrun", "user, working directory or file wrong")
    made_by_crun(ns, "box")


@case
def runtime_class_of_a_stranger_is_refused(ns):
    ns.apply(sc_manifest("box", shell(runtimeClassName="kata")))
    ns.ready_message("box", "RuntimeClass kata: a sandboxed runtime")


OLD_CASES = (("test_life.py", "debian_root_survives_two_stops", "two_containers_two_roots", "image_entrypoint_and_cmd",
              "restricted_namespace", "scratch_image_with_one_binary"),
             ("test_runtimes.py", "crun_whole_life"))


@case(alone=True)
def containerd_1_6_and_runc_1_1(ns):
    """A second cluster, on Debian 12's containerd and runc, where the cases of a whole life run."""
    state = os.environ.get("STOPPABLE_STATE", "/var/lib/stoppablecontainer-cluster") + "-debian"
    env = {**os.environ, "STOPPABLE_STATE": state, "STOPPABLE_CONTAINERD": "debian"}

    def tool(*argv):
        done = subprocess.run(argv, env=env, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400)
        expect(done.returncode == 0, "%s: exit %d: %s" % (" ".join(argv[-3:]), done.returncode, done.stdout[-1500:]))
        return done.stdout
    try:
        tool("tools/ready", "system")
        versions = tool(CLUSTER, "kubectl", "get", "nodes", "-o", "jsonpath={..containerRuntimeVersion}")
        expect("containerd://1.6." in versions, "the runtime is " + versions)
        runc = tool(CLUSTER, "node-exec", "sh", "-c", "$(sed -n 's/^BinaryName = \"\\(.*runc\\)\"/\\1/p' "
                    "/run/sc-node/state/cfg/containerd.toml) --version")
        expect("runc version 1.1." in runc, "the runtime is " + runc)
        for program, *cases in OLD_CASES:
            told = tool(str(TOP / "test" / "e2e" / program), *cases)
            expect(all("\nok - %s (" % c in "\n" + told for c in cases), "not all cases ran: " + told)
    finally:
        tool(CLUSTER, "down")


if __name__ == "__main__":
    sys.exit(main())
