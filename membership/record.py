"""A member's record: what a node says of itself. Only it writes it; others merge by (generation, version).

Merging two records of one member keeps the fresher one, whole. So it does not matter in which order, how
often or by whom records are brought: all who have heard the same records hold the same one.

When a load report differs enough from the one that was told to be worth telling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ..identity import Identity


class Status(StrEnum):
    """Where a node stands in its own account. Whether it is alive is each observer's opinion, not its own."""

    JOINING = "joining"
    SERVING = "serving"
    LEAVING = "leaving"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How loaded a node is, measured by itself."""

    in_flight: int = 0
    queue_depth: int = 0
    service_time_ms: float = 0.0
    cpu: float = 0.0
    """Share of one core, 0 to 1 (more when threads help)."""
    keys: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class HandoffProgress:
    """What a gaining node has pulled under one epoch; ``done`` is said only once it is on disk."""

    epoch: int
    bytes_done: int = 0
    bytes_total: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """How a node's data stands beside its peers', and what it has noticed about its disk and its clock."""

    hints: int = 0
    """Kept here for members that are up."""
    comparisons: int = 0
    """Peers whose data it still has to be compared with, or made equal to."""
    quarantined: int = 0
    """Segments found damaged and not yet merged from others."""
    floor_wanted: int = 0
    """The floor, a version timestamp, that confirmed tombstones or segments in quarantine wait for; 0 for none."""
    disk_full: bool = False
    """It refuses writes, and goes on reading."""
    clock_off_ms: int = 0
    """Its wall clock minus what a majority reports, when that is beyond the allowed skew; it coordinates nothing."""
    needs_restart: bool = False
    """Its disk has damage that is removed when it starts again."""
    keys_ahead: int = 0
    """Number of its keys that stand ahead of all clocks, since they were written while clocks were wrong."""

    @property
    def at_rest(self) -> bool:
        """Whether nothing is known that has to be brought to it or to others."""
        return not (self.hints or self.comparisons or self.quarantined)


class RecordVersion(NamedTuple):
    """The order of one member's records: a newer process first, then a newer record of it."""

    generation: int
    version: int


SMALLEST_WEIGHT, LARGEST_WEIGHT = 0.01, 100.0
"""Beyond these a node would get no tokens, or so many that every ring computed with it would take minutes."""

UNHEARD = RecordVersion(0, 0)
"""Older than any record: generations start at 1."""


@dataclass(frozen=True, slots=True)
class MemberRecord:
    identity: Identity
    generation: int
    version: int
    """Raised by the member with every change of its record, heartbeats included."""
    heartbeat: int
    address: str
    """host:port that others reach it at."""
    status: Status
    zone: str = ""
    weight: float = 1.0
    """From SMALLEST_WEIGHT to LARGEST_WEIGHT."""
    epoch: int = 0
    """Number of the newest epoch record the member has adopted (persisted); 0 for none."""
    protocol: int = 1
    load: LoadReport = field(default_factory=LoadReport)
    handoff: HandoffProgress | None = None
    condition: Condition = field(default_factory=Condition)
    process: int = 0
    """64 random bits that the process drew when it started: a copied disk has one generation in two processes."""
    mark: int = 0
    """How far what is certainly on the member's disk goes (see ``extent``); 0 when it does not say."""

    @property
    def freshness(self) -> RecordVersion:
        return RecordVersion(self.generation, self.version)

    def outranks(self, other: MemberRecord) -> bool:
        """Of two processes that go by one identity, whether this one's stays: all who compare them say the same.

        Only a machine that was copied while it ran has two that drew the same number.
        """
        mine = (self.generation, self.process, self.address)
        return mine > (other.generation, other.process, other.address)


def fresher(one: MemberRecord, other: MemberRecord) -> MemberRecord:
    """The merge of two records of one member. Equally fresh means equal: only the member writes them."""
    return other if other.freshness > one.freshness else one


class DigestEntry(NamedTuple):
    """What one side of an exchange knows of a member."""

    identity: Identity
    freshness: RecordVersion


class Suspicion(NamedTuple):
    """Someone could not reach ``accused``; refuted by any record of it newer than ``freshness``.

    ``freshness`` is no record that anyone holds but a bound: nothing the accused wrote before it was given up
    on is newer (as far as the accuser can tell). So a heartbeat that is still on its way from one survivor to
    another does not pass for a sign of life, and the accused, when it hears, rises above the bound at once.
    """

    accused: Identity
    freshness: RecordVersion
    accuser: Identity


RELATIVE_STEP = 0.2
"""A fifth of the larger value, for what goes up and down."""
HOLDINGS_STEP = 0.01
"""A hundredth, for keys and bytes: people read these."""

SMALLEST_STEP = LoadReport(in_flight=8, queue_depth=4, service_time_ms=1.0, cpu=0.1, keys=1, bytes=1)
"""Differences below these are noise, however large they are relative to a small value."""


def moved(told: LoadReport, measured: LoadReport) -> bool:
    """Whether any part of the load moved by its threshold."""
    return (
        _stepped(told.in_flight, measured.in_flight, SMALLEST_STEP.in_flight)
        or _stepped(told.queue_depth, measured.queue_depth, SMALLEST_STEP.queue_depth)
        or _stepped(told.service_time_ms, measured.service_time_ms, SMALLEST_STEP.service_time_ms)
        or _stepped(told.cpu, measured.cpu, SMALLEST_STEP.cpu)
        or _stepped(told.keys, measured.keys, SMALLEST_STEP.keys, HOLDINGS_STEP)
        or _stepped(told.bytes, measured.bytes, SMALLEST_STEP.bytes, HOLDINGS_STEP)
    )


def _stepped(told: float, measured: float, smallest: float, relative: float = RELATIVE_STEP) -> bool:
    return abs(measured - told) >= max(smallest, relative * max(told, measured))
