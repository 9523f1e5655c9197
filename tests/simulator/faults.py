"""Faults as plain values (kind, time, node, duration), and random schedules of them.

A schedule is a list that can be printed, stored as JSON, replayed, and shrunk by removing elements: each fault
carries its duration, and one that does not apply when its time comes (a crash of a node that is down) is skipped.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

MAX_PAUSE_S = 30.0
MESSAGES = (
    "writes from",
    "writes to",
    "reads to",
    "records to",
    "gossip from",
    "pulls from",
    "pulls to",
    "votes to",
)
"""Kinds of requests, from or to a node."""


class FaultKind(StrEnum):
    CRASH = "crash"
    """The process dies; back after ``for_s``."""
    POWER = "power"
    """The machine loses power; ``amount`` is the share of unsynced writes, the first ones, that survive."""
    BLACKOUT = "blackout"
    """All machines lose power."""
    WIPE = "wipe"
    """The process dies and comes back on an empty disk, under the old name."""
    EMPTIED = "emptied"
    """As WIPE, but the folder still names the old identity: only the engine is gone."""
    SET_BACK = "set back"
    """The first time, the folder is copied; the next time, the process dies and comes back on that copy."""
    FSYNC = "fsync"
    """Writes and flushes of the disk fail; the process ends, and comes back on a disk that works."""
    FULL = "full"
    """The disk has ``amount`` MiB of space, for ``for_s``."""
    FLIP = "flip"
    """``amount`` stored bits turn over."""
    PAUSE = "pause"
    """The process is paused, with its timers and its disk."""
    LATE = "late"
    """The process is paused for longer than clients wait, and then finds their requests."""
    SLOW = "slow"
    """The process gets the share ``amount`` of the processor: it is paused for most of each interval."""
    CUT = "cut"
    """Messages between the pairs in ``cut`` are lost, each in the direction given."""
    LOSE = "lose"
    """``amount`` of all messages is lost, or of all that concern ``node``."""
    MUTE = "mute"
    """Requests of one kind, from or to ``node``, are lost, or handled and their replies lost (``amount`` 1)."""
    REPEAT = "repeat"
    """``amount`` of all requests is handled twice."""
    DELAY = "delay"
    """A half of all messages takes up to ``amount`` seconds longer: they overtake each other."""
    JUMP = "jump"
    """The wall clock jumps by ``amount`` ms, and back at the end."""
    DRIFT = "drift"
    """The wall clock gains ``amount`` ms each second, and is set right at the end."""
    TAKEN = "taken"
    """The process dies, and until it is back a node of another cluster listens at its address."""
    JOIN = "join"
    LEAVE = "leave"
    EVICT = "evict"
    """An operator removes a node that is down."""


@dataclass(frozen=True)
class Fault:
    at_s: float
    what: FaultKind
    node: str = ""
    for_s: float = 0.0
    amount: float = 0.0
    cut: tuple[tuple[str, str], ...] = ()
    kind: str = ""
    """One of MESSAGES."""

    def __str__(self) -> str:
        parts = [f"{self.at_s:.2f} s: {self.what}", self.kind, self.node]
        parts.append(f"{self.amount:g}" if self.amount else "")
        parts.append(", ".join(f"{source}→{target}" for source, target in self.cut))
        parts.append(f"for {self.for_s:.2f} s" if self.for_s else "")
        return " ".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in given.items() if value not in ("", 0.0, ())}

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> Fault:
        fault = cls(**given)
        return replace(fault, what=FaultKind(fault.what), cut=tuple((a, b) for a, b in fault.cut))


Schedule = list[Fault]


class NodeNames:
    """Names of the nodes that a fault may concern: those that formed the cluster, and joiners."""

    def __init__(self, founders: Sequence[str], rng: random.Random) -> None:
        self._rng = rng
        self.all = list(founders)
        self._joined = 0

    def any(self) -> str:
        return self._rng.choice(self.all)

    def joiner(self) -> str:
        self._joined += 1
        self.all.append(f"j{self._joined}")
        return self.all[-1]


Draw = Callable[[random.Random, NodeNames], Fault]


def _lasting(what: FaultKind, shortest_s: float, longest_s: float, *amounts: float) -> Draw:
    def draw(rng: random.Random, names: NodeNames) -> Fault:
        amount = rng.choice(amounts) if amounts else 0.0
        return Fault(0.0, what, names.any(), rng.uniform(shortest_s, longest_s), amount)

    return draw


def _everywhere(what: FaultKind, *amounts: float) -> Draw:
    def draw(rng: random.Random, names: NodeNames) -> Fault:
        return Fault(0.0, what, "", rng.uniform(1.0, 10.0), rng.choice(amounts))

    return draw


def _pause(rng: random.Random, names: NodeNames) -> Fault:
    for_s = rng.uniform(1.0, 3.0) if rng.random() < 0.7 else rng.uniform(3.0, MAX_PAUSE_S)
    return Fault(0.0, FaultKind.PAUSE, names.any(), for_s)


def _lose(rng: random.Random, names: NodeNames) -> Fault:
    node = names.any() if rng.random() < 0.4 else ""
    return Fault(
        0.0,
        FaultKind.LOSE,
        node,
        rng.uniform(1.0, 10.0),
        rng.choice([0.05, 0.3, 1.0] if node else [0.05, 0.3]),
    )


def _cut(rng: random.Random, names: NodeNames) -> Fault:
    """Cut one pair of nodes or two sides of the cluster, in one direction or both."""
    shuffled = sorted(names.all, key=lambda name: rng.random())
    if rng.random() < 0.4:
        sides = [shuffled[0]], [shuffled[1]]
    else:
        middle = rng.randrange(1, len(shuffled))
        sides = shuffled[:middle], shuffled[middle:]
    pairs = [(a, b) for a in sides[0] for b in sides[1]]
    if rng.random() < 0.6:
        pairs += [(b, a) for a, b in pairs]
    return Fault(0.0, FaultKind.CUT, for_s=rng.uniform(1.0, 15.0), cut=tuple(pairs))


def _mute(rng: random.Random, names: NodeNames) -> Fault:
    lost = rng.choice([0.0, 1.0])
    return Fault(0.0, FaultKind.MUTE, names.any(), rng.uniform(1.0, 10.0), lost, kind=rng.choice(MESSAGES))


def _jump(rng: random.Random, names: NodeNames) -> Fault:
    amount = rng.choice([-3_600_000, -5_000, -300, 300, 5_000, 120_000])
    return Fault(0.0, FaultKind.JUMP, names.any(), rng.uniform(1.0, 20.0), amount)


def _join(rng: random.Random, names: NodeNames) -> Fault:
    return Fault(0.0, FaultKind.JOIN, names.joiner())


def _one_of(what: FaultKind) -> Draw:
    return lambda rng, names: Fault(0.0, what, names.any())


DRAWS: dict[FaultKind, tuple[int, Draw]] = {
    FaultKind.CRASH: (4, _lasting(FaultKind.CRASH, 0.1, 8.0)),
    FaultKind.POWER: (6, _lasting(FaultKind.POWER, 0.1, 8.0, 0.0, 0.5)),
    FaultKind.BLACKOUT: (1, lambda rng, names: Fault(0.0, FaultKind.BLACKOUT, for_s=rng.uniform(0.1, 3.0))),
    FaultKind.WIPE: (2, _lasting(FaultKind.WIPE, 0.1, 5.0)),
    FaultKind.EMPTIED: (1, _lasting(FaultKind.EMPTIED, 0.1, 5.0)),
    FaultKind.SET_BACK: (3, _lasting(FaultKind.SET_BACK, 0.1, 5.0)),
    FaultKind.FSYNC: (2, _lasting(FaultKind.FSYNC, 0.5, 5.0)),
    FaultKind.FULL: (2, _lasting(FaultKind.FULL, 1.0, 10.0, 32, 0.001)),
    FaultKind.FLIP: (2, _lasting(FaultKind.FLIP, 0.0, 0.0, 1, 3)),
    FaultKind.PAUSE: (4, _pause),
    FaultKind.LATE: (3, _lasting(FaultKind.LATE, 2.5, 8.0)),
    FaultKind.SLOW: (2, _lasting(FaultKind.SLOW, 2.0, 15.0, 0.05, 0.3)),
    FaultKind.CUT: (5, _cut),
    FaultKind.LOSE: (5, _lose),
    FaultKind.MUTE: (6, _mute),
    FaultKind.REPEAT: (2, _everywhere(FaultKind.REPEAT, 0.05, 0.5)),
    FaultKind.DELAY: (3, _everywhere(FaultKind.DELAY, 0.05, 0.3, 1.5)),
    FaultKind.JUMP: (2, _jump),
    FaultKind.DRIFT: (2, _lasting(FaultKind.DRIFT, 5.0, 30.0, -50.0, -5.0, 5.0, 50.0)),
    FaultKind.TAKEN: (2, _lasting(FaultKind.TAKEN, 0.5, 8.0)),
    FaultKind.JOIN: (4, _join),
    FaultKind.LEAVE: (3, _one_of(FaultKind.LEAVE)),
    FaultKind.EVICT: (3, _one_of(FaultKind.EVICT)),
}
"""For each kind of fault, its weight and how it is drawn."""


def draw_schedule(
    rng: random.Random,
    founders: Sequence[str],
    until_s: float,
    kinds: Collection[FaultKind],
    fault_weights: Mapping[FaultKind, float],
    longest_s: float,
) -> Schedule:
    """Faults of these kinds, 0.1 s to ``longest_s`` from one to the next, drawn by weight."""
    names = NodeNames(founders, rng)
    kinds = [what for what in FaultKind if what in kinds]
    weights = [DRAWS[what][0] * fault_weights[what] for what in kinds]
    schedule: Schedule = []
    at_s = rng.uniform(0.1, longest_s)
    while at_s < until_s and kinds:
        (what,) = rng.choices(kinds, weights)
        schedule_of = DRAWS[what][1](rng, names)
        schedule.append(replace(schedule_of, at_s=round(at_s, 3), for_s=round(schedule_of.for_s, 3)))
        at_s += rng.uniform(0.1, longest_s)
    return schedule
