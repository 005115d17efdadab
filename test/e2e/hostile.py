# SPDX-License-Identifier: Apache-2.0
"""What hostile pods are made of: our volume in a pod of anybody's making, a victim, and a speaker of the agent's protocol."""
from harness import GROUP, eventually, expect, shell

DIR = "/.stoppablecontainer"


def volume(role, instance, name, **more):
    return {"name": "stoppablecontainer", "csi": {"driver": GROUP, "readOnly": True, "volumeAttributes": {
        "role": role, "instance": instance, "name": name, "containers": "main", "attach": "Pivot", **more}}}


def pod(name, vol, command, image="sc.test/debian:1", security=None, **spec):
    container = {"name": "main", "image": image, "command": command, "volumeMounts": [
        {"name": "stoppablecontainer", "mountPath": DIR, "readOnly": True}]}
    if security:
        container["securityContext"] = security
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "containers": [container], "volumes": [vol], "terminationGracePeriodSeconds": 1, "restartPolicy": "Never", **spec}}


def never_starts(ns, name, pattern):
    """The kubelet shows the agent's refusal as an event, and no container of the pod runs."""
    def refused():
        out = ns.kubectl("get", "events", "--field-selector", "involvedObject.name=%s,reason=FailedMount" % name, "-o",
                         "jsonpath={.items[*].message}").stdout
        return pattern in out and out
    eventually("FailedMount of %s with %r" % (name, pattern), refused)
    state = ns.get("pod/" + name)["status"].get("containerStatuses", [{}])[0].get("state", {})
    expect("running" not in state and "terminated" not in state, "a container of %s ran: %r" % (name, state))


def victim(ns, name="box"):
    ns.start(name, shell(script="echo secret > /secret; exec sleep infinity"))
    eventually("the secret", lambda: ns.exec(name, "cat", "/secret", check=False).returncode == 0)
    return ns.instance_uid(name)


def unharmed(ns, uid, name="box"):
    expect(ns.sh(name, "cat /secret") == "secret" and ns.instance_uid(name) == uid, "the victim was harmed")
    ns.running(name, False)
    ns.running(name, True)
    expect(ns.sh(name, "cat /secret") == "secret", "the victim's root was harmed")


# Speaks the agent's protocol by itself, so that it can connect in one mount namespace and ask from another. Arguments:
# frame (hex), path of the socket, path of a namespace to enter or "-" or "unshare", "before" or "after" the connect.
ATTACKER = r"""
use Socket;
my ($frame, $path, $ns, $when) = @ARGV;
sub enter {
    return if $ns eq "-";
    if ($ns eq "unshare") { syscall(272, 0x20000) == 0 or die "unshare: $!"; return; }
    open(my $f, "<", $ns) or die "$ns: $!";
    syscall(308, fileno($f), 0) == 0 or die "setns: $!";
}
enter() if $when eq "before";
socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
connect($s, pack_sockaddr_un($path)) or die "connect: $!";
enter() if $when eq "after";
syswrite($s, pack("H*", $frame));
my $type = 131;
while ($type == 131) { # WAIT: the answer follows
    my ($head, $rest) = ("", "");
    while (length($head) < 12) { sysread($s, $head, 12 - length($head), length($head)) or die "closed\n"; }
    $type = unpack("x5C", $head);
    my $n = unpack("x8V", $head);
    while (length($rest) < $n) { sysread($s, $rest, $n - length($rest), length($rest)) or die "closed\n"; }
    $rest =~ s/[^ -~]//g;
    print "type=$type $rest\n";
}
print "done\n";
"""
HELLO = (b"SCaw" + bytes([1, 1, 0, 0]) + (0).to_bytes(4, "little")).hex()
ATTACH = (b"SCaw" + bytes([1, 2, 0, 0]) + (2).to_bytes(4, "little") + bytes([1, 0])).hex()
REFUSED = "type=132"
