#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Probes, hooks, init containers, sidecars and network policy, as in a plain pod; and never in another root than the preserved."""
import json
import sys

from harness import TOP, case, eventually, expect, kubectl, main, node, sc_manifest, shell
from twins import OURS, PLAIN, Twins

SLEEP = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"
# HTTP on 8080: each path asked for is a line of /requests; anything but /bad is 200. On 9090 the gRPC health service, by hand:
# HTTP/2 settings, and for stream N the headers (:status 200, content-type), SERVING, and trailers (grpc-status 0).
SERVER = r"""
use Socket; $| = 1;
sub listener { socket(my $s, AF_INET, SOCK_STREAM, 0) or die; setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
    bind($s, sockaddr_in($_[0], INADDR_ANY)) or die $!; listen($s, 9) or die; return $s }
sub text { return chr(length $_[0]) . $_[0] }
sub frame { my ($type, $flags, $stream, $data) = @_; return substr(pack("N", length $data), 1) . pack("CCN", $type, $flags, $stream) . $data }
sub grpc { my $c = shift; my $b = ""; binmode $c; syswrite($c, frame(4, 0, 0, "")); sysread($c, $b, 24) == 24 or return;
    while (1) { my ($h, $d) = ("", ""); while (length $h < 9) { sysread($c, $h, 9 - length $h, length $h) or return }
        my $n = unpack("N", "\0" . substr($h, 0, 3)); my ($type, $flags, $id) = unpack("CCN", substr($h, 3));
        while (length $d < $n) { sysread($c, $d, $n - length $d, length $d) or return }
        syswrite($c, frame(4, 1, 0, "")) if $type == 4 && !($flags & 1);
        syswrite($c, frame(6, 1, 0, $d)) if $type == 6 && !($flags & 1);
        syswrite($c, frame(1, 4, $id, "\x88\0" . text("content-type") . text("application/grpc")) .
            frame(0, 0, $id, "\0\0\0\0\2\x08\1") . frame(1, 5, $id, "\0" . text("grpc-status") . text("0"))) if $type == 0 && ($flags & 1);
    } }
$SIG{CHLD} = "IGNORE"; $SIG{TERM} = sub { exit 0 };
if (!fork) { my $s = listener(9090); while (accept(my $c, $s)) { if (!fork) { grpc($c); exit } close $c } exit }
my $s = listener(8080);
while (1) { accept(my $c, $s) or next; my $r = <$c>; my ($p) = $r =~ m{^\w+ (\S+)}; open(my $f, ">>", "/requests"); print $f "$p\n"; close $f;
    while (<$c>) { last if /^\r?$/ } print $c $p eq "/bad" ? "HTTP/1.0 500 x\r\n\r\n" : "HTTP/1.0 200 OK\r\n\r\n"; close $c }
"""
SERVE = ["perl", "-e", SERVER.replace("$$", "$$$$")]


def container(script=SLEEP, name="main", image="sc.test/debian:1", mounts=(), **more):
    return {"name": name, "image": image, "command": ["sh", "-c", script],
            "volumeMounts": [{"name": v, "mountPath": p} for v, p in mounts], **more}


