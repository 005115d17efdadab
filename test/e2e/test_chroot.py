#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attach mode Chroot: the main job again, and what is different: exec by wrappers, capabilities, refusals."""
import sys
import tempfile

from harness import STATE, case, eventually, expect, kubectl, main, node, sc_manifest, shell

PIVOT = "use attach: Pivot"


def status_field(text, name):
    return next(line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith(name + ":"))


@case
def chroot_root_survives_a_stop(ns):
    """As root: write, exec, cp, probes and hooks in the root; a stop and a start; the agent and the kubelet restarted."""
    probe = {"exec": {"command": ["grep", "-q", "is-root", "/marker"]}, "periodSeconds": 1}
    container = shell(
        script="echo is-root > /marker; echo run >> /runs; trap 'exit 0' TERM; while :; do sleep 1 & wait; done",
        name="main", workingDir="/made/by/agent", volumeMounts=[{"name": "v", "mountPath": "/vol/deep"}], readinessProbe=probe,
        lifecycle={"postStart": {"exec": {"command": ["sh", "-c", "echo hook >> /hooks"]}},
                   "preStop": {"exec": {"command": ["sh", "-c", "echo stop >> /hooks"]}}})
    del container["terminationGracePeriodSeconds"]
    ns.start("box", {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 1},
             attach="Chroot")
    ns.kubectl("wait", "pod/box", "--for=condition=Ready", "--timeout=60s")
    expect(ns.exec("box", "pwd").stdout == "/made/by/agent\n", "the working directory")
    expect(ns.exec("box", "/bin/cat", "/marker").stdout == "is-root\n", "/bin/CMD is not in the root")
    expect(ns.exec("box", "/usr/bin/cat", "/hooks").stdout == "hook\n", "postStart was not in the root")
    expect(ns.sh("box", "cat /proc/1/root/marker; readlink /proc/1/exe; id -u") == "is-root\n/usr/bin/dash\n0",
           "pid 1 is not the user's process in the root: " + ns.sh("box", "readlink /proc/1/exe"))
    ns.sh("box", "dpkg -i /opt/debs/*.deb >&2; echo kept > /srv/kept; echo in-volume > /vol/deep/file; ls /etc/hosts /dev/null")
    expect("hosts" in ns.sh("box", "grep -o 'managed hosts' /etc/hosts"), "/etc/hosts is not the pod's")
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/up", "w") as f:
            f.write("sent " * 1000)
        ns.kubectl("cp", d + "/up", "box:/srv/up")
        ns.kubectl("cp", "box:/srv/up", d + "/down")
        with open(d + "/down") as f:
            expect(f.read() == "sent " * 1000, "kubectl cp changed the file")
    expect(ns.exec("box", "sh", "-c", "exit 7", check=False).returncode == 7, "exit code of exec")
    missing = ns.exec("box", "no-such-command", check=False)
    expect(missing.returncode != 0 and "no-such-command" in missing.stderr, "a missing command: " + missing.stderr)
    node("sh", "-c", "echo here > %s/instances/%s/main/rootfs/from-node" % (STATE, ns.instance_uid("box")))
    expect(ns.exec("box", "cat", "/from-node").stdout == "here\n", "it is not the exposed root")

    ns.running("box", False)
    expect(ns.get("pod/box", check=False) is None, "the consumer pod is still there after Stopped")
    ns.running("box", True)
    expect(ns.exec("box", "cat", "/srv/kept", "/runs").stdout == "kept\nrun\nrun\n", "files differ after a restart")
    expect(ns.exec("box", "cat", "/hooks").stdout == "hook\nstop\nhook\n", "preStop and postStart")
    expect(ns.exec("box", "sc-hello").returncode == 0, "a command installed before has no wrapper now")


@case
def chroot_as_another_user(ns):
    """By the file capability, which the command no longer has; under RuntimeDefault seccomp."""
    ns.start("box", {
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "main", "image": "sc.test/debian:1", "workingDir": "/tmp",
                        "command": ["sh", "-c", "cat /proc/self/status > /tmp/status; echo run >> /tmp/runs; exec sleep 100000"],
                        "livenessProbe": {"exec": {"command": ["test", "-s", "/tmp/runs"]}, "periodSeconds": 1}}],
        "terminationGracePeriodSeconds": 1}, attach="Chroot")
    for text, where in ((ns.exec("box", "cat", "/proc/self/status").stdout, "an exec"),
                        (ns.exec("box", "cat", "/tmp/status").stdout, "the container")):
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            expect(int(status_field(text, name)[0], 16) == 0, "%s of %s: %s" % (name, where, text))
        expect(int(status_field(text, "CapBnd")[0], 16) != 0, "the bounding set of %s is gone" % where)
        expect(status_field(text, "Uid") == ["1000"] * 4 and status_field(text, "Gid") == ["1000"] * 4, "ids of %s" % where)
        expect("2000" in status_field(text, "Groups"), "groups of %s: %s" % (where, status_field(text, "Groups")))
    expect(ns.exec("box", "pwd").stdout == "/tmp\n", "working directory")
    # By an absolute path outside the PATH it is not wrapped: a stated limit. It is not found, and nothing is written.
    ns.sh("box", "cp /bin/touch /tmp/touch")
    own = ns.exec("box", "/tmp/touch", "/tmp/lost", check=False)
    expect(own.returncode != 0 and "no such file" in own.stderr, "in the container's own root: " + own.stdout + own.stderr)
    ns.running("box", False)
    ns.running("box", True)
    expect(ns.exec("box", "cat", "/tmp/runs").stdout == "run\nrun\n", "the root was not kept")


