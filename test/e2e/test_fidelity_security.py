#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rights, namespaces and resources of a container: the same in a StoppableContainer as in a plain pod made from the same spec."""
import json
import sys

from harness import Skipped, case, eventually, expect, kubectl, main, node, sc_manifest, shell
from twins import OURS, PLAIN, Twins

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]
RIGHTS = ("for p in 1 self; do grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/$p/status; cat /proc/$p/attr/current; "
          "cat /proc/$p/oom_score_adj; grep -E 'open files|processes|core' /proc/$p/limits; done 2>&1")
DEVICES = "cd /dev; find . -type l -o -type b -o -type c -o -type d | sort | while read -r f; do stat -c '%A %u %g %t:%T %N' $f; done"
ADDRESS = r"{ %s; } | sed -E 's/\b10(\.[0-9]+){3}\b/IP/g'"


def container(name="main", image="sc.test/busybox:1", **more):
    return {"name": name, "image": image, "command": SLEEP, **more}


@case
def security_contexts(ns):
    drop = {"drop": ["ALL"]}
    variants = {
        "default": {}, "drop-all": {"capabilities": drop},
        "add": {"capabilities": {"add": ["NET_ADMIN", "SYS_TIME"], "drop": ["CHOWN"]}},
        "no-escalation": {"allowPrivilegeEscalation": False}, "confined": {"seccompProfile": {"type": "RuntimeDefault"}},
        "unconfined": {"seccompProfile": {"type": "Unconfined"}, "runAsUser": 1000},
        "restricted": {"capabilities": {**drop, "add": ["NET_BIND_SERVICE"]}, "allowPrivilegeEscalation": False, "runAsUser": 1000,
                       "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    spec = {"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"},
                                            {"name": "net.ipv4.ip_unprivileged_port_start", "value": "81"}]},
            "containers": [container(name, securityContext=v) for name, v in variants.items()]}
    twins = Twins(ns, spec)
    for name in variants:
        text = twins.same("rights of " + name, RIGHTS, name)
        expect(text.count("Seccomp:") == 2 and text.count("CapEff") == 2, "not everything was looked at: " + text)
    twins.same("devices", DEVICES, "default")
    twins.same("sysctls", "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start")
    twins.same("what is masked", "for f in /proc/kcore /proc/keys /proc/timer_list /sys/firmware /proc/sysrq-trigger; do "
                                 "stat -c '%n %F' $f; head -c 1 $f | wc -c; echo x 2>&1 >$f; done 2>&1")
    twins.same("setuid in the root", "grep -c . /proc/self/status; mount | grep -c ' / ' ; id -u", "drop-all")


