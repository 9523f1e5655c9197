"""Clients' operations on single keys and their results, between messages and values: single and by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ....api.cluster_codec import VERSION
from ....api.failure import Failure
from ....api.operations import ABSENT, DELETE, FAILED, FOUND, GET, LEVELS, PUT, SUPERSEDED, WRITTEN
from ....proto.generated import kv_pb2
from ....quorum.consistency import QUORUM, Consistency, Level
from ....quorum.version import Version
from ...errors import InvalidRequest
from ...named import as_named
from ...operations import (
    Delete,
    Get,
    GetResult,
    Operation,
    OperationResult,
    Put,
    TimeBounds,
    WriteResult,
    time_bounds,
)

_LEVELS: Final = {int(number): Level(name) for name, number in LEVELS.items()} | {
    int(kv_pb2.LEVEL_UNSPECIFIED): Level.QUORUM
}


def decode_consistency(message: kv_pb2.Consistency) -> Consistency:
    level = _LEVELS.get(message.level)
    if level is None:
        raise InvalidRequest(f"unknown consistency level {message.level}; it is one, quorum or all")
    return Consistency(level, message.replicas) if message.replicas or level is not Level.QUORUM else QUORUM


def decode_get(message: kv_pb2.GetRequest, timeout_s: float) -> Get:
    return Get(
        key=message.key,
        timeout_s=timeout_s,
        consistency=decode_consistency(message.consistency),
        seen_timestamp=message.seen_timestamp,
    )


def decode_put(message: kv_pb2.PutRequest, timeout_s: float) -> Put:
    consistency = decode_consistency(message.consistency)
    return Put(
        key=message.key,
        value=message.value,
        timeout_s=timeout_s,
        consistency=consistency,
        seen_timestamp=message.seen_timestamp,
    )


def decode_delete(message: kv_pb2.DeleteRequest, timeout_s: float) -> Delete:
    return Delete(
        key=message.key,
        timeout_s=timeout_s,
        consistency=decode_consistency(message.consistency),
        seen_timestamp=message.seen_timestamp,
    )


def encode_get_result(result: GetResult) -> kv_pb2.GetResponse:
    return kv_pb2.GetResponse(
        found=result.value is not None,
        value=result.value,
        version=None if result.version is None else VERSION.encode(result.version),
    )


def encode_put_result(result: WriteResult) -> kv_pb2.PutResponse:
    return kv_pb2.PutResponse(version=VERSION.encode(result.version), superseded=result.superseded)


def encode_delete_result(result: WriteResult) -> kv_pb2.DeleteResponse:
    return kv_pb2.DeleteResponse(version=VERSION.encode(result.version), superseded=result.superseded)


@dataclass(frozen=True, slots=True)
class OperationCodec:
    decode: Callable[[Any, float], Operation]
    encode_result: Callable[[Any], Any]


OPERATIONS: Final = {
    "get": OperationCodec(decode_get, encode_get_result),
    "put": OperationCodec(decode_put, encode_put_result),
    "delete": OperationCodec(decode_delete, encode_delete_result),
}
"""By their names in the oneofs of Operation and OperationResult."""


# --- by column: see proto/covey/v1/kv.proto -----------------------------------------------------------------

NO_VERSION: Final = Version(0, 0, 0)


def decode_operations(message: kv_pb2.OperateRequest, default_timeout_s: float) -> list[Operation]:
    """Decode the columns. Raise InvalidRequest for columns that do not fit each other."""
    kinds, keys = message.kinds, message.keys
    _expect(max(kinds, default=0) <= DELETE, "an operation that is neither get, put nor delete")
    _expect(len(keys) == len(kinds), "more or fewer keys than operations")
    _expect(len(message.values) == kinds.count(PUT), "more or fewer values than puts")
    timeouts = _spread(message.timeouts_ms, len(kinds), lambda ms: ms / 1000, default_timeout_s)
    consistencies = _spread(message.consistencies, len(kinds), decode_consistency, QUORUM)
    seen, next_value = message.seen_timestamp, iter(message.values).__next__
    operations: list[Operation] = []
    for kind, key, timeout_s, consistency in zip(kinds, keys, timeouts, consistencies, strict=True):
        if kind == GET:
            operations.append(as_named(Get, (key, timeout_s, consistency, seen)))
        elif kind == PUT:
            operations.append(as_named(Put, (key, next_value(), timeout_s, consistency, seen)))
        else:
            operations.append(
                Delete(key=key, timeout_s=timeout_s, consistency=consistency, seen_timestamp=seen)
            )
    return operations


def decode_bounds(message: kv_pb2.OperateRequest, default_timeout_s: float) -> TimeBounds:
    """Return the instants by which the operations of a batch may begin."""
    timeouts_s = [ms / 1000 for ms in message.timeouts_ms] or [default_timeout_s]
    bounds = time_bounds(message.sent_ms, message.begin_within_ms, timeouts_s)
    return bounds._replace(lost_timestamp=message.lost_timestamp) if message.lost_timestamp else bounds


def _spread(given: Sequence[Any], count: int, decode: Callable[[Any], Any], default: Any) -> list[Any]:
    """Return an element for each operation: those given, the only one repeated, or the default."""
    if len(given) == count:
        return [decode(one) for one in given]
    _expect(len(given) <= 1, "more or fewer time limits or consistencies than operations")
    return [decode(given[0]) if given else default] * count


def _expect(fits: bool, what: str) -> None:
    if not fits:
        raise InvalidRequest(f"the batch makes no sense: {what}")


def encode_results(
    batch: int,
    places: Sequence[int] | None,
    results: Sequence[OperationResult | Failure],
    in_flight: int,
    furthest_seen: int,
    clock_ms: int = 0,
    cluster_id: str = "",
) -> kv_pb2.OperateReply:
    """Return a reply to ``batch``; it has no ``places`` when it has the results of all operations.

    Versions beyond ``furthest_seen`` do not count as seen.
    """
    kinds, values, timestamps, failures = bytearray(), [], [], []
    seen, written = 0, NO_VERSION
    for result in results:
        if isinstance(result, GetResult):
            version = result.version
            if version is not None and version.timestamp > seen:
                seen = version.timestamp
            if result.value is None:
                kinds.append(ABSENT)
            else:
                kinds.append(FOUND)
                values.append(result.value)
        elif isinstance(result, Failure):
            kinds.append(FAILED)
            failures.append(result.encode())
        else:
            written = result.version
            kinds.append(SUPERSEDED if result.superseded else WRITTEN)
            timestamps.append(written.timestamp)
    seen = max(seen, max(timestamps, default=0))
    if seen > furthest_seen:
        seen = _highest_seen(results, furthest_seen)
    return kv_pb2.OperateReply(
        id=batch,
        places=places,
        kinds=bytes(kinds),
        values=values,
        timestamps=timestamps,
        disk_id=written.disk_id,
        generation=written.generation,
        failures=failures,
        seen_timestamp=seen,
        queue_depth=in_flight,
        clock_ms=clock_ms,
        cluster_id=cluster_id,
    )


def _highest_seen(results: Sequence[OperationResult | Failure], furthest: int) -> int:
    """Return the highest of the results' timestamps up to ``furthest``; 0 when there is none."""
    versions = [result.version for result in results if not isinstance(result, Failure)]
    timestamps = [version.timestamp for version in versions if version is not None]
    return max((timestamp for timestamp in timestamps if timestamp <= furthest), default=0)
