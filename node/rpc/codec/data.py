"""The bodies of the data lane.

Batches and chunks are the hot path, so they are sent by column (see proto/covey/v1/peer.proto): encoding is one
pass that appends to plain lists, decoding first checks that the columns fit each other and then cannot fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ....api.codec import Codec, bounded, enumeration, expect
from ....proto.generated import peer_pb2
from ....quorum.version import Version
from ...messages.absorption import MAX_ENTRIES, MAX_KEY_BYTES, Contribution, ContributionReply
from ...messages.data import (
    ABSENT,
    BELOW_FLOOR,
    MERGED,
    DataBatch,
    DataReply,
    FailedResult,
    Merge,
    MergeKind,
    MergeResult,
    Read,
    ReadResult,
    Result,
    Scan,
    ScanPurpose,
    ScanReply,
    SizeQuery,
    SizeReply,
    VersionResult,
)
from ...named import as_named, named_from
from ...storage.interface import Entry
from . import anti_entropy
from .values import CURSOR, PEER, STAMP, decode_versions, encode_versions

# --- batches ------------------------------------------------------------------------------------------------

READ, WRITE, WRITE_TOMBSTONE, REPAIR, REPAIR_TOMBSTONE, READ_VERSION = range(6)


def encode_batch(batch: DataBatch) -> peer_pb2.DataBatch:
    kinds, keys, versions, values = bytearray(), [], [], []
    for operation in batch.operations:
        keys.append(operation.key)
        if isinstance(operation, Read):
            kinds.append(READ_VERSION if operation.version_only else READ)
            continue
        version, value = operation.entry
        versions.append(version)
        kind = REPAIR if operation.kind is MergeKind.REPAIR else WRITE
        if value is None:
            kinds.append(kind + 1)
        else:
            kinds.append(kind)
            values.append(value)
    return peer_pb2.DataBatch(
        epoch=STAMP.encode(batch.epoch),
        kinds=bytes(kinds),
        keys=keys,
        versions=encode_versions(versions),
        values=values,
    )


def decode_batch(message: peer_pb2.DataBatch) -> DataBatch:
    bounded(message.keys)
    bounded(message.values)
    kinds, versions = message.kinds, decode_versions(message.versions)
    merges = len(kinds) - kinds.count(READ) - kinds.count(READ_VERSION)
    tombstones = kinds.count(WRITE_TOMBSTONE) + kinds.count(REPAIR_TOMBSTONE)
    expect(max(kinds, default=0) <= READ_VERSION, "an operation of an unknown kind")
    expect(len(message.keys) == len(kinds), "a batch with more or fewer keys than operations")
    expect(len(versions) == merges, "a batch with more or fewer versions than merges")
    expect(
        len(message.values) == merges - tombstones, "a batch with more or fewer values than merges of values"
    )
    operations = _operations(kinds, message.keys, versions, message.values)
    return DataBatch(STAMP.decode(message.epoch), operations)


def _operations(
    kinds: bytes, keys: Iterable[bytes], versions: Iterable[Version], values: Iterable[bytes]
) -> tuple[Read | Merge, ...]:
    next_version, next_value = iter(versions).__next__, iter(values).__next__
    write, repair = MergeKind.WRITE, MergeKind.REPAIR
    operations: list[Read | Merge] = []
    for kind, key in zip(kinds, keys, strict=True):
        if kind in (READ, READ_VERSION):
            operations.append(as_named(Read, (key, kind == READ_VERSION)))
            continue
        value = None if kind in (WRITE_TOMBSTONE, REPAIR_TOMBSTONE) else next_value()
        entry = as_named(Entry, (next_version(), value))
        operations.append(as_named(Merge, (key, entry, repair if kind >= REPAIR else write)))
    return tuple(operations)


# --- results of a batch -------------------------------------------------------------------------------------

IS_ABSENT, FOUND, TOMBSTONE, IS_MERGED, IS_BELOW_FLOOR, FAILED, HAS_VERSION, NEWER_STANDS = range(8)


def encode_results(reply: DataReply) -> peer_pb2.DataResults:
    kinds, versions, values, reasons = bytearray(), [], [], []
    for result in reply.results:
        if result is MERGED:
            kinds.append(IS_MERGED)
        elif isinstance(result, ReadResult):
            if result.entry is None:
                kinds.append(IS_ABSENT)
                continue
            version, value = result.entry
            versions.append(version)
            if value is None:
                kinds.append(TOMBSTONE)
            else:
                kinds.append(FOUND)
                values.append(value)
        elif isinstance(result, VersionResult):
            kinds.append(HAS_VERSION)
            versions.append(result.version)
        elif isinstance(result, FailedResult):
            kinds.append(FAILED)
            reasons.append(result.reason)
        elif result.newer is not None:
            kinds.append(NEWER_STANDS)
            versions.append(result.newer)
        else:
            kinds.append(IS_BELOW_FLOOR if result.below_floor else IS_MERGED)
    return peer_pb2.DataResults(
        epoch=STAMP.encode(reply.epoch),
        kinds=bytes(kinds),
        versions=encode_versions(versions),
        values=values,
        reasons=reasons,
        queue_depth=reply.queue_depth,
        service_time_ms=reply.service_time_ms,
    )


_VERSIONED: Final = (FOUND, TOMBSTONE, HAS_VERSION, NEWER_STANDS)


def decode_results(message: peer_pb2.DataResults) -> DataReply:
    bounded(message.kinds)
    bounded(message.values)
    bounded(message.reasons)
    kinds, versions = message.kinds, decode_versions(message.versions)
    expect(max(kinds, default=0) <= NEWER_STANDS, "a result of an unknown kind")
    expect(
        len(versions) == sum(map(kinds.count, _VERSIONED)),
        "results with more or fewer versions than they need",
    )
    expect(len(message.values) == kinds.count(FOUND), "results with more or fewer values than found")
    expect(len(message.reasons) == kinds.count(FAILED), "results with more or fewer reasons than failures")
    return DataReply(
        epoch=STAMP.decode(message.epoch),
        results=_results(kinds, versions, message.values, message.reasons),
        queue_depth=message.queue_depth,
        service_time_ms=message.service_time_ms,
    )


def _results(
    kinds: bytes, versions: Iterable[Version], values: Iterable[bytes], reasons: Iterable[str]
) -> tuple[Result, ...]:
    next_version, next_value = iter(versions).__next__, iter(values).__next__
    next_reason = iter(reasons).__next__
    results: list[Result] = []
    for kind in kinds:
        if kind == IS_MERGED:
            results.append(MERGED)
        elif kind == HAS_VERSION:
            results.append(as_named(VersionResult, (next_version(),)))
        elif kind == FOUND:
            entry = as_named(Entry, (next_version(), next_value()))
            results.append(as_named(ReadResult, (entry,)))
        elif kind == IS_ABSENT:
            results.append(ABSENT)
        elif kind == TOMBSTONE:
            results.append(ReadResult(Entry(next_version(), None)))
        elif kind == NEWER_STANDS:
            results.append(MergeResult(next_version()))
        elif kind == IS_BELOW_FLOOR:
            results.append(BELOW_FLOOR)
        else:
            results.append(FailedResult(next_reason()))
    return tuple(results)


# --- entries: replies to scans, and contributions -----------------------------------------------------------

_ENTRY_OF = named_from(Entry)
_Entries = tuple[tuple[bytes, Entry], ...]


def _entry_columns(entries: _Entries) -> dict[str, Any]:
    return {
        "kinds": bytes([entry.value is None for _, entry in entries]),
        "keys": [key for key, _ in entries],
        "versions": encode_versions([entry.version for _, entry in entries]),
        "values": [entry.value for _, entry in entries if entry.value is not None],
    }


def _decode_entries(
    message: peer_pb2.ScanReply | peer_pb2.Contribution, keys: Sequence[bytes], live: Sequence[bytes]
) -> _Entries:
    """Decode the columns; ``keys`` and ``live`` are those of the message, of bounded length."""
    kinds, versions = message.kinds, decode_versions(message.versions)
    expect(max(kinds, default=0) <= 1, "an entry of an unknown kind")
    expect(len(keys) == len(versions) == len(kinds), "columns of entries differ in length")
    expect(len(live) == kinds.count(0), "entries with more or fewer values than live entries")
    values: Iterable[bytes | None] = live
    if len(live) != len(kinds):
        next_value = iter(live).__next__
        values = [None if tombstone else next_value() for tombstone in kinds]
    return tuple(zip(keys, map(_ENTRY_OF, zip(versions, values, strict=True)), strict=True))


def _encode_scan_reply(reply: ScanReply) -> peer_pb2.ScanReply:
    return peer_pb2.ScanReply(
        epoch=STAMP.encode(reply.epoch),
        next=None if reply.next is None else CURSOR.encode(reply.next),
        checksum=reply.checksum,
        **_entry_columns(reply.entries),
    )


def _decode_scan_reply(message: peer_pb2.ScanReply) -> ScanReply:
    return ScanReply(
        epoch=STAMP.decode(message.epoch),
        entries=_decode_entries(message, bounded(message.keys), bounded(message.values)),
        next=CURSOR.decode(message.next) if message.HasField("next") else None,
        checksum=message.checksum,
    )


def _encode_contribution(contribution: Contribution) -> peer_pb2.Contribution:
    return peer_pb2.Contribution(
        cluster_id=contribution.cluster_id,
        written=contribution.written,
        last=contribution.last,
        **_entry_columns(contribution.entries),
    )


def _decode_contribution(message: peer_pb2.Contribution) -> Contribution:
    keys, values = bounded(message.keys, MAX_ENTRIES), bounded(message.values, MAX_ENTRIES)
    expect(all(len(key) <= MAX_KEY_BYTES for key in keys), "a key that is too long")
    entries = _decode_entries(message, keys, values)
    return Contribution(
        cluster_id=message.cluster_id, entries=entries, written=message.written, last=message.last
    )


# --- the lane -----------------------------------------------------------------------------------------------

PEER.add(DataBatch, Codec(encode_batch, decode_batch))
PEER.add(DataReply, Codec(encode_results, decode_results))
PEER.add(ScanReply, Codec(_encode_scan_reply, _decode_scan_reply))
PEER.add(Contribution, Codec(_encode_contribution, _decode_contribution))
PEER.add(ScanPurpose, enumeration(ScanPurpose, peer_pb2.ScanPurpose, "SCAN_PURPOSE_"))
_SCAN: Final = PEER.flat(Scan, peer_pb2.Scan)


def _decode_scan(message: peer_pb2.Scan) -> Scan:
    expect(message.HasField("span"), "a scan without a range")
    return _SCAN.decode(message)


PEER.add(Scan, Codec(_SCAN.encode, _decode_scan))

REQUESTS: Final[dict[str, type]] = {
    "batch": DataBatch,
    "scan": Scan,
    "sizes": SizeQuery,
    "contribution": Contribution,
    **anti_entropy.REQUESTS,
}
REPLIES: Final[dict[str, type]] = {
    "results": DataReply,
    "scan": ScanReply,
    "sizes": SizeReply,
    "contribution": ContributionReply,
    **anti_entropy.REPLIES,
}
