#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Persistence Node, what the controller tells and keeps: an image that is gone, a drain, edits of the root's persistence. That the
root itself survives is test_node_persistence.py's."""
import json
import sys

from harness import GROUP, SYSTEM, WAIT, case, eventually, expect, kubectl, main, node, shell

NODE = {"persistence": "Node"}
SCRIPT = "echo run >> /runs; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


def patch(ns, **rootfs):
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", json.dumps({"spec": {"rootfs": rootfs}}))


def runs(ns, count):
    eventually("%d runs on one root" % count, lambda: ns.exec("box", "cat", "/runs", check=False).stdout.split() == ["run"] * count)


def told(ns, kind, reason, timeout=WAIT):
    return eventually(lambda: "%s to say %s: %s" % (kind, reason, ns.story("box")), lambda: (
        ns.condition("box", kind).get("reason") == reason and ns.condition("box", kind)), timeout)


def images(*argv):
    return node("ctr", "-n", "k8s.io", "images", *argv)


@case
def image_that_is_gone_is_waited_for(ns):
    name = "sc.test/%s:1" % ns.name
    images("tag", "sc.test/debian:1", name)
    try:
        ns.start("box", shell(script=SCRIPT, image=name), rootfs=NODE)
        ns.running("box", False)
        images("rm", name)
        ns.kubectl("delete", "pod", "box-provider")
        ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"running":true}}')
        ready = told(ns, "Ready", "ImageUnavailable")
        expect(name in ready["message"], ready["message"])
        expect(ns.condition("box", "RootfsIntact")["status"] == "True", ns.story("box"))
        expect(ns.exec("box", "true", check=False).returncode != 0, "it runs without its image")
        images("tag", "sc.test/debian:1", name)
        ns.phase("box", "Running", 240)
        runs(ns, 2)
    finally:
        images("rm", name)


@case(alone=True)
def drained_node_keeps_the_root(ns):
    ns.start("box", shell(script=SCRIPT), rootfs=NODE)
    uid, name = ns.instance_uid("box"), ns.get("pod/box")["spec"]["nodeName"]
    try:
        kubectl("drain", name, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=%ds" % WAIT,
                "--pod-selector=" + GROUP + "/instance=box")
        told(ns, "Scheduled", "Unschedulable")
        expect(ns.condition("box", "RootfsIntact")["status"] == "True", ns.story("box"))
    finally:
        kubectl("uncordon", name)
    ns.phase("box", "Running")
    runs(ns, 2)
    expect(ns.instance_uid("box") == uid and not ns.events("box", "RootfsLost"), "a loss: " + ns.story("box"))


@case
def persistence_of_a_root_stays_until_the_next(ns):
    ns.start("box", shell(script=SCRIPT))
    uid = ns.instance_uid("box")
    patch(ns, persistence="Node")
    told(ns, "Honored", "PersistenceKept")
    ns.running("box", False)
    ns.running("box", True)
    runs(ns, 2)
    expect(ns.get("stci/box")["spec"]["persistence"] == "Provider", "the root changed its kind")
    patch(ns, resetToken="node")
    eventually("a new instance", lambda: (ns.get("stci/box", check=False) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid)
    ns.phase("box", "Running")
    runs(ns, 1)
    told(ns, "Honored", "Honored")
    expect(ns.get("stci/box")["spec"]["persistence"] == "Node", "the new root is of the old kind")
    done = ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"rootfs":{"persistence":"Provider","sizeLimit":"1Gi"}}}',
                      check=False)
    expect(done.returncode != 0 and "sizeLimit goes with persistence Node" in done.stderr, "a limit without use: " + done.stderr)
    second = ns.instance_uid("box")
    ns.delete("stc/box")
    for old in (uid, second):
        eventually("nothing left of " + old, lambda: old not in ns.node_traces([old]), 30)


def reclaim_image(image):
    """Lets the controller ask nodes with pods of that image; returns the one that it had."""
    spec = json.loads(kubectl("-n", SYSTEM, "get", "deployment/sc-controller", "-o", "json").stdout)["spec"]["template"]["spec"]
    args = spec["containers"][0]["args"]
    at = next(i for i, a in enumerate(args) if a.startswith("--reclaim-image="))
    kubectl("-n", SYSTEM, "patch", "deployment", "sc-controller", "--type=json", "-p", json.dumps(
        [{"op": "replace", "path": "/spec/template/spec/containers/0/args/%d" % at, "value": "--reclaim-image=" + image}]))
    kubectl("-n", SYSTEM, "rollout", "status", "deployment/sc-controller", "--timeout=120s", timeout=150)
    return args[at].split("=", 1)[1]


@case(alone=True)
def reclaim_pod_without_an_image(ns):
    """Our own image cannot be pulled on the node, which has answered before it tries: the deletion is done, and nothing left."""
    ns.start("box", shell(), rootfs={"persistence": "Node"})
    uid = ns.instance_uid("box")
    before = reclaim_image("127.0.0.1:1/none:1")
    try:
        ns.delete("stc/box")
        eventually(lambda: "nothing left: %s" % ns.node_traces([uid]), lambda: not ns.node_traces([uid]), 30)
        eventually("the reclaim pod gone", lambda: not kubectl("-n", SYSTEM, "get", "pods", "-l", GROUP + "/role=reclaim", "-o", "name").stdout)
    finally:
        reclaim_image(before)


if __name__ == "__main__":
    sys.exit(main())