def probe(script, **more):
    return {"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1, "timeoutSeconds": 10, **more}


def hook(script):
    return {"exec": {"command": ["sh", "-c", script]}}


def pod_spec(*containers, **more):
    return {"containers": list(containers), "terminationGracePeriodSeconds": 5, **more}


def restarts(ns, pod):
    return [c["restartCount"] for c in ns.get("pod/" + pod)["status"]["containerStatuses"]]


def lines(ns, pod, path, want, container=None):
    """Waits until the file has these lines."""
    def look():
        look.last = ns.exec(pod, "cat", path, container=container, check=False).stdout.split()
        return look.last == want
    eventually(lambda: "%s of %s is %r and not %r; %s" % (path, pod, look.last, want, ns.story(pod)), look)


@case
def probes_of_every_kind(ns):
    http = {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10}
    grpc = {"grpc": {"port": 9090, "service": "x"}, "periodSeconds": 1, "timeoutSeconds": 10}
    tcp = {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 60}
    t = Twins(ns, pod_spec(container(command=SERVE, ports=[{"name": "web", "containerPort": 8080}], startupProbe=tcp,
                                     livenessProbe=http, readinessProbe=grpc)))
    for turn in (1, 2):
        ns.kubectl("wait", "stc/" + OURS, "--for=condition=Ready", "--timeout=60s")
        eventually("an HTTP probe in both", lambda: all(
            "/live" in ns.exec(p, "cat", "/requests", check=False).stdout for p in (PLAIN, OURS)))
        expect(restarts(ns, OURS) == [0], "a probe restarted it")
        t.ours("mv /requests /requests-%d" % turn)
        t.again()
    expect("/live" in t.ours("cat /requests-1") and "/live" in t.ours("cat /requests-2"), "what was written about the probes")


@case
def exec_probes_and_hooks_only_see_the_preserved_root(ns):
    """From the second start on, /made must be there for every one of them. Who misses it says so in a volume, which can be
    written from any root (the image's own is read-only there)."""
    look = "echo %s >> /seen; test -e /made || { echo %s >> /v/wrong; exit 1; }"
    ns.start("box", pod_spec(container("touch /made; " + SLEEP)))
    ns.running("box", False)
    hooks = {"postStart": hook(look % ("postStart", "postStart")), "preStop": hook(look % ("preStop", "preStop"))}
    probes = {n + "Probe": probe(look % (n, n), failureThreshold=1) for n in ("startup", "liveness", "readiness")}
    ns.apply(sc_manifest("box", pod_spec(container(look % ("main", "main") + "; " + SLEEP, mounts=[("v", "/v")], lifecycle=hooks, **probes),
                                         volumes=[{"name": "v", "emptyDir": {}}]), running=False))
    for _ in range(4):
        ns.running("box", True)
        ns.kubectl("wait", "stc/box", "--for=condition=Ready", "--timeout=60s")
        wrong = ns.sh("box", "cat /v/wrong 2>/dev/null; true")
        expect(wrong == "", "in another root: " + wrong)
        expect(restarts(ns, "box") == [0], "it was restarted: " + ns.story("box"))
        ns.running("box", False)
    events = ns.kubectl("get", "events", "--field-selector", "involvedObject.name=box", "-o", "jsonpath={.items[*].reason} {.items[*].message}").stdout
    expect("StartHook" not in events and "StopHook" not in events and "execwrap" not in events, "a hook or probe failed: " + events)
    ns.running("box", True)
    seen = ns.sh("box", "sort /seen | uniq -c")
    for what in ("5 main", "5 postStart", "4 preStop", "startup", "liveness", "readiness"):
        expect(what in seen, "no %r in what was run: %s" % (what, seen))


@case(alone=True)
def hooks_and_probes_wait_for_a_late_root(ns):
    """The agent does not answer while the main containers start: an init container holds them back until it is stopped."""
    miss = "test -e /made || { echo %s >> /v/wrong; exit 1; }"
    wait = container("until test -e /v/go; do sleep 0.1; done", "wait", mounts=[("v", "/v")])
    variants = {"hooked": {"lifecycle": {"postStart": hook(miss % "postStart")}},
                "probed": {"lifecycle": {"postStart": {"sleep": {"seconds": 1}}},
                           "startupProbe": probe(miss % "startup", timeoutSeconds=60, failureThreshold=9),
                           "readinessProbe": probe(miss % "readiness", timeoutSeconds=60)}}
    agents = node("sh", "-c", "for p in /proc/[0-9]*; do test \"$(tr '\\0' ' ' < $p/cmdline | cut -d' ' -f1 | sed 's,.*/,,')\" = "
                              "sc-node-agent && echo ${p#/proc/}; done; true").stdout.split()
    expect(len(agents) >= 1, "no agent is running")
    for name, more in variants.items():
        ns.start(name, pod_spec(container("touch /made; " + SLEEP)))
        ns.running(name, False)
        ns.apply(sc_manifest(name, pod_spec(container(miss % "main" + "; " + SLEEP, mounts=[("v", "/v")], **more),
                                            initContainers=[wait], volumes=[{"name": "v", "emptyDir": {}}])))
    for name in variants:
        eventually("the init container of " + name, lambda: ns.exec(name, "true", container="wait", check=False).returncode == 0)
    try:
        node("kill", "-STOP", *agents)
        for name in variants:
            ns.exec(name, "touch", "/v/go", container="wait")

        def waiting(name):  # execwrap waits in front of the hook or probe; or what came too early has said so
            cgroup = ns.get("pod/" + name)["metadata"]["uid"]
            found = node("sh", "-c", "for p in $(grep -l %s /proc/[0-9]*/cgroup 2>/dev/null); do tr '\\0' ' ' < ${p%%cgroup}cmdline; "
                                     "echo; done" % cgroup, check=False).stdout
            return "execwrap exec" in found or ns.exec(name, "cat", "/v/wrong", check=False).stdout
        for name in variants:
            eventually("a hook or probe of %s to wait" % name, lambda: waiting(name))
    finally:
        node("kill", "-CONT", *agents)
    for name in variants:
        ns.kubectl("wait", "stc/" + name, "--for=condition=Ready", "--timeout=90s")
        wrong = ns.sh(name, "cat /v/wrong 2>/dev/null; true")
        expect(wrong == "" and restarts(ns, name) == [0], "%s was in another root: %r" % (name, wrong))


@case
def liveness_failure_restarts_in_the_same_root(ns):
    script = "echo run >> /runs; touch /healthy; " + SLEEP
    ns.start("box", pod_spec(container(script, livenessProbe=probe("test -e /healthy", failureThreshold=1, initialDelaySeconds=2),
                                       readinessProbe=probe("test -e /ready"))))
    lines(ns, "box", "/runs", ["run"])
    ns.ready_message("box", "unready|not ready")
    ns.sh("box", "touch /ready")
    ns.kubectl("wait", "stc/box", "--for=condition=Ready", "--timeout=60s")
    ns.sh("box", "rm /healthy")
    lines(ns, "box", "/runs", ["run", "run"])
    ns.kubectl("wait", "stc/box", "--for=condition=Ready", "--timeout=60s")
    expect(restarts(ns, "box") == [1], "restarts %r" % restarts(ns, "box"))
    expect(ns.sh("box", "ls /healthy /ready") == "/healthy\n/ready", "the root after a restart")


@case
def pre_stop_ends_before_term(ns):
    script = "trap 'echo term >> /log; exit 0' TERM; while :; do sleep 1000 & wait $!; done"
    slow = hook("echo pre >> /log; sleep 2; echo post >> /log")
    ns.start("slow", pod_spec(container(script, lifecycle={"preStop": slow}), terminationGracePeriodSeconds=30))
    ns.start("nap", pod_spec(container("trap 'date +%s >> /log; exit 0' TERM; while :; do sleep 1000 & wait $!; done",
                                       lifecycle={"preStop": {"sleep": {"seconds": 3}}}), terminationGracePeriodSeconds=30))
    began = int(ns.sh("nap", "date +%s"))
    for name in ("slow", "nap"):
        ns.running(name, False)
        ns.running(name, True)
    expect(ns.sh("slow", "cat /log") == "pre\npost\nterm", "preStop, then TERM: " + ns.sh("slow", "cat /log"))
    expect(int(ns.sh("nap", "cat /log")) - began >= 3, "a sleep as preStop")


@case
def http_hooks(ns):
    ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sink"}, "spec": pod_spec(container(
        command=SERVE, readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}))})
    ns.kubectl("wait", "pod/sink", "--for=condition=Ready", "--timeout=60s")
    address = ns.get("pod/sink")["status"]["podIP"]
    get = {n: {"httpGet": {"host": address, "port": 8080, "path": "/" + n}} for n in ("postStart", "preStop")}
    t = Twins(ns, pod_spec(container(lifecycle=get)))
    t.again()
    ns.kubectl("delete", "pod", PLAIN)
    # The kubelet sends a preStop request once for each; it does not wait for who reads it.
    asked = eventually("the requests", lambda: (lambda s: s.count("preStop") == 2 and s)(ns.sh("sink", "sort /requests")))
    expect(asked.split() == ["/postStart"] * 3 + ["/preStop"] * 2, asked)


