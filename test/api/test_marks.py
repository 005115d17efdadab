#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pods whose labels and owner somebody takes away: they run on, hold a root and go on to be known, whether the controller sees
it happen or starts later. The API server is the cluster's own, the node a fake one.

usage: test_marks.py [CASE...]"""
import os
import subprocess
import sys

from fake_node import Box, FakeNode
from kube import GROUP, PODS, Api, Replica, case, eventually, expect, make_namespace, play, quiet, writes

RUN = "marks-%d" % os.getpid()
MARKS = [GROUP + "/" + name for name in ("managed-by", "role", "instance")]
# What is taken away, each alone and all at once.
THEFTS = ({"labels": {MARKS[0]: None}}, {"labels": {MARKS[1]: None, MARKS[2]: None}}, {"ownerReferences": None},
          {"labels": None, "ownerReferences": None})


class World:
    def __init__(self):
        self.api = Api()
        self.node = FakeNode(self.api, RUN)
        self.replica = Replica(RUN, self.api.kubeconfig, "--leader-elect", "--lease-duration=5", "--lease-renew-deadline=3",
                               "--lease-retry-period=1")
        self.namespaces = []

    def up(self):
        self.node.up()
        self.lead()

    def lead(self):
        self.replica.start()
        eventually("the controller to lead", self.replica.leads)

    def down(self):
        self.replica.kill()
        for name in self.namespaces:
            self.api.call("DELETE", "/api/v1/namespaces/" + name)
        self.node.down()

    def box(self, name):
        namespace = make_namespace(self.api, "%s-%s" % (RUN, name))
        self.namespaces.append(namespace)
        return Box(self.api, self.node, namespace)


world = World()


def path_of(box, suffix=""):
    return PODS % box.namespace + "/" + box.name + suffix


def steal(box, what, suffixes=("", "-provider")):
    for suffix in suffixes:
        world.api.patch(path_of(box, suffix), {"metadata": what})


def is_marked(box, suffix):
    metadata = (world.api.get(path_of(box, suffix)) or {"metadata": {}})["metadata"]
    role = "provider" if suffix else "consumer"
    owners = [o["kind"] for o in metadata.get("ownerReferences", []) if o.get("controller")]
    labels = [metadata.get("labels", {}).get(mark) for mark in MARKS]
    return labels == ["sc-controller", role, box.name] and owners == ["StoppableContainerInstance"]


def are_marked(box, suffixes=("", "-provider")):
    eventually("%s to have its marks again" % box.namespace, lambda: all(is_marked(box, s) for s in suffixes), 60, 0.1)


def running(name):
    box = world.box(name)
    box.make()
    box.wait("Running")
    return box


@case
def marks_taken_from_a_running_pair_come_back():
    """With each theft the controller gets to see deletions, and none is one."""
    box = running("running")
    for what in THEFTS:
        for suffix in ("", "-provider"):
            steal(box, what, (suffix,))
            are_marked(box)
    expect(box.is_in("Running"), "phase: %s" % box.status())
    quiet(lambda: len(writes(box.namespace)), 3)
    box.check()
    told = [e["reason"] for e in world.api.list("/api/v1/namespaces/%s/events" % box.namespace)]
    expect("RootfsLost" not in told and "Stopped" not in told, "events: %s" % told)
    box.remove()


@case
def one_that_is_stopped_is_not_called_so_before():
    """The thief comes while no controller watches; the next one knows only what the objects say."""
    box = running("stopped")
    world.replica.kill()
    steal(box, THEFTS[3])
    box.run(False)
    world.lead()
    box.wait("Stopped")
    expect(not world.api.get(path_of(box)), "called Stopped, and its pod is there")
    are_marked(box, ("-provider",))
    box.run(True)
    box.wait("Running")
    box.check()
    box.remove()


@case
def deletion_takes_them_along():
    box = running("deleted")
    world.replica.kill()
    steal(box, THEFTS[3])
    box.delete()
    world.lead()
    box.wait_gone()
    box.check_nothing_left()


@case
def a_pod_that_is_in_the_way_of_itself():
    """A consumer that has no node yet: nothing but its name speaks of it."""
    box = world.box("early")
    world.api.must("POST", "/apis/%s/v1alpha1/namespaces/%s/stoppablecontainers" % (GROUP, box.namespace), {
        "apiVersion": GROUP + "/v1alpha1", "kind": "StoppableContainer", "metadata": {"name": box.name},
        "spec": {"running": True, "template": {"spec": {
            "image": "none:1", "nodeSelector": {"kubernetes.io/hostname": "nowhere"}}}}})
    eventually("a pod that fits nowhere", lambda: world.api.get(path_of(box)))
    uid = world.api.get(path_of(box))["metadata"]["uid"]
    for what in THEFTS:
        steal(box, what, ("",))
        are_marked(box, ("",))
    expect(world.api.get(path_of(box))["metadata"]["uid"] == uid, "another pod has its place")
    box.remove()


@case
def a_pod_with_another_controller_is_left_to_it():
    """The API server allows one controller: told, tried at the usual distances, and let go when that one lets go."""
    box = running("taken")
    other = world.api.must("POST", "/api/v1/namespaces/%s/configmaps" % box.namespace, {"metadata": {"name": "other"}})
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": other["metadata"]["uid"], "controller": True}
    box.run(False)
    box.wait("Stopped")
    box.run(True)
    box.wait("Running")
    steal(box, {"ownerReferences": [owner]}, ("",))
    eventually("it to be told", lambda: any(
        c["type"] == "Ready" and c["reason"] == "NameConflict" and "ConfigMap other" in c["message"]
        for c in box.status().get("conditions", [])))
    quiet(lambda: len(writes(box.namespace)), 5)
    steal(box, THEFTS[2], ("",))
    eventually("it to go on", lambda: is_marked(box, ""), 90, 0.2)
    box.wait("Running")
    box.check()
    box.remove()


def report(name):
    log = subprocess.run(["tail", "-n", "60", world.replica.log], stdout=subprocess.PIPE, text=True).stdout
    print("# the controller's last words in %s:\n%s" % (name, log), flush=True)


if __name__ == "__main__":
    sys.exit(play(world, report))
