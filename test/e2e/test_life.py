#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The main job: write, stop, start, delete, in images of several kinds."""
import sys
import tempfile

from harness import case, eventually, expect, labels, main, node, sc_manifest, shell


@case
def debian_root_survives_two_stops(ns):
    ns.start("box", shell())
    ns.sh("box", "dpkg -i /opt/debs/*.deb >&2; echo first > /srv/notes; echo extra >> /etc/hosts.allow-test; "
                 "mkdir -p /srv/deep/er; ln -s /srv/notes /srv/link")
    ns.sh("box", "nohup sh -c 'exec -a survivor sleep 100000' >/dev/null 2>&1 & echo started")
    before = ns.sh("box", "dpkg -l sc-hello | tail -1; sc-hello; cat /srv/link")
    for turn in ("second", "third"):
        ns.running("box", False)
        expect(ns.get("pod/box", check=False) is None, "the consumer pod is still there after Stopped")
        expect(ns.get("pod/box-provider")["status"]["phase"] == "Running", "the provider does not hold the root")
        ns.running("box", True)
        expect(ns.sh("box", "dpkg -l sc-hello | tail -1; sc-hello; cat /srv/link") == before, "files differ after a restart")
        expect("100000" not in ns.sh("box", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), "a process survived the stop")
        ns.sh("box", "echo %s > /srv/%s" % (turn, turn))
    expect(ns.sh("box", "cat /srv/second /srv/third") == "second\nthird", "a file of a later run is missing")
    # A first start that is slow is told by an event of its own, a quick one with the root's.
    for reason, times in (("Created", (1,)), ("Stopped", (2,)), ("Started", (2, 3))):
        eventually("%s events %s" % (times, reason), lambda: len(ns.events("box", reason)) in times)


@case
def exec_cp_logs(ns):
    ns.start("box", shell(script="echo hello from pid $$$$; cat /etc/marker 2>/dev/null; exec sleep infinity"))
    log = eventually("a log", lambda: ns.kubectl("logs", "box").stdout)
    expect(log == "hello from pid 1\n", "the user's process is not pid 1, or execwrap speaks: %r" % log)
    expect(ns.exec("box", "/usr/bin/env").stdout.find("HOSTNAME=box") >= 0, "exec of any program, with the pod's environment")
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/up", "w") as f:
            f.write("sent " * 1000)
        ns.kubectl("cp", d + "/up", "box:/srv/up")
        ns.kubectl("cp", "box:/srv/up", d + "/down")
        with open(d + "/down") as f:
            expect(f.read() == "sent " * 1000, "kubectl cp changed the file")
    ns.sh("box", "echo marked > /etc/marker")
    ns.running("box", False)
    ns.running("box", True)
    eventually("the log of the second run", lambda: "marked" in ns.kubectl("logs", "box").stdout)
    expect(ns.exec("box", "sh", "-c", "exit 7", check=False).returncode == 7, "exit code of exec")


@case
def crash_restarts_in_the_same_root(ns):
    ns.start("box", shell(script="echo run >> /runs; test $(wc -l < /runs) -ge 3 && exec sleep infinity; exit 3"))
    eventually("three runs", lambda: ns.exec("box", "cat", "/runs", check=False).stdout.count("run") == 3)
    pod = ns.get("pod/box")
    expect(pod["status"]["containerStatuses"][0]["restartCount"] == 2, "the kubelet restarted it in the same pod")


@case
def two_containers_two_roots(ns):
    def container(name):
        return {"name": name, "image": "sc.test/debian:1",
                "command": ["sh", "-c", "echo %s >> /who; exec sleep infinity" % name]}
    ns.start("pair", {"containers": [container("left"), container("right")], "terminationGracePeriodSeconds": 1})
    for turn in (1, 2):
        for name in ("left", "right"):
            want = "".join([name + "\n"] * turn)
            eventually("run %d of %s in its own root" % (turn, name), lambda: ns.exec(
                "pair", "cat", "/who", container=name, check=False).stdout == want)
        ns.sh("pair", "touch /only-left", container="left")
        expect(ns.exec("pair", "ls", "/only-left", container="right", check=False).returncode != 0, "a file crossed over")
        ns.running("pair", False)
        ns.running("pair", True)


