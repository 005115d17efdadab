#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node that falls silent, comes back, or never does. A second node is added for this program alone and taken away after it.
Both kinds of roots are in each case: those of persistence Provider, and those that the node keeps (KEPT).

The controller manager calls a silent node Unknown after 20 s here, instead of 50 s. Each run of a workload signs the same file
in its root ten times a second: two at once on one root would sign it in turns."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile

from harness import (CLUSTER, GROUP, STATE, SYSTEM, TOP, WAIT, case, eventually, expect, kubectl, main, node, run,
                     sc_manifest, shell)

OTHER = "node2"
HOSTNAME = "kubernetes.io/hostname"
SCRIPT = ("read id < /proc/sys/kernel/random/uuid; echo $id >> /runs; trap 'exit 0' TERM; "
          "while :; do echo $id >> /ticks; sleep 0.1; done")
KEPT = {"rootfs": {"persistence": "Node"}}
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
QUICK = [{"key": "node.kubernetes.io/" + key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
         for key in ("unreachable", "not-ready")]


def cluster(*argv, **env):
    done = subprocess.run([CLUSTER, *argv], env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=300)
    expect(done.returncode == 0, "tools/cluster %s: %s" % (" ".join(argv), done.stdout[-500:]))


def node_ready():
    done = kubectl("get", "node", OTHER, "-o", "json", check=False)
    if done.returncode != 0:
        return None
    return next(c["status"] for c in json.loads(done.stdout)["status"]["conditions"] if c["type"] == "Ready")


def await_node(status):
    eventually("node %s to be Ready=%s" % (OTHER, status), lambda: node_ready() == status)


def await_agent():
    """The agent of the second node serves: the node says that it has the driver."""
    def registered():
        done = kubectl("get", "csinode", OTHER, "-o", "jsonpath={.spec.drivers[*].name}", check=False)
        return GROUP in done.stdout
    eventually("the agent on " + OTHER, registered)
    kubectl("-n", SYSTEM, "rollout", "status", "daemonset/sc-node-agent", "--timeout=%ds" % WAIT)


def add_node():
    cluster("up", "--nodes", "2")
    archives = run([str(TOP / "tools" / "test-images")]).stdout.split()
    cluster("load", *archives, *map(str, sorted((TOP / "build" / "images").glob("*.tar"))))
    cluster("restart", "kube-controller-manager", STOPPABLE_NODE_GRACE="20s")
    await_node("True")
    await_agent()


def take_node_away():
    cluster("up")
    cluster("remove", OTHER)
    kubectl("delete", "node", OTHER, "--ignore-not-found")
    cluster("restart", "kube-controller-manager")


def pinned(**more):
    return shell(image="sc.test/busybox:1", script=SCRIPT, nodeSelector={HOSTNAME: OTHER}, **more)


def preferring(**more):
    term = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [OTHER]}]}
    return shell(image="sc.test/busybox:1", script=SCRIPT, affinity={"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}}, **more)


def start_all(ns, specs, **options):
    """Name -> uid of its instance, once all of them run on the second node."""
    for name, spec in specs.items():
        ns.apply(sc_manifest(name, spec, **options.get(name, {})))
    for name in specs:
        ns.phase(name, "Running")
        expect(ns.get("pod/" + name)["spec"]["nodeName"] == OTHER, name + " is not on the second node")
    return {name: ns.instance_uid(name) for name in specs}


def patch(ns, name, **spec):
    ns.kubectl("patch", "stc", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def lines(uid, what):
    """Of a file in a root on the second node, read there: the API server may not reach it."""
    path = "%s/instances/%s/main/rootfs/%s" % (STATE, uid, what)
    return node("cat", path, on=OTHER, check=False).stdout.count("\n")


def goes_on(uid, name):
    before = lines(uid, "ticks")
    eventually(name + "'s process on the silent node to go on", lambda: lines(uid, "ticks") > before + 2)


def reason(ns, name, wanted, timeout=WAIT):
    eventually(lambda: "Ready of %s to say %s: %s" % (name, wanted, ns.story(name)),
               lambda: ns.condition(name, "Ready").get("reason") == wanted, timeout)


def phase_is(ns, name, phase):
    """Soon: the controller may be about to write it."""
    said = lambda: ns.get("stc/" + name)["status"]["phase"] == phase
    eventually(lambda: "not %s: %s" % (phase, ns.story(name)), said)


def pod_identity(ns, name):
    pod = ns.get("pod/" + name)
    return pod["metadata"]["uid"], [(c["containerID"], c["restartCount"]) for c in pod["status"].get("containerStatuses", [])]


def one_at_a_time(ns, name, runs):
    """The root is the old one, and no two runs on it met."""
    eventually("%d runs of %s" % (runs, name), lambda: ns.exec(name, "wc", "-l", "/runs", check=False).stdout.split()[:1] == [str(runs)])
    signed = ns.exec(name, "uniq", "/ticks").stdout.split()
    expect(len(signed) == len(set(signed)), "two runs of %s at once on one root: %s" % (name, signed))


@contextlib.contextmanager
def all_values(ns, what, path):
    """Yields a set of (name, value at that path), which at the end holds all that there were meanwhile."""
    values = set()
    columns = "custom-columns=NAME:.metadata.name,VALUE:" + path
    with tempfile.TemporaryFile("w+") as out:
        watch = subprocess.Popen([CLUSTER, "kubectl", "-n", ns.name, "get", what, "--watch", "--no-headers", "-o", columns],
                                 stdout=out, stderr=subprocess.STDOUT)
        try:
            yield values
            expect(watch.poll() is None, "the watch of %s ended meanwhile" % what)
        finally:
            watch.kill()
            watch.wait()
        out.seek(0)
        values.update(tuple(line.split()) for line in out)


@contextlib.contextmanager
def kept(ns, *names):
    """Meanwhile no pod of these is bound to another node, not even one that is gone again, and no root of theirs is called
    lost; at the end each is on the root that it had."""
    before = [ns.instance_uid(name) for name in names]
    intact = '.status.conditions[?(@.type=="RootfsIntact")].status'
    with all_values(ns, "pods", ".spec.nodeName") as places, all_values(ns, "stc", intact) as words:
        yield
    for name in names:
        for pod in (name, name + "-provider"):
            there = {place for seen, place in places if seen == pod}
            expect(OTHER in there and not there - {OTHER, "<none>"}, "%s was on %s" % (pod, there))
        said = {word for seen, word in words if seen == name}
        expect("True" in said and "False" not in said, "RootfsIntact of %s was %s" % (name, said))
        root_is(ns, name, "True", "Kept")
    expect([ns.instance_uid(name) for name in names] == before, "another instance")


def root_is(ns, name, status, why):
    wanted = lambda: [ns.condition(name, "RootfsIntact").get(k) for k in ("status", "reason")] == [status, why]
    eventually(lambda: "RootfsIntact of %s to be %s, %s: %s" % (name, status, why, ns.story(name)), wanted)


def waits_for_its_node(ns, name):
    reason(ns, name, "NodeGone", 2 * WAIT)
    root_is(ns, name, "Unknown", "NodeGone")
    expect(ns.condition(name, "Scheduled")["reason"] == "NodeGone", ns.story(name))
    expect(not ns.get("pod/" + name)["spec"].get("nodeName"), name + " is placed without its root: " + ns.story(name))


def clean(uids):
    """Nothing of these instances is on the second node: no directory, mount or journal entry."""
    look = "cat /proc/self/mountinfo; find %s -xdev -mindepth 2 -maxdepth 3; cat %s/volumes/*.json" % (STATE, STATE)
    left = lambda: [line for line in node("sh", "-c", look, on=OTHER, check=False).stdout.splitlines() if any(u in line for u in uids)]
    eventually(lambda: "%s to be clean: %s" % (OTHER, left()), lambda: not left())


@case
def two_nodes_reach_each_other(ns):
    for name in ("node1", OTHER):
        ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"at": name}}, "spec": {
            "nodeName": name, "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "main", "image": "sc.test/busybox:1",
                "command": ["sh", "-c", "while :; do echo from %s | nc -l -p 80; done" % name]}]}})
    ns.kubectl("wait", "pod", "node1", OTHER, "--for=condition=Ready", "--timeout=%ds" % WAIT)
    ns.kubectl("expose", "pod", OTHER, "--port=80")
    there = ns.get("pod/" + OTHER)["status"]["podIP"]
    here = ns.get("pod/node1")["status"]["podIP"]
    service = ns.get("service/" + OTHER)["spec"]["clusterIP"]
    ask = lambda pod, address: ns.exec(pod, "sh", "-c", "nc -w 3 %s 80 < /dev/null" % address, check=False).stdout.strip()
    eventually("a pod on the other node to answer", lambda: ask("node1", there) == "from " + OTHER)
    eventually("and the other way", lambda: ask(OTHER, here) == "from node1")
    eventually("a Service of the other node's", lambda: ask("node1", service) == "from " + OTHER)


