# SPDX-License-Identifier: Apache-2.0
"""The API server of the local cluster, spoken to without kubectl, and the processes of the system as the machine sees them: for
what calls often or measures."""
import base64
import http.client
import json
import pathlib
import queue
import re
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
CLUSTER = str(TOP / "tools" / "cluster")
CONTROLLER = "system:serviceaccount:stoppablecontainer-system:sc-controller"
MERGE = "application/merge-patch+json"


def out(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


class Refused(Exception):
    """The API server's answer is an error other than 404 and 409."""


class Api:
    """The API server, by the admin's client certificate out of the cluster's kubeconfig."""

    def __init__(self):
        config = json.loads(out(CLUSTER, "kubectl", "config", "view", "--raw", "--flatten", "-o", "json"))
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        self.context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            pem.flush()
            self.context.load_cert_chain(pem.name)
        self.host = urllib.parse.urlparse(cluster["server"])
        self.own = threading.local()

    def connect(self):
        return http.client.HTTPSConnection(self.host.hostname, self.host.port, context=self.context)

    def call(self, method, path, body=None, kind="application/json"):
        """The object that is the answer; of 404 and 409 the Status. Each thread keeps its connection."""
        text = json.dumps(body) if body is not None else None
        if not hasattr(self.own, "connection"):
            self.own.connection = self.connect()
        try:
            answer = self.ask(method, path, text, kind)
        except (http.client.HTTPException, OSError):
            self.own.connection.close()  # the server had closed it, or something broke: once more on a new one
            answer = self.ask(method, path, text, kind)
        text = answer.read()
        if answer.status >= 300 and answer.status not in (404, 409):
            raise Refused("%s %s: %d %s" % (method, path, answer.status, text[:300]))
        return json.loads(text)

    def ask(self, method, path, text, kind):
        self.own.connection.request(method, path, body=text, headers={"Content-Type": kind})
        return self.own.connection.getresponse()

    def watch(self, path):
        """A queue of (monotonic time, type, object) from now on. The server ends a watch whose reader is slow; it is gone on with,
        and where that is too late, what is there then comes as modified."""
        version = self.call("GET", path + "?limit=1")["metadata"]["resourceVersion"]
        events = queue.Queue()

        def follow():
            last = version
            while True:
                try:
                    last = self.read_watch(path, last, events)
                except (OSError, http.client.HTTPException, ValueError):
                    time.sleep(0.2)
        threading.Thread(target=follow, daemon=True).start()
        return events

    def read_watch(self, path, last, events):
        """Until the stream ends; returns the version to go on with."""
        connection = self.connect()
        connection.request("GET", "%s?watch=1&resourceVersion=%s" % (path, last))
        for line in connection.getresponse():
            event = json.loads(line)
            if event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
                everything = self.call("GET", path)
                for thing in everything["items"]:
                    events.put((time.monotonic(), "MODIFIED", thing))
                return everything["metadata"]["resourceVersion"]
            last = event["object"]["metadata"]["resourceVersion"]
            events.put((time.monotonic(), event["type"], event["object"]))
        return last


def nodes():
    """Name -> pid, as the machine numbers it, of process 1 of each node that is on."""
    done = subprocess.run([CLUSTER, "status"], stdout=subprocess.PIPE, text=True)
    return {name: int(pid) for name, pid in re.findall(r"^(node\d+): on, .*process 1 is (\d+)$", done.stdout, re.M)}


def cgroup_name(pid):
    """The name that all cgroups of a node of a cluster begin with; None for a process of the machine's own."""
    found = re.search(r"stoppablecontainer-[0-9a-f]+-node\d+", pathlib.Path("/proc/%d/cgroup" % pid).read_text())
    return found and found[0]


def pids(comm):
    """The processes of that name on the nodes of this cluster; probes are left out."""
    ours = {cgroup_name(pid) for pid in nodes().values()}
    found = []
    for d in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (d / "comm").read_text().strip() == comm and "\0probe" not in (d / "cmdline").read_text() \
                    and cgroup_name(int(d.name)) in ours:
                found.append(int(d.name))
        except OSError:
            pass
    return found


def anonymous_mb(pid):
    return int(re.search(r"^Anonymous:\s+(\d+)", pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text(), re.M)[1]) / 1024


class Writes:
    """API writes of the controller between two instants, from the audit log; leases do not count."""

    def __init__(self):
        self.path = out(CLUSTER, "audit").strip()

    def count(self, since, till):
        n = 0
        with open(self.path) as log:
            for line in log:
                if CONTROLLER not in line:
                    continue
                e = json.loads(line)
                at = e.get("requestReceivedTimestamp", "")
                if e["verb"] in ("create", "update", "patch", "delete") and since <= at <= till \
                        and e.get("objectRef", {}).get("resource") != "leases" and e["stage"] == "ResponseComplete":
                    n += 1
        return n


def now():
    t = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + ".%06dZ" % int(t % 1 * 1e6)
