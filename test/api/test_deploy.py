#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/deploy against an API server that does not answer as it should: a kubectl of ours, which writes down what it was asked
for. What it does on a real cluster is in e2e/test_upgrade.py. And the overlay for a registry, as kubectl makes it."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from kube import CLUSTER, GROUP, TOP, case, expect, run_cases

# $KUBECTL_SAYS: a list of [words, status, output]. The first whose words are all among the arguments answers; else all is well.
KUBECTL = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["KUBECTL_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
for words, status, said in json.loads(os.environ["KUBECTL_SAYS"]):
    if all(any(w in a for a in sys.argv[1:]) for w in words.split()):
        print(said, file=sys.stderr if status else sys.stdout, end="")
        sys.exit(status)
"""
TIMEOUT = "Error from server (Timeout): the server was unable to return a response in the time allotted\n"
CRDS = "".join("customresourcedefinition.apiextensions.k8s.io/%s.%s\n" % (kind, GROUP)
               for kind in ("stoppablecontainers", "stoppablecontainerinstances"))
NO_PODS = ["get pods --all-namespaces", 0, '{"items": []}']


def deploy(what, *answers):
    """Exit status, all that it said, and what kubectl was asked for."""
    with tempfile.TemporaryDirectory() as room:
        kubectl, log = pathlib.Path(room, "kubectl"), pathlib.Path(room, "log")
        kubectl.write_text(KUBECTL)
        kubectl.chmod(0o755)
        log.touch()
        env = dict(os.environ, PATH="%s:%s" % (room, os.environ["PATH"]), KUBECONFIG="/nonexistent", KUBECTL_LOG=str(log),
                   KUBECTL_SAYS=json.dumps(answers), DEPLOY_TIMEOUT="7s")
        done = subprocess.run([str(TOP / "tools" / "deploy"), what], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60)
        return done.returncode, done.stdout, log.read_text().splitlines()


def removed(asked):
    return [line for line in asked if line.startswith(("delete", "label"))]


@case
def delete_with_nothing_left():
    for crds in (CRDS, ""):
        status, said, asked = deploy("delete", ["get crd", 0, crds], NO_PODS)
        expect(status == 0, said)
        expect([line.split()[2] for line in removed(asked) if line.startswith("delete")] == ["deploy/system", "deploy/crds"], asked)


@case
def delete_with_one_crd():
    """The other was removed by hand: its kind cannot be asked for."""
    one = CRDS.splitlines()[0]
    status, said, asked = deploy("delete", ["get crd", 0, one], ["get stoppablecontainers.", 0, "stoppablecontainer/a\n"], NO_PODS)
    expect(status != 0 and "stoppablecontainer/a" in said and not removed(asked), (said, asked))
    expect(not any("stoppablecontainerinstances" in line for line in asked if "crd" not in line.split()), asked)


@case
def delete_while_something_is_left():
    status, said, asked = deploy("delete", ["get crd", 0, CRDS], ["get stoppablecontainers", 0, "stoppablecontainer/a\n"], NO_PODS)
    expect(status != 0 and "stoppablecontainer/a" in said and not removed(asked), (said, asked))
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"volumes": [{"name": "v", "csi": {"driver": GROUP}}]}}
    status, said, asked = deploy("delete", ["get crd", 0, CRDS], ["get pods --all-namespaces", 0, json.dumps({"items": [pod]})])
    expect(status != 0 and "pod/p in namespace n" in said and not removed(asked), (said, asked))


@case
def delete_without_an_answer():
    """Each question in turn: none of them may be taken for "nothing there"."""
    rest = (["get crd", 0, CRDS], NO_PODS)
    for question in ("get crd", "get stoppablecontainers --all-namespaces", "get pods --all-namespaces"):
        status, said, asked = deploy("delete", [question, 1, TIMEOUT], *rest)
        expect(status != 0, "%s: removed in spite of it" % question)
        expect(not removed(asked), "%s: %s" % (question, asked))
        expect(TIMEOUT in said and "not removed" in said, "%s: %s" % (question, said))


@case
def delete_takes_the_label_of_the_nodes_last():
    """It is the kubelet's, which sets it again whenever an agent registers."""
    status, said, asked = deploy("delete", ["get crd", 0, CRDS], NO_PODS)
    expect(status == 0 and removed(asked)[-1] == "label nodes --all %s/node-" % GROUP, (said, asked))


def agent(name, node, ready, **status):
    return {"metadata": {"name": name}, "spec": {"nodeName": node}, "status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [{"state": status}]}}


@case
def apply_names_the_node_that_holds_it_up():
    agents = {"items": [agent("agent-a", "node-a", "True", running={}), agent("agent-b", "node-b", "False", running={}),
                        agent("agent-c", "node-c", "False", waiting={"reason": "CrashLoopBackOff"})]}
    status, said, asked = deploy("apply", ["rollout daemonset/", 1, "error: timed out waiting for the condition\n"],
                                 ["get pods name=sc-node-agent", 0, json.dumps(agents)])
    expect(status != 0 and any("rollout status --timeout 7s deployment/sc-controller" in line for line in asked), (status, asked))
    expect("node node-b: pod/agent-b" in said and "node-c: pod/agent-c Running CrashLoopBackOff" in said and "DEPLOY_TIMEOUT" in said, said)
    expect("node-a" not in said, said)


@case
def apply_on_a_healthy_cluster():
    status, said, asked = deploy("apply")
    expect(status == 0 and not removed(asked) and not any("get pods" in line for line in asked), (said, asked))


@case
def overlay_for_a_registry():
    """deploy/samples/registry: no image is left under its old name, wherever it is named, and whoever pulls has the secret."""
    made = subprocess.run([CLUSTER, "kubectl", "kustomize", str(TOP / "deploy" / "samples" / "registry")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    expect(made.returncode == 0, made.stdout)
    for program in ("sc-controller", "sc-node-agent"):
        expect("%s/%s" % (GROUP, program) not in made.stdout, "%s is pulled from elsewhere" % program)
    images = re.findall(r"^ *image: (.*)$", made.stdout, re.M)
    reclaim = re.findall(r"^ *- --reclaim-image=(.*)$", made.stdout, re.M)
    expect(len(images) == 2 and len(reclaim) == 1 and reclaim[0] in images and "/sc-controller:" in reclaim[0], (images, reclaim))
    accounts = [text for text in made.stdout.split("\n---\n") if "\nkind: ServiceAccount\n" in text]
    names = {re.search(r"^  name: (.*)$", text, re.M).group(1): "imagePullSecrets:\n- name: registry\n" in text for text in accounts}
    expect(names == {"sc-controller": True, "sc-node-agent": True, "default": True}, names)


if __name__ == "__main__":
    sys.exit(run_cases(sys.argv[1:], lambda name: None))
