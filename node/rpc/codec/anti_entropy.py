"""The bodies of the data lane that make replicas equal: Merkle trees, and tombstones by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ....api.codec import Codec, bounded, expect
from ....proto.generated import peer_pb2
from ...messages.anti_entropy import TreeQuery, TreeReply
from ...messages.tombstones import Confirm, ConfirmReply, Purge, PurgeReply, Tombstone
from .values import PEER, STAMP, decode_versions, encode_versions

MAX_DIGESTS: Final = 100_000
"""Maximum number of pieces in one tree: segments are cut where ranges end, so there are more pieces than either."""


def _encode_tree(reply: TreeReply) -> peer_pb2.TreeReply:
    return peer_pb2.TreeReply(
        digests=[digest or 0 for digest in reply.digests],
        unknown=[place for place, digest in enumerate(reply.digests) if digest is None],
    )


def _decode_tree(message: peer_pb2.TreeReply) -> TreeReply:
    digests: list[int | None] = list(bounded(message.digests, MAX_DIGESTS))
    for place in bounded(message.unknown, MAX_DIGESTS):
        expect(place < len(digests), "an unknown digest beyond the last one")
        digests[place] = None
    return TreeReply(tuple(digests))


def _encode_confirm(confirm: Confirm) -> peer_pb2.Confirm:
    return peer_pb2.Confirm(
        epoch=STAMP.encode(confirm.epoch),
        keys=[key for key, _ in confirm.tombstones],
        versions=encode_versions([version for _, version in confirm.tombstones]),
    )


def _encode_purge(purge: Purge) -> peer_pb2.Purge:
    return peer_pb2.Purge(
        epoch=STAMP.encode(purge.epoch),
        confirmed_epoch=purge.confirmed_epoch,
        keys=[key for key, _ in purge.tombstones],
        versions=encode_versions([version for _, version in purge.tombstones]),
    )


def _decode_purge(message: peer_pb2.Purge) -> Purge:
    tombstones = _tombstones(message.keys, message.versions)
    return Purge(STAMP.decode(message.epoch), message.confirmed_epoch, tombstones)


def _tombstones(keys: Sequence[bytes], packed: peer_pb2.Versions) -> tuple[Tombstone, ...]:
    versions = decode_versions(packed)
    bounded(keys)
    expect(len(keys) == len(versions), "tombstones with more or fewer versions than keys")
    return tuple(zip(keys, versions, strict=True))


PEER.add(TreeReply, Codec(_encode_tree, _decode_tree))
PEER.add(
    Confirm,
    Codec(
        _encode_confirm,
        lambda message: Confirm(STAMP.decode(message.epoch), _tombstones(message.keys, message.versions)),
    ),
)
PEER.add(Purge, Codec(_encode_purge, _decode_purge))

REQUESTS: Final[dict[str, type]] = {"tree": TreeQuery, "confirm": Confirm, "purge": Purge}
REPLIES: Final[dict[str, type]] = {"tree": TreeReply, "confirm": ConfirmReply, "purge": PurgeReply}
