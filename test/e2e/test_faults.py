#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Parts of the system killed at bad moments: the same end state, and running containers never notice."""
import contextlib
import json
import sys
import threading

from harness import (CLUSTER, STATE, SYSTEM, case, eventually, expect, kubectl, main, node, run, sc_manifest, shell)

COUNTER = "trap 'exit 0' TERM; echo run >> /runs; while :; do echo tick >> /ticks; sleep 0.2; done"


def containers_of(app):
    """Container ids (long) of the running pods of one part of the system."""
    pods = json.loads(kubectl("-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=" + app, "-o", "json").stdout)["items"]
    return [c["containerID"].split("//")[1] for p in pods for c in p["status"].get("containerStatuses", [])
            if "running" in c["state"]]


def sigkill(app):
    """SIGKILL to every process of that part, found by its container's cgroup; returns how many were hit."""
    hit = 0
    for container in containers_of(app):
        script = "for f in $(grep -l %s /proc/[0-9]*/cgroup 2>/dev/null); do d=${f%%/cgroup}; kill -9 ${d#/proc/} && echo x; done"
        hit += node("sh", "-c", script % container, check=False).stdout.count("x")
    return hit


def part_ready(app):
    kubectl("-n", SYSTEM, "wait", "pod", "-l", "app.kubernetes.io/name=" + app, "--for=condition=Ready", "--timeout=120s")


class Killer:
    """Kills one part again and again until the block is left, whenever it is running."""

    def __init__(self, app, pause=0.7):
        self.app, self.pause, self.hits, self.stop = app, pause, 0, threading.Event()
        self.thread = threading.Thread(target=self.loop)

    def loop(self):
        while not self.stop.is_set():
            self.hits += sigkill(self.app)
            self.stop.wait(self.pause)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def whole_life_while_killing(ns, app, rounds):
    """Kills at the begin of each step; the kubelet's crash back-off (10 s, 20 s, ...) sets the pace."""
    name = "box"
    steps = [("start", lambda: ns.apply(sc_manifest(name, shell(script=COUNTER)))),
             ("stop", lambda: patch(ns, name, False)), ("start again", lambda: patch(ns, name, True))]
    want = {"start": "Running", "stop": "Stopped", "start again": "Running"}
    hits = 0
    for what, act in steps * rounds:
        act()
        with Killer(app) as killer:
            eventually("a kill of %s while it does %s" % (app, what), lambda: killer.hits > 0)
        hits += killer.hits
        ns.phase(name, want[what], 240)
    return hits


def patch(ns, name, running):
    ns.kubectl("patch", "stc", name, "--type=merge", "-p", json.dumps({"spec": {"running": running}}))


def reset_backoff(app):
    """New pods: the next case does not inherit this one's crash back-off."""
    kubectl("-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=" + app, "--wait=true")
    eventually("new pods of " + app, lambda: kubectl(
        "-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=" + app, "-o", "name").stdout.strip())
    part_ready(app)


def life_and_delete(ns, app):
    try:
        whole_life_while_killing(ns, app, 1)
        runs = ns.sh("box", "wc -l < /runs")
        expect(int(runs) == 2, "%s runs of the workload instead of 2" % runs)
        uid = ns.instance_uid("box")
        ns.kubectl("delete", "stc/box", "--wait=false")
        with Killer(app) as killer:
            eventually("a kill of %s while it deletes" % app, lambda: killer.hits > 0 or ns.get("stc/box", check=False) is None)
        ns.kubectl("wait", "stc/box", "--for=delete", "--timeout=240s", timeout=260)
        expect(ns.get("pods")["items"] == [], "pods left")
        eventually("node clean", lambda: not ns.node_traces([uid]), 30)
    finally:
        reset_backoff(app)


@case(alone=True)
def controller_killed_at_every_step(ns):
    life_and_delete(ns, "sc-controller")


@case(alone=True)
def agent_killed_at_every_step(ns):
    life_and_delete(ns, "sc-node-agent")


def ticking(ns, names, disturb):
    """The workloads of those names go on, each in the same process, while something is disturbed."""
    def status(name):
        return ns.get("pod/" + name)["status"]["containerStatuses"][0]

    def ticks(name):
        return int(ns.exec(name, "sh", "-c", "wc -l < /ticks", check=False).stdout or 0)
    before = {name: (status(name)["containerID"], ticks(name)) for name in names}
    expect(all(n > 0 for _, n in before.values()), "they do not tick before: %s" % before)
    disturb()
    for name, (container, counted) in before.items():
        eventually(name + "'s ticks go on", lambda: ticks(name) > counted + 5)
        after = status(name)
        expect(after["containerID"] == container and after["restartCount"] == 0, "the container of %s noticed" % name)


@case(alone=True)
def running_containers_never_notice(ns):
    names = ("box", "chroot")
    ns.apply(sc_manifest("chroot", shell(script=COUNTER), attach="Chroot"))
    ns.start("box", shell(script=COUNTER))
    ns.phase("chroot", "Running")
    for name in names:
        eventually("ticks", lambda: ns.exec(name, "ls", "/ticks", check=False).returncode == 0)

    def restart(component):
        run([CLUSTER, "restart", component], timeout=180)
        kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=120s")
    try:
        ticking(ns, names, lambda: (sigkill("sc-node-agent"), part_ready("sc-node-agent")))
        ticking(ns, names, lambda: (sigkill("sc-controller"), part_ready("sc-controller")))
        ticking(ns, names, lambda: restart("kubelet"))
        ticking(ns, names, lambda: restart("containerd"))
        ticking(ns, names, lambda: restart("kube-apiserver"))
        for name in names:
            ns.running(name, False)
            ns.running(name, True)
            expect(ns.sh(name, "wc -l < /runs") == "2", "the root of %s after all that" % name)
    finally:
        reset_backoff("sc-node-agent")
        reset_backoff("sc-controller")


