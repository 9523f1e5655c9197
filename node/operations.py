"""What a node does for clients and operators, as the rpc border sees it: plain values and two protocols.

The border translates messages to these values and back; the implementations of ``Operations`` and ``Administration``
are independent of gRPC. A refusal is an ``OperationError`` (``errors``); any other error is a defect.
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
    """The instants by which the operations of a request may begin: set by their client, in this node's time."""

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
    within_ms = within_ms or int(max(timeouts_s, default=0.0) * 1000)
    return TimeBounds(sent_ms, min(timeouts_s, default=0.0), latest_timestamp(sent_ms, within_ms))


class GetResult(NamedTuple):
    value: bytes | None
    version: Version | None
    """Of the value or of the tombstone; None when the key was never seen."""


class WriteResult(NamedTuple):
    version: Version
    superseded: bool = False
    """True if the key already had a newer version."""


OperationResult = GetResult | WriteResult

OnResults = Callable[[Sequence[int], Sequence[OperationResult | BaseException]], None]
"""Called with the results of some operations, and their places in the request."""


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
        """Begin the operations of a request, each independent of the others; ``bounds`` as of ``execute``.

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
        """Return the number of operations under way."""
        ...

    def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield live keys in token order, each once, beginning after ``after_key``.

        ``timeout_s`` bounds each internal step, not the listing. Raise OperationError.
        """
        ...


# --- administration -----------------------------------------------------------------------------------------


class Administration(Protocol):
    """Shows and changes the cluster; ``api.cluster`` has the answers."""

    def status(self) -> ClusterStatus: ...

    def ring(self) -> RingView | None:
        """Return the ring, None while the node belongs to no cluster."""
        ...

    async def explain(self, key: bytes) -> Explanation:
        """Ask every replica of the key, now. Raise OperationError."""
        ...

    async def leave(self, name: str, timeout_s: float) -> None:
        """Return when the node has handed everything off and left the ring. Raise OperationError."""
        ...

    async def remove(self, name: str, timeout_s: float) -> None:
        """Return when the ring no longer has the node, which must be down. Raise OperationError."""
        ...

    async def repair(self, timeout_s: float) -> RepairReport:
        """Have every owner that is up compare with all its peers; return within about ``timeout_s``.

        Raise OperationError when that cannot begin.
        """
        ...
