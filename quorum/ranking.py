"""Ranks nodes by how soon they are expected to answer: a coordinator ranks replicas, a client coordinators. Pure.

Both follow C3 (Suresh et al., "C3: Cutting Tail Latency in Cloud Data Stores via Adaptive Replica Selection", NSDI'15):
a node's score is its service time multiplied by the cube of its queue length, plus the part of its response time that
is not service time. A queue is measured in messages of typical size. Times are monotonic; callers pass them in.

A coordinator counts as a replica's queue its own outstanding operations there plus the queue that the replica reported
in its last reply. The longer ago that reply was, the more weight the replica's gossiped load gets instead.

A client counts only the operations that *other* clients have outstanding at a node, because its own operations are what
it has to place. It ignores measurements older than ``KEPT_FOR_S``, so that a slow node gets another chance. A node that
is unknown, or that has returned, gets ``FIRST_FILL`` operations at a time; the number doubles with each completed one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..identity import Identity
from .counter import Requirements
from .node_backoff import NodeBackoff

EWMA_WEIGHT = 0.2
MEMORY_S = 3.0
"""Age at which the weight of a replica's last reply has fallen to 1/e."""
QUANTILE = 0.95
QUANTILE_STEP = 0.1
"""Largest relative change of the estimated quantile by one reply."""
MIN_PATIENCE_S, MAX_PATIENCE_S = 0.002, 0.1
"""Bounds of the time after which a read is also sent to further replicas."""
MAX_QUANTILE_RATIO = 3.0
"""A replica's quantile is capped at this multiple of the best one, so that a replica that hangs is not waited for."""
MESSAGE_OPERATIONS = 64
"""Operations in a message of typical size between nodes."""
MIN_SERVICE_MS = 0.001
SLOW_START_S = 5.0
"""Time for which a replica that returned is ranked lower."""
SLOW_START_FACTOR = 10.0
MIN_BACKOFF_S, MAX_BACKOFF_S = 0.05, 0.5
"""Backoff of a replica that could not be reached."""


def c3_score(service: float, queue: float, beyond: float = 0.0) -> float:
    """Return the score: ``beyond``, the time spent elsewhere, plus service time weighted by the queue cubed."""
    return beyond + queue**3 * service


class Load(Protocol):
    """A node's load, as measured by the node itself."""

    @property
    def in_flight(self) -> int: ...

    @property
    def queue_depth(self) -> int: ...

    @property
    def service_time_ms(self) -> float: ...


def expected_wait_ms(load: Load | None) -> float:
    """Estimate the time to an answer from gossiped load: waiting operations multiplied by the service time."""
    if load is None:
        return 1.0
    return (1 + load.queue_depth + load.in_flight / 8) * max(load.service_time_ms, 0.05)


# --- replicas, ranked by a coordinator ---


@dataclass(slots=True)
class _Replica:
    response_ms: float = 0.0
    quantile_ms: float = 0.0
    service_ms: float = 0.0
    queue_depth: int = 0
    outstanding: int = 0
    """Number of operations that this node has sent there and that are not answered."""
    replied_s: float = -math.inf
    returned_s: float = -math.inf


class ReplicaRanking:
    """A coordinator's ranking of the other nodes."""

    def __init__(self) -> None:
        self._replicas: defaultdict[Identity, _Replica] = defaultdict(_Replica)
        self._backoff: NodeBackoff[Identity] = NodeBackoff(MIN_BACKOFF_S, MAX_BACKOFF_S)

    def sent(self, replica: Identity, operations: int) -> None:
        self._replicas[replica].outstanding += operations

    def replied(
        self,
        replica: Identity,
        operations: int,
        took_s: float,
        queue_depth: int,
        service_time_ms: float,
        now_s: float,
    ) -> None:
        """Record the reply to a batch."""
        known, took_ms = self._replicas[replica], took_s * 1000
        known.outstanding -= operations
        self._backoff.succeeded(replica)
        first = known.replied_s == -math.inf
        weight = 1.0 if first else EWMA_WEIGHT
        known.response_ms += weight * (took_ms - known.response_ms)
        known.service_ms += weight * (service_time_ms - known.service_ms)
        known.queue_depth = queue_depth
        known.replied_s = now_s
        if first:
            known.quantile_ms = 2 * took_ms
        elif took_ms > known.quantile_ms:
            known.quantile_ms *= 1 + QUANTILE_STEP * QUANTILE
        else:
            known.quantile_ms *= 1 - QUANTILE_STEP * (1 - QUANTILE)

    def failed(self, replica: Identity, operations: int) -> None:
        """Record a batch that was not answered; it does not count as a measurement of response time."""
        self._replicas[replica].outstanding -= operations

    def unreachable(self, replica: Identity, operations: int, now_s: float) -> None:
        """Record a batch that certainly did not arrive, and back off; gossip detects a dead member only later."""
        self._replicas[replica].outstanding -= operations
        self._backoff.failed(replica, now_s)

    def is_backed_off(self, replica: Identity, now_s: float) -> bool:
        """Return True if the replica could not be reached recently, so that a request to it would probably fail."""
        return self._backoff.is_backed_off(replica, now_s)

    def expected_ms(self, replica: Identity, load: Load | None, now_s: float) -> float:
        """Return the replica's score in milliseconds; infinite during its backoff."""
        gossiped_ms = expected_wait_ms(load)
        known = self._replicas.get(replica)
        if known is None:
            return gossiped_ms
        if self._backoff.is_backed_off(replica, now_s):
            return math.inf
        service_ms = max(known.service_ms, MIN_SERVICE_MS) * MESSAGE_OPERATIONS
        queue = 1 + (known.outstanding + known.queue_depth) / MESSAGE_OPERATIONS
        measured_ms = c3_score(service_ms, queue, max(0.0, known.response_ms - service_ms))
        trust = math.exp((known.replied_s - now_s) / MEMORY_S)
        start = max(0.0, 1 - (now_s - known.returned_s) / SLOW_START_S)
        return (trust * measured_ms + (1 - trust) * gossiped_ms) * (1 + SLOW_START_FACTOR * start)

    def returned(self, replica: Identity, now_s: float) -> None:
        """Drop the measurements from before the replica was away: its caches are cold, and it has to catch up."""
        outstanding = self._replicas[replica].outstanding
        self._replicas[replica] = _Replica(outstanding=outstanding, returned_s=now_s)
        self._backoff.succeeded(replica)

    def patience_s(self, replicas: Iterable[Identity]) -> float:
        """Return how long to wait for ``replicas`` before a read is sent to further replicas."""
        quantiles = [known.quantile_ms for known in self._replicas.values() if known.quantile_ms > 0]
        max_ms = MAX_QUANTILE_RATIO * min(quantiles, default=math.inf)
        asked_ms = [min(self._replicas[replica].quantile_ms or max_ms, max_ms) for replica in replicas]
        patience_s = max(asked_ms, default=math.inf) / 1000
        return min(MAX_PATIENCE_S, max(MIN_PATIENCE_S, patience_s))


