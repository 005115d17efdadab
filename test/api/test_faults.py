#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The controller behind a proxy that breaks what an API server says, in every way that networks, load balancers and overloaded
servers know. What must hold in all of them: one root and one pod for each start, no busy loop, and all goes on when the fault
has passed. The API server is the cluster's own; the node is a fake one, so that a whole life takes a second.

usage: test_faults.py [CASE...]      FAULT_SEED repeats a storm, FAULT_STORM is how long it lasts (default 40 s)"""
import concurrent.futures
import contextlib
import os
import random
import select
import subprocess
import sys
import tempfile
import threading
import time

import fault_proxy as fault
from fake_node import Box, FakeNode, reclaims
from kube import PODS, Api, Failed, Replica, case, eventually, expect, make_namespace, play, quiet, writes

RUN = "faults-%d" % os.getpid()
# Requests in a second that are no busy loop, for what is tried again: three watches and a lease.
TRIES_PER_SECOND = 3.0


class World:
    """Proxy, fake node and the controller behind the proxy, which is started again whenever it ends."""

    def __init__(self):
        self.api = Api()
        self.node = FakeNode(self.api, RUN)
        self.proxy = fault.Proxy(self.api, fault.Authority("first"))
        self.directory = tempfile.TemporaryDirectory()
        self.replica = None
        self.namespaces = []
        self.over = False

    def up(self):
        self.node.up()
        self.proxy.up()
        self.replica = Replica("faults", self.proxy.kubeconfig(self.directory.name), "--leader-elect").start()
        threading.Thread(target=self.keep, daemon=True).start()
        eventually("the controller to lead", self.replica.leads)

    def keep(self):
        while not self.over:
            self.replica.keep()
            time.sleep(0.2)

    def down(self):
        self.over = True
        if self.replica:
            self.replica.kill()
        for name in self.namespaces:
            self.clear(name)
        self.node.down()
        self.proxy.down()

    def clear(self, namespace):
        """What a dead controller left: without its finalizers a namespace can go."""
        for path in ("stoppablecontainers", "stoppablecontainerinstances"):
            base = "/apis/stoppablecontainer.xtlsoft.top/v1alpha1/namespaces/%s/%s" % (namespace, path)
            for item in (self.api.get(base) or {"items": []})["items"]:
                self.api.call("PATCH", base + "/" + item["metadata"]["name"], {"metadata": {"finalizers": None}},
                              "application/merge-patch+json")
        self.api.call("DELETE", "/api/v1/namespaces/" + namespace)

    def box(self, name):
        namespace = "%s-%s" % (RUN, name)
        if namespace not in self.namespaces:
            self.namespaces.append(make_namespace(self.api, namespace))
        return Box(self.api, self.node, namespace)

    def fresh(self):
        """Another process."""
        ended = self.replica.ended
        self.replica.process.kill()
        eventually("another process", lambda: self.replica.ended > ended)
        eventually("it to lead", self.replica.leads, step=0.05)

    def recovered(self):
        self.proxy.clear()
        self.proxy.hang_up = False
        if not self.proxy.listener:
            self.proxy.up()
        eventually("the controller to lead again", self.replica.leads)


world = World()


@contextlib.contextmanager
def no_busy_loop(what, match=lambda r: True, per_second=TRIES_PER_SECOND, spare=25):
    """Within: no more requests (or connections) than tries with a back-off make, and next to no processor time."""
    began, tries, cpu, pid = time.monotonic(), world.proxy.accepted, world.replica.cpu(), world.replica.process.pid
    yield
    took = time.monotonic() - began
    made = max(world.proxy.count(match, began), world.proxy.accepted - tries)
    expect(made <= spare + per_second * took, "%s: %d requests in %.1f s" % (what, made, took))
    if pid == world.replica.process.pid:
        used = world.replica.cpu() - cpu
        expect(used <= 0.5 + 0.2 * took, "%s: %.2f s of processor time in %.1f s" % (what, used, took))


def every_other_write(namespace):
    """Matches each write the first time, not the second, and so on: nothing gets through at once, all in the end."""
    seen = {}

    def match(r):
        if r.kind != "write" or r.namespace != namespace:
            return False
        key = r.method, r.resource, r.name if r.resource != "events" else ""
        seen[key] = not seen.get(key)
        return seen[key]
    return match


WRITES = {
    "cut-before": fault.cut_before,
    "answer-lost": fault.cut_after,
    "cut-in-header": fault.cut_in_header,
    "cut-in-body": fault.cut_in_body,
    "trickle": fault.trickle,
    "chunked": fault.chunked,
    "error-500": fault.answer(500),
    "error-500-done": fault.answer(500, execute=True),
    "bad-gateway-502": fault.text(502, b"<html>bad gateway</html>"),
    "unavailable-503": fault.answer(503, reason="ServiceUnavailable"),
    "timeout-504-done": fault.answer(504, reason="Timeout", execute=True),
    "too-many-429": fault.answer(429, reason="TooManyRequests"),
    "too-many-429-after": fault.answer(429, ["Retry-After: 2"], reason="TooManyRequests"),
    "conflict-409": fault.answer(409, reason="Conflict"),
    "exists-409": fault.answer(409, reason="AlreadyExists"),
    "page-404": fault.text(404, b"<html>no such site</html>"),
    "page-200-done": fault.text(200, b"<html>welcome</html>", execute=True),
    "page-200": fault.text(200, b"<html>welcome</html>"),
    "garbage-done": fault.text(200, b'{"kind": "Pod", "metadata": {', "application/json", execute=True),
    "empty-done": fault.text(200, b"", "application/json", execute=True),
    "array-done": fault.text(200, b"[]", "application/json", execute=True),
    "huge-done": fault.huge(4),
}


def live(name, action):
    """A whole life in which every write meets the fault at its first try."""
    box = world.box(name)
    rule = world.proxy.rule(every_other_write(box.namespace), action)
    box.make()
    box.wait("Running")
    box.run(False)
    box.wait("Stopped")
    box.run(True)
    box.wait("Running")
    box.check()
    box.remove()
    expect(rule.hits >= 8, "%s: only %d writes met the fault" % (name, rule.hits))
    made = len(writes(box.namespace))
    expect(made <= 90, "%s: %d writes reached the server in one life" % (name, made))
    return "%s %d/%d" % (name, rule.hits, made)


@case
def every_write_meets_every_fault():
    with concurrent.futures.ThreadPoolExecutor(len(WRITES)) as pool:
        lives = {name: pool.submit(live, name, action) for name, action in WRITES.items()}
    problems = ["%s: %s" % (name, life.exception()) for name, life in lives.items() if life.exception()]
    print("# faults met / writes that reached the server: " + ", ".join(
        life.result() for life in lives.values() if not life.exception()))
    world.recovered()
    expect(not problems, "; ".join(problems))


@case
def retry_after_is_honoured():
    box = world.box("after")

    def match(r):
        return r.namespace == box.namespace and r.method == "POST" and r.resource == "stoppablecontainerinstances"
    world.proxy.rule(match, fault.answer(429, ["Retry-After: 4"], reason="TooManyRequests"), 1)
    box.make()
    box.wait("Running")
    tries = [at for at, r, _ in world.proxy.requests if match(r)]
    expect(len(tries) == 2 and tries[1] - tries[0] >= 4, "tries: %s" % tries)
    box.remove()
    world.recovered()


@case
def a_write_that_takes_long_comes_true():
    """Two dead webhooks of 10 s each: the server undoes the write of a client that hangs up."""
    box, left = world.box("slow"), []

    def slowly(x):
        # A client that waits says nothing; one that leaves says so in TLS, and TCP.
        left.append(bool(select.select([x.client], [], [], 20)[0]))
        (fault.cut_before if left[-1] else fault.Exchange.relay)(x)

    world.proxy.rule(lambda r: r.namespace == box.namespace and r.method == "POST" and r.resource == "pods", slowly, 1)
    box.make()
    box.wait("Running")
    expect(left == [False], "it hung up")
    box.check()
    box.remove()
    world.recovered()


def watch(r):
    return r.kind == "watch" and r.resource != "leases"


def listing(r):
    return r.kind == "list" and r.resource != "leases"


def line(kind, **more):
    return ('{"type":"%s","object":%s}\n' % (kind, more["object"])).encode()


GONE = line("ERROR", object='{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,'
            '"message":"too old resource version"}')
BROKEN = line("ERROR", object='{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,'
              '"message":"etcd is away"}')
WATCHES = {
    "cut in the middle of a line": fault.watch_cut_in_line,
    "cut in the header": fault.watch_cut_in_header,
    "cut before an answer": fault.cut_before,
    "410 as an answer": fault.answer(410, reason="Expired"),
    "410 as an event": fault.watch_of(GONE),
    "500 as an event": fault.watch_of(BROKEN),
    "500 as an answer": fault.answer(500),
    "503 as an answer": fault.text(503, b"no healthy upstream", "text/plain"),
    "429": fault.answer(429, ["Retry-After: 1"], reason="TooManyRequests"),
    "a line that is no JSON": fault.watch_of(b"{]\n"),
    "an event of no known type": fault.watch_of(line("MODIFYED", object="{}")),
    "an event without an object": fault.watch_of(b'{"type":"ADDED"}\n'),
    "an object without a version": fault.watch_of(line("ADDED", object='{"metadata":{"name":"x"}}')),
    "a line without end": fault.watch_of(b'{"type":"ADDED","object":"' + b"x" * (13 << 20)),
    "a page": fault.text(200, b"<html>welcome</html>\n"),
    "nothing, and the end": fault.watch_of(),
    "an empty body": fault.text(200, b"", "application/json"),
    "404": fault.text(404, b"<html>no such site</html>"),
}


def toggle_under(box, what, rules):
    """The faults, and a change that happens while they last; the change must be acted on all the same. A new process each time,
    whose back-offs are short. rules: of (match, action, times)."""
    world.fresh()
    wanted = "Stopped" if box.is_in("Running") else "Running"
    made = [world.proxy.rule(*r) for r in rules]
    with no_busy_loop(what, lambda r: watch(r) or listing(r), spare=30):
        world.proxy.cut_all()
        box.run(wanted == "Running")
        eventually(what + ": the faults to be met", lambda: all(r.hits for r in made), 20, 0.05)
        try:
            box.wait(wanted, 30)
        except Failed as e:
            raise Failed("%s: %s" % (what, e)) from None
    box.check()
    world.proxy.clear()


def of(kind, resource):
    return lambda r: r.kind == kind and r.resource == resource


def rounds(kind, faults):
    """Each fault twice, on the requests of two of the three resources; three faults at once."""
    names = list(faults)
    n = len(names)
    for i in range(0, n, 2):
        chosen = names[i], names[(i + 1) % n], names[(i + n // 2) % n]
        yield " | ".join(chosen), [(of(kind, resource), faults[name], 1) for name, resource in zip(
            chosen, ("stoppablecontainers", "pods", "stoppablecontainerinstances"))]


@case
def every_watch_meets_every_fault():
    box = world.box("watch")
    box.make()
    box.wait("Running")
    for what, rules in rounds("watch", WATCHES):
        toggle_under(box, what, rules)
    world.recovered()
    box.remove()


@case
def faults_that_stay_make_no_busy_loop():
    box = world.box("stay")
    box.make()
    box.wait("Running")
    faults = list(WATCHES.values())
    turn = iter(range(1 << 30))
    world.fresh()
    world.proxy.rule(watch, lambda x: faults[next(turn) % len(faults)](x))
    with no_busy_loop("watches that fail in every way", lambda r: watch(r) or listing(r)):
        world.proxy.cut_all()
        box.run(False)
        time.sleep(10)
    world.recovered()
    box.wait("Stopped", 45)
    box.check()
    box.remove()


EXPIRED = watch, fault.answer(410, reason="Expired"), 3  # of the three watches, so that there are lists at all
LISTS = {
    "cut in the body": fault.cut_in_body,
    "cut in the header": fault.cut_in_header,
    "500": fault.answer(500),
    "504": fault.answer(504, reason="Timeout"),
    "429": fault.answer(429, ["Retry-After: 1"], reason="TooManyRequests"),
    "a page": fault.text(200, b"<html>welcome</html>"),
    "garbage": fault.text(200, b'{"items":[{"metadata":{"na', "application/json"),
    "nothing": fault.text(200, b"", "application/json"),
    "an object that is no list": fault.text(200, b'{"kind":"Pod","metadata":{"name":"x"}}', "application/json"),
    "items that are no objects": fault.text(200, b'{"metadata":{"resourceVersion":"9"},"items":[1,2]}', "application/json"),
    "404": fault.text(404, b"404 page not found", "text/plain"),
    "a trickle": fault.trickle,
    "chunks": fault.chunked,
}


@case
def every_list_meets_every_fault():
    box = world.box("list")
    box.make()
    box.wait("Running")
    for what, rules in rounds("list", LISTS):
        toggle_under(box, what, [EXPIRED, *rules])
    world.recovered()
    box.remove()


@case
def answers_beyond_the_caps_are_told_and_tried_slowly():
    box = world.box("huge")
    box.make()
    box.wait("Running")
    before = world.replica.said("larger than allowed")
    toggle_under(box, "a list of 65 MiB", [EXPIRED, (of("list", "pods"), fault.huge(65), 4)])  # down to pages of one
    expect(world.replica.said("larger than allowed") > before, "nothing about it in the log")
    world.recovered()
    box.remove()


@case
def a_list_begins_again_when_its_next_page_has_expired():
    boxes = [world.box("page%d" % i) for i in range(4)]
    for box in boxes:
        box.make()
    for box in boxes:
        box.wait("Running")

    def paged(x):
        x.request.query["limit"] = "2"
        x.relay()
    for status in (fault.answer(410, reason="Expired"), fault.answer(500)):
        world.fresh()
        world.proxy.rule(*EXPIRED)
        rule = world.proxy.rule(lambda r: listing(r) and "continue" in r.query, status, 2)
        world.proxy.rule(listing, paged)
        world.proxy.cut_all()
        eventually("pages that expired", lambda: rule.hits == 2)
        for box in boxes:
            box.run(not box.is_in("Running"))
        for box in boxes:
            eventually("the change", box.is_as_wanted)
            box.check()
        world.proxy.clear()
    world.recovered()
    for box in boxes:
        box.delete()
    for box in boxes:
        box.wait_gone()


@case
def a_long_outage_costs_little_and_ends_at_once():
    boxes = [world.box("outage%d" % i) for i in range(3)]
    for box in boxes:
        box.make()
    for box in boxes:
        box.wait("Running")
    ended = world.replica.ended
    world.proxy.hang_up = True
    world.proxy.cut_all()
    for box in boxes:
        box.run(False)
    eventually("the lease to be lost", lambda: world.replica.ended > ended, 40)
    time.sleep(5)  # the back-offs grow to their caps
    with no_busy_loop("an outage", per_second=1.2, spare=5):
        time.sleep(10)
    world.proxy.hang_up = False
    began = time.monotonic()
    eventually("the controller to lead again", world.replica.leads, 30)
    back = time.monotonic() - began
    for box in boxes:
        box.wait("Stopped", 30)
    print("# leading %.1f s, all stopped %.1f s after the outage" % (back, time.monotonic() - began))
    expect(world.replica.ended == ended + 1, "it ended %d times during the outage" % (world.replica.ended - ended))
    # Shorter than the lease, and refused: the process stays, and nothing waits for a long back-off.
    world.proxy.down()
    for box in boxes:
        box.run(True)
    time.sleep(4)
    world.proxy.up()
    began = time.monotonic()
    for box in boxes:
        box.wait("Running", 30)
        box.check()
    print("# all running %.1f s after a short outage" % (time.monotonic() - began))
    expect(world.replica.ended == ended + 1, "it ended in an outage of 4 s")
    for box in boxes:
        box.delete()
    for box in boxes:
        box.wait_gone()


@case
def writes_go_on_at_once_after_an_outage_of_writes():
    """Only writes fail, for long enough that their back-off is long; when a watch comes back they need not wait it out."""
    box = world.box("writes")
    box.make()
    box.wait("Running")
    rule = world.proxy.rule(lambda r: r.namespace == box.namespace and r.kind == "write", fault.cut_before)
    box.run(False)
    eventually("eight tries", lambda: rule.hits >= 8, 60)  # the next is some seconds away
    world.proxy.clear()
    world.proxy.down()
    time.sleep(1)
    world.proxy.up()
    began = time.monotonic()
    box.wait("Stopped", 30)
    print("# stopped %.1f s after the server was back" % (time.monotonic() - began))
    box.check()
    box.remove()


@case
def a_failure_that_lasts_is_told():
    """A webhook that is down is a 500 for each create."""
    box = world.box("lasting")
    down = 'failed calling webhook "pods.example.com": connection refused'
    world.proxy.rule(lambda r: r.namespace == box.namespace and r.method == "POST" and r.resource == "pods",
                     fault.answer(500, message=down, reason="InternalError"))
    box.make()
    eventually(lambda: "Ready to say so: %s" % box.status(),
               lambda: any(c["type"] == "Ready" and down in c["message"] for c in box.status().get("conditions", [])), 30)
    expect(box.is_in("Pending"), "phase: %s" % box.status())
    world.recovered()
    box.wait("Running")
    box.check()
    box.remove()


@case
def a_pod_that_was_made_unanswered_is_not_overlooked():
    """The server makes the consumer, nobody says so, and no watch tells: it is asked for before "Stopped" is said."""
    box = world.box("unanswered")
    pod = PODS % box.namespace + "/" + box.name
    back = threading.Event()

    def later(x):
        back.wait(60)
        x.relay()

    def made(r):
        return r.namespace == box.namespace and r.method == "POST" and r.resource == "pods"

    def told(r):
        return r.kind in ("watch", "list") and r.resource == "pods"

    def hide_and_make(x):
        world.proxy.rule(made, fault.answer(503))
        world.proxy.rule(told, later)
        world.proxy.cut_all()  # this one, too
        x.fetch()
        raise fault.Cut
    world.proxy.rule(made, hide_and_make, 1)
    try:
        box.make()
        eventually("the pod to be there", lambda: world.api.get(pod))
        box.run(False)
        eventually("its end to be asked for", lambda: box.is_in("Stopped") or not (world.api.get(pod) or {}).get("spec"))
        expect(not world.api.get(pod), "Stopped is said, and the pod is there")
    finally:
        back.set()
    world.recovered()
    box.wait("Stopped")
    box.remove()


@case
def certificates_and_tokens_rotate():
    box = world.box("rotate")
    box.make()
    box.wait("Running")
    proxy, directory, ended = world.proxy, world.directory.name, world.replica.ended

    def turn(what):
        proxy.cut_all()
        box.run(not box.is_in("Running"))
        eventually(what, box.is_as_wanted, 40)
        box.check()

    proxy.certify()
    turn("a new server certificate of the same authority")
    second = fault.Authority("second")
    fault.replace(directory, "ca.crt", proxy.authority.text() + second.text())
    proxy.authority = second
    proxy.certify()
    turn("a server certificate of a new authority that is in the bundle")
    third = fault.Authority("third")
    proxy.authority = third
    proxy.certify()
    with no_busy_loop("an authority that is not in the bundle"):
        proxy.cut_all()
        time.sleep(4)
    fault.replace(directory, "ca.crt", third.text())
    turn("the bundle that was replaced later")
    proxy.token = "second"
    fault.replace(directory, "token", "second\n")
    turn("a token that was replaced before it was refused")
    proxy.token = "third"
    with no_busy_loop("a token that is refused"):
        proxy.cut_all()
        time.sleep(4)
    fault.replace(directory, "token", "third")
    turn("a token that was replaced after it was refused")
    expect(world.replica.ended == ended, "the lease was lost on the way: a connection has old certificates")
    box.remove()
    world.recovered()


@case
def the_server_moves_to_another_address():
    """Its name leads to another address from one moment to the next. A private mount namespace has its own /etc/hosts."""
    box = world.box("moved")
    directory = tempfile.TemporaryDirectory()
    hosts = os.path.join(directory.name, "hosts")

    def lead_to(address):
        with open(hosts, "w") as f:
            f.write("%s apiserver.test\n" % address)
    lead_to("127.0.0.1")
    moving = fault.Proxy(world.api, fault.Authority("moving")).up()
    replica = Replica("moved", moving.kubeconfig(directory.name, "apiserver.test"))
    replica.argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"',
                    hosts] + replica.argv
    world.over = True  # the other must not do its work
    world.replica.kill()
    try:
        replica.start()
        box.make()
        box.wait("Running")
        moving.down()
        time.sleep(0.5)
        lead_to("127.0.0.2")
        moving.up(address="127.0.0.2")
        box.run(False)
        box.wait("Stopped", 20)
        box.check()
        box.remove()
    finally:
        replica.kill()
        moving.down()
        world.over = False
        world.replica.start()
        threading.Thread(target=world.keep, daemon=True).start()
    world.recovered()


STORM = [fault.cut_before, fault.cut_after, fault.cut_in_header, fault.cut_in_body, fault.trickle, fault.chunked, fault.answer(500),
         fault.answer(500, execute=True), fault.text(502, b"bad"), fault.answer(503), fault.answer(504, execute=True),
         fault.answer(429), fault.answer(429, ["Retry-After: 1"]), fault.answer(409, reason="Conflict"),
         fault.text(200, b"{", "application/json", execute=True), fault.text(200, b"<html>"), fault.text(404, b"<html>"),
         fault.answer(401), fault.huge(4)]
STORM_WATCH = [fault.watch_cut_in_line, fault.watch_cut_in_header, fault.cut_before, fault.watch_of(GONE), fault.watch_of(BROKEN),
               fault.answer(410, reason="Expired"), fault.answer(500), fault.answer(429), fault.watch_of(b"{]\n"), fault.watch_of()]


@case
def a_storm_of_faults_passes_and_all_is_as_wanted():
    seed = int(os.environ.get("FAULT_SEED", random.randrange(1 << 30)))
    seconds = float(os.environ.get("FAULT_STORM", 40))
    print("# FAULT_SEED=%d" % seed, flush=True)
    dice = random.Random(seed)
    lock = threading.Lock()
    boxes = [world.box("storm%d" % i) for i in range(6)]

    def roll(x):
        with lock:
            hit = dice.random() < 0.3
            action = dice.choice(STORM_WATCH if x.request.kind == "watch" else STORM)
        (action if hit else fault.Exchange.relay)(x)
    for box in boxes:
        box.make()
    for box in boxes:
        box.wait("Running")
    rule = world.proxy.rule(lambda r: True, roll)
    ended, until = world.replica.ended, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(dice.uniform(0.1, 1.0))
        what = dice.random()
        box = dice.choice(boxes)
        if what < 0.25:
            world.proxy.cut_all()
        elif what < 0.30:
            world.proxy.down()
            time.sleep(dice.uniform(0.1, 2.0))
            world.proxy.up()
        else:
            box.run(not box.wanted)
    made = sum(len(writes(box.namespace)) for box in boxes)
    print("# %d requests met the storm, %d writes reached the server, the controller ended %d times" % (
        rule.hits, made, world.replica.ended - ended))
    world.recovered()
    began = time.monotonic()
    for box in boxes:
        box.wait("Running" if box.wanted else "Stopped")
    print("# as wanted %.1f s after the storm" % (time.monotonic() - began))
    for box in boxes:
        pods = len(world.node.uids(box.namespace, box.name))
        expect(pods <= box.starts, "%s: %d consumers for %d starts" % (box.namespace, pods, box.starts))
        box.check(pods)
    quiet(lambda: sum(len(writes(box.namespace)) for box in boxes), 6)
    for box in boxes:
        box.delete()
    for box in boxes:
        box.wait_gone()
        box.check_nothing_left()
    eventually("no reclaim pod to be left", lambda: not reclaims(world.api), 30)


def report(name):
    log = world.replica and subprocess.run(["tail", "-n", "60", world.replica.log], stdout=subprocess.PIPE, text=True).stdout
    print("# the controller's last words in %s:\n%s" % (name, log), flush=True)
    with contextlib.suppress(Failed):
        world.recovered()


if __name__ == "__main__":
    sys.exit(play(world, report))