@case
def failing_post_start_is_tried_again_in_the_same_root(ns):
    ns.apply(sc_manifest("box", pod_spec(container("echo run >> /runs; " + SLEEP, lifecycle={"postStart": hook(
        "echo try >> /tries; test $(wc -l < /tries) -ge 2 || { echo no luck; exit 3; }")}))))
    eventually("the kubelet's event", lambda: ns.kubectl(
        "get", "events", "--field-selector", "involvedObject.kind=Pod,reason=FailedPostStartHook", "-o", "name").stdout)
    ns.kubectl("wait", "stc/box", "--for=condition=Ready", "--timeout=90s")
    expect(ns.sh("box", "cat /tries | wc -l; cat /runs | wc -l").split() == ["2", "2"], "two tries, two runs, one root")
    expect(restarts(ns, "box") == [1], "restarts %r" % restarts(ns, "box"))


@case
def init_containers_run_at_every_start(ns):
    """In roots of their own: what they write there is gone, what they write into a volume arrives."""
    volume = [("v", "/v")]
    first = container("test ! -e /own || echo KEPT >> /v/log; touch /own; echo one >> /v/log; chmod 666 /v/log", "first", mounts=volume)
    second = container("test ! -e /own || echo SHARED >> /v/log; echo two >> /v/log; id -u >> /v/log", "second", "sc.test/busybox:1",
                       volume, securityContext={"runAsUser": 1000})
    t = Twins(ns, pod_spec(container("cat /v/log >> /history; " + SLEEP, mounts=volume), initContainers=[first, second],
                           securityContext={"fsGroup": 1000}, volumes=[{"name": "v", "emptyDir": {}}]))
    t.same("what init containers did", "cat /history; ls /own 2>&1; stat -c '%a %u:%g' /v /v/log")
    t.again()
    expect(t.ours("cat /history").split() == ["one", "two", "1000"] * 2, "run again at the second start: " + t.ours("cat /history"))


