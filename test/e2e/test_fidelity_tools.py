#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a person does with a pod (attach, exec in a terminal, port-forward, debug, logs of before), its account and image, and
what is refused or could not be honoured."""
import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time

from harness import CLUSTER, WAIT, Failed, case, eventually, expect, main, sc_manifest, shell
from twins import OURS, Twins


class Terminal:
    """kubectl in a terminal of its own."""

    def __init__(self, ns, *args):
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(CLUSTER, [CLUSTER, "kubectl", "-n", ns.name, *args])
        self.pid, self.fd, self.text = pid, fd, ""
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *why):
        os.close(self.fd)  # a hang-up
        os.waitpid(self.pid, 0)

    def type(self, line):
        os.write(self.fd, line.encode())

    def expect(self, pattern):
        """Reads until the pattern was seen."""
        deadline = time.monotonic() + WAIT
        while not re.search(pattern, self.text):
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failed("no %r in the terminal: %r" % (pattern, self.text[-500:]))
            try:
                self.text += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:  # EIO: kubectl has ended
                raise Failed("ended without %r: %r" % (pattern, self.text[-500:]))
        return re.search(pattern, self.text)


@case
def attach_and_exec_in_a_terminal(ns):
    ns.start("box", {"image": "sc.test/busybox:1", "command": ["sh"], "stdin": True, "tty": True, "terminationGracePeriodSeconds": 1})
    with Terminal(ns, "attach", "-it", "box") as t:
        t.type("echo mark-$((40+2)) on $(tty) as pid $$; echo kept > /kept\n")
        t.expect(r"mark-42 on /dev/pts/0 as pid 1\r")
    with Terminal(ns, "exec", "-it", "box", "--", "sh") as t:
        t.type("echo mark-$((1+1)) $(cat /kept) on $(tty); until stty size | grep 33.77; do :; done; exit\n")
        t.expect(r"mark-2 kept on /dev/pts/\d+\r\n33 77\r")
    ns.running("box", False)
    ns.running("box", True)
    with Terminal(ns, "attach", "-it", "box") as t:
        t.type("echo mark-$(cat /kept)\n")
        t.expect(r"mark-kept\r")


@case
def standard_input_without_a_terminal(ns):
    ns.start("box", {"image": "sc.test/busybox:1", "command": ["sh", "-c", "cat > /got; echo end of input; sleep 100000"], "stdin": True,
                     "stdinOnce": True, "terminationGracePeriodSeconds": 1})
    text = "line\n" * 1000
    p = subprocess.Popen([CLUSTER, "kubectl", "-n", ns.name, "attach", "-i", "box"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, text=True)
    try:
        p.stdin.write(text)
        p.stdin.close()
        eventually("the end of input", lambda: "end of input" in ns.kubectl("logs", "box").stdout)
    finally:
        p.kill()
        p.wait()
    expect(ns.exec("box", "cat", "/got").stdout == text, "what came through attach -i")
    expect(ns.exec("box", "sh", "-c", "cat > /in; wc -c < /in", stdin="x" * 100000).stdout.strip() == "100000", "exec -i")


@case
def port_forward(ns):
    ns.start("box", {"image": "sc.test/busybox:1", "ports": [{"name": "web", "containerPort": 8080}], "terminationGracePeriodSeconds": 1,
                     "command": ["sh", "-c", "echo from the root > /page; while :; do nc -l -p 8080 -e cat /page; done"]})
    eventually("a listener", lambda: ":1F90 " in ns.sh("box", "cat /proc/net/tcp /proc/net/tcp6"))
    p = subprocess.Popen([CLUSTER, "kubectl", "-n", ns.name, "port-forward", "pod/box", ":web"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r"127\.0\.0\.1:(\d+)", p.stdout.readline()).group(1))
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as s:
            expect(s.makefile().read() == "from the root\n", "what came through the port")
    finally:
        p.terminate()
        p.wait()


@case
def logs_of_before_and_debug(ns):
    script = "echo run >> /runs; n=$(wc -l < /runs); echo this is run $n; test $n -ge 2 && exec sleep 100000; exit 1"
    ns.start("box", {"image": "sc.test/busybox:1", "command": ["sh", "-c", script], "terminationGracePeriodSeconds": 1})
    eventually("the second run", lambda: ns.kubectl("logs", "box").stdout == "this is run 2\n")
    expect(ns.kubectl("logs", "-p", "box").stdout == "this is run 1\n", "kubectl logs -p: " + ns.kubectl("logs", "-p", "box").stdout)
    ns.kubectl("debug", "box", "--image=sc.test/debian:1", "--target=main", "--container=doctor", "--profile=general", "--", "sh", "-c",
               "exec 2>&1; cat /proc/1/root/runs; tr '\\0' ' ' </proc/1/cmdline; echo; ls -d /.stoppablecontainer; "
               "cat /etc/debian_version; exec sleep 100000")  # in one stream: the order of two is nobody's

    def words():
        text = ns.kubectl("logs", "box", "-c", "doctor", check=False).stdout
        return text.count("\n") >= 5 and text
    text = eventually("the debugger's words", words)
    expect("run\nrun\nsleep 100000" in text and "12." in text, "the debugger does not see the preserved root, or not its own: " + text)
    expect("No such file" in text or "cannot access" in text, "our volume is in the debugger: " + text)
    ns.running("box", False)
    ns.running("box", True)
    eventually("the third run", lambda: ns.exec("box", "wc", "-l", "/runs", check=False).stdout.startswith("3"))


@case
def accounts_and_pull_secrets(ns):
    ns.kubectl("create", "serviceaccount", "robot")
    ns.kubectl("create", "secret", "docker-registry", "pull", "--docker-server=registry.test", "--docker-username=u", "--docker-password=p")
    where = "/var/run/secrets/kubernetes.io/serviceaccount"
    spec = {"serviceAccountName": "robot", "imagePullSecrets": [{"name": "pull"}], "containers": [
        {"name": "main", "image": "sc.test/busybox:1", "imagePullPolicy": "Never", "command": ["sleep", "100000"]}]}
    twins = Twins(ns, spec)
    claims = twins.same("the token", "cut -d. -f2 < %s/token | tr '_-' '/+' | sed 's/$/==/' | base64 -d 2>/dev/null | "
                                     "grep -o '\"sub\":\"[^\"]*\"'; cat %s/namespace; ls %s; md5sum %s/ca.crt" % ((where,) * 4))
    expect("serviceaccount:%s:robot" % ns.name in claims, claims)
    pods = {name: ns.get("pod/" + name)["spec"] for name in (OURS, OURS + "-provider")}
    for name, pod in pods.items():
        expect(pod["imagePullSecrets"] == [{"name": "pull"}] and pod["serviceAccountName"] == "robot", "%s: %r" % (name, pod))
        expect(pod["containers"][0]["imagePullPolicy"] == "Never", "imagePullPolicy of " + name)
    expect(not [v for v in pods[OURS + "-provider"]["volumes"] if "projected" in v], "the provider has a token")
    ns.start("none", shell(image="sc.test/busybox:1", script="exec sleep 100000", automountServiceAccountToken=False))
    expect(ns.exec("none", "ls", where, check=False).returncode != 0, "a token was mounted")


@case
def refused_with_a_sentence(ns):
    """Told in Ready, or by kubectl apply; and no pod is made."""
    def refused(name, pattern, **more):
        container = {"name": "main", "image": "sc.test/busybox:1", "command": ["sleep", "100000"], **more.pop("container", {})}
        return name, pattern, sc_manifest(name, {"containers": [container], **more})

    rows = [
        refused("users", "hostUsers: false: with user namespaces the owners", hostUsers=False),
        refused("windows", "asks for windows", os={"name": "windows"}),
        refused("selects", "asks for windows", nodeSelector={"kubernetes.io/os": "windows"}),
        refused("sandbox", "RuntimeClass gvisor: .*--runtime-classes", runtimeClassName="gvisor"),
        refused("hostproc", "windowsOptions: Linux only", container={"securityContext": {"windowsOptions": {"hostProcess": True}}}),
        refused("unmasked", "procMount", container={"securityContext": {"procMount": "Unmasked"}}),
        refused("sysctl", "sysctls", securityContext={"sysctls": [{"name": "no good", "value": "1"}]}),
        refused("dns", "must provide `dnsConfig`", dnsPolicy="None"),
        refused("term", "terminationMessagePolicy", container={"terminationMessagePolicy": "Never"}),
        refused("both", "privileged", container={"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}),
        refused("asks", "must be less than or equal to memory limit",
                container={"resources": {"requests": {"memory": "2Mi"}, "limits": {"memory": "1Mi"}}}),
        refused("unsafe", "forbidden sysctl", securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}),
    ]
    ns.apply(*(manifest for _, _, manifest in rows))
    for name, pattern, _ in rows:
        ns.ready_message(name, pattern)
        if name != "unsafe":  # the kubelet refuses that pod, not the API server
            expect(ns.get("pod/" + name, check=False) is None, "a pod was made for " + name)
            expect(ns.get("pod/" + name + "-provider", check=False) is None, "a provider was made for " + name)
    for field, value in (("ephemeralContainers", [{"name": "e", "image": "x"}]), ("noSuchField", 1)):
        manifest = sc_manifest("strict", {"containers": [{"name": "main", "image": "x"}], field: value})
        done = ns.kubectl("apply", "-f", "-", stdin=json.dumps(manifest), check=False)
        expect(done.returncode != 0 and field in done.stderr, "%s was taken: %s" % (field, done.stderr))


@case
def honored_lists_what_the_server_dropped(ns):
    """lifecycle.stopSignal stands behind a feature gate that is off in Kubernetes 1.37: the API server drops it in silence."""
    ns.start("plain", shell())
    asks = [{"name": "ASKED", "valueFrom": {"resourceFieldRef": {"resource": "requests.ephemeral-storage"}}}]
    ns.start("box", {**shell(), "env": asks, "os": {"name": "linux"}, "lifecycle": {"stopSignal": "SIGUSR1"}})
    expect("stopSignal" not in ns.get("pod/box")["spec"]["containers"][0]["lifecycle"], "this API server drops nothing any more")
    c = eventually("Honored", lambda: ns.condition("box", "Honored"))
    expect((c["status"], c["reason"]) == ("False", "NotHonored"), "%r" % c)
    for field in ("spec.containers[main].lifecycle.stopSignal", "spec.containers[main].env[ASKED].valueFrom.resourceFieldRef"):
        expect(field in c["message"], "%s is not in %r" % (field, c))
    c = eventually("Honored", lambda: ns.condition("plain", "Honored"))
    expect(c["status"] == "True", "%r" % c)


if __name__ == "__main__":
    sys.exit(main())
