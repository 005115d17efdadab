#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Edits of the template: what they change, when, and what is said of those that cannot be applied."""
import json
import sys

from harness import case, eventually, expect, main, sc_manifest, shell


def says(text):
    """A workload that tells which template it was made from."""
    return "echo %s >> /said; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done" % text


def edit(ns, name, **template_spec):
    ns.kubectl("patch", "stc", name, "--type=merge", "-p", json.dumps({"spec": {"template": {"spec": template_spec}}}))


def script(text):
    return ["sh", "-c", says(text)]


def condition(ns, name, kind, status, pattern=""):
    def look():
        c = ns.condition(name, kind)
        return c.get("status") == status and pattern in c.get("message", "") and c
    return eventually(lambda: "%s of %s %s with %r: %s" % (kind, name, status, pattern, ns.story(name)), look)


def said(ns, name, want, container=None):
    """The workloads that ran in this root, in order."""
    eventually(lambda: "%s to have run %s: %s" % (name, want, ns.story(name)), lambda: ns.exec(
        name, "cat", "/said", container=container, check=False).stdout.split() == want)


def identity(ns, name):
    return ns.get("pod/" + name)["status"]["containerStatuses"][0]["containerID"]


@case
def edit_while_running_is_for_the_next_start(ns):
    ns.start("box", shell(script=says("one")))
    said(ns, "box", ["one"])
    before = identity(ns, "box")
    condition(ns, "box", "RestartRequired", "False")
    edit(ns, "box", command=script("two"))
    condition(ns, "box", "RestartRequired", "True", "next start")
    edit(ns, "box", command=script("one"))
    condition(ns, "box", "RestartRequired", "False")
    edit(ns, "box", command=script("two"), env=[{"name": "COLOUR", "value": "blue"}])
    condition(ns, "box", "RestartRequired", "True")
    expect(identity(ns, "box") == before, "an edit restarted the running container")
    ns.running("box", False)
    ns.running("box", True)
    said(ns, "box", ["one", "two"])
    expect(ns.sh("box", "echo $COLOUR") == "blue", "the environment of the edit")
    condition(ns, "box", "RestartRequired", "False")


@case
def edit_while_stopped(ns):
    ns.start("box", shell(script=says("one")))
    said(ns, "box", ["one"])
    ns.running("box", False)
    edit(ns, "box", command=script("two"))
    ns.running("box", True)
    said(ns, "box", ["one", "two"])
    condition(ns, "box", "RestartRequired", "False")


@case
def another_image_keeps_the_root_and_says_so(ns):
    ns.start("box", shell(script=says("one")))
    said(ns, "box", ["one"])
    edit(ns, "box", image="sc.test/busybox:1", command=script("two"))
    condition(ns, "box", "RestartRequired", "True")
    condition(ns, "box", "Honored", "False", "main (sc.test/debian:1)")
    ns.event("box", "ImageKept")
    for _ in range(2):
        ns.running("box", False)
        condition(ns, "box", "Honored", "False", "resetToken")
        ns.running("box", True)
    said(ns, "box", ["one", "two", "two"])
    expect("debian" in ns.sh("box", "cat /etc/os-release").lower(), "not the root of the first image")
    expect(ns.get("pod/box")["spec"]["containers"][0]["image"] != "sc.test/busybox:1", "the consumer runs another image")
    c = condition(ns, "box", "Honored", "False", "resetToken")
    expect(c["reason"] == "ImageKept", "reason %s" % c["reason"])

    edit(ns, "box", image="sc.test/debian:1")
    condition(ns, "box", "RestartRequired", "True")
    eventually("nothing said of an image that is the root's", lambda: ns.condition("box", "Honored").get("reason") != "ImageKept")

    edit(ns, "box", image="sc.test/busybox:1")
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"rootfs":{"resetToken":"new"}}}')
    said(ns, "box", ["two"])
    expect(ns.exec("box", "cat", "/etc/os-release", check=False).returncode != 0, "not the root of the new image")
    condition(ns, "box", "Honored", "True")


@case
def containers_changed_are_refused_and_the_roots_kept(ns):
    def container(name, text):
        return {"name": name, "image": "sc.test/busybox:1", "command": script(text)}
    ns.start("pair", {"containers": [container("a", "one"), container("b", "uno")], "terminationGracePeriodSeconds": 1})
    said(ns, "pair", ["one"], container="a")
    said(ns, "pair", ["uno"], container="b")
    edit(ns, "pair", containers=[container("a", "two"), container("b", "due"), container("c", "x")])
    condition(ns, "pair", "Honored", "False", "containers a, b, c")
    ns.event("pair", "ContainersChanged")
    ns.running("pair", False)
    for wrong in ([container("a", "two"), container("b", "due"), container("c", "x")], [container("a", "two")],
                  [container("a", "two"), container("c", "x")]):
        edit(ns, "pair", containers=wrong)
        ns.kubectl("patch", "stc", "pair", "--type=merge", "-p", '{"spec":{"running":true}}')
        message = ns.ready_message("pair", "kept for a, b")
        names = ", ".join(c["name"] for c in wrong)
        eventually("%s in %r" % (names, message), lambda: "containers %s, and" % names in ns.condition("pair", "Ready")["message"])
        expect(ns.get("pod/pair", check=False) is None, "started with containers that have no root")
        ns.running("pair", False)
    # another order, and an init container, are no other containers
    edit(ns, "pair", containers=[container("b", "due"), container("a", "two")],
         initContainers=[{"name": "i", "image": "sc.test/busybox:1", "command": ["true"]}])
    ns.running("pair", True)
    said(ns, "pair", ["one", "two"], container="a")
    said(ns, "pair", ["uno", "due"], container="b")
    condition(ns, "pair", "Honored", "True")


@case
def edit_while_it_starts_is_taken_at_once(ns):
    """A start that cannot go on for a reason in the template goes on when that is mended, on the same root."""
    ns.start("box", shell(script=says("one")))
    said(ns, "box", ["one"])
    root = ns.get("stc/box")["status"]["rootfs"]["id"]
    ns.running("box", False)
    edit(ns, "box", command=script("two"), envFrom=[{"configMapRef": {"name": "nowhere"}}])
    ns.kubectl("patch", "stc", "box", "--type=merge", "-p", '{"spec":{"running":true}}')
    ns.ready_message("box", "nowhere")
    edit(ns, "box", command=script("three"), envFrom=[])
    ns.phase("box", "Running")
    said(ns, "box", ["one", "three"])
    expect(ns.get("stc/box")["status"]["rootfs"]["id"] == root, "another root")
    condition(ns, "box", "RestartRequired", "False")


@case
def edit_at_any_moment_of_a_first_start(ns):
    """Whatever the moment: the edited template runs, or it is said that it will at the next start; never a third thing."""
    for turn in range(3):
        name = "box%d" % turn
        ns.apply(sc_manifest(name, shell(script=says("one"))))
        if turn:
            eventually("the %s of %s" % ("consumer" if turn == 1 else "provider", name),
                       lambda: ns.get("pod/" + name + ("" if turn == 1 else "-provider"), check=False))
        edit(ns, name, command=script("two"))
        ns.phase(name, "Running")

        def settled():
            restart = ns.condition(name, "RestartRequired").get("status")
            done = ns.exec(name, "cat", "/said", check=False).stdout.split()
            return (restart, done) in (("True", ["one"]), ("False", ["two"]), ("False", ["one", "two"]))
        eventually(lambda: "one of the two ends: " + ns.story(name), settled)


if __name__ == "__main__":
    sys.exit(main())
