"""Service of this node as a replica: merges and reads for coordinators, under the epoch that they name.

There is no await between the epoch check and the step that follows it. Nothing is answered before an fsync covers it,
including a read of a write that is not durable yet.
"""

from __future__ import annotations

import asyncio

from ..epoch.epochs import Epochs
from ..errors import Corruption, DiskFull
from ..messages.data import (
    ABSENT,
    BELOW_FLOOR,
    MERGED,
    REPLY_FULL,
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
    checksum_of,
)
from ..messages.envelope import EpochMismatch, Refusal, RefusalCode
from ..named import as_named
from ..storage.interface import Engine
from .load_meter import LoadMeter

MAX_REPLY_BYTES = 4 << 20
"""Size of the values in one reply, apart from the last; well below the maximum message size."""
MAX_READ_BYTES = 16 << 20
"""Size of the values that are read for one reply, also of those of which only the version is asked."""
MAX_SCAN_ENTRIES = 4096
SIZE_BATCH = 64
"""Ranges whose size is computed before other tasks have a turn."""
READ_BATCH = 32
"""Entries that are read at a time; fewer if those read before were large."""
SIZE_WEIGHT = 0.5
"""Weight of the latest read in the average size."""


class ReplicaService:
    def __init__(self, engine: Engine, epochs: Epochs, load: LoadMeter) -> None:
        self._engine = engine
        self._epochs = epochs
        self._load = load
        self._value_bytes = 0.0
        """Moving average of the size of a read entry."""

    async def serve(self, batch: DataBatch) -> DataReply | EpochMismatch:
        with self._load.serving(len(batch.operations)):
            await self._epochs.settled()
            if (mismatch := self._epochs.mismatch(batch.epoch)) is not None:
                return mismatch
            results, durable = self._apply(batch)
            if not durable:
                await self._engine.durable()
        return DataReply(
            epoch=batch.epoch,
            results=results,
            queue_depth=self._load.queue_depth,
            service_time_ms=self._load.service_time_ms,
        )

    async def scan(self, request: Scan) -> ScanReply | EpochMismatch | Refusal:
        await self._epochs.settled()
        if (mismatch := self._epochs.mismatch(request.epoch)) is not None:
            return mismatch
        try:
            chunk = self._engine.scan(
                request.span,
                request.after,
                min(request.max_entries, MAX_SCAN_ENTRIES),
                min(request.max_bytes, MAX_REPLY_BYTES),
                request.prefix,
                with_values=request.purpose is ScanPurpose.PULL,
            )
        except Corruption as corruption:
            return Refusal(RefusalCode.NOT_READY, str(corruption))
        if not self._engine.is_durable_within(request.span):
            await self._engine.durable()
        return ScanReply(
            epoch=request.epoch, entries=chunk.entries, next=chunk.next, checksum=checksum_of(chunk.entries)
        )

    async def size(self, request: SizeQuery) -> SizeReply | EpochMismatch:
        await self._epochs.settled()
        if (mismatch := self._epochs.mismatch(request.epoch)) is not None:
            return mismatch
        sizes: list[int] = []
        for begin in range(0, len(request.spans), SIZE_BATCH):
            sizes += [self._engine.size(span) for span in request.spans[begin : begin + SIZE_BATCH]]
            await asyncio.sleep(0)
        return SizeReply(tuple(sizes))

    def _apply(self, batch: DataBatch) -> tuple[list[Result], bool]:
        """Return results in the order of the operations, and whether everything in them is on disk already."""
        operations = batch.operations
        reads = [operation for operation in operations if type(operation) is Read]
        merges = [operation for operation in operations if type(operation) is Merge]
        record = self._epochs.record
        floor = record.floor if record is not None else 0
        merged = self._merge_above(floor, merges)
        read = self._read(reads)  # after the merges, so that a batch reads its own writes
        durable = not merges and all(self._engine.is_durable(read.key) for read in reads)
        if not merges or not reads:
            return merged or read, durable
        next_merged, next_read = iter(merged).__next__, iter(read).__next__
        return [next_read() if type(op) is Read else next_merged() for op in operations], durable

    def _merge_above(self, floor: int, merges: list[Merge]) -> list[Result]:
        """Merge all but clients' writes at or below the floor, which are refused."""
        if not floor or not any(_below(merge, floor) for merge in merges):
            return self._merge(merges)
        merged = iter(self._merge([merge for merge in merges if not _below(merge, floor)]))
        return [BELOW_FLOOR if _below(merge, floor) else next(merged) for merge in merges]

    def _merge(self, merges: list[Merge]) -> list[Result]:
        """Merge in one step, or one by one if an entry is corrupt, so that the others succeed."""
        if not merges:
            return []
        try:
            standing = self._engine.merge([(key, entry) for key, entry, _ in merges])
        except DiskFull as full:
            return [FailedResult(str(full))] * len(merges)
        except Corruption as corruption:
            if len(merges) == 1:
                return [FailedResult(str(corruption))]
            return [result for merge in merges for result in self._merge([merge])]
        return [
            MERGED
            if version is merge.entry.version or version == merge.entry.version
            else MergeResult(version)
            for merge, version in zip(merges, standing, strict=True)
        ]

    def _read(self, reads: list[Read]) -> list[Result]:
        results: list[Result] = []
        room_bytes, readable_bytes = MAX_REPLY_BYTES, MAX_READ_BYTES
        begin = 0
        while begin < len(reads):
            if room_bytes <= 0 or readable_bytes <= 0:
                results += [REPLY_FULL] * (len(reads) - begin)
                break
            at_once = min(READ_BATCH, 1 + int(room_bytes / (self._value_bytes + 1)))
            asked = reads[begin : begin + at_once]
            begin += len(asked)
            read_bytes = 0
            for read, entry in zip(asked, self._engine.get_many([key for key, _ in asked]), strict=True):
                if entry is None:
                    results.append(ABSENT)
                elif isinstance(entry, Corruption):
                    results.append(FailedResult(str(entry)))
                else:
                    size_bytes = 0 if entry.value is None else len(entry.value)
                    read_bytes += size_bytes
                    if read.version_only and entry.value is not None:
                        results.append(as_named(VersionResult, (entry.version,)))
                    elif room_bytes > 0 or entry.value is None:
                        room_bytes -= size_bytes
                        results.append(as_named(ReadResult, (entry,)))
                    else:
                        results.append(REPLY_FULL)
            readable_bytes -= read_bytes
            self._value_bytes += (read_bytes / len(asked) - self._value_bytes) * SIZE_WEIGHT
        return results


def _below(operation: Merge, floor: int) -> bool:
    return operation.kind is MergeKind.WRITE and operation.entry.version.timestamp <= floor
