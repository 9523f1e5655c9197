"""Encoding of the data lane's bodies.

Batches and chunks are the hot path, so they travel by column (proto/covey/v1/peer.proto says how): encoding is one
pass that appends to plain lists, decoding first checks that the columns fit together and then cannot fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ....proto.generated import peer_pb2
from ....quorum.version import Version
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
from . import absorption as codec_absorption
from . import anti_entropy as codec_repair
from .body import REFUSALS, AnyBodyCodec, BodyCodec
from .values import (
    EnumTable,
    bounded,
    decode_cursor,
    decode_optional,
    decode_span,
    decode_stamp,
    decode_versions,
    encode_cursor,
    encode_optional,
    encode_span,
    encode_stamp,
    encode_versions,
    expect,
)

PURPOSES = EnumTable(ScanPurpose, peer_pb2.ScanPurpose, "SCAN_PURPOSE_")

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
        epoch=encode_stamp(batch.epoch),
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
    return DataBatch(decode_stamp(message.epoch), operations)


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
        epoch=encode_stamp(reply.epoch),
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
        epoch=decode_stamp(message.epoch),
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


# --- scans and sizes ----------------------------------------------------------------------------------------

_ENTRY_OF = named_from(Entry)


def encode_scan(scan: Scan) -> peer_pb2.Scan:
    return peer_pb2.Scan(
        epoch=encode_stamp(scan.epoch),
        purpose=PURPOSES.encode(scan.purpose),
        span=encode_span(scan.span),
        after=encode_optional(encode_cursor, scan.after),
        max_entries=scan.max_entries,
        max_bytes=scan.max_bytes,
        prefix=scan.prefix,
    )


def decode_scan(message: peer_pb2.Scan) -> Scan:
    expect(message.HasField("span"), "a scan without a range")
    return Scan(
        epoch=decode_stamp(message.epoch),
        purpose=PURPOSES.decode(message.purpose),
        span=decode_span(message.span),
        after=decode_optional(decode_cursor, message, "after"),
        max_entries=message.max_entries,
        max_bytes=message.max_bytes,
        prefix=message.prefix,
    )


def encode_scan_reply(reply: ScanReply) -> peer_pb2.ScanReply:
    entries = reply.entries
    return peer_pb2.ScanReply(
        epoch=encode_stamp(reply.epoch),
        kinds=bytes([entry.value is None for _, entry in entries]),
        keys=[key for key, _ in entries],
        versions=encode_versions([entry.version for _, entry in entries]),
        values=[entry.value for _, entry in entries if entry.value is not None],
        next=encode_optional(encode_cursor, reply.next),
        checksum=reply.checksum,
    )


def decode_scan_reply(message: peer_pb2.ScanReply) -> ScanReply:
    bounded(message.keys)
    bounded(message.values)
    kinds, versions = message.kinds, decode_versions(message.versions)
    expect(max(kinds, default=0) <= 1, "an entry of an unknown kind")
    expect(len(message.keys) == len(versions) == len(kinds), "a chunk whose columns differ in length")
    expect(len(message.values) == kinds.count(0), "a chunk with more or fewer values than live entries")
    values: Iterable[bytes | None] = message.values
    if len(message.values) != len(kinds):
        next_value = iter(message.values).__next__
        values = [None if tombstone else next_value() for tombstone in kinds]
    entries = map(_ENTRY_OF, zip(versions, values, strict=True))
    return ScanReply(
        epoch=decode_stamp(message.epoch),
        entries=tuple(zip(message.keys, entries, strict=True)),
        next=decode_optional(decode_cursor, message, "next"),
        checksum=message.checksum,
    )


def encode_size_query(query: SizeQuery) -> peer_pb2.SizeQuery:
    return peer_pb2.SizeQuery(
        epoch=encode_stamp(query.epoch), spans=[encode_span(span) for span in query.spans]
    )


def decode_size_query(message: peer_pb2.SizeQuery) -> SizeQuery:
    return SizeQuery(decode_stamp(message.epoch), tuple(decode_span(span) for span in bounded(message.spans)))


REQUESTS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(DataBatch, "batch", encode_batch, decode_batch),
    BodyCodec(Scan, "scan", encode_scan, decode_scan),
    BodyCodec(SizeQuery, "sizes", encode_size_query, decode_size_query),
    *codec_repair.DATA_REQUESTS,
    *codec_absorption.DATA_REQUESTS,
)

REPLIES: tuple[AnyBodyCodec, ...] = (
    *REFUSALS,
    BodyCodec(DataReply, "results", encode_results, decode_results),
    BodyCodec(ScanReply, "scan", encode_scan_reply, decode_scan_reply),
    BodyCodec(
        SizeReply,
        "sizes",
        lambda body: peer_pb2.SizeReply(sizes=body.sizes),
        lambda message: SizeReply(tuple(bounded(message.sizes))),
    ),
    *codec_repair.DATA_REPLIES,
    *codec_absorption.DATA_REPLIES,
)
