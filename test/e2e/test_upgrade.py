#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agent and controller replaced, and back, under StoppableContainers that run and that do not; and the removal of the system."""
import contextlib
import json
import os
import re
import subprocess
import sys

from harness import (GROUP, STATE, SYSTEM, TOP, WAIT, case, eventually, expect, kubectl, main, node, sc_manifest,
                     shell)

IMAGE = GROUP + "/%s:%s"
NEXT = "next"
# Ends with 7 once /crash is there: the kubelet then starts it again in the same pod, with the execwrap that the pod was given.
COUNTER = ("rm -f /crash; echo run >> /runs; trap 'exit 0' TERM; "
           "while [ ! -e /crash ]; do echo tick >> /ticks; sleep 0.2; done; exit 7")
PARTS = (("daemonset", "sc-node-agent", "agent"), ("deployment", "sc-controller", "controller"))


def version():
    return (TOP / "deploy" / "image" / "VERSION").read_text().strip()


def set_version(tag, *, wait=True):
    for kind, name, container in PARTS:
        kubectl("-n", SYSTEM, "set", "image", "%s/%s" % (kind, name), "%s=%s" % (container, IMAGE % (name, tag)))
    if wait:
        rolled_out()


def rolled_out():
    for kind, name, _ in PARTS:
        kubectl("-n", SYSTEM, "rollout", "status", "%s/%s" % (kind, name), "--timeout=180s", timeout=200)


def running_images(app):
    pods = json.loads(kubectl("-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=" + app, "-o", "json").stdout)["items"]
    return {p["spec"]["containers"][0]["image"] for p in pods if "deletionTimestamp" not in p["metadata"]}


def identity(ns, name):
    status = ns.get("pod/" + name)["status"]["containerStatuses"][0]
    return status["containerID"], status["restartCount"]


def count(ns, name, what):
    return int(ns.exec(name, "sh", "-c", "wc -l < " + what, check=False).stdout or 0)


def goes_on(ns, name):
    before = count(ns, name, "/ticks")
    eventually(name + " to tick", lambda: count(ns, name, "/ticks") > before + 2)


@contextlib.contextmanager
def next_version():
    """The same programs under another tag, as the next release would be; afterwards the version of this checkout runs again."""
    for _, name, _ in PARTS:
        node("ctr", "-n", "k8s.io", "images", "tag", "--force", IMAGE % (name, version()), IMAGE % (name, NEXT))
    try:
        yield
    finally:
        set_version(version())
        for _, name, _ in PARTS:
            node("ctr", "-n", "k8s.io", "images", "rm", IMAGE % (name, NEXT), check=False)


def replaced(ns, tag, started_before):
    """The rollout, with a start that falls into it."""
    unnoticed = {name: identity(ns, name) for name in ("runs", "chroot")}
    set_version(tag, wait=False)
    ns.kubectl("patch", "stc", "sleeps", "--type=merge", "-p", '{"spec":{"running":true}}')
    rolled_out()
    for _, name, _ in PARTS:
        expect(running_images(name) == {IMAGE % (name, tag)}, "%s runs %s" % (name, running_images(name)))
    ns.phase("sleeps", "Running")
    expect(count(ns, "sleeps", "/runs") == started_before + 1, "its root is not the old one, or it ran twice")
    for name, before in unnoticed.items():
        goes_on(ns, name)
        expect(identity(ns, name) == before, "the container of %s noticed" % name)
    ns.running("sleeps", False)


def crash(ns, name, runs):
    """A container that starts again in its pod attaches by the execwrap of the agent that published its volume."""
    ns.exec(name, "touch", "/crash")
    eventually("%d runs of %s" % (runs, name), lambda: count(ns, name, "/runs") == runs)
    ns.phase(name, "Running")


