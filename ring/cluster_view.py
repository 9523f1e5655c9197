"""What the steward sees when it decides what to propose, and the settings it decides by.

Time is given as ``now``, in seconds of any steady clock. Floors are timestamps of versions, as in the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ..identity import Identity
from .allocation import TOKENS_PER_WEIGHT
from .epoch import EpochRecord
from .moves import RingChange
from .ring import Ring

MAX_FLOOR_INTERVAL_S = 60.0


class MemberStatus(StrEnum):
    """The state that a member reports of itself (the values of a member record's status)."""

    JOINING = "joining"
    SERVING = "serving"
    LEAVING = "leaving"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class MemberView:
    """What the steward knows of a member."""

    identity: Identity
    alive: bool
    status: MemberStatus
    zone: str = ""
    weight: float = 1.0
    epoch: int = 0
    """Number of the newest record that the member has adopted."""
    handoff_done_epoch: int | None = None
    """Number of the record under which it has pulled all that it gains, on disk."""
    handoff_bytes: int = 0
    """How much it has pulled; an increase is progress."""
    down_for_s: float = 0.0
    """Time for which it has been down; 0 while alive."""
    up_for_s: float = math.inf
    """Time since it was last suspected or down; 0 while it is."""
    floor_wanted: int = 0
    """The floor that its tombstones, or its segments in quarantine, wait for; 0 for none."""

    @property
    def can_own(self) -> bool:
        """Whether it is alive with a usable weight; a bad weight from gossip must not stop the planning."""
        return self.alive and 0 < self.weight < math.inf

    @property
    def departing(self) -> bool:
        return self.status in (MemberStatus.LEAVING, MemberStatus.LEFT)


Members = Mapping[Identity, MemberView]


def is_alive(members: Members, identity: Identity) -> bool:
    member = members.get(identity)
    return member is not None and member.alive


@dataclass(frozen=True, slots=True)
class Progress:
    bytes_done: int
    since: float
    """When ``bytes_done`` was first seen."""


@dataclass(frozen=True, slots=True)
class ProgressWatch:
    """When each successor last made progress; the steward carries it from decision to decision."""

    number: int = 0
    """Number of the record under which this was seen; progress under another record starts anew."""
    seen: Mapping[Identity, Progress] = field(default_factory=dict)

    def observe(self, record: EpochRecord, members: Members, now: float) -> ProgressWatch:
        before = self.seen if record.number == self.number else {}
        watched: dict[Identity, Progress] = {}
        for identity in sorted(record.live_rings[-1].owners):
            bytes_done = members[identity].handoff_bytes if identity in members else 0
            last = before.get(identity)
            unmoved = last is not None and last.bytes_done == bytes_done
            watched[identity] = last if last is not None and unmoved else Progress(bytes_done, now)
        return ProgressWatch(record.number, watched)

    def stalled_s(self, identity: Identity, now: float) -> float:
        """Return how long a successor has made no progress; 0 for one not watched yet."""
        return now - self.seen[identity].since if identity in self.seen else 0.0


@dataclass(frozen=True, slots=True)
class FloorWatch:
    """When the floor last rose; the steward carries it from decision to decision."""

    floor: int = -1
    since: float = 0.0

    def observe(self, record: EpochRecord, now: float) -> FloorWatch:
        return self if record.floor == self.floor else FloorWatch(record.floor, now)


def floor_interval_s(tombstone_age_s: float, handoff_grace_s: float) -> float:
    """Return the minimum time between two rises of the floor.

    A tenth of the age after which tombstones are collected, so that they are kept little longer than that; at most
    MAX_FLOOR_INTERVAL_S, since what waits for the floor is kept in memory; and at least twice the grace after a
    handoff, because every epoch restarts that grace, and the clean-up must run between two rises.
    """
    return max(min(tombstone_age_s / 10, MAX_FLOOR_INTERVAL_S), 2 * handoff_grace_s)


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that planning follows."""

    evict_after_s: float = 600.0
    handoff_timeout_s: float = 60.0
    tokens_per_weight: int = TOKENS_PER_WEIGHT
    floor_interval_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What the steward sees when it decides."""

    members: Members
    """By identity; the steward itself included."""
    now: float
    progress: ProgressWatch = field(default_factory=ProgressWatch)
    """Up to date: ``observe`` was called with this view's members and ``now``."""
    removals: frozenset[Identity] = frozenset()
    """Owners that operators asked to remove; a live one is kept (it can leave)."""
    not_before: float = 0.0
    """Begin nothing earlier: the last abort plus its ``abort_backoff_s``."""
    min_up_s: float = 0.0
    """How long every node that would have to pull must have been up: twice the last abort's ``abort_backoff_s``."""
    stores_data: bool = True
    """Whether any member holds data, which handoff would have to move."""
    floor: FloorWatch = field(default_factory=FloorWatch)
    """Up to date, as ``progress`` is."""
    ring: Ring | None = None
    """The owners' ring; computed for every plan when it is not given."""
    change: RingChange | None = None
    """The change that the record makes, if it makes one; computed for every plan when it is not given."""
    settled: int = 0
    """Timestamp of a version above which writes may be under way; no floor above it is proposed."""
