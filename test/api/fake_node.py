# SPDX-License-Identifier: Apache-2.0
"""A Node with nobody behind it but this program, which plays kubelet and agent: pods that the scheduler puts there run at once,
a consumer only beside its provider, and go when they are deleted; reclaim pods succeed. It keeps the books that the tests of
faults ask: which pods there ever were."""
import threading
import time

from kube import GROUP, PODS, SCIS, SCS, SYSTEM, Failed, eventually, expect

NODE = "/api/v1/nodes/%s"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ROLE = GROUP + "/role"


def now(micro=False):
    t = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + (".%06dZ" % (t % 1 * 1e6) if micro else "Z")


class FakeNode:
    def __init__(self, api, name):
        self.api, self.name, self.stopped = api, name, False
        self.pods = {}  # (namespace, name) -> pod as last seen
        self.seen = {}  # (namespace, name) -> uids, in order
        self.started = {}  # uid -> when it was made to run
        self.overlaps = []  # consumers that ran without their provider
        self.lock = threading.RLock()

    def up(self):
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", GROUP + "/node": "v1"}
        self.api.must("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": self.name, "labels": labels}})
        self.beat()
        threading.Thread(target=self.keep_alive, daemon=True).start()
        self.api.watch("/api/v1/pods", "fieldSelector=spec.nodeName%3D" + self.name, self.on_pod, lambda: self.stopped)
        eventually("the fake node to be schedulable", lambda: not self.api.get(NODE % self.name)["spec"].get("taints"))
        return self

    def beat(self):
        capacity = {"cpu": "500", "memory": "500Gi", "pods": "5000", "ephemeral-storage": "500Gi"}
        self.api.patch(NODE % self.name + "/status", {"status": {
            "capacity": capacity, "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Fake", "lastHeartbeatTime": now(),
                            "lastTransitionTime": now()}]}})

    def keep_alive(self):
        while not self.stopped:
            try:
                self.beat()
            except (OSError, Failed):
                pass  # the API server is away
            time.sleep(10)

    def down(self):
        self.stopped = True
        self.api.call("DELETE", NODE % self.name)

    def on_pod(self, kind, pod):
        with self.lock:
            key = pod["metadata"]["namespace"], pod["metadata"]["name"]
            uids = self.seen.setdefault(key, [])
            if pod["metadata"]["uid"] not in uids:
                uids.append(pod["metadata"]["uid"])
            if kind == "DELETED":
                self.pods.pop(key, None)
                return
            self.pods[key] = pod
            self.move(pod)
            if pod["metadata"].get("labels", {}).get(ROLE) == "provider":
                consumer = self.pods.get((key[0], key[1].removesuffix("-provider")))
                if consumer:
                    self.move(consumer)

    def move(self, pod):
        role = pod["metadata"].get("labels", {}).get(ROLE)
        phase = pod.get("status", {}).get("phase", "Pending")
        if pod["metadata"].get("deletionTimestamp"):
            self.finish(pod, phase)
        elif phase != "Pending":
            return
        elif role == "reclaim":
            self.say(pod, "Succeeded")
        elif role == "provider" or self.provider_runs(pod):
            self.say(pod, "Running")

    def provider_runs(self, consumer):
        key = consumer["metadata"]["namespace"], consumer["metadata"]["name"] + "-provider"
        provider = self.pods.get(key)
        return provider and not provider["metadata"].get("deletionTimestamp") and (
            provider["metadata"]["uid"] in self.started)

    def finish(self, pod, phase):
        if phase not in ("Succeeded", "Failed"):
            self.say(pod, "Succeeded" if pod["metadata"]["uid"] in self.started else "Failed")
        self.api.call("DELETE", PODS % pod["metadata"]["namespace"] + "/" + pod["metadata"]["name"], {
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod["metadata"]["uid"]}})

    def say(self, pod, phase):
        uid = pod["metadata"]["uid"]
        began = now() if phase == "Failed" else self.started.setdefault(uid, now())
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": began, "finishedAt": now()}}
        if phase == "Running":
            state = {"running": {"startedAt": began}}
        elif phase == "Failed":  # ended before it began
            state = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
        statuses = [{"name": c["name"], "image": c["image"], "imageID": "sha256:1", "ready": phase == "Running", "restartCount": 0,
                     "containerID": "fake://" + uid, "started": phase == "Running", "state": state,
                     "resources": c.get("resources", {})}
                    for c in pod["spec"]["containers"]]
        self.api.call("PATCH", PODS % pod["metadata"]["namespace"] + "/" + pod["metadata"]["name"] + "/status", {
            "metadata": {"uid": uid}, "status": {
                "phase": phase, "startTime": began, "containerStatuses": statuses, "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": began},
                    {"type": "Ready", "status": "True" if phase == "Running" else "False", "lastTransitionTime": now()}]}},
            "application/merge-patch+json")

    def uids(self, namespace, name):
        with self.lock:
            return list(self.seen.get((namespace, name), []))


