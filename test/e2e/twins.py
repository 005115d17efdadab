# SPDX-License-Identifier: Apache-2.0
"""A plain pod and a StoppableContainer made from one pod spec: whatever can be seen in the first must be seen in the second."""
import re

from harness import Failed, expect

PLAIN = "plain"
OURS = "ours"
# Mounts of a container but for its root and our volume, one a line: place, options, propagation, file system type.
MOUNTS = r"""while read -r id parent dev root place opts rest; do
    kind=; case " $rest" in *' shared:'*) kind=shared;; esac; case " $rest" in *' master:'*) kind=$kind+master;; esac
    fs=${rest#*- }; case $place in /|/.stoppablecontainer) continue;; esac; echo "$place $opts [$kind] ${fs%% *}"
done </proc/self/mountinfo | sort"""


class Twins:
    """ns.apply of both, until both run. The host name is the same, since it shows in many places."""

    def __init__(self, ns, spec, metadata=None, wait=True, **more):
        self.ns = ns
        spec = {"hostname": "twin", "terminationGracePeriodSeconds": 1, **spec}
        ns.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {**(metadata or {}), "name": PLAIN}, "spec": spec},
                 {"apiVersion": "stoppablecontainer.xtlsoft.top/v1alpha1", "kind": "StoppableContainer",
                  "metadata": {"name": OURS}, "spec": {"running": True, "template": {
                      "metadata": metadata or {}, "spec": spec}, **more}})
        if wait:
            self.wait()

    def wait(self):
        self.ns.phase(OURS, "Running")
        done = self.ns.kubectl("wait", "pod/" + PLAIN, "--for=condition=Ready", "--timeout=60s", check=False)
        expect(done.returncode == 0, "the plain pod does not run: %s" % self.ns.get("pod/" + PLAIN)["status"])

    def again(self):
        """Our twin through a stop and a start; the plain one stays as it is."""
        self.ns.running(OURS, False)
        self.ns.running(OURS, True)

    def same(self, what, script, container=None):
        """The script's output in both, which must be the same and not empty; returns it."""
        done = [self.ns.exec(pod, "sh", "-c", script, container=container, check=False) for pod in (PLAIN, OURS)]
        texts = ["%s%sexit %d" % (d.stdout, d.stderr, d.returncode) for d in done]
        for pod in (PLAIN, OURS):
            texts = [re.sub(r"\b%s\b" % pod, "POD", text) for text in texts]
        plain, ours = texts
        if plain != ours:
            lines = [[line for line in a.splitlines() if line not in b.splitlines()] for a, b in ((plain, ours), (ours, plain))]
            raise Failed("%s differs: only the plain pod: %r; only ours: %r" % (what, *lines))
        expect(done[0].stdout.strip(), what + ": nothing was compared: " + plain)
        return done[1].stdout.strip()

    def same_mounts(self, container=None):
        return self.same("the table of mounts", MOUNTS, container)

    def ours(self, script, container=None):
        return self.ns.sh(OURS, script, container=container)
