"""A member's record: the state that a node reports. Only that node writes it; others keep the newest version.

Merging two records of one member keeps the entire newer one, by (generation, version). So the order, the repetition and
the sender of records do not matter: all nodes that received the same records hold the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ..identity import Identity


class Status(StrEnum):
    """The state that a node reports in its record. Whether it is alive is each observer's opinion."""

    JOINING = "joining"
    SERVING = "serving"
    LEAVING = "leaving"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A node's load, as measured by the node itself."""

    in_flight: int = 0
    queue_depth: int = 0
    service_time_ms: float = 0.0
    cpu: float = 0.0
    """Share of one core, 0 to 1; more if several threads are busy."""
    keys: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class HandoffProgress:
    """The progress of a node that gains ranges in one epoch; ``done`` is set only once all data is on disk."""

    epoch: int
    bytes_done: int = 0
    bytes_total: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """Pending synchronization of a node's data, and detected problems of its disk and clock."""

    hints: int = 0
    """Hints stored here for members that are up."""
    comparisons: int = 0
    """Peers with which an anti-entropy session is pending or unfinished."""
    quarantined: int = 0
    """Damaged segments that are not yet merged from other replicas."""
    floor_wanted: int = 0
    """The floor, a version timestamp, that confirmed tombstones or quarantined segments wait for; 0 for none."""
    disk_full: bool = False
    """The node refuses writes and still serves reads."""
    clock_off_ms: int = 0
    """Its wall clock minus that of a majority, if more than the allowed skew; then it coordinates no operations."""
    needs_restart: bool = False
    """Its disk has damage that a restart of the node removes."""
    keys_ahead: int = 0
    """Number of keys whose versions are ahead of all clocks, because they were written while clocks were wrong."""

    @property
    def in_sync(self) -> bool:
        """True if no data is known that this node or another one lacks."""
        return not (self.hints or self.comparisons or self.quarantined)


class RecordVersion(NamedTuple):
    """The version of a member's record, ordered by process, then by record of that process."""

    generation: int
    version: int


MIN_WEIGHT, MAX_WEIGHT = 0.01, 100.0
"""Bounds of weights: with less, a node would get no tokens; with more, rings would take minutes to compute."""

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
    """host:port at which others reach it."""
    status: Status
    zone: str = ""
    weight: float = 1.0
    """From MIN_WEIGHT to MAX_WEIGHT."""
    epoch: int = 0
    """Number of the newest epoch record the member has adopted (persisted); 0 for none."""
    protocol: int = 1
    load: LoadReport = field(default_factory=LoadReport)
    handoff: HandoffProgress | None = None
    condition: Condition = field(default_factory=Condition)
    process: int = 0
    """64 random bits drawn at the start of the process; they distinguish processes on two copies of one disk."""
    mark: int = 0
    """The extent of the data that is certainly on the member's disk (see ``extent``); 0 if not reported."""

    @property
    def record_version(self) -> RecordVersion:
        return RecordVersion(self.generation, self.version)

    def outranks(self, other: MemberRecord) -> bool:
        """Return True if, of two processes with one identity, that of this record may stay; every node decides alike.

        Two processes have the same ``process`` only if their machine was copied while it ran.
        """
        mine = (self.generation, self.process, self.address)
        return mine > (other.generation, other.process, other.address)


def newer_record(one: MemberRecord, other: MemberRecord) -> MemberRecord:
    """Merge two records of one member. Equal versions mean equal records: only the member writes them."""
    return other if other.record_version > one.record_version else one


class DigestEntry(NamedTuple):
    """The version of a member's record that one side of an exchange has."""

    identity: Identity
    record_version: RecordVersion


class Suspicion(NamedTuple):
    """A suspicion of ``accused``, which a record newer than ``record_version`` refutes.

    ``record_version`` is an upper bound, estimated by the accuser, of the versions that the accused wrote before the
    suspicion; it need not be the version of any record. So an older record that reaches a member late does not refute
    the suspicion. The accused, when it learns of the suspicion, writes a record with a version above the bound.
    """

    accused: Identity
    record_version: RecordVersion
    accuser: Identity


RELATIVE_STEP = 0.2
"""Threshold for values that fluctuate, relative to the larger value."""
HOLDINGS_STEP = 0.01
"""Threshold for keys and bytes, which people read, relative to the larger value."""

MIN_STEP = LoadReport(in_flight=8, queue_depth=4, service_time_ms=1.0, cpu=0.1, keys=1, bytes=1)
"""Smaller differences are never sent, even if they are large relative to a small value."""


def differs_notably(sent: LoadReport, measured: LoadReport) -> bool:
    """Return True if any value of the load has changed by its threshold since it was sent."""
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