@case
def failing_init_containers(ns):
    """Tried again until it works, also when that takes longer than a root; for good with restartPolicy Never."""
    volume = [("v", "/v")]
    again = container("echo try >> /v/n; sleep 6; test $(wc -l < /v/n) -ge 2", "again", mounts=volume)
    more = {"initContainers": [again], "volumes": [{"name": "v", "emptyDir": {}}]}
    ns.apply(sc_manifest("box", pod_spec(container(mounts=volume), **more)),
             sc_manifest("never", pod_spec(container(), restartPolicy="Never", initContainers=[container("exit 5", "bad")])))
    ns.phase("never", "Failed")
    expect("bad" in ns.condition("never", "Ready")["message"] and "5" in ns.condition("never", "Ready")["message"],
           "which init container failed, and how: " + ns.story("never"))
    uid = eventually("the pod", lambda: (ns.get("pod/box", check=False) or {}).get("metadata", {}).get("uid"))
    ns.phase("box", "Running")
    pod = ns.get("pod/box")
    expect(ns.sh("box", "wc -l < /v/n") == "2" and pod["status"]["initContainerStatuses"][0]["restartCount"] == 1, "two tries")
    expect(pod["metadata"]["uid"] == uid, "another pod was made meanwhile")


@case
def native_sidecars(ns):
    """Before the main container, beside it, and after it; with probes and hooks; in a root of its own that is not kept."""
    path = "/var/lib/kubelet/e2e-hostpath-" + ns.name
    try:
        volume = [("v", "/v"), ("out", "/out")]
        say = "echo %s >> /out/$NAME"
        env = [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
        sidecar = container(
            (say % "side-up") + "; sleep 1; touch /v/up; trap 'echo side-term >> /out/$NAME; exit 0' TERM; while :; do sleep 1000 & wait $!; done",
            "side", "sc.test/busybox:1", volume, restartPolicy="Always", env=env, startupProbe=probe("test -e /v/up"),
            readinessProbe=probe("test -e /v/up"), lifecycle={"postStart": hook("touch /v/post"), "preStop": hook(say % "side-pre")})
        script = ("test -e /v/up && echo main-after >> /out/$NAME; trap 'echo main-term >> /out/$NAME; exit 0' TERM; "
                  "while :; do sleep 1000 & wait $!; done")
        t = Twins(ns, pod_spec(container(script, mounts=volume, env=env), initContainers=[sidecar], terminationGracePeriodSeconds=20,
                               volumes=[{"name": "v", "emptyDir": {}}, {"name": "out", "hostPath": {
                                   "path": path, "type": "DirectoryOrCreate"}}]))
        t.same_mounts("side")
        t.same("the sidecar", "ls /v | sort; tr '\\0' ' ' < /proc/1/cmdline; ls /", "side")
        t.ours("touch /own-file", "side")
        ns.running(OURS, False)
        ns.kubectl("delete", "pod", PLAIN)
        told = [node("cat", path + "/" + pod).stdout.split() for pod in (PLAIN, OURS)]
        for words in told:  # the kubelet runs the sidecar's preStop beside the end of the main container
            expect(sorted(words[2:4]) == ["main-term", "side-pre"] and words[:2] + words[4:] == ["side-up", "main-after", "side-term"],
                   "the order of things: a plain pod %r, ours %r" % (told[0], told[1]))
        ns.running(OURS, True)
        expect(ns.exec(OURS, "ls", "/own-file", container="side", check=False).returncode != 0, "a sidecar's own root is a fresh one")
        t.ours("kill -9 -1; kill 1", "side")
        eventually("the sidecar to run again", lambda: ns.get("pod/" + OURS)["status"]["initContainerStatuses"][0]["restartCount"] == 1)
        ns.kubectl("wait", "stc/" + OURS, "--for=condition=Ready", "--timeout=60s")
        expect(restarts(ns, OURS) == [0], "the main container went with its sidecar")
    finally:
        node("rm", "-rf", path)


@case
def a_new_sandbox_runs_on_the_same_root(ns):
    ns.start("box", pod_spec(container("cat /v/n >> /history; " + SLEEP, mounts=[("v", "/v")]),
                             container("echo busy >> /who; " + SLEEP, "other", "sc.test/busybox:1"),
                             initContainers=[container("echo init >> /v/n", "init", mounts=[("v", "/v")])],
                             volumes=[{"name": "v", "emptyDir": {}}]))
    lines(ns, "box", "/history", ["init"], "main")
    uid = ns.get("pod/box")["metadata"]["uid"]
    sandbox = node("ctr", "-n", "k8s.io", "containers", "ls", "-q",
                   "labels.\"io.kubernetes.pod.uid\"==%s,labels.\"io.cri-containerd.kind\"==sandbox" % uid).stdout.split()
    expect(len(sandbox) == 1, "the sandbox of the pod: %r" % sandbox)
    node("ctr", "-n", "k8s.io", "tasks", "kill", "-s", "KILL", sandbox[0])
    lines(ns, "box", "/history", ["init", "init", "init"], "main")
    lines(ns, "box", "/who", ["busy", "busy"], "other")
    ns.kubectl("wait", "stc/box", "--for=condition=Ready", "--timeout=60s")
    expect(ns.get("pod/box")["metadata"]["uid"] == uid, "another pod")
    expect("Debian" in ns.sh("box", "cat /etc/os-release", "main") and
           ns.exec("box", "cat", "/etc/os-release", container="other", check=False).returncode != 0, "each container in its own image")


@case
def policies_and_services_select_the_consumer_alone(ns):
    """By rule: no policy is enforced on this cluster, but who is selected is told by the API server itself."""
    sample = json.loads(kubectl("create", "--dry-run=client", "-o", "json", "-f",
                                str(TOP / "deploy/samples/networkpolicy.yaml")).stdout)
    sample["metadata"].pop("namespace", None)
    policies = sample["items"] if sample["kind"] == "List" else [sample]
    ns.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80}], "publishNotReadyAddresses": True}}, *policies)
    manifest = sc_manifest("box", shell(), running=True)
    # Labels of ours in a template change nothing.
    manifest["spec"]["template"]["metadata"] = {"labels": {"app": "web", "stoppablecontainer.xtlsoft.top/role": "provider"}}
    ns.apply(manifest)
    ns.phase("box", "Running")

    def selected(labels):
        return ns.kubectl("get", "pods", "-l", ",".join("%s=%s" % p for p in labels.items()), "-o", "name").stdout.split()

    def addresses():
        slices = ns.get("endpointslices")["items"]
        return [e["targetRef"]["name"] for s in slices for e in s["endpoints"] or []]
    eventually("the service to lead to the consumer", lambda: addresses() == ["box"])
    expect(selected({"app": "web"}) == ["pod/box"], "pods with the user's label: %r" % selected({"app": "web"}))
    for policy in policies:
        spec = policy["spec"]
        expect(selected(spec["podSelector"]["matchLabels"]) == ["pod/box-provider"], "the sample selects the providers alone")
        expect(sorted(spec["policyTypes"]) == ["Egress", "Ingress"] and not spec.get("ingress") and not spec.get("egress"),
               "the sample allows nothing")
    ns.running("box", False)
    eventually("the service to lead nowhere", lambda: addresses() == [])
    expect(ns.get("pod/box-provider")["status"]["phase"] == "Running", "the provider")
    ns.running("box", True)
    eventually("the service to lead to the consumer again", lambda: addresses() == ["box"])


if __name__ == "__main__":
    sys.exit(main())
