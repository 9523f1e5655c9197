"""Batches between Python values and messages, which have them by column.

Made for many operations: no message and no object for each, but what the caller gets.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..proto.generated import kv_pb2
from .batching import Flight, Pending
from .errors import InternalError
from .node_clock import Stamp
from .requests import GET, PUT, Consistency
from .statuses import error_from_failure
from .version import Version

_ANSWER_MARGIN = 0.05
_MAX_ANSWER_MARGIN_S = 0.1
"""The node is given a little less time than the caller has, so that its own, better error arrives."""

_DEFAULT = Consistency()
UNSTAMPED = Stamp()
_ABSENT, _VALUE, _DONE, _SUPERSEDED, _FAILED = range(5)
"""Kinds of results, as ``OperateReply`` has them."""


def request_of(
    flight: Flight, seen_timestamp: int, now: float, stamp: Stamp = UNSTAMPED, lost_timestamp: int = 0
) -> kv_pb2.OperateRequest:
    """The message that carries a batch which leaves now."""
    batch = flight.left
    operations = [pending.operation for pending in batch]
    return kv_pb2.OperateRequest(
        id=flight.number,
        kinds=bytes([operation.kind for operation in operations]),
        keys=[operation.key for operation in operations],
        values=[operation.value for operation in operations if operation.kind == PUT],
        timeouts_ms=_timeouts_ms(batch, now),
        consistencies=_consistencies([operation.consistency for operation in operations]),
        seen_timestamp=seen_timestamp,
        cluster_id=stamp.cluster_id,
        sent_ms=stamp.sent_ms,
        begin_within_ms=stamp.within_ms,
        lost_timestamp=lost_timestamp,
    )


def _timeouts_ms(batch: Sequence[Pending], now: float) -> list[int]:
    """One number for all when their deadlines are so close together that the margin covers it."""
    deadlines = [pending.deadline for pending in batch]
    first, last = min(deadlines), max(deadlines)
    if last - first <= _margin_s(first - now):
        return [_for_the_node_ms(first - now)]
    return [_for_the_node_ms(deadline - now) for deadline in deadlines]


def _for_the_node_ms(remaining_s: float) -> int:
    return max(1, int(1000 * (remaining_s - _margin_s(remaining_s))))


def _margin_s(remaining_s: float) -> float:
    return min(remaining_s * _ANSWER_MARGIN, _MAX_ANSWER_MARGIN_S)


def _consistencies(wanted: Sequence[Consistency | None]) -> list[Consistency]:
    first = wanted[0]
    if any(consistency is not first for consistency in wanted):
        return [_DEFAULT if consistency is None else consistency for consistency in wanted]
    return [] if first is None else [first]


def deliver(reply: kv_pb2.OperateReply, flight: Flight) -> int:
    """Give those that the reply is for their answers; returns how many they are.

    Raises ValueError for a reply that does not fit the flight; what it gave before that is right.
    """
    kinds = reply.kinds
    places: Sequence[int] = reply.places or range(len(flight.batch))
    if len(places) != len(kinds):
        raise ValueError(f"{len(places)} operations are answered with {len(kinds)} results")
    try:
        _deliver(reply, places, kinds, flight)
    except (IndexError, StopIteration) as error:
        raise ValueError("the places or columns of an answer do not fit") from error
    return len(kinds)


def is_well(reply: kv_pb2.OperateReply) -> bool:
    """Whether the node did anything of what it was asked."""
    return reply.kinds.count(_FAILED) < len(reply.kinds)


def _deliver(reply: kv_pb2.OperateReply, places: Sequence[int], kinds: bytes, flight: Flight) -> None:
    batch = flight.batch
    values, timestamps, failures = iter(reply.values), iter(reply.timestamps), iter(reply.failures)
    disk_id, generation = reply.disk_id, reply.generation
    for place, kind in zip(places, kinds, strict=True):
        pending = batch[place]
        if pending is None:
            raise IndexError(place)
        result: bytes | Version | None = None
        error: Exception | None = None
        reads = pending.operation.kind == GET
        if kind == _VALUE:
            result = next(values)
        elif kind in (_DONE, _SUPERSEDED):
            result = Version(next(timestamps), disk_id, generation, kind == _SUPERSEDED)
        elif kind == _FAILED:
            error = error_from_failure(next(failures))
        elif kind != _ABSENT:
            raise IndexError(kind)
        if kind != _FAILED and reads != (kind < _DONE):
            error = InternalError("the node answered something else than was asked", maybe_applied=not reads)
        batch[place] = None
        if error is not None:
            pending.fail(error)
        elif not pending.answer.done():
            pending.answer.set_result(result)
