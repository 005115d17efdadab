#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every way a workload can be ended from outside: nothing is left, and never two workloads on one root."""
import subprocess
import sys

from harness import CLUSTER, WAIT, case, eventually, expect, kubectl, main, node, sc_manifest, shell

# Writes for a while after TERM, so that a root taken away too early shows as an error in the file that leaves by the log.
LAST_WORDS = ("trap 'for i in 1 2 3; do echo $i >> /last || echo LOST; cat /last || echo LOST; sleep 0.5; done; exit 0' TERM; "
              "while :; do sleep 1000 & wait $!; done")


def follow_logs(ns, pod):
    """Starts `kubectl logs -f` and returns a function that waits for its end and gives the text."""
    p = subprocess.Popen([CLUSTER, "kubectl", "-n", ns.name, "logs", "-f", pod], stdout=subprocess.PIPE, text=True)
    return lambda: p.communicate(timeout=WAIT)[0]


@case
def namespace_deleted_with_a_running_one(ns):
    ns.start("box", shell(script=LAST_WORDS, terminationGracePeriodSeconds=20))
    uid = ns.instance_uid("box")
    logs = follow_logs(ns, "box")
    kubectl("delete", "namespace", ns.name, "--timeout=90s")
    text = logs()
    expect("LOST" not in text and "3" in text.split(), "the workload lost its root while ending: %r" % text)
    eventually("node clean", lambda: not ns.node_traces([uid]), 30)


@case(alone=True)
def node_drained(ns):
    ns.start("box", shell(script=LAST_WORDS, terminationGracePeriodSeconds=20))
    uid = ns.instance_uid("box")
    name = ns.get("pod/box")["spec"]["nodeName"]
    logs = follow_logs(ns, "box")
    try:
        kubectl("drain", name, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=90s",
                "--pod-selector=stoppablecontainer.xtlsoft.top/instance=box")
        text = logs()
        expect("LOST" not in text and "3" in text.split(), "the workload lost its root while ending: %r" % text)
        # persistence Provider: a drain loses the root, and that is said, never hidden by an empty one.
        eventually("loss told", lambda: ns.condition("box", "RootfsIntact").get("status") == "False")
        eventually("node clean", lambda: not ns.node_traces([uid]), 30)
    finally:
        kubectl("uncordon", name)
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"rootfs":{"resetToken":"again"}}}')
    ns.phase("box", "Running")


@case
def consumer_deleted_by_hand_comes_back(ns):
    ns.start("box", shell(script="echo run >> /runs; exec sleep infinity"))
    uid = ns.get("pod/box")["metadata"]["uid"]
    ns.delete("pod/box")
    eventually("a new pod", lambda: (ns.get("pod/box", check=False) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid)
    ns.phase("box", "Running")
    eventually("two runs", lambda: ns.exec("box", "cat", "/runs", check=False).stdout == "run\nrun\n")


@case
def force_deleted_consumer_never_doubles(ns):
    """The old process ignores TERM and goes on for its grace; the new one must not run beside it."""
    stubborn = ("exec 9>/lock; flock -n 9 || { echo TWO >> /two; exit 1; }; echo run >> /runs; trap '' TERM; "
                "while :; do sleep 1; done")
    ns.start("box", shell(script=stubborn, terminationGracePeriodSeconds=8))
    ns.kubectl("delete", "pod", "box", "--force", "--grace-period=0")
    ns.phase("box", "Running")
    eventually("the second run", lambda: ns.exec("box", "cat", "/runs", check=False).stdout == "run\nrun\n")
    expect(ns.exec("box", "ls", "/two", check=False).returncode != 0, "two workloads ran on one root")
    ns.running("box", False)
    ns.delete("stc/box")


@case
def lost_provider_is_told_and_reset_starts_fresh(ns):
    ns.start("box", shell(script="echo data >> /data; exec sleep infinity"))
    ns.kubectl("delete", "pod", "box-provider", "--force", "--grace-period=0")
    eventually("RootfsIntact False", lambda: ns.condition("box", "RootfsIntact").get("status") == "False")
    ns.phase("box", "Failed")
    eventually("the consumer gone", lambda: ns.get("pod/box", check=False) is None)
    expect(ns.event("box", "RootfsLost"), "no event tells the loss")
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"rootfs":{"resetToken":"one"}}}')
    ns.phase("box", "Running")
    expect(ns.sh("box", "cat /data") == "data", "the reset did not start on a fresh root")


@case
def killed_pause_is_a_loss(ns):
    ns.start("box", shell(terminationGracePeriodSeconds=1, script="exec sleep infinity"), rootfs={"onLoss": "Recreate"})
    old = ns.instance_uid("box")
    ns.sh("box", "echo x > /x")
    status = ns.get("pod/box-provider")["status"]["containerStatuses"][0]
    container = status["containerID"].split("//")[1]
    node("sh", "-c", "grep -l %s /proc/[0-9]*/cgroup | cut -d/ -f3 | xargs -r kill -9" % container)
    eventually("a new instance", lambda: (ns.get("stci/box", check=False) or {"metadata": {"uid": old}})["metadata"]["uid"] != old)
    ns.phase("box", "Running")
    expect(ns.exec("box", "ls", "/x", check=False).returncode != 0, "the old root was still there")


@case
def deadline_ends_the_run(ns):
    """activeDeadlineSeconds: of each run; the root stays, and restartPolicy says whether there is another run."""
    ns.apply(sc_manifest("again", shell(activeDeadlineSeconds=8)))
    ns.start("box", shell(activeDeadlineSeconds=15, restartPolicy="Never"))
    ns.sh("box", "echo kept > /mine")
    ns.phase("box", "Failed")
    eventually("its end", lambda: ns.get("stc/again")["status"].get("lastRun", {}).get("reason") == "DeadlineExceeded")
    ns.phase("again", "Running")
    expect("DeadlineExceeded" in ns.condition("box", "Ready")["message"], "why it ended: " + ns.story("box"))
    expect(ns.get("pod/box-provider")["status"]["phase"] == "Running", "the provider has ended too")
    ns.running("box", False)
    ns.running("box", True)
    expect(ns.sh("box", "cat /mine") == "kept", "another root")


@case
def readiness_gate(ns):
    ns.apply(sc_manifest("box", shell(readinessGates=[{"conditionType": "sc.test/gate"}])))
    ns.ready_message("box", "sc.test/gate")
    ns.kubectl("patch", "pod", "box", "--subresource=status", "-p",
               '{"status":{"conditions":[{"type":"sc.test/gate","status":"True"}]}}')
    ns.phase("box", "Running")
    eventually("Ready", lambda: ns.condition("box", "Ready")["status"] == "True")


@case
def stop_honours_the_grace_period(ns):
    ns.start("box", shell(script="trap 'echo bye >> /bye; exit 0' TERM; touch /trapped; while :; do sleep 1000 & wait $!; done",
                          terminationGracePeriodSeconds=20))
    eventually("the trap", lambda: ns.exec("box", "ls", "/trapped", check=False).returncode == 0)
    ns.running("box", False)
    ns.running("box", True)
    eventually("TERM's trace in the root", lambda: ns.exec("box", "cat", "/bye", check=False).stdout == "bye\n", 20)


if __name__ == "__main__":
    sys.exit(main())
