"""Versions, which decide which of two writes to one key is newer. Pure."""

from __future__ import annotations

from typing import NamedTuple

COUNTER_BITS = 16
MAX_TIMESTAMP = (1 << 64) - 1
"""A timestamp has 64 bits on the wire and on disk."""


def timestamp_at(wall_ms: int) -> int:
    """Return the lowest timestamp of a millisecond; 0 for one before the Unix epoch."""
    return max(0, wall_ms) << COUNTER_BITS


class Version(NamedTuple):
    """Hybrid-clock timestamp with the identity of the coordinator that drew it; totally ordered.

    The coordinator is identified by its disk id, 64 random bits. The generation, its number of starts, keeps versions
    unique across restarts.
    """

    timestamp: int
    """Wall milliseconds << 16 | counter."""
    disk_id: int
    generation: int

    @property
    def wall_ms(self) -> int:
        return self.timestamp >> COUNTER_BITS

    def __str__(self) -> str:
        counter = self.timestamp & ((1 << COUNTER_BITS) - 1)
        return f"{self.wall_ms}.{counter}-{self.disk_id:016x}-{self.generation}"
