#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Volumes of every kind, at every place, in a StoppableContainer as in a plain pod made from the same spec."""
import json
import sys

from harness import CLUSTER, Skipped, case, eventually, expect, kubectl, main, node, run, sc_manifest, shell
from twins import OURS, PLAIN, Twins

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]
HOST = "/var/lib/kubelet/e2e-hostpath/"
# What is in a directory, to the last bit that a user can see.
TREE = ("for d in %s; do (cd $d && find . -maxdepth 3 ! -name '..20*' ! -path '*/..20*' -exec stat -c '%%n %%F %%a %%u:%%g' {} + | sort; "
        "find -L . -maxdepth 3 -type f ! -path '*/..20*' -exec cksum {} + | sort -k 3); stat -f -c %%T $d; touch $d/w && echo writable && "
        "rm $d/w; done 2>&1")


def container(name="main", mounts=(), **more):
    return {"name": name, "image": "sc.test/debian:1", "command": SLEEP,
            "volumeMounts": [{"name": v, "mountPath": p, **(m[0] if m else {})} for v, p, *m in mounts], **more}


def config(name, kind="ConfigMap", **data):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name},
            "data" if kind == "ConfigMap" else "stringData": {k.replace("_", "."): v for k, v in data.items()}}


class HostDirectory:
    """A directory on the node for hostPath volumes, removed at the end with whatever was mounted in it."""

    def __init__(self, ns):
        self.path = HOST + ns.name
        node("mkdir", "-p", self.path)

    def __enter__(self):
        return self

    def sh(self, script):
        return node("sh", "-c", "cd %s && %s" % (self.path, script)).stdout.strip()

    def __exit__(self, *why):
        node("sh", "-c", "cd %s && for m in $(awk '{print $5}' /proc/self/mountinfo | grep ^%s/ | sort -r); do umount $m; done; "
                         "rm -r --one-file-system %s" % (HOST, self.path, self.path))