def smallest_quorum(requirements: Requirements, ranked: Sequence[Identity]) -> list[Identity]:
    """Return the best of ``ranked`` that satisfy every requirement, chosen greedily; all that help if too few do."""
    missing = [part.needed for part in requirements]
    chosen = []
    for replica in ranked:
        helps = [i for i, part in enumerate(requirements) if missing[i] > 0 and replica in part.replicas]
        if helps:
            chosen.append(replica)
            for i in helps:
                missing[i] -= 1
    return chosen


class HedgeBudget:
    """A token bucket for hedged reads, which are sent to more replicas than needed.

    ``part`` is the share of all reads that may be hedged, ``burst`` the capacity.
    """

    def __init__(self, part: float = 0.05, burst: int = 100) -> None:
        self._part = part
        self._burst = burst
        self._left = float(burst)

    def earn(self, reads: int) -> None:
        """Add the tokens for this number of new reads."""
        self._left = min(self._burst, self._left + reads * self._part)

    def spend(self, wanted: int) -> int:
        """Return how many of the ``wanted`` reads of one batch may be hedged now: all (at most a burst), or 0.

        To hedge only some would cost nearly as much, since it takes a message too, and the others would still wait.
        """
        granted = min(wanted, self._burst)
        if granted > self._left:
            return 0
        self._left -= granted
        return granted


# --- coordinators, ranked by a client ---

FILL = 128
"""Number of operations of one client up to which a single node is most efficient; more are spread over several."""
FIRST_FILL = 4
KEPT_FOR_S = 10.0
CLIENT_EWMA_WEIGHT = 0.25
FAST_S = 0.005
"""Service times below this count as equal; also the assumed service time of an unknown node."""


class NodeScore:
    """What a client knows of one node: its service time, the load from other clients, and how much to send it."""

    __slots__ = ("_others", "_replied_s", "_service_s", "fill", "served_s", "tie_break")

    def __init__(self, tie_break: float) -> None:
        self.tie_break = tie_break
        """A random number that orders nodes with equal scores, so that clients choose different nodes."""
        self.fill = FIRST_FILL
        """Number of operations to send it at a time."""
        self.served_s = -math.inf
        """When it last completed an operation."""
        self._replied_s = -math.inf
        self._service_s = 0.0
        self._others = 0.0

    def replied(self, now_s: float, round_trip_s: float, operations: int, others: int) -> None:
        """Record the first answer to a batch; ``others`` is what other clients have outstanding there."""
        service_s = round_trip_s / (1 + operations / FILL)
        if now_s - self._replied_s > KEPT_FOR_S:
            self._service_s, self._others = service_s, others
        else:
            self._service_s += CLIENT_EWMA_WEIGHT * (service_s - self._service_s)
            self._others += CLIENT_EWMA_WEIGHT * (others - self._others)
        self._replied_s = now_s

    def served(self, now_s: float) -> None:
        """Record a completed operation."""
        self.served_s = now_s
        self.fill = min(FILL, self.fill * 2)

    def failed(self) -> None:
        self.fill = FIRST_FILL

    def score(self, now_s: float, silent_s: float) -> float | None:
        """Return the score, lower for better nodes; None if there is no recent measurement.

        ``silent_s`` is how long the node's oldest unanswered batch has been waiting.
        """
        if now_s - self._replied_s > KEPT_FOR_S:
            self.fill = FIRST_FILL
            return silent_s if silent_s > FAST_S else None
        return c3_score(max(self._service_s, silent_s, FAST_S), 1 + self._others / FILL)
