"""Messages about entries: batches of reads and writes on single keys, and scans of ranges. All name an epoch."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import mmh3

from ...quorum.version import Version
from ...ring.epoch import EpochStamp
from ...ring.tokens import TokenRange
from ..storage.interface import Cursor, Entry


class MergeKind(StrEnum):
    WRITE = "write"
    """A client's write, a retry of it, or a hint: refused at or below the floor."""
    REPAIR = "repair"
    """A read's write-back or an anti-entropy repair: never refused at the floor."""


class Read(NamedTuple):
    key: bytes
    version_only: bool = False
    """Whether only the version is requested; the value is then requested from another replica."""


class Merge(NamedTuple):
    key: bytes
    entry: Entry
    kind: MergeKind = MergeKind.WRITE


@dataclass(frozen=True, slots=True)
class DataBatch:
    """Operations on single keys, all under one epoch."""

    epoch: EpochStamp
    operations: Sequence[Read | Merge]


class ReadResult(NamedTuple):
    entry: Entry | None


class VersionResult(NamedTuple):
    """Result of a read with ``version_only`` of a key that has a value."""

    version: Version


class MergeResult(NamedTuple):
    newer: Version | None = None
    """The newer version that the replica already held; None when it now holds the given one."""
    below_floor: bool = False
    """The write was refused and not applied."""


class FailedResult(NamedTuple):
    """The operation failed, because of damaged data or a full disk; nothing was applied."""

    reason: str


REPLY_FULL = FailedResult("the reply to its batch is full")
"""Result of a read whose value did not fit into the reply. It fits if fewer keys are read in one batch."""
ABSENT = ReadResult(None)
MERGED = MergeResult()
BELOW_FLOOR = MergeResult(below_floor=True)

Result = ReadResult | VersionResult | MergeResult | FailedResult


@dataclass(frozen=True, slots=True)
class DataReply:
    epoch: EpochStamp
    results: Sequence[Result]
    queue_depth: int
    service_time_ms: float


class ScanPurpose(StrEnum):
    KEYS = "keys"
    PULL = "pull"


@dataclass(frozen=True, slots=True)
class Scan:
    """Requests a chunk of a range: keys and versions, or entries with their values for a pull."""

    epoch: EpochStamp
    purpose: ScanPurpose
    span: TokenRange
    after: Cursor | None
    max_entries: int
    max_bytes: int
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class ScanReply:
    epoch: EpochStamp
    entries: tuple[tuple[bytes, Entry], ...]
    """For ScanPurpose.KEYS, values are b"" (tombstones stay tombstones)."""
    next: Cursor | None
    """Position after which the next chunk begins; None if the range has no more entries."""
    checksum: int
    """``checksum_of`` the entries; verified by the receiver."""

    @property
    def size_bytes(self) -> int:
        """Total size of the keys and values."""
        return sum(len(key) + len(entry.value or b"") for key, entry in self.entries)


_CHECKED_ENTRY = struct.Struct("<IiQQQ")


def checksum_of(entries: Iterable[tuple[bytes, Entry]]) -> int:
    """Return a 64-bit hash over keys, versions and values, their lengths (-1 for a tombstone) and their order."""
    parts: list[bytes] = []
    for key, (version, value) in entries:
        value_length = -1 if value is None else len(value)
        parts += (_CHECKED_ENTRY.pack(len(key), value_length, *version), key, value or b"")
    checksum: int = mmh3.hash64(b"".join(parts), signed=False)[0]
    return checksum


@dataclass(frozen=True, slots=True)
class SizeQuery:
    """Requests the approximate number of bytes that the receiver holds in each of these ranges."""

    epoch: EpochStamp
    spans: tuple[TokenRange, ...]


@dataclass(frozen=True, slots=True)
class SizeReply:
    sizes: tuple[int, ...]


EntryBody = DataBatch | Scan | SizeQuery
EntryReplyBody = DataReply | ScanReply | SizeReply