@case(alone=True)
def there_and_back_under_load(ns):
    ns.apply(sc_manifest("chroot", shell(image="sc.test/busybox:1", script=COUNTER), attach="Chroot"),
             sc_manifest("sleeps", shell(image="sc.test/busybox:1", script=COUNTER)))
    ns.start("runs", shell(image="sc.test/busybox:1", script=COUNTER))
    ns.phase("chroot", "Running")
    ns.phase("sleeps", "Running")
    ns.running("sleeps", False)
    with next_version():
        replaced(ns, NEXT, 1)
        crash(ns, "runs", 2)
        replaced(ns, version(), 2)
    crash(ns, "runs", 3)
    ns.running("runs", False)
    ns.running("runs", True)
    expect(count(ns, "runs", "/runs") == 4, "its root is not the old one")


@case(alone=True)
def crds_applied_again(ns):
    ns.start("box", shell(image="sc.test/busybox:1", script=COUNTER))
    before = identity(ns, "box"), ns.get("stc/box")["spec"], ns.instance_uid("box")
    for _ in range(2):
        kubectl("apply", "--server-side", "-k", str(TOP / "deploy" / "crds"))
    goes_on(ns, "box")
    expect((identity(ns, "box"), ns.get("stc/box")["spec"], ns.instance_uid("box")) == before, "the objects changed")
    ns.running("box", False)
    ns.running("box", True)


def restart_agent():
    kubectl("-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=sc-node-agent", "--wait=true")
    kubectl("-n", SYSTEM, "rollout", "status", "daemonset/sc-node-agent", "--timeout=120s")


def journal_of(pod_name, namespace):
    """The journal file of a pod's volume."""
    script = "grep -l '\"namespace\":\"%s\"' $(grep -l '\"name\":\"%s\"' %s/volumes/*.json)" % (namespace, pod_name, STATE)
    return node("sh", "-c", script).stdout.strip()


@case(alone=True)
def journal_of_a_newer_agent(ns):
    """What a newer agent wrote and this one cannot read stays where it is, with all that belongs to it; the rest is served. The
    newer agent, back again, goes on with it."""
    ns.start("box", shell(image="sc.test/busybox:1", script=COUNTER))
    ns.running("box", False)
    path, uid = journal_of("box-provider", ns.name), ns.instance_uid("box")
    original = node("cat", path).stdout
    newer = original.replace('"version":1', '"version":99')
    expect(newer != original and "\n" not in path, "no journal of version 1 at %r" % path)
    node("sh", "-c", "cat > " + path, stdin=newer)
    try:
        restart_agent()
        expect(node("cat", path, check=False).stdout == newer, "the file of a newer agent was touched")
        left = node("ls", "%s/instances/%s/main/rootfs" % (STATE, uid), check=False).stdout
        expect("runs" in left, "the root of a newer agent's volume was taken away: %r" % left)
        ns.start("other", shell(image="sc.test/busybox:1", script=COUNTER))
    finally:
        node("sh", "-c", "cat > " + path, stdin=original)
        restart_agent()
    ns.running("box", True)
    expect(count(ns, "box", "/runs") == 2, "its root is not the old one")


def container_mounts(pid):
    """Where that process has something mounted in the runtime's directory: roots and /dev/shm of containers."""
    points = [line.split()[4] for line in node("cat", "/proc/%s/mountinfo" % pid).stdout.splitlines()]
    return {p for p in points if p.startswith("/run/containerd/")}


@case(alone=True)
def agent_holds_no_mount_of_a_container_that_is_gone(ns):
    """What was mounted when the agent started is in its mount namespace too; it goes there with the container, or what the
    container had written would take space until the agent ends."""
    ns.start("box", shell(image="sc.test/busybox:1", script=COUNTER))
    container = identity(ns, "box")[0].split("//")[1]
    restart_agent()
    agent = node("pgrep", "-o", "-x", "sc-node-agent").stdout.strip()
    own = re.search(r"[0-9a-f]{64}", node("cat", "/proc/%s/cgroup" % agent).stdout).group()

    def alone():
        """Only the agent has it. Within its own root runc had mounted /proc and the like before the directory came there."""
        return {p for p in container_mounts(agent) - container_mounts(1) if own not in p}
    expect(any(container in p for p in container_mounts(agent)), "the agent never had it: %s" % container_mounts(agent))
    ns.delete("stc/box")
    eventually(lambda: "only what the node has too: %s" % alone(), lambda: not alone(), 30)