@case
def first_placement_moves_on(ns):
    """The provider does not fit where the consumer was put: that node is left out at the next attempt."""
    allocatable = json.loads(kubectl("get", "node", OTHER, "-o", "json").stdout)["status"]["allocatable"]["cpu"]
    filler = int(allocatable) * 1000 - 500
    ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "filler"}, "spec": {
        "nodeName": OTHER, "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "sc.test/busybox:1", "command": ["sleep", "1000"],
            "resources": {"requests": {"cpu": "%dm" % filler}}}]}})
    ns.kubectl("wait", "pod", "filler", "--for=condition=Ready", "--timeout=%ds" % WAIT)
    small = {"requests": {"cpu": "10m"}}
    large = {"requests": {"cpu": "700m"}, "limits": {"cpu": "700m"}}
    ns.apply(sc_manifest("box", preferring(resources=small), provider={"resources": large}))
    eventually("the first attempt on " + OTHER, lambda: (ns.get("pod/box", check=False) or {}).get("spec", {}).get("nodeName") == OTHER)
    ns.phase("box", "Running")
    expect(ns.get("stci/box")["status"]["excludedNodes"] == [OTHER], "excluded: %s" % ns.get("stci/box")["status"])
    for pod in ("box", "box-provider"):
        expect(ns.get("pod/" + pod)["spec"]["nodeName"] == "node1", pod + " is not on the node where both fit")
    clean([ns.instance_uid("box")])


