#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Persistence Provider: every way in which a provider can lose its root on a node that goes on. Each ends the same: RootfsIntact
False with a reason that is true, an event, the workload stopped, phase Failed, and nothing started on an empty root, until a person
or onLoss says so. What takes the whole node is in test_nodes.py and test_pressure.py."""
import io
import json
import subprocess
import sys
import tarfile

from harness import CLUSTER, GROUP, WAIT, case, eventually, expect, kubectl, main, node, shell

DATA = "echo data >> /data; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


def box(ns, **spec):
    """A running one with something to lose."""
    ns.start("box", shell(script=DATA), **spec)
    eventually("data", lambda: ns.exec("box", "cat", "/data", check=False).stdout == "data\n")
    return ns.get("pod/box-provider")


def container_of(pod):
    return pod["status"]["containerStatuses"][0]["containerID"].split("//")[1]


def kill_processes(container):
    node("sh", "-c", "grep -l %s /proc/[0-9]*/cgroup | cut -d/ -f3 | xargs -r kill -9" % container)


def lost(ns, reasons, words):
    """The end of every case: said, stopped, held."""
    eventually(lambda: "the loss to be told: " + ns.story("box"), lambda: ns.condition("box", "RootfsIntact").get("status") == "False")
    ns.phase("box", "Failed")
    told = ns.condition("box", "RootfsIntact")
    expect(told["reason"] in reasons.split("|") and words in told["message"], "%s: %s" % (told["reason"], told["message"]))
    expect(ns.condition("box", "Ready")["reason"] == "RootfsLost", "Ready: %s" % ns.condition("box", "Ready"))
    expect(ns.get("pod/box", check=False) is None, "the workload is still there")
    ns.event("box", "RootfsLost")
    uid = ns.instance_uid("box")
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"running":false}}')
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"running":true}}')
    generation = ns.get("stc/box")["metadata"]["generation"]
    eventually("the edit seen", lambda: ns.get("stc/box")["status"]["observedGeneration"] == generation)
    expect(ns.get("stc/box")["status"]["phase"] == "Failed" and ns.get("pod/box", check=False) is None, "started: " + ns.story("box"))
    expect(ns.instance_uid("box") == uid, "another instance")


def reset(ns):
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"rootfs":{"resetToken":"fresh"}}}')
    ns.phase("box", "Running")
    eventually("a fresh root", lambda: ns.exec("box", "cat", "/data", check=False).stdout == "data\n")


@case
def provider_killed(ns):
    kill_processes(container_of(box(ns)))
    lost(ns, "ProviderEnded", "Error")
    reset(ns)


@case
def provider_killed_for_lack_of_memory(ns):
    """A limit that is too small for what it has: the kernel ends it, and the runtime says so."""
    container = container_of(box(ns))
    script = """
        for f in $(grep -l %s /proc/[0-9]*/cgroup); do pid=${f#/proc/}; pid=${pid%%/cgroup}; break; done
        v1=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/$pid/cgroup)
        v2=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$pid/cgroup)
        # What it has is counted to whom it was first: a process in its cgroup takes more than there is.
        if [ -e $v1/memory.limit_in_bytes ]; then dir=$v1; else dir=$v2; fi
        sh -c "echo 0 > $dir/cgroup.procs; exec head -c 64M /dev/zero | tail" > /dev/null 2>&1
        grep -h . $dir/memory.oom_control $dir/memory.events 2>/dev/null
        kill -0 $pid 2>/dev/null && kill -9 $pid
        true"""
    node("bash", "-c", script % container)
    lost(ns, "ProviderEnded", "OOMKilled")


@case
def provider_deleted(ns):
    box(ns)
    ns.kubectl("delete", "pod", "box-provider", "--wait=false")
    lost(ns, "ProviderDeleted", "being deleted")
    reset(ns)


@case
def provider_force_deleted_while_stopped(ns):
    box(ns)
    ns.running("box", False)
    ns.kubectl("delete", "pod", "box-provider", "--force", "--grace-period=0")
    # The server may show the pod once more on its way.
    lost(ns, "ProviderVanished|ProviderDeleted", "that held the root filesystem is")


@case
def provider_evicted(ns):
    """By the Eviction API, as anything does that respects budgets."""
    box(ns)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "box-provider", "namespace": ns.name}}
    kubectl("create", "--raw", "/api/v1/namespaces/%s/pods/box-provider/eviction" % ns.name, "-f", "-", stdin=json.dumps(eviction))
    lost(ns, "ProviderDeleted", "evicted")


@case
def recreate_starts_fresh_and_says_what_was_lost(ns):
    provider = box(ns, rootfs={"onLoss": "Recreate"})
    old = ns.instance_uid("box")
    kill_processes(container_of(provider))
    eventually("a new instance", lambda: (ns.get("stci/box", check=False) or {"metadata": {"uid": old}})["metadata"]["uid"] != old)
    ns.phase("box", "Running")
    name = ns.event("box", "RootfsLost")[0]
    message = ns.get(name)["message"]
    expect("box-provider" in message and "has ended" in message, message)
    expect(ns.exec("box", "cat", "/data").stdout == "data\n", "it is not a fresh root")
    eventually("the old root gone", lambda: old not in ns.node_traces([old]), 30)


def saved(ns):
    """/data, by way of tar."""
    archive = subprocess.run([CLUSTER, "kubectl", "-n", ns.name, "exec", "box", "--", "tar", "c", "/data"], stdout=subprocess.PIPE,
                             timeout=WAIT, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as t:
        return t.extractfile("data").read()


@case(alone=True)
def drain_is_held_up_by_a_budget_and_let_go(ns):
    """deploy/samples/disruption-budget.yaml, and the way to empty a node that the README gives, from a drain that hangs."""
    box(ns)
    name = ns.get("pod/box")["spec"]["nodeName"]
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "box-root"},
              "spec": {"minAvailable": 1, "selector": {"matchLabels": {GROUP + "/instance": "box", GROUP + "/role": "provider"}}}}
    ns.apply(budget)
    eventually("the budget counts the provider", lambda: (ns.get("pdb/box-root").get("status") or {}).get("currentHealthy") == 1)
    drain = ["drain", name, "--delete-emptydir-data", "--ignore-daemonsets", "--pod-selector=" + GROUP + "/instance=box"]
    try:
        held = kubectl(*drain, "--timeout=15s", check=False)
        expect(held.returncode != 0 and "box-provider" in held.stderr + held.stdout and "disruption budget" in held.stderr,
               "not held up: %s" % held.stderr[-300:])
        expect(ns.condition("box", "RootfsIntact")["status"] == "True", "the root was lost to a drain that was held up")
        expect("deletionTimestamp" not in ns.get("pod/box-provider")["metadata"], "the provider is ending")
        kubectl("uncordon", name)
        ns.kubectl("wait", "stc/box", "--for=condition=Ready", "--timeout=%ds" % WAIT)
        eventually("its second run", lambda: ns.exec("box", "cat", "/data", check=False).stdout == "data\ndata\n")
        kubectl("cordon", name)
        expect(saved(ns) == b"data\ndata\n", "what was saved is not what both runs wrote")
        ns.delete("pdb/box-root")
        kubectl(*drain, "--timeout=%ds" % WAIT)
        lost(ns, "ProviderDeleted", "drained")
    finally:
        kubectl("uncordon", name)
    reset(ns)


if __name__ == "__main__":
    sys.exit(main())
