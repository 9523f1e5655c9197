"""What a node does for clients and for people, as the rpc border sees it: plain values and two protocols.

The border translates messages to these values and back; who implements ``Operations`` and ``Administration``
knows nothing of gRPC. Whatever is refused is an ``OperationError`` (``errors``); anything else is a defect.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from ..identity import Identity
from ..membership.record import Condition, HandoffProgress, LoadReport
from ..ring.epoch import EpochRecord
from .quorum.version import COUNTER_BITS, Version


class Level(StrEnum):
    """How many replicas must answer, relative to the ring's settings."""

    ONE = "one"
    QUORUM = "quorum"
    ALL = "all"


class Consistency(NamedTuple):
    """How many replicas must answer: ``replicas`` of them when above 0, else as ``level`` says."""

    level: Level = Level.QUORUM
    replicas: int = 0
    """An explicit r for a read, w for a write."""


QUORUM = Consistency()


class Get(NamedTuple):
    key: bytes
    timeout_s: float
    consistency: Consistency = QUORUM
    seen_timestamp: int = 0
    """The highest version timestamp the caller has seen; keeps one client's order across coordinators."""


class Put(NamedTuple):
    key: bytes
    value: bytes
    timeout_s: float
    consistency: Consistency = QUORUM
    seen_timestamp: int = 0


class Delete(NamedTuple):
    key: bytes
    timeout_s: float
    consistency: Consistency = QUORUM
    seen_timestamp: int = 0


Operation = Get | Put | Delete


class TimeBounds(NamedTuple):
    """The instants by which operations that came together may begin: set by their client, in this node's time."""

    sent_ms: int = 0
    """When they were sent, by this node's clock as the client estimates it; 0: there are no bounds."""
    shortest_s: float = 0.0
    """The shortest of their timeouts."""
    latest_timestamp: int = 0
    """No write gets a version beyond it; 0: any."""
    lost_timestamp: int = 0
    """The latest version that an earlier write may get of which the client lost track; 0: there is none."""

    def passed(self, operation: Operation, now_ms: int) -> bool:
        """Return whether the client has stopped waiting for the operation."""
        return self.sent_ms > 0 and now_ms > self.sent_ms + operation.timeout_s * 1000

    def after(self, waited_s: float) -> TimeBounds:
        """Return the same bounds for operations whose timeouts are less by the time that they have waited here."""
        if not self.sent_ms:
            return self
        waited_ms = int(waited_s * 1000)
        return self._replace(
            sent_ms=self.sent_ms + waited_ms, shortest_s=max(0.0, self.shortest_s - waited_s)
        )


UNBOUNDED = TimeBounds()


def time_bounds(sent_ms: int, within_ms: int, timeouts_s: Sequence[float]) -> TimeBounds:
    """Return bounds for operations with these timeouts whose writes may begin ``within_ms`` (0: their timeouts)."""
    if not sent_ms:
        return UNBOUNDED
    latest_ms = sent_ms + (within_ms or int(max(timeouts_s, default=0.0) * 1000))
    return TimeBounds(sent_ms, min(timeouts_s, default=0.0), (latest_ms + 1 << COUNTER_BITS) - 1)


class GetResult(NamedTuple):
    value: bytes | None
    version: Version | None
    """Of the value or of the tombstone; None when the key was never seen."""


class WriteResult(NamedTuple):
    version: Version
    superseded: bool = False
    """A newer version already stood."""


OperationResult = GetResult | WriteResult

OnResults = Callable[[Sequence[int], Sequence[OperationResult | BaseException]], None]
"""Told what came of some operations, by their places among those that were begun together."""


