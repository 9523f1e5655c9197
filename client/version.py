"""The version of a key's value, as the cluster's answers tell it."""

from __future__ import annotations

from dataclasses import dataclass, field

_COUNTER_BITS = 16


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A hybrid-clock timestamp with the identity of the coordinator that drew it; totally ordered."""

    timestamp: int
    """Wall milliseconds << 16 | counter."""
    disk_id: int
    generation: int
    superseded: bool = field(default=False, compare=False)
    """A newer version of the key already stood when this one was acknowledged."""

    @property
    def wall_ms(self) -> int:
        """When the coordinator drew it, in milliseconds since the Unix epoch."""
        return self.timestamp >> _COUNTER_BITS

    def __str__(self) -> str:
        counter = self.timestamp & ((1 << _COUNTER_BITS) - 1)
        return f"{self.wall_ms}.{counter}-{self.disk_id:016x}-{self.generation}"


class HighestSeen:
    """The highest version timestamp a client has seen. Sent along, it keeps the client's own order of
    writes when they go through different coordinators."""

    def __init__(self) -> None:
        self.timestamp = 0

    def observe(self, timestamp: int) -> None:
        self.timestamp = max(self.timestamp, timestamp)
