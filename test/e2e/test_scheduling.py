#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The template's wishes where it runs, and what is said, in the scheduler's words, while it cannot."""
import contextlib
import json
import sys

from harness import case, eventually, expect, kubectl, main, sc_manifest, shell

NODE = "node1"


def scheduled(ns, name, status, pattern):
    """Waits for the condition Scheduled with that status and that text in it; Ready says the same while it is not True."""
    def look():
        c = ns.condition(name, "Scheduled")
        return c.get("status") == status and pattern in c.get("message", "") and c["message"]
    return eventually(lambda: "Scheduled %s with %r: %s" % (status, pattern, ns.story(name)), look)


def want(ns, name, running):
    ns.kubectl("patch", "stc", name, "--type=merge", "-p", json.dumps({"spec": {"running": running}}))


def same_root(ns, name, text):
    expect(ns.sh(name, "cat /mine") == text, "not the root of the first start")


def capacity(resource, amount):
    """An extended resource of the node, which tests may give out and take away; None removes it."""
    path = "/status/capacity/" + resource.replace("/", "~1")
    patch = [{"op": "add", "path": path, "value": str(amount)}] if amount is not None else [{"op": "remove", "path": path}]
    kubectl("patch", "node", NODE, "--subresource=status", "--type=json", "-p", json.dumps(patch))


@contextlib.contextmanager
def resource_of(ns, amount):
    name = "sc.test/" + ns.name
    capacity(name, amount)
    try:
        yield name
    finally:
        capacity(name, None)


def using(resource, amount=1):
    return {"requests": {resource: str(amount)}, "limits": {resource: str(amount)}}


@case
def node_that_filled_up_while_it_was_stopped(ns):
    with resource_of(ns, 1) as resource:
        ns.start("box", shell(resources=using(resource)))
        scheduled(ns, "box", "True", NODE)
        ns.sh("box", "echo kept > /mine")
        ns.running("box", False)
        scheduled(ns, "box", "Unknown", "nothing is to be placed")
        ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "filler"}, "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [{
                "name": "a", "image": "sc.test/busybox:1", "command": ["sleep", "100000"], "resources": using(resource)}]}})
        ns.kubectl("wait", "pod/filler", "--for=condition=Ready", "--timeout=60s")
        want(ns, "box", True)
        message = scheduled(ns, "box", "False", "Insufficient " + resource)
        expect(NODE + " only, which has its root" in message, "not said that the root ties it to the node: " + message)
        expect(ns.condition("box", "Ready")["message"] == message, "Ready says another thing")
        want(ns, "box", False)
        ns.phase("box", "Stopped")
        scheduled(ns, "box", "Unknown", "nothing is to be placed")
        want(ns, "box", True)
        scheduled(ns, "box", "False", "Insufficient " + resource)
        ns.delete("pod/filler")
        ns.phase("box", "Running")
        scheduled(ns, "box", "True", NODE)
        same_root(ns, "box", "kept")


@case
def provider_that_does_not_fit_where_the_consumer_is(ns):
    """On the only node there is: it is said, the node is tried again, and it starts when there is room."""
    resource = "sc.test/" + ns.name
    ns.apply(sc_manifest("box", shell(), provider={"resources": using(resource)}))
    scheduled(ns, "box", "False", "pod box-provider does not fit on node %s" % NODE)
    scheduled(ns, "box", "False", "not on nodes where its provider pod did not fit (%s)" % NODE)
    scheduled(ns, "box", "False", "nor did it on the others")
    with resource_of(ns, 1):
        ns.phase("box", "Running")
        scheduled(ns, "box", "True", NODE)


@case
def scheduling_gates(ns):
    ns.apply(sc_manifest("box", shell(schedulingGates=[{"name": "sc.test/wait"}])))
    for turn in (1, 2):
        scheduled(ns, "box", "False", "gates")
        expect(ns.condition("box", "Scheduled")["reason"] == "SchedulingGated", "reason")
        expect(turn == 2 or ns.get("pod/box-provider", check=False) is None, "a provider for a pod without a node")
        ns.kubectl("patch", "pod", "box", "--type=json", "-p", '[{"op":"remove","path":"/spec/schedulingGates"}]')
        ns.phase("box", "Running")
        if turn == 1:
            ns.running("box", False)
            want(ns, "box", True)


@case
def scheduler_that_is_not_there(ns):
    ns.apply(sc_manifest("box", shell(schedulerName="nobody")))
    scheduled(ns, "box", "Unknown", "scheduler nobody")
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"template":{"spec":{"schedulerName":null}}}}')
    ns.phase("box", "Running")