def seccomp_profile(name, *calls, error=38):
    """A file where the node's administrator keeps them. It stays: it is the node's, not a case's."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW",
               "syscalls": [{"names": list(calls), "action": "SCMP_ACT_ERRNO", "errnoRet": error}]}
    node("sh", "-c", "mkdir -p /var/lib/kubelet/seccomp/sc.test && cat > /var/lib/kubelet/seccomp/sc.test/%s.json" % name,
         stdin=json.dumps(profile))
    return {"seccompProfile": {"type": "Localhost", "localhostProfile": "sc.test/%s.json" % name}}


@case
def seccomp_profiles_of_the_node(ns):
    no_mkdir, no_rename = seccomp_profile("no-mkdir", "mkdir", "mkdirat"), seccomp_profile("no-rename", "rename", "renameat", "renameat2")
    twins = Twins(ns, {"securityContext": no_mkdir, "containers": [container("pods"), container("own", securityContext=no_rename)]})
    try_both = "grep Seccomp: /proc/1/status /proc/self/status; mkdir /tmp/d; touch /tmp/a; mv /tmp/a /tmp/b; ls /tmp; exit 0"
    for turn in (1, 2):
        for name, verb in (("pods", "mkdir"), ("own", "mv")):
            text = twins.same("what the profile of %s forbids, run %d" % (name, turn), "{ %s; } 2>&1; rm -rf /tmp/*" % try_both, name)
            expect(text.count("Function not implemented") == 1 and verb + ": can't" in text, "the profile does not act: " + text)
        twins.again()


@case
def seccomp_profiles_that_forbid_the_attach(ns):
    for name, call, words in (("no-connect", "connect", "cannot connect to the node agent"), ("no-poll", "poll", "cannot wait for the node agent")):
        forbid = seccomp_profile(name, call, error=1)
        ns.apply(sc_manifest(name, {"image": "sc.test/busybox:1", "command": SLEEP, "restartPolicy": "Never", "securityContext": forbid}))
        ns.ready_message(name, "%s at /.stoppablecontainer/agent.sock: Operation not permitted .does the "
                         "container's seccomp profile forbid the call" % words)
    ns.apply(sc_manifest("none", {"image": "sc.test/busybox:1", "command": SLEEP, "securityContext": {
        "seccompProfile": {"type": "Localhost", "localhostProfile": "sc.test/not-there.json"}}}))
    ns.ready_message("none", "seccomp")


@case
def apparmor_where_the_node_has_none(ns):
    if node("cat", "/sys/module/apparmor/parameters/enabled", check=False).stdout.strip() == "Y":
        raise Skipped("this machine has AppArmor")
    ns.apply(sc_manifest("box", shell(image="sc.test/busybox:1", securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})))
    ns.ready_message("box", "AppArmor is not enabled on the host")


@case
def privileged(ns):
    twins = Twins(ns, {"containers": [container(image="sc.test/debian:1", securityContext={"privileged": True})]})
    twins.same("rights", RIGHTS)
    devices = twins.same("devices", DEVICES.replace("find . ", "find . -path ./pts -prune -o "))
    expect(devices.count("\n") > 20, "the machine's devices are not there: " + devices)
    twins.same("mounting", "mkdir -p /mnt/t && mount -t tmpfs mine /mnt/t && echo x > /mnt/t/x && "
                           "grep -o ' /mnt/t .*mine' /proc/self/mountinfo; "
                           "mknod /srv/null c 1 3 && echo x > /srv/null && echo written")
    twins.same("what is masked or read-only", "grep -E ' /(proc|sys)' /proc/self/mountinfo | cut -d' ' -f5,6 | sort")
    twins.again()
    twins.same("devices after a start", DEVICES.replace("find . ", "find . -path ./pts -prune -o "))
    left = twins.ours("grep -c ' /mnt/t ' /proc/self/mountinfo; stat -c %t:%T /srv/null")
    expect(left.split() == ["0", "1:3"], "a mount survived the stop, or a node did not: " + left)


@case
def host_namespaces(ns):
    ids = "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done"
    twins = Twins(ns, {"hostNetwork": True, "hostPID": True, "hostIPC": True, "hostUsers": True, "hostname": None,
                       "dnsPolicy": "ClusterFirstWithHostNet", "containers": [container()]})
    inside = twins.same("namespaces", ids)
    expect(inside.split() == node("sh", "-c", ids).stdout.split(), "they are not the node's: " + inside)
    twins.same("host name and addresses", "hostname; ip -o addr show | grep -v cni0 | grep -v veth | awk '{print $2, $4}'")
    twins.same("rights", RIGHTS)
    expect(twins.ours("echo kept > /kept; cat /kept") == "kept", "the root is not writable")
    twins.again()
    expect(twins.ours("cat /kept") == "kept", "the root was not kept")
    expect(node("ls", "/kept", check=False).returncode != 0, "the root was the machine's")


@case
def shared_process_namespace(ns):
    twins = Twins(ns, {"shareProcessNamespace": True, "containers": [
        container("one"), container("two", securityContext={"capabilities": {"add": ["SYS_PTRACE"]}})]})
    twins.same("pid 1", "cat /proc/1/comm; cat /proc/1/cmdline | tr '\\0' ' '", "one")
    twins.same("processes", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o '[t]rap ' | wc -l", "one")
    twins.ours("echo one > /who", "one")
    twins.ours("echo two > /who", "two")
    seen = twins.ours("cat /proc/[0-9]*/root/who 2>/dev/null | sort -u", "two")
    expect(seen == "one\ntwo", "a container does not see the other's root through /proc: %r" % seen)
    twins.again()
    expect(twins.ours("cat /who", "one") == "one" and twins.ours("cat /who", "two") == "two", "roots after a start")


@case
def names_and_resolver(ns):
    ns.kubectl("create", "service", "clusterip", "group", "--clusterip=None")
    spec = {"hostAliases": [{"ip": "192.0.2.7", "hostnames": ["alias.test", "second.test"]}], "subdomain": "group",
            "setHostnameAsFQDN": True, "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["192.0.2.53"], "searches": ["a.test", "b.test"], "options": [{"name": "ndots", "value": "3"}]},
            "containers": [container()]}
    twins = Twins(ns, spec)
    for turn in ("first", "second"):
        text = twins.same("files of the resolver, %s run" % turn,
                          ADDRESS % "cat /etc/hosts /etc/resolv.conf /etc/hostname; hostname; hostname -f")
        expect("alias.test" in text and "options ndots:3" in text and "twin.group." + ns.name in text, text)
        twins.again()


@case
def default_names(ns):
    """Without a hostname in the template: the pod's own name, which is the StoppableContainer's."""
    spec = {"hostname": None, "dnsPolicy": "Default", "enableServiceLinks": False, "containers": [container()]}
    twins = Twins(ns, spec)
    twins.same("names", ADDRESS % "cat /etc/hosts /etc/resolv.conf /etc/hostname; hostname; echo $HOSTNAME")
    expect(twins.ours("hostname") == OURS, "the host name is " + twins.ours("hostname"))


@case
def resources_and_out_of_memory(ns):
    spec = {"containers": [container(resources={"limits": {"cpu": "500m", "memory": "48Mi"},
                                                "requests": {"cpu": "100m", "memory": "32Mi"}})]}
    twins = Twins(ns, spec)
    values = twins.same("the cgroup", "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares memory.max "
                                      "cpu.max cpu.weight 2>/dev/null")
    expect("50331648" in values, "the memory limit is not that of the template: " + values)
    hungry = "echo run >> /runs; test $(wc -l < /runs) -ge 2 && exec sleep 100000; exec tail /dev/zero"
    ns.apply(sc_manifest("again", {"image": "sc.test/busybox:1", "command": ["sh", "-c", hungry], "terminationGracePeriodSeconds": 1,
                                   "resources": {"limits": {"memory": "32Mi"}}}),
             sc_manifest("once", {"image": "sc.test/busybox:1", "command": ["tail", "/dev/zero"], "restartPolicy": "Never",
                                  "resources": {"limits": {"memory": "32Mi"}}}))
    ns.phase("once", "Failed")
    run = ns.get("stc/once")["status"]["lastRun"]
    expect((run.get("exitCode"), run.get("reason")) == (137, "OOMKilled"), "lastRun does not tell: %r" % run)
    eventually("a second run in the same root", lambda: ns.exec("again", "cat", "/runs", check=False).stdout == "run\nrun\n")
    status = ns.get("pod/again")["status"]["containerStatuses"][0]
    expect(status["lastState"]["terminated"]["reason"] == "OOMKilled", "%r" % status)
    expect(ns.get("pod/again-provider")["status"]["phase"] == "Running", "the provider went with it")


@case
def read_only_root(ns):
    tries = ("echo x > /x; mkdir /new; rm /etc/passwd; touch /etc; chmod 777 /; echo x > /mnt/v/x && cat /mnt/v/x; "
             "echo x > /dev/shm/x && echo shm; awk '$2 == \"/\" { print substr($4, 1, 2) }' /proc/mounts; exit 0) 2>&1")
    mounts = [{"name": "v", "mountPath": "/mnt/v"}]
    spec = {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [
        container("fixed", securityContext={"readOnlyRootFilesystem": True}, volumeMounts=mounts), container("free", volumeMounts=mounts)]}
    twins = Twins(ns, spec)
    for turn in ("first", "second"):
        text = twins.same("a read-only root, %s run" % turn, "(" + tries, "fixed")
        expect(text.count("Read-only file system") >= 4 and text.endswith("ro\nexit 0") or "ro" in text.split(), text)
        expect(twins.same("a writable root", "awk '$2 == \"/\" { print substr($4, 1, 2) }' /proc/mounts", "free") == "rw", "not writable")
        twins.ours("echo %s >> /turns" % turn, "free")
        twins.again()
    expect(twins.ours("cat /turns", "free") == "first\nsecond", "the writable one was not kept")


@case
def ephemeral_storage_is_split(ns):
    """What is asked for counts where the root is; the limit acts on the consumer, since passing it evicts."""
    ns.start("box", shell(resources={"requests": {"ephemeral-storage": "10Mi"}, "limits": {"ephemeral-storage": "1Gi"}}))
    consumer, provider = (ns.get("pod/" + name)["spec"]["containers"][0]["resources"] for name in ("box", "box-provider"))
    expect(provider["requests"]["ephemeral-storage"] == "10Mi" and "ephemeral-storage" not in provider["limits"], "provider: %r" % provider)
    expect(consumer["limits"]["ephemeral-storage"] == "1Gi" and consumer["requests"]["ephemeral-storage"] == "0", "consumer: %r" % consumer)


@case
def runtime_class(ns):
    """One that does not exist (yet) is told in the API server's words; then it works as in a plain pod, with its overhead."""
    spec = {"runtimeClassName": "runc", "containers": [container()]}
    kubectl("delete", "runtimeclass", "runc", "--ignore-not-found")
    ns.apply(sc_manifest("box", spec))
    ns.ready_message("box", 'RuntimeClass "runc" not found')
    ns.delete("stc/box")
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "runc"},
                                                      "handler": "runc", "overhead": {"podFixed": {"cpu": "5m", "memory": "4Mi"}}}))
        twins = Twins(ns, {**spec, "terminationGracePeriodSeconds": 1})
        twins.same("rights", RIGHTS)
        for name in (PLAIN, OURS, OURS + "-provider"):
            expect(ns.get("pod/" + name)["spec"].get("overhead") == {"cpu": "5m", "memory": "4Mi"}, "no overhead on " + name)
        twins.again()
    finally:
        kubectl("delete", "runtimeclass", "runc", "--ignore-not-found")


if __name__ == "__main__":
    sys.exit(main())
