#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nobody gets a root that is not theirs, and nothing is lost by trying."""
import json
import sys

from harness import GROUP, TOP, case, eventually, expect, kubectl, main, node, shell
from hostile import ATTACH, ATTACKER, DIR, HELLO, REFUSED, never_starts, pod, unharmed, victim, volume

@case
def other_namespace_gets_no_root(ns):
    uid = victim(ns)
    other = ns.name + "-x"
    kubectl("create", "namespace", other)
    try:
        for role, name in (("consumer", "box"), ("provider", "box-provider")):
            thief = pod(name, volume(role, uid, "box"), [DIR + "/execwrap", "run", "--", "cat", "/secret"])
            kubectl("-n", other, "apply", "-f", "-", stdin=json.dumps(thief))
        for name in ("box", "box-provider"):
            eventually("a refusal or wait of " + name, lambda: kubectl(
                "-n", other, "get", "events", "--field-selector", "involvedObject.name=%s,reason=FailedMount" % name,
                "-o", "name").stdout, 150)
            logs = kubectl("-n", other, "logs", name, check=False).stdout
            expect("secret" not in logs, "the other tenant read the root: " + logs)
        unharmed(ns, uid)
    finally:
        kubectl("delete", "namespace", other, "--timeout=120s")


@case
def role_for_users(ns):
    """deploy/samples/users.yaml: enough for whoever uses it, and no way to an instance, whose deletion throws a root away."""
    def may(verb, what, namespace=ns.name):
        return kubectl("-n", namespace, "auth", "can-i", verb, what + "." + GROUP, "--as=dev-" + ns.name, check=False).stdout.strip()
    kubectl("apply", "-f", str(TOP / "deploy/samples/users.yaml"))
    try:
        ns.kubectl("create", "rolebinding", "users", "--clusterrole=stoppablecontainer-user", "--user=dev-" + ns.name)
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
            eventually(verb, lambda: may(verb, "stoppablecontainers") == "yes", 30)
            expect(may(verb, "stoppablecontainerinstances") == ("yes" if verb in ("get", "list", "watch") else "no"), verb)
        expect(may("get", "stoppablecontainers", "default") == "no", "it reaches into another namespace")
    finally:
        kubectl("delete", "-f", str(TOP / "deploy/samples/users.yaml"))


@case
def reclaim_from_elsewhere_is_refused(ns):
    uid = victim(ns)
    ns.apply(pod("reclaim-" + uid, volume("reclaim", uid, "box", namespace=ns.name), ["true"]))
    never_starts(ns, "reclaim-" + uid, "reclaim")
    ns.delete("pod/reclaim-" + uid)
    unharmed(ns, uid)


@case
def second_provider_and_consumer_are_refused(ns):
    uid = victim(ns)
    ns.apply(pod("imposter", volume("provider", uid, "box"), [DIR + "/pause"]),
             pod("imposter2", volume("consumer", uid, "box"), ["cat", "/secret"]))
    never_starts(ns, "imposter", "box-provider")
    never_starts(ns, "imposter2", "box")
    ns.delete("pod/imposter", "pod/imposter2")
    unharmed(ns, uid)


@case
def forged_volume_context(ns):
    uid = victim(ns)
    forged = volume("consumer", uid, "box", **{"csi.storage.k8s.io/pod.name": "box", "csi.storage.k8s.io/pod.namespace": ns.name})
    ns.apply(pod("forger", forged, ["cat", "/secret"]))
    never_starts(ns, "forger", "box")
    ns.delete("pod/forger")
    writable = volume("provider", "00000000-0000-4000-8000-000000000000", "w")
    writable["csi"]["readOnly"] = False
    ns.apply(pod("w-provider", writable, [DIR + "/pause"]))
    never_starts(ns, "w-provider", "readOnly")
    ns.delete("pod/w-provider")
    for bad in ("../../../etc", "a" * 300, "", "x/y"):
        ns.apply(pod("bad", volume("provider", bad, "bad"), [DIR + "/pause"]))
        never_starts(ns, "bad", "instance")
        ns.delete("pod/bad")
    unharmed(ns, uid)


def machine_mounts():
    return node("cat", "/proc/1/mountinfo").stdout


