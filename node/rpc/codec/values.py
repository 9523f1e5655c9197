"""Encoding of the values that messages are made of: ``encode_x`` makes a message, ``decode_x`` reads it.

Decoding trusts nothing: what is absent, out of place or unknown to this version raises MalformedMessage.
Optional values are absent fields, told apart from empty ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Sized
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from ....identity import Identity
from ....membership.extent import MAX_REMEMBERED, Extent
from ....membership.record import (
    MAX_WEIGHT,
    MIN_WEIGHT,
    Condition,
    DigestEntry,
    HandoffProgress,
    LoadReport,
    MemberRecord,
    RecordVersion,
    Status,
    Suspicion,
)
from ....proto.generated import peer_pb2, types_pb2
from ....quorum.version import Version
from ....ring.epoch import EpochRecord, EpochStamp, Quorums
from ....ring.paxos import Ballot
from ....ring.tokens import TokenRange
from ...errors import MalformedMessage
from ...named import named_from
from ...storage.interface import Cursor

V = TypeVar("V")
W = TypeVar("W")
E = TypeVar("E", bound=Enum)
R = TypeVar("R", bound=Sized)


def expect(condition: bool, what: str) -> None:
    """Refuse a message in which ``what`` does not hold."""
    if not condition:
        raise MalformedMessage(what)


MOST_LISTED: Final = 10_000
"""Maximum number of elements of a list in a message, unless a decoder sets another one."""


def bounded(elements: R, most: int = MOST_LISTED) -> R:
    """Return the elements of a list from outside; refuse a message that has too many."""
    expect(len(elements) <= most, f"a list of {len(elements)} elements, where at most {most} are allowed")
    return elements


def encode_optional(encode: Callable[[V], W], value: V | None) -> W | None:
    return None if value is None else encode(value)


def decode_optional(decode: Callable[[Any], V], message: Message, field: str) -> V | None:
    return decode(getattr(message, field)) if message.HasField(field) else None


class EnumTable(Generic[E]):
    """A Python enum and its protobuf twin (the generated wrapper), matched by name on import."""

    def __init__(self, members: type[E], twin: Any, prefix: str) -> None:
        self._name: Final = members.__name__
        self._numbers: Final[dict[E, Any]] = {member: twin.Value(prefix + member.name) for member in members}
        self._members: Final[dict[Any, E]] = {number: member for member, number in self._numbers.items()}

    def encode(self, member: E) -> Any:
        return self._numbers[member]

    def decode(self, number: int) -> E:
        member = self._members.get(number)
        if member is None:
            raise MalformedMessage(f"unknown {self._name}: {number}")
        return member


STATUSES = EnumTable(Status, peer_pb2.MemberStatus, "MEMBER_STATUS_")


# --- identities, versions, epochs ---------------------------------------------------------------------------


def encode_identity(identity: Identity) -> types_pb2.Identity:
    return types_pb2.Identity(name=identity.name, disk_id=identity.disk_id)


def decode_identity(message: types_pb2.Identity) -> Identity:
    expect(message.name != "", "an identity without a name")
    return Identity(message.name, message.disk_id)


def encode_version(version: Version) -> types_pb2.Version:
    return types_pb2.Version(
        timestamp=version.timestamp, disk_id=version.disk_id, generation=version.generation
    )


def encode_versions(versions: Sequence[Version]) -> peer_pb2.Versions:
    timestamps, disk_ids, generations = zip(*versions, strict=True) if versions else ((), (), ())
    return peer_pb2.Versions(timestamps=timestamps, disk_ids=disk_ids, generations=generations)


_VERSION_OF = named_from(Version)


def decode_versions(message: peer_pb2.Versions) -> list[Version]:
    columns = (message.timestamps, message.disk_ids, message.generations)
    for column in columns:
        bounded(column)
    expect(len({len(column) for column in columns}) == 1, "columns of versions differ in length")
    return list(map(_VERSION_OF, zip(*columns, strict=True)))


def encode_stamp(stamp: EpochStamp) -> peer_pb2.EpochStamp:
    return peer_pb2.EpochStamp(number=stamp.number, digest=stamp.digest)


def decode_stamp(message: peer_pb2.EpochStamp) -> EpochStamp:
    expect(message.digest != "", "an epoch without a digest")
    return EpochStamp(message.number, message.digest)


def encode_record(record: EpochRecord) -> bytes:
    return record.encoded


def decode_record(encoded: bytes) -> EpochRecord:
    try:
        return EpochRecord.decode(encoded)
    except ValueError as error:
        raise MalformedMessage(str(error)) from error


def encode_ballot(ballot: Ballot) -> peer_pb2.Ballot:
    return peer_pb2.Ballot(round=ballot.round, proposer=encode_identity(ballot.proposer))


def decode_ballot(message: peer_pb2.Ballot) -> Ballot:
    return Ballot(message.round, decode_identity(message.proposer))


def encode_quorums(quorums: Quorums) -> peer_pb2.Quorums:
    return peer_pb2.Quorums(
        replication_factor=quorums.replication_factor,
        write_quorum=quorums.write_quorum,
        read_quorum=quorums.read_quorum,
    )


def decode_quorums(message: peer_pb2.Quorums) -> Quorums:
    return Quorums(message.replication_factor, message.write_quorum, message.read_quorum)


# --- ranges -------------------------------------------------------------------------------------------------


def encode_span(span: TokenRange) -> peer_pb2.TokenRange:
    return peer_pb2.TokenRange(after=span.after, upto=span.upto)


def decode_span(message: peer_pb2.TokenRange) -> TokenRange:
    return TokenRange(message.after, message.upto)


def encode_cursor(cursor: Cursor) -> peer_pb2.Cursor:
    return peer_pb2.Cursor(token=cursor.token, key=cursor.key)


def decode_cursor(message: peer_pb2.Cursor) -> Cursor:
    return Cursor(message.token, message.key)


# --- members ------------------------------------------------------------------------------------------------


def encode_freshness(freshness: RecordVersion) -> peer_pb2.Freshness:
    return peer_pb2.Freshness(generation=freshness.generation, version=freshness.version)


def decode_freshness(message: peer_pb2.Freshness) -> RecordVersion:
    return RecordVersion(message.generation, message.version)


def encode_load(load: LoadReport) -> types_pb2.LoadReport:
    return types_pb2.LoadReport(
        in_flight=load.in_flight,
        queue_depth=load.queue_depth,
        service_time_ms=load.service_time_ms,
        cpu=load.cpu,
        keys=load.keys,
        bytes=load.bytes,
    )


def decode_load(message: types_pb2.LoadReport) -> LoadReport:
    return LoadReport(
        in_flight=message.in_flight,
        queue_depth=message.queue_depth,
        service_time_ms=message.service_time_ms,
        cpu=message.cpu,
        keys=message.keys,
        bytes=message.bytes,
    )


def encode_condition(condition: Condition) -> types_pb2.Condition:
    return types_pb2.Condition(
        hints=condition.hints,
        comparisons=condition.comparisons,
        quarantined=condition.quarantined,
        floor_wanted=condition.floor_wanted,
        disk_full=condition.disk_full,
        clock_off_ms=condition.clock_off_ms,
        needs_restart=condition.needs_restart,
        keys_ahead=condition.keys_ahead,
    )


def decode_condition(message: types_pb2.Condition) -> Condition:
    return Condition(
        hints=message.hints,
        comparisons=message.comparisons,
        quarantined=message.quarantined,
        floor_wanted=message.floor_wanted,
        disk_full=message.disk_full,
        clock_off_ms=message.clock_off_ms,
        needs_restart=message.needs_restart,
        keys_ahead=message.keys_ahead,
    )


def encode_handoff(progress: HandoffProgress) -> types_pb2.HandoffProgress:
    return types_pb2.HandoffProgress(
        epoch=progress.epoch,
        bytes_done=progress.bytes_done,
        bytes_total=progress.bytes_total,
        done=progress.done,
    )


def decode_handoff(message: types_pb2.HandoffProgress) -> HandoffProgress:
    return HandoffProgress(message.epoch, message.bytes_done, message.bytes_total, done=message.done)


def encode_member(member: MemberRecord) -> peer_pb2.MemberRecord:
    return peer_pb2.MemberRecord(
        identity=encode_identity(member.identity),
        freshness=encode_freshness(member.record_version),
        heartbeat=member.heartbeat,
        address=member.address,
        status=STATUSES.encode(member.status),
        zone=member.zone,
        weight=member.weight,
        epoch=member.epoch,
        protocol=member.protocol,
        load=encode_load(member.load),
        handoff=encode_optional(encode_handoff, member.handoff),
        condition=encode_condition(member.condition),
        process=member.process,
        mark=member.mark,
    )


def encode_extent(extent: Extent) -> peer_pb2.Extent:
    return peer_pb2.Extent(generation=extent.generation, process=extent.process, mark=extent.mark)


def decode_extent(message: peer_pb2.Extent) -> Extent:
    return Extent(message.generation, message.process, message.mark)


def encode_extents(extents: Iterable[Extent]) -> list[peer_pb2.Extent]:
    return [encode_extent(extent) for extent in extents]


def decode_extents(messages: Sequence[peer_pb2.Extent]) -> tuple[Extent, ...]:
    return tuple(decode_extent(message) for message in bounded(messages, MAX_REMEMBERED))


def decode_weight(weight: float) -> float:
    if MIN_WEIGHT <= weight <= MAX_WEIGHT:  # which NaN is not
        return weight
    raise MalformedMessage(f"a weight of {weight:g}; from {MIN_WEIGHT:g} to {MAX_WEIGHT:g} is allowed")


def decode_member(message: peer_pb2.MemberRecord) -> MemberRecord:
    return MemberRecord(
        identity=decode_identity(message.identity),
        generation=message.freshness.generation,
        version=message.freshness.version,
        heartbeat=message.heartbeat,
        address=message.address,
        status=STATUSES.decode(message.status),
        zone=message.zone,
        weight=decode_weight(message.weight),
        epoch=message.epoch,
        protocol=message.protocol,
        load=decode_load(message.load),
        handoff=decode_optional(decode_handoff, message, "handoff"),
        condition=decode_condition(message.condition),
        process=message.process,
        mark=message.mark,
    )


def encode_members(members: Iterable[MemberRecord]) -> list[peer_pb2.MemberRecord]:
    return [encode_member(member) for member in members]


def decode_members(messages: Collection[peer_pb2.MemberRecord]) -> tuple[MemberRecord, ...]:
    return tuple(decode_member(message) for message in bounded(messages))


def encode_digest(digest: Iterable[DigestEntry]) -> list[peer_pb2.DigestEntry]:
    return [
        peer_pb2.DigestEntry(identity=encode_identity(identity), freshness=encode_freshness(freshness))
        for identity, freshness in digest
    ]


def decode_digest(messages: Collection[peer_pb2.DigestEntry]) -> tuple[DigestEntry, ...]:
    return tuple(
        DigestEntry(decode_identity(message.identity), decode_freshness(message.freshness))
        for message in bounded(messages)
    )


def encode_suspicions(suspicions: Iterable[Suspicion]) -> list[peer_pb2.Suspicion]:
    return [
        peer_pb2.Suspicion(
            accused=encode_identity(suspicion.accused),
            freshness=encode_freshness(suspicion.record_version),
            accuser=encode_identity(suspicion.accuser),
        )
        for suspicion in suspicions
    ]


def decode_suspicions(messages: Collection[peer_pb2.Suspicion]) -> tuple[Suspicion, ...]:
    return tuple(
        Suspicion(
            decode_identity(message.accused),
            decode_freshness(message.freshness),
            decode_identity(message.accuser),
        )
        for message in bounded(messages)
    )
