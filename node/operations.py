"""The operations of clients and operators on a node, as ``node/rpc`` calls them: plain values and two protocols.

``node/rpc`` translates messages to these values and back, so the implementations of ``Operations`` and
``Administration`` do not depend on gRPC. A refusal is an ``OperationError`` (``errors``); any other error is a defect.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol

from ..api.cluster import ClusterStatus, Explanation, RepairReport, RingView
from ..api.operations import latest_timestamp
from ..quorum.consistency import QUORUM, Consistency
from ..quorum.version import Version


class Get(NamedTuple):
    key: bytes
    timeout_s: float
    consistency: Consistency = QUORUM
    seen_timestamp: int = 0
    """The highest version timestamp that the client has seen; it preserves the client's order across coordinators."""


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
    """Bounds, set by a client, on the times at which the operations of a request may begin; in this node's time."""

    sent_ms: int = 0
    """Time of sending, by this node's clock as the client estimates it; 0 if there are no bounds."""
    shortest_s: float = 0.0
    """The shortest of their timeouts."""
    latest_timestamp: int = 0
    """Upper bound of the versions of writes; 0 for no bound."""
    lost_timestamp: int = 0
    """Upper bound of the version of an earlier write whose outcome the client does not know; 0 if there is none."""

    def passed(self, operation: Operation, now_ms: int) -> bool:
        """Return whether the client has stopped waiting for the operation."""
        return self.sent_ms > 0 and now_ms > self.sent_ms + operation.timeout_s * 1000

    def after(self, waited_s: float) -> TimeBounds:
        """Return the same bounds, for operations whose timeouts are reduced by the time that they have waited here."""
        if not self.sent_ms:
            return self
        waited_ms = int(waited_s * 1000)
        return self._replace(
            sent_ms=self.sent_ms + waited_ms, shortest_s=max(0.0, self.shortest_s - waited_s)
        )


UNBOUNDED = TimeBounds()


def time_bounds(sent_ms: int, within_ms: int, timeouts_s: Sequence[float]) -> TimeBounds:
    """Return the bounds of operations with these timeouts.

    Writes may begin within ``within_ms`` of the time of sending; 0 stands for the longest timeout.
    """
    if not sent_ms:
        return UNBOUNDED
    within_ms = within_ms or int(max(timeouts_s, default=0.0) * 1000)
    return TimeBounds(sent_ms, min(timeouts_s, default=0.0), latest_timestamp(sent_ms, within_ms))


class GetResult(NamedTuple):
    value: bytes | None
    version: Version | None
    """Version of the value or of the tombstone; None if there is neither."""


class WriteResult(NamedTuple):
    version: Version
    superseded: bool = False
    """True if the key already had a newer version."""


OperationResult = GetResult | WriteResult

OnResults = Callable[[Sequence[int], Sequence[OperationResult | BaseException]], None]
"""Called with the positions of some operations in the request, and their results."""


class Operations(Protocol):
    """The coordinator: any node serves any key."""

    async def execute(self, operation: Operation, bounds: TimeBounds = UNBOUNDED) -> OperationResult:
        """Return a GetResult for a Get, a WriteResult for a Put or a Delete, within the operation's ``timeout_s``.

        Raise OperationError; Expired, which is certain, for an operation outside of its ``bounds``.
        """
        ...

    def execute_all(
        self, operations: Sequence[Operation], on_results: OnResults, bounds: TimeBounds = UNBOUNDED
    ) -> None:
        """Begin the operations of a request, each independent of the others. ``bounds`` are those of ``execute``.

        ``on_results`` is called with each operation exactly once, with its result or its error.
        """
        ...

    def furthest_seen(self) -> int:
        """Return the highest version timestamp that a client may count as seen.

        A client sends the highest timestamp that it has seen with each request. A version ahead of all clocks must not
        count as seen: other nodes would not follow it, so it would order nothing.
        """
        ...

    def in_flight(self) -> int:
        """Return the number of operations under way."""
        ...

    def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield live keys in token order, each once, beginning after ``after_key``.

        ``timeout_s`` bounds each internal step, not the whole listing. Raise OperationError.
        """
        ...


# --- administration -----------------------------------------------------------------------------------------


class Administration(Protocol):
    """Shows and changes the cluster. The results are defined in ``api.cluster``."""

    def status(self) -> ClusterStatus: ...

    def ring(self) -> RingView | None:
        """Return the ring; None while the node belongs to no cluster."""
        ...

    async def explain(self, key: bytes) -> Explanation:
        """Return what every replica of the key holds now. Raise OperationError."""
        ...

    async def leave(self, name: str, timeout_s: float) -> None:
        """Have the node leave the ring; return once it has handed off all its data. Raise OperationError."""
        ...

    async def remove(self, name: str, timeout_s: float) -> None:
        """Remove the node, which must be down; return once the ring no longer contains it. Raise OperationError."""
        ...

    async def repair(self, timeout_s: float) -> RepairReport:
        """Have every owner that is up compare its data with all its peers; return within about ``timeout_s``.

        Raise OperationError if that cannot begin.
        """
        ...
