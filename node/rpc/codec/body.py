"""How one kind of message body is encoded: an entry of the tables in ``codec_control`` and ``codec_data``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from ....proto.generated import peer_pb2
from ...messages.envelope import EpochMismatch, Refusal, RefusalCode
from .values import (
    EnumTable,
    decode_optional,
    decode_record,
    decode_stamp,
    encode_optional,
    encode_record,
    encode_stamp,
)

B = TypeVar("B")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class BodyCodec(Generic[B, M]):
    """``field`` is the body's place in the ``oneof body`` of its lane's message."""

    body: type[B]
    field: str
    encode: Callable[[B], M]
    decode: Callable[[M], B]


AnyBodyCodec = BodyCodec[Any, Any]

REFUSAL_CODES = EnumTable(RefusalCode, peer_pb2.RefusalCode, "REFUSAL_CODE_")


def encode_epoch_mismatch(mismatch: EpochMismatch) -> peer_pb2.EpochMismatch:
    return peer_pb2.EpochMismatch(
        epoch=encode_optional(encode_stamp, mismatch.epoch),
        record=encode_optional(encode_record, mismatch.record),
    )


def decode_epoch_mismatch(message: peer_pb2.EpochMismatch) -> EpochMismatch:
    return EpochMismatch(
        epoch=decode_optional(decode_stamp, message, "epoch"),
        record=decode_optional(decode_record, message, "record"),
    )


def encode_refusal(refusal: Refusal) -> peer_pb2.Refusal:
    return peer_pb2.Refusal(code=REFUSAL_CODES.encode(refusal.code), reason=refusal.reason)


def decode_refusal(message: peer_pb2.Refusal) -> Refusal:
    return Refusal(REFUSAL_CODES.decode(message.code), message.reason)


REFUSALS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(EpochMismatch, "epoch_mismatch", encode_epoch_mismatch, decode_epoch_mismatch),
    BodyCodec(Refusal, "refusal", encode_refusal, decode_refusal),
)
"""Replies that either lane can carry."""
