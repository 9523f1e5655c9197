"""The border to a place that keeps bytes in order: all that an engine needs of RocksDB, or of a dictionary.

What an engine promises beyond this (versions, checksums, usage, group commit) is written once, above it.

Free space: entries are refused while there is less than the reserve, so that agreement can go on.

A disk that is full to the last byte fails in the middle of a write, and then nobody knows what is on it. So the
engine stops taking entries before that, and takes them again by itself when there is space. Deleting goes on,
and so do the few bytes of the node's own named values: with them the node can still vote, adopt and leave.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import DiskFull
from .encoding import Stretch

Row = tuple[bytes, bytes]


@dataclass(slots=True)
class Batch:
    """Changes that happen together or not at all. What is erased is erased before anything is put."""

    erased: Sequence[Stretch] = ()
    deleted: Collection[bytes] = ()
    puts: Collection[Row] = ()
    named: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    """Named values; None deletes."""
    erased_names: Sequence[Stretch] = ()

    @property
    def empty(self) -> bool:
        return not (self.erased or self.deleted or self.puts or self.named or self.erased_names)


class Store(Protocol):
    """Rows sorted by key, and named values apart from them.

    Raises StorageFailed, and Corruption for bytes that it finds damaged by itself.
    """

    @property
    def scarred(self) -> bool:
        """Whether the store has found damage of its own that stays until it is opened next."""

    def read(self, key: bytes) -> bytes | None: ...

    def read_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The same for many keys at once, in their order; Corruption then may come of any of them."""

    def rows(self, stretch: Stretch) -> Iterator[Row]:
        """The rows of a stretch as they are now, ascending; to be read before the next change."""

    def snapshot(self, stretch: Stretch) -> Iterator[Row]:
        """The same, but what is changed while they are read does not show in them."""

    def read_named(self, name: bytes) -> bytes | None: ...

    def named_rows(self, prefix: bytes, after: bytes = b"") -> Iterator[Row]:
        """Named values whose names start with ``prefix``, ascending, from the name after ``after`` on."""

    def write(self, batch: Batch) -> None:
        """Apply the batch; it survives the process from here on, but not yet the machine."""

    def free_bytes(self) -> int:
        """How much more the disk can take."""

    def extent(self) -> int:
        """Return how much has ever been written, in the store's units: it grows with every batch, over restarts too."""

    async def sync(self) -> None:
        """Return once every batch written before the call survives the machine's power failing."""

    async def close(self) -> None: ...


LOOK_EVERY_BYTES = 1 << 20
"""So much is written at most between two looks, besides those of the clock's."""


class FreeSpace:
    def __init__(self, free_bytes: Callable[[], int], reserve_bytes: int) -> None:
        """``reserve_bytes``: below this the disk counts as full; 0 for never."""
        self._free_bytes = free_bytes
        self._reserve_bytes = reserve_bytes
        self._unseen_bytes = 0
        self.full = False
        self.look()

    def look(self) -> None:
        """See how much there is now."""
        self._unseen_bytes = 0
        self.full = self._reserve_bytes > 0 and self._free_bytes() < self._reserve_bytes

    def take(self, size_bytes: int) -> None:
        """Ask for room for a write; raises DiskFull."""
        self._unseen_bytes += size_bytes
        if self._unseen_bytes >= LOOK_EVERY_BYTES:
            self.look()
        if self.full:
            raise DiskFull(f"the disk has less free space than the reserve of {self._reserve_bytes:,} bytes")
