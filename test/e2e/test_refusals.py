#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What cannot start says why within seconds, and starts by itself when the cause goes."""
import json
import sys

from harness import case, eventually, expect, kubectl, labels, main, sc_manifest, shell

SECONDS = 20  # "within seconds", with room for a loaded machine


def patch(ns, name, patch_object):
    ns.kubectl("patch", "stc", name, "--type=merge", "-p", json.dumps(patch_object))


@case
def image_that_does_not_exist(ns):
    ns.apply(sc_manifest("box", shell(image="127.0.0.1:1/no-such-image:9", imagePullPolicy="IfNotPresent")))
    message = ns.ready_message("box", "no-such-image", SECONDS)
    expect("box" in message or "pull" in message.lower(), "the message names neither pod nor cause: " + message)
    patch(ns, "box", {"spec": {"template": {"spec": {"image": "sc.test/debian:1"}}}})
    ns.phase("box", "Running")


@case
def fits_nowhere_then_fits(ns):
    ns.apply(sc_manifest("big", shell(nodeSelector={"sc.test/zone": ns.name})))
    message = ns.ready_message("big", "nodes are available", SECONDS)
    expect(ns.condition("big", "Scheduled").get("status") == "False", "Scheduled does not say so: " + message)
    expect(ns.get("pod/big-provider", check=False) is None, "a provider was made for a pod without a node")
    name = kubectl("get", "nodes", "-o", "name").stdout.split()[0]
    try:
        kubectl("label", name, "sc.test/zone=" + ns.name)
        ns.phase("big", "Running")
    finally:
        kubectl("label", name, "sc.test/zone-")


@case
def bad_field_is_refused_by_the_api_server(ns):
    manifest = sc_manifest("box", {**shell(), "comand": ["typo"]})
    done = ns.kubectl("apply", "-f", "-", stdin=json.dumps(manifest), check=False)
    expect(done.returncode != 0 and "comand" in done.stderr, "a field that does not exist was taken: " + done.stderr)
    both = sc_manifest("box", {"image": "x", "containers": [{"name": "a", "image": "x"}]})
    done = ns.kubectl("apply", "-f", "-", stdin=json.dumps(both), check=False)
    expect(done.returncode != 0 and "short form" in done.stderr, "both forms at once: " + done.stderr)
    done = ns.kubectl("apply", "-f", "-", stdin=json.dumps(sc_manifest("a" * 55, shell())), check=False)
    expect(done.returncode != 0 and "54" in done.stderr, "a name that is too long: " + done.stderr)
    done = ns.kubectl("apply", "-f", "-", stdin=json.dumps(sc_manifest("x-provider", shell())), check=False)
    expect(done.returncode != 0 and "-provider" in done.stderr, "a name ending in -provider: " + done.stderr)


@case
def template_the_pod_api_refuses(ns):
    """Fits the CRD's schema, but not the API server's validation of pods."""
    ns.apply(sc_manifest("box", shell(env=[{"name": "A=B=", "value": "x"}, {"name": "", "value": "y"}])))
    ns.ready_message("box", "env", SECONDS)
    patch(ns, "box", {"spec": {"template": {"spec": {"env": [{"name": "A", "value": "x"}]}}}})
    ns.phase("box", "Running")


@case
@labels(psa_enforce="restricted")
def pod_security_violation(ns):
    ns.apply(sc_manifest("box", shell(image="sc.test/busybox:1")))
    ns.ready_message("box", "violates PodSecurity", SECONDS)
    kubectl("label", "namespace", ns.name, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
    ns.phase("box", "Running")


@case
def quota(ns):
    ns.kubectl("create", "quota", "none", "--hard=pods=0")
    eventually("quota in force", lambda: ns.get("quota/none")["status"].get("hard"))
    ns.apply(sc_manifest("box", shell()))
    ns.ready_message("box", "exceeded quota", SECONDS)
    events = ns.kubectl("get", "events", "-o", "name").stdout.count("event")
    expect(events < 10, "%d events for one refusal" % events)
    ns.delete("quota/none")
    ns.phase("box", "Running")


@case
def foreign_pod_of_our_name(ns):
    ns.kubectl("run", "box", "--image=sc.test/busybox:1", "--", "sleep", "100000")
    ns.apply(sc_manifest("box", shell(terminationGracePeriodSeconds=1)))
    ns.ready_message("box", "box", SECONDS)
    expect("ownerReferences" not in ns.get("pod/box")["metadata"], "a foreign pod was adopted")
    ns.delete("pod/box", "--force")
    ns.phase("box", "Running")


@case
def missing_configmap_shows_and_heals(ns):
    ns.apply(sc_manifest("box", shell(envFrom=[{"configMapRef": {"name": "settings"}}])))
    ns.ready_message("box", "settings", SECONDS)
    ns.kubectl("create", "configmap", "settings", "--from-literal=A=b")
    ns.phase("box", "Running")
    expect(ns.sh("box", "echo $A") == "b", "environment from the config map")


if __name__ == "__main__":
    sys.exit(main())