class Operations(Protocol):
    """The coordinator: any node serves any key."""

    async def execute(self, operation: Operation, bounds: TimeBounds = UNBOUNDED) -> OperationResult:
        """GetResult for a Get, WriteResult for a Put or a Delete, within the operation's ``timeout_s``.

        Raises OperationError; Expired, which is certain, for what it meets outside of its ``bounds``.
        """
        ...

    def execute_all(
        self, operations: Sequence[Operation], on_results: OnResults, bounds: TimeBounds = UNBOUNDED
    ) -> None:
        """Begin operations that came together, each independent of the others; ``bounds`` as of ``execute``.

        ``on_results`` is called with each operation exactly once: its result, or its error.
        """
        ...

    def furthest_seen(self) -> int:
        """Return the last version timestamp that a client may count as seen.

        A client sends what it has seen along with all that it asks. A version from ahead of all clocks would order
        nothing by that, and other nodes would not follow it.
        """
        ...

    def in_flight(self) -> int:
        """Operations under way."""
        ...

    def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        """Live keys in token order, each once, from the one after ``after_key`` on.

        ``timeout_s`` bounds each internal step, not the listing. Raises OperationError.
        """
        ...


# --- administration -----------------------------------------------------------------------------------------


class NodeState(StrEnum):
    """A member as the asked node sees it: what it says of itself, unless it seems not to be there."""

    JOINING = "joining"
    SERVING = "serving"
    LEAVING = "leaving"
    SUSPECT = "suspect"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    identity: Identity
    address: str
    zone: str
    weight: float
    state: NodeState
    owner: bool
    generation: int
    heartbeat_age_s: float
    ownership: float
    """Share of all copies; sums to 1 over owners."""
    keys: int
    epoch: int
    """Number of the newest epoch record the node is known to have adopted."""
    load: LoadReport = field(default_factory=LoadReport)
    condition: Condition = field(default_factory=Condition)
    handoff: HandoffProgress | None = None


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The cluster in the view of the node ``answered_by``."""

    cluster_id: str
    epoch: int
    changing: bool
    synced: bool
    nodes: tuple[NodeStatus, ...]
    answered_by: str
    replication_factor: int
    write_quorum: int
    read_quorum: int
    notes: tuple[str, ...] = ()
    """Why the cluster is not synced, and anything else a person should know, one sentence each."""


@dataclass(frozen=True, slots=True)
class RingView:
    """The newest record a node has, and where each owner listens as far as it knows."""

    record: EpochRecord | None
    addresses: Mapping[Identity, str]


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What one replica holds of a key."""

    name: str
    state: NodeState
    answered: bool
    version: Version | None = None
    """None when the replica holds nothing, or did not answer."""
    tombstone: bool = False
    bytes: int = 0
    """Of the value."""


@dataclass(frozen=True, slots=True)
class Explanation:
    key: bytes
    token: int
    epoch: int
    replicas: tuple[ReplicaReport, ...]
    reachable: int
    read_quorum: int
    write_quorum: int


@dataclass(frozen=True, slots=True)
class NodeRepair:
    """What came of one node's comparing with all its peers."""

    name: str
    compared: int = 0
    """Segments, or parts of segments."""
    differing: int = 0
    received: int = 0
    """Keys that were newer at a peer and were brought."""
    sent: int = 0
    """Keys that were newer here and were sent."""
    bytes: int = 0
    unfinished: tuple[str, ...] = ()
    """Names of peers that it could not be made equal to."""
    failure: str = ""
    """Why nothing is known of it; empty when it answered."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    nodes: tuple[NodeRepair, ...]
    down: tuple[str, ...]
    """Names of owners that were not asked."""


class Administration(Protocol):
    """Looking at the cluster and changing it."""

    def status(self) -> ClusterStatus: ...

    def ring(self) -> RingView: ...

    async def explain(self, key: bytes) -> Explanation:
        """Asks every replica of the key, now. Raises OperationError."""
        ...

    async def leave(self, name: str, timeout_s: float) -> None:
        """Returns when the node has handed everything off and left the ring. Raises OperationError."""
        ...

    async def remove(self, name: str, timeout_s: float) -> None:
        """Returns when the ring no longer has the node, which must be down. Raises OperationError."""
        ...

    async def repair(self, timeout_s: float) -> RepairReport:
        """Has every owner that is up compare with all its peers; returns within about ``timeout_s``.

        Raises OperationError when that cannot begin.
        """
        ...
