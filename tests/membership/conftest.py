"""Gossip machines on a simulated network: virtual time, and every message may be late, lost or cut off.

Set COVEY_TEST_SEED to run every simulation from another seed; the seed in use is printed with a failure.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import pytest

from covey.identity import Identity
from covey.membership.directives import (
    Contact,
    Directive,
    Event,
    ExchangeWith,
    MemberDown,
    ProbeVia,
    Push,
)
from covey.membership.dissemination import ExchangeAnswer
from covey.membership.gossip import Gossip
from covey.membership.member_list import Liveness
from covey.membership.record import MemberRecord, Status, Suspicion
from covey.membership.settings import GossipSettings

EXCHANGE_TIMEOUT_S = 0.5
PROBE_TIMEOUT_S = 0.5
INDIRECT_TIMEOUT_S = 1.0

Reply = TypeVar("Reply")


class Machine:
    """One simulated process: a thin shell around a gossip state machine."""

    def __init__(self, flock: Flock, me: MemberRecord) -> None:
        self.flock = flock
        self.identity = me.identity
        self.address = me.address
        self.running = True
        self.paused_until = 0.0
        self.events: list[tuple[float, Event]] = []
        rng = random.Random(f"{flock.seed}/{me.identity}/{me.generation}")
        self.gossip = Gossip(me, flock.settings, rng, flock.now)
        self._expiry_set: float | None = None
        flock.after(rng.random(), self, self._tick)

    def _tick(self) -> None:
        self.flock.after(self.flock.settings.heartbeat_interval_s, self, self._tick)
        self.perform(self.gossip.tick(self.flock.now))

    def perform(self, directives: Iterable[Directive]) -> None:
        for directive in directives:
            match directive:
                case ExchangeWith():
                    self._exchange(directive)
                case Push():
                    for target in directive.targets:
                        self._tell(target, directive.records, directive.suspicions)
                case ProbeVia():
                    self._probe(directive)
                case _:
                    self.events.append((self.flock.now, directive))
        self._set_expiry()

    def kinds(self) -> list[str]:
        """The names of the events so far."""
        return [type(event).__name__ for _, event in self.events]

    def _set_expiry(self) -> None:
        due = self.gossip.next_expiry()
        if due is not None and due != self._expiry_set:
            self._expiry_set = due
            wait_s = max(0.0, due - self.flock.now)
            self.flock.after(wait_s, self, lambda: self.perform(self.gossip.expire(self.flock.now)))

    def _exchange(self, step: ExchangeWith) -> None:
        def answer(there: Machine) -> ExchangeAnswer:
            reply, directives = there.gossip.answer_exchange(
                self.identity, step.digest, step.suspicions, self.flock.now
            )
            there.perform(directives)
            return reply

        def finish(reply: ExchangeAnswer) -> None:
            now = self.flock.now
            self.perform(self.gossip.receive(step.identity, reply.records, reply.suspicions, now))
            if reply.wanted:
                self._tell(
                    Contact(step.identity, step.address), self.gossip.records_newer_than(reply.wanted), ()
                )

        def fail() -> None:
            self.perform(self.gossip.exchange_failed(step.identity, self.flock.now))

        contact = Contact(step.identity, step.address)
        self.flock.call(self, contact, answer, finish, fail, EXCHANGE_TIMEOUT_S)

    def _tell(
        self, target: Contact, records: Sequence[MemberRecord], suspicions: Sequence[Suspicion]
    ) -> None:
        def receive(there: Machine) -> None:
            there.perform(there.gossip.receive(self.identity, records, suspicions, self.flock.now))

        self.flock.call(self, target, receive, lambda _: None, lambda: None, EXCHANGE_TIMEOUT_S)

    def _probe(self, step: ProbeVia) -> None:
        target = Contact(step.target, step.address)
        waiting = {helper.identity for helper in step.helpers}

        def helper_failed(helper: Identity) -> None:
            waiting.discard(helper)
            if not waiting:
                self.perform(self.gossip.probe_failed(step.target, self.flock.now))

        def helper_reached(_: object) -> None:
            waiting.add(self.identity)  # one success keeps the probe from failing
            self.gossip.probe_succeeded(step.target, self.flock.now)

        for helper in step.helpers:
            self.flock.call_via(
                self, helper, target, helper_reached, lambda name=helper.identity: helper_failed(name)
            )


class Flock:
    """The simulated machines, their network and their time."""

    def __init__(self, seed: str, settings: GossipSettings) -> None:
        self.seed = seed
        self.settings = settings
        self.now = 0.0
        self.loss = 0.0
        self.silent_deaths = False
        """Whether calls to the dead run into their timeout rather than being refused."""
        self.machines: dict[str, Machine] = {}
        self._sides: dict[str, int] = {}
        self._rng = random.Random(seed)
        self._queue: list[tuple[float, int, Machine, Callable[[], None]]] = []
        self._order = itertools.count()

    # --- the machines ---

    def grow(self, size: int) -> list[Machine]:
        """Start machines that know the first one only, as a joiner knows its seed."""
        return [self.start(f"n{len(self.machines) + 1:02d}") for _ in range(size)]

    def start(self, name: str, *, disk_id: int = 1, generation: int = 1, port: int = 7000) -> Machine:
        address = f"{name}:{port}"
        record = MemberRecord(Identity(name, disk_id), generation, 1, 0, address, Status.SERVING)
        seed = next((m for m in self.machines.values() if m.running and m.identity.name != name), None)
        machine = Machine(self, record)
        self.machines[name] = machine
        if seed is not None:
            machine.perform(machine.gossip.receive(seed.identity, (seed.gossip.me,), (), self.now))
        return machine

    def settled(self, size: int) -> list[Machine]:
        """A cluster of ``size`` in which all know all."""
        machines = self.grow(size)
        self.until(self.all_know_all, 30.0)
        self.run(5.0)
        return machines

    @property
    def running(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine.running]

    def kill(self, machine: Machine) -> None:
        machine.running = False

    def pause(self, machine: Machine, for_s: float) -> None:
        machine.paused_until = self.now + for_s

    def partition(self, *sides: Sequence[Machine]) -> None:
        self._sides = {m.identity.name: number for number, side in enumerate(sides) for m in side}

    def heal(self) -> None:
        self._sides = {}

    # --- what they think ---

    def opinions(self, of: Machine) -> list[Liveness | None]:
        """What each other running machine thinks of one."""
        members = [m.gossip.member(of.identity) for m in self.running if m is not of]
        return [None if member is None else member.liveness for member in members]

    def all_think(self, of: Machine, liveness: Liveness) -> bool:
        return all(opinion is liveness for opinion in self.opinions(of))

    def all_know_all(self) -> bool:
        return all(self.all_think(machine, Liveness.ALIVE) for machine in self.running)

    def ever_down(self) -> list[Identity]:
        """Everyone whom anyone has held for down."""
        events = [event for machine in self.machines.values() for _, event in machine.events]
        return [event.identity for event in events if isinstance(event, MemberDown)]

    # --- time ---

    def after(self, delay_s: float, machine: Machine, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay_s, next(self._order), machine, action))

    def run(self, for_s: float) -> None:
        end = self.now + for_s
        while self._queue and self._queue[0][0] <= end:
            self.now, _, machine, action = heapq.heappop(self._queue)
            if machine.running and machine.paused_until > self.now:
                self.after(machine.paused_until - self.now, machine, action)
            elif machine.running:
                action()
        self.now = end

    def until(self, condition: Callable[[], bool], limit_s: float) -> float:
        """Run until the condition holds; returns how many seconds that took, to a twentieth."""
        began = self.now
        while not condition():
            assert self.now - began < limit_s, f"not within {limit_s} s; COVEY_TEST_SEED={self.seed}"
            self.run(0.05)
        return self.now - began

    # --- the network ---

    def call(
        self,
        source: Machine,
        to: Contact,
        serve: Callable[[Machine], Reply],
        succeed: Callable[[Reply], None],
        fail: Callable[[], None],
        timeout_s: float,
    ) -> None:
        """A request and its reply; exactly one of ``succeed`` and ``fail`` happens at the source."""
        call = _Call(succeed, fail)
        self.after(timeout_s, source, call.fail)
        there = self._at(to.address)
        if not self._reaches(source, to):
            return
        if there is None or there.identity != to.identity:
            if not self.silent_deaths:
                self.after(self._latency_s(), source, call.fail)
            return
        self.after(self._latency_s(), there, lambda: self._serve(there, serve, source, call))

    def call_via(
        self,
        source: Machine,
        helper: Contact,
        target: Contact,
        succeed: Callable[[object], None],
        fail: Callable[[], None],
    ) -> None:
        """Ask a helper to reach the target; its reply comes once it did or could not."""
        call = _Call(succeed, fail)
        self.after(INDIRECT_TIMEOUT_S, source, call.fail)

        def report(action: Callable[[], None]) -> None:
            if self._reaches(source, helper):
                self.after(self._latency_s(), source, action)

        def try_target(there: Machine) -> None:
            self.call(
                there,
                target,
                lambda _: None,
                lambda _: report(lambda: call.succeed(None)),
                lambda: report(call.fail),
                PROBE_TIMEOUT_S,
            )

        self.call(source, helper, try_target, lambda _: None, call.fail, INDIRECT_TIMEOUT_S)

    def _serve(
        self, there: Machine, serve: Callable[[Machine], Reply], source: Machine, call: _Call[Reply]
    ) -> None:
        reply = serve(there)
        if self._reaches(there, Contact(source.identity, source.address)):
            self.after(self._latency_s(), source, lambda: call.succeed(reply))

    def _at(self, address: str) -> Machine | None:
        return next((m for m in self.running if m.address == address), None)

    def _reaches(self, source: Machine, to: Contact) -> bool:
        one_side = self._sides.get(source.identity.name) == self._sides.get(to.identity.name)
        return one_side and self._rng.random() >= self.loss

    def _latency_s(self) -> float:
        return self._rng.uniform(0.0002, 0.003)


class _Call(Generic[Reply]):
    """Settled once: by the reply, a refusal or the timeout, whichever comes first."""

    def __init__(self, succeed: Callable[[Reply], None], fail: Callable[[], None]) -> None:
        self._succeed = succeed
        self._fail = fail
        self._settled = False

    def succeed(self, reply: Reply) -> None:
        if not self._settled:
            self._settled = True
            self._succeed(reply)

    def fail(self) -> None:
        if not self._settled:
            self._settled = True
            self._fail()


MakeFlock = Callable[..., Flock]


@pytest.fixture
def make_flock() -> MakeFlock:
    """Makes simulated networks, each from a seed of its own."""
    base = os.environ.get("COVEY_TEST_SEED", "covey")

    def make(run: int = 0, settings: GossipSettings | None = None) -> Flock:
        seed = base if run == 0 else f"{base}/{run}"
        print(f"COVEY_TEST_SEED={seed}")
        return Flock(seed, settings or GossipSettings())

    return make
