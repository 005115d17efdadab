#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many StoppableContainers at once, on hollow nodes: what the controller needs for them. SCALE (default 50) says how many;
`make scale` takes 500. Asserted are counts: writes, objects, what a restart writes; times are shown."""
import json
import os
import pathlib
import queue
import sys
import time

from apiclient import MERGE, Api, Writes, anonymous_mb, now, pids
from harness import Failed, SYSTEM, case, eventually, expect, kubectl, main
from hollow import TAINT, Hollow

COUNT = int(os.environ.get("SCALE", "50"))
PER_NODE = 25  # of 110 pods: consumers are placed first, and may not fill a node before their providers come
STEP = 120 + COUNT
TOLD = 3  # more writes of status where a step lasts, as it may here: "on the way" is then told
BYTES_EACH = 120 * 1024  # of anonymous memory: four objects in the stores, as text and parsed
api = Api()


class Phases:
    """How many are in which phase, by a watch."""

    def __init__(self, path):
        self.events, self.now, self.seen = api.watch(path), {}, False

    def all(self, phase, began):
        """Waits until all are in that phase, None: gone. Returns how long that took since then."""
        while not (len(self.now) == COUNT and set(self.now.values()) == {phase} if phase else not self.now and self.seen):
            try:
                _, kind, sc = self.events.get(timeout=max(0.01, began + STEP - time.monotonic()))
            except queue.Empty:
                raise Failed("after %d s not all %s: %s" % (STEP, phase, {
                    p: list(self.now.values()).count(p) for p in set(self.now.values())}))
            if kind == "DELETED":
                self.now.pop(sc["metadata"]["name"], None)
            else:
                self.now[sc["metadata"]["name"]] = sc.get("status", {}).get("phase")
            self.seen = True
        return time.monotonic() - began


def manifest(i):
    return {"apiVersion": "stoppablecontainer.xtlsoft.top/v1alpha1", "kind": "StoppableContainer",
            "metadata": {"name": "sc-%d" % i}, "spec": {"running": True, "template": {"spec": {
                "image": "sc.test/busybox:1", "command": ["sleep", "1000"], "nodeSelector": {TAINT: ""},
                "tolerations": [{"key": TAINT, "operator": "Exists"}]}}}}


def cpu_seconds(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def only_controller():
    found = eventually("one controller", lambda: len(pids("sc-controller")) == 1 and pids("sc-controller"))
    return found[0]


def controllers(count):
    kubectl("-n", SYSTEM, "scale", "deployment/sc-controller", "--replicas=%d" % count)
    kubectl("-n", SYSTEM, "rollout", "status", "deployment/sc-controller", "--timeout=120s")


def at_rest(writes, since):
    """Until the controller has written nothing for some seconds: events and held-back status follow the phase. Returns the number
    of writes since then."""
    seen, still = -1, 0
    while still < 4:
        count = writes.count(since, now())
        seen, still = count, still + 1 if count == seen else 0
        time.sleep(1)
    return seen


class Steps:
    def __init__(self, phases):
        self.phases, self.writes = phases, Writes()

    def step(self, what, act, phase, most):
        """act for each; all come to the phase with at most so many writes each."""
        since, began, cpu = now(), time.monotonic(), cpu_seconds(only_controller())
        for i in range(COUNT):
            act(i)
        took = self.phases.all(phase, began)
        each = at_rest(self.writes, since) / COUNT
        pid = only_controller()
        print("# %d %s: %.1f s, %.1f writes each, %.2f s of CPU, anonymous %.1f MB" % (
            COUNT, what, took, each, cpu_seconds(pid) - cpu, anonymous_mb(pid)), flush=True)
        expect(each <= most, "%s: %.1f writes each, more than %s" % (what, each, most))


def restart(writes):
    """A controller that starts with all of them has nothing to say."""
    controllers(0)
    eventually("no controller", lambda: not pids("sc-controller"))
    since, began = now(), time.monotonic()
    controllers(1)
    pid = only_controller()
    took = time.monotonic() - began
    wrote = at_rest(writes, since)
    print("# restart with %d: ready after %.1f s, %d writes, %.2f s of CPU, anonymous %.1f MB" % (
        COUNT, took, wrote, cpu_seconds(pid), anonymous_mb(pid)), flush=True)
    expect(wrote == 0, "a controller that was started again wrote %d times" % wrote)


def lives(ns, path):
    steps = Steps(Phases(path))
    controllers(1)
    empty = anonymous_mb(only_controller())
    turn = lambda running: lambda i: api.call("PATCH", "%s/sc-%d" % (path, i), {"spec": {"running": running}}, MERGE)
    steps.step("create -> Running", lambda i: api.call("POST", path, manifest(i)), "Running", 9 + TOLD)
    restart(steps.writes)
    steps.step("stop -> Stopped", turn(False), "Stopped", 5 + TOLD)
    steps.step("start -> Running", turn(True), "Running", 5 + TOLD)
    used = anonymous_mb(only_controller())
    expect(used < empty + COUNT * BYTES_EACH / 1048576 + 1, "%.1f MB for %d, %.1f without" % (used, COUNT, empty))
    steps.step("delete -> gone", lambda i: api.call("DELETE", "%s/sc-%d" % (path, i)), None, 9)
    left = json.loads(ns.kubectl("get", "stci,pods", "-o", "json").stdout)["items"]
    expect(not left, "left: %s" % [o["metadata"]["name"] for o in left])


@case(alone=True)
def many_at_once(ns):
    hollow = Hollow(-(-COUNT // PER_NODE))
    hollow.start()
    try:
        lives(ns, "/apis/stoppablecontainer.xtlsoft.top/v1alpha1/namespaces/%s/stoppablecontainers" % ns.name)
    finally:
        ns.kubectl("delete", "stc", "--all", "--timeout=%ds" % STEP, check=False, timeout=STEP + 30)
        hollow.stop()
        controllers(2)


if __name__ == "__main__":
    sys.exit(main())
