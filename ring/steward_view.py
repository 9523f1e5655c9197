"""The inputs of the steward's decisions: its view of the cluster, and the settings that it follows.

Time is passed in as ``now``, in seconds of a monotonic clock. Floors are version timestamps, as in the record.
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
    """The state that a member reports in its gossip record."""

    JOINING = "joining"
    SERVING = "serving"
    LEAVING = "leaving"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class MemberView:
    """The steward's knowledge of one member."""

    identity: Identity
    alive: bool
    status: MemberStatus
    zone: str = ""
    weight: float = 1.0
    epoch: int = 0
    """Number of the newest record that the member has adopted."""
    handoff_done_epoch: int | None = None
    """Number of the record under which it has pulled all that it gains and synced it to disk."""
    handoff_bytes: int = 0
    """Bytes that it has pulled; an increase counts as progress."""
    down_for_s: float = 0.0
    """Time for which it has been down; 0 while alive."""
    up_for_s: float = math.inf
    """Time since it was last suspected or down; 0 while it is."""
    floor_wanted: int = 0
    """The floor that its tombstones or its quarantined segments wait for; 0 for none."""

    @property
    def can_own(self) -> bool:
        """True if it is alive and its weight is usable: an invalid weight from gossip must not stop planning."""
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
    """When each successor last made progress. The steward passes it from one decision to the next."""

    number: int = 0
    """Number of the record that this is for; under another record, observation starts over."""
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
        """Return for how long a successor has made no progress; 0 for one that was not observed before."""
        return now - self.seen[identity].since if identity in self.seen else 0.0


@dataclass(frozen=True, slots=True)
class FloorWatch:
    """When the floor last rose. The steward passes it from one decision to the next."""

    floor: int = -1
    since: float = 0.0

    def observe(self, record: EpochRecord, now: float) -> FloorWatch:
        return self if record.floor == self.floor else FloorWatch(record.floor, now)


def floor_interval_s(tombstone_age_s: float, handoff_grace_s: float) -> float:
    """Return the minimum time between two rises of the floor.

    It is a tenth of the age at which tombstones are collected, so that they are not kept much longer than that. It is
    at most MAX_FLOOR_INTERVAL_S, since a node keeps in memory what waits for the floor. It is at least twice the
    handoff grace period, because every epoch restarts that period, and the clean-up after it must run between two
    rises.
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
class StewardView:
    """The steward's view of the cluster at one decision."""

    members: Members
    """By identity, including the steward."""
    now: float
    progress: ProgressWatch = field(default_factory=ProgressWatch)
    """Up to date: ``observe`` was called with this view's members and ``now``."""
    removals: frozenset[Identity] = frozenset()
    """Owners that operators asked to remove. A live owner is kept: it can leave by itself."""
    not_before: float = 0.0
    """No change begins before this time: the last abort plus its ``abort_backoff_s``."""
    min_up_s: float = 0.0
    """Minimum uptime of every node that would pull: twice the last abort's ``abort_backoff_s``."""
    stores_data: bool = True
    """False if no member holds data, so that nothing has to be handed off."""
    floor: FloorWatch = field(default_factory=FloorWatch)
    """Up to date, as ``progress`` is."""
    ring: Ring | None = None
    """The ring of the owners; if None, every plan computes it."""
    change: RingChange | None = None
    """The ring change of a changing record; if None, every plan computes it."""
    settled: int = 0
    """Version timestamp above which writes may still be under way; no floor above it is proposed."""
