"""Which replicas to ask first, and how long to wait before another one is asked too. Pure: told the time in seconds.

The score of a replica is C3's (Suresh et al., "C3: Cutting Tail Latency in Cloud Data Stores via Adaptive Replica
Selection", NSDI'15): its queue cubed times its service time, plus what it lately took beyond that. The queue is what
this node has under way there and what the replica said of itself in its last reply. A replica that has long not replied
is judged more and more by the load that it gossips.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..identity import Identity
from ..membership.record import LoadReport
from .tally import Requirement

EWMA_WEIGHT = 0.2
MEMORY_S = 3.0
"""What is known from replies fades to a third in this time."""
QUANTILE = 0.95
QUANTILE_STEP = 0.1
"""The largest part by which one reply moves the estimate of the quantile."""
SHORTEST_PATIENCE_S, LONGEST_PATIENCE_S = 0.002, 0.1
"""How long those that were asked may take before the others are asked too."""
ODD_ONE_OUT = 3.0
"""A replica's own quantile counts up to this many times that of the best: one that hangs is not waited for as usual."""
MESSAGE = 64
"""Operations by which queues are measured: about what travels together."""
SMALLEST_SERVICE_MS = 0.001
SLOW_START_S = 5.0
"""How long a replica that is back is asked less than it could be."""
SLOW_START_FACTOR = 10.0
SHORTEST_SHUNNING_S, LONGEST_SHUNNING_S = 0.05, 0.5
"""How long a replica that could not be reached is asked nothing that others can answer; doubles each time."""


@dataclass(slots=True)
class _Known:
    """Of one replica, from its replies."""

    response_ms: float = 0.0
    quantile_ms: float = 0.0
    service_ms: float = 0.0
    queue_depth: int = 0
    under_way: int = 0
    """Operations that this node has sent and that are not answered."""
    replied_s: float = -math.inf
    back_s: float = -math.inf
    unreachable_times: int = 0
    """In a row."""
    shunned_until_s: float = -math.inf


class ReplicaRanking:
    """What a coordinator knows of how quickly other nodes answer."""

    def __init__(self) -> None:
        self._known: dict[Identity, _Known] = {}

    def sent(self, replica: Identity, operations: int) -> None:
        self._of(replica).under_way += operations

    def replied(
        self,
        replica: Identity,
        operations: int,
        took_s: float,
        queue_depth: int,
        service_time_ms: float,
        now_s: float,
    ) -> None:
        """A batch was answered."""
        known, took_ms = self._of(replica), took_s * 1000
        known.under_way -= operations
        known.unreachable_times, known.shunned_until_s = 0, -math.inf
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
        """A batch was not answered; that says nothing of how long an answer takes."""
        self._of(replica).under_way -= operations

    def unreachable(self, replica: Identity, operations: int, now_s: float) -> None:
        """A batch certainly did not get there. Whether the member is down is for gossip to say, which takes longer."""
        known = self._of(replica)
        known.under_way -= operations
        shunned_s = SHORTEST_SHUNNING_S * 2.0 ** min(known.unreachable_times, 10)
        known.unreachable_times += 1
        known.shunned_until_s = now_s + min(LONGEST_SHUNNING_S, shunned_s)

    def shuns(self, replica: Identity, now_s: float) -> bool:
        """Whether it could not be reached just now, so that asking it would most likely be in vain."""
        known = self._known.get(replica)
        return known is not None and now_s < known.shunned_until_s

    def expected_ms(self, replica: Identity, load: LoadReport | None, now_s: float) -> float:
        """The replica's score: about how long an answer takes, with a long queue counted for more."""
        gossiped_ms = expected_wait_ms(load)
        known = self._known.get(replica)
        if known is None:
            return gossiped_ms
        if now_s < known.shunned_until_s:
            return math.inf
        service_ms = max(known.service_ms, SMALLEST_SERVICE_MS) * MESSAGE
        queue = 1 + (known.under_way + known.queue_depth) / MESSAGE
        told_ms = max(0.0, known.response_ms - service_ms) + queue**3 * service_ms
        trust = math.exp((known.replied_s - now_s) / MEMORY_S)
        start = max(0.0, 1 - (now_s - known.back_s) / SLOW_START_S)
        return (trust * told_ms + (1 - trust) * gossiped_ms) * (1 + SLOW_START_FACTOR * start)

    def returned(self, replica: Identity, now_s: float) -> None:
        """It was away: what was known says little of now, when caches are cold and there is much to catch up."""
        under_way = self._known[replica].under_way if replica in self._known else 0
        self._known[replica] = _Known(under_way=under_way, back_s=now_s)

    def patience_s(self, replicas: Iterable[Identity]) -> float:
        """How long those that were asked may take before others are asked too."""
        quantiles = [known.quantile_ms for known in self._known.values() if known.quantile_ms > 0]
        most_ms = ODD_ONE_OUT * min(quantiles, default=math.inf)
        asked_ms = [min(self._of(replica).quantile_ms or most_ms, most_ms) for replica in replicas]
        patience_s = max(asked_ms, default=math.inf) / 1000
        return min(LONGEST_PATIENCE_S, max(SHORTEST_PATIENCE_S, patience_s))

    def _of(self, replica: Identity) -> _Known:
        known = self._known.get(replica)
        if known is None:
            known = self._known[replica] = _Known()
        return known


def expected_wait_ms(load: LoadReport | None) -> float:
    """A rough time to an answer from gossiped load: work waiting ahead, at the usual time a piece."""
    if load is None:
        return 1.0
    return (1 + load.queue_depth + load.in_flight / 8) * max(load.service_time_ms, 0.05)


def fewest_for(requirements: Sequence[Requirement], ranked: Sequence[Identity]) -> list[Identity]:
    """The shortest prefix-greedy choice of ``ranked`` that can satisfy every requirement (or all that help)."""
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
    """How many reads may be asked of more replicas than they need: a part of all reads, and a few at once."""

    def __init__(self, part: float = 0.05, at_once: int = 100) -> None:
        self._part = part
        self._at_once = at_once
        self._left = float(at_once)

    def reads(self, count: int) -> None:
        """So many more were begun."""
        self._left = min(self._at_once, self._left + count * self._part)

    def spend(self, wanted: int) -> int:
        """How many of ``wanted`` reads, which travel together, may be hedged now: all, or none to save for later.

        A message for a few of them costs nearly as much, and the others would go on waiting.
        """
        granted = min(wanted, self._at_once)
        if granted > self._left:
            return 0
        self._left -= granted
        return granted
