#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""etcd restored from a backup, under a leader and a candidate that outlive it: what they remember is of a cluster that is no
more. API server and etcd are the cluster's own, which are stopped for it; the node is a fake one.

usage: test_restored.py [CASE...]"""
import os
import threading
import time

from fake_node import Box, FakeNode
from kube import CLUSTER, Api, Replica, case, eventually, expect, make_namespace, play, run

RUN = "restored-%d" % os.getpid()
# Longer than etcd is away, so that nobody ends for a lost lease.
PATIENT = ("--leader-elect", "--lease-duration=120", "--lease-renew-deadline=100")
BACKUP = "/var/lib/etcd-backup-" + RUN
GONE_BACK = "was restored from an older backup"


class World:
    def __init__(self):
        self.api = Api()
        self.node = FakeNode(self.api, RUN)
        self.replicas = [Replica("%s-%d" % (RUN, i), self.api.kubeconfig, *PATIENT) for i in range(2)]
        self.namespaces = []
        self.over = False

    def up(self):
        self.node.up()
        self.replicas[0].start()
        eventually("the first to lead", self.replicas[0].leads)
        self.replicas[1].start()
        eventually("the second to be ready", self.replicas[1].synced)
        threading.Thread(target=self.keep, daemon=True).start()

    def keep(self):
        while not self.over:
            for replica in self.replicas:
                replica.keep()
            time.sleep(0.2)

    def down(self):
        self.over = True
        for replica in self.replicas:
            replica.kill()
        for name in self.namespaces:
            self.api.call("DELETE", "/api/v1/namespaces/" + name)
        self.node.down()
        in_node("rm", "-rf", BACKUP)

    def box(self, name):
        namespace = make_namespace(self.api, "%s-%s" % (RUN, name))
        self.namespaces.append(namespace)
        return Box(self.api, self.node, namespace)

    def said(self):
        return [replica.said(GONE_BACK) for replica in self.replicas]


world = World()


def in_node(*command):
    run([CLUSTER, "node-exec", *command])


def with_etcd_stopped(*commands):
    """The API servers are stopped too, as etcd's documentation has it."""
    for component in ("kube-apiserver", "etcd"):
        run([CLUSTER, "stop", component])
    for command in commands:
        in_node(*command)
    for component in ("etcd", "kube-apiserver"):
        run([CLUSTER, "start", component])


def restart_the_others():
    """They know no better than to watch from where they were."""
    for component in ("kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"):
        run([CLUSTER, "restart", component])


@case
def all_begin_anew():
    kept = world.box("kept")
    kept.make()
    kept.wait("Running")
    ended = [replica.ended for replica in world.replicas]
    with_etcd_stopped(["cp", "-a", "/var/lib/etcd/member", BACKUP])
    kept.run(False)
    kept.wait("Stopped")
    expect([replica.ended for replica in world.replicas] == ended, "an outage alone ended a controller")
    lost = world.box("lost")
    lost.make()
    lost.wait("Running")
    # Who watches nothing at the moment has seen no version that is newer than the backup's next ones.
    eventually("both to see it", lambda: all(replica.metrics().get("sc_controller_keys", 0) >= 2 for replica in world.replicas), 120)

    with_etcd_stopped(["rm", "-rf", "/var/lib/etcd/member"], ["cp", "-a", BACKUP, "/var/lib/etcd/member"])
    restart_the_others()
    eventually(lambda: "both to notice: %s" % world.said(), lambda: all(world.said()), 60)
    eventually("one to lead", lambda: any(replica.leads() for replica in world.replicas), 150)
    expect(world.api.get(lost.path()) is None, "the backup is not older")
    # As the backup has it, and as is asked for from now on.
    kept.wanted = True
    kept.wait("Running")
    kept.run(False)
    kept.wait("Stopped")
    kept.run(True)
    kept.wait("Running")
    kept.check(consumers=2)
    kept.remove()
    expect(world.said() == [1, 1], "told more than once each: %s" % world.said())


def report(name):
    for replica in world.replicas:
        with open(replica.log, errors="replace") as log:
            print("".join("# %s %s" % (replica.name, line) for line in log.readlines()[-60:]))


if __name__ == "__main__":
    raise SystemExit(play(world, report))
