# SPDX-License-Identifier: Apache-2.0
"""Harness of the end-to-end tests: a real cluster, real kubectl, one namespace for each case.

A test program defines cases with @case and ends with main(). Each case gets a Namespace object; whatever way the case ends,
its namespace is deleted, and then the node must hold nothing of it: no mount, directory, socket or process. Cases run a few
at a time (they mostly wait); @case(alone=True) runs by itself, for what disturbs the cluster.

Output, for tools/run-tests: "ok - NAME", "not ok - NAME: why", "skip - NAME: why".
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import traceback

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
CLUSTER = str(TOP / "tools" / "cluster")
SYSTEM = "stoppablecontainer-system"
GROUP = "stoppablecontainer.xtlsoft.top"
STATE = "/var/lib/stoppablecontainer"
CASES = []
PARALLEL = int(os.environ.get("E2E_PARALLEL", "3"))
# Deadline of one wait. Generous: the machine has two cores and builds beside it; a hang is still found.
WAIT = int(os.environ.get("E2E_WAIT", "90"))


class Failed(Exception):
    """An expectation that did not hold."""


class Skipped(Exception):
    """This machine truly cannot run the case."""


def case(function=None, *, alone=False):
    def register(f):
        CASES.append((f, alone))
        return f
    return register(function) if function else register


def run(argv, *, stdin=None, timeout=WAIT + 30, check=True):
    done = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, text=True)
    if check and done.returncode != 0:
        raise Failed("%s: exit %d: %s" % (" ".join(argv[1:])[:300], done.returncode, (done.stderr or done.stdout).strip()[-800:]))
    return done


def kubectl(*args, **more):
    return run([CLUSTER, "kubectl", *args], **more)


def node(*argv, on="node1", **more):
    """Runs a program in a node's namespaces."""
    return run([CLUSTER, "node-exec", "--node", on, *argv], **more)


def expect(condition, text):
    if not condition:
        raise Failed(text)


def eventually(what, check, timeout=WAIT, step=0.2):
    """Waits until check() returns something true, and returns it. For what offers no event to wait for."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed("not within %d s: %s" % (timeout, what() if callable(what) else what))
        time.sleep(step)


def sc_manifest(name, template_spec, running=True, **spec):
    return {"apiVersion": GROUP + "/v1alpha1", "kind": "StoppableContainer", "metadata": {"name": name},
            "spec": {"running": running, "template": {"spec": template_spec}, **spec}}


def shell(image="sc.test/debian:1", script="sleep infinity & trap 'kill $!; exit 0' TERM; wait", **more):
    """Short form of a container that runs until TERM (a pid 1 that does not handle TERM is killed after 1 s)."""
    return {"image": image, "command": ["sh", "-c", script], "terminationGracePeriodSeconds": 1, **more}


class Namespace:
    """One case's namespace and the objects in it."""

    def __init__(self, name, labels=None):
        self.name = name
        kubectl("create", "namespace", name)
        for key, value in (labels or {}).items():
            kubectl("label", "namespace", name, "%s=%s" % (key, value))
        eventually("default service account of " + name, lambda: kubectl(
            "-n", name, "get", "serviceaccount", "default", check=False).returncode == 0)

    def kubectl(self, *args, **more):
        return kubectl("-n", self.name, *args, **more)

    def apply(self, *manifests):
        for manifest in manifests:
            self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def get(self, what, check=True):
        done = self.kubectl("get", what, "-o", "json", check=check)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def phase(self, name, phase, timeout=WAIT):
        """Waits until the StoppableContainer has that phase."""
        done = self.kubectl("wait", "stc/" + name, "--for=jsonpath={.status.phase}=" + phase, "--timeout=%ds" % timeout,
                            check=False)
        if done.returncode != 0:
            raise Failed("stc/%s not %s within %d s: %s" % (name, phase, timeout, self.story(name)))

    def running(self, name, value, timeout=WAIT):
        self.kubectl("patch", "stc", name, "--type=merge", "-p", json.dumps({"spec": {"running": value}}))
        self.phase(name, "Running" if value else "Stopped", timeout)

    def start(self, name, template_spec, timeout=WAIT, **spec):
        self.apply(sc_manifest(name, template_spec, **spec))
        self.phase(name, "Running", timeout)

    def exec(self, pod, *argv, container=None, check=True, stdin=None):
        options = ["-c", container] if container else []
        options += ["-i"] if stdin is not None else []
        return self.kubectl("exec", *options, pod, "--", *argv, check=check, stdin=stdin)

    def sh(self, pod, script, container=None):
        return self.exec(pod, "sh", "-c", script, container=container).stdout.strip()

    def delete(self, what, *args):
        self.kubectl("delete", what, "--timeout=%ds" % WAIT, *args)

    def condition(self, name, kind):
        for c in (self.get("stc/" + name).get("status") or {}).get("conditions", []):
            if c["type"] == kind:
                return c
        return {}

    def ready_message(self, name, pattern, timeout=WAIT):
        """Waits until Ready is not True and its message matches; returns the message."""
        def look():
            c = self.condition(name, "Ready")
            return c.get("status") != "True" and re.search(pattern, c.get("message", "")) and c["message"]
        return eventually(lambda: "Ready's message to match %r: %s" % (pattern, self.story(name)), look, timeout)

    def events(self, name, reason):
        """Those of the StoppableContainer itself: its pod has the same name."""
        about = "involvedObject.kind=StoppableContainer,involvedObject.name=%s,reason=%s" % (name, reason)
        return self.kubectl("get", "events", "--field-selector", about, "-o", "name").stdout.split()

    def event(self, name, reason, timeout=WAIT):
        return eventually("event %s of %s" % (reason, name), lambda: self.events(name, reason), timeout)

    def story(self, name):
        """What a person would look at: for messages of failed cases."""
        sc = self.get("stc/" + name, check=False) or {}
        conditions = "; ".join("%s=%s %s: %s" % (c["type"], c["status"], c["reason"], c["message"])
                               for c in (sc.get("status") or {}).get("conditions", []))
        pods = self.kubectl("get", "pods", "--no-headers", check=False).stdout.strip().replace("\n", " | ")
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", "-o",
                              "custom-columns=R:.reason,O:.involvedObject.name,M:.message", "--no-headers", check=False).stdout
        return "phase %s; %s; pods: %s; events: %s" % ((sc.get("status") or {}).get("phase"), conditions, pods,
                                                       " | ".join(events.strip().splitlines()[-6:]))

    def instance_uid(self, name):
        return self.get("stci/" + name)["metadata"]["uid"]

    def node_traces(self, uids=(), on="node1"):
        """What the node still holds of this namespace's instances, as text; empty when clean."""
        found = []
        listing = node("find", STATE, "-xdev", "-mindepth", "2", "-maxdepth", "3", on=on).stdout.splitlines()
        mounts = node("cat", "/proc/self/mountinfo", on=on).stdout.splitlines()
        journals = node("sh", "-c", "grep -l '\"%s\"' %s/volumes/*.json 2>/dev/null; true" % (self.name, STATE), on=on).stdout.split()
        for uid in uids:
            found += [line for line in listing + mounts if uid in line]
        return "\n".join(found + journals)

    def remove(self):
        kubectl("delete", "namespace", self.name, "--timeout=%ds" % (2 * WAIT), "--ignore-not-found", timeout=3 * WAIT)
        eventually(lambda: "node clean of %s: %s" % (self.name, self.node_traces()), lambda: not self.node_traces(), 30)


