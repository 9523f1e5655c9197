"""Free space: entries are refused while there is less than the reserve, so that agreement can go on.

A disk that is full to the last byte fails in the middle of a write, and then nobody knows what is on it. So the
engine stops taking entries before that, and takes them again by itself when there is space. Deleting goes on,
and so do the few bytes of the node's own named values: with them the node can still vote, adopt and leave.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import DiskFull

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
