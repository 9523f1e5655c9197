"""Operations on their way out, and what came back for them, between Python values and messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from ..proto.generated import kv_pb2, types_pb2
from .errors import CoveyError, InternalError, InvalidRequest
from .version import Version

Key = str | bytes
Level = Literal["one", "quorum", "all"]

MAX_MESSAGE_BYTES = 64 << 20
_MAX_OPERATION_BYTES = MAX_MESSAGE_BYTES - (64 << 10)
"""Leaves room for what a batch adds around an operation."""

_LEVELS = {
    "one": kv_pb2.LEVEL_ONE,
    "quorum": kv_pb2.LEVEL_QUORUM,
    "all": kv_pb2.LEVEL_ALL,
}

Consistency = kv_pb2.Consistency
_Request = kv_pb2.GetRequest | kv_pb2.PutRequest | kv_pb2.DeleteRequest


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One get, put or delete. It may be sent several times, to several nodes."""

    key: bytes
    writes: bool
    size_bytes: int
    message: kv_pb2.Operation
    request: _Request
    """The part of ``message`` that is set."""

    def stamp(self, *, seen_timestamp: int, timeout_s: float) -> kv_pb2.Operation:
        """The message to send now, with what is known only now."""
        self.request.seen_timestamp = seen_timestamp
        self.request.timeout = timeout_s
        return self.message


def encoded(text: Key, what: str) -> bytes:
    """The bytes of a key or value: str is UTF-8."""
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"the {what} {text!r} cannot be written as UTF-8") from error
    if isinstance(text, bytes):
        return text
    raise TypeError(f"a {what} is str or bytes, not {type(text).__name__}")


def refuse_twins(keys: Iterable[Key]) -> None:
    """``"a"`` and ``b"a"`` are one key: two values for it in one call have no order."""
    given = set(keys)
    for key in keys:
        if isinstance(key, str) and encoded(key, "key") in given:
            raise InvalidRequest(f"{key!r} is given both as str and as bytes")


def get_operation(key: Key, consistency: Consistency | None) -> Operation:
    key_bytes = encoded(key, "key")
    request = kv_pb2.GetRequest(key=key_bytes, consistency=consistency)
    message = kv_pb2.Operation(get=request)
    return Operation(key_bytes, False, _checked_size(key_bytes), message, message.get)


def put_operation(key: Key, value: Key, consistency: Consistency | None) -> Operation:
    key_bytes, value_bytes = encoded(key, "key"), encoded(value, "value")
    size_bytes = _checked_size(key_bytes, value_bytes)
    request = kv_pb2.PutRequest(key=key_bytes, value=value_bytes, consistency=consistency)
    message = kv_pb2.Operation(put=request)
    return Operation(key_bytes, True, size_bytes, message, message.put)


def delete_operation(key: Key, consistency: Consistency | None) -> Operation:
    key_bytes = encoded(key, "key")
    request = kv_pb2.DeleteRequest(key=key_bytes, consistency=consistency)
    message = kv_pb2.Operation(delete=request)
    return Operation(key_bytes, True, _checked_size(key_bytes), message, message.delete)


def _checked_size(*parts: bytes) -> int:
    size_bytes = sum(len(part) for part in parts)
    if size_bytes > _MAX_OPERATION_BYTES:
        raise InvalidRequest(
            f"key and value have {size_bytes} bytes; at most {_MAX_OPERATION_BYTES} can be sent"
        )
    return size_bytes


def consistency_of(level: Level | None, replicas: int | None, name: str) -> Consistency | None:
    """What a caller asks for by ``consistency`` or by ``r`` or ``w``; None for the default."""
    if level is None and replicas is None:
        return None
    if level is not None and replicas is not None:
        raise InvalidRequest(f"give either consistency or {name}, not both")
    if replicas is not None:
        if replicas < 1:
            raise InvalidRequest(f"{name} is a number of replicas, at least 1, not {replicas}")
        return Consistency(replicas=replicas)
    if level not in _LEVELS:
        raise InvalidRequest(f"consistency is one of {', '.join(get_args(Level))}, not {level!r}")
    return Consistency(level=_LEVELS[level])


def version_from(message: types_pb2.Version, *, superseded: bool = False) -> Version:
    return Version(message.timestamp, message.disk_id, message.generation, superseded)


def value_of(result: kv_pb2.OperationResult) -> bytes | None:
    """What a get found."""
    if result.WhichOneof("result") != "get":
        raise _mismatched(result, "get", maybe_applied=False)
    return result.get.value if result.get.found else None


def version_of(result: kv_pb2.OperationResult) -> Version:
    """The version that a put or delete was acknowledged under."""
    match result.WhichOneof("result"):
        case "put":
            return version_from(result.put.version, superseded=result.put.superseded)
        case "delete":
            return version_from(result.delete.version, superseded=result.delete.superseded)
        case _:
            raise _mismatched(result, "put or delete", maybe_applied=True)


def seen_in(result: kv_pb2.OperationResult) -> int:
    """The version timestamp in an answer; 0 when it has none."""
    match result.WhichOneof("result"):
        case "get":
            return result.get.version.timestamp
        case "put":
            return result.put.version.timestamp
        case "delete":
            return result.delete.version.timestamp
        case _:
            return 0


def _mismatched(result: kv_pb2.OperationResult, expected: str, *, maybe_applied: bool) -> CoveyError:
    got = result.WhichOneof("result") or "nothing"
    return InternalError(f"the node answered a {expected} with {got}", maybe_applied=maybe_applied)
