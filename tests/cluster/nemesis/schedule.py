"""Which faults come when: drawn from a seed beforehand, so that a schedule can be read, kept and repeated.

Rules
- Faults come on three tracks that know nothing of each other: processes, the network, and the ring. On one
  track, one ends before the next begins; across tracks they overlap as it happens.
- A schedule knows which nodes should be members when, by the joins and leaves in it. Whether they are is for
  whoever carries it out to see.
- The cluster has time for its work: there are pauses, and never are there fewer than the least number of members.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

FIRST_SIZE = 5
MOST_MEMBERS = 7


class Kind(StrEnum):
    KILL = "kill"
    KILL_ALL = "kill_all"
    PAUSE = "pause"
    LATE = "late"
    """A pause that is longer than clients wait, and too short for a change of the ring."""
    ROLLING_RESTART = "rolling_restart"
    TAKEN = "taken"
    """While a node is down, one of another cluster has its address."""
    EMPTIED = "emptied"
    """The node is killed, and its engine is gone; its folder still names its identity."""
    SET_BACK = "set_back"
    """The node's folder is copied; ``lasts_s`` later it is killed, and starts on the copy."""
    PARTITION = "partition"
    ONE_WAY = "one_way"
    NON_TRANSITIVE = "non_transitive"
    LOSS = "loss"
    JOIN = "join"
    LEAVE = "leave"


PROCESSES = {
    Kind.KILL: 4,
    Kind.PAUSE: 3,
    Kind.LATE: 3,
    Kind.ROLLING_RESTART: 1,
    Kind.KILL_ALL: 1,
    Kind.TAKEN: 1,
    Kind.EMPTIED: 1,
    Kind.SET_BACK: 2,
}
NETWORK = {Kind.PARTITION: 3, Kind.ONE_WAY: 2, Kind.NON_TRANSITIVE: 2, Kind.LOSS: 2}
"""How often each comes, relative to the others of its track."""
SHORT_PAUSE_S, LONG_PAUSE_S = 1.0, 30.0
LATE_S = (1.5, 6.0)
GAP_S = (3.0, 10.0)
"""Between two faults of a track."""
LASTS_S = (2.0, 12.0)
RING_GAP_S = (15.0, 30.0)
LOSS_PERCENT = (5, 30)


@dataclass(frozen=True, slots=True)
class Fault:
    at_s: float
    """After the beginning."""
    kind: Kind
    nodes: tuple[str, ...] = ()
    """Those that it befalls; of a partition one side, of a cut the two ends."""
    lasts_s: float = 0.0
    """Duration until killed nodes are restarted, paused ones resumed, the network healed."""
    loss_percent: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Each track in the order of time."""

    processes: tuple[Fault, ...]
    network: tuple[Fault, ...]
    ring: tuple[Fault, ...]

    @classmethod
    def draw(cls, seed: int, duration_s: float, *, with_network: bool = True) -> Schedule:
        ring = tuple(_ring_track(random.Random(f"{seed}/ring"), duration_s))
        processes = _fault_track(random.Random(f"{seed}/processes"), duration_s, PROCESSES, ring)
        network = _fault_track(random.Random(f"{seed}/network"), duration_s, NETWORK, ring)
        return cls(tuple(processes), tuple(network) if with_network else (), ring)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _ring_track(rng: random.Random, duration_s: float) -> Iterator[Fault]:
    members = [f"n{number}" for number in range(1, FIRST_SIZE + 1)]
    newest = FIRST_SIZE
    at_s = rng.uniform(2.0, RING_GAP_S[0])
    while at_s < duration_s:
        grows = len(members) <= FIRST_SIZE or (len(members) < MOST_MEMBERS and rng.random() < 0.5)
        if grows:
            newest += 1
            members.append(f"n{newest}")
            yield Fault(at_s, Kind.JOIN, (members[-1],))
        else:
            yield Fault(at_s, Kind.LEAVE, (members.pop(rng.randrange(len(members))),))
        at_s += rng.uniform(*RING_GAP_S)


def _fault_track(
    rng: random.Random, duration_s: float, weights: Mapping[Kind, int], ring: Sequence[Fault]
) -> Iterator[Fault]:
    at_s = rng.uniform(*GAP_S)
    while at_s < duration_s:
        (kind,) = rng.choices(list(weights), list(weights.values()))
        fault = _fault(rng, kind, at_s, members_at(at_s, ring), duration_s - at_s)
        yield fault
        at_s += fault.lasts_s + rng.uniform(*GAP_S)


def _fault(rng: random.Random, kind: Kind, at_s: float, members: Sequence[str], left_s: float) -> Fault:
    lasts_s = rng.uniform(*LASTS_S)
    match kind:
        case Kind.KILL:
            return Fault(at_s, kind, tuple(rng.sample(members, rng.choice((1, 1, 2)))), lasts_s)
        case Kind.EMPTIED | Kind.SET_BACK:
            return Fault(at_s, kind, (rng.choice(members),), lasts_s)
        case Kind.PAUSE:
            pause_s = LONG_PAUSE_S if rng.random() < 0.3 and left_s > 2 * LONG_PAUSE_S else SHORT_PAUSE_S
            return Fault(at_s, kind, (rng.choice(members),), pause_s)
        case Kind.TAKEN:
            return Fault(at_s, kind, (rng.choice(members),), lasts_s)
        case Kind.LATE:
            return Fault(at_s, kind, (rng.choice(members),), rng.uniform(*LATE_S))
        case Kind.PARTITION:
            return Fault(at_s, kind, tuple(rng.sample(members, rng.choice((1, 2)))), lasts_s)
        case Kind.ONE_WAY | Kind.NON_TRANSITIVE:
            return Fault(at_s, kind, tuple(rng.sample(members, 2)), lasts_s)
        case Kind.LOSS:
            return Fault(at_s, kind, (), lasts_s, rng.randint(*LOSS_PERCENT))
        case Kind.KILL_ALL:
            return Fault(at_s, kind, (), rng.uniform(0.0, 2.0))
        case _:
            return Fault(at_s, kind)


def members_at(at_s: float, ring: Sequence[Fault]) -> list[str]:
    """Who should be a member then."""
    members = [f"n{number}" for number in range(1, FIRST_SIZE + 1)]
    for change in ring:
        if change.at_s > at_s:
            break
        (name,) = change.nodes
        members.append(name) if change.kind is Kind.JOIN else members.remove(name)
    return members