def cut_and_heal(ns, uids):
    """Names that say what becomes of each. What is evicted has a pod that is deleted, which the node cannot confirm."""
    before = {name: pod_identity(ns, name) for name in uids}
    cluster("cut", OTHER)
    try:
        await_node("Unknown")
        patch(ns, "stopped", running=False)
        ns.kubectl("delete", "stc", "deleted", "--wait=false")
        for name in uids:
            reason(ns, name, "NodeNotResponding")
            goes_on(uids[name], name)
            expect(pod_identity(ns, name) == before[name], "another pod %s while the first runs" % name)
        phase_is(ns, "stays", "Running")
        for name in ("evicted", "evicted-kept", "stopped", "deleted"):
            expect(ns.get("pod/" + name)["metadata"].get("deletionTimestamp"), name + "'s pod is not being deleted")
            phase_is(ns, name, "Stopping")
    finally:
        cluster("heal", OTHER)
    await_node("True")
    reason(ns, "stays", "Running")
    expect(pod_identity(ns, "stays") == before["stays"], "the workload that was left alone did not just go on")
    for name in ("evicted", "evicted-kept"):
        ns.phase(name, "Running")
        one_at_a_time(ns, name, 2)


@case(alone=True)
def partition(ns):
    """The node is cut off from everything while its workloads run on; then the cables are back."""
    uids = start_all(ns, {"stays": pinned(), "evicted": pinned(tolerations=QUICK), "stopped": pinned(), "deleted": pinned(),
                          "evicted-kept": preferring(tolerations=QUICK)}, **{"evicted-kept": KEPT})
    with kept(ns, "evicted-kept"):
        cut_and_heal(ns, uids)
    ns.phase("stopped", "Stopped")
    ns.kubectl("wait", "stc/deleted", "--for=delete", "--timeout=%ds" % WAIT)
    one_at_a_time(ns, "stays", 1)
    ns.running("stopped", True)
    one_at_a_time(ns, "stopped", 2)
    clean([uids["deleted"]])


