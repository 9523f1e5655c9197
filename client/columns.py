"""Conversion between operations and the columns of messages, for batches and their replies.

This is a hot path: it makes no message and no object per operation, except the results that callers receive.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..api.failure import decode_failure
from ..api.operations import ABSENT, FAILED, FOUND, GET, PUT, SUPERSEDED, WRITTEN, Consistency
from ..proto.generated import kv_pb2
from .batching import InFlightBatch, Pending
from .errors import InternalError
from .failures import error_from_failure
from .node_clock import Stamp
from .version import Version

Request = kv_pb2.OperateRequest
Reply = kv_pb2.OperateReply

_ANSWER_MARGIN = 0.05
_MAX_ANSWER_MARGIN_S = 0.1
"""The node gets slightly less time than the caller has, so that the node's error, which is more exact, arrives."""

_DEFAULT = Consistency()
UNSTAMPED = Stamp()


def request_of(
    batch: InFlightBatch, seen_timestamp: int, now: float, stamp: Stamp = UNSTAMPED, lost_timestamp: int = 0
) -> Request:
    """Return the message for a batch that is sent at ``now``."""
    pendings = batch.pending
    operations = [pending.operation for pending in pendings]
    return Request(
        id=batch.number,
        kinds=bytes([operation.kind for operation in operations]),
        keys=[operation.key for operation in operations],
        values=[operation.value for operation in operations if operation.kind == PUT],
        timeouts_ms=_timeouts_ms(pendings, now),
        consistencies=_consistencies([operation.consistency for operation in operations]),
        seen_timestamp=seen_timestamp,
        cluster_id=stamp.cluster_id,
        sent_ms=stamp.sent_ms,
        begin_within_ms=stamp.within_ms,
        lost_timestamp=lost_timestamp,
    )


def _timeouts_ms(pendings: Sequence[Pending], now: float) -> list[int]:
    """Return the timeout of each operation, or a single one if their deadlines differ less than the margin."""
    deadlines = [pending.deadline for pending in pendings]
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


def deliver(reply: Reply, batch: InFlightBatch) -> int:
    """Complete the operations that the reply answers; return their number.

    Raise ValueError if the reply does not match the batch; operations that were completed before that are correct.
    """
    kinds = reply.kinds
    places: Sequence[int] = reply.places or range(len(batch.operations))
    if len(places) != len(kinds):
        raise ValueError(f"{len(places)} operations are answered with {len(kinds)} results")
    try:
        _deliver(reply, places, kinds, batch)
    except (IndexError, StopIteration) as error:
        raise ValueError("the places or columns of an answer do not fit") from error
    return len(kinds)


def is_served(reply: Reply) -> bool:
    """Return True if the node carried out any of the operations."""
    return reply.kinds.count(FAILED) < len(reply.kinds)


def _deliver(reply: Reply, places: Sequence[int], kinds: bytes, batch: InFlightBatch) -> None:
    operations = batch.operations
    values, timestamps, failures = iter(reply.values), iter(reply.timestamps), iter(reply.failures)
    disk_id, generation = reply.disk_id, reply.generation
    for place, kind in zip(places, kinds, strict=True):
        pending = operations[place]
        if pending is None:
            raise IndexError(place)
        result: bytes | Version | None = None
        error: Exception | None = None
        reads = pending.operation.kind == GET
        if kind == FOUND:
            result = next(values)
        elif kind in (WRITTEN, SUPERSEDED):
            result = Version(next(timestamps), disk_id, generation, superseded=kind == SUPERSEDED)
        elif kind == FAILED:
            error = error_from_failure(decode_failure(next(failures)))
        elif kind != ABSENT:
            raise IndexError(kind)
        if kind != FAILED and reads != (kind < WRITTEN):
            error = InternalError("the node's answer does not fit the operation", maybe_applied=not reads)
        operations[place] = None
        if error is not None:
            pending.fail(error)
        elif not pending.completion.done():
            pending.completion.set_result(result)