@case
def every_kind_that_the_api_server_fills(ns):
    ns.apply(config("c", a="alpha", b_conf="beta"), config("s", "Secret", password="hunter2"))
    sources = [{"configMap": {"name": "c"}}, {"secret": {"name": "s", "items": [{"key": "password", "path": "deep/er/pw"}]}},
               {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels['colour']"}}]}},
               {"serviceAccountToken": {"path": "token", "audience": "x"}}]
    spec = {
        "containers": [container(mounts=[
            ("disk", "/m/disk"), ("memory", "/m/memory"), ("config", "/m/config"), ("some", "/m/some"), ("secret", "/m/secret"),
            ("projected", "/m/projected"), ("down", "/m/down"), ("image", "/m/image"), ("image", "/m/part", {"subPath": "etc"}),
            ("config", "/m/read-only", {"readOnly": True}), ("memory", "/m/rro", {"readOnly": True,
                                                                                   "recursiveReadOnly": "Enabled"})],
            resources={"limits": {"memory": "64Mi"}})],
        "volumes": [
            {"name": "disk", "emptyDir": {"sizeLimit": "5Mi"}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
            {"name": "config", "configMap": {"name": "c"}},
            {"name": "some", "configMap": {"name": "c", "defaultMode": 0o440, "items": [
                {"key": "a", "path": "x/y", "mode": 0o400}]}},
            {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o600}},
            {"name": "projected", "projected": {"sources": sources}},
            {"name": "down", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels['colour']"}},
                {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory"}}]}},
            {"name": "image", "image": {"reference": "sc.test/nonroot:1"}}]}
    t = Twins(ns, spec, {"labels": {"colour": "blue"}})
    places = "/m/disk /m/memory /m/config /m/some /m/secret /m/down /m/image /m/part /m/read-only /m/rro"
    for _ in (1, 2):
        t.same_mounts()
        t.same("a volume", TREE % places)
        seen = t.same("the projected volume", "cd /m/projected; cat a b.conf deep/er/pw labels; test -s token && echo token; "
                      "stat -c '%n %F %a %u:%g' * | sort; df -k /m/memory | tail -1 | awk '{print $2}'")
        expect("alpha" in seen and "hunter2" in seen and "blue" in seen and "token" in seen and "4096" in seen, seen)
        t.ours("echo kept > /kept; echo gone > /m/disk/gone")
        t.again()
    expect(t.ours("cat /kept; ls /m/disk") == "kept", "the root, or an emptyDir that outlived its pod")


@case
def every_type_of_host_path(ns):
    with HostDirectory(ns) as h:
        h.sh("mkdir d && echo inside > d/f && echo text > file && mkdir -p in/ner && ln -s d link && "
             "perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un(\"sock\")) or die $!'")
        kinds = {"dir": ("d", "Directory"), "made": ("made/it", "DirectoryOrCreate"), "file": ("file", "File"),
                 "newfile": ("newfile", "FileOrCreate"), "socket": ("sock", "Socket"), "any": ("in", ""), "link": ("link", "")}
        volumes = [{"name": n, "hostPath": {"path": h.path + "/" + p, "type": t}} for n, (p, t) in kinds.items()]
        volumes.append({"name": "char", "hostPath": {"path": "/dev/null", "type": "CharDevice"}})
        mounts = [(v["name"], "/h/" + v["name"]) for v in volumes]
        t = Twins(ns, {"containers": [container(mounts=mounts)], "volumes": volumes})
        for _ in (1, 2):
            t.same_mounts()
            t.same("a host path", "cd /h; stat -c '%n %F %a %u:%g %t:%T' * any/* ; cat dir/f file link/f; ls -a any")
            t.again()
        t.ours("echo more >> /h/file; echo x > /h/made/x; echo y > /h/newfile; echo null > /h/char")
        expect(h.sh("cat file made/it/x newfile") == "text\nmore\nx\ny", "what was written is not on the node")


@case
def claims_and_ephemeral_claims(ns):
    with HostDirectory(ns) as h:
        h.sh("mkdir pv; for i in 1 2 3; do mkdir e$i; done; echo from-before > pv/f")
        names = []
        for n, claim in (("pv", "data"), ("e1", PLAIN + "-scratch"), ("e2", OURS + "-scratch"), ("e3", OURS + "-scratch")):
            names.append("%s-%s" % (ns.name, n))
            kubectl("apply", "-f", "-", stdin=json.dumps({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": names[-1]}, "spec": {
                    "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": ns.name, "name": claim},
                    "hostPath": {"path": h.path + "/" + n}}}))
        claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Mi"}}}
        try:
            ns.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim})
            t = Twins(ns, {"containers": [container(mounts=[("data", "/data"), ("scratch", "/scratch"),
                                                            ("data", "/sub", {"subPath": "a/b"})])],
                           "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                                       {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}]})
            t.same_mounts()
            t.ours("echo ours >> /data/f; echo deep > /sub/g; echo x > /scratch/x")
            t.same("the claim", "cat /data/f /data/a/b/g; ls -la /sub")
            t.again()
            expect(t.ours("cat /data/f /sub/g") == "from-before\nours\ndeep", "the claim's data after a start")
            expect(t.ours("ls /scratch") == "", "an ephemeral volume is a new one for each pod")
        finally:
            kubectl("delete", "pv", *names, "--wait=false")


@case
def block_volumes(ns):
    with HostDirectory(ns) as h:
        h.sh("truncate -s 1M disk")
        made = node("losetup", "-f", "--show", h.path + "/disk", check=False)
        if made.returncode != 0:
            raise Skipped("no loop device can be had here: " + made.stderr.strip())
        device = made.stdout.strip()
        try:
            where = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
            kubectl("apply", "-f", "-", stdin=json.dumps({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": ns.name}, "spec": {
                    "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteMany"], "volumeMode": "Block", "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": ns.name, "name": "disk"},
                    "local": {"path": device}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [where]}]}}}}))
            ns.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"}, "spec": {
                "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeMode": "Block",
                "resources": {"requests": {"storage": "1Mi"}}}})
            t = Twins(ns, {"containers": [container(volumeDevices=[{"name": "disk", "devicePath": "/dev/xdisk"}])],
                           "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]})
            t.same("the device", "stat -c '%F %a %u:%g' /dev/xdisk; wc -c < /dev/xdisk")
            t.ours("echo on the disk | dd of=/dev/xdisk conv=fsync 2>/dev/null")
            t.again()
            expect("on the disk" in t.ours("head -c 11 /dev/xdisk"), "what is on the disk")
        finally:
            ns.kubectl("delete", "stc/" + OURS, "pod/" + PLAIN, "pvc/disk", "--ignore-not-found", "--timeout=60s")
            kubectl("delete", "pv", ns.name, "--wait=false")
            eventually("the kubelet to give the device back", lambda: device not in node("losetup", "-a").stdout.replace(
                device + ": ", ""))
            node("losetup", "-d", device)


@case
def places_that_are_odd(ns):
    """Links in the image, directories that it does not have, files, mounts in mounts, places that the runtime fills itself."""
    ns.apply(config("c", a="alpha", b="beta"))
    mounts = [("disk", "/var/run/app"), ("disk", "/var/lock", {"subPath": "lock"}), ("disk", "/no/such/directory"),
              ("config", "/etc/hostname.d/only", {"subPath": "a"}), ("config", "/etc/passwd-", {"subPath": "b"}),
              ("config", "/etc/debian_version", {"subPath": "a", "readOnly": True}), ("memory", "/dev/shm"), ("disk2", "/tmp"),
              ("disk2", "/outer"), ("memory2", "/outer/inner/most"), ("config", "/outer/inner/most/cfg"),
              ("disk", "/outer/inner/most/file", {"subPath": "lock"}), ("disk2", "/bin/../opt/dots"), ("memory2", "//two//slashes/"),
              ("disk2", "relative/place"), ("disk", "/dev/extra"), ("disk2", "/usr/share/zoneinfo/x y"),
              ("disk2", "/with\\back\nline"), ("disk", "/proc-adjacent"), ("disk2", "/sys-adjacent"), ("memory2", "/mnt"),
              ("config", "/etc/resolv.conf", {"subPath": "a"}), ("disk", "/run/secrets/kubernetes.io")]
    t = Twins(ns, {"containers": [container(mounts=mounts)], "volumes": [
        {"name": "disk", "emptyDir": {}}, {"name": "disk2", "emptyDir": {}}, {"name": "config", "configMap": {"name": "c"}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}, {"name": "memory2", "emptyDir": {"medium": "Memory"}}]})
    look = ("ls -lAd /var/run /var/lock /run/lock /no /no/such /no/such/directory /etc/hostname.d /relative /opt/dots; cat /etc/passwd- "
            "/etc/debian_version /etc/hostname.d/only /outer/inner/most/cfg/a /etc/resolv.conf; df -k /dev/shm | awk '{print $2}'; "
            "stat -c '%n %F %a' /tmp /dev/shm /dev/* /outer/*/* /two/* /with* /usr/share/zoneinfo/*")
    look = "(%s) 2>&1 | sed 's/ [A-Z][a-z][a-z] .[0-9] [0-9][0-9]:[0-9][0-9] / /'" % look
    for _ in (1, 2):
        t.same_mounts()
        t.same("an odd place", look)
        t.again()


@case
def links_that_the_workload_replaced(ns):
    """A mount is where the pod says by the links of the preserved root, no longer by those of its image."""
    ns.start("box", {"terminationGracePeriodSeconds": 1, "containers": [container(mounts=[("disk", "/var/run/app")])],
                     "volumes": [{"name": "disk", "emptyDir": {}}]})
    look = "grep -o ' /[a-z/]*run/[a-z/]*app ' /proc/self/mountinfo; ls -d /var/run/secrets/kubernetes.io/serviceaccount/token"
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    expect(ns.sh("box", look).split() == ["/run/app", token], "before: " + ns.sh("box", look))
    ns.sh("box", "rm /var/run && mkdir /var/run && echo mine > /var/run/file")
    ns.running("box", False)
    ns.running("box", True)
    expect(ns.sh("box", look).split() == ["/var/run/app", token], "after: " + ns.sh("box", look))
    expect(ns.sh("box", "echo x > /var/run/app/x && cat /var/run/file") == "mine", "the root is another")


@case
def sub_paths(ns):
    ns.apply(config("c", a="alpha"))
    env = [{"name": "WHO", "value": "me"}, {"name": "COLOUR", "valueFrom": {"fieldRef": {
        "fieldPath": "metadata.labels['colour']"}}}]
    t = Twins(ns, {"containers": [container(env=env, mounts=[
        ("disk", "/all"), ("disk", "/mine", {"subPathExpr": "$(COLOUR)/$(WHO)"}), ("disk", "/deep", {"subPath": "x/y/z"}),
        ("disk", "/deep/in", {"subPath": "x"}), ("disk", "/ro", {"subPath": "x", "readOnly": True}),
        ("c", "/etc/one.conf", {"subPath": "a"})])],
        "volumes": [{"name": "disk", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]}, {"labels": {"colour": "blue"}})
    for _ in (1, 2):
        t.same_mounts()
        expect("all/blue/me/f" in t.same("a sub path", "echo x > /mine/f; echo y > /deep/g; find /all /mine /deep /ro | sort; "
               "cat /etc/one.conf; touch /ro/x 2>&1"), "subPathExpr")
        t.again()


@case
def propagation_both_ways_after_the_attach(ns):
    with HostDirectory(ns) as h:
        modes = ("None", "HostToContainer", "Bidirectional")
        h.sh("mkdir -p in/a in/b in/c")
        t = Twins(ns, {"containers": [container(mounts=[("h", "/" + m, {"mountPropagation": m}) for m in modes],
                                                securityContext={"privileged": True})],
                       "volumes": [{"name": "h", "hostPath": {"path": h.path + "/in"}}]})
        look = "for m in %s; do (cd /$m; ls -d */*; true); done 2>/dev/null | sort | uniq -c; echo end" % " ".join(modes)
        for turn in ("first", "second"):
            t.same_mounts()
            h.sh("mount -t tmpfs t in/a && touch in/a/host-" + turn)
            t.ours("mount -t tmpfs t /Bidirectional/b; touch /Bidirectional/b/ours-" + turn)
            expect(h.sh("ls in/b") == "ours-" + turn, "what is mounted in a Bidirectional volume is on the node")
            seen = t.same("a propagated mount", look)
            expect("2 a/host-" + turn in seen and "2 b/ours-" + turn in seen, "in two of the three volumes: " + seen)
            h.sh("umount in/a in/b")
            expect("-" not in t.same("the volumes after unmounting", look), "a mount stayed")
            t.again()
        h.sh("mount -t tmpfs t in/c && touch in/c/before-the-start")
        t.again()
        expect("3 c/before-the-start" in t.ours(look), "what was mounted before the start")
        expect(h.sh("ls in/c") == "before-the-start", "the stop unmounted what is the node's")


@case
def live_updates_reach_the_running_container(ns):
    ns.apply(config("c", a="one"), config("s", "Secret", password="one"))
    t = Twins(ns, {"containers": [container(mounts=[("c", "/c"), ("p", "/p"), ("c", "/file", {"subPath": "a"})])], "volumes": [
        {"name": "c", "configMap": {"name": "c"}}, {"name": "p", "projected": {"sources": [
            {"configMap": {"name": "c"}}, {"secret": {"name": "s"}}, {"serviceAccountToken": {"path": "token"}},
            {"downwardAPI": {"items": [{"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations['note']"}}]}}]}}]})
    ns.apply(config("c", a="two", new="more"), config("s", "Secret", password="two"))

    def updated():  # a change of the pod makes the kubelet look at its volumes now, and not within a minute
        for pod in (PLAIN, OURS):
            ns.kubectl("annotate", "--overwrite", "pod", pod, "note=two")
        return all(ns.sh(pod, "cat /c/a /p/a /p/password /p/notes /c/new 2>/dev/null") == "twotwotwotwomore" for pod in (PLAIN, OURS))
    eventually("both see the new data", updated, step=2)
    t.same("an updated volume", "ls -l /c /p | awk '{print $1, $9, $10, $11}' | sed 's/[.][.]2.*//'; cat /file /c/* /p/[anp]*")
    t.again()
    expect(t.ours("cat /c/a /p/password /file") == "twotwotwo", "the next start has the new data")


@case(alone=True)
def rotated_tokens_reach_the_running_container(ns):
    """A restarted kubelet asks for new tokens at once, and not when four fifths of ten minutes are over."""
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}
    ns.start("box", {"containers": [container(mounts=[("t", "/t")])], "terminationGracePeriodSeconds": 1,
                     "volumes": [{"name": "t", "projected": {"sources": [source]}}]})
    tokens = "cat /t/token /var/run/secrets/kubernetes.io/serviceaccount/token | cksum; head -c 20 /t/token"
    before = ns.sh("box", tokens)
    expect(len(before.split()) == 3, "no token: " + before)
    run([CLUSTER, "restart", "kubelet"], timeout=180)
    eventually("another token", lambda: ns.exec("box", "sh", "-c", tokens, check=False).stdout.strip() not in ("", before))
    expect(ns.get("pod/box")["status"]["containerStatuses"][0]["restartCount"] == 0, "the container was restarted")


@case
def image_volumes_live_in_the_root(ns):
    spec = container(mounts=[("kept", "/data/sub"), ("over", "/link/cache/over")], image="sc.test/volumes:1")
    t = Twins(ns, {"containers": [spec], "volumes": [{"name": "kept", "emptyDir": {}}, {"name": "over", "emptyDir": {}}]})
    t.same("the image's volumes", "find /data /real | sort; cat /data/file /link/cache/file; touch /data/w /link/cache/w")
    t.ours("echo edited > /data/file; echo new > /link/cache/new; echo gone > /data/sub/gone")
    t.again()
    expect(t.ours("cat /data/file /link/cache/new; ls /data /data/sub /link/cache") ==
           "edited\nnew\n/data:\nfile\nsub\nw\n\n/data/sub:\n\n/link/cache:\nfile\nnew\nover\nw", "data in an image's VOLUME")
    mounts = t.ours("awk '{print $5}' /proc/self/mountinfo")
    expect("/real/cache\n" not in mounts and "/real/cache/over" in mounts, "an anonymous volume hides the root: " + mounts)


@case
def what_is_beneath_a_mount_stays(ns):
    """A volume that comes and goes with edits of the template; and what it holds is nobody's but its own."""
    with HostDirectory(ns) as h:
        h.sh("mkdir v; echo host > v/f; ln -s f v/l; chmod 1770 v; chown 5:6 v/f; setfattr -n user.x -v y v/f 2>/dev/null; true")
        picture = "find v -exec stat -c '%n %F %a %u:%g %Y %s %i' {} + | sort; cat v/f"
        before = h.sh(picture)
        plain = shell()
        ns.start("box", plain)
        ns.sh("box", "mkdir -p /opt/place && echo beneath > /opt/place/own && chmod 700 /opt/place && echo cfg > /etc/app.conf")
        ns.running("box", False)
        mounts = [{"name": "v", "mountPath": p, **m} for p, m in (("/opt/place", {}), ("/etc/app.conf", {"subPath": "f"}))]
        ns.apply(sc_manifest("box", {**plain, "volumeMounts": mounts}, running=False))
        ns.kubectl("patch", "stc", "box", "--type=merge", "-p", json.dumps({"spec": {"template": {
            "volumes": [{"name": "v", "hostPath": {"path": h.path + "/v"}}]}}}))
        ns.running("box", True)
        expect(ns.sh("box", "ls /opt/place; cat /etc/app.conf") == "f\nl\nhost", "the volume, in the short form of the template")
        ns.running("box", False)
        expect(h.sh(picture) == before, "the volume's contents changed by a start and a stop: %r, %r" % (before, h.sh(picture)))
        ns.kubectl("patch", "stc", "box", "--type=json", "-p", json.dumps(
            [{"op": "remove", "path": "/spec/template/volumes"}, {"op": "remove", "path": "/spec/template/spec/volumeMounts"}]))
        ns.running("box", True)
        expect(ns.sh("box", "cat /opt/place/own /etc/app.conf; stat -c %a /opt/place; ls /opt/place") ==
               "beneath\ncfg\n700\nown", "what lay beneath the volume")
        ns.delete("stc/box")
        expect(h.sh(picture) == before, "deleting changed the volume's contents")


@case
def sixty_volumes_and_two_containers(ns):
    ns.apply(config("c", a="alpha"))
    kinds = [{"emptyDir": {}}, {"configMap": {"name": "c"}}, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
    volumes = [{"name": "v%d" % i, **kinds[i % 3]} for i in range(60)]
    mounts = [("v%d" % i, "/many/%d/%s" % (i % 7, "/".join("d%d" % j for j in range(i % 5 + 1)) + "-%d" % i)) for i in range(60)]
    other = container("other", [("v0", "/shared"), ("v1", "/cfg")], image="sc.test/busybox:1")
    t = Twins(ns, {"containers": [container(mounts=mounts), other], "volumes": volumes})
    for _ in (1, 2):
        expect(t.same_mounts("main").count("/many/") == 60, "sixty mounts")
        t.same_mounts("other")
        t.same("the volumes", "find /many ! -name '..20*' ! -path '*/..20*' | sort; find -L /many -name a ! -path '*/..*' -exec cat {} + | sort | uniq -c", "main")
        t.ours("echo from main > %s/f" % mounts[0][1], "main")
        expect(t.ours("cat /shared/f; cat /cfg/a", "other") == "from main\nalpha", "the shared volume, in another image")
        t.again()


@case
def refused_in_words(ns):
    """Never a pod, and a sentence that names the container, the place and the way out."""
    def claim(**more):
        return {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "main", "image": "sc.test/busybox:1", **more}]}

    def mount(path, name="v"):
        return claim(volumeMounts=[{"name": name, "mountPath": path}])
    ours = {"name": "stoppablecontainer", "emptyDir": {}}
    specs = [(mount("/"), "the root is what is preserved"), (mount("/.stoppablecontainer"), "is ours: choose another"),
             (mount("//x/.././.stoppablecontainer/agent.sock"), "is ours: choose another"),
             (mount("/x", "stoppablecontainer"), "mounts the volume stoppablecontainer"),
             ({**mount("/x", "stoppablecontainer"), "volumes": [ours]}, "rename it"),
             (claim(volumeDevices=[{"name": "v", "devicePath": "/data/disk"}]), "in /dev only")]
    for i, (spec, _) in enumerate(specs):
        ns.apply(sc_manifest("r%d" % i, spec))
    for i, (_, words) in enumerate(specs):
        ns.ready_message("r%d" % i, words)
    expect(ns.get("pods")["items"] == [], "a pod was made for a template that is refused")
    # What no pod can have is said in the runtime's or the API server's words.
    done = ns.kubectl("apply", "-f", "-", check=False, stdin=json.dumps(sc_manifest("twice", claim(volumeMounts=[
        {"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]))))
    expect(done.returncode != 0 and "Duplicate value" in done.stderr, "two volumes at one place: " + done.stderr)
    ns.apply(sc_manifest("proc", mount("/proc")), sc_manifest("nothing", mount("/x", "unknown")))
    ns.ready_message("nothing", "volumeMounts.*[Nn]ot found")
    ns.ready_message("proc", "/proc")


if __name__ == "__main__":
    sys.exit(main())