@case
def scratch_image_with_one_binary(ns):
    ns.start("one", {"image": "sc.test/scratch:1", "terminationGracePeriodSeconds": 2})
    first = ns.kubectl("logs", "one").stdout
    ns.running("one", False)
    ns.running("one", True)
    second = eventually("a log", lambda: ns.kubectl("logs", "one").stdout)
    expect("1" in first and "2" in second, "the count in the root did not survive: %r then %r" % (first, second))


@case
def image_entrypoint_and_cmd(ns):
    """As `docker run`: ENTRYPOINT + CMD; with args: ENTRYPOINT + args."""
    spec = {"image": "sc.test/nonroot:1", "terminationGracePeriodSeconds": 2}
    ns.kubectl("run", "plain", "--image=sc.test/nonroot:1", "--restart=Never")
    ns.kubectl("run", "plain-args", "--image=sc.test/nonroot:1", "--restart=Never", "--", "one", "two words")
    ns.start("def", spec)
    ns.start("args", {**spec, "args": ["one", "two words"]})
    for ours, plain in (("def", "plain"), ("args", "plain-args")):
        ns.kubectl("wait", "pod/" + plain, "--for=condition=Ready", "--timeout=60s")
        want = eventually("log of " + plain, lambda: ns.kubectl("logs", plain).stdout)
        got = eventually("log of " + ours, lambda: ns.kubectl("logs", ours).stdout)
        expect(got == want, "%s: %r, a plain pod: %r" % (ours, got, want))


@case
@labels(psa_enforce="restricted")
def restricted_namespace(ns):
    ns.start("box", {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000,
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "main", "image": "sc.test/busybox:1", "workingDir": "/tmp",
                        "command": ["sh", "-c", "echo run >> /tmp/runs; exec sleep 100000"],
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
        "terminationGracePeriodSeconds": 1})
    ns.running("box", False)
    ns.running("box", True)
    expect(ns.sh("box", "id -u; pwd; cat /tmp/runs") == "1000\n/tmp\nrun\nrun", "user, working directory or file wrong")
    for pod in ns.get("pods")["items"]:
        expect(not [v for v in pod["spec"]["volumes"] if "hostPath" in v], "a hostPath in the user's namespace")


@case
def delete_is_clean_and_a_name_starts_fresh(ns):
    ns.start("box", shell())
    ns.sh("box", "echo secret > /srv/secret")
    uid = ns.instance_uid("box")
    expect(ns.node_traces([uid]), "this check finds nothing even while the instance runs")
    ns.delete("stc/box")
    expect(ns.get("pods")["items"] == [], "pods left after kubectl delete returned")
    expect(ns.get("stci/box", check=False) is None, "the instance is left")
    expect(ns.node_traces([uid]) == "", "left on the node: " + ns.node_traces([uid]))
    processes = node("sh", "-c", "grep -l %s /proc/[0-9]*/cgroup 2>/dev/null; true" % uid).stdout
    expect(not processes, "processes left: " + processes)
    ns.start("box", shell())
    expect(ns.exec("box", "ls", "/srv/secret", check=False).returncode != 0, "the name's new owner sees the old root")


@case
def made_stopped_makes_nothing_until_started(ns):
    ns.apply(sc_manifest("box", shell(terminationGracePeriodSeconds=1), running=False))
    ns.phase("box", "Stopped")
    expect(ns.get("pods")["items"] == [] and ns.get("stci")["items"] == [], "something was made for a stopped one")
    ns.running("box", True)
    ns.running("box", False)
    ns.delete("stc/box")


@case
def workload_that_ends(ns):
    ns.apply(sc_manifest("job", {"containers": [{"name": "main", "image": "sc.test/debian:1",
                                                 "command": ["sh", "-c", "echo done >> /runs; exit 0"]}],
                                 "terminationGracePeriodSeconds": 1, "restartPolicy": "Never"}))
    ns.phase("job", "Succeeded")
    expect(ns.get("stc/job")["status"]["lastRun"]["exitCode"] == 0, "lastRun")
    ns.running("job", False)
    ns.kubectl("patch", "stc", "job", "--type=merge", "-p", '{"spec":{"running":true}}')
    ns.phase("job", "Succeeded")


if __name__ == "__main__":
    sys.exit(main())
