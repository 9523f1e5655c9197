"""The version of a key's value, as the cluster's answers tell it."""

from __future__ import annotations

from functools import total_ordering

_COUNTER_BITS = 16


@total_ordering
class Version:
    """A hybrid-clock timestamp with the identity of the coordinator that drew it; totally ordered.

    Written out, since a client makes one for every write and a dataclass that is frozen takes three times as long.
    """

    __slots__ = ("_disk_id", "_generation", "_superseded", "_timestamp")

    def __init__(self, timestamp: int, disk_id: int, generation: int, superseded: bool = False) -> None:
        self._timestamp = timestamp
        self._disk_id = disk_id
        self._generation = generation
        self._superseded = superseded

    @property
    def timestamp(self) -> int:
        """Wall milliseconds << 16 | counter."""
        return self._timestamp

    @property
    def disk_id(self) -> int:
        return self._disk_id

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def superseded(self) -> bool:
        """A newer version of the key already stood when this one was acknowledged; no part of the order."""
        return self._superseded

    @property
    def wall_ms(self) -> int:
        """When the coordinator drew it, in milliseconds since the Unix epoch."""
        return self._timestamp >> _COUNTER_BITS

    @property
    def _order(self) -> tuple[int, int, int]:
        return (self._timestamp, self._disk_id, self._generation)

    def __reduce__(self) -> tuple[type[Version], tuple[int, int, int, bool]]:
        return Version, (self._timestamp, self._disk_id, self._generation, self._superseded)

    def __eq__(self, other: object) -> bool:
        return self._order == other._order if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._order < other._order if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._order)

    def __str__(self) -> str:
        counter = self._timestamp & ((1 << _COUNTER_BITS) - 1)
        return f"{self.wall_ms}.{counter}-{self._disk_id:016x}-{self._generation}"

    def __repr__(self) -> str:
        return (
            f"Version(timestamp={self._timestamp}, disk_id={self._disk_id}, "
            f"generation={self._generation}, superseded={self._superseded})"
        )


class HighestSeen:
    """The highest version timestamp a client has seen. Sent along, it keeps the client's own order of
    writes when they go through different coordinators.

    A write whose outcome is not known may have, or get, any version up to the latest that its batch allows; so that
    counts as seen too. It is kept apart: where the clock that it was taken from was far ahead, no node follows it for
    as long, and what nodes told has to be followed meanwhile.
    """

    def __init__(self) -> None:
        self.told = 0
        """Of the versions that nodes told."""
        self.lost = 0
        """Latest version of the writes whose outcome will never be known."""
        self._allowed = 0

    @property
    def timestamp(self) -> int:
        """The higher one of ``told`` and ``lost``."""
        return max(self.told, self.lost)

    def allow(self, latest_timestamp: int) -> None:
        """Note a write that is sent now and may get any version up to this one."""
        self._allowed = max(self._allowed, latest_timestamp)

    def assume_allowed(self) -> None:
        """Note that the outcome of some write sent so far will never be known."""
        self.lose(self._allowed)

    def lose(self, latest_timestamp: int) -> None:
        """Note that the outcome of a write that may get any version up to this one will never be known."""
        self.lost = max(self.lost, latest_timestamp)

    def observe(self, timestamp: int) -> None:
        self.told = max(self.told, timestamp)