def dead_kubelet(ns, uids):
    before = pod_identity(ns, "stays")
    cluster("stop", "--node", OTHER, "kubelet")
    try:
        await_node("Unknown")
        reason(ns, "stays", "NodeNotResponding")
        patch(ns, "stop", running=False)
        for name in ("forced", "stop"):
            ns.kubectl("delete", "pod", name, "--force", "--grace-period=0")
        eventually("a new pod that waits for the node: " + ns.story("forced"),
                   lambda: ns.condition("forced", "Scheduled").get("status") == "False")
        reason(ns, "stop", "NodeNotResponding")
        phase_is(ns, "stop", "Stopping")
        for name in ("stays", "forced", "stop"):
            goes_on(uids[name], name)
    finally:
        cluster("start", "--node", OTHER, "kubelet")
    ns.phase("stop", "Stopped")
    ns.phase("forced", "Running")
    one_at_a_time(ns, "forced", 2)
    reason(ns, "stays", "Running")
    expect(pod_identity(ns, "stays") == before, "a container ended with its kubelet")


@case(alone=True)
def dead_kubelet_then_the_node_object_deleted(ns):
    """Containers run on without their kubelet: forced deletions start nothing beside them. Then the Node object is deleted under
    a node that runs: the roots are lost, said so, and nothing of them is left once the node is back. Those that the node keeps wait
    for it."""
    uids = start_all(ns, {"stays": pinned(), "forced": pinned(), "stop": pinned(), "moves": preferring()},
                     moves={"rootfs": {"onLoss": "Recreate"}})
    start_all(ns, {"kept": preferring()}, kept=KEPT)
    with kept(ns, "kept"):
        dead_kubelet(ns, uids)
        kubectl("delete", "node", OTHER)
        for name in ("stays", "forced", "stop"):
            ns.phase(name, "Failed", 120)
            expect(ns.condition(name, "RootfsIntact")["status"] == "False", "the loss is not said: " + ns.story(name))
        ns.phase("moves", "Running")
        expect(ns.events("moves", "RootfsLost"), "lost without an event")
        expect(ns.get("pod/moves")["spec"]["nodeName"] == "node1", "started on a node that is not there")
        one_at_a_time(ns, "moves", 1)
        waits_for_its_node(ns, "kept")
        cluster("restart", "--node", OTHER, "kubelet")
        await_node("True")
        await_agent()
        ns.phase("kept", "Running")
        one_at_a_time(ns, "kept", 2)
    clean(uids.values())
    patch(ns, "stays", rootfs={"resetToken": "1"})
    ns.phase("stays", "Running")
    one_at_a_time(ns, "stays", 1)


@case(alone=True)
def reboot_of_a_node(ns):
    """In persistence Provider a reboot loses the root: said, and started anew only where that was asked for. In persistence Node
    all is as before, by itself."""
    uids = start_all(ns, {"holds": pinned(), "anew": pinned()}, anew={"rootfs": {"onLoss": "Recreate"}})
    start_all(ns, {"runs": preferring(), "rests": preferring()}, runs=KEPT, rests=KEPT)
    ns.running("rests", False)
    with kept(ns, "runs", "rests"):
        cluster("reboot", OTHER)
        ns.phase("holds", "Failed")
        expect(ns.condition("holds", "RootfsIntact")["status"] == "False", "the loss is not said: " + ns.story("holds"))
        one_at_a_time(ns, "runs", 2)
        ns.phase("runs", "Running")
        ns.running("rests", True)
        one_at_a_time(ns, "rests", 2)
    ns.event("anew", "RootfsLost")
    eventually("a new instance", lambda: (ns.get("stci/anew", check=False) or {}).get("metadata", {}).get("uid") not in (None, uids["anew"]))
    ns.phase("anew", "Running")
    one_at_a_time(ns, "anew", 1)
    clean(uids.values())
    patch(ns, "holds", rootfs={"resetToken": "1"})
    ns.phase("holds", "Running")
    one_at_a_time(ns, "holds", 1)