@case(alone=True)
def kubelet_restarted_while_it_starts_and_stops(ns):
    ns.apply(sc_manifest("box", shell(script=COUNTER)))
    run([CLUSTER, "restart", "kubelet"], timeout=180)
    ns.phase("box", "Running", 180)
    patch(ns, "box", False)
    run([CLUSTER, "restart", "kubelet"], timeout=180)
    ns.phase("box", "Stopped", 180)
    ns.running("box", True)
    expect(ns.sh("box", "wc -l < /runs") == "2", "runs in one root")


@contextlib.contextmanager
def agent_away():
    """No agent on any node inside the block; back and ready after it, whatever happened."""
    selector = '{"spec":{"template":{"spec":{"nodeSelector":{"sc.test/nowhere":"x"}}}}}'
    kubectl("-n", SYSTEM, "patch", "daemonset", "sc-node-agent", "--type=merge", "-p", selector)
    try:
        eventually("the agent gone", lambda: not containers_of("sc-node-agent"))
        yield
    finally:
        kubectl("-n", SYSTEM, "patch", "daemonset", "sc-node-agent", "--type=json", "-p",
                '[{"op":"remove","path":"/spec/template/spec/nodeSelector/sc.test~1nowhere"}]')
        kubectl("-n", SYSTEM, "rollout", "status", "daemonset/sc-node-agent", "--timeout=120s")


@case(alone=True)
def probes_and_hooks_while_the_agent_is_away(ns):
    """They need it only until the container has its root: no restart for want of an agent, and no hook is lost."""
    names = ("box", "chroot")

    def command(script):
        return {"exec": {"command": ["sh", "-c", script]}}
    spec = shell(livenessProbe={**command("echo probe >> /probes"), "periodSeconds": 1, "failureThreshold": 3, "timeoutSeconds": 1},
                 lifecycle={"preStop": command("echo stopped >> /stops")})
    spec["terminationGracePeriodSeconds"] = 20

    def probes(name):
        return int(ns.exec(name, "sh", "-c", "cat /probes | wc -l", check=False).stdout or 0)

    def restarts(name):
        return ns.get("pod/" + name)["status"]["containerStatuses"][0]["restartCount"]

    def has_ended(name):
        pod = ns.get("pod/" + name, check=False)
        return not pod or not any("running" in c["state"] for c in pod["status"].get("containerStatuses", []))
    ns.apply(sc_manifest("chroot", spec, attach="Chroot"), sc_manifest("box", spec))
    for name in names:
        ns.phase(name, "Running")
    with agent_away():
        before = {name: probes(name) for name in names}
        for name in names:
            eventually(lambda name=name: "%s: 20 probes: %d, %d before" % (name, probes(name), before[name]),
                       lambda name=name: restarts(name) or probes(name) >= before[name] + 20, 60)
            expect(restarts(name) == 0, name + " was restarted while the agent was away")
            patch(ns, name, False)
        for name in names:
            eventually(name + " ended", lambda name=name: has_ended(name), 60)
    for name in names:
        ns.phase(name, "Stopped")
        ns.running(name, True)
        expect(ns.sh(name, "cat /stops") == "stopped", "the preStop hook of %s left no trace" % name)


@case(alone=True)
def deleted_while_the_agent_is_down(ns):
    ns.start("box", shell(script=COUNTER))
    uid = ns.instance_uid("box")
    with agent_away():
        ns.kubectl("delete", "stc/box", "--wait=false")
        eventually("the workload ended", lambda: not [
            c for c in ns.get("pod/box")["status"].get("containerStatuses", []) if "running" in c["state"]]
            if ns.get("pod/box", check=False) else True)
        expect(ns.get("stc/box", check=False) is not None, "gone before the node was clean")
    ns.kubectl("wait", "stc/box", "--for=delete", "--timeout=200s", timeout=220)
    eventually("node clean", lambda: not ns.node_traces([uid]), 30)


@case(alone=True)
def forced_away_while_the_agent_is_down(ns):
    """Pods force-deleted with nobody to clean up: the reclaim pod does it, and the SC goes only then."""
    ns.start("box", shell(script=COUNTER))
    uid = ns.instance_uid("box")
    with agent_away():
        ns.kubectl("delete", "stc/box", "--wait=false")
        ns.kubectl("delete", "pod", "box", "box-provider", "--force", "--grace-period=0", "--ignore-not-found")
        eventually("a reclaim pod", lambda: uid in kubectl("-n", SYSTEM, "get", "pods", "-o", "name").stdout)
        expect(ns.get("stc/box", check=False) is not None, "gone before the node was clean")
    ns.kubectl("wait", "stc/box", "--for=delete", "--timeout=240s", timeout=260)
    instance = node("sh", "-c", "ls -d %s/instances/%s 2>/dev/null; grep %s /proc/self/mountinfo; true" % (STATE, uid, uid)).stdout
    expect(instance == "", "gone before the node was clean: " + instance)
    # The reclaim pod's own volume names the instance too, and goes with its pod a moment later.
    eventually("node clean", lambda: not ns.node_traces([uid]), 30)
    eventually("the reclaim pod gone", lambda: uid not in kubectl("-n", SYSTEM, "get", "pods", "-o", "name").stdout)


if __name__ == "__main__":
    sys.exit(main())
