#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Persistence Node: the root stays on its node whatever becomes of its provider, its pods, the agent, the runtime and the node;
it is never used over another image, by another namespace, or a second time at once; deletion leaves nothing."""
import json
import sys

from harness import (CLUSTER, STATE, SYSTEM, case, eventually, expect, kubectl, main, node, run, sc_manifest, shell)
from hostile import DIR, pod, volume

NODE = {"persistence": "Node"}
TICK = "trap 'exit 0' TERM; echo run >> /runs; while :; do echo tick >> /ticks; sleep 0.2; done"


def start(ns, name="box", script=TICK, rootfs=NODE, **spec):
    ns.start(name, shell(script=script, **{k: spec.pop(k) for k in ("image",) if k in spec}), rootfs=rootfs, **spec)
    return ns.instance_uid(name)


def main_container(ns, name="box"):
    return ns.get("pod/" + name)["status"]["containerStatuses"][0]


def provider_of(ns, name="box"):
    return ns.get("pod/%s-provider" % name, check=False)


def ready(thing):
    return thing and not thing["metadata"].get("deletionTimestamp") and any(
        c["type"] == "Ready" and c["status"] == "True" for c in thing.get("status", {}).get("conditions", []))


def another_provider(ns, uid, name="box"):
    """Waits for a provider other than that one, ready."""
    def look():
        p = provider_of(ns, name)
        return ready(p) and p["metadata"]["uid"] != uid and p["metadata"]["uid"]
    return eventually(lambda: "another provider of %s: %s" % (name, ns.story(name)), look)


def intact(ns, name="box"):
    c = ns.condition(name, "RootfsIntact")
    expect(c.get("status") == "True", "RootfsIntact is %s: %s" % (c, ns.story(name)))


def runs(ns, count, name="box"):
    eventually("%d runs on the root" % count, lambda: ns.exec(name, "cat", "/runs", check=False).stdout.split() == ["run"] * count)


def unnoticed(ns, disturb, name="box"):
    """The workload goes on, in the same process, on the same root."""
    before = main_container(ns, name)
    ticks = int(eventually("ticks", lambda: ns.exec(name, "sh", "-c", "wc -l < /ticks", check=False).stdout))
    disturb()
    eventually("the ticks go on", lambda: int(ns.exec(name, "sh", "-c", "wc -l < /ticks", check=False).stdout or 0) > ticks + 3)
    after = main_container(ns, name)
    expect((after["containerID"], after["restartCount"]) == (before["containerID"], before["restartCount"]), "it was restarted")
    intact(ns, name)


def kill_pause(ns, name="box"):
    container = provider_of(ns, name)["status"]["containerStatuses"][0]["containerID"].split("//")[1]
    node("ctr", "-n", "k8s.io", "task", "kill", "-s", "SIGKILL", container)


def nothing_left(ns, uid):
    ns.delete("stc/box")
    eventually(lambda: "nothing left: %s" % ns.node_traces([uid]), lambda: not ns.node_traces([uid]), 30)
    trash = node("ls", STATE + "/trash").stdout
    expect(uid not in trash, "left in the trash: " + trash)


@case
def provider_ends_in_every_way(ns):
    uid = start(ns)
    ns.sh("box", "mkdir -p /a/b && echo kept > /a/b/file && rm /etc/passwd && chmod 2755 /a")
    for end in (lambda: kill_pause(ns), lambda: ns.kubectl("delete", "pod", "box-provider"),
                lambda: ns.kubectl("delete", "pod", "box-provider", "--force", "--grace-period=0")):
        old = provider_of(ns)["metadata"]["uid"]
        unnoticed(ns, lambda: (end(), another_provider(ns, old)))
    # Its container runs again with no word to the controller: it attaches to the same root.
    ns.exec("box", "sh", "-c", "kill 1", check=False)
    runs(ns, 2)
    ns.running("box", False)
    old = provider_of(ns)["metadata"]["uid"]
    ns.kubectl("delete", "pod", "box-provider")
    another_provider(ns, old)
    intact(ns)
    ns.running("box", True)
    runs(ns, 3)
    expect(ns.sh("box", "cat /a/b/file; stat -c %a /a; ls /etc/passwd 2>&1 | tail -1").split("\n")[:2] == ["kept", "2755"],
           "the root is another one")
    expect("No such" in ns.exec("box", "ls", "/etc/passwd", check=False).stderr, "what was deleted is back")
    nothing_left(ns, uid)


@case
def both_pods_evicted(ns):
    uid = start(ns)
    ns.sh("box", "echo kept > /file")
    old, consumer = provider_of(ns)["metadata"]["uid"], ns.get("pod/box")["metadata"]["uid"]
    for name in ("box-provider", "box"):
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": ns.name}}
        ns.kubectl("create", "--raw", "/api/v1/namespaces/%s/pods/%s/eviction" % (ns.name, name), "-f", "-",
                   stdin=json.dumps(eviction))
    another_provider(ns, old)
    eventually("another consumer", lambda: (ns.get("pod/box", check=False) or {}).get("metadata", {}).get("uid") not in
               (None, consumer))
    ns.phase("box", "Running")
    runs(ns, 2)
    expect(ns.sh("box", "cat /file") == "kept", "the root is another one")
    nothing_left(ns, uid)


@case
def two_containers_and_chroot(ns):
    template = {"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "one", "image": "sc.test/debian:1", "command": ["sh", "-c", TICK]},
        {"name": "two", "image": "sc.test/busybox:1", "command": ["sh", "-c", TICK]}]}
    for name, more in (("pair", {}), ("jail", {"attach": "Chroot"})):
        ns.apply(sc_manifest(name, template, rootfs=NODE, **more))
    for name in ("pair", "jail"):
        ns.phase(name, "Running")
        for c in ("one", "two"):
            ns.exec(name, "sh", "-c", "echo %s > /mine" % c, container=c)
        ns.running(name, False)
        old = provider_of(ns, name)["metadata"]["uid"]
        ns.kubectl("delete", "pod", name + "-provider")
        another_provider(ns, old, name)
    for name in ("pair", "jail"):
        ns.running(name, True)
        for c in ("one", "two"):
            got = eventually("the file of %s in %s" % (c, name), lambda: ns.exec(
                name, "cat", "/mine", container=c, check=False).stdout.strip())
            expect(got == c, "%s of %s has %r" % (c, name, got))


def tag(image):
    node("ctr", "-n", "k8s.io", "images", "tag", "--force", image, "sc.test/retag:1")


@case
def image_with_other_content_is_refused(ns):
    tag("sc.test/debian:1")
    start(ns, image="sc.test/retag:1")
    ns.sh("box", "echo kept > /file")
    ns.running("box", False)
    tag("sc.test/busybox:1")
    ns.kubectl("delete", "pod", "box-provider")
    eventually(lambda: "Ready says ImageChanged: " + ns.story("box"),
               lambda: ns.condition("box", "Ready").get("reason") == "ImageChanged")
    tag("sc.test/debian:1")
    eventually(lambda: "its own image again: " + ns.story("box"), lambda: ready(provider_of(ns)))
    ns.running("box", True)
    expect(ns.sh("box", "cat /file") == "kept", "the root is another one")
    # On purpose: the other image, and a root of its own.
    uid = ns.instance_uid("box")
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", json.dumps({"spec": {"rootfs": {"resetToken": "1"}}}))
    eventually(lambda: "a fresh root: " + ns.story("box"), lambda: ns.exec(
        "box", "sh", "-c", "test ! -e /file && cat /runs", check=False).stdout.split() == ["run"])
    eventually(lambda: "nothing of the old one: " + ns.node_traces([uid]), lambda: uid not in ns.node_traces([uid]))


@case
def restart_in_place_over_another_image(ns):
    """The provider is refused, so nothing pins the layers but a container of their own image."""
    name = "sc.test/%s:1" % ns.name

    def means(image):
        node("ctr", "-n", "k8s.io", "images", "tag", "--force", image, name)
    means("sc.test/debian:1")
    try:
        start(ns, image=name)
        runs(ns, 1)
        means("sc.test/busybox:1")
        ns.kubectl("delete", "pod", "box-provider")
        eventually(lambda: "RootfsIntact to say ImageChanged: " + ns.story("box"),
                   lambda: ns.condition("box", "RootfsIntact").get("reason") == "ImageChanged")
        expect(ns.exec("box", "true").returncode == 0, "the workload was stopped")
        ns.exec("box", "sh", "-c", "kill 1", check=False)

        def refused():
            c = main_container(ns)
            return any("ImageChanged" in (c.get(s) or {}).get("terminated", {}).get("message", "") for s in ("state", "lastState"))
        eventually(lambda: "the container's word on its image: %s" % main_container(ns), refused)
        means("sc.test/debian:1")
        ns.running("box", False)
        ns.running("box", True)
        runs(ns, 2)
    finally:
        node("ctr", "-n", "k8s.io", "images", "rm", name)


@case
def root_that_is_still_held(ns):
    """By a process that outlives its pod, in a mount namespace of its own: a container that cannot be ended."""
    uid = start(ns)
    ns.sh("box", "echo kept > /file")
    keep = "mount --bind %s/instances/%s/main/rootfs /tmp && exec sleep 600" % (STATE, uid)
    holder = node("sh", "-c", "unshare -m --propagation private sh -c '%s' >/dev/null 2>&1 & echo $!" % keep).stdout.strip()
    eventually("the holder", lambda: "sleep" in node("cat", "/proc/%s/comm" % holder).stdout)
    try:
        ns.running("box", False)
        ns.kubectl("delete", "pod", "box-provider", "--wait=true")
        ready = eventually(lambda: "Ready to say RootHeld: " + ns.story("box"), lambda: (
            ns.condition("box", "Ready").get("reason") == "RootHeld" and ns.condition("box", "Ready")))
        expect("process %s of the node" % holder in ready["message"], "who holds it is not named: " + ready["message"])
        intact(ns)
        ns.kubectl("patch", "stc", "box", "--type=merge", "-p", json.dumps({"spec": {"running": True}}))
        expect(ns.exec("box", "true", check=False).returncode != 0, "it runs on a root that is held")
    finally:
        node("kill", "-9", holder)
    ns.phase("box", "Running")
    expect(ns.sh("box", "cat /file") == "kept", "the root is another one")
    nothing_left(ns, uid)


@case
def missing_root_is_told(ns):
    uid = start(ns)
    ns.running("box", False)
    node("rm", "%s/instances/%s/main/root.json" % (STATE, uid))
    ns.kubectl("delete", "pod", "box-provider")
    c = eventually(lambda: "RootfsIntact=False: " + ns.story("box"), lambda: (
        ns.condition("box", "RootfsIntact").get("status") == "False" and ns.condition("box", "RootfsIntact")))
    expect(c["reason"] == "RootMissing", "the reason is %s" % c)
    expect(node("ls", "%s/instances/%s/main/upper" % (STATE, uid)).stdout, "the files of the root were taken")


@case
def other_namespace_gets_no_kept_root(ns):
    uid = start(ns, script="echo secret > /secret; " + TICK)
    runs(ns, 1)
    ns.running("box", False)
    other = ns.name + "-x"
    kubectl("create", "namespace", other)
    try:
        # Nothing of the instance is published for a moment: then the thief is the first there.
        thief = pod("box-provider", volume("provider", uid, "box", persistence="Node", root="kept"), [DIR + "/pause"])
        kubectl("-n", other, "apply", "-f", "-", stdin=json.dumps(thief))
        eventually("a refusal", lambda: kubectl("-n", other, "get", "events", "--field-selector",
                   "involvedObject.name=box-provider,reason=FailedMount", "-o", "name").stdout, 150)
        ns.kubectl("delete", "pod", "box-provider")

        def told():
            out = kubectl("-n", other, "get", "pod", "box-provider", "-o", "jsonpath={.status.containerStatuses[*]}").stdout
            return "belongs to another namespace" in out or ready(provider_of(ns))
        eventually("the thief's end, or the owner's provider", told)
    finally:
        kubectl("delete", "namespace", other, "--timeout=120s")
    ns.running("box", True)
    expect(ns.sh("box", "cat /secret") == "secret", "the root was taken")


def limit_is(ns, status, reason, name="box"):
    return eventually(lambda: "WithinSizeLimit %s, %s: %s" % (status, reason, ns.story(name)), lambda: (
        (ns.condition(name, "WithinSizeLimit").get("status"), ns.condition(name, "WithinSizeLimit").get("reason")) == (
            status, reason) and ns.condition(name, "WithinSizeLimit")["message"]))


@case
def size_limit_without_quota_is_watched(ns):
    uid = start(ns, rootfs=dict(NODE, sizeLimit="64Mi"))
    if not ns.condition("box", "WithinSizeLimit"):  # this node's file system holds it
        done = ns.exec("box", "sh", "-c", "dd if=/dev/zero of=/fill bs=1M count=100", check=False)
        expect(done.returncode != 0, "more than the limit was written")
        return
    expect("project quota" in limit_is(ns, "True", "SizeLimitWatched"), ns.story("box"))
    # The look after a minute sees it; another provider's root is looked at at once.
    ns.sh("box", "dd if=/dev/zero of=/fill bs=1M count=80 2>/dev/null; sync")
    unnoticed(ns, lambda: (kill_pause(ns), limit_is(ns, "False", "SizeLimitExceeded")))
    expect(ns.events("box", "SizeLimitExceeded"), "no event tells of it")
    another_provider(ns, "")
    ns.sh("box", "rm /fill; sync")
    unnoticed(ns, lambda: limit_is(ns, "True", "SizeLimitWatched"))  # by the clock, while it runs
    ns.running("box", False)
    ns.running("box", True)
    runs(ns, 2)
    nothing_left(ns, uid)


@case(alone=True)
def parts_restarted(ns):
    start(ns)
    for component in ("kubelet", "containerd"):
        unnoticed(ns, lambda: run([CLUSTER, "restart", component], timeout=180))

    def agent():
        kubectl("-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=sc-node-agent", "--wait=true")
        kubectl("-n", SYSTEM, "rollout", "status", "daemonset/sc-node-agent", "--timeout=90s")
    unnoticed(ns, agent)
    ns.running("box", False)
    ns.running("box", True)
    runs(ns, 2)


@case(alone=True)
def node_rebooted(ns):
    start(ns)
    start(ns, "rest")
    for name in ("box", "rest"):
        ns.sh(name, "echo kept > /file; sync")
    ns.running("rest", False)
    uids = [ns.instance_uid(name) for name in ("box", "rest")]
    run([CLUSTER, "down", "--keep-disk"], timeout=180)
    run([CLUSTER, "up"], timeout=300)
    kubectl("-n", SYSTEM, "rollout", "status", "daemonset/sc-node-agent", "--timeout=120s")
    eventually(lambda: "the workload again: " + ns.story("box"),
               lambda: ns.exec("box", "cat", "/file", check=False).stdout.strip() == "kept", 180)
    ns.phase("box", "Running", 120)
    eventually(lambda: "the stopped one's provider: " + ns.story("rest"), lambda: ready(provider_of(ns, "rest")), 120)
    ns.running("rest", True)
    expect(ns.sh("rest", "cat /file") == "kept", "the stopped one's root is another")
    for name in ("box", "rest"):
        intact(ns, name)
    expect(uids == [ns.instance_uid(name) for name in ("box", "rest")], "another instance")


if __name__ == "__main__":
    sys.exit(main())
