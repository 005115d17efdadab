# SPDX-License-Identifier: Apache-2.0
"""For the tests of the controller's room: the API server without kubectl (a request in a millisecond, watches that are
streams), and the program under test as one of several replicas."""
import base64
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "test" / "e2e"))
from harness import GROUP, SYSTEM, Failed, eventually, expect, kubectl, run  # noqa: E402

BUILD = os.environ.get("B", "build/gcc")
CLUSTER = str(TOP / "tools" / "cluster")
SCS = "/apis/%s/v1alpha1/namespaces/%%s/stoppablecontainers" % GROUP
SCIS = "/apis/%s/v1alpha1/namespaces/%%s/stoppablecontainerinstances" % GROUP
PODS = "/api/v1/namespaces/%s/pods"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/%s/leases/sc-controller" % SYSTEM
MERGE = "application/merge-patch+json"
TICK = os.sysconf("SC_CLK_TCK")
CASES = []  # of the program that runs, in order


class Api:
    """The API server, as the cluster's administrator."""

    def __init__(self):
        self.kubeconfig = run([CLUSTER, "kubeconfig"]).stdout.strip()
        config = json.loads(run([CLUSTER, "kubectl", "config", "view", "--raw", "--flatten", "-o", "json"]).stdout)
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        self.ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=self.ca)
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            pem.flush()
            self.context.load_cert_chain(pem.name)
        self.server = urllib.parse.urlparse(cluster["server"])
        self.local = threading.local()

    def connect(self, timeout=60):
        return http.client.HTTPSConnection(self.server.hostname, self.server.port, context=self.context, timeout=timeout)

    def call(self, method, path, body=None, kind="application/json"):
        """Status and decoded answer. One connection for each thread."""
        for again in (True, False):
            connection = getattr(self.local, "connection", None) or self.connect()
            self.local.connection = None
            try:
                connection.request(method, path, body=None if body is None else json.dumps(body), headers={"Content-Type": kind})
                answer = connection.getresponse()
                value = json.loads(answer.read() or b"{}")
            except (OSError, http.client.HTTPException):
                if not again:
                    raise
                continue
            self.local.connection = connection
            return answer.status, value

    def get(self, path):
        status, value = self.call("GET", path)
        return value if status == 200 else None

    def must(self, method, path, body=None, kind="application/json"):
        status, value = self.call(method, path, body, kind)
        expect(status < 300, "%s %s: %d %s" % (method, path, status, value.get("message")))
        return value

    def patch(self, path, body):
        return self.must("PATCH", path, body, MERGE)

    def list(self, path):
        return self.must("GET", path)["items"]

    def watch(self, path, query, handle, stop):
        """Calls handle(type, object) for what is there and for all that follows, until stop() is true; also when the server was
        away meanwhile."""
        def once():
            listing = self.must("GET", "%s?%s" % (path, query))
            for item in listing["items"]:
                handle("ADDED", item)
            connection = self.connect(timeout=300)
            connection.request("GET", "%s?watch=1&allowWatchBookmarks=true&resourceVersion=%s&%s" % (
                path, listing["metadata"]["resourceVersion"], query))
            for line in connection.getresponse():
                event = json.loads(line)
                if event["type"] == "ERROR" or stop():
                    break
                if event["type"] != "BOOKMARK":
                    handle(event["type"], event["object"])

        def follow():
            while not stop():
                try:
                    once()
                except (OSError, http.client.HTTPException, Failed):
                    time.sleep(0.1)
        threading.Thread(target=follow, daemon=True).start()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Replica:
    """The program under test."""

    def __init__(self, name, kubeconfig, *options, preload=None):
        self.name = name
        self.port = free_port()
        self.log = "/tmp/sc-%s-%d.log" % (name, os.getpid())
        self.argv = [BUILD + "/sc-controller", "--kubeconfig=" + kubeconfig, "--namespace=" + SYSTEM, "--reclaim-image=none:1",
                     "--health-port=%d" % self.port, "--log-level=debug", *options]
        self.env = dict(os.environ, POD_NAME=name, **(preload or {}))
        self.process = None
        self.ended = 0  # times that it ended by itself
        self.cpu_before = 0.0  # of processes that ended

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, env=self.env, stdout=log, stderr=log, cwd=TOP)
        return self

    def keep(self):
        """What a kubelet does: starts it again when it has ended."""
        if self.process.poll() is not None:
            self.ended += 1
            self.start()

    def metrics(self):
        """Its figures by name; {} when it does not answer."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.port, timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}

    def leads(self):
        m = self.metrics()
        return m.get("sc_controller_leader") == 1 and m.get("sc_controller_synced") == 1

    def synced(self):
        return self.metrics().get("sc_controller_synced") == 1

    def cpu(self):
        """Seconds of processor time of the running process."""
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def end(self):
        self.signal(signal.SIGTERM)
        return self.process.wait(20)

    def said(self, words):
        with open(self.log, errors="replace") as f:
            return f.read().count(words)


def writes(namespace, names=()):
    """Writes of controllers in a namespace, from the audit log: (who, verb, resource/name[/subresource], status). Who is the
    address that the request came from, which tells replicas apart only by their user agents; names limits the resources."""
    found = []
    with open(run([CLUSTER, "audit"]).stdout.strip()) as log:
        for line in log:
            if '"sc-controller/' not in line or namespace not in line:
                continue
            event = json.loads(line)
            ref = event.get("objectRef") or {}
            if event.get("stage") != "ResponseComplete" or ref.get("namespace") != namespace or event["verb"] in (
                    "get", "list", "watch"):
                continue
            if names and ref["resource"] not in names:
                continue
            path = "/".join(p for p in (ref["resource"], ref.get("name"), ref.get("subresource")) if p)
            found.append((event["verb"], path, event["responseStatus"]["code"], event["requestReceivedTimestamp"]))
    return found


def deployed_replicas(value=None):
    """Scales a controller that is deployed in the cluster; returns how many there were."""
    done = kubectl("-n", SYSTEM, "get", "deployment", "sc-controller", "-o", "json", check=False)
    if done.returncode != 0:
        return 0
    if value is not None:
        kubectl("-n", SYSTEM, "scale", "deployment", "sc-controller", "--replicas=%d" % value)
        if value == 0:
            kubectl("-n", SYSTEM, "wait", "pod", "-l", "app.kubernetes.io/name=sc-controller", "--for=delete",
                    "--timeout=60s", check=False)
    return json.loads(done.stdout)["spec"]["replicas"]


def prepare():
    """The API types and our namespace."""
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(TOP / "deploy" / "crds"))
    kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
    kubectl("create", "namespace", SYSTEM, check=False)


def make_namespace(api, name):
    """One in which pods can be made; its name."""
    api.must("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    eventually("a service account", lambda: api.get("/api/v1/namespaces/%s/serviceaccounts/default" % name))
    return name


def run_cases(wanted, report):
    """Runs those of the cases that are wanted, or all, and prints a line for each; the exit status. report(name) is called
    after one that failed."""
    good = []
    for function in CASES:
        if wanted and function.__name__ not in wanted:
            continue
        began, problem = time.monotonic(), None
        try:
            function()
        except Exception as e:  # a bug in the test is a failure of the case, told with its place
            problem = str(e) if isinstance(e, Failed) else traceback.format_exc()
        text = "not ok - %s: %s" % (function.__name__, problem.replace("\n", " / ")) if problem else "ok - " + function.__name__
        print("%s (%.1f s)" % (text, time.monotonic() - began), flush=True)
        if problem:
            report(function.__name__)
        good.append(not problem)
    return 0 if good and all(good) else 1


def case(function):
    CASES.append(function)
    return function


def play(world, report):
    """A program's main: its cases in its world, with no controller but those that the world starts. The exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    prepare()
    replicas = deployed_replicas(0)
    world.api.call("DELETE", LEASE)
    try:
        world.up()
        return run_cases(sys.argv[1:], report)
    finally:
        world.down()
        world.api.call("DELETE", LEASE)  # of a process that was killed: nobody is to wait for it
        if replicas:
            deployed_replicas(replicas)


def quiet(count, seconds, timeout=60):
    """Waits until count() has not changed for that long; returns it."""
    last, since, deadline = count(), time.monotonic(), time.monotonic() + timeout
    while time.monotonic() - since < seconds:
        if time.monotonic() > deadline:
            raise Failed("no quiet of %d s within %d s: still writing" % (seconds, timeout))
        time.sleep(0.5)
        now = count()
        if now != last:
            last, since = now, time.monotonic()
    return last