def agent_of_the_node():
    return kubectl("-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=sc-node-agent", "--field-selector",
                   "spec.nodeName=" + OTHER, "-o", "name").stdout.strip()


def check_of_the_node():
    """The findings, and the holders of kept roots by the uid of their instance."""
    done = kubectl("-n", SYSTEM, "exec", agent_of_the_node(), "--", "sc-node-agent", "check", "--output=json", check=False)
    said = json.loads(done.stdout)
    return said["findings"], {k["path"].split("/")[-2]: k["holder"] for k in said["kept"]}


def given_up_root_goes_by_hand(uid):
    """As node-agent/README.md says it: it is nobody's, told of, not removed by itself."""
    eventually(lambda: "the given-up root among %s" % check_of_the_node()[1], lambda: check_of_the_node()[1].get(uid) == "")
    eventually(lambda: "no findings: %s" % check_of_the_node()[0], lambda: not check_of_the_node()[0])
    expect(uid not in kubectl("get", "stci", "-A", "-o", "jsonpath={.items[*].metadata.uid}").stdout.split(), "it is somebody's")
    root = "%s/instances/%s" % (STATE, uid)
    expect(node("cat", root + "/main/upper/runs", on=OTHER).stdout.count("\n") == 1, "it is not what it was")
    node("mv", root, "%s/trash/%s.1" % (STATE, uid), on=OTHER)
    kubectl("-n", SYSTEM, "delete", agent_of_the_node())
    await_agent()
    clean([uid])
    eventually("an empty trash", lambda: not node("ls", STATE + "/trash", on=OTHER).stdout)


@case(alone=True)
def node_gone_for_good(ns):
    """Without power and never coming back: everything waits and says for what; the administrator's word ends it. Roots that the node
    keeps are still waited for. Then it does come back."""
    start_all(ns, {"deleted": preferring(), "stopped": preferring(), "reset": preferring(), "waits": preferring()})
    uids = start_all(ns, {"kept": preferring(), "given-up": preferring()}, **{"kept": KEPT, "given-up": KEPT})
    with kept(ns, "kept"):
        cluster("power-off", OTHER)
        await_node("Unknown")
        declared_dead(ns)
        cluster("power-on", OTHER)
        kubectl("taint", "node", OTHER, OUT_OF_SERVICE + "-")
        ns.phase("kept", "Running")
        one_at_a_time(ns, "kept", 2)
    await_agent()
    given_up_root_goes_by_hand(uids["given-up"])
    one_at_a_time(ns, "given-up", 1)


def declared_dead(ns):
    ns.kubectl("delete", "stc", "deleted", "--wait=false")
    patch(ns, "stopped", running=False)
    for name in ("reset", "given-up"):
        patch(ns, name, rootfs={"resetToken": "1"})
    for name in ("deleted", "stopped", "reset", "waits", "kept", "given-up"):
        reason(ns, name, "NodeNotResponding")
    for name in ("deleted", "stopped", "reset", "given-up"):
        phase_is(ns, name, "Stopping")
    kubectl("taint", "node", OTHER, OUT_OF_SERVICE + "=nodeshutdown:NoExecute")
    ns.kubectl("wait", "stc/deleted", "--for=delete", "--timeout=%ds" % (2 * WAIT), timeout=3 * WAIT)
    ns.phase("stopped", "Stopped")
    for name in ("reset", "given-up"):
        ns.phase(name, "Running", 2 * WAIT)
        expect(ns.get("pod/" + name)["spec"]["nodeName"] == "node1", "started on a dead node")
        one_at_a_time(ns, name, 1)
    ns.phase("waits", "Failed", 2 * WAIT)
    expect(ns.condition("waits", "RootfsIntact").get("reason") == "NodeGone", "'waits', whose root is lost: " + ns.story("waits"))
    waits_for_its_node(ns, "kept")
    patch(ns, "waits", rootfs={"resetToken": "1"})
    ns.phase("waits", "Running", 2 * WAIT)
    one_at_a_time(ns, "waits", 1)


def give_up(signo, _frame):
    take_node_away()
    sys.exit(128 + signo)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, give_up)
    add_node()
    try:
        status = main()
    finally:
        take_node_away()
    sys.exit(status)
