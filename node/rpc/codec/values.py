"""The codecs of the values that messages between nodes are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ....api.cluster_codec import IDENTITY, SHARED
from ....api.codec import Codec, Codecs, MalformedMessage, bounded, enumeration, expect, repeated
from ....membership.extent import MAX_REMEMBERED, Extent
from ....membership.record import (
    MAX_WEIGHT,
    MIN_WEIGHT,
    DigestEntry,
    MemberRecord,
    RecordVersion,
    Status,
    Suspicion,
)
from ....proto.generated import peer_pb2
from ....quorum.version import Version
from ....ring.epoch import EpochRecord, EpochStamp, Quorums
from ....ring.genesis import GenesisSeat, GenesisTerms, Seat
from ....ring.paxos import Ballot
from ....ring.tokens import TokenRange
from ...named import named_from
from ...storage.interface import Cursor

PEER: Final = Codecs(SHARED)

# --- epochs -------------------------------------------------------------------------------------------------


def _decode_stamp(message: peer_pb2.EpochStamp) -> EpochStamp:
    expect(message.digest != "", "an epoch without a digest")
    return EpochStamp(message.number, message.digest)


def _decode_record(encoded: bytes) -> EpochRecord:
    try:
        return EpochRecord.decode(encoded)
    except ValueError as error:
        raise MalformedMessage(str(error)) from error


STAMP: Final = PEER.add(
    EpochStamp,
    Codec(lambda stamp: peer_pb2.EpochStamp(number=stamp.number, digest=stamp.digest), _decode_stamp),
)
RECORD: Final = PEER.add(EpochRecord, Codec(lambda record: record.encoded, _decode_record))
PEER.flat(Ballot, peer_pb2.Ballot)

# --- versions -----------------------------------------------------------------------------------------------

_VERSION_OF = named_from(Version)


def encode_versions(versions: Sequence[Version]) -> peer_pb2.Versions:
    timestamps, disk_ids, generations = zip(*versions, strict=True) if versions else ((), (), ())
    return peer_pb2.Versions(timestamps=timestamps, disk_ids=disk_ids, generations=generations)


def decode_versions(message: peer_pb2.Versions) -> list[Version]:
    columns = (message.timestamps, message.disk_ids, message.generations)
    for column in columns:
        bounded(column)
    expect(len({len(column) for column in columns}) == 1, "columns of versions differ in length")
    return list(map(_VERSION_OF, zip(*columns, strict=True)))


# --- ranges -------------------------------------------------------------------------------------------------

SPAN: Final = PEER.flat(TokenRange, peer_pb2.TokenRange)
CURSOR: Final = PEER.flat(Cursor, peer_pb2.Cursor)

# --- members ------------------------------------------------------------------------------------------------


def decode_weight(weight: float) -> float:
    if MIN_WEIGHT <= weight <= MAX_WEIGHT:  # which NaN is not
        return weight
    raise MalformedMessage(f"a weight of {weight:g}; from {MIN_WEIGHT:g} to {MAX_WEIGHT:g} is allowed")


PEER.add(Status, enumeration(Status, peer_pb2.MemberStatus, "MEMBER_STATUS_"))
PEER.flat(RecordVersion, peer_pb2.Freshness)
PEER.flat(
    MemberRecord,
    peer_pb2.MemberRecord,
    nested="freshness",
    weight=Codec(lambda weight: weight, decode_weight),
)
_FRESHNESS: Final = {"record_version": "freshness"}
PEER.flat(DigestEntry, peer_pb2.DigestEntry, renamed=_FRESHNESS)
PEER.flat(Suspicion, peer_pb2.Suspicion, renamed=_FRESHNESS)
REMEMBERED: Final = repeated(PEER.flat(Extent, peer_pb2.Extent), MAX_REMEMBERED)

# --- genesis ------------------------------------------------------------------------------------------------

_QUORUMS: Final = PEER.flat(Quorums, peer_pb2.Quorums)


def _encode_seat(offered: GenesisSeat) -> peer_pb2.GenesisSeat:
    seat, terms = offered.seat, offered.terms
    return peer_pb2.GenesisSeat(
        address=seat.address,
        identity=IDENTITY.encode(seat.identity),
        zone=seat.zone,
        weight=seat.weight,
        quorums=_QUORUMS.encode(terms.quorums),
        tokens_per_weight=terms.tokens_per_weight,
        seeds=terms.seeds,
        settings=json.dumps(dict(terms.settings), sort_keys=True, allow_nan=False),
    )


def _decode_seat(message: peer_pb2.GenesisSeat) -> GenesisSeat:
    identity, weight = IDENTITY.decode(message.identity), decode_weight(message.weight)
    return GenesisSeat(
        Seat(address=message.address, identity=identity, zone=message.zone, weight=weight),
        GenesisTerms(
            seeds=tuple(bounded(message.seeds)),
            quorums=_QUORUMS.decode(message.quorums),
            tokens_per_weight=message.tokens_per_weight,
            settings=_decode_settings(message.settings),
        ),
    )


def _decode_settings(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"the settings of a genesis seat: {error}") from error
    if not isinstance(settings, dict):
        raise MalformedMessage("the settings of a genesis seat are not a JSON object")
    return settings


PEER.add(GenesisSeat, Codec(_encode_seat, _decode_seat))