def agents_that_can_answer():
    """Not those on nodes that a test has declared dead."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]
    dead = {n["metadata"]["name"] for n in nodes for taint in n["spec"].get("taints", [])
            if taint["key"] == "node.kubernetes.io/out-of-service"}
    pods = json.loads(kubectl("-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=sc-node-agent", "-o", "json").stdout)["items"]
    return ["pod/" + p["metadata"]["name"] for p in pods if p["spec"].get("nodeName") not in dead]


def node_findings():
    """What the agents' own check says of their nodes: `sc-node-agent check`. node_traces looks for itself."""
    found = []
    for pod in agents_that_can_answer():
        done = kubectl("-n", SYSTEM, "exec", pod, "--", "sc-node-agent", "check", "--output=json", check=False)
        try:
            found += ["%s %s: %s" % (f["code"], f["path"], f["text"]) for f in json.loads(done.stdout)["findings"]]
        except ValueError:
            found.append("%s: no check: %s" % (pod, (done.stderr or done.stdout).strip()))
    return found


def nodes_are_clean():
    """After all cases, on every node: nothing but what other namespaces use."""
    try:
        eventually(lambda: "a clean check: %s" % node_findings(), lambda: not node_findings())
    except Failed as e:
        print("not ok - nodes_are_clean: %s" % str(e).replace("\n", " / "), flush=True)
        return False
    print("ok - nodes_are_clean", flush=True)
    return True


def run_case(function):
    name = function.__name__
    namespace = None
    started = time.monotonic()
    problem = None
    try:
        labels = getattr(function, "namespace_labels", None)
        namespace = Namespace("e2e-" + name.replace("_", "-")[:50], labels)
        function(namespace)
    except Skipped as e:
        print("skip - %s: %s" % (name, e), flush=True)
        return True
    except (Failed, subprocess.TimeoutExpired) as e:
        problem = str(e)
    except Exception:  # a bug in the test is a failure of the case, told with its place
        problem = traceback.format_exc()
    try:
        if namespace and not (problem and os.environ.get("E2E_KEEP")):
            namespace.remove()
    except Exception as e:
        problem = problem or "cleaning up: %s" % e
    took = time.monotonic() - started
    if problem:
        print("not ok - %s: %s" % (name, problem.replace("\n", " / ")), flush=True)
    else:
        print("ok - %s (%.1f s)" % (name, took), flush=True)
    return not problem


def labels(**pairs):
    """Decorator: labels of the case's namespace, underscores of the keys spelled as in PSA for pod security."""
    def mark(f):
        f.namespace_labels = {k.replace("psa_", "pod-security.kubernetes.io/"): v for k, v in pairs.items()}
        return f
    return mark


def main():
    wanted = sys.argv[1:]
    cases = [(f, alone) for f, alone in CASES if not wanted or f.__name__ in wanted]
    if not cases:
        print("not ok - no case of that name: %s" % " ".join(wanted))
        return 1
    together = [f for f, alone in cases if not alone]
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        results = list(pool.map(run_case, together))
    results += [run_case(f) for f, alone in cases if alone]
    results.append(nodes_are_clean())
    return 0 if all(results) else 1
