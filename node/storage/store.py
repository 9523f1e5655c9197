"""The interface to an ordered byte store: all that an engine needs of RocksDB, or of a dictionary.

What an engine promises beyond this (versions, checksums, usage, group commit) is implemented once, above it.
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
    """Changes that are applied atomically. Ranges are deleted before anything is put."""

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

    Raises StorageFailed, and Corruption for bytes that it finds damaged.
    """

    @property
    def needs_rewrite(self) -> bool:
        """Whether the store has found damage that stays until it is rewritten at the next opening."""

    def read(self, key: bytes) -> bytes | None: ...

    def read_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the rows of many keys, in their order; any of them may raise Corruption."""

    def rows(self, keys: KeyRange) -> Iterator[Row]:
        """Yield the rows of a range as they are now, ascending. Read them before the next change."""

    def snapshot(self, keys: KeyRange) -> Iterator[Row]:
        """Yield the same rows, unaffected by changes made while they are read."""

    def read_named(self, name: bytes) -> bytes | None: ...

    def named_rows(self, prefix: bytes, after: bytes = b"") -> Iterator[Row]:
        """Yield named values whose names start with ``prefix``, ascending, from the name after ``after`` on."""

    def write(self, batch: WriteBatch) -> None:
        """Apply the batch; from here on it survives a crash of the process, but not yet of the machine."""

    def free_bytes(self) -> int:
        """Return the free space of the disk."""

    def extent(self) -> int:
        """Return the amount ever written, in the store's units: it grows with every batch, over restarts too."""

    async def sync(self) -> None:
        """Return once every batch written before the call survives the machine's power failing."""

    async def close(self) -> None: ...


RECHECK_BYTES = 1 << 20
"""Recheck free space after this many bytes; a timer rechecks too."""


class FreeSpace:
    """Refuses entries while there is less free space than the reserve.

    A disk that fills up fails in the middle of a write, and then it is unknown what is on it. So the engine refuses
    entries before that, until there is space again. Deletions and the few bytes of named values are still written, so
    that the node can vote, adopt and leave.
    """

    def __init__(self, free_bytes: Callable[[], int], reserve_bytes: int) -> None:
        """``reserve_bytes``: below this the disk counts as full; 0 for never."""
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
        """Reserve room for a write. Raise DiskFull."""
        self._unchecked_bytes += size_bytes
        if self._unchecked_bytes >= RECHECK_BYTES:
            self.recheck()
        if self.full:
            raise DiskFull(f"the disk has less free space than the reserve of {self._reserve_bytes:,} bytes")
