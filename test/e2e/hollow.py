# SPDX-License-Identifier: Apache-2.0
"""Hollow nodes: Node objects and a player of their kubelets and agents, for the controller's scale. API server, scheduler,
controller manager and our controller are the real ones and see what they would see of real nodes: heartbeats, pods that start
(a consumer only once its provider runs, as the agent has it) and end in the kubelet's two steps. No process of a pod runs.
"""
import datetime
import queue
import threading

from apiclient import Api

TAINT = "sc.test/hollow"
STATUS = "application/strategic-merge-patch+json"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
WORKERS = 6


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def conditions(names, status):
    return [{"type": n, "status": status, "lastTransitionTime": now()[:19] + "Z"} for n in names]


def started(pod):
    ready = conditions(("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"), "True")
    containers = [{"name": c["name"], "image": c["image"], "imageID": c["image"].split(":")[0] + "@sha256:" + "0" * 64,
                   "containerID": "hollow://" + pod["metadata"]["uid"], "ready": True, "started": True, "restartCount": 0,
                   "resources": c.get("resources", {}), "state": {"running": {"startedAt": now()[:19] + "Z"}}} for c in pod["spec"]["containers"]]
    return {"status": {"phase": "Running", "startTime": now()[:19] + "Z", "podIP": "192.0.2.1", "conditions": ready,
                       "containerStatuses": containers}}


def ended(pod):
    """Of a container that never ran the kubelet says ContainerStatusUnknown."""
    ran, stamp = pod["status"].get("phase") == "Running", now()[:19] + "Z"
    terminated = {"exitCode": 0, "reason": "Completed", "startedAt": stamp, "finishedAt": stamp} if ran else {
        "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    containers = [{"name": c["name"], "image": c["image"], "imageID": "", "ready": False, "restartCount": 0,
                   "state": {"terminated": terminated, "running": None}} for c in pod["spec"]["containers"]]
    return {"status": {"phase": "Succeeded" if ran else "Failed", "conditions": conditions(("Ready", "ContainersReady"), "False"),
                       "containerStatuses": containers}}


class Hollow:
    """So many nodes, from start() to stop()."""

    def __init__(self, count):
        self.api, self.names = Api(), ["hollow-%d" % i for i in range(count)]
        self.pods, self.lock, self.work, self.ending = {}, threading.Lock(), queue.Queue(), threading.Event()

    def start(self):
        real = self.api.call("GET", "/api/v1/nodes/node1")["status"]
        self.like = {what: real[what] for what in ("nodeInfo", "declaredFeatures") if what in real}
        for name in self.names:
            self.register(name)
        pods = self.api.watch("/api/v1/pods")
        for target, args in [(self.follow, (pods,)), (self.beat, ())] + [(self.play, ())] * WORKERS:
            threading.Thread(target=target, args=args, daemon=True).start()

    def register(self, name):
        size = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "stoppablecontainer.xtlsoft.top/node": "v1", TAINT: ""}
        self.api.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "spec": {
            "taints": [{"key": TAINT, "effect": "NoSchedule"}]}})
        self.api.call("PATCH", "/api/v1/nodes/%s/status" % name, {"status": {
            **self.like, "capacity": size, "allocatable": size, "conditions": conditions(("Ready",), "True")}}, STATUS)
        self.api.call("POST", LEASES, {"metadata": {"name": name}, "spec": {
            "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now()}})

    def beat(self):
        while not self.ending.wait(8):
            for name in self.names:
                self.api.call("PATCH", LEASES + "/" + name, {"spec": {"renewTime": now()}}, STATUS)

    def follow(self, events):
        while not self.ending.is_set():
            try:
                _, kind, pod = events.get(timeout=1)
            except queue.Empty:
                continue
            key = pod["metadata"].get("namespace"), pod["metadata"].get("name")
            with self.lock:
                if kind == "DELETED":
                    self.pods.pop(key, None)
                    continue
                self.pods[key] = pod
            if pod["spec"].get("nodeName") in self.names:
                self.work.put(key)
            if key[1].endswith("-provider"):
                self.work.put((key[0], key[1][:-len("-provider")]))

    def may_start(self, key):
        """The agent's answer to the publish call of a consumer: once its provider runs."""
        role = self.pods[key]["metadata"].get("labels", {}).get("stoppablecontainer.xtlsoft.top/role")
        provider = self.pods.get((key[0], key[1] + "-provider"), {})
        return role != "consumer" or provider.get("status", {}).get("phase") == "Running"

    def next_step(self, key):
        with self.lock:
            pod = self.pods.get(key)
            if not pod or pod["spec"].get("nodeName") not in self.names:
                return None, None
            phase = pod["status"].get("phase")
            if "deletionTimestamp" in pod["metadata"]:
                return pod, "drop" if phase in ("Succeeded", "Failed") else "end"
            return pod, "start" if phase == "Pending" and self.may_start(key) else None

    def play(self):
        while not self.ending.is_set():
            try:
                key = self.work.get(timeout=1)
            except queue.Empty:
                continue
            pod, step = self.next_step(key)
            if step:
                self.write(pod, step)

    def write(self, pod, step):
        path = "/api/v1/namespaces/%s/pods/%s" % (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if step == "drop":
            self.api.call("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}})
            return
        body = started(pod) if step == "start" else ended(pod)
        body["metadata"] = {"uid": pod["metadata"]["uid"]}
        self.api.call("PATCH", path + "/status", body, STATUS)

    def stop(self):
        self.ending.set()
        for name in self.names:
            self.api.call("DELETE", "/api/v1/nodes/" + name)
            self.api.call("DELETE", LEASES + "/" + name)