@case
def priority_is_the_consumers_and_the_providers_is_higher(ns):
    name = ns.name
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 12345,
                                                  "metadata": {"name": name}}))
    try:
        ns.start("box", shell(priorityClassName=name))
        for pod, priority in (("box", 12345), ("box-provider", 1000000000)):
            expect(ns.get("pod/" + pod)["spec"]["priority"] == priority, "priority of " + pod)
    finally:
        kubectl("delete", "priorityclass", name)
    ns.running("box", False)
    want(ns, "box", True)
    ns.ready_message("box", "PriorityClass with name %s" % name)


@case
def affinity_to_pods_and_spread(ns):
    def wishes(**affinity):
        return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}]}
            for kind, app in affinity.items()}}

    def labelled(name, app, **spec):
        manifest = sc_manifest(name, shell(image="sc.test/busybox:1", **spec))
        manifest["spec"]["template"]["metadata"] = {"labels": {"app": app}}
        ns.apply(manifest)
    # near waits for x, y keeps away from x; y keeps away from itself too, also at its second start
    labelled("near", "n", **wishes(podAffinity="x"))
    scheduled(ns, "near", "False", "didn't match pod affinity rules")
    labelled("x", "x", topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable":
                                                   "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}])
    ns.phase("x", "Running")
    ns.phase("near", "Running")
    labelled("y", "y", **wishes(podAntiAffinity="x"))
    scheduled(ns, "y", "False", "didn't match pod anti-affinity rules")
    ns.running("x", False)
    ns.phase("y", "Running")
    labelled("self", "s", **wishes(podAntiAffinity="s"))
    ns.phase("self", "Running")
    ns.running("self", False)
    ns.running("self", True)


@case
def node_affinity_and_node_name(ns):
    ns.apply(sc_manifest("named", shell(nodeName=NODE)), sc_manifest("away", shell(nodeName="node-of-nowhere")))
    terms = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "sc.test/" + ns.name, "operator": "Exists"}]},
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}]}}}}
    ns.start("terms", shell(**terms))
    ns.phase("named", "Running")
    scheduled(ns, "away", "False", "0/1 nodes are available")
    ns.running("terms", False)
    ns.running("terms", True)
    # The edit that takes the node away under the root: said, and healed by the edit back.
    ns.running("terms", False)
    ns.kubectl("patch", "stc", "terms", "--type=merge", "-p", '{"spec":{"template":{"spec":{"nodeSelector":{"sc.test/no":"x"}}}}}')
    want(ns, "terms", True)
    scheduled(ns, "terms", "False", "node affinity/selector")
    ns.kubectl("patch", "stc", "terms", "--type=merge", "-p", '{"spec":{"template":{"spec":{"nodeSelector":null}}}}')
    ns.phase("terms", "Running")


@case
def resource_claims(ns):
    claim = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "none"}, "spec": {}}
    ns.apply(sc_manifest("box", shell(resourceClaims=[{"name": "c", "resourceClaimName": "none"}])))
    scheduled(ns, "box", "Unknown", "resource claims must exist")
    ns.apply(claim)
    for turn in (1, 2):
        ns.phase("box", "Running")
        owners = ns.get("resourceclaim/none")["status"]["reservedFor"]
        expect([o["name"] for o in owners] == ["box"], "the claim is reserved for %r" % owners)
        if turn == 1:
            ns.running("box", False)
            want(ns, "box", True)


@case(alone=True)
def cordoned_node(ns):
    ns.start("box", shell())
    ns.sh("box", "echo kept > /mine")
    ns.running("box", False)
    kubectl("cordon", NODE)
    try:
        want(ns, "box", True)
        scheduled(ns, "box", "False", "unschedulable")
        ns.apply(sc_manifest("other", shell(image="sc.test/busybox:1")))
        scheduled(ns, "other", "False", "unschedulable")
        expect(ns.get("pod/box-provider")["status"]["phase"] == "Running", "the root's pod did not survive a cordon")
    finally:
        kubectl("uncordon", NODE)
    ns.phase("box", "Running")
    same_root(ns, "box", "kept")
    ns.phase("other", "Running")


@case(alone=True)
def tainted_node(ns):
    key = "sc.test/only"
    toleration = {"key": key, "operator": "Exists", "effect": "NoSchedule"}
    kubectl("taint", "node", NODE, key + "=x:NoSchedule")
    try:
        ns.start("box", shell(tolerations=[toleration]))
        ns.apply(sc_manifest("other", shell(image="sc.test/busybox:1")))
        scheduled(ns, "other", "False", "taint")
        ns.running("box", False)
        ns.running("box", True)
    finally:
        kubectl("taint", "node", NODE, key + "-")
    ns.phase("other", "Running")


if __name__ == "__main__":
    sys.exit(main())
