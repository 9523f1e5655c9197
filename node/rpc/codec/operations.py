"""Clients' operations on single keys and their results, between messages and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ....proto.generated import kv_pb2
from ....quorum.consistency import QUORUM, Consistency, Level
from ...errors import InvalidRequest
from ...operations import Delete, Get, GetResult, Operation, Put, WriteResult
from ..status import Outcome
from .values import encode_optional, encode_version

_LEVELS: Final[dict[int, Level]] = {
    kv_pb2.LEVEL_UNSPECIFIED: Level.QUORUM,
    kv_pb2.LEVEL_ONE: Level.ONE,
    kv_pb2.LEVEL_QUORUM: Level.QUORUM,
    kv_pb2.LEVEL_ALL: Level.ALL,
}


def decode_consistency(message: kv_pb2.Consistency) -> Consistency:
    level = _LEVELS.get(message.level)
    if level is None:
        raise InvalidRequest(f"unknown consistency level {message.level}; it is one, quorum or all")
    return Consistency(level, message.replicas) if message.replicas or level is not Level.QUORUM else QUORUM


def decode_get(message: kv_pb2.GetRequest, timeout_s: float) -> Get:
    return Get(message.key, timeout_s, decode_consistency(message.consistency), message.seen_timestamp)


def decode_put(message: kv_pb2.PutRequest, timeout_s: float) -> Put:
    consistency = decode_consistency(message.consistency)
    return Put(message.key, message.value, timeout_s, consistency, message.seen_timestamp)


def decode_delete(message: kv_pb2.DeleteRequest, timeout_s: float) -> Delete:
    return Delete(message.key, timeout_s, decode_consistency(message.consistency), message.seen_timestamp)


def encode_get_result(result: GetResult) -> kv_pb2.GetResponse:
    return kv_pb2.GetResponse(
        found=result.value is not None,
        value=result.value,
        version=encode_optional(encode_version, result.version),
    )


def encode_put_result(result: WriteResult) -> kv_pb2.PutResponse:
    return kv_pb2.PutResponse(version=encode_version(result.version), superseded=result.superseded)


def encode_delete_result(result: WriteResult) -> kv_pb2.DeleteResponse:
    return kv_pb2.DeleteResponse(version=encode_version(result.version), superseded=result.superseded)


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


def encode_failure(outcome: Outcome) -> kv_pb2.OperationFailure:
    return kv_pb2.OperationFailure(
        code=outcome.code,
        message=outcome.message,
        maybe_applied=outcome.maybe_applied,
        retry_after=outcome.retry_after_s,
    )
