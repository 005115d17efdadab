#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How a process begins and ends: commands, environment, users, exit codes, messages, as in a plain pod made from the same spec."""
import re
import sys

from harness import case, eventually, expect, main, sc_manifest, shell
from twins import OURS, PLAIN, Twins

IMAGE = "sc.test/process:1"  # ENTRYPOINT /entry shows how it was started: tools/test-images
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]


def pods_ended(ns):
    """Waits until both twins' pods have ended; their statuses by container."""
    def look():
        pods = [ns.get("pod/" + name, check=False) for name in (PLAIN, OURS)]
        return all(p and p["status"]["phase"] in ("Succeeded", "Failed") for p in pods) and pods
    pods = eventually("both pods ended: " + ns.story(OURS), look)
    return [{c["name"]: c["state"]["terminated"] for c in p["status"]["containerStatuses"]} for p in pods]


def logs(ns, pod, container):
    text = ns.kubectl("logs", pod, "-c", container).stdout
    text = re.sub(r"\b(%s|%s)\b" % (PLAIN, OURS), "POD", text)
    return re.sub(r"\b10\.\d+\.\d+\.\d+\b", "IP", text)


def same_ends(ns):
    """Logs, exit codes and messages of all containers of the twins, which ended, must be the same; returns ours, by container."""
    plain, ours = pods_ended(ns)
    seen = {}
    for name in plain:
        both = [(logs(ns, pod, name), end[name]["exitCode"], end[name]["reason"], end[name].get("message"))
                for pod, end in ((PLAIN, plain), (OURS, ours))]
        expect(both[0] == both[1], "container %s: plain %r, ours %r" % (name, *both))
        seen[name] = both[1]
    return seen


@case
def commands_and_arguments(ns):
    variants = {
        "neither": {},
        "args": {"args": ["one", "two words"]},
        "command": {"command": ["/entry", "only the command"]},
        "both": {"command": ["/entry", "a"], "args": ["b", ""]},
        "empty-args": {"args": ["", "", " "]},
        "odd-bytes": {"args": ["tab\there", "new\nline", "quote'\"\\", "\u00e4\u20ac\U0001f600", "-", "--", "--image-entrypoint",
                               "\x01\x7f"]},
        "long": {"args": ["x" * 100000, "y" * 50000]},
        "many": {"args": ["a"] * 1000},
        "variables": {"command": ["/entry", "$(A)", "$$(A)", "$$$$(A)", "$(NOT_THERE)", "$A", "$(B)", "x$(A)y$(GREETING)"],
                      "args": ["$(A)", "$$(A)", "$(B)"],
                      "env": [{"name": "A", "value": "alpha"}, {"name": "B", "value": "$(A) and $$(A), $(LATER)"},
                              {"name": "LATER", "value": "l"}]},
        "by-path": {"command": ["relative", "found by PATH"]},
        "own-path": {"command": ["sh", "-c", "echo $0 $PATH"], "env": [{"name": "PATH", "value": "/nowhere:/place/bin:/bin"}]},
        "relative": {"command": ["bin/relative", "x"]},
        "dot-relative": {"command": ["./relative", "x"], "workingDir": "/place/bin"},
        "workdir-made": {"workingDir": "/made/by/the/runtime", "command": ["/entry"], "securityContext": {"runAsUser": 0}},
        "workdir-dots": {"workingDir": "/place/../bin/./", "command": ["/entry"]},
        "workdir-link": {"workingDir": "/proc/self/cwd", "command": ["/bin/sh", "-c", "echo there"]},
    }
    spec = {"restartPolicy": "Never", "enableServiceLinks": False,
            "containers": [{"name": name, "image": IMAGE, **more} for name, more in variants.items()]}
    Twins(ns, spec, wait=False)
    seen = same_ends(ns)
    expect("[from the entrypoint]\n[from]\n[]\n[the cmd]\npid 1 in /place as uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"
           in seen["neither"][0], "what the image asks for: %r" % seen["neither"][0])
    expect("[$(A)]" in seen["variables"][0] and "[alpha]" in seen["variables"][0], "expansion: %r" % seen["variables"][0])
    expect("in /made/by/the/runtime" in seen["workdir-made"][0], "workingDir: %r" % seen["workdir-made"][0])
    ns.phase(OURS, "Succeeded")