def deploy(what):
    env = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
    return subprocess.run([str(TOP / "tools" / "deploy"), what], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=400)


def installed():
    return kubectl("get", "crd", "stoppablecontainers." + GROUP, check=False).returncode == 0 and \
        kubectl("get", "namespace", SYSTEM, check=False).returncode == 0


@case(alone=True)
def agent_removed_first(ns):
    """A person removes the agent while there are instances: what runs goes on, a deletion waits and says so, and is done when the
    agent is back."""
    ns.start("box", shell(image="sc.test/busybox:1", script=COUNTER))
    uid = ns.instance_uid("box")
    agent = json.loads(kubectl("-n", SYSTEM, "get", "daemonset/sc-node-agent", "-o", "json").stdout)
    kubectl("-n", SYSTEM, "delete", "daemonset/sc-node-agent", "--timeout=%ds" % WAIT)
    try:
        goes_on(ns, "box")
        ns.kubectl("delete", "stc/box", "--wait=false")
        eventually("its pod to be ending", lambda: (ns.get("pod/box") or {})["metadata"].get("deletionTimestamp"))
        eventually("Ready to say what the deletion waits for: " + ns.story("box"),
                   lambda: ns.condition("box", "Ready").get("reason") == "NodeNotResponding")
        expect(ns.node_traces([uid]), "nothing is left, though nobody was there to remove it")
    finally:
        agent["metadata"] = {k: agent["metadata"][k] for k in ("name", "namespace", "labels")}
        kubectl("apply", "-f", "-", stdin=json.dumps({k: agent[k] for k in ("apiVersion", "kind", "metadata", "spec")}))
        kubectl("-n", SYSTEM, "rollout", "status", "daemonset/sc-node-agent", "--timeout=120s")
    ns.kubectl("wait", "stc/box", "--for=delete", "--timeout=180s", timeout=200)
    eventually("node clean", lambda: not ns.node_traces([uid]), 30)


def refused(ns):
    ns.apply(sc_manifest("box", shell(image="sc.test/busybox:1"), running=False))
    done = deploy("delete")
    expect(done.returncode != 0 and "stoppablecontainer.stoppablecontainer.xtlsoft.top/box" in done.stdout,
           "not refused for a StoppableContainer: %s" % done.stdout)
    ns.delete("stc/box")
    ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "foreign"}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "sc.test/busybox:1"}],
        "volumes": [{"name": "v", "csi": {"driver": GROUP, "readOnly": True}}]}})
    done = deploy("delete")
    expect(done.returncode != 0 and "pod/foreign in namespace " + ns.name in done.stdout,
           "not refused for a pod with our volume: %s" % done.stdout)
    expect(installed(), "refused, and yet something was removed")
    ns.delete("pod/foreign")


def complete():
    done = deploy("delete")
    expect(done.returncode == 0 and not installed(), "not removed: %s" % done.stdout[-500:])
    names = kubectl("get", "clusterroles,clusterrolebindings,csidrivers", "-o", "name").stdout
    expect("stoppablecontainer" not in names, "left: %s" % names)
    expect(GROUP not in kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.labels}").stdout, "a label is left on a node")
    left = node("find", STATE, "-mindepth", "2", check=False).stdout
    expect(not left, "left on the node: %s" % left)
    sockets = node("sh", "-c", "ls /var/lib/kubelet/plugins_registry | grep stoppable; true").stdout
    expect(not sockets, "the driver is still registered: %s" % sockets)


@case(alone=True)
def undeploy(ns):
    """Refused while something would be left behind, and complete when nothing would."""
    try:
        refused(ns)
        complete()
    finally:
        again = deploy("apply")
    expect(again.returncode == 0, "cannot be installed again: %s" % again.stdout[-500:])
    ns.start("box", shell(image="sc.test/busybox:1", script=COUNTER))


if __name__ == "__main__":
    sys.exit(main())
