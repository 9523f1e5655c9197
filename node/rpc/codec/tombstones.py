"""Encoding of the data lane's bodies by which tombstones are collected: by column, as batches are."""

from __future__ import annotations

from collections.abc import Sequence

from ....proto.generated import peer_pb2
from ...messages.tombstones import Confirm, ConfirmReply, Purge, PurgeReply, Tombstone
from .body import AnyBodyCodec, BodyCodec
from .values import bounded, decode_stamp, decode_versions, encode_stamp, encode_versions, expect


def encode_confirm(confirm: Confirm) -> peer_pb2.Confirm:
    return peer_pb2.Confirm(
        epoch=encode_stamp(confirm.epoch),
        keys=[key for key, _ in confirm.tombstones],
        versions=encode_versions([version for _, version in confirm.tombstones]),
    )


def decode_confirm(message: peer_pb2.Confirm) -> Confirm:
    return Confirm(decode_stamp(message.epoch), _tombstones(message.keys, message.versions))


def encode_purge(purge: Purge) -> peer_pb2.Purge:
    return peer_pb2.Purge(
        epoch=encode_stamp(purge.epoch),
        confirmed_epoch=purge.confirmed_epoch,
        keys=[key for key, _ in purge.tombstones],
        versions=encode_versions([version for _, version in purge.tombstones]),
    )


def decode_purge(message: peer_pb2.Purge) -> Purge:
    return Purge(
        decode_stamp(message.epoch),
        message.confirmed_epoch,
        _tombstones(message.keys, message.versions),
    )


def _tombstones(keys: Sequence[bytes], packed: peer_pb2.Versions) -> tuple[Tombstone, ...]:
    versions = decode_versions(packed)
    bounded(keys)
    expect(len(keys) == len(versions), "tombstones with more or fewer versions than keys")
    return tuple(zip(keys, versions, strict=True))


REQUESTS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(Confirm, "confirm", encode_confirm, decode_confirm),
    BodyCodec(Purge, "purge", encode_purge, decode_purge),
)

REPLIES: tuple[AnyBodyCodec, ...] = (
    BodyCodec(
        ConfirmReply,
        "confirm",
        lambda body: peer_pb2.ConfirmReply(epoch=encode_stamp(body.epoch), confirmed=body.confirmed),
        lambda message: ConfirmReply(decode_stamp(message.epoch), tuple(bounded(message.confirmed))),
    ),
    BodyCodec(
        PurgeReply,
        "purge",
        lambda body: peer_pb2.PurgeReply(epoch=encode_stamp(body.epoch), purged=body.purged),
        lambda message: PurgeReply(decode_stamp(message.epoch), message.purged),
    ),
)