@case
def commands_that_cannot_start(ns):
    """A plain container is not even created then (exit code 128, StartError); ours ends as a shell would, with the reason in its
    message and in its log, so that it can be mended from within a root that is kept."""
    variants = {
        "absent": (127, {"command": ["/no/such/program"]}, "No such file"),
        "not-in-path": (127, {"command": ["no-such-program"]}, "not found in PATH"),
        "empty-name": (127, {"command": [""]}, "name is empty"),
        "no-path": (127, {"command": ["sh"], "env": [{"name": "PATH", "value": ""}]}, "PATH is empty"),
        "file-as-dir": (127, {"command": ["/entry/x"]}, "Not a directory"),
        "interpreter": (127, {"command": ["/odd/lost-interpreter"]}, "interpreter"),
        "no-mode": (126, {"command": ["/odd/not-executable"]}, "Permission denied"),
        "no-mode-in-path": (126, {"command": ["not-executable"], "env": [{"name": "PATH", "value": "/odd"}]}, "Permission denied"),
        "directory": (126, {"command": ["/odd/directory"]}, "Is a directory"),
        "no-magic": (126, {"command": ["/odd/bare-script"]}, "Exec format error"),
        "workdir-file": (128, {"workingDir": "/entry/x"}, "entry"),
        "own-log": (127, {"command": ["/no/such"], "terminationMessagePath": "tmp/$(A)", "env": [{"name": "A", "value": "x"}]}, "No such"),
    }
    spec = {"restartPolicy": "Never",
            "containers": [{"name": name, "image": IMAGE, **more} for name, (_, more, _) in variants.items()]}
    Twins(ns, spec, wait=False)
    plain, ours = pods_ended(ns)
    for name, (code, _, words) in variants.items():
        expect(plain[name]["exitCode"] != 0, "a plain container can start %s" % name)
        message = ours[name].get("message", "")
        expect(ours[name]["exitCode"] == code and words in message, "%s: %r" % (name, ours[name]))
        if ours[name]["reason"] == "Error":  # it was execwrap that spoke
            expect(logs(ns, OURS, name) == message, "%s: the log says %r, the message %r" % (name, logs(ns, OURS, name), message))
    ns.phase(OURS, "Failed")


@case
def environment(ns):
    ns.kubectl("create", "configmap", "settings", "--from-literal=a=alpha", "--from-literal=B_b=beta", "--from-literal=multi=1\n2")
    ns.kubectl("create", "secret", "generic", "hidden", "--from-literal=password=hunter2")
    ns.kubectl("create", "service", "clusterip", "front", "--tcp=80:8080")

    def field(name, path):
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    def resource(name, what, divisor="1"):
        return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": what, "divisor": divisor}}}

    env = [field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("COLOUR", "metadata.labels['colour']"),
           field("NOTE", "metadata.annotations['note']"), field("NODE", "spec.nodeName"), field("ACCOUNT", "spec.serviceAccountName"),
           field("HOST_IP", "status.hostIP"), resource("CPU", "limits.cpu", "1m"), resource("MEMORY", "limits.memory"),
           resource("CPU_ASKED", "requests.cpu", "1m"), resource("DISK", "limits.ephemeral-storage"),
           {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "multi"}}},
           {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "password"}}},
           {"name": "OPTIONAL", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "x", "optional": True}}},
           {"name": "GREETING", "value": "from the pod: $(NAME)"}, {"name": "EMPTY", "value": ""}, {"name": "odd.name-1", "value": "=x="}]
    spec = {"restartPolicy": "Never", "containers": [
        {"name": "main", "image": IMAGE, "command": ["sh", "-c", "tr '\\0' '\\n' </proc/1/environ | sort"], "env": env,
         "envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "S_", "secretRef": {"name": "hidden"}},
                     {"configMapRef": {"name": "absent", "optional": True}}],
         "resources": {"limits": {"cpu": "500m", "memory": "64Mi", "ephemeral-storage": "1Gi"},
                       "requests": {"cpu": "100m", "memory": "32Mi", "ephemeral-storage": "1Mi"}}}]}
    Twins(ns, spec, {"labels": {"colour": "blue"}, "annotations": {"note": "a note, $(NAME)"}}, wait=False)
    text = same_ends(ns)["main"][0]
    for line in ("odd.name-1==x=", "multi=1", "COLOUR=blue", "S_password=hunter2", "GREETING=from the pod: POD",
                 "FRONT_SERVICE_PORT=80", "CPU=500", "a=alpha"):
        expect("\n" + line + "\n" in "\n" + text, "%s is not in the environment: %s" % (line, text))