@case
def chroot_images(ns):
    """ENTRYPOINT and CMD as in a plain pod, an image's own USER, a scratch image; several containers, read-only roots."""
    ns.kubectl("run", "plain", "--image=sc.test/nonroot:1", "--restart=Never")
    ns.start("def", {"image": "sc.test/nonroot:1", "terminationGracePeriodSeconds": 1}, attach="Chroot")
    ns.start("one", {"image": "sc.test/scratch:1", "terminationGracePeriodSeconds": 1}, attach="Chroot")
    ns.kubectl("wait", "pod/plain", "--for=condition=Ready", "--timeout=60s")
    want = eventually("log of a plain pod", lambda: ns.kubectl("logs", "plain").stdout)
    got = eventually("log of def", lambda: ns.kubectl("logs", "def").stdout)
    expect(got == want, "%r, a plain pod: %r" % (got, want))
    first = eventually("a log", lambda: ns.kubectl("logs", "one").stdout)
    ns.running("one", False)
    ns.running("one", True)
    second = eventually("a log", lambda: ns.kubectl("logs", "one").stdout)
    expect("1" in first and "2" in second, "the count in a scratch image's root: %r then %r" % (first, second))

    # A container that ends is made anew by the kubelet, with an own root of its own: attached again, to the same one.
    ns.start("crash", shell(script="echo run >> /runs; test $(wc -l < /runs) -ge 2 && exec sleep infinity; exit 3"),
             attach="Chroot")
    eventually("two runs", lambda: ns.exec("crash", "cat", "/runs", check=False).stdout == "run\nrun\n")
    expect(ns.get("pod/crash")["status"]["containerStatuses"][0]["restartCount"] == 1, "it was restarted in the same pod")

    def container(name, **more):
        return {"name": name, "image": "sc.test/debian:1", "command": ["sh", "-c", "echo %s >> /who; exec sleep infinity" % name],
                **more}
    ns.start("pair", {"containers": [container("left"), container("right", securityContext={"runAsUser": 1000}),
                                     container("fixed", securityContext={"readOnlyRootFilesystem": True})],
                      "terminationGracePeriodSeconds": 1}, attach="Chroot")
    expect(ns.exec("pair", "cat", "/who", container="left").stdout == "left\n", "the left root")
    denied = ns.exec("pair", "sh", "-c", "echo x > /who", container="right", check=False)
    expect("denied" in denied.stderr, "user 1000 writes to /: " + denied.stderr)
    fixed = ns.exec("pair", "sh", "-c", "echo x > /x", container="fixed", check=False)
    expect("Read-only" in fixed.stderr, "readOnlyRootFilesystem: " + fixed.stderr)


@case
def chroot_refusals(ns):
    """What cannot work is refused with a pointer to Pivot: by the controller where the template says so, else by execwrap."""
    restricted = {"allowPrivilegeEscalation": False}
    cases = {
        "escalation": shell(securityContext={"runAsUser": 1000, **restricted}),
        "nonroot": shell(securityContext={"runAsNonRoot": True, **restricted}),
        "dropped": shell(securityContext={"capabilities": {"drop": ["ALL"]}}),
        "taken": shell(volumeMounts=[{"name": "v", "mountPath": "/rootfs/data"}]),
    }
    for name, spec in cases.items():
        ns.apply(sc_manifest(name, spec, attach="Chroot"))
    # The image's own USER is 65532, which the controller does not know.
    ns.apply(sc_manifest("image-user", {"image": "sc.test/nonroot:1", "securityContext": restricted, "restartPolicy": "Never",
                                        "terminationGracePeriodSeconds": 1}, attach="Chroot"))
    for name in cases:
        ns.ready_message(name, PIVOT)
    expect([p["metadata"]["name"] for p in ns.get("pods")["items"] if not p["metadata"]["name"].startswith("image-user")] == [],
           "a pod was made for what is refused")
    ns.phase("image-user", "Failed")
    message = ns.get("stc/image-user")["status"]["lastRun"].get("message", "")
    expect("attach: Pivot" in message, "execwrap does not say why: %r; %s" % (message, ns.story("image-user")))


@case
def chroot_hostile_root(ns):
    """A root that its tenant made strange: the next start is in it all the same, or says why not."""
    ns.start("box", shell(), attach="Chroot")
    ns.sh("box", "mkdir /usr/sbin.d && for i in $(seq 1 10000); do echo; done | split -l 1 -a 4 - /usr/sbin.d/x && "
                 "chmod +x /usr/sbin.d/* && mv /usr/local/bin /usr/local/bin.old; ln -s /etc /usr/local/bin; "
                 "rm -rf /rootfs; ln -s / /rootfs; rm -rf /usr/local/sbin; mkfifo /usr/local/sbin; "
                 "cp /bin/true /usr/bin/execwrap; mkdir -p /.stoppablecontainer/chroot 2>/dev/null; mv /usr/sbin.d/* /usr/sbin/")
    ns.running("box", False)
    ns.running("box", True)
    expect(ns.sh("box", "readlink /rootfs /usr/local/bin") == "/\n/etc", "it is not in the root")
    expect(ns.exec("box", "execwrap", "run", "--", "nonsense").returncode == 0, "execwrap is the root's own")
    expect(ns.exec("box", "passwd.txt", check=False).returncode != 0, "a link instead of a directory was followed")
    log = kubectl("-n", "stoppablecontainer-system", "logs", "daemonset/sc-node-agent").stdout
    expect("has more commands than" in log, "too many commands are not told of")


if __name__ == "__main__":
    sys.exit(main())