class Box:
    """One StoppableContainer on the fake node, and what must hold of it whatever happened to the API."""

    def __init__(self, api, node, namespace, name="box"):
        self.api, self.node, self.namespace, self.name = api, node, namespace, name
        self.starts = 0
        self.wanted = True

    def path(self):
        return SCS % self.namespace + "/" + self.name

    def make(self, running=True):
        self.starts += running
        self.wanted = running
        self.api.must("POST", SCS % self.namespace, {
            "apiVersion": GROUP + "/v1alpha1", "kind": "StoppableContainer", "metadata": {"name": self.name},
            "spec": {"running": running, "template": {"spec": {
                "image": "none:1", "command": ["sleep"], "terminationGracePeriodSeconds": 1,
                "nodeSelector": {"kubernetes.io/hostname": self.node.name}}}}})

    def run(self, value):
        self.starts += value
        self.wanted = value
        self.api.patch(self.path(), {"spec": {"running": value}})

    def delete(self):
        self.api.must("DELETE", self.path())

    def status(self):
        return (self.api.get(self.path()) or {}).get("status", {})

    def is_in(self, phase):
        return self.status().get("phase") == phase

    def is_as_wanted(self):
        return self.is_in("Running" if self.wanted else "Stopped")

    def wait(self, phase, timeout=90):
        eventually(lambda: "%s/%s to be %s: %s" % (self.namespace, self.name, phase, self.status()), lambda: self.is_in(phase),
                   timeout, 0.1)

    def gone(self):
        return not self.api.get(self.path())

    def wait_gone(self, timeout=90):
        eventually(lambda: "%s/%s to be gone: %s" % (self.namespace, self.name, self.api.get(self.path())), self.gone, timeout, 0.1)

    def providers(self):
        return self.node.uids(self.namespace, self.name + "-provider")

    def check(self, consumers=None):
        """One root for its whole life, and no consumer more than was asked for."""
        providers, pods = self.providers(), self.node.uids(self.namespace, self.name)
        expect(len(providers) == 1, "%s: providers ever made: %s" % (self.namespace, providers))
        wanted = self.starts if consumers is None else consumers
        expect(len(pods) == wanted, "%s: consumers ever made: %d, started %d times" % (self.namespace, len(pods), wanted))
        status = self.status()
        if status:
            expect(status["rootfs"]["id"] == providers[0], "%s: another root: %s" % (self.namespace, status["rootfs"]))
            lost = [c for c in status["conditions"] if c["type"] == "RootfsIntact" and c["status"] == "False"]
            expect(not lost, "%s: %s" % (self.namespace, lost))

    def remove(self):
        self.delete()
        self.wait_gone()
        self.check_nothing_left()

    def check_nothing_left(self):
        left = [p["metadata"]["name"] for p in self.api.list(PODS % self.namespace) + self.api.list(SCIS % self.namespace)
                if p["metadata"]["name"] in (self.name, self.name + "-provider")]
        expect(not left, "%s: left behind: %s" % (self.namespace, left))


def reclaims(api):
    return [p["metadata"]["name"] for p in api.list(PODS % SYSTEM) if p["metadata"].get("labels", {}).get(ROLE) == "reclaim"]