@case
def users_and_groups(ns):
    show = ("{ id; echo $HOME; umask; grep -E '^(Uid|Gid|Groups)' /proc/self/status; stat -c %u:%g:%a /fs; : > /fs/$NAME && "
            "stat -c %u:%g /fs/$NAME; } 2>&1")
    variants = {"image": {}, "root": {"runAsUser": 0}, "user-only": {"runAsUser": 1234}, "both": {"runAsUser": 1234, "runAsGroup": 55},
                "non-root": {"runAsUser": 1000, "runAsNonRoot": True}}
    spec = {"securityContext": {"supplementalGroups": [4000, 4001], "fsGroup": 3000},
            "volumes": [{"name": "fs", "emptyDir": {}}],
            "containers": [{"name": name, "securityContext": security, "image": IMAGE, "env": [{"name": "NAME", "value": name}],
                            "volumeMounts": [{"name": "fs", "mountPath": "/fs"}],
                            "command": ["sh", "-c", show + "; exec sleep 100000"]} for name, security in variants.items()]}
    twins = Twins(ns, spec)
    for name in variants:
        twins.same("exec as " + name, show, name)
        eventually("the whole log", lambda: logs(ns, OURS, name).count("\n") >= 8)
        both = [logs(ns, pod, name) for pod in (PLAIN, OURS)]
        expect(both[0] == both[1], "%s: plain %r, ours %r" % (name, *both))
    expect("4000" in both[1] and "3000" in both[1] and "uid=1000(user)" in both[1], "groups: " + both[1])


@case
def groups_strict_and_user_by_name_not_checked(ns):
    spec = {"securityContext": {"supplementalGroups": [4000], "supplementalGroupsPolicy": "Strict"},
            "containers": [{"name": "main", "image": IMAGE, "command": SLEEP}]}
    expect("2000" not in Twins(ns, spec).same("id", "id"), "the image's groups came along")
    # The kubelet cannot tell that a name is not root's: the same refusal for both, and ours shows it.
    ns.apply(sc_manifest("named", {"image": IMAGE, "command": SLEEP, "securityContext": {"runAsNonRoot": True}}))
    ns.ready_message("named", "non-numeric user")


@case
def last_words(ns):
    def says(where, code=0):
        return {"image": "sc.test/busybox:1", "command": ["sh", "-c", "echo in the log; echo last words > %s; exit %d" % (where, code)]}
    variants = {
        "default": says("/dev/termination-log"), "failing": says("/dev/termination-log", 3),
        "own-path": {**says("/var/words"), "terminationMessagePath": "/var/words"},
        "deep-path": {**says("/srv/deep/er/words", 1), "terminationMessagePath": "/srv/deep/er/words"},
        "relative-path": {**says("/srv/rel", 1), "terminationMessagePath": "srv/rel"},
        "fallback": {**says("/tmp/elsewhere", 1), "terminationMessagePolicy": "FallbackToLogsOnError"},
        "no-fallback": {**says("/tmp/elsewhere"), "terminationMessagePolicy": "FallbackToLogsOnError"},
        
    }
    Twins(ns, {"restartPolicy": "Never", "containers": [{"name": n, **more} for n, more in variants.items()]}, wait=False)
    seen = same_ends(ns)
    for name in ("default", "failing", "own-path", "deep-path"):
        expect(seen[name][3] == "last words\n", "%s: %r" % (name, seen[name]))


