#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile pods, images and preserved roots: they hurt themselves at most."""
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from harness import CLUSTER, STATE, TOP, case, eventually, expect, labels, main, node, run, sc_manifest, shell
from hostile import ATTACH, DIR, HELLO, never_starts, pod, unharmed, victim, volume

PLUGIN = "/var/lib/kubelet/plugins/stoppablecontainer.xtlsoft.top/csi.sock"


def agent():
    """What the kernel tells of the agent: its pid, memory in KiB, and open files."""
    out = node("sh", "-c", "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = /usr/bin/sc-node-agent ] && echo ${p#/proc/}; "
               "done; true").stdout.split()
    pid = min(map(int, out))  # workers and probes come later
    status = node("cat", "/proc/%d/status" % pid).stdout
    rss = int(status.split("VmRSS:")[1].split()[0])
    return pid, rss, len(node("ls", "/proc/%d/fd" % pid).stdout.split())


# --- preserved roots ---------------------------------------------------------------------------------------------------

# In a mount namespace of its own the places of mounts are plain names. Links in a chain, and every other kind of file.
PREPARE = r"""
set -e
for m in $(awk '$5 !~ "^/(proc.*)?$" {print $5}' /proc/self/mountinfo | sort -r); do umount -l $m; done; umount -l /proc
cd /
i=1; ln -s /etc/real chain0; while [ $i -lt 38 ]; do ln -s /chain$((i - 1)) chain$i; i=$((i + 1)); done
echo mine > /etc/real
rm -rf proc dev sys .stoppablecontainer
ln -s /tmp proc; mkfifo dev; echo x > sys; ln -s /hidden .stoppablecontainer
rm -f etc/hosts etc/resolv.conf etc/hostname
mknod etc/hosts c 1 3; ln -s /chain37 etc/resolv.conf; mkdir etc/hostname
mknod srv/block b 7 0; ln -s ../../../../../../../../../dev/../etc/../opt/./ late
sync
"""