@case
def machine_namespace_gets_and_gives_no_root(ns):
    """A privileged hostPID pod asks over its own socket, but from the machine's mount namespace."""
    uid = "11111111-1111-4111-8111-111111111111"
    pid1 = "/proc/1/ns/mnt"
    attack = "perl -e \"$A\" %s /proc/$P/root%s/agent.sock %s %%s; " % (HELLO, DIR, pid1)
    script = "P=$$$$; " + attack % "before" + attack % "after" + "echo finished; sleep infinity"
    thief = pod("h-provider", volume("provider", uid, "h"), ["sh", "-c", script], security={"privileged": True}, hostPID=True)
    thief["spec"]["containers"][0]["env"] = [{"name": "A", "value": ATTACKER}]
    ns.apply(thief)
    log = eventually("the attacks' end", lambda: (lambda t: "finished" in t and t)(
        ns.kubectl("logs", "h-provider", check=False).stdout))
    expect(log.count(REFUSED) == 2, "not both refused: " + log + ns.kubectl("logs", "h-provider").stderr)
    expect(uid not in machine_mounts(), "a root was exposed for a process of the machine")
    ns.delete("pod/h-provider")

    ours = victim(ns)
    unharmed(ns, ours)


@case
def namespace_switched_around_the_connect(ns):
    """Processes in the consumer's own container that unshare before or after they connect."""
    ns.start("box", shell(script="echo secret > /secret; exec sleep infinity", terminationGracePeriodSeconds=1,
                          securityContext={"privileged": True}))
    uid = ns.instance_uid("box")
    eventually("the secret", lambda: ns.exec("box", "cat", "/secret", check=False).returncode == 0)
    for when in ("before", "after"):
        out = ns.exec("box", "perl", "-e", ATTACKER, ATTACH, DIR + "/agent.sock", "unshare", when, check=False)
        expect(REFUSED in out.stdout or "closed" in out.stderr, "unshared %s the connect: %s%s" % (when, out.stdout, out.stderr))
    out = ns.exec("box", "perl", "-e", ATTACKER, ATTACH, DIR + "/agent.sock", "-", "before", check=False)
    expect("type=130" in out.stdout, "an honest process of an attached container is told so: " + out.stdout + out.stderr)
    unharmed(ns, uid)


@case
def third_container_gets_nothing(ns):
    """A container of the same pod that has no preserved root, but mounts the socket."""
    uid = "22222222-2222-4222-8222-222222222222"
    provider = pod("t-provider", volume("provider", uid, "t"), [DIR + "/pause"])
    third = {"name": "third", "image": "sc.test/debian:1", "command": ["perl", "-e", ATTACKER, HELLO, DIR + "/agent.sock", "-",
             "before"], "volumeMounts": provider["spec"]["containers"][0]["volumeMounts"]}
    provider["spec"]["containers"].append(third)
    ns.apply(provider)
    log = eventually("the third container's end", lambda: ns.kubectl("logs", "t-provider", "-c", "third", check=False).stdout)
    expect(REFUSED in log, "the third container was served: " + log)
    ns.delete("pod/t-provider")


@case
def privileged_bidirectional_volume_leaves_the_machine_alone(ns):
    before = node("cat", "/proc/1/mountinfo").stdout
    ns.start("box", {
        "containers": [{"name": "main", "image": "sc.test/debian:1", "securityContext": {"privileged": True},
                        "command": ["sh", "-c", "mount -t tmpfs t /host/inside; exec sleep infinity"],
                        "volumeMounts": [{"name": "h", "mountPath": "/host", "mountPropagation": "Bidirectional"}]}],
        "initContainers": [{"name": "mk", "image": "sc.test/busybox:1", "command": ["mkdir", "-p", "/host/inside"],
                            "volumeMounts": [{"name": "h", "mountPath": "/host"}]}],
        "volumes": [{"name": "h", "hostPath": {"path": "/var/lib/kubelet/e2e-" + ns.name, "type": "DirectoryOrCreate"}}],
        "terminationGracePeriodSeconds": 1})
    ns.sh("box", "touch /kept")
    ns.running("box", False)
    ns.running("box", True)
    expect(ns.sh("box", "ls /kept") == "/kept", "the root")
    ns.delete("stc/box")
    node("sh", "-c", "while umount /var/lib/kubelet/e2e-%s/inside 2>/dev/null; do :; done; rm -rf /var/lib/kubelet/e2e-%s" % (
        ns.name, ns.name))

    def stable(text):
        return {line.split(" ")[4] for line in text.splitlines() if "/pods/" not in line and "containerd" not in line
                and "/instances/" not in line and "netns" not in line}
    after = node("cat", "/proc/1/mountinfo").stdout
    expect(stable(before) == stable(after), "the machine's mounts changed: %r" % (stable(before) ^ stable(after)))


if __name__ == "__main__":
    sys.exit(main())