@case
def signals_and_grace(ns):
    """Each container's own signal reaches its pid 1, in the preserved root, and the grace period is kept."""
    def trap(image, signal):
        script = ("echo $$$$ > /pid; trap 'sleep 2; echo another >> /got; exit 0' TERM USR1; "
                  "trap 'sleep 2; echo %s >> /got; exit 0' %s; touch /ready; while :; do sleep 1000 & wait $!; done" % (signal, signal))
        return {"image": image, "securityContext": {"runAsUser": 0}, "command": ["sh", "-c", script]}
    variants = {"usual": ("sc.test/busybox:1", "TERM"), "of-the-image": (IMAGE, "USR1")}
    ns.start(OURS, {"terminationGracePeriodSeconds": 20, "containers": [{"name": n, **trap(*v)} for n, v in variants.items()]})
    for name in variants:
        eventually("the trap", lambda: ns.exec(OURS, "ls", "/ready", container=name, check=False).returncode == 0)
    ns.running(OURS, False)
    ns.running(OURS, True)
    for name, (_, signal) in variants.items():
        expect(ns.sh(OURS, "cat /pid /got", name) == "1\n" + signal, "%s: %r" % (name, ns.sh(OURS, "cat /pid /got", name)))


@case
def restart_policies(ns):
    """Never and OnFailure: the phase tells the end, and it can be started again on the same root. Always: restarts."""
    count = "echo run >> /runs; n=$(wc -l < /runs); "
    ns.apply(sc_manifest("never", shell(script=count + "exit $((n == 1 ? 4 : 0))", restartPolicy="Never")),
             sc_manifest("onfailure", shell(script=count + "exit $((n < 3 ? 5 : 0))", restartPolicy="OnFailure")))
    ns.start("always", shell(script=count + "test $n -ge 3 && exec sleep infinity; exit 0", restartPolicy="Always"))
    ns.phase("never", "Failed")
    expect(ns.get("stc/never")["status"]["lastRun"]["exitCode"] == 4, "the exit code is not told: %r" % ns.get("stc/never")["status"])
    ns.running("never", False)
    ns.kubectl("patch", "stc", "never", "--type=merge", "-p", '{"spec":{"running":true}}')
    ns.phase("never", "Succeeded")
    ns.phase("onfailure", "Succeeded")
    eventually("three runs", lambda: ns.exec("always", "cat", "/runs", check=False).stdout.count("run") == 3)
    for name, restarts in (("never", 0), ("onfailure", 2), ("always", 2)):
        expect(ns.get("pod/" + name)["status"]["containerStatuses"][0]["restartCount"] == restarts, "restarts of " + name)
    again = ns.get("stc/onfailure")["status"]["phase"]
    expect(again == "Succeeded", "it started again by itself: " + again)


@case
def restart_rules_of_a_container(ns):
    """KEP-5307: 42 restarts the container in a pod of restartPolicy Never; anything else ends it."""
    script = "echo run >> /runs; n=$(wc -l < /runs); echo $n; exit $((n < 3 ? 42 : 7))"
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    ns.apply(sc_manifest("box", {"image": "sc.test/busybox:1", "command": ["sh", "-c", script], "restartPolicy": "Never",
                                 "restartPolicyRules": rules}))
    ns.phase("box", "Failed")
    status = ns.get("pod/box")["status"]["containerStatuses"][0]
    expect((status["restartCount"], status["state"]["terminated"]["exitCode"]) == (2, 7), "rules: %r" % status)
    expect(ns.kubectl("logs", "box").stdout == "3\n", "the runs were not in one root")


if __name__ == "__main__":
    sys.exit(main())
