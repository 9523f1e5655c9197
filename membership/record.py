"""A member's record: what a node reports of itself. Only that node writes it; others merge by (generation, version).

Merging two records of one member keeps the newer one as a whole. So it does not matter in which order, how often or by
which node records are brought: all nodes that received the same records hold the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ..identity import Identity


class Status(StrEnum):
    """The state that a node reports of itself. Whether it is alive is each observer's opinion."""

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
    """What a gaining node has pulled under one epoch; ``done`` is set only once all of it is on disk."""

    epoch: int
    bytes_done: int = 0
    bytes_total: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a node's data equals its peers', and what it has detected about its disk and its clock."""

    hints: int = 0
    """Kept here for members that are up."""
    comparisons: int = 0
    """Peers with which an anti-entropy session is pending or unfinished."""
    quarantined: int = 0
    """Damaged segments that are not yet merged from other replicas."""
    floor_wanted: int = 0
    """The floor, a version timestamp, that confirmed tombstones or segments in quarantine wait for; 0 for none."""
    disk_full: bool = False
    """It refuses writes, and still serves reads."""
    clock_off_ms: int = 0
    """Its wall clock minus what a majority reports, when that is beyond the allowed skew; it coordinates nothing."""
    needs_restart: bool = False
    """Its disk has damage that is removed when it starts again."""
    keys_ahead: int = 0
    """Number of its keys whose versions are ahead of all clocks, because they were written while clocks were wrong."""

    @property
    def in_sync(self) -> bool:
        """Whether no data is known that it or another node lacks."""
        return not (self.hints or self.comparisons or self.quarantined)


class RecordVersion(NamedTuple):
    """The order of one member's records: by process, then by record of that process."""

    generation: int
    version: int


MIN_WEIGHT, MAX_WEIGHT = 0.01, 100.0
"""Beyond these a node would get no tokens, or too many to compute its rings in less than minutes."""

UNKNOWN_VERSION = RecordVersion(0, 0)
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
    condition: Health = field(default_factory=Health)
    process: int = 0
    """64 random bits that the process drew when it started: a copied disk has one generation in two processes."""
    mark: int = 0
    """How far the data that is certainly on the member's disk goes (see ``extent``); 0 if not reported."""

    @property
    def record_version(self) -> RecordVersion:
        return RecordVersion(self.generation, self.version)

    def outranks(self, other: MemberRecord) -> bool:
        """Return whether, of two processes with one identity, this record's may stay; every node decides the same.

        Two processes have the same number only if their machine was copied while it ran.
        """
        mine = (self.generation, self.process, self.address)
        return mine > (other.generation, other.process, other.address)


def newer_record(one: MemberRecord, other: MemberRecord) -> MemberRecord:
    """Merge two records of one member. Equal versions mean equal records: only the member writes them."""
    return other if other.record_version > one.record_version else one


class DigestEntry(NamedTuple):
    """What one side of an exchange knows of a member."""

    identity: Identity
    record_version: RecordVersion


class Suspicion(NamedTuple):
    """A member could not reach ``accused``; refuted by any record of it newer than ``record_version``.

    ``record_version`` is a bound, not the version of a record that some node holds: as far as the accuser can tell, the
    accused wrote nothing newer before the accuser gave it up. So a heartbeat that is still on its way from one survivor
    to another is no sign of life, and the accused, when it learns of the suspicion, exceeds the bound at once.
    """

    accused: Identity
    record_version: RecordVersion
    accuser: Identity


RELATIVE_STEP = 0.2
"""A fifth of the larger value, for what rises and falls."""
HOLDINGS_STEP = 0.01
"""A hundredth, for keys and bytes, which people read."""

MIN_STEP = LoadReport(in_flight=8, queue_depth=4, service_time_ms=1.0, cpu=0.1, keys=1, bytes=1)
"""Differences below these are noise, however large they are relative to a small value."""


def differs_notably(sent: LoadReport, measured: LoadReport) -> bool:
    """Return whether any part of the load changed by its threshold since it was sent."""
    return (
        _stepped(sent.in_flight, measured.in_flight, MIN_STEP.in_flight)
        or _stepped(sent.queue_depth, measured.queue_depth, MIN_STEP.queue_depth)
        or _stepped(sent.service_time_ms, measured.service_time_ms, MIN_STEP.service_time_ms)
        or _stepped(sent.cpu, measured.cpu, MIN_STEP.cpu)
        or _stepped(sent.keys, measured.keys, MIN_STEP.keys, HOLDINGS_STEP)
        or _stepped(sent.bytes, measured.bytes, MIN_STEP.bytes, HOLDINGS_STEP)
    )


def _stepped(sent: float, measured: float, minimum: float, relative: float = RELATIVE_STEP) -> bool:
    return abs(measured - sent) >= max(minimum, relative * max(sent, measured))
