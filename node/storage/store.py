"""The interface to an ordered byte store, implemented with RocksDB (``rocks``) and, for tests, in memory.

It knows no versions, checksums, summaries or group commit: ``engine`` implements these over any store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import DiskFull
from .encoding import KeyRange

Row = tuple[bytes, bytes]


@dataclass(slots=True)
class WriteBatch:
    """Changes that are applied atomically. Deletions of ranges are applied first."""

    deleted_ranges: Sequence[KeyRange] = ()
    deleted: Collection[bytes] = ()
    puts: Collection[Row] = ()
    named: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    """Named values; None deletes."""
    deleted_name_ranges: Sequence[KeyRange] = ()

    @property
    def empty(self) -> bool:
        return not (
            self.deleted_ranges or self.deleted or self.puts or self.named or self.deleted_name_ranges
        )


class Store(Protocol):
    """Rows sorted by key, and separate named values.

    Every call may raise StorageFailed, and Corruption if it finds damaged bytes.
    """

    @property
    def needs_rewrite(self) -> bool:
        """Whether the store has found damage that remains until the store is rewritten at the next opening."""

    def read(self, key: bytes) -> bytes | None: ...

    def read_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the row of each key, in their order; None for a key without a row."""

    def rows(self, keys: KeyRange) -> Iterator[Row]:
        """Yield the rows of a range, ascending. The iterator must be used up before the next change."""

    def snapshot(self, keys: KeyRange) -> Iterator[Row]:
        """Yield the rows of a range as they were at the call, ascending; later changes do not affect it."""

    def read_named(self, name: bytes) -> bytes | None: ...

    def named_rows(self, prefix: bytes, after: bytes = b"") -> Iterator[Row]:
        """Yield named values whose names start with ``prefix`` and sort after ``after``, ascending."""

    def write(self, batch: WriteBatch) -> None:
        """Apply the batch. It then survives a crash of the process, and a power failure only after ``sync``."""

    def free_bytes(self) -> int:
        """Return the free space of the disk that this process may use."""

    def extent(self) -> int:
        """Return how much was ever written, in the store's unit: it grows with every batch and never decreases."""

    async def sync(self) -> None:
        """Wait until every batch written before the call survives a power failure."""

    async def close(self) -> None: ...


RECHECK_BYTES = 1 << 20
"""Recheck free space after this many bytes; a timer rechecks too."""


class FreeSpace:
    """Refuses entries while the disk has less free space than the reserve.

    On a full disk a write fails halfway, and the content of the disk is then unknown. So the engine refuses entries
    before that, until there is space again. Deletions and named values, which are small, are still written, so that the
    node can vote, adopt epochs and leave the cluster.
    """

    def __init__(self, free_bytes: Callable[[], int], reserve_bytes: int) -> None:
        """Take ``reserve_bytes``, the free space below which the disk counts as full; 0 for never."""
        self._free_bytes = free_bytes
        self._reserve_bytes = reserve_bytes
        self._unchecked_bytes = 0
        self.full = False
        self.recheck()

    def recheck(self) -> None:
        """Read the free space now."""
        self._unchecked_bytes = 0
        self.full = self._reserve_bytes > 0 and self._free_bytes() < self._reserve_bytes

    def take(self, size_bytes: int) -> None:
        """Count the bytes of entries to be written. Raise DiskFull while the disk counts as full."""
        self._unchecked_bytes += size_bytes
        if self._unchecked_bytes >= RECHECK_BYTES:
            self.recheck()
        if self.full:
            raise DiskFull(f"the disk has less free space than the reserve of {self._reserve_bytes:,} bytes")
