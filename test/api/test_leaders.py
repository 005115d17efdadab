#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two replicas of the controller: who leads when the leader is killed, frozen, cut off or has its clock set, and what two that
lead at once do to each other's work. Each replica reaches the API server through a proxy of its own, which tells what it wrote.

usage: test_leaders.py [CASE...]"""
import contextlib
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time

import fault_proxy as fault
from fake_node import Box, FakeNode
from kube import LEASE, MERGE, TOP, Api, Replica, case, eventually, expect, make_namespace, play, quiet, writes

RUN = "leaders-%d" % os.getpid()


class World:
    def __init__(self):
        self.api = Api()
        self.node = FakeNode(self.api, RUN)
        self.authority = fault.Authority("leaders")
        self.directory = tempfile.TemporaryDirectory()
        self.namespaces = []
        self.pair = []

    def up(self):
        shim = os.path.join(self.directory.name, "clock_shim.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", shim, str(TOP / "test/api/clock_shim.c")], check=True)
        self.node.up()
        for name in ("one", "two"):
            directory = os.path.join(self.directory.name, name)
            os.mkdir(directory)
            clocks = os.path.join(directory, "clocks")
            with open(clocks, "wb") as f:
                f.write(struct.pack("qq", 0, 0))
            proxy = fault.Proxy(self.api, self.authority).up()
            replica = Replica("%s-%s" % (RUN, name), proxy.kubeconfig(directory), preload={"LD_PRELOAD": shim, "SC_CLOCKS": clocks})
            replica.proxy, replica.clocks = proxy, clocks
            self.pair.append(replica)

    def down(self):
        self.stop()
        for name in self.namespaces:
            self.api.call("DELETE", "/api/v1/namespaces/" + name)
        self.node.down()

    def stop(self):
        for replica in self.pair:
            if replica.process and replica.process.poll() is None:
                replica.signal(signal.SIGCONT)
            replica.kill()
            replica.proxy.clear()
            replica.proxy.hang_up = False
            set_clocks(replica, 0, 0)

    def elect(self, *options):
        """Two new processes; the leader and the candidate. Without options: both lead."""
        self.stop()
        self.api.call("DELETE", LEASE)
        for replica in self.pair:
            replica.argv = [a for a in replica.argv if not a.startswith("--lea")] + list(options)
            replica.start()
        if options:
            eventually("a leader", lambda: any(r.leads() for r in self.pair))
        eventually("complete caches", lambda: all(r.synced() for r in self.pair))
        return sorted(self.pair, key=lambda r: not r.leads())

    def box(self, name):
        namespace = make_namespace(self.api, "%s-%s" % (RUN, name))
        self.namespaces.append(namespace)
        return Box(self.api, self.node, namespace)


world = World()
# Of client-go, and what deploy/ has; and one that tests need not wait for.
USUAL = ("--leader-elect",)
SHORT = ("--leader-elect", "--lease-duration=5", "--lease-renew-deadline=3", "--lease-retry-period=1")


def set_clocks(replica, realtime, boottime):
    with open(replica.clocks, "r+b") as f:
        f.write(struct.pack("qq", realtime, boottime))


def is_write(r):
    return r.kind == "write" and r.resource != "leases"


def holder():
    return (world.api.get(LEASE) or {}).get("spec", {}).get("holderIdentity")


def takes_over(candidate, what, began):
    eventually("%s: the other to lead" % what, candidate.leads, 40, 0.05)
    print("# %s: the other leads after %.1f s" % (what, time.monotonic() - began), flush=True)


def ends(replica, what):
    eventually("%s: it to end by itself" % what, lambda: replica.process.poll() is not None, 20)
    expect(replica.process.returncode == 1 and replica.said("the lease is lost"), "%s: exit status %s" % (
        what, replica.process.returncode))


@case
def a_leader_that_is_killed_is_followed():
    leader, candidate = world.elect(*USUAL)
    box = world.box("killed")
    box.make()
    box.wait("Running")
    leader.kill()
    began = time.monotonic()
    box.run(False)
    takes_over(candidate, "killed", began)
    box.wait("Stopped")
    life_goes_on(box)


def life_goes_on(box):
    box.run(True)
    box.wait("Running")
    remove(box)


def remove(box):
    box.check()
    box.remove()


@case
def a_leader_that_ends_in_order_gives_the_lease_away():
    leader, candidate = world.elect(*USUAL)
    began = time.monotonic()
    expect(leader.end() == 0, "exit status after SIGTERM")
    takes_over(candidate, "ended in order", began)
    expect(holder() == candidate.name, "the lease is held by %s" % holder())
    box = world.box("ended")
    box.make()
    box.wait("Running")
    remove(box)


@case
def a_candidate_remembers_what_is_there_and_nothing_else():
    """It may be one for weeks, and others come and go all the time."""
    leader, candidate = world.elect(*SHORT)

    def keys():
        return [r.metrics().get("sc_controller_keys") for r in (leader, candidate)]
    before = keys()
    boxes = [world.box("kept%d" % i) for i in range(3)]
    for box in boxes:
        box.make()
    for box in boxes:
        box.wait("Running")
    eventually("both to know of all three", lambda: keys() == [n + 3 for n in before])
    for box in boxes[:2]:
        remove(box)
    eventually("both to have forgotten two", lambda: keys() == [n + 1 for n in before])
    leader.kill()
    eventually("the candidate to lead", candidate.leads)
    remove(boxes[2])
    eventually("it to have forgotten the last", lambda: candidate.metrics().get("sc_controller_keys") == before[1])


@case
def a_leader_that_was_frozen_writes_nothing_when_it_thaws():
    """Frozen while a write is under way: its answer lies ready when it goes on, before any timer is looked at."""
    leader, candidate = world.elect(*SHORT)
    box = world.box("frozen")

    def freeze_before_the_answer(x):
        status, _, body = x.fetch()
        leader.signal(signal.SIGSTOP)
        x.reply(status, body)
    # The status is followed by an event in the same plan.
    leader.proxy.rule(lambda r: r.namespace == box.namespace and r.resource == "stoppablecontainers/status",
                      freeze_before_the_answer, 1)
    began = time.monotonic()
    box.make()
    takes_over(candidate, "frozen", began)
    box.wait("Running")
    box.run(False)
    box.wait("Stopped")
    thawed = time.monotonic()
    leader.signal(signal.SIGCONT)
    ends(leader, "thawed")
    wrote = leader.proxy.seen(lambda r: r.kind == "write", thawed)
    expect(not wrote, "the thawed one wrote %s" % wrote)
    expect(holder() == candidate.name, "the lease is held by %s" % holder())
    life_goes_on(box)


@case
def a_leader_that_is_cut_off_gives_up_before_another_leads():
    leader, candidate = world.elect(*SHORT)
    box = world.box("cut")
    box.make()
    box.wait("Running")
    leader.proxy.hang_up = True
    leader.proxy.cut_all()
    began = time.monotonic()
    box.run(False)
    ends(leader, "cut off")
    expect(not candidate.leads(), "two led at once")
    takes_over(candidate, "cut off", began)
    box.wait("Stopped")
    life_goes_on(box)


@case
def wall_clocks_that_jump_change_nothing():
    leader, candidate = world.elect(*SHORT)
    box = world.box("clock")
    box.make()
    box.wait("Running")
    before = world.api.get(LEASE)["spec"]["leaseTransitions"]
    for hours in (26, -26):
        set_clocks(leader, hours * 3600, 0)
        set_clocks(candidate, -hours * 3600, 0)
        time.sleep(6)  # more than a lease, and four renewals
        expect(leader.leads() and not candidate.leads(), "another leads after a jump of %d hours" % hours)
        box.run(False)
        box.wait("Stopped")
        box.run(True)
        box.wait("Running")
    spec = world.api.get(LEASE)["spec"]
    expect(spec["leaseTransitions"] == before and spec["holderIdentity"] == leader.name, "the lease: %s" % spec)
    remove(box)


@case
def a_leader_whose_machine_slept_writes_nothing_when_it_wakes():
    """CLOCK_BOOTTIME ahead by a minute: no timer of ours goes off for that, since they do not count sleep."""
    leader, _ = world.elect(*SHORT)
    box = world.box("slept")
    box.make()
    box.wait("Running")
    # A machine falls asleep between any two instructions, also between the look at the clock and a write: not here.
    quiet(lambda: leader.proxy.count(is_write), 2)
    set_clocks(leader, 60, 60)
    woke = time.monotonic()
    box.run(False)  # what wakes it is a change that it would act on
    ends(leader, "woken")
    wrote = leader.proxy.seen(is_write, woke)
    expect(not wrote, "the woken one wrote %s" % wrote)
    box.wait("Stopped")
    life_goes_on(box)


@case
def a_new_leader_with_an_old_view_throws_no_root_away():
    """Of the StoppableContainers alone: their old token stands beside the instance that was made for the new one."""
    leader, candidate = world.elect(*SHORT)
    box = world.box("behind")
    box.make()
    box.wait("Running")
    eventually("the candidate to know of it", lambda: candidate.metrics().get("sc_controller_keys", 0) > 0)
    candidate.proxy.rule(lambda r: r.kind in ("watch", "list") and r.resource == "stoppablecontainers", lambda x: time.sleep(3600))
    candidate.proxy.cut_all()
    world.api.must("PATCH", box.path(), {"spec": {"rootfs": {"resetToken": "again"}}}, MERGE)
    eventually("a fresh root", lambda: box.status().get("resetToken") == "again" and box.is_in("Running"), 60)
    box.run(False)
    box.wait("Stopped", 60)  # no consumer is there whose own generation would tell
    quiet(lambda: leader.proxy.count(is_write), 2)  # its last words
    root = box.status()["rootfs"]["id"]
    killed = time.monotonic()
    leader.kill()
    takes_over(candidate, "killed", killed)
    eventually("the server to be asked", lambda: candidate.proxy.count(
        lambda r: r.kind == "get" and r.name == box.name and r.resource == "stoppablecontainers", killed) > 0)
    quiet(lambda: candidate.proxy.count(is_write), 3)
    wrote = candidate.proxy.seen(is_write, killed)
    expect(box.is_in("Stopped") and box.status()["rootfs"]["id"] == root and not wrote, "it wrote %s" % wrote)
    candidate.proxy.clear()
    candidate.proxy.cut_all()
    box.run(True)
    box.wait("Running", 60)
    expect(box.status()["rootfs"]["id"] == root, "another root: %s" % box.status()["rootfs"])
    box.remove()


@case
def two_that_lead_at_once_do_no_harm():
    """Neither asks for a lease. The same changes once more under one leader say what is usual."""
    usual = toggles_under("single", lambda: world.elect(*SHORT))
    both = toggles_under("both", world.elect)
    print("# writes that reached the server in the same changes: %d by one leader, %d by two (%d of them refused)" % (
        usual[0], both[0], both[1]))
    expect(both[0] <= 3 * usual[0], "a fight: %d writes where one leader makes %d" % (both[0], usual[0]))


def toggles_under(name, elect):
    elect()
    boxes = [world.box("%s%d" % (name, i)) for i in range(4)]
    for box in boxes:
        box.make()
    for value in (False, True, False, True):
        for box in boxes:
            box.wait("Stopped" if value else "Running")
        for box in boxes:
            box.run(value)
    for box in boxes:
        box.wait("Running")

    def made():
        return [w for box in boxes for w in writes(box.namespace)]
    quiet(lambda: len(made()), 5)
    for box in boxes:
        box.check()
    for box in boxes:
        box.delete()
    for box in boxes:
        box.wait_gone()
        box.check_nothing_left()
    done = made()
    return len(done), sum(1 for w in done if w[2] >= 400)


@case
def a_leader_that_does_not_know_that_it_is_one_no_more_does_no_harm():
    """Worse than a thaw: it goes on with what it saw long ago. Its watches are silent, its writes get through."""
    world.elect()
    stale, current = world.pair
    boxes = [world.box("stale%d" % i) for i in range(4)]
    for box in boxes:
        box.make()
    for box in boxes:
        box.wait("Running")
    for proxy in (stale.proxy,):
        proxy.rule(lambda r: r.kind in ("watch", "list"), lambda x: time.sleep(3600))
        proxy.cut_all()
    for value in (False, True):
        for box in boxes:
            box.run(value)
        for box in boxes:
            box.wait("Running" if value else "Stopped")
    touch(boxes)
    stale.proxy.clear()
    stale.proxy.cut_all()
    eventually("the stale one to see again", stale.synced)
    quiet(lambda: sum(len(writes(box.namespace)) for box in boxes), 5)
    for box in boxes:
        box.check()
        box.delete()
    for box in boxes:
        box.wait_gone()
        box.check_nothing_left()


def touch(boxes):
    """A change that means nothing, so that whoever has a view acts on it."""
    for box in boxes:
        world.api.must("PATCH", box.path(), {"metadata": {"annotations": {"touched": "1"}}}, MERGE)


def report(name):
    for replica in world.pair:
        with contextlib.suppress(OSError):
            with open(replica.log, errors="replace") as f:
                print("# last words of %s in %s:\n%s" % (replica.name, name, "".join(f.readlines()[-40:])), flush=True)


if __name__ == "__main__":
    sys.exit(play(world, report))
