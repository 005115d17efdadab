#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node that runs out of disk or memory: the workload goes, its root stays; the provider is the last that the kubelet gives up.

On a cluster of its own, made for this program and removed after it: a node with a small disk, on which the kubelet's thresholds are
moved. What the kubelet does under DiskPressure includes the removal of images that nothing uses, so that case comes last."""
import json
import os
import pathlib
import signal
import subprocess
import sys

STATE_DIR = os.environ.get("STOPPABLE_STATE", "/var/lib/stoppablecontainer-cluster") + "-small"
os.environ["STOPPABLE_STATE"] = STATE_DIR
from harness import CLUSTER, TOP, case, eventually, expect, kubectl, main, node, run, shell  # noqa: E402

MIB = 1 << 20
CONFIG = pathlib.Path(STATE_DIR) / "nodes" / "node1" / "cfg" / "kubelet.yaml"
DATA = "echo run >> /runs; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


def greedy(act):
    """Takes much once, when the test says so."""
    return "[ -e /once ] || (until [ -e /go ]; do sleep 0.2; done; touch /once; %s) & %s" % (act, DATA)


def go(ns):
    """A kubelet that has just begun may not know its pods yet, though its node is Ready."""
    eventually("the sign", lambda: ns.exec("box", "touch", "/go", check=False).returncode == 0)


def thresholds(**signals):
    """The kubelet evicts by these from now on, and forgets a pressure 10 s after it is over."""
    said = {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.inodesFree": "0%"}
    said.update({name.replace("_", "."): value for name, value in signals.items()})
    lines = [line for line in CONFIG.read_text().splitlines() if not line.startswith("eviction")]
    CONFIG.write_text("\n".join(lines + ["evictionHard: " + json.dumps(said), "evictionPressureTransitionPeriod: 10s", ""]))
    run([CLUSTER, "restart", "kubelet"], timeout=180)
    kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=120s")


def available(what):
    summary = json.loads(kubectl("get", "--raw", "/api/v1/nodes/node1/proxy/stats/summary").stdout)
    return summary["node"][what]["availableBytes"]


def pressure(kind):
    conditions = json.loads(kubectl("get", "node", "node1", "-o", "json").stdout)["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == kind) == "True"


def evicted(ns):
    """Names of the pods of which the kubelet said that it evicts them."""
    events = ns.kubectl("get", "events", "--field-selector", "reason=Evicted", "-o", "json").stdout
    return {e["involvedObject"]["name"] for e in json.loads(events)["items"]}


def consumer_goes_and_comes_back(ns, kind, root):
    """root: the uid of the provider, and a checksum of what lies in its root."""
    eventually(lambda: "an eviction for %s: %s" % (kind, ns.story("box")), lambda: "box" in evicted(ns), 180)
    eventually(kind + " over", lambda: not pressure(kind), 180)
    ns.phase("box", "Running", 240)
    eventually("the second run", lambda: ns.exec("box", "cat", "/runs", check=False).stdout == "run\nrun\n")
    expect(evicted(ns) == {"box"}, "evicted: %s" % evicted(ns))
    provider = ns.get("pod/box-provider")
    expect(provider["metadata"]["uid"] == root[0] and provider["status"]["containerStatuses"][0]["restartCount"] == 0, "another provider")
    expect(ns.sh("box", "md5sum /big") == root[1], "the root is not what it was")
    expect(ns.condition("box", "RootfsIntact")["status"] == "True", ns.story("box"))
    expect(not ns.events("box", "RootfsLost"), "a loss was told")


def identity(ns):
    return ns.get("pod/box-provider")["metadata"]["uid"], ns.sh("box", "md5sum /big")


@case(alone=True)
def memory_pressure_takes_the_consumer(ns):
    ns.start("box", shell(script=greedy("(head -c 2000M /dev/zero; sleep 600) | tail > /dev/null")))
    ns.sh("box", "echo big > /big")
    root = identity(ns)
    thresholds(memory_available="%dMi" % (available("memory") // MIB - 1000))
    go(ns)
    consumer_goes_and_comes_back(ns, "MemoryPressure", root)


@case(alone=True)
def full_disk_is_told_to_the_writer_and_keeps_the_root(ns):
    """Filled by somebody else. Nothing starts meanwhile, and nothing is lost."""
    names = {"box": "Provider", "kept": "Node"}
    thresholds()
    for name, persistence in names.items():
        ns.start(name, shell(script=DATA), rootfs={"persistence": persistence})
        ns.sh(name, "echo data > /data")
    uid = ns.get("pod/box-provider")["metadata"]["uid"]
    try:
        node("sh", "-c", "cat /dev/zero > /var/fill 2> /dev/null; [ $(df -k --output=avail /var | tail -1) -lt 1024 ]")
        for name in names:
            done = ns.exec(name, "dd", "if=/dev/zero", "of=/more", "bs=1M", "count=64", check=False)
            expect(done.returncode != 0 and "No space left" in done.stderr, "%s was not told: %r" % (name, done.stderr))
            expect(ns.sh(name, "cat /data") == "data", "what is there cannot be read")
            ns.running(name, False)
            expect(ns.condition(name, "RootfsIntact")["status"] == "True", ns.story(name))
            ns.kubectl("patch", "stc", name, "--type=merge", "-p", '{"spec":{"running":true}}')
            eventually("a pod for the start", lambda: ns.get("pod/" + name, check=False))
    finally:
        node("rm", "-f", "/var/fill")
    for name in names:
        ns.phase(name, "Running", 240)
        # A first try may have met the last moment without room.
        eventually("the root of %s to be what it was" % name, lambda: ns.exec(
            name, "sh", "-c", "cat /data /runs", check=False).stdout.split() == ["data", "run", "run"])
        expect(ns.condition(name, "RootfsIntact")["status"] == "True", ns.story(name))
    expect(ns.get("pod/box-provider")["metadata"]["uid"] == uid, "another provider")


@case(alone=True)
def disk_pressure_takes_the_consumer(ns):
    """The root takes more than the consumer's volume does, so that by use alone the provider would be first."""
    spec = shell(script=greedy("head -c 1400M /dev/zero > /scratch/fill"))
    ns.start("box", {"terminationGracePeriodSeconds": spec.pop("terminationGracePeriodSeconds"),
                     "containers": [{"name": "main", **spec, "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}],
                     "volumes": [{"name": "scratch", "emptyDir": {}}]})
    ns.sh("box", "head -c 1600M /dev/zero > /big")
    root = identity(ns)
    thresholds(nodefs_available="1Gi", imagefs_available="1Gi")
    expect(not pressure("DiskPressure"), "there is no room to begin with")
    go(ns)
    consumer_goes_and_comes_back(ns, "DiskPressure", root)


def make_cluster():
    run([CLUSTER, "down"], timeout=180)
    os.environ["STOPPABLE_NODE_DISK"] = "4G"
    run([str(TOP / "tools" / "ready"), "system"], timeout=600)


def give_up(signo, _frame):
    """The runner's SIGTERM must not leave a cluster behind."""
    sys.exit(128 + signo)


if __name__ == "__main__":
    if subprocess.run(["losetup", "-f"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        print("skip - pressure: this machine has no loop device for a small disk", flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, give_up)
    code = 1
    try:
        make_cluster()
        code = main()
    except Exception as e:  # a program that says nothing has failed, but says not why
        print("not ok - a cluster with a small disk: %s" % str(e).replace("\n", " / "), flush=True)
    finally:
        subprocess.run([CLUSTER, "down"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sys.exit(code)