@case
def root_prepared_before_the_stop(ns):
    spec = {"containers": [{"name": "main", "image": "sc.test/debian:1", "securityContext": {"privileged": True},
                            "command": ["sh", "-c", "exec sleep infinity"]}], "terminationGracePeriodSeconds": 1}
    ns.start("box", spec)
    ns.exec("box", "unshare", "-m", "--propagation", "private", "sh", "-c", PREPARE)
    ns.running("box", False)
    machine = node("sh", "-c", "ls -A / /etc | sort | md5sum").stdout
    spec["volumes"] = [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/late/volume"}, {"name": "w", "mountPath": "/srv/block"}]
    ns.apply(sc_manifest("box", spec, running=False))
    ns.running("box", True)
    expect(ns.sh("box", "cat /proc/1/comm") == "sleep", "/proc is not the container's")
    expect(ns.sh("box", "test -c /dev/null && test -d /sys/kernel && echo yes") == "yes", "/dev, /sys")
    expect(ns.sh("box", "grep -ci kubernetes /etc/hosts") != "0", "/etc/hosts is not the pod's")
    expect(ns.sh("box", "hostname; cat /etc/hostname") == "box\nbox", "/etc/hostname is not the pod's")
    expect("mine" not in ns.sh("box", "cat /etc/resolv.conf"), "/etc/resolv.conf is not the pod's")
    expect({"agent.sock", "execwrap"} <= set(ns.sh("box", "ls /hidden").split()), "the link to another place was not followed")
    expect("/srv/block" in ns.sh("box", "cat /proc/mounts"), "the volume in the place of a device")
    asides = ns.sh("box", "ls -d /proc.sc-aside-1 /dev.sc-aside-1 /sys.sc-aside-1 /srv/block.sc-aside-1 | wc -l")
    expect(asides == "4", "what was in the way is gone: " + asides)
    expect(node("sh", "-c", "ls -A / /etc | sort | md5sum").stdout == machine, "the machine has other files than before")


# --- the socket --------------------------------------------------------------------------------------------------------

# Ten thousand connections: silent, slow (a byte a round), garbage, oversized, truncated, half-closed, replayed, of the wrong
# role, answers in the place of requests.
FLOOD = r"""
use Socket; use Fcntl;
my ($attach, $hello, $seconds) = (pack("H*", $ARGV[0]), pack("H*", $ARGV[1]), $ARGV[2]);
my @say = ("", "S", "x" x 4096, "SCaw\1\2\0\0\xff\xff\xff\x7f", substr($attach, 0, 13), $attach, $attach . $attach, $hello,
    "SCaw\1\x82\0\0\0\0\0\0", "SCaw\x09\2\0\0\0\0\0\0");
my ($tried, $made, $slow, $end, @held) = (0, 0, 0, time + $seconds);
$SIG{PIPE} = "IGNORE";
while ($tried < 10000 || time < $end) {
    $tried++;
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
    fcntl($s, F_SETFL, O_NONBLOCK);
    if (!connect($s, pack_sockaddr_un("/.stoppablecontainer/agent.sock"))) { select(undef, undef, undef, 0.001); next; }
    my $kind = $made++ % @say;
    syswrite($s, $say[$kind]);
    shutdown($s, 1) if $made % 3 == 0;
    push @held, [$s, $kind == 1 ? 1 : 0];
    for (@held) { syswrite($$_[0], substr($attach, $$_[1]++, 1)) if $$_[1] && $$_[1] < length $attach; }
    shift @held if @held > 1500;
}
print "tried=$tried made=$made\n";
"""


@case
def socket_flooded_while_another_pod_attaches(ns):
    ns.start("evil", shell())
    ns.start("good", shell())
    before = agent()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        flood = pool.submit(ns.exec, "evil", "perl", "-e", FLOOD, ATTACH, HELLO, "12")
        eventually("connections", lambda: agent()[2] > before[2] + 40)
        began, times, most = time.monotonic(), 0, before
        while not flood.done():
            ns.running("good", False)
            ns.running("good", True, 20)
            times += 1
            most = max(most, agent(), key=lambda a: a[1])
        out = flood.result().stdout
    expect(times > 0 and "tried=" in out, "no start while it flooded: " + out)
    print("# %s; %d stops and starts of another in %.0f s; agent %d KiB before, %d KiB then" % (
        out.strip(), times, time.monotonic() - began, before[1], most[1]), flush=True)
    after = agent()
    expect(after[0] == before[0], "the agent was restarted")
    expect(most[1] < before[1] + 32768, "the agent grew from %d to %d KiB" % (before[1], most[1]))
    ns.exec("evil", DIR + "/execwrap", "exec", "--", "true")
    eventually("its files closed again: %d, %d before" % (agent()[2], before[2]), lambda: agent()[2] <= before[2] + 16, 30)


# Takes a socket out of another container's process, once it is connected, and uses it. Arguments: frame (hex), and whether to
# wait for the other process's end first.
THIEF = r"""
my ($frame, $wait) = @ARGV;
my ($pid, $line);
until ($pid) {
    for (glob "/proc/[0-9]*") { open(my $f, "<", "$_/cmdline") or next; $line = <$f>; $pid = $1 if $line =~ /^lender[\0 ]*$/ && m|(\d+)$|; }
}
my $pidfd = syscall(434, $pid + 0, 0); die "pidfd_open: $!" if $pidfd < 0;
my $fd = syscall(438, $pidfd, 3, 0); die "pidfd_getfd: $!" if $fd < 0;
open(my $s, "+<&=", $fd) or die "fdopen: $!";
if ($wait) { kill 9, $pid; 1 while -e "/proc/$pid"; }
syswrite($s, pack("H*", $frame));
my $reply = "";
sysread($s, $reply, 4096);
print length $reply ? "type=" . unpack("x5C", $reply) : "closed", "\n";
"""
LENDER = "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un('%s/agent.sock')) " \
    "or die; $0 = 'lender'; sleep 1000;" % DIR


@case
def connection_of_another_container(ns):
    """What counts is who connected: another container that uses the connection gets nothing by it."""
    one = {"name": "one", "image": "sc.test/debian:1", "command": ["sh", "-c", "exec sleep infinity"]}
    two = {**one, "name": "two", "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}
    ns.start("box", {"containers": [one, two], "shareProcessNamespace": True, "terminationGracePeriodSeconds": 1})
    for c in ("one", "two"):
        ns.sh("box", "echo %s > /mine" % c, container=c)
    for wait, answers in (("", ("type=130",)), ("1", ("closed", "type=132"))):
        lender = subprocess.Popen([CLUSTER, "kubectl", "-n", ns.name, "exec", "-c", "one", "box", "--", "perl", "-e", LENDER],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            out = ns.exec("box", "perl", "-e", THIEF, ATTACH, wait, container="two").stdout.strip()
            expect(out in answers, "with a connection of another container%s: %s" % (" that has ended" if wait else "", out))
        finally:
            ns.exec("box", "sh", "-c", "kill -9 $(grep -l ^lender /proc/[0-9]*/cmdline | cut -d/ -f3)", container="one",
                    check=False)
            lender.wait()
    for c in ("one", "two"):
        expect(ns.sh("box", "cat /mine", container=c) == c, "container %s is on another's root" % c)


@case
def csi_socket_is_out_of_reach(ns):
    """Who can call it could publish volumes under any pod's name."""
    ns.start("box", shell(securityContext={"capabilities": {"add": ["NET_ADMIN", "SYS_PTRACE"]}}))
    mode = node("sh", "-c", "stat -c '%%a %%u' %s; stat -c '%%a %%u' $(dirname %s)" % (PLUGIN, PLUGIN)).stdout.split("\n")
    expect(mode[0] == "600 0" and mode[1].split()[1] == "0", "modes of the socket and its directory: %r" % mode)
    found = ns.sh("box", "find / -xdev -name csi.sock -o -name '*-reg.sock' 2>/dev/null; find /.stoppablecontainer -type s; "
                  "grep -c plugins /proc/self/mountinfo; grep -c csi.sock /proc/net/unix; true")
    expect(found.split() == [DIR + "/agent.sock", "0", "0"], "sockets in the container: " + found)
    out = ns.exec("box", "perl", "-e", "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un('%s')) "
                  "or print $!" % PLUGIN).stdout
    expect("No such file" in out, "connecting to the plugin's path: " + out)
    # The agent's own socket speaks no gRPC: a call there is thrown out at its first byte.
    out = ns.exec("box", "perl", "-e", "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un('%s/"
                  "agent.sock')); syswrite($s, \"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\"); print sysread($s, my $b, 100) // 0" %
                  DIR).stdout
    expect(out == "0", "an answer to HTTP/2 on agent.sock: " + out)


@case
@labels(psa_enforce="baseline")
def host_paths_are_refused_by_pod_security(ns):
    """The node's directories are no boundary of ours: who may mount them is privileged, and baseline lets nobody."""
    for path in (STATE, "/var/lib/kubelet", "/run/containerd"):
        thief = pod("thief", {"name": "stoppablecontainer", "hostPath": {"path": path}}, ["true"])
        done = ns.kubectl("apply", "-f", "-", stdin=json.dumps(thief), check=False)
        expect(done.returncode != 0 and "hostPath" in done.stderr, "a pod with %s was let in: %s" % (path, done.stderr))


# --- processes and files -----------------------------------------------------------------------------------------------

# What every process that is seen until an attach has been has as exe, cwd, root and files.
WATCH = r"""
my ($end, %seen) = (time + 80);
while (time < $end && !$seen{"exe /.stoppablecontainer/execwrap"}) {
    for my $p (glob "/proc/[0-9]*") {
        for my $l ("$p/exe", "$p/cwd", "$p/root", glob "$p/fd/*") {
            my $to = readlink $l or next;
            my ($name) = $l =~ m|/(exe)$|;
            $to =~ s/\d+/N/g;
            $seen{($name // "file") . " $to"} = 1;
        }
    }
}
print join("\n", sort keys %seen), "\ndone\n";
"""


@case
def nothing_of_the_agent_in_a_container(ns):
    """A container that sees its whole pod, while another attaches again and again."""
    watch = {"name": "watch", "image": "sc.test/debian:1", "command": ["sh", "-c", "sleep infinity"],
             "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}
    late = {"name": "late", "image": "sc.test/debian:1", "command": ["sh", "-c", "exit 0"]}
    ns.apply(sc_manifest("box", {"containers": [watch, late], "shareProcessNamespace": True, "terminationGracePeriodSeconds": 1,
                                 "restartPolicy": "Always"}))
    eventually("the first container", lambda: ns.exec("box", DIR + "/execwrap", "ready", container="watch", check=False)
               .returncode == 0)
    seen = ns.exec("box", "perl", "-e", WATCH, container="watch").stdout
    expect(seen.endswith("done\n") and "exe %s/execwrap" % DIR in seen, "no attach was seen: " + seen)
    foreign = [s for s in seen.splitlines() if "sc-node-agent" in s or STATE in s
               or "/var/lib/kubelet" in s or "csi.sock" in s or "journal" in s]
    expect(not foreign, "of the agent or the node, seen in a container: %r" % foreign)


@case
def programs_cannot_be_written(ns):
    """CVE-2019-5736 and its kind: through the file, through /proc/PID/exe, from pod to pod by a page cache that is shared."""
    ns.start("box", shell(script="exec sleep infinity"))
    ns.start("other", shell(script="exec sleep infinity"))
    for what, name in (("box", "execwrap"), ("box-provider", "pause")):
        for attack in ("echo x >> %s/%s" % (DIR, name), "chmod u+w %s/%s" % (DIR, name), "rm %s/agent.sock" % DIR,
                       "mv %s/%s /tmp/x" % (DIR, name), "touch %s/new" % DIR, "ln %s/%s /tmp/l" % (DIR, name)):
            done = ns.exec(what, "sh", "-c", attack, check=False)
            expect(done.returncode != 0, "%s in %s succeeded" % (attack, what))
    done = ns.exec("box-provider", "sh", "-c", "echo x > /proc/1/exe", check=False)
    expect(done.returncode != 0, "pause was written to while it ran")
    done = ns.exec("box", "perl", "-e", r"""
        my $e = "%s/execwrap"; if (!fork) { exec $e, "exec", "--", "sleep", "2"; }
        for (1 .. 2000) { open(my $f, "+<", "/proc/$$/exe") and print "own "; open(my $g, "+<", $e) and print "written "; }
        print "tried\n";""" % DIR)
    expect("written" not in done.stdout and "tried" in done.stdout, "execwrap was opened for writing: " + done.stdout)
    inodes = node("sh", "-c", "find /var/lib/kubelet/pods -xdev -path '*csi/stoppablecontainer/mount/*' \\( -name execwrap -o -name "
                  "pause \\) -printf '%i %n %m %u\\n'").stdout.split("\n")[:-1]
    expect(len(inodes) >= 4 and len({i.split()[0] for i in inodes}) == len(inodes), "two pods share a file: %r" % inodes)
    expect(all(i.split()[1:] == ["1", "555", "root"] for i in inodes), "links, modes or owners: %r" % inodes)


# --- names, volumes, images --------------------------------------------------------------------------------------------


@case
def names_at_their_limits(ns):
    name, container = "n" + "-0" * 26 + "z", "c" + "-0" * 30 + "zz"
    expect(len(name) == 54 and len(container) == 63, "this test's names")
    ns.start(name, {"containers": [{"name": container, "image": "sc.test/debian:1", "command": ["sh", "-c", "exec sleep infinity"]}],
                    "terminationGracePeriodSeconds": 1})
    ns.sh(name, "touch /kept")
    ns.running(name, False)
    ns.running(name, True)
    expect(ns.sh(name, "ls /kept") == "/kept", "the root")


@case
def attributes_of_every_evil_kind(ns):
    uid = victim(ns)
    evil = {"paths": {"instance": "../" * 12}, "nul": {"containers": "main\x00x"}, "many": {"containers": ",".join(["c"] * 4000)},
            "dots": {"containers": "..", "name": ".."}, "huge": {"name": "n" * 100000}, "attach": {"attach": "/../Pivot"},
            "extra": {"readOnlyRoots": "main,/etc/passwd"}, "keys": {"k%d" % i: "v" for i in range(300)}}
    for what, attributes in evil.items():
        attributes = {"instance": uid, "name": "evil-" + what, **attributes}
        ns.apply(pod("evil-" + what, volume("consumer", attributes.pop("instance"), attributes.pop("name"), **attributes), ["true"]))
    for what in evil:
        never_starts(ns, "evil-" + what, "")
    ns.delete("pod", *("evil-" + what for what in evil))
    unharmed(ns, uid)


@case
def subpaths_of_our_volume(ns):
    """The kubelet makes a missing subPath in the volume's directory: that must not keep the pod from going."""
    uid = "33333333-3333-4333-8333-333333333333"
    provider = pod("s-provider", volume("provider", uid, "s"), [DIR + "/pause"])
    mounts = provider["spec"]["containers"][0]["volumeMounts"]
    for i, sub in enumerate(("a/b/c", "a/d", "agent.sock.d", "e" * 200)):
        mounts.append({"name": "stoppablecontainer", "mountPath": "/s%d" % i, "subPath": sub})
    ns.apply(provider)
    eventually("an event or a container of it", lambda: ns.get("pod/s-provider")["status"].get("containerStatuses", [{}])[0].get(
        "state", {}).get("running") or ns.kubectl("get", "events", "-o", "name").stdout.count("event") > 4)
    expect(ns.exec("s-provider", "sh", "-c", "touch /s0/x", check=False).returncode != 0, "the volume is writable by a subPath")
    ns.delete("pod/s-provider")


def load_image(name, *options, **lists):
    """An image with a static busybox and a config of anybody's making."""
    with tempfile.TemporaryDirectory() as work:
        root = pathlib.Path(work, "root")
        (root / "bin").mkdir(parents=True)
        (root / "etc").mkdir()
        (root / "bin/busybox").write_bytes(pathlib.Path("/bin/busybox").read_bytes())
        (root / "bin/busybox").chmod(0o755)
        (root / "bin/sh").symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:../../:/../..:" + "A" * 30000 + "\n" * 3 + ":::" * 9999)
        argv = ["mkimage", str(root), name, work + "/image.tar", *options]
        for option, values in lists.items():
            argv += [w for v in values for w in ("--" + option, v)]
        # In one process: an argument of a megabyte fits into no execve.
        run([sys.executable, "-c", "import json, runpy, sys; sys.argv = json.load(sys.stdin); "
             "runpy.run_path(%r, run_name='__main__')" % str(TOP / "tools/mkimage")], stdin=json.dumps(argv))
        run([CLUSTER, "load", work + "/image.tar"])


@case
def images_of_hostile_making(ns):
    pid, before, _ = agent()
    load_image("sc.test/evil-entrypoint:1", "--entrypoint", json.dumps(["/bin/sh", "x" * 1000000]), "--user", "0")
    load_image("sc.test/evil-volumes:1", volume=["/v%05d" % i for i in range(10000)])
    load_image("sc.test/evil-paths:1", volume=["/proc", "/dev", "/sys/..", "../../../x", "/.stoppablecontainer", "/etc/hosts"])
    run_forever = ["/bin/sh", "-c", "while :; do /bin/busybox sleep 1; done"]
    for what in ("entrypoint", "volumes", "paths"):
        more = {} if what == "entrypoint" else {"command": run_forever}
        ns.apply(sc_manifest(what, {"image": "sc.test/evil-%s:1" % what, "terminationGracePeriodSeconds": 1, **more}))
    ns.apply(sc_manifest("passwd", {"image": "sc.test/evil-entrypoint:1", "command": run_forever, "terminationGracePeriodSeconds": 1}))
    ns.start("good", shell())
    ns.phase("passwd", "Running")
    for what in ("entrypoint", "volumes", "paths"):
        story = eventually("an end or a start of " + what, lambda w=what: (lambda s: (
            "phase Running" in s or "Ready=False" in s and ("Error" in s or "rror" in s or "BackOff" in s)) and s)(ns.story(w)))
        print("# %s: %s" % (what, story[:300]), flush=True)
    after = agent()
    expect(after[0] == pid and after[1] < before + 32768, "the agent: %r before, %r after" % ((pid, before), after))
    ns.running("good", False)
    ns.running("good", True)


if __name__ == "__main__":
    sys.exit(main())
